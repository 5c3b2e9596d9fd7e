//! What each test begins with: a namespace that sandgate guards.

use serde_json::{Value, json};

use crate::examples::plain_pod;
use testbed::{ControlPlane, Denial, Output, Rest, Sandgate, WebhookKind, eventually, shared};

/// A namespace with sandgate in front of it.
pub(crate) struct Sandbox {
    pub(crate) bed: &'static ControlPlane,
    pub(crate) rest: Rest,
    pub(crate) namespace: String,
    pub(crate) sandgate: Sandgate,
}

impl Sandbox {
    /// A guarded namespace.
    pub(crate) async fn new() -> Self {
        Self::with(&json!({}), &json!({})).await
    }

    /// One with these labels on the namespace and these settings in the policy.
    pub(crate) async fn with(labels: &Value, settings: &Value) -> Self {
        let sandbox = Self::unguarded(labels, settings).await;
        sandbox.guard().await;
        sandbox
    }

    /// One whose Pods are not filled: only the final object is validated.
    pub(crate) async fn validating_only() -> Self {
        let sandbox = Self::unguarded(&json!({}), &json!({})).await;
        let Self { bed, rest, sandgate, .. } = &sandbox;
        sandgate.guard_as(bed, rest, WebhookKind::Validating).await.expect("the API server asks sandgate");
        sandbox
    }

    /// One that sandgate is ready to guard and does not yet.
    pub(crate) async fn unguarded(labels: &Value, settings: &Value) -> Self {
        Self::unguarded_of(labels, |_| settings.clone()).await
    }

    /// One whose policy's settings depend on the name of the namespace.
    pub(crate) async fn unguarded_with(settings: impl FnOnce(&str) -> Value) -> Self {
        Self::unguarded_of(&json!({}), settings).await
    }

    /// One whose sandgate has further flags.
    pub(crate) async fn flagged(settings: &Value, flags: &[&str]) -> Self {
        let sandbox = Self::start(&json!({}), |_| settings.clone(), flags).await;
        sandbox.guard().await;
        sandbox
    }

    async fn unguarded_of(labels: &Value, settings: impl FnOnce(&str) -> Value) -> Self {
        Self::start(labels, settings, &[]).await
    }

    async fn start(labels: &Value, settings: impl FnOnce(&str) -> Value, flags: &[&str]) -> Self {
        let bed = shared().await;
        let rest = bed.rest().await.expect("a client");
        let namespace = bed
            .namespace(&rest, &json!({"generateName": "sandbox-", "labels": labels}))
            .await
            .expect("a namespace");
        let mut spec = settings(&namespace);
        spec["namespaces"] = json!([namespace]);
        let sandgate = Sandgate::start_flagged(bed, &spec, flags).await.expect("sandgate starts");
        Self { bed, rest, namespace, sandgate }
    }

    /// One with an admitted pod in it, called `main`, which asked for nothing.
    pub(crate) async fn with_pod() -> Self {
        let sandbox = Self::new().await;
        sandbox.create(&plain_pod("main")).await.expect("it is admitted");
        sandbox
    }

    /// Puts sandgate in front of the namespace.
    pub(crate) async fn guard(&self) {
        self.sandgate.guard(self.bed, &self.rest).await.expect("the API server asks sandgate");
    }

    /// Stops sandgate and leaves its configurations behind.
    pub(crate) fn stop_sandgate(&mut self) {
        self.sandgate.stop();
    }

