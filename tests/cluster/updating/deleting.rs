//! The end of guarded namespaces and pods, with sandgate and without.

use serde_json::json;

use crate::sandbox::Sandbox;
use testbed::eventually;

#[tokio::test]
async fn a_guarded_namespace_can_be_deleted_with_its_pods_also_while_sandgate_is_down() {
    for is_down in [false, true] {
        let mut sandbox = Sandbox::with_pod().await;
        if is_down {
            sandbox.stop_sandgate();
        }
        sandbox.rest.delete(&sandbox.path("")).await.expect("it is being deleted");
        let is_gone = async || Ok(sandbox.rest.get(&sandbox.path("")).await.err());
        assert_eq!(eventually("the namespace is gone", is_gone).await.expect("it is").code, 404);
    }
}

/// Removing a finalizer is an update, and no update is let through unseen.
#[tokio::test]
async fn a_pod_with_a_finalizer_waits_for_sandgate() {
    let mut sandbox = Sandbox::with_pod().await;
    let path = sandbox.pods_path("/main");
    let finalizers = |list: serde_json::Value| json!({"metadata": {"finalizers": list}});
    sandbox.rest.merge(&path, &finalizers(json!(["example.com/hold"]))).await.expect("it is added");
    sandbox.stop_sandgate();
    sandbox.rest.delete(&path).await.expect("it is being deleted");
    let denial = sandbox.rest.merge(&path, &finalizers(json!([]))).await.expect_err("sandgate is down");
    assert!(denial.message.contains("failed calling webhook"), "{denial}");
    assert!(sandbox.stored("main").await["metadata"]["deletionTimestamp"].is_string());
}

/// A pod that is being deleted may run on for as long as the delete allows, so its updates are validated to the end.
#[tokio::test]
async fn a_pod_on_its_way_out_gets_no_worse() {
    let sandbox = Sandbox::with_pod().await;
    delete_slowly(&sandbox).await;
    let before = sandbox.stored("main").await;
    for (rule, changes) in [
        ("labels", json!({"metadata": {"labels": {"app": "web"}}})),
        ("labels", json!({"metadata": {"labels": {"app": null}}})),
        ("gvisor-annotations", json!({"metadata": {"annotations": {"dev.gvisor.flag.x": "y"}}})),
    ] {
        let answer = sandbox.rest.merge(&sandbox.pods_path("/main"), &changes).await;
        let denial = answer.expect_err("it still runs");
        assert!(denial.names(rule), "{rule}: {denial}");
    }
    assert_eq!(sandbox.stored("main").await, before);
    let label = json!({"metadata": {"labels": {"team": "a"}}});
    sandbox.rest.merge(&sandbox.pods_path("/main"), &label).await.expect("it is harmless");
}

/// Deletes are not reviewed: what a delete asks for goes before the pod's own grace period, which is bounded.
#[tokio::test]
async fn a_delete_can_give_a_pod_a_long_grace_period() {
    let sandbox = Sandbox::with_pod().await;
    delete_slowly(&sandbox).await;
    let stored = sandbox.stored("main").await;
    assert_eq!(stored["spec"]["terminationGracePeriodSeconds"], 30);
    assert_eq!(stored["metadata"]["deletionGracePeriodSeconds"], 86_400);
}

/// Only a Pod on a node has a grace period.
async fn delete_slowly(sandbox: &Sandbox) {
    sandbox.place_on_node("main").await;
    let path = sandbox.pods_path("/main?gracePeriodSeconds=86400");
    sandbox.rest.delete(&path).await.expect("it is being deleted");
}
