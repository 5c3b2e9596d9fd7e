//! `sandgate policy suggest` and `policy replay` on a real API server: from Pods that run there, and from its audit log.

use std::{path::PathBuf, process::Command};

use serde_json::{Value, json};

use crate::{
    examples::{plain_pod, with_host_path},
    sandbox::Sandbox,
};
use testbed::{RECORDED_NAMESPACE, Sandgate, eventually, program, shared};

/// A run of the program.
struct Run {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn sandgate(kubeconfig: PathBuf, arguments: &[&str]) -> Run {
    let mut command = Command::new(program().expect("sandgate is built"));
    let output = command.env("KUBECONFIG", kubeconfig).args(arguments).output().expect("it runs");
    Run {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// A Pod with a claim, a ConfigMap and a folder of its own.
fn worker(name: &str) -> Value {
    let mut pod = plain_pod(name);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([
        {"name": "data", "mountPath": "/data"}, {"name": "conf", "mountPath": "/etc/worker"},
        {"name": "cache", "mountPath": "/cache"},
    ]);
    pod["spec"]["volumes"] = json!([
        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "conf", "configMap": {"name": "worker-conf"}},
        {"name": "cache", "emptyDir": {}},
    ]);
    pod
}

/// Returns the spec of a suggested policy, in mode enforce.
fn enforced(document: &str) -> Value {
    let policy: Value = serde_saphyr::from_str(document).expect("one document of YAML");
    let mut spec = policy["spec"].clone();
    spec["mode"] = json!("enforce");
    spec
}

#[tokio::test]
async fn the_suggested_policy_admits_what_runs_and_nothing_of_the_host() {
    let bed = shared().await;
    let rest = bed.rest().await.expect("a client");
    let namespace = bed.namespace(&rest, &json!({"generateName": "suggest-"})).await.expect("a namespace");
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    for pod in [plain_pod("plain"), worker("worker"), with_host_path("root")] {
        rest.post(&pods, &pod).await.expect("nothing guards the namespace yet");
    }
    let run = sandgate(bed.kubeconfig(), &["policy", "suggest", "-n", &namespace]);
    assert_eq!((run.status, run.stderr.as_str()), (Some(1), ""), "{}", run.stdout);
    let document = &run.stdout;
    assert!(document.contains("# Admitted by this policy: 2. Not admitted: 1.\n"), "{document}");
    assert!(document.contains("# - Pod root\n#     spec.volumes["), "{document}");
    let spec = enforced(document);
    let volumes = json!({"configMap": {"names": ["worker-conf"]}, "persistentVolumeClaim": {"names": ["data"]},
        "writablePaths": ["/cache", "/data"]});
    let mut found = spec["add"]["volumes"].clone();
    found["writablePaths"].as_array_mut().expect("a list").sort_by_key(Value::to_string);
    assert_eq!(
        (&found, spec["add"].as_object().map(serde_json::Map::len)),
        (&volumes, Some(1)),
        "{document}"
    );

    // The same Pods are created again, now with that policy in front.
    let sandgate = Sandgate::start_with(bed, &spec).await.expect("sandgate starts with the policy");
    sandgate.guard(bed, &rest).await.expect("the API server asks sandgate");
    for pod in [plain_pod("plain-again"), worker("worker-again")] {
        let stored = rest.post(&pods, &pod).await.expect("it is admitted");
        assert_eq!(stored["spec"]["runtimeClassName"], "gvisor");
    }
    let denied = rest.post(&pods, &with_host_path("root-again")).await.expect_err("it is denied");
    assert!(denied.names("volume-types"), "{denied:?}");
}

#[tokio::test]
async fn only_pods_of_the_selector_are_asked() {
    let bed = shared().await;
    let rest = bed.rest().await.expect("a client");
    let namespace = bed.namespace(&rest, &json!({"generateName": "suggest-"})).await.expect("a namespace");
    let mut labelled = plain_pod("labelled");
    labelled["metadata"]["labels"] = json!({"team": "a"});
    for pod in [labelled, worker("worker")] {
        rest.post(&format!("/api/v1/namespaces/{namespace}/pods"), &pod).await.expect("it is stored");
    }
    let run = sandgate(bed.kubeconfig(), &["policy", "suggest", "-n", &namespace, "-l", "team=a"]);
    assert_eq!(run.status, Some(0), "{}{}", run.stdout, run.stderr);
    assert!(
        run.stdout.starts_with(&format!("# Suggested for 1 Pod of namespace {namespace}.\n")),
        "{}",
        run.stdout
    );
    assert!(!run.stdout.contains("worker-conf"), "{}", run.stdout);
}

#[tokio::test]
async fn a_changed_policy_is_replayed_over_what_was_created() {
    let bed = shared().await;
    let rest = bed.rest().await.expect("a client");
    bed.namespace(&rest, &json!({"name": RECORDED_NAMESPACE})).await.expect("a namespace");
    let pods = format!("/api/v1/namespaces/{RECORDED_NAMESPACE}/pods");
    for pod in [plain_pod("plain"), worker("worker")] {
        rest.post(&pods, &pod).await.expect("nothing guards the namespace");
    }
    let mut rejected = plain_pod("rejected");
    rejected["spec"]["serviceAccountName"] = json!("missing");
    rest.post(&pods, &rejected).await.expect_err("there is no such account");
    eventually("the audit log has the Pods", async || {
        let events = bed.audit_events(RECORDED_NAMESPACE)?;
        Ok((events.iter().filter(|event| event["requestObject"].is_object()).count() >= 3).then_some(()))
    })
    .await
    .expect("three events");

    // The log is still written to, so its last line may be cut off: the whole lines of this namespace are taken.
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("audit.log");
    let events = bed.audit_events(RECORDED_NAMESPACE).expect("the log");
    let lines: Vec<String> = events.iter().map(ToString::to_string).collect();
    std::fs::write(&log, lines.join("\n")).expect("a file");
    let policy = folder.path().join("policy.yaml");
    let replay = |spec: &Value| {
        let document = json!({"apiVersion": "sandgate.dev/v1beta1", "kind": "SandboxPolicy",
            "metadata": {"name": "next"}, "spec": spec});
        std::fs::write(&policy, document.to_string()).expect("a file");
        let (policy, log) = (policy.display().to_string(), log.display().to_string());
        sandgate(bed.kubeconfig(), &["policy", "replay", "-o", "json", "--policy", &policy, &log])
    };
    let run = replay(&json!({"namespaces": [RECORDED_NAMESPACE]}));
    assert_eq!((run.status, run.stderr.as_str()), (Some(1), ""), "{}", run.stdout);
    let json: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let counts = json!({"newlyDenied": 1, "stillDenied": 1, "noLongerDenied": 0, "admitted": 1});
    assert_eq!(json["counts"], counts, "{json:#}");
    assert_eq!(json["owners"][0]["name"], "worker");
    assert_eq!(json["rules"]["volume-types"], 1);

    // The policy that is suggested from the same log denies none of them.
    let log_file = log.display().to_string();
    let run = sandgate(bed.kubeconfig(), &["policy", "suggest", "--apiserver", &log_file]);
    assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""), "{}", run.stdout);
    let run = replay(&enforced(&run.stdout));
    let json: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let counts = json!({"newlyDenied": 0, "stillDenied": 0, "noLongerDenied": 1, "admitted": 2});
    assert_eq!((run.status, &json["counts"]), (Some(0), &counts), "{json:#}");
}

#[tokio::test]
async fn kubectl_runs_sandgate_as_a_plugin() {
    let sandbox = Sandbox::with_pod().await;
    let folder = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(program().expect("sandgate is built"), folder.path().join("kubectl-sandgate"))
        .expect("a link");
    let kubectl = |arguments: &[&str]| {
        let mut command = Command::new(sandbox.bed.kubectl_program());
        let output = command
            .env("PATH", folder.path())
            .env("KUBECONFIG", sandbox.bed.kubeconfig())
            .args(arguments)
            .output()
            .expect("kubectl runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (status, help) = kubectl(&["sandgate", "policy", "suggest", "--help"]);
    assert_eq!(status, Some(0), "{help}");
    assert!(help.contains("Usage: kubectl sandgate policy suggest"), "{help}");
    let (status, suggested) = kubectl(&["sandgate", "policy", "suggest", "-n", &sandbox.namespace]);
    assert_eq!(status, Some(0), "{suggested}");
    assert!(suggested.contains(&format!("namespaces: [{}]", sandbox.namespace)), "{suggested}");
    // What the webhook filled is no opening.
    assert!(!suggested.contains("  add:"), "{suggested}");
}
