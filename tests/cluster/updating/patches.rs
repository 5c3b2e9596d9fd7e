//! Every kind of patch, each with a change that the policy denies and one that it does not mind.

use serde_json::{Value, json};

use crate::{examples::plain_pod, sandbox::Sandbox, sandboxed::assert_sandboxed};
use testbed::Denial;

type Answer = Result<Value, Denial>;

#[tokio::test]
async fn a_strategic_merge_patch_is_validated() {
    let sandbox = Sandbox::with_pod().await;
    let patch =
        async |changes: Value| sandbox.rest.strategic_merge(&sandbox.pods_path("/main"), &changes).await;
    assert_validated(&sandbox, patch).await;
}

#[tokio::test]
async fn a_merge_patch_is_validated() {
    let sandbox = Sandbox::with_pod().await;
    let patch = async |changes: Value| sandbox.rest.merge(&sandbox.pods_path("/main"), &changes).await;
    assert_validated(&sandbox, patch).await;
}

#[tokio::test]
async fn a_json_patch_is_validated() {
    let sandbox = Sandbox::with_pod().await;
    let patch = async |changes: Value| {
        sandbox.rest.json_patch(&sandbox.pods_path("/main"), &as_operations("", &changes)).await
    };
    assert_validated(&sandbox, patch).await;
}

#[tokio::test]
async fn a_replacement_of_the_whole_pod_is_validated() {
    let sandbox = Sandbox::with_pod().await;
    let replace = async |changes: Value| {
        let mut pod = sandbox.stored("main").await;
        crate::hostile::merge(&mut pod, changes);
        sandbox.rest.put(&sandbox.pods_path("/main"), &pod).await
    };
    assert_validated(&sandbox, replace).await;
}

#[tokio::test]
async fn a_server_side_apply_is_validated_also_with_force() {
    let sandbox = Sandbox::with_pod().await;
    assert_validated(&sandbox, async |changes: Value| apply(&sandbox, changes, true).await).await;
}

/// What a webhook filled has no field manager: an applier of it owns it alone, and takes it away by leaving it out.
#[tokio::test]
async fn a_server_side_apply_that_gives_up_what_was_filled_is_denied() {
    let sandbox = Sandbox::with_pod().await;
    let label = json!({"metadata": {"labels": {"app": "workflow-runner"}}});
    let deadline = json!({"spec": {"activeDeadlineSeconds": 3600}});
    let both = json!({"metadata": label["metadata"], "spec": deadline["spec"]});
    apply(&sandbox, both, false).await.expect("it says what is there");
    for (rule, rest) in [("labels", deadline), ("active-deadline", label)] {
        let denial = apply(&sandbox, rest, false).await.expect_err("one would be gone");
        assert!(denial.names(rule), "{denial}");
    }
    assert_sandboxed(&sandbox.stored("main").await);
}

/// The API server itself denies to take a field from its owner.
#[tokio::test]
async fn without_force_a_field_that_another_manager_owns_is_a_conflict() {
    let sandbox = Sandbox::with_pod().await;
    let team = |name: &str| json!({"metadata": {"labels": {"team": name}}});
    sandbox.rest.merge(&sandbox.pods_path("/main"), &team("b")).await.expect("it is harmless");
    let denial = apply(&sandbox, team("a"), false).await.expect_err("a conflict");
    assert_eq!(denial.code, 409, "{denial}");
    apply(&sandbox, team("a"), true).await.expect("by force");
    assert_eq!(sandbox.stored("main").await["metadata"]["labels"]["team"], "a");
}

/// Nothing is left of the first pod, and the second is denied: `replace --force` deletes before it creates.
#[tokio::test]
async fn a_forced_replacement_by_a_hostile_pod_leaves_none() {
    let sandbox = Sandbox::with_pod().await;
    let replace = ["replace", "--force", "--timeout=60s", "-f", "-"];
    sandbox.kubectl_reading(&plain_pod("main").to_string(), &replace).await.expect_success();
    assert_sandboxed(&sandbox.stored("main").await);

    let mut hostile = plain_pod("main");
    hostile["spec"]["hostPID"] = json!(true);
    let message = sandbox.kubectl_reading(&hostile.to_string(), &replace).await.expect_failure();
    assert!(message.contains("(host-namespaces)"), "{message}");
    assert_eq!(sandbox.pods().await, Vec::<Value>::new());
}

