//! Webhook configurations that are replaced or edited behind sandgate's back. How many Pods come in meanwhile is
//! printed for docs/availability.md; what is asserted is that each replacement is repaired by one write, and seen.

use std::time::Duration;

use serde_json::json;

use crate::{
    installed::{CHART, Installed},
    upgrades::{KINDS, release_manifest, until_armed},
};
use testbed::{
    Result, eventually,
    load::{Creates, Load, Seen},
    shared,
};

/// The logs of the test's node hold the last lines only.
const LOG_LEVEL: &str = r#"--set-json=server.logLevel="warn,sandgate::cluster=info""#;

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_configuration_is_rearmed_in_one_write_counted_and_logged() {
    let bed = shared().await;
    let release = Installed::before(bed, "sandgate-replaced").await.expect("what there is before an install");
    release.install(CHART, &["--set=replicas=2,server.audit=off", LOG_LEVEL]).await.expect_success();
    release.until_ready(2).await;
    until_armed(&release, false).await;
    release.until_armed().await;
    let manifest = release_manifest(bed, &release.name, "1").await.expect("a manifest");
    let file = release.bed.folder().join("replaced.yaml");
    std::fs::write(&file, manifest).expect("it is written");
    let file = file.display().to_string();
    recorded(&release).await.expect("the Secret records that both are armed");

    println!("{:<36} {}", "", Seen::HEAD);
    let force = ["upgrade", &release.name, CHART, "--reuse-values", "--force-replace", "--server-side=false"];
    watched(&release, "kubectl replace", async || replace(&release, &file).await).await;
    watched(&release, "helm upgrade --force-replace", async || {
        release.helm(&force).await.expect_success();
        Ok(())
    })
    .await;
    watched(&release, "delete and create", async || {
        release.kubectl(&["delete", "-f", &file]).await.expect_success();
        release.kubectl(&["create", "-f", &file]).await.expect_success();
        Ok(())
    })
    .await;
    watched(&release, "a replace every 2 s, 10 times", async || {
        for _ in 0..10 {
            replace(&release, &file).await?;
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        Ok(())
    })
    .await;

    let logs = release.node.logs();
    let mut warnings = logs.lines().filter(|line| line.contains("were removed and are restored"));
    assert!(warnings.any(|line| line.contains("\"last_manager\":\"")), "a field manager is named\n{logs}");
    let mut restored = 0;
    for pod in release.ready() {
        for kind in KINDS {
            let name = format!("sandgate_configuration_rules_restored_total{{configuration=\"{kind}\"}}");
            restored += pod.metric(&name).await.expect("it is counted");
        }
    }
    assert!(restored >= 20, "{restored} are counted");

    // No replica is there to repair it; the first one does, also though it has never seen it armed.
    release.kubectl(&["scale", "deployment", &release.name, "--replicas=0"]).await.expect_success();
    release.until_ready(0).await;
    replace(&release, &file).await.expect("it is replaced");
    release.kubectl(&["scale", "deployment", &release.name, "--replicas=1"]).await.expect_success();
    until_armed(&release, false).await;
    release.until_ready(1).await;
    release.until_armed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_configuration_is_drift_until_helm_puts_it_back() {
    let bed = shared().await;
    let release = Installed::before(bed, "sandgate-drift").await.expect("what there is before an install");
    release.install(CHART, &["--set=replicas=1"]).await.expect_success();
    release.until_ready(1).await;
    until_armed(&release, false).await;
    until_drift(&release, [0, 0]).await;
    let path = release.configuration("validating");
    let edit = json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]);
    release.rest.json_patch(&path, &edit).await.expect("it is edited");
    until_drift(&release, [0, 1]).await;
    let line = "validate.sandgate.dev has another failurePolicy than the chart rendered";
    let logged = eventually(line, async || Ok(release.node.logs().contains(line).then_some(())));
    logged.await.unwrap_or_else(|error| panic!("{error}\n{}", release.node.logs()));
    release.upgrade(CHART, &["--set=replicas=1", "--force-conflicts"]).await.expect_success();
    until_drift(&release, [0, 0]).await;
}

/// kubectl replaces the version that it has read; where sandgate has written meanwhile, it is tried again.
async fn replace(release: &Installed<'_>, file: &str) -> Result<()> {
    eventually("the configurations are replaced", async || {
        let output = release.kubectl(&["replace", "-f", file]).await;
        if output.stderr.contains("the object has been modified") {
            return Ok(None);
        }
        output.expect_success();
        Ok(Some(()))
    })
    .await
}

/// Pods are created while `change` is made and until it is repaired.
async fn watched(release: &Installed<'_>, what: &str, change: impl AsyncFnOnce() -> Result<()>) {
    let load = Load::start(&release.rest, &release.guarded, Creates::Stored);
    let before = without_rules(release);
    change().await.unwrap_or_else(|error| panic!("{what}: {error}\n{}", release.node.logs()));
    until_armed(release, false).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!("{what:<36} {}", load.stop().await);
    assert!(without_rules(release) <= before, "{what}: each write brings rules\n{}", release.node.logs());
}

/// How many writes of configurations the logs show that brought no rules, as those of the first start do.
fn without_rules(release: &Installed<'_>) -> usize {
    let logs = release.node.logs();
    let is_unarmed =
        |line: &&str| line.contains("Configuration published") && line.contains("\"armed\":false");
    logs.lines().filter(is_unarmed).count()
}

async fn recorded(release: &Installed<'_>) -> Result<()> {
    eventually("the Secret records that both are armed", async || {
        // "mutating,validating"
        let recorded = &release.rest.get(&release.ca_secret()).await?["data"]["armed"];
        Ok((*recorded == "bXV0YXRpbmcsdmFsaWRhdGluZw==").then_some(()))
    })
    .await
}

async fn until_drift(release: &Installed<'_>, wanted: [i64; 2]) {
    let what = format!("drift is {wanted:?}");
    let seen = eventually(&what, async || {
        for pod in release.ready() {
            for (kind, wanted) in KINDS.into_iter().zip(wanted) {
                let name = format!("sandgate_configuration_drift{{configuration=\"{kind}\"}}");
                if pod.metric(&name).await != Some(wanted) {
                    return Ok(None);
                }
            }
        }
        Ok(Some(()))
    });
    seen.await.unwrap_or_else(|error| panic!("{error}\n{}", release.node.logs()));
}
