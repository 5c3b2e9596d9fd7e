//! etcd, kube-apiserver and kube-controller-manager, started and ready.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Child,
    sync::Mutex,
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::{
    Output, Rest, Result,
    assets::{Assets, Version},
    eventually, free_port,
    helm::{self, HelmLine},
    host::Host,
    kubectl,
    process::{Process, remove_at_the_end},
};

/// A cluster without nodes, where it is alone: pods are stored and never run.
pub struct ControlPlane {
    kubectl: PathBuf,
    // Ends first.
    _controllers: Process,
    apiserver: ApiServer,
}

/// Only etcd and the API server, which is enough to be asked what it knows.
pub struct ApiServer {
    folder: PathBuf,
    host: Host,
    program: PathBuf,
    ports: Ports,
    flags: Vec<String>,
    /// Ends before etcd; `None` while it is restarted.
    process: Mutex<Option<Process>>,
    _etcd: Process,
    _guard: Option<Child>,
}

impl ApiServer {
    /// Starts both, which takes some seconds once the programs are there.
    ///
    /// # Errors
    /// Returns an error if a program is missing, or ends, or is not ready in time: with the end of its log.
    pub async fn start(version: Version) -> Result<Self> {
        Self::start_flagged(version, Vec::new()).await
    }

    /// Starts both, the API server with further flags.
    ///
    /// # Errors
    /// Returns the errors of [`Self::start`].
    pub async fn start_flagged(version: Version, flags: Vec<String>) -> Result<Self> {
        let (folder, guard) = work_folder()?;
        Self::start_in(Host::Machine, version, folder, guard, flags).await
    }

    /// Starts both, and traces every request, for a collector that is not there.
    ///
    /// # Errors
    /// Returns the errors of [`Self::start`].
    pub async fn start_tracing(version: Version) -> Result<Self> {
        let configuration = json!({
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "TracingConfiguration",
            "endpoint": format!("127.0.0.1:{}", free_port()),
            "samplingRatePerMillion": 1_000_000,
        });
        let (folder, guard) = work_folder()?;
        let path = folder.join("tracing.json");
        fs::write(&path, configuration.to_string())?;
        let flags = vec![format!("--tracing-config-file={}", path.display())];
        Self::start_in(Host::Machine, version, folder, guard, flags).await
    }

    /// Starts both, the API server with further flags. `guard` lives as long.
    async fn start_in(
        host: Host,
        version: Version,
        folder: PathBuf,
        guard: Option<Child>,
        flags: Vec<String>,
    ) -> Result<Self> {
        let assets = Assets(version);
        let (etcd, program) = find(move || Ok((Assets::etcd()?, assets.apiserver()?))).await?;
        let ports = Ports { etcd: free_port(), apiserver: free_port() };
        write_credentials(&folder)?;

        let mut etcd = start_etcd(&host, &etcd, &folder, &ports)?;
        let mut apiserver = start_apiserver(&host, &program, &folder, &ports, &flags)?;
        eventually("the API server has a certificate", async || {
            apiserver.check()?;
            Ok(certificate(&folder).is_file().then_some(()))
        })
        .await?;
        write_kubeconfig(&folder, &server(&host, &ports))?;
        host.enter()?;
        let rest = Rest::new(client(&folder).await?);
        eventually("the API server is ready", async || {
            etcd.check()?;
            apiserver.check()?;
            Ok(rest.get("/api/v1/namespaces/default").await.ok())
        })
        .await?;
        let process = Mutex::new(Some(apiserver));
        Ok(Self { folder, host, program, ports, flags, process, _etcd: etcd, _guard: guard })
    }

    /// Ends it as an upgrade of the control plane does, and starts it again.
    ///
    /// # Errors
    /// Returns the errors of [`Self::start`].
    async fn restart(&self) -> Result<()> {
        let slot = || self.process.lock().expect("no holder panics");
        let ending = slot().take().ok_or("it is being restarted")?;
        ending.signals().send("TERM")?;
        // Then at once: it would wait a minute for those who watch it.
        tokio::time::sleep(Duration::from_secs(2)).await;
        drop(ending);
        let Self { host, program, folder, ports, flags, .. } = self;
        *slot() = Some(start_apiserver(host, program, folder, ports, flags)?);
        let rest = self.rest().await?;
        eventually("the API server is ready", async || {
            slot().as_mut().map_or(Ok(()), Process::check)?;
            // It answers reads before its admission plugins have listed what they need for writes.
            let probe = json!({"metadata": {"generateName": "probe-"}});
            Ok(rest.post("/api/v1/namespaces/default/configmaps?dryRun=All", &probe).await.ok())
        })
        .await
        .map(drop)
    }

