//! One pod of the node: its program, its probes, its status.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Cluster, NodePod, mounts::Mount, probe::Probe};
use crate::{Process, Result, free_port};

/// The file of the container's termination message.
const TERMINATION_MESSAGE: &str = "/dev/termination-log";

/// The delay before a program that ended is restarted; a kubelet begins with 10 s.
const BACK_OFF: Duration = Duration::from_secs(1);

/// A pod that was started here.
pub(super) struct Running {
    pub(super) name: String,
    container: String,
    folder: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    ports: BTreeMap<u64, u16>,
    mounts: Vec<Mount>,
    restarts_always: bool,
    process: Process,
    probes: Probes,
    restarts: u32,
    /// The time of the next start of its program, and how it ended.
    down: Option<(Instant, ExitStatus)>,
    /// The time at which its terminating program is killed.
    killed_at: Option<Instant>,
    /// The status that the API server got last.
    reported: Value,
}

/// The probes of a container.
struct Probes {
    startup: Option<Probe>,
    readiness: Option<Probe>,
    liveness: Option<Probe>,
}

impl Probes {
    fn of(container: &Value, ports: &BTreeMap<u64, u16>) -> Self {
        let [startup, readiness, liveness] =
            ["startupProbe", "readinessProbe", "livenessProbe"].map(|kind| Probe::of(container, kind, ports));
        Self { startup, readiness, liveness }
    }

    /// Until it has started, nothing else is asked.
    async fn ask(&mut self) {
        if let Some(startup) = self.startup.as_mut().filter(|probe| !probe.holds) {
            startup.ask().await;
            return;
        }
        for probe in [&mut self.readiness, &mut self.liveness].into_iter().flatten() {
            probe.ask().await;
        }
    }

    fn is_ready(&self) -> bool {
        let [startup, readiness] =
            [&self.startup, &self.readiness].map(|probe| probe.as_ref().is_none_or(|probe| probe.holds));
        startup && readiness
    }

    fn wants_a_restart(&self) -> bool {
        let is_late = self.startup.as_ref().is_some_and(|probe| !probe.holds && probe.has_failed());
        is_late || self.liveness.as_ref().is_some_and(Probe::has_failed)
    }
}

impl Running {
    /// Starts the pod's only container.
    pub(super) async fn start(cluster: &Cluster, pod: &Value) -> Result<Self> {
        let name = pod["metadata"]["name"].as_str().ok_or("a pod has a name")?.to_owned();
        let container = &pod["spec"]["containers"][0];
        let folder = cluster.folder.join(&name);
        fs::create_dir_all(&folder)?;
        let mut mounts = Mount::all(cluster, pod, container, &folder)?;
        for mount in &mut mounts {
            mount.refresh(cluster).await?;
        }
        let ports = ports(container);
        let rewrite = Rewrite { ports: &ports, mounts: &mounts, folder: &folder };
        let mut environment = environment(pod, container)?;
        let arguments = strings(&container["args"]).map(|argument| rewrite.apply(&argument, &environment));
        let arguments: Vec<String> = arguments.collect();
        if let Some(kubeconfig) = kubeconfig(cluster, pod, &folder).await? {
            environment.push(("KUBECONFIG".into(), kubeconfig));
        }
        let process = cluster.start(&name, &arguments, &environment, &folder)?;
        Ok(Self {
            container: container["name"].as_str().unwrap_or_default().to_owned(),
            probes: Probes::of(container, &ports),
            restarts_always: pod["spec"]["restartPolicy"] == "Always",
            name,
            folder,
            arguments,
            environment,
            ports,
            mounts,
            process,
            restarts: 0,
            down: None,
            killed_at: None,
            reported: Value::Null,
        })
    }

    /// Looks after it; answers whether there is still something to look after.
    pub(super) async fn tend(&mut self, cluster: &Cluster, pod: &Value) -> Result<bool> {
        if pod["metadata"]["deletionTimestamp"].is_string() {
            return self.end(cluster, pod).await;
        }
        for mount in &mut self.mounts {
            mount.refresh(cluster).await?;
        }
        self.restart_where_due(cluster, pod)?;
        if self.down.is_none() {
            self.probes.ask().await;
        }
        self.report(cluster, pod).await?;
        Ok(true)
    }

    fn restart_where_due(&mut self, cluster: &Cluster, pod: &Value) -> Result<()> {
        if let Some((at, _)) = self.down {
            if !self.restarts_always || Instant::now() < at {
                return Ok(());
            }
            let Self { name, arguments, environment, folder, .. } = self;
            self.process = cluster.start(name, arguments, environment, folder)?;
            self.probes = Probes::of(&pod["spec"]["containers"][0], &self.ports);
            self.restarts += 1;
            self.down = None;
            return Ok(());
        }
        if self.probes.wants_a_restart() {
            self.process.signals().send("KILL")?;
        }
        if let Some(status) = self.process.ended()? {
            self.down = Some((Instant::now() + BACK_OFF, status));
        }
        Ok(())
    }

