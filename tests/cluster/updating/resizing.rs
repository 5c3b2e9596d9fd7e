//! `pods/resize`: cpu and memory of a pod that runs.

use serde_json::{Value, json};

use crate::{
    examples::{plain_pod, pod_of_four},
    sandbox::Sandbox,
    sandboxed::{assert_fields, assert_sandboxed},
};
use testbed::Denial;

#[tokio::test]
#[cfg_attr(before_kubernetes = "1.33", ignore = "needs Kubernetes 1.33: pods/resize")]
async fn a_resize_may_not_pass_the_ceiling() {
    let sandbox = Sandbox::with_pod().await;
    let denial = resize(&sandbox, "containers", "main", json!({"limits": {"cpu": "64"}})).await;
    assert_rule(denial, "resource-limits");
    let denial = resize(&sandbox, "containers", "main", json!({"limits": {"memory": "64Gi"}})).await;
    assert_rule(denial, "resource-limits");
    let both = json!({"requests": {"cpu": "64"}, "limits": {"cpu": "64"}});
    assert_rule(resize(&sandbox, "containers", "main", both).await, "resource-limits");
    assert_fields(&sandbox.stored("main").await, &[("/spec/containers/0/resources/limits/cpu", json!("2"))]);
}

#[tokio::test]
#[cfg_attr(before_kubernetes = "1.33", ignore = "needs Kubernetes 1.33: pods/resize")]
async fn a_resize_within_the_policy_is_stored() {
    let sandbox = Sandbox::with_pod().await;
    for (limit, request) in [("1", "250m"), ("1500m", "1")] {
        let amounts = json!({"limits": {"cpu": limit}, "requests": {"cpu": request}});
        resize(&sandbox, "containers", "main", amounts).await.expect("it is within the policy");
        assert_fields(
            &sandbox.stored("main").await,
            &[
                ("/spec/containers/0/resources/limits/cpu", json!(limit)),
                ("/spec/containers/0/resources/requests/cpu", json!(request)),
            ],
        );
    }
}

#[tokio::test]
#[cfg_attr(before_kubernetes = "1.33", ignore = "needs Kubernetes 1.33: pods/resize")]
async fn a_resize_cannot_take_a_limit_away() {
    let sandbox = Sandbox::with_pod().await;
    let denial = resize(&sandbox, "containers", "main", json!({"limits": {"cpu": null}})).await;
    assert_rule(denial, "resource-limits");
}

/// Each container stays below the ceiling, both together do not.
#[tokio::test]
#[cfg_attr(before_kubernetes = "1.33", ignore = "needs Kubernetes 1.33: pods/resize")]
async fn a_resize_may_not_pass_the_budget_of_the_pod() {
    let sandbox = Sandbox::new().await;
    assert_sandboxed(&sandbox.create_and_read(&pod_of_four("main")).await);
    for (list, name) in [("containers", "second"), ("initContainers", "proxy"), ("initContainers", "fetch")] {
        let denial = resize(&sandbox, list, name, json!({"limits": {"cpu": "2"}})).await;
        assert_rule(denial, "pod-budget");
    }
    resize(&sandbox, "initContainers", "proxy", json!({"limits": {"cpu": "500m"}}))
        .await
        .expect("less is fine");
}

/// Resources of the Pod itself, which 1.33 drops unless a feature gate is on.
#[tokio::test]
#[cfg_attr(before_kubernetes = "1.36", ignore = "needs Kubernetes 1.36: resize of the Pod's own resources")]
async fn a_resize_of_the_pods_own_resources_may_not_pass_its_budget() {
    let sandbox = Sandbox::new().await;
    let mut pod = plain_pod("main");
    pod["spec"]["resources"] = json!({"limits": {"cpu": "2", "memory": "4Gi"}});
    sandbox.create(&pod).await.expect("it is admitted");
    let path = sandbox.pods_path("/main/resize");
    let larger = json!({"spec": {"resources": {"limits": {"cpu": "64"}}}});
    let denial = sandbox.rest.strategic_merge(&path, &larger).await;
    assert_rule(denial, "pod-budget");
    assert_fields(&sandbox.stored("main").await, &[("/spec/resources/limits/cpu", json!("2"))]);
}

async fn resize(sandbox: &Sandbox, list: &str, name: &str, resources: Value) -> Result<Value, Denial> {
    let path = sandbox.pods_path("/main/resize");
    let changes = json!({"spec": {list: [{"name": name, "resources": resources}]}});
    sandbox.rest.strategic_merge(&path, &changes).await
}

#[track_caller]
fn assert_rule(answer: Result<Value, Denial>, rule: &str) {
    let denial = answer.expect_err("it is denied");
    assert!(denial.names(rule), "{rule}: {denial}");
}