    /// The API in plain JSON.
    ///
    /// # Errors
    /// Returns an error if there is no client for the kubeconfig.
    pub async fn rest(&self) -> Result<Rest> {
        self.host.enter()?;
        Ok(Rest::new(client(&self.folder).await?))
    }
}

/// What the API server creates last of its own roles and bindings.
const LAST_ROLE_BINDING: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-public/rolebindings/system:controller:bootstrap-signer";

/// Finding a program may mean building it.
async fn find<T: Send + 'static>(finding: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(finding).await?
}

impl ControlPlane {
    /// Starts all of it, of the version that `SANDGATE_BED_KUBERNETES` names.
    ///
    /// # Errors
    /// Returns the errors of [`ApiServer::start`].
    pub async fn start() -> Result<Self> {
        Self::start_as(Version::chosen()?, Vec::new()).await
    }

    /// The same, of this version, and with further flags of the API server.
    ///
    /// # Errors
    /// Returns the errors of [`ApiServer::start`].
    pub async fn start_as(version: Version, flags: Vec<String>) -> Result<Self> {
        Self::start_prepared(version, |_| Ok(flags)).await
    }

    /// Starts all of it, the API server with further flags, which may name files in the folder that `flags` gets.
    ///
    /// # Errors
    /// Returns the errors of [`Self::start`] and of `flags`.
    pub async fn start_flagged(flags: impl FnOnce(&Path) -> Result<Vec<String>>) -> Result<Self> {
        Self::start_prepared(Version::chosen()?, flags).await
    }

    async fn start_prepared(
        version: Version,
        flags: impl FnOnce(&Path) -> Result<Vec<String>>,
    ) -> Result<Self> {
        let (folder, guard) = work_folder()?;
        let flags = flags(&folder)?;
        let bed = Self::start_of(version, Host::Machine, folder, guard, flags).await?;
        create_runtime_classes(&bed.rest().await?).await?;
        Ok(bed)
    }

    /// The same elsewhere, and without a RuntimeClass. `guard` lives as long.
    pub(super) async fn start_in(
        host: Host,
        folder: PathBuf,
        guard: Option<Child>,
        flags: Vec<String>,
    ) -> Result<Self> {
        Self::start_of(Version::chosen()?, host, folder, guard, flags).await
    }

    async fn start_of(
        version: Version,
        host: Host,
        folder: PathBuf,
        guard: Option<Child>,
        flags: Vec<String>,
    ) -> Result<Self> {
        let assets = Assets(version);
        let (controller_manager, kubectl) =
            find(move || Ok((assets.controller_manager()?, assets.kubectl()?))).await?;
        let apiserver = ApiServer::start_in(host, version, folder, guard, flags).await?;
        let rest = apiserver.rest().await?;
        // The controller manager ends if the API server does not say that it is healthy within ten seconds. Its own
        // roles are the last of what it waits for.
        eventually("the API server has its roles", async || Ok(rest.get(LAST_ROLE_BINDING).await.ok()))
            .await?;
        let mut controllers =
            start_controller_manager(&apiserver.host, &controller_manager, &apiserver.folder)?;
        eventually("the controllers work", async || {
            controllers.check()?;
            Ok(rest.get(&default_account("default")).await.ok())
        })
        .await?;
        Ok(Self { kubectl, _controllers: controllers, apiserver })
    }

    /// Restarts the API server. Its clients lose their connections.
    ///
    /// # Errors
    /// Returns an error if it is not ready in time.
    pub async fn restart_apiserver(&self) -> Result<()> {
        self.apiserver.restart().await
    }