    /// SIGTERM, then time, then SIGKILL.
    async fn end(&mut self, cluster: &Cluster, pod: &Value) -> Result<bool> {
        let is_over = self.down.is_some() || self.process.ended()?.is_some();
        match self.killed_at {
            _ if is_over => {}
            None => {
                let grace = pod["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or(30);
                self.killed_at = Some(Instant::now() + Duration::from_secs(grace));
                self.process.signals().send("TERM")?;
                return Ok(true);
            }
            Some(at) if Instant::now() < at => return Ok(true),
            Some(_) => self.process.signals().send("KILL")?,
        }
        cluster.forget(pod).await?;
        Ok(false)
    }

    /// Reports a changed status to the API server.
    async fn report(&mut self, cluster: &Cluster, pod: &Value) -> Result<()> {
        let status = self.status();
        if status != self.reported {
            cluster.rest.merge(&cluster.pod_path(pod, "/status"), &json!({"status": status})).await?;
            self.reported = status;
        }
        Ok(())
    }

    fn status(&self) -> Value {
        let is_ready = self.is_ready();
        let condition =
            |kind: &str, holds: bool| json!({"type": kind, "status": if holds { "True" } else { "False" }});
        let terminated = self.down.map(|(_, status)| {
            let message = fs::read_to_string(self.folder.join("termination-log")).unwrap_or_default();
            json!({"terminated": {"exitCode": status.code().unwrap_or(137), "message": message}})
        });
        let is_over = terminated.is_some() && !self.restarts_always;
        let phase = match self.down {
            Some((_, status)) if is_over => {
                if status.success() {
                    "Succeeded"
                } else {
                    "Failed"
                }
            }
            _ => "Running",
        };
        let state = match &terminated {
            None => json!({"running": {}}),
            Some(terminated) if is_over => terminated.clone(),
            Some(_) => json!({"waiting": {"reason": "CrashLoopBackOff"}}),
        };
        let mut container = json!({
            "name": self.container, "image": "sandgate", "imageID": "sandgate", "ready": is_ready,
            "restartCount": self.restarts, "state": state,
        });
        if let Some(terminated) = terminated.filter(|_| !is_over) {
            container["lastState"] = terminated;
        }
        json!({
            "phase": phase,
            "conditions": [
                condition("PodScheduled", true), condition("Initialized", true),
                condition("ContainersReady", is_ready), condition("Ready", is_ready),
            ],
            "containerStatuses": [container],
        })
    }

    fn is_ready(&self) -> bool {
        self.down.is_none() && self.probes.is_ready()
    }

    /// Returns what a test sees of the pod.
    pub(super) fn seen(&self) -> NodePod {
        NodePod {
            name: self.name.clone(),
            is_ready: self.is_ready(),
            is_ending: self.killed_at.is_some(),
            restarts: self.restarts,
            ports: self.ports.clone(),
            process: self.process.signals(),
            log: self.process.log.clone(),
        }
    }
}

fn strings(list: &Value) -> impl Iterator<Item = String> {
    list.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned))
}

/// A free port for each that the container declares.
fn ports(container: &Value) -> BTreeMap<u64, u16> {
    let declared = container["ports"].as_array().into_iter().flatten();
    declared.filter_map(|port| Some((port["containerPort"].as_u64()?, free_port()))).collect()
}

/// The container's variables: values, and the namespace by the downward API.
fn environment(pod: &Value, container: &Value) -> Result<Vec<(String, String)>> {
    let variables = container["env"].as_array().into_iter().flatten();
    variables
        .map(|variable| {
            let name = variable["name"].as_str().unwrap_or_default().to_owned();
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some("metadata.namespace") => &pod["metadata"]["namespace"],
                Some("metadata.name") => &pod["metadata"]["name"],
                Some(other) => return Err(format!("this node does not know the field {other}").into()),
                None => &variable["value"],
            };
            Ok((name, value.as_str().unwrap_or_default().to_owned()))
        })
        .collect()
}

/// Rewrites arguments of a container to the ports and mounts of this node.
struct Rewrite<'r> {
    ports: &'r BTreeMap<u64, u16>,
    mounts: &'r [Mount],
    folder: &'r Path,
}

impl Rewrite<'_> {
    fn apply(&self, argument: &str, environment: &[(String, String)]) -> String {
        let mut argument = argument.to_owned();
        for (name, value) in environment {
            argument = argument.replace(&format!("$({name})"), value);
        }
        for (declared, port) in self.ports {
            for every_address in ["0.0.0.0", "[::]"] {
                let declared = format!("{every_address}:{declared}");
                argument = argument.replace(&declared, &format!("127.0.0.1:{port}"));
            }
        }
        for mount in self.mounts {
            argument = argument.replace(&mount.path, &mount.folder.display().to_string());
        }
        argument.replace(TERMINATION_MESSAGE, &self.folder.join("termination-log").display().to_string())
    }
}

/// A kubeconfig with a token of the pod's service account, where the pod gets one.
async fn kubeconfig(cluster: &Cluster, pod: &Value, folder: &Path) -> Result<Option<String>> {
    if pod["spec"]["automountServiceAccountToken"] == false {
        return Ok(None);
    }
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
    let path = cluster.path(&format!("/serviceaccounts/{account}/token"));
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let token = cluster.rest.post(&path, &request).await?["status"]["token"].clone();
    let mut kubeconfig = cluster.kubeconfig.clone();
    kubeconfig["users"][0]["user"] = json!({"token": token});
    let path = folder.join("kubeconfig");
    fs::write(&path, kubeconfig.to_string())?;
    Ok(Some(path.display().to_string()))
}
