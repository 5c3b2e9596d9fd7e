//! A pod that waits behind a scheduling gate, the only one whose placement can still be changed.

use serde_json::{Value, json};

use crate::{examples::plain_pod, sandbox::Sandbox, sandboxed::assert_sandboxed};
use testbed::Denial;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

#[tokio::test]
async fn the_placement_of_a_gated_pod_may_be_tightened() {
    let sandbox = sandbox_with_gated_pod().await;
    let zone = json!({"key": "zone", "operator": "In", "values": ["a"]});
    set_terms(&sandbox, json!([{"matchExpressions": [ours(), zone]}])).await.expect("it is tighter");
    let selector = json!({"spec": {"nodeSelector": {"disk": "fast"}}});
    sandbox.rest.merge(&sandbox.pods_path("/main"), &selector).await.expect("it is tighter");
    sandbox
        .rest
        .merge(&sandbox.pods_path("/main"), &json!({"spec": {"schedulingGates": []}}))
        .await
        .expect("it goes");
    let stored = sandbox.stored("main").await;
    assert!(stored["spec"]["schedulingGates"].is_null());
    assert_eq!(stored["spec"]["nodeSelector"], json!({"disk": "fast"}));
    assert_sandboxed(&stored);
}

#[tokio::test]
async fn the_placement_of_a_gated_pod_cannot_be_loosened() {
    let sandbox = sandbox_with_gated_pod().await;
    let before = sandbox.stored("main").await;
    let zone = json!({"key": "zone", "operator": "In", "values": ["a"]});
    for terms in [
        json!([{"matchExpressions": [zone]}]),
        json!([{"matchExpressions": [ours()]}, {"matchExpressions": [zone]}]),
        json!(null),
    ] {
        let denial = set_terms(&sandbox, terms).await.expect_err("it is looser");
        assert!(denial.names("node-affinity"), "{denial}");
    }
    // What the policy would not mind the API server does: it is no tightening.
    let narrower = json!([{"matchExpressions": [ours()]}, {"matchExpressions": [ours(), zone]}]);
    assert_eq!(set_terms(&sandbox, narrower).await.expect_err("one more alternative").code, 422);
    assert_eq!(sandbox.stored("main").await, before);
}

async fn sandbox_with_gated_pod() -> Sandbox {
    let sandbox = Sandbox::new().await;
    let mut pod = plain_pod("main");
    pod["spec"]["schedulingGates"] = json!([{"name": "example.com/wait"}]);
    assert_sandboxed(&sandbox.create_and_read(&pod).await);
    sandbox
}

fn ours() -> Value {
    json!({"key": "workload-type", "operator": "In", "values": ["workflow-runner"]})
}

async fn set_terms(sandbox: &Sandbox, terms: Value) -> Result<Value, Denial> {
    let affinity = json!({"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}});
    sandbox.rest.merge(&sandbox.pods_path("/main"), &json!({"spec": {"affinity": affinity}})).await
}
