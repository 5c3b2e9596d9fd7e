//! Certificates from the real cert-manager, whose cainjector publishes the CA in the webhook configurations.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::installed::{CHART, Installed};
use testbed::{CertManager, ControlPlane, Result, eventually, load::is_sandboxed};

const CERT_MANAGER: &str = "--set=certificates.mode=cert-manager,replicas=1";
const ON_THE_CLIENTS_SIDE: &str = "--server-side=false";
const KINDS: [&str; 2] = ["mutating", "validating"];

#[tokio::test(flavor = "multi_thread")]
async fn cert_manager_issues_renews_and_publishes_through_upgrades() {
    // Of its own: the cainjector watches every webhook configuration.
    let bed = ControlPlane::start().await.expect("a control plane");
    let mut cert_manager = CertManager::start(&bed).await.expect("cert-manager");
    let release = Installed::before(&bed, "sandgate").await.expect("what there is before an install");
    release.install(CHART, &[CERT_MANAGER]).await.expect_success();
    let issued = published(&release, None).await;
    release.until_armed().await;
    assert_hostile_is_denied(&release).await;
    for kind in KINDS {
        let stored = release.rest.get(&release.configuration(kind)).await.expect("a configuration");
        let managers = stored["metadata"]["managedFields"].as_array().expect("managers");
        let has_bundle = |manager: &&Value| manager.to_string().contains("f:caBundle");
        let publisher = managers.iter().find(has_bundle).expect("someone publishes the bundle");
        assert!(publisher["manager"].to_string().contains("cainjector"), "{kind}: {publisher}");
    }

    // A webhook more, and one less again: each has its bundle, and no upgrade takes it away. The cainjector applies on the
    // server's side, so that Helm must not do that where it removes a webhook.
    let more = "--set=policies.more.namespaces={more-*}";
    release.upgrade(CHART, &[CERT_MANAGER, more]).await.expect_success();
    assert_guarded_by(&release, 2).await;
    release.upgrade(CHART, &[CERT_MANAGER, ON_THE_CLIENTS_SIDE]).await.expect_success();
    assert_guarded_by(&release, 1).await;
    for (revision, count) in [("2", 2), ("1", 1)] {
        let rollback = ["rollback", "sandgate", revision, ON_THE_CLIENTS_SIDE, "--wait", "--timeout=110s"];
        release.helm(&rollback).await.expect_success();
        assert_guarded_by(&release, count).await;
    }

    // Another key and another certificate, as at the end of its life.
    release.rest.delete(&release.path("/secrets/sandgate-tls")).await.expect("the Secret is deleted");
    let renewed = published(&release, Some(&issued)).await;
    assert_ne!(issued, renewed);
    release.until_armed().await;
    assert_hostile_is_denied(&release).await;
    cert_manager.check().expect("cert-manager runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ready_issuers_sign_for_a_release() {
    let bed = ControlPlane::start().await.expect("a control plane");
    let mut cert_manager = CertManager::start(&bed).await.expect("cert-manager");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs/cert-manager");
    for (manifest, kind, namespace) in [
        ("self-signed.yaml", "Issuer", "sandgate-system"),
        ("cluster-issuer.yaml", "ClusterIssuer", "sandgate-other"),
    ] {
        let file = folder.join(manifest).display().to_string();
        bed.kubectl(&["apply", "--server-side", "-f", &file]).await.expect_success();
        let release = Installed::before(&bed, namespace).await.expect("what there is before an install");
        let issuer = format!(
            "--set=certificates.certManager.issuerRef.kind={kind},certificates.certManager.issuerRef.name=sandgate-ca"
        );
        release.install(CHART, &[CERT_MANAGER, &issuer]).await.expect_success();
        let bundle = published(&release, None).await;
        let leaf = certificate(&release, "tls.crt").await.expect("a certificate");
        assert_ne!(bundle, leaf, "{kind}: a CA has signed it");
        release.until_armed().await;
        assert_hostile_is_denied(&release).await;
    }
    cert_manager.check().expect("cert-manager runs");
}

/// Waits until so many webhooks fill Pods, each with a bundle.
async fn assert_guarded_by(release: &Installed<'_>, count: usize) {
    let published = eventually("each webhook has the bundle", async || {
        let stored = release.rest.get(&release.configuration("mutating")).await?;
        let webhooks = stored["webhooks"].as_array().ok_or("webhooks")?;
        let is_published = |webhook: &Value| webhook["clientConfig"]["caBundle"].is_string();
        Ok((webhooks.len() == count && webhooks.iter().all(is_published)).then_some(()))
    });
    published.await.unwrap_or_else(|error| panic!("{error}\n{}", release.node.logs()));
    assert_hostile_is_denied(release).await;
}

async fn assert_hostile_is_denied(release: &Installed<'_>) {
    let plain = release.try_plain().await.expect("a plain Pod is admitted");
    assert!(is_sandboxed(&plain), "{plain}");
    let mut hostile = testbed::load::plain_pod();
    hostile["spec"]["hostPID"] = Value::Bool(true);
    let denied = release.rest.post(&release.pods_path("?dryRun=All"), &hostile).await;
    let message = denied.expect_err("a hostile Pod is denied").message;
    assert!(message.contains("(host-namespaces)"), "{message}");
}

/// Waits until both configurations trust the CA of the Secret, which is another one than `before`.
async fn published(release: &Installed<'_>, before: Option<&str>) -> String {
    let published = eventually("the CA of the Secret is published", async || {
        let Some(ca) = certificate(release, "ca.crt").await else { return Ok(None) };
        if before == Some(ca.as_str()) {
            return Ok(None);
        }
        for kind in KINDS {
            let stored = release.rest.get(&release.configuration(kind)).await?;
            // It keeps the CAs of before beside the new one.
            let bundle = stored["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap_or_default();
            if !decoded(bundle)?.contains(decoded(&ca)?.trim()) {
                return Ok(None);
            }
        }
        Ok(Some(ca))
    });
    let published: Result<String> = published.await;
    published.unwrap_or_else(|error| panic!("{error}\n{}", release.node.logs()))
}

fn decoded(base64: &str) -> Result<String> {
    Ok(String::from_utf8(STANDARD.decode(base64)?)?)
}

/// A certificate of the Secret, in base64.
async fn certificate(release: &Installed<'_>, key: &str) -> Option<String> {
    let secret = release.rest.get(&release.path(&format!("/secrets/{}-tls", release.name))).await.ok()?;
    Some(secret["data"][key].as_str()?.to_owned())
}