    /// Stops sandgate after its configurations were changed to fail open.
    pub(crate) async fn stop_failing_open(&mut self) {
        for kind in ["mutating", "validating"] {
            let name = self.sandgate.configuration();
            let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations/{name}");
            let ignore = json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]);
            self.rest.json_patch(&path, &ignore).await.expect("it is changed");
        }
        self.stop_sandgate();
    }

    /// Another namespace, which no policy names.
    pub(crate) async fn other_namespace(&self) -> String {
        self.bed.namespace(&self.rest, &json!({"generateName": "elsewhere-"})).await.expect("a namespace")
    }

    /// kubectl in the namespace.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> Output {
        self.kubectl_reading("", arguments).await
    }

    /// kubectl in the namespace, with a manifest on its standard input.
    pub(crate) async fn kubectl_reading(&self, manifest: &str, arguments: &[&str]) -> Output {
        let arguments = [&["--namespace", &self.namespace], arguments].concat();
        self.bed.kubectl_reading(manifest, &arguments).await
    }

    /// The path of the namespace, or of what is in it.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}{rest}", self.namespace)
    }

    /// The path of pods, or of one, or of its subresource.
    pub(crate) fn pods_path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/pods{rest}", self.namespace)
    }

    /// Creates a pod by the plain API.
    pub(crate) async fn create(&self, pod: &Value) -> Result<Value, Denial> {
        self.rest.post(&self.pods_path(""), pod).await
    }

    /// Creates a pod that is admitted, and reads back what is stored.
    pub(crate) async fn create_and_read(&self, pod: &Value) -> Value {
        let created = self.create(pod).await.expect("the pod is admitted");
        self.stored(created["metadata"]["name"].as_str().expect("a pod has a name")).await
    }

    /// Does the scheduler's work: this cluster has none.
    pub(crate) async fn place_on_node(&self, pod: &str) {
        let binding = json!({"metadata": {"name": pod}, "target": {"kind": "Node", "name": "node-1"}});
        self.rest.post(&self.pods_path(&format!("/{pod}/binding")), &binding).await.expect("it is placed");
        // A pod that is on no node is deleted at once, and a delete trusts the API server's cache in that.
        let cached = self.pods_path(&format!("/{pod}?resourceVersion=0"));
        let is_known = eventually("the API server's cache has the pod on its node", async || {
            let pod = self.rest.get(&cached).await.ok();
            Ok(pod.filter(|pod| pod["spec"]["nodeName"].is_string()).map(drop))
        });
        is_known.await.expect("the cache follows");
    }

    /// The pod as it is stored.
    pub(crate) async fn stored(&self, name: &str) -> Value {
        self.rest.get(&self.pods_path(&format!("/{name}"))).await.expect("the pod is stored")
    }

    /// Every pod that is stored in the namespace.
    pub(crate) async fn pods(&self) -> Vec<Value> {
        items(self.rest.get(&self.pods_path("")).await.expect("pods are listed"))
    }

    /// The annotations in the API server's audit log of a create that was answered so and was no dry run.
    pub(crate) async fn audit_annotations(&self, code: u16) -> Value {
        let is_ours = |event: &Value| {
            let dry_run = event["requestURI"].as_str().is_some_and(|uri| uri.contains("dryRun"));
            event["responseStatus"]["code"] == code && !dry_run
        };
        // The answer may be here before it is in the log.
        let found = eventually("the audit log has the create", async || {
            let mut events = self.bed.audit_events(&self.namespace)?;
            Ok(events.iter_mut().find(|event| is_ours(event)).map(|event| event["annotations"].take()))
        });
        found.await.expect("an event")
    }

    /// The first pod that a controller makes.
    pub(crate) async fn first_pod(&self) -> Value {
        eventually("a pod is stored", async || Ok(self.pods().await.into_iter().next())).await.expect("a pod")
    }

    /// The events of an object, once there is one with this reason.
    pub(crate) async fn events(&self, name: &str, reason: &str) -> Vec<Value> {
        let selector = format!("fieldSelector=involvedObject.name%3D{name}%2Creason%3D{reason}");
        let path = format!("/api/v1/namespaces/{}/events?{selector}", self.namespace);
        let found = eventually("there is an event", async || {
            let events = items(self.rest.get(&path).await?);
            Ok((!events.is_empty()).then_some(events))
        });
        found.await.expect("an event")
    }
}

fn items(mut list: Value) -> Vec<Value> {
    match list["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}
