//! sandgate in its own cluster: what becomes of creates while its Pods, its node and its certificates go, and whether
//! all is well again without anybody's help.
//!
//! The creates are dry runs: a node of this size could not run them all. What admission does is the same.

use std::{
    env,
    time::{Duration, Instant},
};

use crate::{
    pods::pod,
    running::KERNEL_OF_GVISOR,
    shared::{Bed, NAMESPACE, cluster_alone},
};
use testbed::{
    Result, eventually,
    harness::Test,
    is_ready,
    load::{Creates, Load, Seen},
};

/// The tests of this module.
pub(crate) fn tests() -> Vec<Test> {
    vec![Test::new_async(gate_recovers_without_escapes)]
}

/// The creates that may fail meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bears {
    /// No create may fail, but for a connection that is closed ([`Seen::has_failed`]).
    Everything,
    /// Creates may fail while no sandgate runs at all: they are denied, never admitted.
    AllButAnOutage,
}

// One thread: only that one is in the network of the cluster.
async fn gate_recovers_without_escapes() {
    let bed = cluster_alone().await;
    let wanted = soak();
    let begun = Instant::now();
    let mut rounds = 0;
    let mut total = Total::default();
    println!("{:<44} {}", "", Seen::HEAD);
    while rounds == 0 || begun.elapsed() < wanted {
        rounds += 1;
        disturb_everything(&bed, &mut total).await;
        // And Pods run again.
        let name = format!("after-all-{rounds}");
        bed.create(&pod(&name, "cat /proc/version")).await;
        assert_eq!(bed.ended(&name).await["status"]["phase"], "Succeeded");
        assert_eq!(bed.logs(&name, "main").await.trim_end(), KERNEL_OF_GVISOR);
        bed.remove(&name).await;
    }
    let Total { creates, sandboxed, failed } = total;
    let minutes = begun.elapsed().as_secs() / 60;
    println!(
        "{rounds} rounds in {minutes} min: {creates} creates, {sandboxed} evaluated and sandboxed, {failed} failed \
         with a message, 0 stored without a verdict"
    );
}

/// Returns how long rounds go on, from `SANDGATE_SOAK_SECONDS`; without it there is one.
fn soak() -> Duration {
    let seconds = env::var("SANDGATE_SOAK_SECONDS").ok().filter(|seconds| !seconds.is_empty());
    let seconds = seconds.map_or(0, |seconds| seconds.parse().expect("SANDGATE_SOAK_SECONDS is a number"));
    Duration::from_secs(seconds)
}

/// The creates of all rounds.
#[derive(Default)]
struct Total {
    creates: usize,
    sandboxed: usize,
    failed: usize,
}

async fn disturb_everything<G>(bed: &Bed<G>, total: &mut Total) {
    watch(bed, total, "rolling update", Bears::Everything, async || roll(bed).await).await;
    watch(bed, total, "CA Secret deleted: every certificate is new", Bears::Everything, async || {
        lose_secret(bed).await
    })
    .await;
    watch(bed, total, "API server restarted", Bears::Everything, async || {
        bed.cluster.bed.restart_apiserver().await
    })
    .await;
    watch(bed, total, "all its Pods deleted at once", Bears::AllButAnOutage, async || delete_all(bed).await)
        .await;
    watch(bed, total, "the node restarted", Bears::AllButAnOutage, async || {
        bed.cluster.restart_node().await?;
        bed.cluster.until_guarded().await
    })
    .await;
}

async fn watch<G>(
    bed: &Bed<G>,
    total: &mut Total,
    what: &str,
    bears: Bears,
    change: impl AsyncFnOnce() -> Result<()>,
) {
    let load = Load::start(&bed.rest, NAMESPACE, Creates::Tried);
    tokio::time::sleep(Duration::from_secs(1)).await;
    change().await.unwrap_or_else(|error| panic!("{what}: {error}"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let seen = load.stop().await;
    println!("{what:<44} {seen}");
    total.creates += seen.all();
    total.sandboxed += seen.sandboxed;
    total.failed += seen.failed.len() + seen.unanswered;
    assert_eq!(seen.open, 0, "{what}: pods that were not evaluated");
    assert_eq!(seen.denied, Vec::<String>::new(), "{what}");
    assert!(seen.sandboxed > 0, "{what}: creates went on");
    if bears == Bears::Everything {
        assert!(!seen.has_failed(), "{what}: {:?}", seen.kinds_of_failure());
    }
}

async fn roll<G>(bed: &Bed<G>) -> Result<()> {
    let kubectl = async |arguments: &[&str]| {
        bed.cluster.bed.kubectl(&[&["-n", "sandgate", "rollout"], arguments].concat()).await.expect_success();
    };
    kubectl(&["restart", "deployment/sandgate"]).await;
    kubectl(&["status", "deployment/sandgate", "--timeout=110s"]).await;
    Ok(())
}

async fn lose_secret<G>(bed: &Bed<G>) -> Result<()> {
    let path = "/api/v1/namespaces/sandgate/secrets/sandgate-ca";
    bed.rest.delete(path).await?;
    eventually("the Secret is there again", async || Ok(bed.rest.get(path).await.ok().map(drop))).await
}

async fn delete_all<G>(bed: &Bed<G>) -> Result<()> {
    let path = "/api/v1/namespaces/sandgate/pods";
    bed.rest
        .delete(&format!("{path}?gracePeriodSeconds=0&labelSelector=app.kubernetes.io/name%3Dsandgate"))
        .await?;
    eventually("two others are ready", async || {
        let pods = bed.rest.get(path).await?;
        Ok((pods["items"].as_array().is_some_and(|all| all.len() == 2 && all.iter().all(is_ready)))
            .then_some(()))
    })
    .await?;
    bed.cluster.until_guarded().await
}
