//! A release of the chart, whose pods are processes.

use serde_json::{Value, json};

use testbed::{
    ControlPlane, HelmLine, Node, NodePod, Output, Rest, Result, ServiceProxy, eventually,
    load::{is_sandboxed, plain_pod},
};

/// The folder of the chart.
pub(crate) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/sandgate");

/// A release, and the namespace that it guards.
pub(crate) struct Installed<'b> {
    pub(crate) bed: &'b ControlPlane,
    pub(crate) rest: Rest,
    pub(crate) node: Node,
    /// Of the release, of its namespace, and of everything in it.
    pub(crate) name: String,
    /// Where the pods of users are.
    pub(crate) guarded: String,
    /// The helm that installs and upgrades it.
    pub(crate) helm_line: HelmLine,
    pub(crate) service_proxy: ServiceProxy,
}

impl<'b> Installed<'b> {
    /// All that there is before the install: a namespace for users, a node, and somewhere for a Service.
    pub(crate) async fn before(bed: &'b ControlPlane, name: &str) -> Result<Self> {
        Self::before_by_way_of(Vec::new(), bed, name).await
    }

    /// The same, with these words in front of the programs of its pods.
    pub(crate) async fn before_by_way_of(
        prefix: Vec<String>,
        bed: &'b ControlPlane,
        name: &str,
    ) -> Result<Self> {
        let rest = bed.rest().await?;
        let guarded = bed.namespace(&rest, &json!({"generateName": "workflows-"})).await?;
        let service_proxy = ServiceProxy::start().await?;
        let endpoints = service_proxy.endpoints.clone();
        let node = Node::start_by_way_of(prefix, bed, name, endpoints).await?;
        Ok(Self { bed, rest, node, name: name.to_owned(), guarded, helm_line: HelmLine::Four, service_proxy })
    }

    /// `helm install`, with these flags besides what it needs here.
    pub(crate) async fn install(&self, chart: &str, flags: &[&str]) -> Output {
        self.with_chart("install", chart, &[&["--create-namespace"], flags].concat()).await
    }

    /// `helm upgrade`.
    pub(crate) async fn upgrade(&self, chart: &str, flags: &[&str]) -> Output {
        self.with_chart("upgrade", chart, flags).await
    }

    async fn with_chart(&self, command: &str, chart: &str, flags: &[&str]) -> Output {
        let settings = [
            format!("--set=fullnameOverride={}", self.name),
            format!("--set=policies.workflow-runner.namespaces={{{}}}", self.guarded),
            "--set=image.repository=registry.example.com/sandgate".into(),
            // The API server reaches no Service here.
            format!("--set=webhook.url=https://127.0.0.1:{}", self.service_proxy.port),
            "--set=server.shutdownDelaySeconds=3,server.drainTimeoutSeconds=3".into(),
            "--wait".into(),
            "--timeout=110s".into(),
        ];
        let settings = settings.each_ref().map(String::as_str);
        self.helm(&[&[command, &self.name, chart], settings.as_slice(), flags].concat()).await
    }

    /// Another command of helm, in the release's namespace.
    pub(crate) async fn helm(&self, arguments: &[&str]) -> Output {
        self.bed.helm_of(self.helm_line, &[arguments, &["--namespace", &self.name]].concat()).await
    }

    /// kubectl in the release's namespace.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> Output {
        self.bed.kubectl(&[&["--namespace", &self.name], arguments].concat()).await
    }

    /// The pods that are ready and not about to end.
    pub(crate) fn ready(&self) -> Vec<NodePod> {
        let pods = self.node.pods().into_iter();
        pods.filter(|pod| pod.is_ready && !pod.is_ending).collect()
    }

    /// Waits until this many pods are ready and no other one is left.
    pub(crate) async fn until_ready(&self, count: usize) {
        let ready = eventually("all pods are ready", async || {
            Ok((self.ready().len() == count && self.node.pods().len() == count).then_some(()))
        });
        ready.await.unwrap_or_else(|error| panic!("{error}\n{}", self.node.logs()));
    }

    /// Waits until Pods of users are reviewed.
    pub(crate) async fn until_armed(&self) {
        let armed = eventually("Pods are reviewed", async || {
            // Until endpoints have followed, there is no answer.
            Ok(self.try_plain().await.ok().filter(is_sandboxed).map(drop))
        });
        armed.await.unwrap_or_else(|error| panic!("{error}\n{}", self.node.logs()));
    }

    /// A dry run of a pod that asks for nothing.
    pub(crate) async fn try_plain(&self) -> Result<Value> {
        Ok(self.rest.post(&self.pods_path("?dryRun=All"), &plain_pod()).await?)
    }

    /// Where the pods of users are.
    pub(crate) fn pods_path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/pods{rest}", self.guarded)
    }

    /// The path of a webhook configuration of the release.
    pub(crate) fn configuration(&self, kind: &str) -> String {
        format!("/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations/{}", self.name)
    }

    /// The path of the Secret with the CAs.
    pub(crate) fn ca_secret(&self) -> String {
        self.path(&format!("/secrets/{}-ca", self.name))
    }

    /// The path of something in the release's namespace.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}{rest}", self.name)
    }
}
