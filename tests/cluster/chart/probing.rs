//! `sandgate probe`, and the Pod of `helm test` that runs it.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::{render, strings};
use crate::sandbox::Sandbox;
use testbed::Output;

#[tokio::test]
async fn probe_reports_enforcing_webhooks() {
    let sandbox = Sandbox::new().await;
    let run = probe(&sandbox, &["--namespace", &sandbox.namespace]);
    assert_eq!(run.0, Some(0), "{}", run.1.stderr);
    assert_eq!(
        run.1.stdout,
        "ok: a plain Pod is admitted and comes out sandboxed (policy workflow-runner, RuntimeClass gvisor)\n\
         ok: a hostile Pod is denied by mutate.sandgate.dev\n"
    );
    assert!(sandbox.pods().await.is_empty(), "nothing is stored");
}

/// What the chart's hook runs, word for word.
#[tokio::test]
async fn helm_test_reports_enforcing_webhooks() {
    let sandbox = Sandbox::new().await;
    let guarded = format!("policies.workflow-runner.namespaces={{{}}}", sandbox.namespace);
    let objects = render(&["--set", &guarded]).await;
    let arguments = strings(&objects.one("Pod")["spec"]["containers"][0]["args"]);
    let ["probe", arguments @ ..] = arguments.as_slice() else { panic!("a probe: {arguments:?}") };
    assert_eq!(probe(&sandbox, arguments).0, Some(0));
}

#[tokio::test]
async fn probe_fails_without_webhooks() {
    let sandbox = Sandbox::unguarded(&Value::Null, &json!({})).await;
    let (status, output) = probe(&sandbox, &["--namespace", &sandbox.namespace]);
    assert_eq!(status, Some(1), "{}", output.stderr);
    assert!(output.stdout.starts_with("FAILED: a plain Pod comes out as it went in"), "{}", output.stdout);
    assert!(output.stdout.ends_with("FAILED: a hostile Pod is admitted\n"), "{}", output.stdout);
}

#[tokio::test]
async fn probe_fails_with_the_reason_of_a_denied_plain_pod() {
    let settings = json!({"images": {"allowed": ["registry.example.com/**"]}});
    let sandbox = Sandbox::with(&json!({}), &settings).await;
    let (status, output) = probe(&sandbox, &["--namespace", &sandbox.namespace]);
    assert_eq!(status, Some(1), "{}", output.stderr);
    assert!(output.stdout.starts_with("FAILED: a plain Pod is denied: "), "{}", output.stdout);
    assert_eq!(output.stdout.lines().count(), 2, "one line for each Pod: {}", output.stdout);
    let allowed = ["--namespace", &sandbox.namespace, "--image", "registry.example.com/x"];
    assert_eq!(probe(&sandbox, &allowed).0, Some(0));
}

#[tokio::test]
async fn probe_without_a_namespace_or_kubeconfig_exits_with_2() {
    let sandbox = Sandbox::unguarded(&Value::Null, &json!({})).await;
    let (status, output) = probe(&sandbox, &["--namespace", "nowhere"]);
    assert_eq!(status, Some(2));
    assert!(output.stderr.contains("no Pod can be tried in nowhere"), "{}", output.stderr);
    let (status, output) = probe(&sandbox, &["--namespace", "a b"]);
    assert_eq!(status, Some(2));
    assert!(output.stderr.contains("use one of a policy"), "{}", output.stderr);
    let (status, output) = probe(&sandbox, &["--namespace", "x", "--kubeconfig", "/nowhere"]);
    assert_eq!(status, Some(2));
    assert!(output.stderr.contains("kubeconfig /nowhere: "), "{}", output.stderr);
}

#[tokio::test]
async fn outside_a_cluster_a_kubeconfig_is_asked_for() {
    let output = Command::new(env!("CARGO_BIN_EXE_sandgate"))
        .args(["probe", "--namespace", "workflows"])
        .env_remove("KUBECONFIG")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .output()
        .expect("sandgate starts");
    assert_eq!(output.status.code(), Some(2));
    let output = String::from_utf8_lossy(&output.stderr);
    assert!(output.contains("give --kubeconfig PATH"), "{output}");
}

/// A webhook that does not answer is no verdict.
#[tokio::test]
async fn probe_without_an_answer_exits_with_2() {
    let mut sandbox = Sandbox::new().await;
    sandbox.stop_sandgate();
    let (status, output) = probe(&sandbox, &["--namespace", &sandbox.namespace]);
    assert_eq!(status, Some(2), "{}", output.stdout);
    assert!(output.stderr.contains("failed calling webhook"), "{}", output.stderr);
}

/// `helm test` right after an install comes before the validating webhook is armed.
#[tokio::test]
async fn probe_with_wait_tries_again_until_the_webhooks_are_armed() {
    let sandbox = Sandbox::unguarded(&Value::Null, &json!({})).await;
    let mut probe = command(&sandbox, &["--namespace", &sandbox.namespace, "--wait=5m"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sandgate starts");
    let mut first = String::new();
    BufReader::new(probe.stderr.take().expect("a pipe")).read_line(&mut first).expect("a line");
    assert_eq!(first, "note: 2 checks fail; checking again in 5 s\n");
    sandbox.guard().await;
    let output = probe.wait_with_output().expect("sandgate ends");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

fn command(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandgate"));
    command.arg("probe").args(arguments).env("KUBECONFIG", sandbox.bed.kubeconfig());
    command
}

/// Runs `sandgate probe`, with the exit status.
fn probe(sandbox: &Sandbox, arguments: &[&str]) -> (Option<i32>, Output) {
    let output = command(sandbox, arguments).output().expect("sandgate starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    (output.status.code(), Output { success: output.status.success(), stdout, stderr })
}
