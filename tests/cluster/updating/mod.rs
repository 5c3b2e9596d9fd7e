//! What may become of a pod that is stored.

mod debugging;
mod deleting;
mod gates;
mod owners;
mod patches;
mod resizing;
mod subresources;

use serde_json::{Value, json};

use crate::{examples::plain_pod, sandbox::Sandbox};

#[tokio::test]
async fn an_image_may_be_replaced() {
    let sandbox = Sandbox::with_pod().await;
    sandbox.kubectl(&["set", "image", "pod/main", "main=busybox:2"]).await.expect_success();
    assert_eq!(sandbox.stored("main").await["spec"]["containers"][0]["image"], "busybox:2");
}

/// Every pod that runs has a node's name, which none may bring along.
#[tokio::test]
async fn a_pod_that_the_scheduler_has_placed_can_be_updated() {
    let sandbox = Sandbox::with_pod().await;
    sandbox.place_on_node("main").await;
    assert_eq!(sandbox.stored("main").await["spec"]["nodeName"], "node-1");
    sandbox.kubectl(&["label", "pod", "main", "team=a"]).await.expect_success();
    let running = json!({"status": {"phase": "Running"}});
    sandbox.rest.merge(&sandbox.pods_path("/main/status"), &running).await.expect("its node reports");
}

#[tokio::test]
async fn the_policys_label_can_neither_be_removed_nor_changed() {
    let sandbox = Sandbox::with_pod().await;
    for change in [&["app-"][..], &["app=web", "--overwrite"]] {
        let message = sandbox.kubectl(&[&["label", "pod", "main"], change].concat()).await.expect_failure();
        assert!(message.contains("(labels)"), "{message}");
    }
    sandbox.kubectl(&["label", "pod", "main", "team=a"]).await.expect_success();
    let labels = json!({"app": "workflow-runner", "team": "a"});
    assert_eq!(sandbox.stored("main").await["metadata"]["labels"], labels);
}

#[tokio::test]
async fn a_forbidden_annotation_cannot_be_added_later() {
    let sandbox = Sandbox::with_pod().await;
    let message =
        sandbox.kubectl(&["annotate", "pod", "main", "dev.gvisor.internal.x=y"]).await.expect_failure();
    assert!(message.contains("(gvisor-annotations)"), "{message}");
    sandbox.kubectl(&["annotate", "pod", "main", "example.com/note=y"]).await.expect_success();
}

#[tokio::test]
async fn a_deadline_may_become_shorter() {
    let sandbox = Sandbox::with_pod().await;
    let path = sandbox.pods_path("/main");
    sandbox
        .rest
        .merge(&path, &json!({"spec": {"activeDeadlineSeconds": 60}}))
        .await
        .expect("shorter is fine");
    assert_eq!(sandbox.stored("main").await["spec"]["activeDeadlineSeconds"], 60);
}

#[tokio::test]
async fn a_toleration_cannot_be_added_later() {
    let sandbox = Sandbox::with_pod().await;
    let mut tolerations = sandbox.stored("main").await["spec"]["tolerations"].clone();
    tolerations.as_array_mut().expect("a list").push(json!({"operator": "Exists"}));
    let patch = json!({"spec": {"tolerations": tolerations}});
    let denial =
        sandbox.rest.merge(&sandbox.pods_path("/main"), &patch).await.expect_err("it tolerates everything");
    assert!(denial.names("tolerations"), "{denial}");
}

#[tokio::test]
async fn finalizers_come_and_go_and_the_pod_with_them() {
    let sandbox = Sandbox::with_pod().await;
    assert_finalizer_holds_and_goes(&sandbox, "main").await;
}

async fn assert_finalizer_holds_and_goes(sandbox: &Sandbox, name: &str) {
    let path = sandbox.pods_path(&format!("/{name}"));
    let finalizers = |list: Value| json!({"metadata": {"finalizers": list}});
    sandbox.rest.merge(&path, &finalizers(json!(["example.com/hold"]))).await.expect("it is added");
    sandbox.rest.delete(&path).await.expect("it is being deleted");
    assert!(sandbox.stored(name).await["metadata"]["deletionTimestamp"].is_string());
    sandbox.rest.merge(&path, &finalizers(json!([]))).await.expect("it is removed");
    assert_eq!(sandbox.pods().await, Vec::<Value>::new());
}

#[tokio::test]
async fn kubectl_delete_deletes() {
    let sandbox = Sandbox::with_pod().await;
    sandbox.kubectl(&["delete", "pod", "main", "--timeout=60s"]).await.expect_success();
    assert_eq!(sandbox.pods().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_pod_older_than_the_webhook_lives_on_but_gets_no_worse() {
    let sandbox = Sandbox::unguarded(&json!({}), &json!({})).await;
    let mut old = plain_pod("old");
    old["spec"]["hostPID"] = json!(true);
    sandbox.create(&old).await.expect("no webhook is called yet");
    sandbox.guard().await;

    sandbox.kubectl(&["label", "pod", "old", "team=a"]).await.expect_success();
    let message = sandbox.kubectl(&["annotate", "pod", "old", "dev.gvisor.x=y"]).await.expect_failure();
    assert!(message.contains("(gvisor-annotations)") && !message.contains("(host-namespaces)"), "{message}");
    assert_finalizer_holds_and_goes(&sandbox, "old").await;
}
