//! What the chart makes, as far as certificates need it: a namespace, a service account that may do what it must and
//! nothing else, webhook configurations without rules and bundles, and replicas.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::examples::plain_pod;
use testbed::{ControlPlane, Replica, Rest, Result, eventually, free_port, shared};

pub(crate) const KINDS: [(&str, &str); 2] =
    [("mutatingwebhookconfigurations", "Mutating"), ("validatingwebhookconfigurations", "Validating")];

/// The mutating webhook is served by the first replica, the validating one by the second: each create needs both.
pub(crate) struct Installation {
    pub(crate) bed: &'static ControlPlane,
    pub(crate) rest: Rest,
    /// Of sandgate, and the name of everything else.
    pub(super) name: String,
    /// The namespace whose Pods are reviewed.
    pub(super) workflows: String,
    pub(super) ports: [u16; 2],
    pub(super) kubeconfig: PathBuf,
}

impl Installation {
    /// Everything but the configurations and the replicas.
    pub(crate) async fn new() -> Self {
        let bed = shared().await;
        let rest = bed.rest().await.expect("a client");
        let namespace = async |prefix: &str| {
            let metadata = json!({"generateName": prefix});
            bed.namespace(&rest, &metadata).await.expect("a namespace")
        };
        let (name, workflows) = (namespace("release-").await, namespace("workflows-").await);
        let token = account(&rest, &name).await.expect("a service account");
        let kubeconfig = bed.kubeconfig_of(&name, &token).expect("a kubeconfig");
        Self { bed, rest, name, workflows, ports: [free_port(), free_port()], kubeconfig }
    }

    /// One with configurations and two replicas that are ready, and armed.
    pub(super) async fn running(more: &[&str]) -> (Self, [Replica; 2]) {
        let installation = Self::new().await;
        installation.register().await;
        let mut replicas = [installation.replica(0, more), installation.replica(1, more)];
        for replica in &mut replicas {
            replica.until_ready().await.expect("it is ready");
        }
        installation.until_armed().await;
        (installation, replicas)
    }

    /// Starts a replica; `more` are further arguments.
    pub(crate) fn replica(&self, index: usize, more: &[&str]) -> Replica {
        let spec = json!({"namespaces": [self.workflows]});
        let kubeconfig = self.kubeconfig.display().to_string();
        let replica = Replica::start_at(self.ports[index], self.bed, &spec, |_| {
            let arguments = [
                &["--certs", "managed", "--server-name", "127.0.0.1,localhost", "--namespace", &self.name][..],
                &["--ca-secret", &self.secret(), "--webhook-configuration", &self.name],
                &["--kubeconfig", &kubeconfig, "--arm-after", "0.1", "--log-format", "json"],
                more,
            ];
            arguments.concat().into_iter().map(str::to_owned).collect()
        });
        replica.expect("it starts")
    }

    fn secret(&self) -> String {
        format!("{}-ca", self.name)
    }

    /// Makes both configurations as the chart does: without rules and bundles.
    pub(super) async fn register(&self) {
        for index in 0..KINDS.len() {
            self.register_one(index).await;
        }
    }

    pub(super) async fn register_one(&self, index: usize) {
        let path = self.configuration_path(index);
        self.rest
            .apply(&path, &self.configuration(index, &["CREATE"]), true)
            .await
            .expect("it is registered");
    }

