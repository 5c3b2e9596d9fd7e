//! A real cluster of one node, with gVisor: control plane, scheduler, kubelet, kube-proxy, kube-router, `CoreDNS`,
//! containerd and runsc, in namespaces of their own. It needs root on Linux, and some packages: see [`requirements`].
//!
//! ```text
//! let cluster = Cluster::start().await?;
//! cluster.install_sandgate(&program()).await?;
//! cluster.bed.kubectl(&["run", "hello", "--image=busybox:bed", "-n", "workflows"]).await;
//! ```
//!
//! The node carries the taint and the label of the built-in policy, so nothing runs on it that does not ask for it.

mod controller;
mod dns;
mod images;
mod namespaces;
mod node;
mod programs;
mod requirements;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};

pub(crate) use self::namespaces::{ADDRESS, Namespaces};
pub use self::{controller::Sources, requirements::missing};
use self::{images::Images, node::Node};
use super::{
    ControlPlane, Output, Result,
    assets::helm,
    command,
    control_plane::{NODE, work_folder},
    eventually,
    host::Host,
    load::{is_sandboxed, plain_pod},
    process::Process,
    progress,
    rest::is_ready,
};

/// The cluster; everything of it is gone when it is dropped, or when this process is killed.
pub struct Cluster {
    // Ends in this order.
    node: tokio::sync::Mutex<Option<Node>>,
    /// The control plane of the cluster.
    pub bed: ControlPlane,
    programs: node::Programs,
    namespaces: Arc<Namespaces>,
}

impl Cluster {
    /// Starts all of it, and waits until the node is ready.
    ///
    /// # Errors
    /// Returns an error if something is missing, or if a part ended: with the end of its log.
    pub async fn start() -> Result<Self> {
        if let Some(missing) = missing() {
            return Err(missing.into());
        }
        let programs = tokio::task::spawn_blocking(node::Programs::find).await??;
        let (folder, guard) = work_folder()?;
        progress("starting the namespaces and the control plane …");
        let namespaces = Arc::new(Namespaces::start(&folder).await?);
        let bed =
            ControlPlane::start_in(Host::Namespaces(Arc::clone(&namespaces)), folder, guard, Vec::new())
                .await?;
        progress("starting the node …");
        let node = Node::start(&programs, &namespaces, bed.folder()).await?;
        let cluster = Self { node: Some(node).into(), bed, programs, namespaces };
        cluster.images().import_usual()?;
        cluster.images().import_program(dns::IMAGE, &cluster.programs.dns)?;
        dns::install(&cluster.bed.rest().await?).await?;
        cluster.until_ready().await?;
        Ok(cluster)
    }

    /// # Errors
    /// Returns an error if a part of it has ended by itself: with the end of its log.
    pub async fn check(&self) -> Result<()> {
        self.namespaces.check()?;
        self.node.lock().await.as_mut().map_or(Ok(()), Node::check)
    }

    async fn until_ready(&self) -> Result<()> {
        let rest = self.bed.rest().await?;
        let node = format!("/api/v1/nodes/{NODE}");
        eventually("the node is registered", async || {
            self.check().await?;
            Ok(rest.get(&node).await.ok())
        })
        .await?;
        if let Some(node) = self.node.lock().await.as_mut() {
            node.enforce_policies(&self.programs, &self.namespaces, self.folder())?;
        }
        eventually("the node is ready", async || {
            self.check().await?;
            let node = rest.get(&node).await.unwrap_or_default();
            Ok(is_ready(&node).then_some(()))
        })
        .await
    }

    /// Puts an image with these files on the node; `NAME:TAG` is how pods name it.
    ///
    /// # Errors
    /// Returns an error if it cannot be packed or imported.
    pub fn import(&self, name: &str, files: &[(&Path, &str)], entrypoint: &[&str]) -> Result<()> {
        self.images().import(name, files, entrypoint)
    }

    /// The same, with these instructions of a Dockerfile, which run with a busybox among the files.
    ///
    /// # Errors
    /// Returns an error if it cannot be packed or imported.
    pub fn import_with(
        &self,
        name: &str,
        files: &[(&Path, &str)],
        entrypoint: &[&str],
        instructions: &str,
    ) -> Result<()> {
        self.images().import_with(name, files, entrypoint, instructions)
    }

