//! The backstop and the fills without a webhook, for the benchmarks of the API server.

use sandgate_engine::{
    backstop::{FILLS_MINOR, Settings, fills, render},
    policy::{PolicySet, Source},
};
use serde_json::{Value, json};
use testbed::{Rest, Result, eventually, load::plain_pod, store_admission};

/// Creates a Pod by a dry run.
pub(crate) async fn create(rest: &Rest, namespace: &str, pod: &Value) -> Result<()> {
    rest.post(&format!("/api/v1/namespaces/{namespace}/pods?dryRun=All"), pod).await?;
    Ok(())
}

/// Returns the default policy for these namespaces.
fn policies(namespaces: &[&str]) -> Result<PolicySet> {
    let policy = json!({
        "apiVersion": "sandgate.dev/v1beta1",
        "kind": "SandboxPolicy",
        "metadata": {"name": "workflow-runner"},
        "spec": {"namespaces": namespaces},
    });
    Ok(PolicySet::from_sources(&[Source { name: "policy.json".into(), text: policy.to_string() }])?)
}

/// Returns the backstop of these namespaces.
pub(crate) fn validating(namespaces: &[&str]) -> Result<Vec<Value>> {
    render(&policies(namespaces)?, &Settings::default()).map_err(|refusals| refusals[0].to_string().into())
}

/// Returns the fills of a namespace as `MutatingAdmissionPolicies`.
pub(crate) fn mutating(namespace: &str) -> Result<Vec<Value>> {
    let settings = Settings { kubernetes_minor: FILLS_MINOR, ..Settings::default() };
    fills(&policies(&[namespace])?, &settings).map_err(|refusals| refusals[0].to_string().into())
}

/// Stores the objects of admission policies.
pub(crate) async fn store(rest: &Rest, objects: &[Value]) -> Result<()> {
    for object in objects {
        store_admission(rest, object).await?;
    }
    Ok(())
}

/// Waits until the backstop of a namespace denies what violates the policy.
pub(crate) async fn wait_until_denied(rest: &Rest, namespace: &str) -> Result<()> {
    let mut hostile = plain_pod();
    hostile["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    eventually("the backstop denies", async || {
        let denial = create(rest, namespace, &hostile).await.err();
        Ok(denial.map(drop))
    })
    .await
}

/// Waits until the fills of a namespace make a plain Pod one that its backstop admits.
pub(crate) async fn wait_until_filled(rest: &Rest, namespace: &str) -> Result<()> {
    eventually("Pods are filled", async || Ok(create(rest, namespace, &plain_pod()).await.ok())).await
}