    /// Returns the processor time of the API server so far.
    ///
    /// # Errors
    /// Returns an error if it is not running.
    pub fn apiserver_cpu(&self) -> Result<Duration> {
        let slot = self.apiserver.process.lock().expect("no holder panics");
        slot.as_ref().ok_or("it is being restarted")?.cpu()
    }

    /// A folder for files and logs; removed at the end.
    pub fn folder(&self) -> &Path {
        &self.apiserver.folder
    }

    /// Returns the path of the real kubectl.
    pub fn kubectl_program(&self) -> &Path {
        &self.kubectl
    }

    /// Returns the port of the API server.
    #[must_use]
    pub fn apiserver_port(&self) -> u16 {
        self.apiserver.ports.apiserver
    }

    /// For the user's own kubectl.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder().join(KUBECONFIG)
    }

    /// Writes a kubeconfig with this token into the same folder.
    ///
    /// # Errors
    /// Returns an error if a kubeconfig cannot be read or written.
    pub fn kubeconfig_of(&self, name: &str, token: &str) -> Result<PathBuf> {
        let mut kubeconfig: Value = serde_json::from_str(&fs::read_to_string(self.kubeconfig())?)?;
        kubeconfig["users"][0]["user"]["token"] = json!(token);
        let path = self.folder().join(format!("kubeconfig-{name}"));
        fs::write(&path, kubeconfig.to_string())?;
        Ok(path)
    }

    /// A client of one's own: it belongs to the runtime of the test that asks for it.
    ///
    /// # Errors
    /// Returns an error if there is no client for the kubeconfig.
    pub async fn client(&self) -> Result<Client> {
        self.apiserver.host.enter()?;
        client(self.folder()).await
    }

    /// The API in plain JSON.
    ///
    /// # Errors
    /// Returns an error if there is no client for the kubeconfig.
    pub async fn rest(&self) -> Result<Rest> {
        self.apiserver.rest().await
    }

    /// The API in plain JSON, as another user, whom the API server takes the admin for.
    ///
    /// # Errors
    /// Returns an error if there is no client for the kubeconfig.
    pub async fn rest_as(&self, user: &str) -> Result<Rest> {
        self.apiserver.host.enter()?;
        let mut config = config(self.folder()).await?;
        config.auth_info.impersonate = Some(user.to_owned());
        Ok(Rest::new(Client::try_from(config)?))
    }

    /// Runs kubectl as the cluster's admin.
    pub async fn kubectl(&self, arguments: &[&str]) -> Output {
        self.kubectl_reading("", arguments).await
    }

    /// Runs kubectl with `input` on its standard input, for `-f -`.
    pub async fn kubectl_reading(&self, input: &str, arguments: &[&str]) -> Output {
        let command = self.apiserver.host.command(&self.kubectl);
        let (kubeconfig, input) = (self.kubeconfig(), input.to_owned());
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        // Webhooks of the test may live in the same thread.
        let running =
            tokio::task::spawn_blocking(move || kubectl::run(command, &kubeconfig, &arguments, &input));
        running.await.expect("running kubectl does not panic").expect("kubectl starts")
    }

    /// Runs the helm of the newest line as the cluster's admin.
    pub async fn helm(&self, arguments: &[&str]) -> Output {
        self.helm_of(HelmLine::Four, arguments).await
    }

    /// Runs a helm as the cluster's admin.
    pub async fn helm_of(&self, line: HelmLine, arguments: &[&str]) -> Output {
        let host = self.apiserver.host.clone();
        helm::run(line, host, arguments, Some(&self.kubeconfig())).await.expect("helm starts")
    }

    /// Makes a namespace with this metadata, and the service accounts `default` and `workflow-runner` in it. Answers
    /// with its name, which the API server may have drawn.
    ///
    /// # Errors
    /// Returns an error if the API server rejects an object, or the default service account is not there in time.
    pub async fn namespace(&self, rest: &Rest, metadata: &Value) -> Result<String> {
        let namespace = rest.post("/api/v1/namespaces", &json!({"metadata": metadata})).await?;
        let name = namespace["metadata"]["name"].as_str().ok_or("a namespace has a name")?;
        let account = json!({"metadata": {"name": "workflow-runner"}});
        rest.post(&format!("/api/v1/namespaces/{name}/serviceaccounts"), &account).await?;
        // Pods are denied before the controller manager has created it.
        eventually("the default service account is there", async || {
            Ok(rest.get(&default_account(name)).await.ok())
        })
        .await?;
        Ok(name.to_owned())
    }

    /// Returns the events of the API server's audit log on pods in `namespace`, in the order of time.
    ///
    /// # Errors
    /// Returns an error if the audit log cannot be read.
    pub fn audit_events(&self, namespace: &str) -> Result<Vec<Value>> {
        let of_pods = |event: &Value| {
            let object = &event["objectRef"];
            object["namespace"] == namespace && object["resource"] == "pods"
        };
        Ok(self.audit_log(namespace)?.into_iter().filter(of_pods).collect())
    }

    /// Returns the path of the API server's audit log.
    pub fn audit_log_file(&self) -> PathBuf {
        self.folder().join(AUDIT_LOG)
    }

    /// Returns the events of the API server's audit log that contain this word.
    ///
    /// # Errors
    /// Returns an error if the audit log cannot be read.
    pub fn audit_log(&self, word: &str) -> Result<Vec<Value>> {
        let log = fs::read_to_string(self.audit_log_file())?;
        let lines = log.lines().filter(|line| line.contains(word));
        // The last line may be half written.
        Ok(lines.filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect())
    }
}

