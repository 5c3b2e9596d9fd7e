//! What is filled, to the last field, and what is left alone.

use serde_json::{Value, json};

use crate::{
    examples::{complete_pod, plain_pod, pod_of_four},
    sandbox::Sandbox,
    sandboxed::{assert_fields, assert_sandboxed, containers},
};
use testbed::eventually;

#[tokio::test]
async fn a_bare_pod_gets_everything_that_the_policy_says() {
    let sandbox = Sandbox::new().await;
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
    let sandbox = Sandbox::new().await;
    let elsewhere = format!("/api/v1/namespaces/{}/pods", sandbox.other_namespace().await);
    let expected =
        sandbox.rest.post(&elsewhere, &complete_pod("complete")).await.expect("no webhook is called");

    let pod = sandbox.create_and_read(&complete_pod("complete")).await;
    assert_eq!(pod["spec"], expected["spec"]);
    assert_eq!(pod["metadata"]["labels"], expected["metadata"]["labels"]);
    let annotations = pod["metadata"]["annotations"].as_object().into_iter().flatten();
    assert!(annotations.into_iter().all(|(key, _)| key.starts_with("sandgate.dev/")), "{pod:#}");
    assert_sandboxed(&pod);
}

#[tokio::test]
async fn a_pod_of_several_containers_shares_the_budget() {
    let sandbox = Sandbox::new().await;
    let stored = sandbox.create_and_read(&pod_of_four("several")).await;
    assert_eq!(containers(&stored).count(), 4);
    assert_sandboxed(&stored);
}

#[tokio::test]
async fn what_a_person_wrote_within_the_policy_stays() {
    let sandbox = Sandbox::new().await;
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
    let sandbox = Sandbox::with(&restricted, &json!({})).await;
    let mut two = plain_pod("two");
    two["spec"]["initContainers"] = json!([{"name": "fetch", "image": "x"}]);
    for pod in [plain_pod("plain"), complete_pod("complete"), two] {
        assert_sandboxed(&sandbox.create_and_read(&pod).await);
    }
}

#[tokio::test]
async fn limits_of_the_namespace_come_before_ours() {
    let sandbox = Sandbox::new().await;
    let range = json!({"type": "Container", "default": {"cpu": "300m"}, "defaultRequest": {"cpu": "100m"}});
    let path = format!("/api/v1/namespaces/{}/limitranges", sandbox.namespace);
    let range = json!({"metadata": {"name": "small"}, "spec": {"limits": [range]}});
    sandbox.rest.post(&path, &range).await.expect("a LimitRange is no pod");
    eventually("the API server applies the LimitRange", async || {
        let pod = sandbox.rest.post(&sandbox.pods_path("?dryRun=All"), &plain_pod("try")).await?;
        Ok((pod.pointer("/spec/containers/0/resources/limits/cpu") == Some(&json!("300m"))).then_some(()))
    })
    .await
    .expect("it does");

    let stored = sandbox.create_and_read(&plain_pod("small")).await;
    assert_sandboxed(&stored);
    assert_fields(
        &stored,
        &[(
            "/spec/containers/0/resources",
            json!({
                "limits": {"cpu": "300m", "memory": "4Gi", "ephemeral-storage": "10Gi"},
                "requests": {"cpu": "100m", "memory": "1Gi", "ephemeral-storage": "1Gi"}
            }),
        )],
    );
}

#[tokio::test]
async fn a_quota_that_demands_limits_is_content() {
    let sandbox = Sandbox::new().await;
    let path = format!("/api/v1/namespaces/{}/resourcequotas", sandbox.namespace);
    let quota = json!({"metadata": {"name": "bounded"}, "spec": {"hard": {"limits.cpu": "10", "limits.memory": "40Gi"}}});
    sandbox.rest.post(&path, &quota).await.expect("a ResourceQuota is no pod");
    assert_sandboxed(&sandbox.create_and_read(&plain_pod("counted")).await);
}

/// The class of a managed cluster brings a node selector, a toleration and an overhead of its own, which the API server
/// adds after the first round.
#[tokio::test]
async fn what_the_runtime_class_brings_is_kept_and_its_overhead_is_on_top_of_the_limits() {
    let settings = json!({"runtimeClass": {"default": "gvisor-managed", "allowed": ["gvisor-managed"]}});
    let sandbox = Sandbox::unguarded(&json!({}), &settings).await;
    let toleration = json!({"key": "sandbox.gke.io/runtime", "operator": "Equal", "value": "gvisor", "effect": "NoSchedule"});
    let class = json!({
        "metadata": {"name": "gvisor-managed"},
        "handler": "runsc",
        "overhead": {"podFixed": {"cpu": "200m", "memory": "128Mi"}},
        "scheduling": {"nodeSelector": {"sandbox.gke.io/runtime": "gvisor"}, "tolerations": [toleration]},
    });
    sandbox.rest.post("/apis/node.k8s.io/v1/runtimeclasses", &class).await.expect("the class is made");
    sandbox.guard().await;

    let stored = sandbox.create_and_read(&plain_pod("managed")).await;
    assert_fields(
        &stored,
        &[
            ("/spec/runtimeClassName", json!("gvisor-managed")),
            ("/spec/nodeSelector", json!({"sandbox.gke.io/runtime": "gvisor"})),
            ("/spec/overhead", json!({"cpu": "200m", "memory": "128Mi"})),
            ("/spec/containers/0/resources/limits/cpu", json!("2")),
            ("/spec/containers/0/resources/limits/memory", json!("4Gi")),
        ],
    );
    let ours =
        stored["spec"]["tolerations"].as_array().into_iter().flatten().filter(|other| **other == toleration);
    assert_eq!(ours.count(), 1);
}

#[tokio::test]
async fn a_forged_mark_of_ours_is_corrected() {
    let sandbox = Sandbox::new().await;
    let mut pod = complete_pod("forged");
    pod["metadata"]["annotations"] = json!({"sandgate.dev/policy": "none", "sandgate.dev/policy-hash": "0"});
    let stored = sandbox.create_and_read(&pod).await;
    assert_fields(&stored, &[("/metadata/annotations/sandgate.dev~1policy", json!("workflow-runner"))]);
    assert_ne!(stored.pointer("/metadata/annotations/sandgate.dev~1policy-hash"), Some(&json!("0")));
}

#[tokio::test]
async fn a_pod_of_a_megabyte_is_filled_like_any_other() {
    let sandbox = Sandbox::new().await;
    let mut pod = plain_pod("large");
    let variable = |index| json!({"name": format!("V{index}"), "value": "x".repeat(1_000)});
    pod["spec"]["containers"][0]["env"] = (0..1_000).map(variable).collect();
    assert_sandboxed(&sandbox.create_and_read(&pod).await);
}
