//! Policies that only warn, or only watch.

use serde_json::{Value, json};

use crate::{
    examples::plain_pod,
    sandbox::Sandbox,
    sandboxed::{assert_fields, assert_sandboxed},
};

#[tokio::test]
async fn a_policy_that_warns_fills_and_tells_the_person() {
    let Some(sandbox) = Sandbox::with(&json!({}), &json!({"mode": "warn"})).await else { return };
    let good = sandbox.kubectl(&["run", "good", "--image=busybox"]).await;
    assert!(!good.stderr.contains("Warning"), "{}", good.stderr);
    assert_sandboxed(&sandbox.stored("good").await);

    let bad = sandbox.kubectl(&["run", "bad", "--image=busybox", "--privileged"]).await;
    assert!(bad.success, "{}", bad.stderr);
    assert!(bad.stderr.contains("Warning: ") && bad.stderr.contains("(privileged)"), "{}", bad.stderr);
    assert_eq!(sandbox.stored("bad").await["spec"]["containers"][0]["securityContext"]["privileged"], true);
}

#[tokio::test]
async fn a_policy_that_audits_touches_nothing_and_records() {
    let Some(sandbox) = Sandbox::with(&json!({}), &json!({"mode": "audit"})).await else { return };
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
