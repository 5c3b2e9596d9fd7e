//! What is none of sandgate's business goes on as if it were not there.

use serde_json::{Value, json};

use crate::{
    examples::{complete_pod, plain_pod},
    sandbox::Sandbox,
};

#[tokio::test]
async fn pods_of_other_namespaces_are_stored_as_without_a_webhook() {
    let sandbox = Sandbox::unguarded(&json!({}), &json!({})).await;
    let before = store_in(&sandbox, &sandbox.namespace).await;
    let elsewhere = sandbox.other_namespace().await;
    sandbox.guard().await;
    assert_eq!(store_in(&sandbox, &elsewhere).await, before);
}

/// The spec of a privileged pod as it is stored there.
async fn store_in(sandbox: &Sandbox, namespace: &str) -> String {
    let mut pod = plain_pod("bystander");
    pod["spec"]["hostNetwork"] = json!(true);
    pod["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    sandbox.rest.post(&pods, &pod).await.expect("no webhook is called");
    let stored = sandbox.rest.get(&format!("{pods}/bystander")).await.expect("it is stored");
    // The API server draws the name of the token volume.
    let volume = stored["spec"]["volumes"][0]["name"].as_str().expect("a token volume");
    stored["spec"].to_string().replace(volume, "kube-api-access")
}

#[tokio::test]
async fn while_sandgate_is_down_no_pod_is_stored_and_all_else_works() {
    let mut sandbox = Sandbox::new().await;
    sandbox.create(&plain_pod("before")).await.expect("it is admitted");
    let elsewhere = sandbox.other_namespace().await;
    sandbox.stop_sandgate();
    let path = |namespace: &str, rest: &str| format!("/api/v1/namespaces/{namespace}/{rest}");
    let here = |rest: &str| path(&sandbox.namespace, rest);

    for pod in [plain_pod("plain"), complete_pod("complete")] {
        let denial = sandbox.rest.post(&here("pods"), &pod).await.expect_err("the webhook is down");
        assert!(denial.message.contains("failed calling webhook"), "{denial}");
    }
    let rest = &sandbox.rest;
    rest.post(&path(&elsewhere, "pods"), &plain_pod("other"))
        .await
        .expect("pods of other namespaces are stored");
    rest.post(&here("configmaps"), &json!({"metadata": {"name": "c"}}))
        .await
        .expect("other objects are stored");
    rest.merge(&here("pods/before/status"), &json!({"status": {"message": "alive"}}))
        .await
        .expect("nodes report");
    rest.delete(&here("pods/before")).await.expect("pods are deleted");
    let pods = rest.get(&here("pods")).await.expect("pods are listed");
    assert_eq!(pods["items"], Value::Array(Vec::new()));
    sandbox.bed.kubectl(&["get", "namespaces"]).await.expect_success();
}