    /// Puts an image on the node with folders and programs of this machine under the same paths, the libraries of the
    /// programs, a shell, and these instructions of a Dockerfile.
    ///
    /// # Errors
    /// Returns an error if it cannot be packed or imported.
    pub fn import_tree(
        &self,
        name: &str,
        folders: &[&Path],
        programs: &[&Path],
        instructions: &str,
    ) -> Result<()> {
        self.images().import_tree(name, folders, programs, instructions)
    }

    /// Compiles a program of the tests, whose sources stand around this `main.rs`, and puts an image of it on the node.
    ///
    /// # Errors
    /// Returns the compiler's errors, or those of [`Self::import`].
    pub fn import_source(&self, name: &str, source: &Path) -> Result<()> {
        let program = programs::compile(source, self.folder())?;
        self.images().import_program(name, &program)
    }

    fn images(&self) -> Images {
        Images { ctr: self.containerd_client() }
    }

    /// Returns the command line of containerd's client in the node.
    pub fn containerd_client(&self) -> Vec<String> {
        self.programs.containerd_client(&self.namespaces)
    }

    /// Runs containerd's client and returns its output.
    ///
    /// # Errors
    /// Returns an error if the client fails.
    pub fn ctr(&self, arguments: &[&str]) -> Result<Output> {
        command::run(command::of(&self.containerd_client()).args(arguments), "")
    }

    /// Runs a program in the node, beside the kubelet.
    ///
    /// # Errors
    /// Returns an error if it does not start.
    pub fn run_in_node(&self, arguments: &[&str]) -> Result<Output> {
        command::run(command::of(&self.namespaces.node()).args(arguments), "")
    }

    /// Kills the kubelet, the proxy, containerd and every container at once, and starts the node again.
    ///
    /// # Errors
    /// Returns an error if it is not ready in time.
    pub async fn restart_node(&self) -> Result<()> {
        let mut slot = self.node.lock().await;
        drop(slot.take());
        // All processes of the node but its first one and this one.
        let killed = r#"for pid in $(ls /proc); do case $pid in 1|$$|*[!0-9]*) ;; *) kill -KILL "$pid" 2>/dev/null ;; esac; done; :"#;
        self.run_in_node(&["sh", "-c", killed])?;
        *slot = Some(Node::start(&self.programs, &self.namespaces, self.bed.folder()).await?);
        drop(slot);
        self.until_ready().await
    }

    /// Returns the toleration that a pod needs to run on the node.
    #[must_use]
    pub fn toleration() -> Value {
        node::toleration()
    }

    /// Returns the folder of the logs of its parts and of the kubeconfig.
    pub fn folder(&self) -> &Path {
        self.bed.folder()
    }

    /// Returns the command line before a program of the machine, so that it sees the cluster's network.
    pub fn network(&self) -> Vec<String> {
        self.namespaces.network()
    }

    /// Returns the path of the real helm.
    ///
    /// # Errors
    /// Returns an error if it is not there and cannot be built.
    pub fn helm_program() -> Result<PathBuf> {
        helm()
    }

    /// Starts a kubectl that goes on until it is dropped.
    ///
    /// # Errors
    /// Returns an error if it does not start.
    pub fn start_kubectl(&self, name: &str, arguments: &[String]) -> Result<Process> {
        let kubeconfig = format!("--kubeconfig={}", self.bed.kubeconfig().display());
        let arguments = [&[kubeconfig], arguments].concat();
        Process::start_in(self.network(), name, self.bed.kubectl_program(), &arguments, self.folder())
    }

    /// Adds values of the chart, such as further policies, to every later installation and upgrade.
    ///
    /// # Errors
    /// Returns an error if they cannot be written.
    pub fn add_values(&self, values: &Value) -> Result<()> {
        Ok(fs::write(self.folder().join(MORE_VALUES), values.to_string())?)
    }