    /// A configuration of the chart; its webhook is to see these operations on pods.
    pub(crate) fn configuration(&self, index: usize, operations: &[&str]) -> Value {
        let (_, kind) = KINDS[index];
        let webhook = ["mutate.sandgate.dev", "validate.sandgate.dev"][index];
        let path = ["mutate", "validate"][index];
        let rules = json!({webhook: [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": operations, "resources": ["pods"]}
        ]});
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": format!("{kind}WebhookConfiguration"),
            "metadata": {"name": self.name, "annotations": {"sandgate.dev/rules": rules.to_string()}},
            "webhooks": [{
                "name": webhook,
                "clientConfig": {"url": format!("https://127.0.0.1:{}/{path}", self.ports[index])},
                "admissionReviewVersions": ["v1"],
                "sideEffects": "NoneOnDryRun",
                "failurePolicy": "Fail",
                "timeoutSeconds": 5,
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.workflows}},
            }],
        })
    }

    pub(crate) fn configuration_path(&self, index: usize) -> String {
        format!("/apis/admissionregistration.k8s.io/v1/{}/{}", KINDS[index].0, self.name)
    }

    /// The webhook of a configuration as it is stored.
    pub(super) async fn webhook(&self, index: usize) -> Value {
        let mut stored = self.rest.get(&self.configuration_path(index)).await.expect("it is registered");
        stored["webhooks"][0].take()
    }

    pub(super) fn secret_path(&self) -> String {
        format!("/api/v1/namespaces/{}/secrets/{}", self.name, self.secret())
    }

    /// The CAs that the Secret holds; `None` where it is absent or holds something else.
    pub(super) async fn authorities(&self) -> Option<Vec<Value>> {
        let secret = self.rest.get(&self.secret_path()).await.ok()?;
        let text = STANDARD.decode(secret["data"]["authorities.json"].as_str()?).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// The certificate of the CA that signs.
    pub(crate) async fn active(&self) -> Option<String> {
        let authorities = self.authorities().await?;
        let active = authorities.into_iter().find(|authority| authority["state"] == "active")?;
        active["cert"].as_str().map(str::to_owned)
    }

    /// Waits until the API server asks both webhooks.
    pub(crate) async fn until_armed(&self) {
        let path = format!("{}?dryRun=All", self.pods_path());
        eventually("the API server asks sandgate", async || {
            let _ = self.rest.post(&path, &plain_pod("try")).await;
            let events = self.bed.audit_events(&self.workflows)?;
            let is_asked = |webhook: &str| {
                let verdict = format!("{webhook}/verdict");
                events.iter().any(|event| event["annotations"][&verdict].is_string())
            };
            Ok((is_asked("mutate.sandgate.dev") && is_asked("validate.sandgate.dev")).then_some(()))
        })
        .await
        .expect("it is asked");
    }

    pub(crate) fn pods_path(&self) -> String {
        format!("/api/v1/namespaces/{}/pods", self.workflows)
    }

    /// Creates pods, one after the other, until it is stopped.
    pub(super) fn create_pods(&self) -> Creates {
        let (rest, path) = (self.rest.clone(), self.pods_path());
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&made));
        let task = tokio::spawn(async move {
            let mut failures = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let mut pod = plain_pod("");
                pod["metadata"] = json!({"generateName": "pod-"});
                match rest.post(&path, &pod).await {
                    Ok(stored) if stored["spec"]["runtimeClassName"] == "gvisor" => {}
                    Ok(stored) => failures.push(format!("not in the sandbox: {stored}")),
                    Err(denial) => failures.push(denial.to_string()),
                }
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            failures
        });
        Creates { task, stop, made }
    }
}

/// Pods that are being created.
pub(super) struct Creates {
    task: JoinHandle<Vec<String>>,
    stop: Arc<AtomicBool>,
    made: Arc<AtomicUsize>,
}

impl Creates {
    /// Waits until some more were created.
    pub(super) async fn go_on(&self) {
        let before = self.made.load(Ordering::Relaxed);
        eventually("more pods are created", async || {
            Ok((self.made.load(Ordering::Relaxed) >= before + 20).then_some(()))
        })
        .await
        .expect("more pods");
    }

    /// Stops, and sees that each was stored in the sandbox.
    pub(super) async fn none_failed(self) {
        self.stop.store(true, Ordering::Relaxed);
        let failures = self.task.await.expect("creating does not panic");
        let made = self.made.load(Ordering::Relaxed);
        assert!(
            failures.is_empty(),
            "{} of {made} failed: {:#?}",
            failures.len(),
            &failures[..failures.len().min(3)]
        );
    }
}

/// A service account with exactly the rules of the chart; its token.
async fn account(rest: &Rest, name: &str) -> Result<String> {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let accounts = format!("/api/v1/namespaces/{name}/serviceaccounts");
    rest.post(&accounts, &json!({"metadata": {"name": "sandgate"}})).await?;
    let secret = format!("{name}-ca");
    let role = json!({"metadata": {"name": "sandgate"}, "rules": [
        {
            "apiGroups": [""], "resources": ["secrets"], "resourceNames": [secret],
            "verbs": ["create", "get", "patch", "update"],
        },
        {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": [name], "verbs": ["get"]},
    ]});
    let configurations = KINDS.map(|(resource, _)| resource);
    let cluster_role = json!({"metadata": {"name": name}, "rules": [{
        "apiGroups": ["admissionregistration.k8s.io"],
        "resources": configurations,
        "resourceNames": [name],
        "verbs": ["get", "patch", "watch"],
    }]});
    rest.post(&format!("{rbac}/namespaces/{name}/roles"), &role).await?;
    rest.post(&format!("{rbac}/clusterroles"), &cluster_role).await?;
    let subjects = json!([{"kind": "ServiceAccount", "name": "sandgate", "namespace": name}]);
    for (path, kind, role) in [
        (format!("{rbac}/namespaces/{name}/rolebindings"), "Role", "sandgate"),
        (format!("{rbac}/clusterrolebindings"), "ClusterRole", name),
    ] {
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role});
        rest.post(&path, &json!({"metadata": {"name": name}, "roleRef": role, "subjects": subjects})).await?;
    }
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let answer = rest.post(&format!("{accounts}/sandgate/token"), &request).await?;
    Ok(answer["status"]["token"].as_str().ok_or("a token")?.to_owned())
}
