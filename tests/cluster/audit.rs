//! The API server's own audit log, read by `sandgate audit`.

use std::process::Command;

use serde_json::Value;

use crate::{examples::plain_pod, sandbox::Sandbox};
use testbed::program;

/// What `sandgate audit` prints about verdicts in the API server's audit log.
fn audit(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let mut command = Command::new(program().expect("sandgate is built"));
    command.arg("audit").args(arguments).args(["-n", &sandbox.namespace, "--apiserver"]);
    let output = command.arg(sandbox.bed.audit_log_file()).output().expect("it runs");
    // The log is being written to, so that its last line may be cut off: that is status 1.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[tokio::test]
async fn a_denial_its_user_and_its_rules_are_found_in_the_api_servers_audit_log() {
    let sandbox = Sandbox::new().await;
    sandbox.create(&plain_pod("good")).await.expect("it is admitted");
    let output = sandbox.kubectl(&["run", "bad", "--image=busybox", "--privileged"]).await;
    assert!(!output.success);
    sandbox.audit_annotations(403).await;

    let denied = audit(&sandbox, &["list", "--verdict", "denied", "-o", "json"]);
    let denied = denied.lines().map(|line| serde_json::from_str::<Value>(line).expect("one object a line"));
    // The bed's own tries before sandgate was asked by both webhooks are dry runs.
    let denied: Vec<Value> = denied.filter(|verdict| verdict["dryRun"] == false).collect();
    let [denied] = &denied[..] else { panic!("{denied:#?}") };
    assert_eq!(
        [&denied["user"], &denied["name"], &denied["operation"], &denied["policy"]],
        ["admin", "bad", "CREATE", "workflow-runner"]
    );
    let rules = denied["violations"].as_array().expect("a list");
    assert!(rules.iter().any(|violation| violation["rule"] == "privileged"), "{denied:#}");

    let top = audit(&sandbox, &["top", "--by", "user", "-o", "json"]);
    let top: Value = serde_json::from_str(&top).expect("only one user");
    assert_eq!(top["name"], "admin");
    assert!(top["denied"].as_u64() >= Some(1), "{top}");
}