    /// Installs the chart with this binary in an image, and waits until pods are evaluated.
    ///
    /// # Errors
    /// Returns an error if helm fails.
    pub async fn install_sandgate(&self, program: &Path) -> Result<()> {
        self.images().import_program(&format!("{}:{}", SANDGATE_IMAGE.0, SANDGATE_IMAGE.1), program)?;
        self.helm_sandgate("install", &[]).await
    }

    /// The same with the image that `make image` has written.
    ///
    /// # Errors
    /// Returns an error if the chart is invalid, or helm fails.
    pub async fn install_sandgate_from(&self, archive: &Path) -> Result<()> {
        self.images().import_archive(archive)?;
        self.helm_sandgate("install", &[concat!("--set=image.tag=", env!("CARGO_PKG_VERSION"))]).await
    }

    /// Upgrades it to the same, with these flags besides.
    ///
    /// # Errors
    /// Returns an error if helm fails.
    pub async fn upgrade_sandgate(&self, flags: &[&str]) -> Result<()> {
        self.helm_sandgate("upgrade", flags).await
    }

    async fn helm_sandgate(&self, command: &str, flags: &[&str]) -> Result<()> {
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/sandgate");
        let values = self.folder().join("sandgate-values.yaml");
        fs::write(&values, sandgate_values().to_string())?;
        let values = format!("--values={}", values.display());
        // A policy is enforced behind the translation of the Service's address, so it sees the API server's own port.
        let port = format!("--set=networkPolicy.apiServerPorts={{{}}}", self.bed.apiserver_port());
        let usual =
            [command, "sandgate", chart, &values, &port, "--namespace=sandgate", "--wait", "--timeout=110s"];
        let more = self.folder().join(MORE_VALUES);
        let more = more.is_file().then(|| format!("--values={}", more.display()));
        let flags = [more.as_deref().as_slice(), flags].concat();
        let first: &[&str] = if command == "install" { &["--create-namespace"] } else { &[] };
        let done = self.bed.helm(&[&usual, first, &flags].concat()).await;
        if !done.success {
            return Err(format!("helm {command} failed: {}{}", done.stderr, done.stdout).into());
        }
        self.until_guarded().await
    }

    /// Waits until the validating webhook is armed too, some seconds after the other.
    ///
    /// # Errors
    /// Returns an error if it is not in time.
    pub async fn until_validated(&self) -> Result<()> {
        let rest = self.bed.rest().await?;
        let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/sandgate";
        eventually("the validating webhook is armed", async || {
            let configuration = rest.get(path).await?;
            let webhooks = configuration["webhooks"].as_array().ok_or("it has webhooks")?;
            Ok(webhooks.iter().all(|webhook| webhook["rules"].is_array()).then_some(()))
        })
        .await
    }

    /// Waits until pods are evaluated.
    ///
    /// # Errors
    /// Returns an error if they are not in time, or a part of the cluster has ended.
    pub async fn until_guarded(&self) -> Result<()> {
        let rest = self.bed.rest().await?;
        eventually("pods are evaluated", async || {
            self.check().await?;
            let answer = rest.post("/api/v1/namespaces/workflows/pods?dryRun=All", &plain_pod()).await;
            Ok(answer.ok().filter(is_sandboxed).map(drop))
        })
        .await
    }
}

/// The file of [`Cluster::add_values`].
const MORE_VALUES: &str = "sandgate-more-values.yaml";

/// The name and tag of the image with the sandgate of this checkout.
const SANDGATE_IMAGE: (&str, &str) = ("localhost/sandgate", "bed");

/// The values of the chart in this cluster.
fn sandgate_values() -> Value {
    let (repository, tag) = SANDGATE_IMAGE;
    json!({
        "image": {"repository": repository, "tag": tag},
        // Nothing else runs on this node without it.
        "tolerations": [node::toleration()],
        "runtimeClass": {"create": true, "overhead": node::overhead()},
        "policies": {"workflow-runner": {"namespaces": ["workflows"]}},
        "backstop": {"enabled": true},
        "workflowNamespaces": {
            "names": ["workflows"],
            "networkPolicy": {"enabled": true},
            "resourceQuota": {"enabled": true},
        },
        "test": {"image": images::BUSYBOX},
        // One node's proxy follows within a second.
        "server": {"extraArgs": ["--arm-after=1"]},
    })
}
