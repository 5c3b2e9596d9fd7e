//! Certificates of one's own, in a mounted Secret.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use serde_json::{Value, json};

use crate::installed::{CHART, Installed};
use testbed::{eventually, shared};

type Authority = CertifiedIssuer<'static, KeyPair>;

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_does_not_fit_is_logged_and_the_last_good_certificate_is_served() {
    let bed = shared().await;
    let release = Installed::before(bed, "sandgate-files").await.expect("what there is before an install");
    let authority = authority();
    let ca = bed.folder().join("files-ca.crt");
    fs::write(&ca, authority.pem()).expect("a file");
    let metadata = json!({"metadata": {"name": release.name}});
    release.rest.post("/api/v1/namespaces", &metadata).await.expect("a namespace");
    let good = signed(&authority, "127.0.0.1", 2040);
    release.rest.post(&release.path("/secrets"), &good).await.expect("a Secret");

    let mode = "--set=certificates.mode=files,certificates.secretName=tls";
    let ca = format!("--set-file=certificates.caBundle={}", ca.display());
    release.install(CHART, &[mode, &ca]).await.expect_success();
    release.until_armed().await;

    let mut other_key = good.clone();
    other_key["stringData"]["tls.key"] = json!(KeyPair::generate().expect("a key").serialize_pem());
    for (secret, reason) in [
        (other_key, "does not fit tls.crt"),
        (signed(&authority, "127.0.0.1", 2025), "expired on"),
        (signed(&authority, "elsewhere.example.com", 2040), "not for 127.0.0.1"),
    ] {
        replace(&release, &secret).await;
        let logged = eventually(reason, async || Ok(release.node.logs().contains(reason).then_some(())));
        logged.await.unwrap_or_else(|error| panic!("{error}\n{}", release.node.logs()));
        until_stale(&release, 1).await;
        release.try_plain().await.expect("the last good certificate is served");
    }
    replace(&release, &signed(&authority, "127.0.0.1", 2041)).await;
    until_stale(&release, 0).await;
    release.try_plain().await.expect("the new one is served");
}

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA")
}

/// A Secret with a certificate for `name`, until the first day of `year`.
fn signed(authority: &Authority, name: &str, year: i32) -> Value {
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
    params.not_after = date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "tls"},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": certificate.pem(), "tls.key": key.serialize_pem()},
    })
}

async fn replace(release: &Installed<'_>, secret: &Value) {
    release.rest.put(&release.path("/secrets/tls"), secret).await.expect("it is replaced");
}

/// Waits until every replica says whether what is mounted is what it serves.
async fn until_stale(release: &Installed<'_>, wanted: i64) {
    let counted = eventually("the metric has it", async || {
        for pod in release.ready() {
            if pod.metric("sandgate_certificate_stale").await != Some(wanted) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    });
    counted.await.unwrap_or_else(|error| panic!("{error}\n{}", release.node.logs()));
}