/// The manifest of a pod that was filled is not the pod: a plain replace would take away what was filled.
#[tokio::test]
async fn a_replacement_by_the_manifest_that_was_filled_is_denied() {
    let sandbox = Sandbox::with_pod().await;
    let before = sandbox.stored("main").await;
    let manifest = plain_pod("main").to_string();
    let message = sandbox.kubectl_reading(&manifest, &["replace", "-f", "-"]).await.expect_failure();
    assert!(message.contains("(runtime-class)"), "{message}");
    assert_eq!(sandbox.stored("main").await, before);
}

#[tokio::test]
async fn a_kubectl_apply_is_validated_and_a_harmless_one_stored() {
    let sandbox = Sandbox::new().await;
    for apply in [&["apply", "-f", "-"][..], &["apply", "--server-side", "--force-conflicts", "-f", "-"]] {
        let mut pod = plain_pod("applied");
        sandbox.kubectl_reading(&pod.to_string(), apply).await.expect_success();
        pod["spec"]["containers"][0]["image"] = json!("registry.example.com/runner:2");
        sandbox.kubectl_reading(&pod.to_string(), apply).await.expect_success();
        pod["metadata"]["labels"] = json!({"app": "web"});
        let message = sandbox.kubectl_reading(&pod.to_string(), apply).await.expect_failure();
        assert!(message.contains("(labels)"), "{message}");
        pod["metadata"]["labels"] = json!({});
        pod["spec"]["hostNetwork"] = json!(true);
        let message = sandbox.kubectl_reading(&pod.to_string(), apply).await.expect_failure();
        assert!(message.contains("(host-namespaces)"), "{message}");
        let stored = sandbox.stored("applied").await;
        assert_eq!(stored["spec"]["containers"][0]["image"], "registry.example.com/runner:2");
        assert_sandboxed(&stored);
        sandbox.rest.delete(&sandbox.pods_path("/applied")).await.expect("it is deleted");
    }
}

async fn apply(sandbox: &Sandbox, mut changes: Value, force: bool) -> Answer {
    changes["apiVersion"] = json!("v1");
    changes["kind"] = json!("Pod");
    changes["metadata"]["name"] = json!("main");
    sandbox.rest.apply(&sandbox.pods_path("/main"), &changes, force).await
}

/// Makes each change to `main` by `patch`: what the policy denies is denied, the rest is stored.
async fn assert_validated(sandbox: &Sandbox, patch: impl AsyncFn(Value) -> Answer) {
    let before = sandbox.stored("main").await;
    for (rule, changes) in [
        ("labels", json!({"metadata": {"labels": {"app": "web"}}})),
        ("gvisor-annotations", json!({"metadata": {"annotations": {"dev.gvisor.flag.host-uds": "all"}}})),
        ("mirror-pod", json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}})),
        ("active-deadline", json!({"spec": {"activeDeadlineSeconds": 86_400}})),
    ] {
        let denial = patch(changes).await.expect_err(rule);
        assert!(denial.names(rule), "{rule}: {denial}");
    }
    assert_eq!(sandbox.stored("main").await, before);

    let changes = json!({"metadata": {"labels": {"team": "a"}}, "spec": {"activeDeadlineSeconds": 60}});
    patch(changes).await.expect("it is within the policy");
    let stored = sandbox.stored("main").await;
    assert_eq!(stored["metadata"]["labels"]["team"], "a");
    assert_eq!(stored["spec"]["activeDeadlineSeconds"], 60);
}

/// One operation for each value.
fn as_operations(path: &str, changes: &Value) -> Value {
    let Value::Object(fields) = changes else {
        return json!([{"op": "add", "path": path, "value": changes}]);
    };
    let below = fields.iter().flat_map(|(key, value)| {
        let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
        match as_operations(&path, value) {
            Value::Array(operations) => operations,
            _ => Vec::new(),
        }
    });
    below.collect()
}
