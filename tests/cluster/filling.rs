//! What is filled, to the last field, and what is left alone.

use serde_json::{Value, json};

use crate::{
    examples::{complete_pod, plain_pod},
    sandbox::Sandbox,
    sandboxed::{assert_fields, assert_sandboxed, containers},
};

#[tokio::test]
async fn a_bare_pod_gets_everything_that_the_policy_says() {
    let Some(sandbox) = Sandbox::new().await else { return };
    sandbox.kubectl(&["run", "bare", "--image=busybox"]).await.expect_success();
    let pod = sandbox.stored("bare").await;
    assert_sandboxed(&pod);
    assert_fields(
        &pod,
        &[
            ("/spec/restartPolicy", json!("Never")),
            ("/spec/activeDeadlineSeconds", json!(3600)),
            (
                "/spec/volumes",
                json!([
                    {"name": "workspace", "emptyDir": {"sizeLimit": "10Gi"}},
                    {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}
                ]),
            ),
            (
                "/spec/containers/0/volumeMounts",
                json!([
                    {"name": "workspace", "mountPath": "/workspace"},
                    {"name": "tmp", "mountPath": "/tmp"}
                ]),
            ),
            (
                "/spec/containers/0/resources",
                json!({
                    "limits": {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "10Gi"},
                    "requests": {"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "1Gi"}
                }),
            ),
            (
                "/spec/containers/0/securityContext",
                json!({
                    "allowPrivilegeEscalation": false,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": true
                }),
            ),
            ("/metadata/annotations/sandgate.dev~1policy", json!("workflow-runner")),
        ],
    );
    let hash = pod.pointer("/metadata/annotations/sandgate.dev~1policy-hash").and_then(Value::as_str);
    assert!(hash.is_some_and(|hash| hash.len() == 16), "{hash:?}");
    // kubectl's own label stays beside ours.
    assert_eq!(pod["metadata"]["labels"], json!({"app": "workflow-runner", "run": "bare"}));
}

#[tokio::test]
async fn a_complete_pod_is_stored_as_if_there_were_no_webhook() {
    let Some(sandbox) = Sandbox::new().await else { return };
    let elsewhere = format!("/api/v1/namespaces/{}/pods", sandbox.other_namespace().await);
    let expected = sandbox.rest.post(&elsewhere, &complete_pod("complete")).await.expect("nobody refuses it");

    let pod = sandbox.create_and_read(&complete_pod("complete")).await;
    assert_eq!(pod["spec"], expected["spec"]);
    assert_eq!(pod["metadata"]["labels"], expected["metadata"]["labels"]);
    let annotations = pod["metadata"]["annotations"].as_object().into_iter().flatten();
    assert!(annotations.into_iter().all(|(key, _)| key.starts_with("sandgate.dev/")), "{pod:#}");
    assert_sandboxed(&pod);
}

#[tokio::test]
async fn a_pod_of_several_containers_shares_the_budget() {
    let Some(sandbox) = Sandbox::new().await else { return };
    let mut pod = plain_pod("several");
    pod["spec"]["containers"] = json!([{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]);
    pod["spec"]["initContainers"] = json!([
        {"name": "proxy", "image": "x", "restartPolicy": "Always"},
        {"name": "fetch", "image": "x"}
    ]);
    let stored = sandbox.create_and_read(&pod).await;
    assert_eq!(containers(&stored).count(), 4);
    assert_sandboxed(&stored);
}

#[tokio::test]
async fn what_a_person_wrote_within_the_policy_stays() {
    let Some(sandbox) = Sandbox::new().await else { return };
    let mut pod = plain_pod("modest");
    pod["metadata"]["labels"] = json!({"team": "a"});
    pod["spec"]["activeDeadlineSeconds"] = json!(60);
    pod["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "250m", "memory": "256Mi"}});
    pod["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "1"}]);
    let stored = sandbox.create_and_read(&pod).await;
    assert_sandboxed(&stored);
    assert_fields(
        &stored,
        &[
            ("/metadata/labels", json!({"app": "workflow-runner", "team": "a"})),
            ("/spec/activeDeadlineSeconds", json!(60)),
            ("/spec/containers/0/env", json!([{"name": "A", "value": "1"}])),
            ("/spec/containers/0/resources/limits/cpu", json!("250m")),
            ("/spec/containers/0/resources/limits/memory", json!("256Mi")),
        ],
    );
}

#[tokio::test]
async fn whatever_is_admitted_passes_pod_security_restricted() {
    let restricted = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let Some(sandbox) = Sandbox::labelled(&restricted).await else { return };
    let mut two = plain_pod("two");
    two["spec"]["initContainers"] = json!([{"name": "fetch", "image": "x"}]);
    for pod in [plain_pod("plain"), complete_pod("complete"), two] {
        assert_sandboxed(&sandbox.create_and_read(&pod).await);
    }
    sandbox.kubectl(&["create", "job", "work", "--image=busybox"]).await.expect_success();
}
