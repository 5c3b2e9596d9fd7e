//! containerd, the kubelet, kube-proxy and kube-router, and their configuration.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    super::{
        Result,
        assets::{Assets, Version, containerd, coredns, gvisor, kube_router},
        command,
        control_plane::{NODE, NODE_TOKEN},
        eventually,
        process::Process,
    },
    ADDRESS, Namespaces, dns,
    images::PAUSE,
};

/// The socket of containerd, inside.
pub(super) const SOCKET: &str = "/run/containerd/containerd.sock";

/// The addresses of pods.
const PODS: &str = "10.244.0.0/16";

/// The overhead of a sandbox, as in the RuntimeClass. Measured: see docs/node.md.
pub(super) fn overhead() -> Value {
    json!({"cpu": "50m", "memory": "64Mi"})
}

/// The folders of the node's programs.
#[derive(Clone)]
pub(super) struct Programs {
    pub(super) containerd: PathBuf,
    runsc: PathBuf,
    scheduler: PathBuf,
    kubelet: PathBuf,
    proxy: PathBuf,
    network_policies: PathBuf,
    pub(super) dns: PathBuf,
}

impl Programs {
    /// Finds them; builds what is missing.
    pub(super) fn find() -> Result<Self> {
        let assets = Assets(Version::chosen()?);
        Ok(Self {
            containerd: containerd()?,
            runsc: gvisor()?,
            scheduler: assets.scheduler()?,
            kubelet: assets.kubelet()?,
            proxy: assets.proxy()?,
            network_policies: kube_router()?,
            dns: coredns()?,
        })
    }

    /// Returns the command line before a program in the node. containerd looks for its shims, and the shims for runc
    /// and runsc, in PATH.
    fn prefix(&self, namespaces: &Namespaces) -> Vec<String> {
        let path = env::var("PATH").unwrap_or_default();
        let shims = [&self.containerd, &self.runsc].map(|program| program.parent().unwrap_or(program));
        let path = format!("PATH={}:{}:/usr/sbin:/sbin:{path}", shims[0].display(), shims[1].display());
        [namespaces.node(), vec!["env".into(), path]].concat()
    }

    /// Returns the command line of containerd's client in the node.
    pub(super) fn containerd_client(&self, namespaces: &Namespaces) -> Vec<String> {
        let ctr = self.containerd.with_file_name("ctr").display().to_string();
        let more = [ctr, "--address".into(), SOCKET.into(), "--namespace".into(), "k8s.io".into()];
        [namespaces.node(), more.into()].concat()
    }
}

/// The processes of the node.
pub(super) struct Node {
    // End in this order.
    processes: Vec<Process>,
}

impl Node {
    /// Starts them; the control plane is there.
    pub(super) async fn start(programs: &Programs, namespaces: &Namespaces, folder: &Path) -> Result<Self> {
        let file = |name: &str| folder.join(name).display().to_string();
        write_configuration(programs, namespaces, folder)?;
        let inside = |name: &str, program: &Path, arguments: &[String]| {
            Process::start_in(programs.prefix(namespaces), name, program, arguments, folder)
        };
        let mut containerd =
            inside("containerd", &programs.containerd, &["--config".into(), file("containerd.toml")])?;
        // The kubelet ends where it finds none.
        let client = programs.containerd_client(namespaces);
        eventually("containerd answers", async || {
            containerd.check()?;
            let version = command::run(command::of(&client).arg("version"), "")?;
            Ok(version.success.then_some(()))
        })
        .await?;
        let scheduler = [
            format!("--kubeconfig={}", file("kubeconfig")),
            "--leader-elect=false".into(),
            "--secure-port=0".into(),
        ];
        let scheduler = Process::start_in(
            namespaces.network(),
            "kube-scheduler",
            &programs.scheduler,
            &scheduler,
            folder,
        )?;
        let proxy = [format!("--config={}", file("proxy.json")), format!("--hostname-override={NODE}")];
        let proxy = inside("kube-proxy", &programs.proxy, &proxy)?;
        let kubelet = [
            format!("--config={}", file("kubelet.json")),
            format!("--kubeconfig={}", file("kubeconfig-node")),
            format!("--hostname-override={NODE}"),
            format!("--node-ip={ADDRESS}"),
            "--node-labels=workload-type=workflow-runner".into(),
            "--root-dir=/var/lib/kubelet".into(),
        ];
        let kubelet = inside("kubelet", &programs.kubelet, &kubelet)?;
        Ok(Self { processes: vec![kubelet, proxy, scheduler, containerd] })
    }

