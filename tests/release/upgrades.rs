//! Upgrades and rollbacks that add a webhook and take one away, by every client that writes webhook configurations.

use serde_json::{Value, json};

use crate::installed::{CHART, Installed};
use testbed::{HelmLine, Result, eventually, load::is_sandboxed, shared};

pub(crate) const KINDS: [&str; 2] = ["mutating", "validating"];

/// A policy for a pattern: one set of webhooks more.
const MORE: [&str; 1] = ["--set=policies.more.namespaces={more-*}"];

#[tokio::test(flavor = "multi_thread")]
async fn helm_4_adds_and_removes_webhooks_and_rolls_back_over_both() {
    add_and_remove("sandgate-helm4", HelmLine::Four).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_3_adds_and_removes_webhooks_and_rolls_back_over_both() {
    add_and_remove("sandgate-helm3", HelmLine::Three).await;
}

async fn add_and_remove(name: &str, line: HelmLine) {
    let bed = shared().await;
    let mut release = Installed::before(bed, name).await.expect("what there is before an install");
    release.helm_line = line;
    release.install(CHART, &["--set=replicas=1"]).await.expect_success();
    until_armed(&release, false).await;
    release.upgrade(CHART, &[&["--set=replicas=1"], &MORE[..]].concat()).await.expect_success();
    until_armed(&release, true).await;
    release.upgrade(CHART, &["--set=replicas=1"]).await.expect_success();
    until_armed(&release, false).await;
    release.helm(&["rollback", name, "2", "--wait", "--timeout=110s"]).await.expect_success();
    until_armed(&release, true).await;
    release.helm(&["rollback", name, "1", "--wait", "--timeout=110s"]).await.expect_success();
    until_armed(&release, false).await;
    assert!(is_sandboxed(&release.try_plain().await.expect("it is admitted")));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_side_applier_adds_and_removes_webhooks() {
    let bed = shared().await;
    let release = Installed::before(bed, "sandgate-ssa").await.expect("what there is before an install");
    release.install(CHART, &["--set=replicas=1"]).await.expect_success();
    until_armed(&release, false).await;
    // The policy has to fit the webhooks, so that the release is upgraded first.
    release.upgrade(CHART, &[&["--set=replicas=1"], &MORE[..]].concat()).await.expect_success();
    until_armed(&release, true).await;
    let rendered = |revision: &'static str| async move {
        release_manifest(bed, "sandgate-ssa", revision).await.expect("a manifest of the revision")
    };
    let folder = tempfile::tempdir().expect("a folder");
    for (revision, is_more) in [("2", true), ("1", false), ("2", true)] {
        let file = folder.path().join(revision);
        std::fs::write(&file, rendered(revision).await).expect("it is written");
        let file = file.display().to_string();
        for kind in KINDS {
            // Helm gives its fields up to the new applier, as it does when Argo CD takes a release over.
            take_over(&release, kind).await.expect("Helm's ownership is gone");
        }
        let apply = ["apply", "--server-side", "--field-manager=argocd-controller", "-f", &file];
        release.kubectl(&[&apply[..], &["--force-conflicts"]].concat()).await.expect_success();
        until_armed(&release, is_more).await;
        release.kubectl(&apply).await.expect_success();
        until_armed(&release, is_more).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_an_earlier_version_applied_do_not_stop_an_upgrade() {
    let bed = shared().await;
    let release = Installed::before(bed, "sandgate-old").await.expect("what there is before an install");
    release.install(CHART, &[&["--set=replicas=1"], &MORE[..]].concat()).await.expect_success();
    until_armed(&release, true).await;
    release.kubectl(&["scale", "deployment", &release.name, "--replicas=0"]).await.expect_success();
    release.until_ready(0).await;
    for kind in KINDS {
        apply_as_before(&release, kind).await.expect("it is applied");
        assert!(is_applied(&release, kind).await.expect("it is read"), "{kind}: an applier owns fields");
    }
    // The first replica of the new version takes the ownership away; then a webhook can go.
    release
        .upgrade(CHART, &[&["--set=replicas=1", "--force-conflicts"], &MORE[..]].concat())
        .await
        .expect_success();
    let migrated = eventually("no applier called sandgate is left", async || {
        let mut is_left = false;
        for kind in KINDS {
            is_left |= is_applied(&release, kind).await?;
        }
        Ok((!is_left).then_some(()))
    });
    migrated.await.unwrap_or_else(|error| panic!("{error}\n{}", release.node.logs()));
    until_armed(&release, true).await;
    release.upgrade(CHART, &["--set=replicas=1"]).await.expect_success();
    until_armed(&release, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_deleted_takes_its_webhook_configurations_along() {
    let bed = shared().await;
    let release = Installed::before(bed, "sandgate-gone").await.expect("what there is before an install");
    release.install(CHART, &["--set=replicas=1"]).await.expect_success();
    until_armed(&release, false).await;
    let owned = eventually("the namespace owns both", async || {
        for kind in KINDS {
            let stored = release.rest.get(&release.configuration(kind)).await?;
            let owner = &stored["metadata"]["ownerReferences"][0];
            if (&owner["kind"], &owner["name"]) != (&json!("Namespace"), &json!(release.name)) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    });
    owned.await.unwrap_or_else(|error| panic!("{error}\n{}", release.node.logs()));
    release.kubectl(&["delete", "namespace", &release.name, "--wait=false"]).await.expect_success();
    let gone = eventually("both configurations are gone", async || {
        for kind in KINDS {
            if release.rest.get(&release.configuration(kind)).await.is_ok() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    });
    gone.await.unwrap_or_else(|error| panic!("{error}\n{}", release.node.logs()));
}

/// The webhook configurations of a revision of a release, as Helm rendered them.
pub(crate) async fn release_manifest(
    bed: &testbed::ControlPlane,
    name: &str,
    revision: &str,
) -> Result<String> {
    let arguments = ["get", "manifest", name, "--revision", revision, "--namespace", name];
    let manifest = bed.helm(&arguments).await.expect_success();
    let documents = manifest.split("\n---").filter(|document| document.contains("WebhookConfiguration\n"));
    Ok(documents.collect::<Vec<_>>().join("\n---\n"))
}

/// Removes what Helm and the appliers before own.
async fn take_over(release: &Installed<'_>, kind: &str) -> Result<()> {
    let path = release.configuration(kind);
    let stored = release.rest.get(&path).await?;
    let entries = stored["metadata"]["managedFields"].as_array().ok_or("managed fields")?;
    let kept: Vec<&Value> = entries.iter().filter(|entry| entry["manager"] != "helm").collect();
    let change = json!([{"op": "replace", "path": "/metadata/managedFields", "value": kept}]);
    release.rest.json_patch(&path, &change).await?;
    Ok(())
}

/// Applies bundles and rules as versions did that used server-side apply.
async fn apply_as_before(release: &Installed<'_>, kind: &str) -> Result<()> {
    let path = release.configuration(kind);
    let stored = release.rest.get(&path).await?;
    let webhooks = stored["webhooks"].as_array().ok_or("webhooks")?.iter().map(|webhook| {
        let bundle = &webhook["clientConfig"]["caBundle"];
        json!({"name": webhook["name"], "clientConfig": {"caBundle": bundle}, "rules": webhook["rules"]})
    });
    let applied = json!({
        "apiVersion": stored["apiVersion"],
        "kind": stored["kind"],
        "metadata": {"name": release.name},
        "webhooks": webhooks.collect::<Vec<_>>(),
    });
    release.rest.apply_as("sandgate", &path, &applied, true).await?;
    Ok(())
}

async fn is_applied(release: &Installed<'_>, kind: &str) -> Result<bool> {
    let stored = release.rest.get(&release.configuration(kind)).await?;
    let entries = stored["metadata"]["managedFields"].as_array().ok_or("managed fields")?;
    Ok(entries.iter().any(|entry| entry["manager"] == "sandgate" && entry["operation"] == "Apply"))
}

/// Waits until each webhook that there should be has rules and a bundle, and there is no other.
pub(crate) async fn until_armed(release: &Installed<'_>, is_more: bool) {
    let armed = eventually("the webhooks of the revision are armed", async || {
        for (kind, single) in [("mutating", 1), ("validating", 3)] {
            let stored = release.rest.get(&release.configuration(kind)).await?;
            let webhooks = stored["webhooks"].as_array().ok_or("webhooks")?;
            let are_armed = webhooks.iter().all(|webhook| {
                webhook["rules"].is_array() && webhook["clientConfig"]["caBundle"].is_string()
            });
            if !are_armed || webhooks.len() != if is_more { 2 * single } else { single } {
                return Ok(None);
            }
        }
        Ok(Some(()))
    });
    armed.await.unwrap_or_else(|error| panic!("{error}\n{}", release.node.logs()));
}
