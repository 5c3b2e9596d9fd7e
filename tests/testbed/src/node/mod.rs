//! A scheduler and a kubelet, as far as sandgate's own pods need them: each pod of one namespace is placed, its
//! program started as a process on loopback, probed, restarted, and ended by the pod's settings.
//!
//! Differences: every pod has the address 127.0.0.1, so each of its ports is a free one; a mount is a
//! folder elsewhere; and the token of its service account comes in a kubeconfig. Arguments and variables that name one
//! of these are rewritten. Endpoints follow a moment after the pods, as kube-proxy does.

mod mounts;
mod probe;
mod running;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use self::running::Running;
use super::{
    ControlPlane, Rest, Result, plain_http,
    process::{Process, Signals, tail},
    service_proxy::Endpoints,
};

/// The delay of endpoints: a node of a real cluster gets a change some moments after it.
const ENDPOINT_LAG: Duration = Duration::from_secs(1);

/// The interval at which the node reconciles its pods.
const TICK: Duration = Duration::from_millis(100);

/// Works until it is dropped; then the programs of its pods end at once.
pub struct Node {
    pods: Pods,
    work: JoinHandle<()>,
}

/// The pods as they were at the last look.
type Pods = Arc<Mutex<Vec<NodePod>>>;

/// A pod of the node, as a test sees it.
#[derive(Debug, Clone)]
pub struct NodePod {
    /// The name of the Pod.
    pub name: String,
    /// True if its readiness probe succeeds.
    pub is_ready: bool,
    /// True if it has been deleted and is shutting down.
    pub is_ending: bool,
    /// The number of restarts of its program.
    pub restarts: u32,
    /// The port of 127.0.0.1 that stands for this one of the container.
    pub ports: BTreeMap<u64, u16>,
    process: Signals,
    log: PathBuf,
}

impl NodePod {
    /// Returns the folder of a volume of its own.
    #[must_use]
    pub fn volume(&self, name: &str) -> PathBuf {
        self.log.with_file_name(name)
    }

    /// Returns the value of a metric from the port that stands for 8080; `None` if nothing answers.
    pub async fn metric(&self, name: &str) -> Option<i64> {
        plain_http::metric(*self.ports.get(&8080)?, name).await
    }
}

/// The connection of the node to its cluster.
struct Cluster {
    rest: Rest,
    namespace: String,
    program: PathBuf,
    /// The words in front of the program.
    prefix: Vec<String>,
    kubeconfig: Value,
    folder: PathBuf,
}

impl Node {
    /// Runs the pods of `namespace`, all of them by sandgate's program; `endpoints` get those that are ready, by the
    /// port that stands for 10250.
    ///
    /// # Errors
    /// Returns an error if sandgate is not built, or the bed cannot be asked.
    pub async fn start(bed: &ControlPlane, namespace: &str, endpoints: Endpoints) -> Result<Self> {
        Self::start_by_way_of(Vec::new(), bed, namespace, endpoints).await
    }

    /// The same, with these words in front of each program, such as [`super::ControlGroup::prefix`].
    ///
    /// # Errors
    /// Returns the errors of [`Self::start`].
    pub async fn start_by_way_of(
        prefix: Vec<String>,
        bed: &ControlPlane,
        namespace: &str,
        endpoints: Endpoints,
    ) -> Result<Self> {
        let folder = bed.folder().join(format!("node-{namespace}"));
        fs::create_dir_all(&folder)?;
        let cluster = Cluster {
            rest: bed.rest().await?,
            namespace: namespace.to_owned(),
            program: super::sandgate::program()?,
            prefix,
            kubeconfig: serde_json::from_slice(&fs::read(bed.kubeconfig())?)?,
            folder,
        };
        let pods = Pods::default();
        let work = tokio::spawn(work(cluster, Arc::clone(&pods), endpoints));
        Ok(Self { pods, work })
    }

    /// The pods that run here now, by name.
    #[must_use]
    pub fn pods(&self) -> Vec<NodePod> {
        self.pods.lock().expect("no holder panics").clone()
    }

    /// Sends the program of a pod a signal, such as `KILL` or `STOP`.
    ///
    /// # Errors
    /// Returns an error if there is no such pod, or its program is not running.
    pub fn signal(&self, pod: &str, signal: &str) -> Result<()> {
        let pods = self.pods();
        let found = pods.iter().find(|running| running.name == pod);
        found.ok_or_else(|| format!("no pod {pod} runs here"))?.process.send(signal)
    }

