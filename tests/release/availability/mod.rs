//! Creates that go on while the gate is disturbed in every way it must bear, and how many of them fail because of it.
//!
//! In `make test` each disturbance is watched for some seconds; `make ha` (`SANDGATE_HA_SECONDS`) watches longer and
//! prints the table of the README. What must hold is asserted: no create is denied or admitted without a verdict, and creates
//! succeed once the disturbance is over. How many fail meanwhile depends on the machine, and is only printed.

use std::{env, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::installed::{CHART, Installed};
use testbed::{
    ControlPlane, Result, eventually,
    load::{Creates, Load, Seen, is_sandboxed},
};

/// Certificates of less than a minute: a CA goes through its whole life while creates go on.
const QUICK: &[&str] = &[
    "--set=replicas=3",
    "--set=server.audit=off",
    r#"--set-json=server.extraArgs=["--ca-lifetime=45","--leaf-lifetime=30","--promote-after=2","--check-interval=1"]"#,
];

/// What the gate must bear without a failed create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bears {
    /// None may fail.
    Everything,
    /// Those may that come while something is broken; they fail closed, and succeed when they are tried again.
    AllButWhatWasThere,
}

use Bears::{AllButWhatWasThere, Everything};

/// A disturbance, what became of the creates meanwhile, and what may.
type Row = (&'static str, Bears, Seen);

#[tokio::test(flavor = "multi_thread")]
async fn no_create_is_lost_to_rolls_rotations_and_lost_secrets() {
    // Of its own: it is restarted.
    let bed = ControlPlane::start().await.expect("a control plane");
    let release = Installed::before(&bed, "sandgate").await.expect("what there is before an install");
    release.install(CHART, QUICK).await.expect_success();
    release.until_ready(3).await;
    release.until_armed().await;

    let rows = disturb(&release).await;
    print_table(&rows);
    for (what, bears, seen) in &rows {
        assert_eq!(seen.denied, Vec::<String>::new(), "{what}");
        assert_eq!(seen.open, 0, "{what}: Pods admitted without a verdict");
        assert!(seen.sandboxed > 0, "{what}: creates went on");
        if *bears == Everything {
            assert!(seen.failed.is_empty(), "{what}: {:?}", seen.kinds_of_failure());
        }
    }
}

async fn disturb(release: &Installed<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |what, bears, seen| rows.push((what, bears, seen));
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
    rows
}

/// Creates pods before, while and after `change` happens.
async fn watch(release: &Installed<'_>, change: impl AsyncFnOnce() -> Result<()>) -> Seen {
    let load = Load::start(&release.rest, &release.guarded, Creates::Stored);
    tokio::time::sleep(Duration::from_secs(1)).await;
    change().await.unwrap_or_else(|error| panic!("{error}\n{}", release.node.logs()));
    tokio::time::sleep(aftermath()).await;
    let again = eventually("a create succeeds after the disturbance", async || {
        Ok(release.try_plain().await.is_ok_and(|pod| is_sandboxed(&pod)).then_some(()))
    });
    again.await.unwrap_or_else(|error| panic!("{error}\n{}", release.node.logs()));
    load.stop().await
}

/// How long creates go on after a disturbance.
fn aftermath() -> Duration {
    let seconds = env::var("SANDGATE_HA_SECONDS").ok().map(|text| text.parse().expect("seconds"));
    Duration::from_secs(seconds.unwrap_or(3))
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

fn print_table(rows: &[Row]) {
    println!("{:<32} {}", "", Seen::HEAD);
    for (what, _, seen) in rows {
        println!("{what:<32} {seen}");
        for (failure, count) in seen.kinds_of_failure() {
            println!("    {count} × {failure}");
        }
    }
}