struct Ports {
    etcd: u16,
    apiserver: u16,
}

const KUBECONFIG: &str = "kubeconfig";
const TOKENS: &str = "tokens.csv";
const ACCOUNT_KEY: &str = "sa.key";
const ACCOUNT_PUBLIC_KEY: &str = "sa.pub";
const CERTIFICATES: &str = "apiserver";
/// The namespace in which the API server's audit log has the Pods that are created.
pub const RECORDED_NAMESPACE: &str = "recorded";
/// Another namespace with that.
pub const IN_USE_NAMESPACE: &str = "in-use";

const AUDIT_POLICY: &str = "audit-policy.yaml";
const AUDIT_LOG: &str = "audit.log";

/// Only this process reaches these addresses, and the cluster ends with it.
const TOKEN: &str = "bed-admin";
pub(super) const NODE_TOKEN: &str = "bed-node";

/// The one node's name, where there is one.
pub(super) const NODE: &str = "node";

/// `SANDGATE_BED_KEEP=1` keeps the folder, and prints its path.
pub(super) fn work_folder() -> Result<(PathBuf, Option<Child>)> {
    let folder = tempfile::Builder::new().prefix("sandgate-bed-").tempdir()?.keep();
    if env::var_os("SANDGATE_BED_KEEP").is_some() {
        super::progress(&format!("logs are kept in {}", folder.display()));
        return Ok((folder, None));
    }
    let guard = remove_at_the_end(&folder)?;
    Ok((folder, Some(guard)))
}

fn write_credentials(folder: &Path) -> Result<()> {
    let key = KeyPair::generate()?;
    fs::write(folder.join(ACCOUNT_KEY), key.serialize_pem())?;
    fs::write(folder.join(ACCOUNT_PUBLIC_KEY), key.public_key_pem())?;
    let tokens =
        format!("{TOKEN},admin,admin,system:masters\n{NODE_TOKEN},system:node:{NODE},node,system:nodes\n");
    fs::write(folder.join(TOKENS), tokens)?;
    // The version that the documentation recommends, and whole requests of one namespace.
    let policy = include_str!("../../../examples/audit-policy.yaml");
    let whole = format!(
        "rules:\n- level: Request\n  verbs: [create]\n  namespaces: [{RECORDED_NAMESPACE}, {IN_USE_NAMESPACE}]\n  resources:\n  \
         - {{group: \"\", resources: [pods]}}\n"
    );
    fs::write(folder.join(AUDIT_POLICY), policy.replacen("rules:\n", &whole, 1))?;
    Ok(())
}

fn start_etcd(host: &Host, program: &Path, folder: &Path, ports: &Ports) -> Result<Process> {
    let client = format!("http://127.0.0.1:{}", ports.etcd);
    let peer = format!("http://127.0.0.1:{}", free_port());
    let arguments = [
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--unsafe-no-fsync".into(),
    ];
    Process::start_in(host.prefix(), "etcd", program, &arguments, folder)
}

