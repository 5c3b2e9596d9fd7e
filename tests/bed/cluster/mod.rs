//! A real cluster of one node, with gVisor: control plane, scheduler, kubelet, kube-proxy, containerd and runsc, in
//! namespaces of their own. It needs root on Linux, and some packages: see [`ground`].
//!
//! ```ignore
//! let cluster = Cluster::start().await?;
//! cluster.install_sandgate(&program()).await?;
//! cluster.bed.kubectl(&["run", "hello", "--image=busybox:bed", "-n", "workflows"]).await;
//! ```
//!
//! The node carries the taint and the label of the built-in policy, so nothing runs on it that does not ask for it.

mod enclosure;
mod ground;
mod images;
mod node;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};

pub(crate) use self::{
    enclosure::{ADDRESS, Enclosure},
    ground::missing,
};
use self::{images::Images, node::Node};
use super::{
    ControlPlane, Output, Result, command,
    control_plane::{NODE, work_folder},
    eventually,
    place::Place,
    say,
};

/// The cluster; everything of it is gone when it is dropped, or when this process is killed.
pub(crate) struct Cluster {
    // Ends in this order.
    node: tokio::sync::Mutex<Option<Node>>,
    pub(crate) bed: ControlPlane,
    programs: node::Programs,
    enclosure: Arc<Enclosure>,
}

impl Cluster {
    /// Starts all of it, and waits until the node is ready.
    ///
    /// # Errors
    /// What is missing, or which part ended, with the end of its log.
    pub(crate) async fn start() -> Result<Self> {
        if let Some(missing) = missing() {
            return Err(missing.into());
        }
        let programs = tokio::task::spawn_blocking(node::Programs::find).await??;
        let (folder, guard) = work_folder()?;
        say("starting the namespaces and the control plane …");
        let enclosure = Arc::new(Enclosure::start(&folder).await?);
        let bed = ControlPlane::start_in(Place::Enclosure(Arc::clone(&enclosure)), folder, guard).await?;
        say("starting the node …");
        let node = Node::start(&programs, &enclosure, bed.folder())?;
        let cluster = Self { node: Some(node).into(), bed, programs, enclosure };
        cluster.images().import_usual()?;
        cluster.until_ready().await?;
        Ok(cluster)
    }

    /// # Errors
    /// When a part of it has ended by itself: with the end of its log.
    pub(crate) async fn check(&self) -> Result<()> {
        self.enclosure.check()?;
        self.node.lock().await.as_mut().map_or(Ok(()), Node::check)
    }

    async fn until_ready(&self) -> Result<()> {
        let rest = self.bed.rest().await?;
        eventually("the node is ready", async || {
            self.check().await?;
            let node = rest.get(&format!("/api/v1/nodes/{NODE}")).await.unwrap_or_default();
            let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
            Ok(conditions.iter().any(is_ready).then_some(()))
        })
        .await
    }

    /// Puts an image with these files on the node; `NAME:TAG` is how pods name it.
    ///
    /// # Errors
    /// When it cannot be packed or imported.
    pub(crate) fn import(&self, name: &str, files: &[(&Path, &str)], entrypoint: &[&str]) -> Result<()> {
        self.images().import(name, files, entrypoint)
    }

    fn images(&self) -> Images<'_> {
        Images { folder: self.bed.folder(), ctr: self.containerd_client() }
    }

    /// How to call containerd's client in the node.
    fn containerd_client(&self) -> Vec<String> {
        let ctr = self.programs.containerd.with_file_name("ctr").display().to_string();
        let more = [ctr, "--address".into(), node::SOCKET.into(), "--namespace".into(), "k8s.io".into()];
        [self.enclosure.node(), more.into()].concat()
    }

    /// What containerd says, asked by its own client.
    ///
    /// # Errors
    /// When it says no.
    pub(crate) fn ctr(&self, arguments: &[&str]) -> Result<Output> {
        let words = self.containerd_client();
        command::run(std::process::Command::new(&words[0]).args(&words[1..]).args(arguments), "")
    }

    /// Runs a program in the node, beside the kubelet.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn run_in_node(&self, arguments: &[&str]) -> Result<Output> {
        let words = self.enclosure.node();
        command::run(std::process::Command::new(&words[0]).args(&words[1..]).args(arguments), "")
    }

    /// Kills the kubelet, the proxy, containerd and every container at once, and starts the node again.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) async fn restart_node(&self) -> Result<()> {
        let mut slot = self.node.lock().await;
        drop(slot.take());
        // Whatever is left in the node but its first process and this one.
        let killed = r#"for pid in $(ls /proc); do case $pid in 1|$$|*[!0-9]*) ;; *) kill -KILL "$pid" 2>/dev/null ;; esac; done; :"#;
        self.run_in_node(&["sh", "-c", killed])?;
        *slot = Some(Node::start(&self.programs, &self.enclosure, self.bed.folder())?);
        drop(slot);
        self.until_ready().await
    }

    /// Where the parts of it write their logs, and where the kubeconfig is.
    pub(crate) fn folder(&self) -> &Path {
        self.bed.folder()
    }

    /// How to call a program of the machine so that it sees the cluster's network.
    pub(crate) fn network(&self) -> Vec<String> {
        self.enclosure.network()
    }

    /// The real kubectl.
    pub(crate) fn kubectl_program(&self) -> PathBuf {
        self.bed.kubectl_program().to_owned()
    }

    /// Installs the chart with this binary as its image, and waits until it judges.
    ///
    /// # Errors
    /// When helm says no.
    pub(crate) async fn install_sandgate(&self, program: &Path, flags: &[&str]) -> Result<()> {
        self.images().import_program(SANDGATE_IMAGE, program)?;
        let rest = self.bed.rest().await?;
        // What Pods of the node need to be run: it is there for sandboxes.
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/sandgate");
        let (repository, tag) = SANDGATE_IMAGE.split_once(':').ok_or("an image has a tag")?;
        let settings = json!({
            "image": {"repository": repository, "tag": tag},
            "tolerations": [node::toleration()],
            "runtimeClass": {"create": true, "overhead": node::overhead()},
            "workflowNamespaces": {"names": ["workflows"]},
            "test": {"image": images::BUSYBOX},
        });
        let values = self.folder().join("sandgate-values.yaml");
        std::fs::write(&values, settings.to_string())?;
        let values = format!("--values={}", values.display());
        let usual = ["install", "sandgate", chart, "--namespace=sandgate", "--create-namespace", &values];
        let installed = self.bed.helm(&[&usual, ["--wait", "--timeout=110s"].as_slice(), flags].concat()).await;
        if !installed.success {
            return Err(format!("helm install failed: {}{}", installed.stderr, installed.stdout).into());
        }
        eventually("pods are judged", async || {
            self.check().await?;
            let pod = json!({"metadata": {"name": "probe"}, "spec": {"containers": [{"name": "main", "image": "a"}]}});
            let answer = rest.post("/api/v1/namespaces/workflows/pods?dryRun=All", &pod).await;
            Ok(answer.ok().filter(|pod| pod["spec"]["runtimeClassName"] == "gvisor").map(drop))
        })
        .await
    }
}

/// What the image with the sandgate of this checkout is called.
const SANDGATE_IMAGE: &str = "localhost/sandgate:bed";
