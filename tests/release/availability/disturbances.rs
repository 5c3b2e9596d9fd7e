//! What happens to replicas, certificates and configurations in the life of a cluster.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    Bears::{AllButWhatWasThere, Everything},
    QUICK, Row, watch,
};
use crate::installed::{CHART, Installed};
use testbed::{Result, eventually};

pub(super) async fn all(release: &Installed<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |what, bears, seen| rows.push(Row { what, bears, seen: Ok(seen) });
    add("nothing", Everything, watch(release, async || Ok(())).await);
    add("rolling restart", Everything, watch(release, async || roll(release).await).await);
    add("each replica deleted in turn", Everything, watch(release, async || drain(release).await).await);
    add("helm upgrade", Everything, watch(release, async || upgrade(release).await).await);
    add("policy changed", Everything, watch(release, async || change_policy(release).await).await);
    add("CA and leaves rotated", Everything, watch(release, async || rotate(release).await).await);
    add("CA Secret deleted", Everything, watch(release, async || lose_secret(release).await).await);
    add("CA Secret corrupted", Everything, watch(release, async || corrupt_secret(release).await).await);
    add(
        "API server restarted",
        Everything,
        watch(release, async || release.bed.restart_apiserver().await).await,
    );
    add("caBundles cleared", AllButWhatWasThere, watch(release, async || clear_bundles(release).await).await);
    add("replica killed (SIGKILL)", AllButWhatWasThere, watch(release, async || kill(release).await).await);
    add(
        "replica paused 10 s (SIGSTOP)",
        AllButWhatWasThere,
        watch(release, async || pause(release).await).await,
    );
    add(
        "all replicas killed at once, and started",
        AllButWhatWasThere,
        watch(release, async || kill_all(release).await).await,
    );
    rows
}

async fn roll(release: &Installed<'_>) -> Result<()> {
    release.kubectl(&["rollout", "restart", "deployment"]).await.expect_success();
    release.kubectl(&["rollout", "status", "deployment", "--timeout=100s"]).await.expect_success();
    release.until_ready(3).await;
    Ok(())
}

/// As a drain does that heeds the disruption budget.
async fn drain(release: &Installed<'_>) -> Result<()> {
    for pod in release.ready() {
        release.kubectl(&["delete", "pod", &pod.name]).await.expect_success();
        release.until_ready(3).await;
    }
    Ok(())
}

async fn upgrade(release: &Installed<'_>) -> Result<()> {
    release.upgrade(CHART, &[QUICK, &["--set=podLabels.round=second"]].concat()).await.expect_success();
    release.until_ready(3).await;
    Ok(())
}

async fn change_policy(release: &Installed<'_>) -> Result<()> {
    let deadline =
        "--set=podLabels.round=second,policies.workflow-runner.lifecycle.activeDeadlineSeconds.default=7";
    release.upgrade(CHART, &[QUICK, &[deadline]].concat()).await.expect_success();
    eventually("the new deadline is filled", async || {
        let pod = release.try_plain().await?;
        Ok((pod["spec"]["activeDeadlineSeconds"] == 7).then_some(()))
    })
    .await
}

/// Waits until another CA signs.
async fn rotate(release: &Installed<'_>) -> Result<()> {
    let before = active(release).await.ok_or("a CA is active")?;
    eventually("another CA signs", async || Ok(active(release).await.filter(|now| *now != before).map(drop)))
        .await
}

async fn lose_secret(release: &Installed<'_>) -> Result<()> {
    release.rest.delete(&release.ca_secret()).await?;
    until_a_ca_is_active(release).await
}

async fn corrupt_secret(release: &Installed<'_>) -> Result<()> {
    let stored = release.rest.get(&release.ca_secret()).await?;
    let keys = stored["data"].as_object().into_iter().flatten();
    let nonsense: Value = keys.map(|(key, _)| (key.clone(), json!("bm9uc2Vuc2U="))).collect();
    release.rest.merge(&release.ca_secret(), &json!({"data": nonsense})).await?;
    until_a_ca_is_active(release).await
}

async fn until_a_ca_is_active(release: &Installed<'_>) -> Result<()> {
    eventually("the Secret is whole again", async || Ok(active(release).await.map(drop))).await
}

/// Removes the bundle of the first webhook, as an applier with a configuration of its own does.
async fn clear_bundles(release: &Installed<'_>) -> Result<()> {
    for kind in ["mutating", "validating"] {
        let configuration = release.configuration(kind);
        let clear = json!([{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]);
        release.rest.json_patch(&configuration, &clear).await?;
        eventually("the bundle is there again", async || {
            let bundle = &release.rest.get(&configuration).await?["webhooks"][0]["clientConfig"]["caBundle"];
            Ok(bundle.is_string().then_some(()))
        })
        .await?;
    }
    Ok(())
}

async fn kill(release: &Installed<'_>) -> Result<()> {
    let pod = &busiest(release).await;
    release.node.signal(pod, "KILL")?;
    eventually("it was started again", async || {
        Ok(release.ready().iter().any(|now| now.name == *pod && now.restarts > 0).then_some(()))
    })
    .await
}

/// As when all nodes lose their power: every process is gone at the same moment.
async fn kill_all(release: &Installed<'_>) -> Result<()> {
    let before = release.ready();
    for pod in &before {
        release.node.signal(&pod.name, "KILL")?;
    }
    eventually("all were started again", async || {
        let again = release.ready();
        let is_started = |pod: &testbed::NodePod| {
            again.iter().any(|now| now.name == pod.name && now.restarts > pod.restarts)
        };
        Ok(before.iter().all(is_started).then_some(()))
    })
    .await
}

async fn pause(release: &Installed<'_>) -> Result<()> {
    let pod = &busiest(release).await;
    release.node.signal(pod, "STOP")?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    release.node.signal(pod, "CONT")?;
    release.until_ready(3).await;
    Ok(())
}

/// The pod with the most open connections: the API server holds on to those it has.
async fn busiest(release: &Installed<'_>) -> String {
    let mut counts = Vec::new();
    for pod in release.ready() {
        counts.push((pod.metric("sandgate_connections").await, pod.name));
    }
    counts.into_iter().max().expect("a pod is ready").1
}

/// The certificate that signs now, as the Secret says; `None` where it says nothing.
async fn active(release: &Installed<'_>) -> Option<String> {
    let stored = release.rest.get(&release.ca_secret()).await.ok()?;
    let text = STANDARD.decode(stored["data"]["authorities.json"].as_str()?).ok()?;
    let list: Value = serde_json::from_slice(&text).ok()?;
    let found = list.as_array()?.iter().find(|ca| ca["state"] == "active")?;
    Some(found["cert"].as_str()?.to_owned())
}
