//! Policies that only warn, or only watch.

use serde_json::{Value, json};

use crate::{
    examples::plain_pod,
    sandbox::Sandbox,
    sandboxed::{assert_fields, assert_sandboxed},
};

#[tokio::test]
async fn a_policy_that_warns_fills_and_warns_the_person() {
    let sandbox = Sandbox::with(&json!({}), &json!({"mode": "warn", "fill": "always"})).await;
    let good = sandbox.kubectl(&["run", "good", "--image=busybox"]).await;
    assert!(!good.stderr.contains("would deny"), "{}", good.stderr);
    assert_sandboxed(&sandbox.stored("good").await);

    let bad = sandbox.kubectl(&["run", "bad", "--image=busybox", "--privileged"]).await;
    assert!(bad.success, "{}", bad.stderr);
    assert!(bad.stderr.contains("Warning: ") && bad.stderr.contains("(privileged)"), "{}", bad.stderr);
    assert_eq!(sandbox.stored("bad").await["spec"]["containers"][0]["securityContext"]["privileged"], true);
}

#[tokio::test]
async fn a_person_is_shown_what_was_filled_unless_the_policy_turns_it_off() {
    let sandbox = Sandbox::new().await;
    let output = sandbox.kubectl(&["run", "filled", "--image=busybox"]).await;
    assert!(output.success, "{}", output.stderr);
    let warnings: Vec<_> =
        output.stderr.lines().filter(|line| line.starts_with("Warning: sandgate: filled ")).collect();
    assert_eq!(warnings.len(), 1, "one line, also after both webhooks: {}", output.stderr);
    assert!(
        warnings[0].contains("runtimeClassName") && warnings[0].contains("workflow-runner"),
        "{}",
        output.stderr
    );

    let silent = json!({"warnings": {"filled": false}});
    let sandbox = Sandbox::with(&json!({}), &silent).await;
    let output = sandbox.kubectl(&["run", "silent", "--image=busybox"]).await;
    assert!(output.success && !output.stderr.contains("Warning"), "{}", output.stderr);
    assert_sandboxed(&sandbox.stored("silent").await);
}

#[tokio::test]
async fn a_policy_that_audits_touches_nothing_and_records() {
    let sandbox = Sandbox::with(&json!({}), &json!({"mode": "audit"})).await;
    let mut pod = plain_pod("bad");
    pod["spec"]["hostPID"] = json!(true);
    let stored = sandbox.create_and_read(&pod).await;
    assert_fields(&stored, &[("/spec/hostPID", json!(true)), ("/spec/restartPolicy", json!("Always"))]);
    assert_eq!(stored["spec"]["runtimeClassName"], Value::Null);

    let annotations = sandbox.audit_annotations(201).await;
    assert_eq!(annotations["validate.sandgate.dev/verdict"], "would-deny");
    assert!(
        annotations["validate.sandgate.dev/rules"]
            .as_str()
            .is_some_and(|rules| rules.contains("host-namespaces"))
    );
}
