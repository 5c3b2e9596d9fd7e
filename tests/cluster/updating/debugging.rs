//! Ephemeral containers, by kubectl and by the plain API.

use serde_json::{Value, json};

use crate::{sandbox::Sandbox, sandboxed::assert_sandboxed};

const DEBUG: [&str; 4] = ["debug", "main", "--image=busybox", "--container=debugger"];

#[tokio::test]
async fn kubectl_debug_with_ptrace_is_denied() {
    let sandbox = Sandbox::with_pod().await;
    let message = sandbox.kubectl(&[&DEBUG[..], &["--profile=general"]].concat()).await.expect_failure();
    assert!(message.contains("SYS_PTRACE") && message.contains("(capabilities)"), "{message}");
    assert!(sandbox.stored("main").await["spec"]["ephemeralContainers"].is_null());
}

#[tokio::test]
#[cfg_attr(before_kubernetes = "1.32", ignore = "needs Kubernetes 1.32: kubectl debug --custom")]
async fn kubectl_debug_within_the_policy_is_admitted() {
    let sandbox = Sandbox::with_pod().await;
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
#[cfg_attr(before_kubernetes = "1.32", ignore = "needs Kubernetes 1.32: kubectl debug --keep-annotations")]
async fn a_copy_for_debugging_is_a_pod_like_any_other() {
    let sandbox = Sandbox::with_pod().await;
    let copy = [&DEBUG[..], &["--copy-to=copy", "--profile=restricted"]].concat();
    let message = sandbox.kubectl(&copy).await.expect_failure();
    assert!(message.contains("(shared-process-namespace)"), "{message}");

    // With the annotations it is known what was filled, and the debugger gets a share of it.
    let within = ["--share-processes=false", "--keep-annotations"];
    sandbox.kubectl(&[&copy[..], &within].concat()).await.expect_success();
    let stored = sandbox.stored("copy").await;
    assert_eq!(stored["spec"]["containers"][1]["name"], "debugger");
    assert_sandboxed(&stored);
}

/// What each profile of kubectl sets, and what of it the policy denies.
#[tokio::test]
async fn no_profile_of_kubectl_debug_leaves_the_sandbox() {
    let sandbox = Sandbox::with_pod().await;
    for (profile, rules) in [
        ("general", &["capabilities", "privilege-escalation", "read-only-root"][..]),
        ("baseline", &["capabilities", "privilege-escalation", "read-only-root"]),
        ("restricted", &["read-only-root"]),
        ("netadmin", &["capabilities", "privilege-escalation", "read-only-root"]),
        ("sysadmin", &["privileged", "capabilities", "privilege-escalation", "read-only-root"]),
        ("legacy", &["capabilities", "privilege-escalation", "read-only-root"]),
    ] {
        let profile = format!("--profile={profile}");
        let message = sandbox.kubectl(&[&DEBUG[..], &[&profile]].concat()).await.expect_failure();
        let missing = rules.iter().find(|rule| !message.contains(&format!("({rule})")));
        assert!(missing.is_none(), "{profile} {missing:?}: {message}");
    }
    assert!(sandbox.stored("main").await["spec"]["ephemeralContainers"].is_null());
}

#[tokio::test]
async fn an_ephemeral_container_by_the_plain_api_is_validated() {
    let sandbox = Sandbox::with_pod().await;
    for (rule, changes) in [
        ("privileged", json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": null}})),
        ("run-as-user", json!({"securityContext": {"runAsUser": 0}})),
        ("capabilities", json!({"securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}}})),
        ("capabilities", json!({"securityContext": {"capabilities": null}})),
        ("seccomp", json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}})),
        ("writable-paths", json!({"volumeMounts": [{"name": "tmp", "mountPath": "/etc"}]})),
        ("termination-message-path", json!({"terminationMessagePath": "/etc/passwd"})),
    ] {
        let mut container = harmless("debugger");
        crate::hostile::merge(&mut container, changes);
        let denial = add(&sandbox, &container).await.expect_err(rule);
        assert!(denial.names(rule), "{rule}: {denial}");
    }
    assert!(sandbox.stored("main").await["spec"]["ephemeralContainers"].is_null());

    add(&sandbox, &harmless("debugger")).await.expect("it is within the policy");
    let stored = sandbox.stored("main").await;
    assert_eq!(stored["spec"]["ephemeralContainers"][0]["name"], "debugger");
}

/// The API server's own rules: what is added stays as it is.
#[tokio::test]
async fn an_ephemeral_container_can_be_neither_changed_nor_removed_nor_given_resources() {
    let sandbox = Sandbox::with_pod().await;
    let mut greedy = harmless("greedy");
    greedy["resources"] = json!({"limits": {"cpu": "64"}});
    let denial = add(&sandbox, &greedy).await.expect_err("it may have none");
    assert_eq!(denial.code, 422, "{denial}");

    add(&sandbox, &harmless("debugger")).await.expect("it is within the policy");
    let path = sandbox.pods_path("/main/ephemeralcontainers");
    let mut changed = harmless("debugger");
    changed["image"] = json!("other");
    for containers in [json!([changed]), json!([])] {
        let denial = sandbox.rest.merge(&path, &json!({"spec": {"ephemeralContainers": containers}})).await;
        assert_eq!(denial.expect_err("it stays as it is").code, 422);
    }
}

/// A container that the policy admits.
fn harmless(name: &str) -> Value {
    let security = json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}
    });
    json!({"name": name, "image": "busybox", "securityContext": security})
}

async fn add(sandbox: &Sandbox, container: &Value) -> Result<Value, testbed::Denial> {
    let path = sandbox.pods_path("/main/ephemeralcontainers");
    sandbox.rest.strategic_merge(&path, &json!({"spec": {"ephemeralContainers": [container]}})).await
}
