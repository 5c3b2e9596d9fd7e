//! The subresources of a pod that are no pods: what can be done to a guarded pod by them, with the rights for it.

use serde_json::{Value, json};

use crate::{sandbox::Sandbox, sandboxed::assert_fields};
use testbed::eventually;

#[tokio::test]
async fn a_status_update_cannot_change_the_spec() {
    let sandbox = Sandbox::with_pod().await;
    let before = sandbox.stored("main").await;
    let changes =
        json!({"spec": {"hostPID": true, "activeDeadlineSeconds": 86_400}, "status": {"message": "x"}});
    sandbox.rest.merge(&sandbox.pods_path("/main/status"), &changes).await.expect("the spec is put back");
    let stored = sandbox.stored("main").await;
    assert_eq!(stored["spec"], before["spec"]);
    assert_eq!(stored["status"]["message"], "x");
}

/// Not matched, since nodes report often. Only nodes and controllers should have the right.
#[tokio::test]
async fn a_status_update_can_change_labels_and_annotations() {
    let sandbox = Sandbox::with_pod().await;
    sandbox
        .rest
        .merge(&sandbox.pods_path("/main/status"), &metadata_changes())
        .await
        .expect("it is not reviewed");
    assert_metadata_changed(&sandbox).await;
}

/// With a condition the API server asks only where a status update changes the metadata, so heartbeats never leave it.
#[tokio::test]
async fn a_webhook_of_status_updates_with_a_condition_closes_that() {
    let sandbox = Sandbox::with_pod().await;
    let path = sandbox.pods_path("/main/status");
    review_status(&sandbox).await;
    eventually("status updates are reviewed", async || {
        let answer = sandbox.rest.merge(&format!("{path}?dryRun=All"), &metadata_changes()).await;
        Ok(answer.is_err().then_some(()))
    })
    .await
    .expect("they are");
    let denial = sandbox.rest.merge(&path, &metadata_changes()).await.expect_err("it is denied");
    assert!(denial.names("labels") && denial.names("gvisor-annotations"), "{denial}");

    let mut sandbox = sandbox;
    sandbox.stop_sandgate();
    let heartbeat = json!({"status": {"message": "alive"}});
    sandbox.rest.merge(&path, &heartbeat).await.expect("a heartbeat is not sent");
}

async fn review_status(sandbox: &Sandbox) {
    let same = |field: &str| {
        format!("object.metadata.?{field}.orValue({{}}) == oldObject.metadata.?{field}.orValue({{}})")
    };
    let condition = format!("!({} && {})", same("labels"), same("annotations"));
    let configuration = json!({
        "metadata": {"name": format!("{}-status", sandbox.sandgate.configuration())},
        "webhooks": [{
            "name": "status.sandgate.dev",
            "clientConfig": sandbox.sandgate.client_config("validate"),
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": sandbox.namespace}},
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["pods/status"]
            }],
            "matchConditions": [{"name": "metadata-changes", "expression": condition}],
        }],
    });
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    sandbox.rest.post(path, &configuration).await.expect("it is registered");
}

/// Who may bind a Pod is trusted like a scheduler: labels and annotations come with the node, unchecked.
#[tokio::test]
#[cfg_attr(before_kubernetes = "1.35", ignore = "needs Kubernetes 1.35: labels of a Binding")]
async fn a_binding_can_set_labels_and_annotations() {
    let sandbox = Sandbox::with_pod().await;
    let mut binding = metadata_changes();
    binding["metadata"]["name"] = json!("main");
    binding["target"] = json!({"kind": "Node", "name": "node-1"});
    sandbox.rest.post(&sandbox.pods_path("/main/binding"), &binding).await.expect("it is not reviewed");
    assert_metadata_changed(&sandbox).await;
    assert_eq!(sandbox.stored("main").await["spec"]["nodeName"], "node-1");
}

/// The same two changes by way of a subresource that is reviewed.
#[tokio::test]
async fn a_resize_or_an_ephemeral_container_changes_no_label_on_the_way() {
    let sandbox = Sandbox::with_pod().await;
    let before = sandbox.stored("main").await;
    for subresource in ["resize", "ephemeralcontainers"] {
        let path = sandbox.pods_path(&format!("/main/{subresource}"));
        let _ = sandbox.rest.strategic_merge(&path, &metadata_changes()).await;
        assert_eq!(sandbox.stored("main").await["metadata"]["labels"], before["metadata"]["labels"]);
        assert_eq!(
            sandbox.stored("main").await["metadata"]["annotations"],
            before["metadata"]["annotations"]
        );
    }
}

#[tokio::test]
async fn an_eviction_deletes_the_pod_also_while_sandgate_is_down() {
    for is_down in [false, true] {
        let mut sandbox = Sandbox::with_pod().await;
        if is_down {
            sandbox.stop_sandgate();
        }
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "main"}});
        sandbox.rest.post(&sandbox.pods_path("/main/eviction"), &eviction).await.expect("it is evicted");
        assert_eq!(sandbox.pods().await, Vec::<Value>::new());
    }
}

fn metadata_changes() -> Value {
    let annotations = json!({"dev.gvisor.flag.host-uds": "all"});
    json!({"metadata": {"labels": {"app": "web"}, "annotations": annotations}})
}

async fn assert_metadata_changed(sandbox: &Sandbox) {
    assert_fields(
        &sandbox.stored("main").await,
        &[
            ("/metadata/labels/app", json!("web")),
            ("/metadata/annotations/dev.gvisor.flag.host-uds", json!("all")),
        ],
    );
}
