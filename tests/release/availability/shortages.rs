//! Too little CPU, too little memory, and a network that delays and loses.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use super::{
    Bears::{self, AllButWhatWasThere, Everything},
    Row, aftermath, watch,
};
use crate::installed::Installed;
use testbed::{ControlGroup, Iptables, Result, load::plain_pod};

/// The memory limit of one replica in the chart's values.
const MEMORY_LIMIT: u64 = 256 << 20;

/// The number of creates of large Pods that are under way at once, and the bytes of each.
const LARGE_CLIENTS: usize = 8;
const LARGE_BYTES: usize = 1 << 20;

pub(super) async fn all(release: &Installed<'_>, group: Result<&ControlGroup, String>) -> Vec<Row> {
    let endpoints = &release.service_proxy.endpoints;
    let mut rows = vec![row("nothing", Everything, Ok(watch(release, async || stay().await).await))];
    let delayed = watch(release, async || {
        endpoints.delay(Duration::from_millis(50));
        stay().await?;
        endpoints.delay(Duration::ZERO);
        Ok(())
    });
    rows.push(row("50 ms of delay in each direction", Everything, Ok(delayed.await)));
    for (what, percent) in
        [("1 % of the packets lost in each direction", 1), ("10 % of the packets lost in each direction", 10)]
    {
        rows.push(row(what, AllButWhatWasThere, lossy(release, percent).await));
    }
    for (what, percent) in
        [("a quarter of a CPU for three replicas", 25), ("a twentieth of a CPU for three replicas", 5)]
    {
        let seen = match &group {
            Err(reason) => Err(reason.clone()),
            Ok(group) => Ok(watch(release, async || {
                group.limit_cpu(Some(percent))?;
                stay().await?;
                group.limit_cpu(None)
            })
            .await),
        };
        rows.push(row(what, AllButWhatWasThere, seen));
    }
    let seen = match &group {
        Err(reason) => Err(reason.clone()),
        Ok(group) => Ok(watch(release, async || {
            group.limit_memory(Some(MEMORY_LIMIT))?;
            create_large_pods(release).await;
            group.limit_memory(None)
        })
        .await),
    };
    rows.push(row("256 MiB for three replicas, and large Pods", AllButWhatWasThere, seen));
    rows
}

fn row(what: &'static str, bears: Bears, seen: Result<testbed::load::Seen, String>) -> Row {
    Row { what, bears, seen }
}

/// A shortage lasts as long as a disturbance is watched afterwards.
async fn stay() -> Result<()> {
    tokio::time::sleep(aftermath()).await;
    Ok(())
}

async fn lossy(release: &Installed<'_>, percent: u8) -> Result<testbed::load::Seen, String> {
    // A trial first: whether this process may is known before creates begin.
    Iptables::lose_packets(release.service_proxy.port, percent).map_err(|error| error.to_string())?;
    Ok(watch(release, async || {
        let _loss = Iptables::lose_packets(release.service_proxy.port, percent)?;
        stay().await
    })
    .await)
}

/// Creates Pods of a mebibyte, for as long as a disturbance is watched. The API server rejects each in the end, for the
/// size of its annotations, after the first webhook has reviewed it.
async fn create_large_pods(release: &Installed<'_>) {
    let mut pod = plain_pod();
    pod["metadata"]["annotations"] = json!({"example.com/large": "x".repeat(LARGE_BYTES)});
    let mut clients = JoinSet::new();
    for _ in 0..LARGE_CLIENTS {
        let (rest, path, pod) = (release.rest.clone(), release.pods_path("?dryRun=All"), pod.clone());
        clients.spawn(async move {
            loop {
                let _ = rest.post(&path, &pod).await;
            }
        });
    }
    tokio::time::sleep(aftermath()).await;
    clients.shutdown().await;
}
