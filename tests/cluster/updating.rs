//! What may become of a pod that is stored.

use serde_json::{Value, json};

use crate::{bed::WebhookKind, examples::plain_pod, sandbox::Sandbox};

/// A sandbox with one admitted pod in it, called `main`.
async fn sandbox_with_pod() -> Option<Sandbox> {
    let sandbox = Sandbox::new().await?;
    sandbox.create(&plain_pod("main")).await.expect("it is admitted");
    Some(sandbox)
}

const DEBUG: [&str; 4] = ["debug", "main", "--image=busybox", "--container=debugger"];

#[tokio::test]
async fn kubectl_debug_with_ptrace_is_refused() {
    let Some(sandbox) = sandbox_with_pod().await else { return };
    let message = sandbox.kubectl(&[&DEBUG[..], &["--profile=general"]].concat()).await.expect_failure();
    assert!(message.contains("SYS_PTRACE") && message.contains("(capabilities)"), "{message}");
    assert!(sandbox.stored("main").await["spec"]["ephemeralContainers"].is_null());
}

#[tokio::test]
async fn kubectl_debug_within_the_policy_is_admitted() {
    let Some(sandbox) = sandbox_with_pod().await else { return };
    let restricted = [&DEBUG[..], &["--profile=restricted"]].concat();
    let message = sandbox.kubectl(&restricted).await.expect_failure();
    assert!(message.contains("(read-only-root)"), "{message}");

    let custom = sandbox.bed.folder().join(format!("{}-debug.json", sandbox.namespace));
    std::fs::write(&custom, r#"{"securityContext": {"readOnlyRootFilesystem": true}}"#)
        .expect("a file is written");
    let custom = format!("--custom={}", custom.display());
    sandbox.kubectl(&[&restricted[..], &[&custom]].concat()).await.expect_success();
    let stored = sandbox.stored("main").await;
    assert_eq!(stored["spec"]["ephemeralContainers"][0]["name"], "debugger");
}

#[tokio::test]
async fn a_resize_may_not_pass_the_ceiling() {
    let Some(sandbox) = sandbox_with_pod().await else { return };
    let resize = |cpu: &str| json!({"spec": {"containers": [{"name": "main", "resources": {"limits": {"cpu": cpu}}}]}});
    let path = sandbox.pods_path("/main/resize");
    let refusal = sandbox.rest.strategic_merge(&path, &resize("64")).await.expect_err("64 is too much");
    assert!(refusal.message.contains("(resource-limits)"), "{refusal}");
    assert_eq!(cpu_limit(&sandbox).await, "2");

    sandbox.rest.strategic_merge(&path, &resize("1")).await.expect("less is admitted");
    assert_eq!(cpu_limit(&sandbox).await, "1");
}

async fn cpu_limit(sandbox: &Sandbox) -> Value {
    sandbox.stored("main").await["spec"]["containers"][0]["resources"]["limits"]["cpu"].clone()
}

#[tokio::test]
async fn the_policys_label_can_neither_be_removed_nor_changed() {
    let Some(sandbox) = sandbox_with_pod().await else { return };
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
    let Some(sandbox) = sandbox_with_pod().await else { return };
    let message =
        sandbox.kubectl(&["annotate", "pod", "main", "dev.gvisor.internal.x=y"]).await.expect_failure();
    assert!(message.contains("(gvisor-annotations)"), "{message}");
    sandbox.kubectl(&["annotate", "pod", "main", "example.com/note=y"]).await.expect_success();
}

#[tokio::test]
async fn a_deadline_may_become_shorter() {
    let Some(sandbox) = sandbox_with_pod().await else { return };
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
    let Some(sandbox) = sandbox_with_pod().await else { return };
    let mut tolerations = sandbox.stored("main").await["spec"]["tolerations"].clone();
    tolerations.as_array_mut().expect("a list").push(json!({"operator": "Exists"}));
    let patch = json!({"spec": {"tolerations": tolerations}});
    let refusal =
        sandbox.rest.merge(&sandbox.pods_path("/main"), &patch).await.expect_err("it tolerates everything");
    assert!(refusal.message.contains("(tolerations)"), "{refusal}");
}

#[tokio::test]
async fn finalizers_come_and_go_and_the_pod_with_them() {
    let Some(sandbox) = sandbox_with_pod().await else { return };
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
    let Some(sandbox) = sandbox_with_pod().await else { return };
    sandbox.kubectl(&["delete", "pod", "main", "--timeout=60s"]).await.expect_success();
    assert_eq!(sandbox.pods().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_pod_older_than_the_webhook_lives_on_but_gets_no_worse() {
    let Some(sandbox) = Sandbox::unguarded(&json!({})).await else { return };
    let mut old = plain_pod("old");
    old["spec"]["hostPID"] = json!(true);
    sandbox.create(&old).await.expect("nobody refuses it yet");
    sandbox.guard(WebhookKind::Validating).await;
    sandbox.guard(WebhookKind::Mutating).await;

    sandbox.kubectl(&["label", "pod", "old", "team=a"]).await.expect_success();
    let message = sandbox.kubectl(&["annotate", "pod", "old", "dev.gvisor.x=y"]).await.expect_failure();
    assert!(message.contains("(gvisor-annotations)") && !message.contains("(host-namespaces)"), "{message}");
    assert_finalizer_holds_and_goes(&sandbox, "old").await;
}
