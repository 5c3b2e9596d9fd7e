//! One cluster for all tests of this program, with sandgate in it.

use serde_json::json;
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::engines;
use testbed::{Cluster, Rest, Result, program};

/// The namespace of the built-in policy.
pub(crate) const NAMESPACE: &str = "workflows";

/// The cluster as one test sees it.
pub(crate) struct Bed<G> {
    pub(crate) cluster: &'static Cluster,
    pub(crate) rest: Rest,
    /// Held until the test is over.
    _turn: G,
}

static TURNS: RwLock<()> = RwLock::const_new(());

/// Returns the cluster, shared with other tests.
pub(crate) async fn cluster() -> Bed<RwLockReadGuard<'static, ()>> {
    let cluster = started().await;
    let turn = TURNS.read().await;
    Bed { cluster, rest: cluster.bed.rest().await.unwrap(), _turn: turn }
}

/// Returns the cluster for a test that disturbs it: no other test runs meanwhile.
pub(crate) async fn cluster_alone() -> Bed<RwLockWriteGuard<'static, ()>> {
    let cluster = started().await;
    let turn = TURNS.write().await;
    Bed { cluster, rest: cluster.bed.rest().await.unwrap(), _turn: turn }
}

async fn started() -> &'static Cluster {
    static CLUSTER: OnceCell<Result<Cluster, String>> = OnceCell::const_new();

    let started = CLUSTER.get_or_init(|| async { start().await.map_err(|error| error.to_string()) }).await;
    started.as_ref().unwrap_or_else(|error| panic!("no cluster: {error}"))
}

async fn start() -> Result<Cluster> {
    let cluster = Cluster::start().await?;
    engines::prepare(&cluster).await?;
    cluster.install_sandgate(&program()?).await?;
    cluster.until_validated().await?;
    // What an attacker would like.
    let runc = json!({"metadata": {"name": "runc"}, "handler": "runc"});
    cluster.bed.rest().await?.post("/apis/node.k8s.io/v1/runtimeclasses", &runc).await?;
    Ok(cluster)
}
