//! `sandgate scan` against a real API server.

#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod reports;
mod templates;

use std::path::PathBuf;

use assert_cmd::Command;
use serde_json::{Value, json};

use testbed::{ControlPlane, Rest, Sandgate, shared};

/// A namespace, and a policy file that covers it.
struct Scanned {
    bed: &'static ControlPlane,
    rest: Rest,
    namespace: String,
    policy: PathBuf,
    _folder: tempfile::TempDir,
}

/// A run of the command.
struct Run {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Scanned {
    async fn new() -> Self {
        let bed = shared().await;
        let rest = bed.rest().await.unwrap();
        let namespace = bed.namespace(&rest, &json!({"generateName": "scan-"})).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy.yaml");
        std::fs::write(&policy, policy_for(&namespace)).unwrap();
        Self { bed, rest, namespace, policy, _folder: folder }
    }

    fn pods(&self) -> String {
        format!("/api/v1/namespaces/{}/pods", self.namespace)
    }

    async fn create(&self, pod: &Value) {
        self.rest.post(&self.pods(), pod).await.unwrap();
    }

    /// Does the scheduler's work: this cluster has none.
    async fn place(&self, pod: &str) {
        let binding = json!({"metadata": {"name": pod}, "target": {"kind": "Node", "name": "node-1"}});
        self.rest.post(&format!("{}/{pod}/binding", self.pods()), &binding).await.unwrap();
    }

    async fn set_phase(&self, pod: &str, phase: &str) {
        let status = json!({"status": {"phase": phase}});
        self.rest.merge(&format!("{}/{pod}/status", self.pods()), &status).await.unwrap();
    }

    /// Scans the namespace.
    fn scan(&self, args: &[&str]) -> Run {
        let policy = self.policy.display().to_string();
        self.run(&[&["-n", &self.namespace, "--policy", &policy], args].concat())
    }

    fn run(&self, args: &[&str]) -> Run {
        run_as(self.bed.kubeconfig(), args)
    }

    /// Returns a kubeconfig of the service account `default` of the namespace.
    async fn kubeconfig_of_default_account(&self) -> PathBuf {
        let path = format!("/api/v1/namespaces/{}/serviceaccounts/default/token", self.namespace);
        let token = self.rest.post(&path, &json!({"spec": {}})).await.unwrap();
        self.bed.kubeconfig_of(&self.namespace, token["status"]["token"].as_str().unwrap()).unwrap()
    }
}

/// Runs `sandgate scan` as the user of a kubeconfig.
fn run_as(kubeconfig: PathBuf, args: &[&str]) -> Run {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("sandgate"));
    command.env_clear().args(["scan", "--kubeconfig"]).arg(kubeconfig).args(args);
    let output = command.output().unwrap();
    Run {
        status: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Run {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("{}{}", self.stdout, self.stderr))
    }
}

fn policy_for(namespace: &str) -> String {
    format!(
        "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {{name: strict}}\n\
         spec: {{namespaces: [{namespace}]}}\n"
    )
}

fn plain_pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "registry.example.com/runner:1"}]}
    })
}

fn hostile_pod(name: &str) -> Value {
    let mut pod = plain_pod(name);
    pod["spec"]["hostNetwork"] = json!(true);
    pod
}

#[tokio::test]
async fn a_pod_that_was_filled_and_placed_on_a_node_is_clean() {
    let scanned = Scanned::new().await;
    let sandgate = Sandgate::start(scanned.bed, &[&scanned.namespace]).await.unwrap();
    sandgate.guard(scanned.bed, &scanned.rest).await.unwrap();
    scanned.create(&plain_pod("filled")).await;
    scanned.place("filled").await;
    let run = scanned.scan(&[]);
    assert_eq!((run.status, run.stdout.as_str(), run.stderr.as_str()), (0, "no violations in 1 Pod\n", ""));
}

#[tokio::test]
async fn pods_are_found_and_classed() {
    let scanned = Scanned::new().await;
    for pod in [plain_pod("plain"), hostile_pod("hostile"), hostile_pod("ended")] {
        scanned.create(&pod).await;
    }
    scanned.set_phase("ended", "Failed").await;
    let run = scanned.scan(&["-o", "json"]);
    let found = run.json();
    assert_eq!(run.status, 1, "{}", run.stderr);
    assert_eq!(found["summary"]["classes"]["older"], 2);
    assert_eq!(found["summary"]["classes"]["ended"], 1);
    assert_eq!(found["rules"]["host-namespaces"], json!({"pods": 1, "denied": 1, "deniedOnly": 1}));
    assert_eq!(found["bestChange"], json!({"rule": null, "pods": 1}));
    let names: Vec<&str> =
        found["owners"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["hostile", "plain"]);
    assert_eq!(found["owners"][0]["violations"][0]["path"], "spec.hostNetwork");
    assert_eq!(found["owners"][1]["violations"], json!([]));

    let text = scanned.scan(&[]);
    assert!(text.stdout.contains("deny spec.hostNetwork is true"), "{}", text.stdout);
    assert!(text.stdout.contains("2 of 2 Pods violate their policy"), "{}", text.stdout);
    assert!(text.stdout.contains("not checked: 1 Pod that ended"), "{}", text.stdout);
    let junit = scanned.scan(&["-o", "junit"]);
    assert!(
        junit.stdout.contains("tests=\"3\"") && junit.stdout.contains("failures=\"2\""),
        "{}",
        junit.stdout
    );
}