fn start_apiserver(
    host: &Host,
    program: &Path,
    folder: &Path,
    ports: &Ports,
    flags: &[String],
) -> Result<Process> {
    let file = |name: &str| folder.join(name).display().to_string();
    let usual = [
        format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd),
        format!("--secure-port={}", ports.apiserver),
        format!("--bind-address={}", host.address()),
        format!("--advertise-address={}", host.address()),
        format!("--cert-dir={}", file(CERTIFICATES)),
        format!("--token-auth-file={}", file(TOKENS)),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={}", file(ACCOUNT_PUBLIC_KEY)),
        format!("--service-account-signing-key-file={}", file(ACCOUNT_KEY)),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        "--allow-privileged=true".into(),
        format!("--audit-policy-file={}", file(AUDIT_POLICY)),
        format!("--audit-log-path={}", file(AUDIT_LOG)),
    ];
    let more: &[&str] = match host {
        // Loopback addresses may not be endpoints, and a ClusterIP has no route.
        Host::Machine => &[
            "--authorization-mode=RBAC",
            "--endpoint-reconciler-type=none",
            "--enable-aggregator-routing=true",
        ],
        Host::Namespaces(_) => &[
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--kubelet-preferred-address-types=InternalIP",
        ],
    };
    let arguments: Vec<_> =
        usual.into_iter().chain(more.iter().map(ToString::to_string)).chain(flags.iter().cloned()).collect();
    Process::start_in(host.prefix(), "kube-apiserver", program, &arguments, folder)
}

/// Only the controllers that a test needs; all where there is a node.
fn start_controller_manager(host: &Host, program: &Path, folder: &Path) -> Result<Process> {
    const CONTROLLERS: &str = "serviceaccount-controller,serviceaccount-token-controller,\
        root-ca-certificate-publisher-controller,namespace-controller,garbage-collector-controller,\
        job-controller,cronjob-controller,replicaset-controller,deployment-controller,\
        statefulset-controller,daemonset-controller";
    let file = |name: &str| folder.join(name).display().to_string();
    let arguments = [
        format!("--kubeconfig={}", file(KUBECONFIG)),
        format!("--service-account-private-key-file={}", file(ACCOUNT_KEY)),
        format!("--root-ca-file={}", certificate(folder).display()),
        format!("--controllers={}", if matches!(host, Host::Machine) { CONTROLLERS } else { "*" }),
        "--leader-elect=false".into(),
        "--secure-port=0".into(),
        "--kube-api-qps=200".into(),
        "--kube-api-burst=400".into(),
    ];
    Process::start_in(host.prefix(), "kube-controller-manager", program, &arguments, folder)
}

/// The API server makes one for itself, with the CA in it.
fn certificate(folder: &Path) -> PathBuf {
    folder.join(CERTIFICATES).join("apiserver.crt")
}

fn server(host: &Host, ports: &Ports) -> String {
    format!("https://{}:{}", host.address(), ports.apiserver)
}

fn write_kubeconfig(folder: &Path, server: &str) -> Result<()> {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bed",
        "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": "admin"}}],
        "clusters": [{"name": "bed", "cluster": {
            "server": server,
            "certificate-authority": certificate(folder),
        }}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
    });
    fs::write(folder.join(KUBECONFIG), kubeconfig.to_string())?;
    Ok(())
}

async fn client(folder: &Path) -> Result<Client> {
    Ok(Client::try_from(config(folder).await?)?)
}

async fn config(folder: &Path) -> Result<Config> {
    let kubeconfig = Kubeconfig::read_from(folder.join(KUBECONFIG))?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.proxy_url = None;
    Ok(config)
}

fn default_account(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/serviceaccounts/default")
}

/// `gvisor` is what the policy wants; `runc` is what an attacker would like, and exists.
async fn create_runtime_classes(rest: &Rest) -> Result<()> {
    for (name, handler) in [("gvisor", "runsc"), ("runc", "runc")] {
        let class = json!({"metadata": {"name": name}, "handler": handler});
        rest.post("/apis/node.k8s.io/v1/runtimeclasses", &class).await?;
    }
    Ok(())
}
