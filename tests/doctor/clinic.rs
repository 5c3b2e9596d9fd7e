//! A cluster in which all is as it should be, until a test breaks something.
//!
//! Nodes and the Pods of sandgate are objects only: there is no kubelet. The webhook is a real one.

use std::{path::Path, process::Command};

use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use testbed::{ControlPlane, Rest, Sandgate, shared};

/// Nodes and roles are the cluster's: one test at a time.
static TURN: Mutex<()> = Mutex::const_new(());

pub(crate) const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
const NODES: [&str; 2] = ["node-1", "node-2"];

/// The checks that need the metrics of sandgate's Pods, which do not run here. `tests/node` has them.
pub(crate) const WITHOUT_KUBELET: [&str; 3] = ["policy-loaded", "certificate", "version"];

pub(crate) struct Clinic {
    pub(crate) bed: &'static ControlPlane,
    pub(crate) rest: Rest,
    /// The namespace of Pods.
    pub(crate) namespace: String,
    /// The namespace of sandgate.
    pub(crate) release: String,
    pub(crate) sandgate: Sandgate,
    _turn: MutexGuard<'static, ()>,
}

/// A run of the command.
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Clinic {
    /// Makes everything that a complete installation has.
    pub(crate) async fn new() -> Self {
        Self::with_spec(&json!({})).await
    }

    /// Makes everything, with this policy.
    pub(crate) async fn with_spec(spec: &Value) -> Self {
        Self::on(shared().await, spec).await
    }

    /// Makes everything in the shared control plane, after a clinic in another one.
    pub(crate) async fn new_beside(other: Self) -> Self {
        drop(other);
        Self::new().await
    }

    /// Makes everything in a control plane, with this policy.
    pub(crate) async fn on(bed: &'static ControlPlane, spec: &Value) -> Self {
        let turn = TURN.lock().await;
        let rest = bed.rest().await.unwrap();
        make_nodes(&rest).await;
        remove_configurations(&rest).await;
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let metadata = json!({"generateName": "guarded-", "labels": labels});
        let namespace = bed.namespace(&rest, &metadata).await.unwrap();
        let release = bed.namespace(&rest, &json!({"generateName": "release-"})).await.unwrap();
        let mut spec = spec.clone();
        spec["namespaces"] = json!([namespace]);
        let sandgate = Sandgate::start_with(bed, &spec).await.unwrap();
        let clinic = Self { bed, rest, namespace, release, sandgate, _turn: turn };
        clinic.set_up().await;
        clinic.install(&spec).await;
        // That the API server asks sandgate shows in its audit log.
        if spec["mode"].is_null() && clinic.bed.audit_log_file().is_file() {
            clinic.sandgate.guard(clinic.bed, &clinic.rest).await.unwrap();
        } else {
            clinic.sandgate.register(&clinic.rest).await.unwrap();
        }
        clinic
    }

    /// Returns the path of the namespace of Pods, or of what is in it.
    pub(crate) fn inside(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}{rest}", self.namespace)
    }

    /// Returns the path of what is in the namespace of sandgate.
    pub(crate) fn of_release(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}{rest}", self.release)
    }

    /// Returns the path of a webhook configuration.
    pub(crate) fn configuration(&self, kind: &str) -> String {
        format!("{ADMISSION}/{kind}webhookconfigurations/{}", self.sandgate.configuration())
    }

    pub(crate) async fn post(&self, path: &str, object: &Value) -> Value {
        self.rest.post(path, object).await.unwrap_or_else(|denial| panic!("{path}: {denial}"))
    }

    pub(crate) async fn merge(&self, path: &str, changes: &Value) {
        self.rest.merge(path, changes).await.unwrap_or_else(|denial| panic!("{path}: {denial}"));
    }

    pub(crate) async fn delete(&self, path: &str) {
        self.rest.delete(path).await.unwrap_or_else(|denial| panic!("{path}: {denial}"));
    }

    /// Runs the doctor as the cluster's admin.
    pub(crate) fn doctor(&self, args: &[&str]) -> Run {
        self.doctor_as(&self.bed.kubeconfig(), args)
    }

    /// Runs the doctor with a kubeconfig.
    pub(crate) fn doctor_as(&self, kubeconfig: &Path, args: &[&str]) -> Run {
        let output = self.command(kubeconfig, args).output().unwrap();
        Run {
            status: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Returns the command of a run.
    pub(crate) fn command(&self, kubeconfig: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("sandgate"));
        command.env_clear().args(["doctor", "--kubeconfig"]).arg(kubeconfig);
        command.args(["--namespace", &self.namespace, "--sandgate-namespace", &self.release]);
        command.args(["--webhook-configuration", &self.sandgate.configuration()]).args(args);
        command
    }

    /// Runs the doctor, and returns its findings.
    pub(crate) fn findings(&self) -> Findings {
        self.doctor(&["-o", "json"]).findings()
    }

    /// Asserts that a check is fine, breaks something, and asserts that the same check fails, with this severity and these
    /// words in what and action.
    pub(crate) async fn breaks(
        &self,
        id: &str,
        severity: &str,
        words: [&str; 2],
        change: impl AsyncFnOnce(&Self),
    ) {
        let before = self.findings();
        assert_eq!(before.outcome(id), "ok", "{:#}", before.of(id));
        change(self).await;
        let after = self.findings();
        let found = after.fails(id, severity);
        let [what, action] = words;
        assert!(found["what"].as_str().unwrap().contains(what), "{found:#}");
        assert!(found["action"].as_str().unwrap().contains(action), "{found:#}");
    }

    /// What stands around Pods.
    async fn set_up(&self) {
        self.merge(
            &self.inside("/serviceaccounts/workflow-runner"),
            &json!({"automountServiceAccountToken": false}),
        )
        .await;
        let deny = json!({"metadata": {"name": "deny-all"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}});
        let policies = format!("/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies", self.namespace);
        self.post(&policies, &deny).await;
        let quota = json!({"metadata": {"name": "quota"}, "spec": {"hard": {"pods": "50"}}});
        self.post(&self.inside("/resourcequotas"), &quota).await;
    }

    /// What the chart installs.
    async fn install(&self, spec: &Value) {
        let labels = labels();
        let map = json!({
            "metadata": {"name": "sandgate-policy", "labels": {"app.kubernetes.io/part-of": "sandgate"}},
            "data": data(spec),
        });
        self.post(&self.of_release("/configmaps"), &map).await;
        let container = container(8080);
        let deployment = json!({
            "metadata": {"name": "sandgate"},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        });
        self.post(&format!("/apis/apps/v1/namespaces/{}/deployments", self.release), &deployment).await;
        let budget = json!({"metadata": {"name": "sandgate"}, "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels}}});
        let budgets = format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets", self.release);
        self.post(&budgets, &budget).await;
        let admin = self.sandgate.replica().unwrap().admin();
        for node in NODES {
            self.make_replica(node, admin).await;
        }
    }

    /// Makes a ready replica on a node, whose metrics are at this port.
    pub(crate) async fn make_replica(&self, node: &str, admin: u16) {
        let name = format!("sandgate-{node}");
        let pod = json!({
            "metadata": {"name": name, "labels": labels()},
            "spec": {"nodeName": node, "containers": [container(admin)]},
        });
        self.post(&self.of_release("/pods"), &pod).await;
        let conditions = json!([{"type": "Ready", "status": "True"}]);
        let status = json!({"status": {"phase": "Running", "conditions": conditions}});
        self.merge(&self.of_release(&format!("/pods/{name}/status")), &status).await;
    }

    /// Puts another policy into the ConfigMap.
    pub(crate) async fn change_policy(&self, spec: &Value) {
        self.merge(&self.of_release("/configmaps/sandgate-policy"), &json!({"data": data(spec)})).await;
    }
}

/// The labels of sandgate's Pods.
fn labels() -> Value {
    json!({"app.kubernetes.io/name": "sandgate", "app.kubernetes.io/component": "webhook"})
}

fn container(admin: u16) -> Value {
    let ports = json!([{"name": "admin", "containerPort": admin}]);
    json!({"name": "sandgate", "image": "registry.example.com/sandgate:1", "ports": ports})
}

/// The data of a ConfigMap with a policy.
fn data(spec: &Value) -> Value {
    let policy = json!({
        "apiVersion": "sandgate.dev/v1beta1", "kind": "SandboxPolicy", "metadata": {"name": "workflow-runner"}, "spec": spec,
    });
    json!({"policy.json": policy.to_string()})
}

/// Makes the nodes anew, and a network plugin.
async fn make_nodes(rest: &Rest) {
    for node in NODES {
        let path = format!("/api/v1/nodes/{node}");
        let _ = rest.delete(&path).await;
        let taint = json!({"key": "sandbox.gke.io/runtime", "value": "gvisor", "effect": "NoSchedule"});
        let object = json!({
            "metadata": {"name": node, "labels": {"workload-type": "workflow-runner"}},
            "spec": {"taints": [taint]},
        });
        rest.post("/api/v1/nodes", &object).await.unwrap();
        let status = json!({"status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "runtimeHandlers": [{"name": ""}, {"name": "runsc"}],
        }});
        rest.merge(&format!("{path}/status"), &status).await.unwrap();
        // The taint of a node that has just come is taken off by a controller that does not run here.
        rest.merge(&path, &json!({"spec": {"taints": [taint]}})).await.unwrap();
    }
    let labels = json!({"app": "calico-node"});
    let set = json!({
        "metadata": {"name": "calico-node"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {
                "nodeSelector": {"no": "node"}, "containers": [{"name": "c", "image": "x"}],
            }},
        },
    });
    let sets = "/apis/apps/v1/namespaces/kube-system/daemonsets";
    if rest.get(&format!("{sets}/calico-node")).await.is_err() {
        rest.post(sets, &set).await.unwrap();
    }
}