    /// Starts what enforces network policies, and leaves routes and Services to others. It ends if the API server does
    /// not know the node yet.
    ///
    /// # Errors
    /// Returns an error if it does not start.
    pub(super) fn enforce_policies(
        &mut self,
        programs: &Programs,
        namespaces: &Namespaces,
        folder: &Path,
    ) -> Result<()> {
        let arguments = [
            format!("--kubeconfig={}", folder.join("kubeconfig").display()),
            format!("--hostname-override={NODE}"),
            "--run-firewall=true".into(),
            "--run-router=false".into(),
            "--run-service-proxy=false".into(),
            "--run-loadbalancer=false".into(),
            "--service-cluster-ip-range=10.96.0.0/16".into(),
            "--metrics-port=0".into(),
            "--health-port=0".into(),
        ];
        let prefix = programs.prefix(namespaces);
        let program = &programs.network_policies;
        self.processes.insert(0, Process::start_in(prefix, "kube-router", program, &arguments, folder)?);
        Ok(())
    }

    /// # Errors
    /// Returns an error if one has ended by itself.
    pub(super) fn check(&mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(Process::check)
    }
}

/// Returns the toleration that a pod needs to run on the node.
pub(super) fn toleration() -> Value {
    json!({"key": "sandbox.gke.io/runtime", "operator": "Equal", "value": "gvisor", "effect": "NoSchedule"})
}

fn write_configuration(programs: &Programs, namespaces: &Namespaces, folder: &Path) -> Result<()> {
    let write = |name: &str, content: String| fs::write(folder.join(name), content);
    let file = |name: &str| folder.join(name).display().to_string();
    let mut kubeconfig: Value = serde_json::from_str(&fs::read_to_string(folder.join("kubeconfig"))?)?;
    kubeconfig["users"][0]["user"]["token"] = json!(NODE_TOKEN);
    write("kubeconfig-node", kubeconfig.to_string())?;
    write("containerd.toml", containerd_toml(programs, folder))?;
    write("runsc.toml", RUNSC.to_owned())?;
    write("resolv.conf", String::new())?;
    write("proxy.json", proxy_json(&file("kubeconfig")).to_string())?;
    write("kubelet.json", kubelet_json(&namespaces.cgroup, folder).to_string())?;
    fs::create_dir_all(folder.join("cni"))?;
    fs::write(folder.join("cni/bed.conflist"), network_json().to_string())?;
    Ok(())
}

/// The configuration of gVisor. Its network stack is the default: its own. `docs/node.md` explains each setting.
const RUNSC: &str = r#"[runsc_config]
platform = "systrap"
"#;

fn containerd_toml(programs: &Programs, folder: &Path) -> String {
    let folder = folder.display();
    let runsc = programs.runsc.display();
    format!(
        r"version = 3
root = '{folder}/containerd'
state = '/run/containerd'
disabled_plugins = ['io.containerd.nri.v1.nri', 'io.containerd.snapshotter.v1.devmapper', 'io.containerd.snapshotter.v1.zfs', 'io.containerd.snapshotter.v1.btrfs', 'io.containerd.snapshotter.v1.erofs', 'io.containerd.tracing.processor.v1.otlp', 'io.containerd.internal.v1.tracing']

[grpc]
address = '{SOCKET}'

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{PAUSE}'

[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
disable_apparmor = true
ignore_image_defined_volumes = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['/usr/lib/cni']
conf_dir = '{folder}/cni'

[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = 'runc'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runsc]
runtime_type = 'io.containerd.runsc.v1'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runsc.options]
TypeUrl = 'io.containerd.runsc.v1.options'
ConfigPath = '{folder}/runsc.toml'
BinaryName = '{runsc}'
"
    )
}

fn kubelet_json(cgroup: &str, folder: &Path) -> Value {
    json!({
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{cgroup}"),
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        // The namespaces have no way out, and none in.
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "imagePullCredentialsVerificationPolicy": "NeverVerify",
        "resolvConf": folder.join("resolv.conf"),
        "clusterDNS": [dns::ADDRESS],
        "clusterDomain": dns::DOMAIN,
        "volumePluginDir": folder.join("plugins"),
        "failSwapOn": false,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        // Else a volume that is too full is seen after a minute.
        "volumeStatsAggPeriod": "10s",
        "registerWithTaints": [{"key": "sandbox.gke.io/runtime", "value": "gvisor", "effect": "NoSchedule"}],
        "maxPods": 110,
        // Of the processes of one Pod, those of its sandbox included.
        "podPidsLimit": 1024,
    })
}

fn proxy_json(kubeconfig: &str) -> Value {
    json!({
        "kind": "KubeProxyConfiguration",
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "clientConnection": {"kubeconfig": kubeconfig},
        "mode": "iptables",
        "clusterCIDR": PODS,
        "bindAddress": ADDRESS,
        "iptables": {"minSyncPeriod": "100ms"},
        // Of the whole machine: left as they are.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    })
}

fn network_json() -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "bed",
        "plugins": [
            {
                "type": "bridge", "bridge": "pods", "isDefaultGateway": true, "hairpinMode": true, "ipMasq": false,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]], "dataDir": "/var/lib/cni/networks"},
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}
