//! What a person sees of a Deployment whose pods are denied.

use serde_json::{Value, json};

use crate::sandbox::Sandbox;
use testbed::eventually;

#[tokio::test]
async fn a_deployment_says_why_it_has_no_pods_also_after_it_is_scaled() {
    let sandbox = Sandbox::new().await;
    sandbox.kubectl(&["create", "deployment", "web", "--image=busybox"]).await.expect_success();
    let message = failure(&sandbox).await;
    assert!(message.contains("denied the request") && message.contains("(restart-policy)"), "{message}");
    assert!(message.contains("run it as a Job"), "{message}");

    sandbox.kubectl(&["scale", "deployment", "web", "--replicas=3"]).await.expect_success();
    let status = sandbox.kubectl(&["rollout", "status", "deployment", "web", "--timeout=1s"]).await;
    assert!(
        !status.success && status.stdout.contains("0 out of 3 new replicas have been updated"),
        "{status:?}"
    );
    assert_eq!(sandbox.pods().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_new_image_of_a_deployment_changes_nothing_about_that() {
    let sandbox = Sandbox::new().await;
    sandbox.kubectl(&["create", "deployment", "web", "--image=busybox"]).await.expect_success();
    failure(&sandbox).await;
    sandbox.kubectl(&["set", "image", "deployment/web", "busybox=busybox:2"]).await.expect_success();
    sandbox.kubectl(&["rollout", "restart", "deployment/web"]).await.expect_success();
    assert!(failure(&sandbox).await.contains("(restart-policy)"));
    assert_eq!(sandbox.pods().await, Vec::<Value>::new());
}

/// The message of the condition `ReplicaFailure`, which `kubectl describe` shows.
async fn failure(sandbox: &Sandbox) -> String {
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/web", sandbox.namespace);
    let found = eventually("the Deployment reports", async || {
        let deployment = sandbox.rest.get(&path).await?;
        let conditions = deployment["status"]["conditions"].as_array().into_iter().flatten();
        let failure = conditions.into_iter().find(|condition| condition["type"] == json!("ReplicaFailure"));
        Ok(failure.and_then(|condition| condition["message"].as_str().map(str::to_owned)))
    });
    found.await.expect("a message")
}
