//! sandgate in its own cluster: what becomes of creates while its Pods, its node and its certificates go, and whether
//! all is well again without anybody's help.
//!
//! The creates are dry runs: a node of this size could not run them all. What admission does is the same.

use std::time::Duration;

use crate::{
    pods::pod,
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
    /// No create may fail.
    Everything,
    /// Creates may fail while no sandgate runs at all: they are denied, never admitted.
    AllButAnOutage,
}

// One thread: only that one is in the network of the cluster.
async fn gate_recovers_without_escapes() {
    let bed = cluster_alone().await;
    println!("{:<44} {}", "", Seen::HEAD);
    watch(&bed, "rolling update", Bears::Everything, async || roll(&bed).await).await;
    watch(&bed, "CA Secret deleted: every certificate is new", Bears::Everything, async || {
        lose_secret(&bed).await
    })
    .await;
    watch(&bed, "API server restarted", Bears::Everything, async || {
        bed.cluster.bed.restart_apiserver().await
    })
    .await;
    watch(&bed, "all its Pods deleted at once", Bears::AllButAnOutage, async || delete_all(&bed).await).await;
    watch(&bed, "the node restarted", Bears::AllButAnOutage, async || {
        bed.cluster.restart_node().await?;
        bed.cluster.until_guarded().await
    })
    .await;

    // And Pods run again.
    bed.create(&pod("after-all", "cat /proc/version")).await;
    assert_eq!(bed.ended("after-all").await["status"]["phase"], "Succeeded");
    bed.remove("after-all").await;
}

async fn watch<G>(bed: &Bed<G>, what: &str, bears: Bears, change: impl AsyncFnOnce() -> Result<()>) {
    let load = Load::start(&bed.rest, NAMESPACE, Creates::Tried);
    tokio::time::sleep(Duration::from_secs(1)).await;
    change().await.unwrap_or_else(|error| panic!("{what}: {error}"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let seen = load.stop().await;
    println!("{what:<44} {seen}");
    assert_eq!(seen.open, 0, "{what}: pods that were not evaluated");
    assert_eq!(seen.denied, Vec::<String>::new(), "{what}");
    assert!(seen.sandboxed > 0, "{what}: creates went on");
    if bears == Bears::Everything {
        assert!(seen.failed.is_empty(), "{what}: {:?}", seen.kinds_of_failure());
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