#[tokio::test]
async fn how_far_it_is_stands_on_a_terminal() {
    assert_eq!(testbed::harness::missing_program("script", "bsdutils"), None);
    let scanned = Scanned::new().await;
    scanned.create(&plain_pod("plain")).await;
    let (program, kubeconfig) =
        (assert_cmd::cargo::cargo_bin!("sandgate").display(), scanned.bed.kubeconfig());
    let (policy, namespace) = (scanned.policy.display(), &scanned.namespace);
    let scan = format!(
        "{program} scan --kubeconfig {} -n {namespace} --policy {policy} > /dev/null",
        kubeconfig.display()
    );
    let output =
        Command::new("script").args(["-qec", &scan, "/dev/null"]).env("TERM", "xterm").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("scanned "), "{text}");
}

#[tokio::test]
async fn a_static_pod_is_named_and_not_checked() {
    let scanned = Scanned::new().await;
    let mut pod = hostile_pod("static");
    pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "0123456789abcdef"});
    pod["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "u", "controller": true}]);
    pod["spec"]["nodeName"] = json!("node-1");
    scanned.create(&pod).await;
    let run = scanned.scan(&[]);
    let expected = format!("not checked: 1 Pod that a node runs from a file: {}/static\n", scanned.namespace);
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert!(run.stdout.ends_with(&expected), "{}", run.stdout);
}

#[tokio::test]
async fn every_page_is_read() {
    const PODS: usize = 501;
    let scanned = Scanned::new().await;
    for number in 0..PODS {
        scanned.create(&plain_pod(&format!("plain-{number}"))).await;
    }
    let found = scanned.scan(&["-o", "json"]).json();
    assert_eq!(found["summary"]["findings"], PODS);
}

#[tokio::test]
async fn a_namespace_without_a_policy_is_no_clean_namespace() {
    let scanned = Scanned::new().await;
    let run = scanned.run(&["-n", &scanned.namespace]);
    assert_eq!(run.status, 2);
    let expected = format!("error: no policy covers namespace {}: ", scanned.namespace);
    assert!(run.stderr.starts_with(&expected), "{}", run.stderr);
}

#[tokio::test]
async fn policies_are_read_from_the_cluster() {
    let scanned = Scanned::new().await;
    scanned.create(&hostile_pod("hostile")).await;
    let map = json!({
        "metadata": {"name": "sandgate-policy", "labels": {"app.kubernetes.io/part-of": "sandgate"}},
        "data": {"strict.yaml": policy_for(&scanned.namespace)}
    });
    let args = ["-n", &scanned.namespace, "--from-cluster", "--sandgate-namespace", &scanned.namespace];
    let before = scanned.run(&args);
    assert_eq!(before.status, 2, "{}", before.stdout);
    assert!(before.stderr.contains("has no ConfigMap with policies"), "{}", before.stderr);
    let maps = format!("/api/v1/namespaces/{}/configmaps", scanned.namespace);
    scanned.rest.post(&maps, &map).await.unwrap();
    let run = scanned.run(&args);
    assert_eq!(run.status, 1, "{}", run.stderr);
    assert!(run.stdout.contains("policy strict"), "{}", run.stdout);
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let scanned = Scanned::new().await;
    let kubeconfig = scanned.kubeconfig_of_default_account().await;
    let policy = scanned.policy.display().to_string();
    let run = run_as(kubeconfig, &["-n", &scanned.namespace, "--policy", &policy]);
    assert_eq!(run.status, 2);
    let rule = "add a Role with the rule {apiGroups: [\"\"], resources: [pods], verbs: [list]}\n";
    assert!(run.stderr.ends_with(rule), "{}", run.stderr);
}

#[tokio::test]
async fn a_context_that_is_not_there_is_an_error() {
    let scanned = Scanned::new().await;
    let run = scanned.scan(&["--context", "elsewhere"]);
    assert_eq!(run.status, 2);
    assert!(run.stderr.contains("elsewhere"), "{}", run.stderr);
}

#[tokio::test]
async fn the_context_chooses_the_cluster_and_the_namespace() {
    let scanned = Scanned::new().await;
    scanned.create(&plain_pod("plain")).await;
    let text = std::fs::read_to_string(scanned.bed.kubeconfig()).unwrap();
    let mut kubeconfig: Value = serde_json::from_str(&text).unwrap();
    let context = |name: &str, cluster: &Value| {
        let user = &kubeconfig["users"][0]["name"];
        json!({"name": name, "context": {"cluster": cluster, "user": user, "namespace": scanned.namespace}})
    };
    let contexts =
        json!([context("away", &json!("away")), context("here", &kubeconfig["clusters"][0]["name"])]);
    let away = json!({"name": "away", "cluster": {"server": "https://127.0.0.1:1"}});
    kubeconfig["contexts"] = contexts;
    kubeconfig["clusters"].as_array_mut().unwrap().push(away);
    kubeconfig["current-context"] = json!("away");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    std::fs::write(&file, kubeconfig.to_string()).unwrap();
    let policy = scanned.policy.display().to_string();
    assert_eq!(run_as(file.clone(), &["--policy", &policy]).status, 2, "the current one does not answer");
    let run = run_as(file, &["--policy", &policy, "--context", "here"]);
    assert_eq!(run.status, 1, "{}", run.stderr);
    assert!(run.stdout.starts_with(&format!("Pod {}/plain: ", scanned.namespace)), "{}", run.stdout);
}
