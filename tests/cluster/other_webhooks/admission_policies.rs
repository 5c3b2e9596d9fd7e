//! A `MutatingAdmissionPolicy`, which the API server runs itself, before the webhooks of each round.

use serde_json::{Value, json};

use crate::{examples::plain_pod, sandbox::Sandbox, sandboxed::assert_sandboxed};
use testbed::eventually;

const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1";

#[tokio::test]
#[cfg_attr(before_kubernetes = "1.36", ignore = "needs Kubernetes 1.36: MutatingAdmissionPolicy v1")]
async fn what_an_admission_policy_takes_away_is_filled_again() {
    let remove = "[JSONPatch{op: 'remove', path: '/spec/activeDeadlineSeconds'}]";
    let sandbox = sandbox_with_policy("has(object.spec.activeDeadlineSeconds)", remove).await;
    let mut pod = plain_pod("policed");
    pod["spec"]["activeDeadlineSeconds"] = json!(60);
    let filled = async || {
        let answer = sandbox.rest.post(&sandbox.pods_path("?dryRun=All"), &pod).await?;
        Ok((answer["spec"]["activeDeadlineSeconds"] == 3600).then_some(()))
    };
    eventually("the policy takes the deadline away", filled).await.expect("it does");
    assert_sandboxed(&sandbox.create_and_read(&pod).await);
}

#[tokio::test]
#[cfg_attr(before_kubernetes = "1.36", ignore = "needs Kubernetes 1.36: MutatingAdmissionPolicy v1")]
async fn a_contradiction_that_an_admission_policy_adds_is_denied() {
    let add = "[JSONPatch{op: 'add', path: '/spec/hostPID', value: true}]";
    let sandbox = sandbox_with_policy("true", add).await;
    let denied =
        async || Ok(sandbox.rest.post(&sandbox.pods_path("?dryRun=All"), &plain_pod("try")).await.err());
    eventually("the policy adds it", denied).await.expect("it does");
    let denial = sandbox.create(&plain_pod("policed")).await.expect_err("it is denied");
    assert!(denial.names("host-namespaces"), "{denial}");
    assert_eq!(sandbox.pods().await, Vec::<Value>::new());
}

/// A guarded namespace whose pods this expression changes.
async fn sandbox_with_policy(condition: &str, expression: &str) -> Sandbox {
    let sandbox = Sandbox::new().await;
    let name = format!("policy-{}", sandbox.namespace);
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": sandbox.namespace}});
    let pods =
        json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]});
    let policy = json!({
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"namespaceSelector": here, "resourceRules": [pods]},
            "matchConditions": [{"name": "condition", "expression": condition}],
            "failurePolicy": "Fail",
            "reinvocationPolicy": "IfNeeded",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}]
        }
    });
    let binding = json!({"metadata": {"name": name}, "spec": {"policyName": name}});
    for (kind, object) in
        [("mutatingadmissionpolicies", policy), ("mutatingadmissionpolicybindings", binding)]
    {
        sandbox.rest.post(&format!("{REGISTRATION}/{kind}"), &object).await.expect("it is made");
    }
    sandbox
}