/// Removes what earlier tests registered.
async fn remove_configurations(rest: &Rest) {
    for kind in ["mutating", "validating"] {
        let path = format!("{ADMISSION}/{kind}webhookconfigurations");
        let list = rest.get(&path).await.unwrap();
        for object in list["items"].as_array().unwrap() {
            rest.delete(&format!("{path}/{}", object["metadata"]["name"].as_str().unwrap())).await.unwrap();
        }
    }
}

impl Run {
    #[track_caller]
    pub(crate) fn findings(&self) -> Findings {
        let report: Value =
            serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("{}{}", self.stdout, self.stderr));
        Findings(report["checks"].as_array().unwrap().clone())
    }
}

/// The findings of a run.
pub(crate) struct Findings(pub(crate) Vec<Value>);

impl Findings {
    /// Returns the finding of a check.
    #[track_caller]
    pub(crate) fn of(&self, id: &str) -> &Value {
        self.0
            .iter()
            .find(|finding| finding["id"] == id)
            .unwrap_or_else(|| panic!("no check {id}: {:#?}", self.0))
    }

    /// Asserts that a check fails with this severity, and returns its finding.
    #[track_caller]
    pub(crate) fn fails(&self, id: &str, severity: &str) -> &Value {
        let found = self.of(id);
        assert_eq!((&found["outcome"], &found["severity"]), (&json!("fail"), &json!(severity)), "{found:#}");
        found
    }

    #[track_caller]
    pub(crate) fn outcome(&self, id: &str) -> &str {
        self.of(id)["outcome"].as_str().unwrap()
    }

    /// Returns the names of the checks with an outcome.
    pub(crate) fn with(&self, outcome: &str) -> Vec<&str> {
        let found = self.0.iter().filter(|finding| finding["outcome"] == outcome);
        found.map(|finding| finding["id"].as_str().unwrap()).collect()
    }
}
