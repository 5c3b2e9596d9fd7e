//! What no webhook can stop, and what looks like it and does not work.

use serde_json::{Value, json};

use crate::{
    examples::plain_pod,
    sandbox::Sandbox,
    sandboxed::{assert_fields, assert_sandboxed},
};
use testbed::eventually;

const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1";
const CLASSES: &str = "/apis/node.k8s.io/v1/runtimeclasses";

#[tokio::test]
async fn without_the_webhook_configurations_anything_can_be_stored() {
    let sandbox = Sandbox::new().await;
    for kind in ["mutating", "validating"] {
        let name = sandbox.sandgate.configuration();
        let path = format!("{REGISTRATION}/{kind}webhookconfigurations/{name}");
        sandbox.rest.delete(&path).await.expect("it is deleted");
    }
    let stored = store_hostile(&sandbox).await;
    assert_eq!(stored["spec"]["hostPID"], true);
}

#[tokio::test]
async fn with_failure_policy_ignore_anything_is_stored_while_sandgate_is_down() {
    let mut sandbox = Sandbox::new().await;
    sandbox.stop_failing_open().await;
    let stored = store_hostile(&sandbox).await;
    assert_eq!(stored["spec"]["hostPID"], true);
}

/// Tries until the API server has taken notice.
async fn store_hostile(sandbox: &Sandbox) -> Value {
    let mut pod = plain_pod("hostile");
    pod["spec"]["hostPID"] = json!(true);
    eventually("no webhook is called", async || Ok(sandbox.create(&pod).await.ok()))
        .await
        .expect("it is stored");
    sandbox.stored("hostile").await
}

#[tokio::test]
async fn a_runtime_class_of_ones_own_is_of_no_use() {
    let sandbox = Sandbox::new().await;
    let name = format!("gvisor-of-{}", sandbox.namespace);
    sandbox
        .rest
        .post(CLASSES, &json!({"metadata": {"name": name}, "handler": "runc"}))
        .await
        .expect("it is made");
    let mut pod = plain_pod("other");
    pod["spec"]["runtimeClassName"] = json!(name);
    let denial = sandbox.create(&pod).await.expect_err("the policy names another class");
    assert!(denial.names("runtime-class"), "{denial}");
}

/// The handler is immutable, but a class can be deleted and made anew: who may do that can leave the sandbox.
#[tokio::test]
async fn the_policys_runtime_class_cannot_be_changed_but_replaced() {
    let sandbox = Sandbox::unguarded_with(|namespace| {
        let name = format!("gvisor-{namespace}");
        json!({"runtimeClass": {"default": name, "allowed": [name]}})
    })
    .await;
    let name = format!("gvisor-{}", sandbox.namespace);
    let (path, class) = (
        format!("{CLASSES}/{name}"),
        |handler: &str| json!({"metadata": {"name": name}, "handler": handler}),
    );
    sandbox.rest.post(CLASSES, &class("runsc")).await.expect("it is made");
    sandbox.guard().await;

    let denial = sandbox.rest.merge(&path, &json!({"handler": "runc"})).await.expect_err("it is immutable");
    assert!(denial.code == 422 && denial.message.contains("field is immutable"), "{denial}");

    sandbox.rest.delete(&path).await.expect("it is deleted");
    sandbox.rest.post(CLASSES, &class("runc")).await.expect("it is made anew");
    let stored = sandbox.create_and_read(&plain_pod("fooled")).await;
    assert_fields(&stored, &[("/spec/runtimeClassName", json!(name))]);
    assert_eq!(sandbox.rest.get(&path).await.expect("the class")["handler"], "runc");
}

#[tokio::test]
async fn a_namespace_cannot_leave_by_its_label() {
    let sandbox = Sandbox::new().await;
    for value in [json!("elsewhere"), Value::Null] {
        let changes = json!({"metadata": {"labels": {"kubernetes.io/metadata.name": value}}});
        // The API server denies it, or puts the label back.
        let _ = sandbox.rest.merge(&sandbox.path(""), &changes).await;
        let namespace = sandbox.rest.get(&sandbox.path("")).await.expect("it is there");
        assert_eq!(namespace["metadata"]["labels"]["kubernetes.io/metadata.name"], sandbox.namespace);
    }
    assert_sandboxed(&sandbox.create_and_read(&plain_pod("inside")).await);
}

#[tokio::test]
async fn a_user_who_is_exempt_can_store_anything() {
    let exempt = json!({"exempt": {"users": ["admin"]}});
    let sandbox = Sandbox::with(&json!({}), &exempt).await;
    let mut pod = plain_pod("broken-glass");
    pod["spec"]["hostPID"] = json!(true);
    let stored = sandbox.create_and_read(&pod).await;
    assert_eq!(stored["spec"]["hostPID"], true);
    let annotations = sandbox.audit_annotations(201).await;
    assert_eq!(annotations["validate.sandgate.dev/verdict"], "exempt");
}