    /// Returns the last output of the pods' programs.
    #[must_use]
    pub fn logs(&self) -> String {
        let logs = self.pods().into_iter().map(|pod| format!("--- {}\n{}\n", pod.name, tail(&pod.log)));
        logs.collect::<Vec<_>>().concat()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.work.abort();
    }
}

async fn work(cluster: Cluster, pods: Pods, endpoints: Endpoints) {
    let mut running = BTreeMap::new();
    let mut published = Vec::new();
    loop {
        // The API server may be restarting.
        if let Err(error) = look(&cluster, &mut running).await {
            eprintln!("node: {error}");
        }
        let seen: Vec<NodePod> = running.values().map(Running::seen).collect();
        let ready = ready_ports(&seen);
        *pods.lock().expect("no holder panics") = seen;
        if ready != published {
            published.clone_from(&ready);
            let endpoints = endpoints.clone();
            tokio::spawn(async move {
                tokio::time::sleep(ENDPOINT_LAG).await;
                endpoints.set(ready);
            });
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Returns the ports for reviews of the pods that are ready and not shutting down.
fn ready_ports(pods: &[NodePod]) -> Vec<u16> {
    const REVIEWS: u64 = 10250;
    let ready = pods.iter().filter(|pod| pod.is_ready && !pod.is_ending);
    ready.filter_map(|pod| pod.ports.get(&REVIEWS).copied()).collect()
}

/// Looks once at every pod there is, and at those that are no more.
async fn look(cluster: &Cluster, running: &mut BTreeMap<String, Running>) -> Result<()> {
    let list = cluster.rest.get(&cluster.path("/pods")).await?;
    let list: Vec<&Value> = list["items"].as_array().into_iter().flatten().collect();
    // Deleted without a grace period: the program ends with its entry.
    running.retain(|uid, _| list.iter().any(|pod| pod["metadata"]["uid"] == uid.as_str()));
    for pod in list {
        if let Err(error) = tend(cluster, running, pod).await {
            eprintln!("node: pod {}: {error}", pod["metadata"]["name"]);
        }
    }
    Ok(())
}

/// One look at one pod.
async fn tend(cluster: &Cluster, running: &mut BTreeMap<String, Running>, pod: &Value) -> Result<()> {
    let uid = pod["metadata"]["uid"].as_str().ok_or("a pod has a uid")?;
    if let Some(here) = running.get_mut(uid) {
        if !here.tend(cluster, pod).await? {
            running.remove(uid);
        }
        return Ok(());
    }
    if pod["metadata"]["deletionTimestamp"].is_string() {
        return cluster.forget(pod).await;
    }
    if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
        return Ok(());
    }
    cluster.place(pod).await?;
    running.insert(uid.to_owned(), Running::start(cluster, pod).await?);
    Ok(())
}

impl Cluster {
    /// The path of the namespace, or of what is in it.
    fn path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}{rest}", self.namespace)
    }

    fn pod_path(&self, pod: &Value, rest: &str) -> String {
        self.path(&format!("/pods/{}{rest}", pod["metadata"]["name"].as_str().unwrap_or_default()))
    }

    /// Starts the program.
    fn start(
        &self,
        name: &str,
        arguments: &[String],
        environment: &[(String, String)],
        folder: &Path,
    ) -> Result<Process> {
        Process::start_by_way_of(self.prefix.clone(), name, &self.program, arguments, environment, folder)
    }

    async fn place(&self, pod: &Value) -> Result<()> {
        if pod["spec"]["nodeName"].is_string() {
            return Ok(());
        }
        let binding = json!({
            "metadata": {"name": pod["metadata"]["name"]},
            "target": {"kind": "Node", "name": "node-1"},
        });
        self.rest.post(&self.pod_path(pod, "/binding"), &binding).await?;
        Ok(())
    }

    /// The last word of a kubelet: nothing of the pod is left.
    async fn forget(&self, pod: &Value) -> Result<()> {
        self.rest.delete(&self.pod_path(pod, "?gracePeriodSeconds=0")).await?;
        Ok(())
    }
}
