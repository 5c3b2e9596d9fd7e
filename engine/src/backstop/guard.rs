//! The guard: admission policies that keep the webhook configurations and the runtime class as they are, also against
//! administrators. `ValidatingAdmissionPolicies` apply to these objects; they do not apply to admission policies.

use serde_json::{Value as Json, json};

use crate::cel;

/// The objects that the guard protects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// The name of both webhook configurations.
    pub configuration: String,
    /// The runtime classes, with the handler that each must have where it is known.
    pub runtime_classes: Vec<String>,
    /// The namespace and the names of the `ConfigMaps` with the policies; none if they are no `ConfigMaps`.
    pub config_maps: Option<(String, Vec<String>)>,
    /// The users and groups that the guard does not hold for, such as the account of a release pipeline.
    pub writers: Vec<String>,
}

/// Deletes what belongs to a namespace that was deleted.
const GARBAGE_COLLECTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";

/// Returns the guard, each policy before its binding.
#[must_use]
pub fn guard(guarded: &Guarded) -> Vec<Json> {
    let mut objects = Vec::new();
    objects.extend(webhooks(guarded));
    objects.extend(runtime_classes(guarded));
    if let Some((namespace, names)) = &guarded.config_maps {
        objects.extend(config_maps(guarded, namespace, names));
    }
    objects
}

/// The configurations may not be deleted, and an update must leave what decides whether a Pod arrives.
fn webhooks(guarded: &Guarded) -> [Json; 2] {
    // Only a configuration whose webhooks have no rules yet may lack them: certificates are made before.
    let kept = "oldObject.?webhooks.orValue([]).all(old, object.?webhooks.orValue([]).exists(new, \
                new.name == old.name && \
                new.?failurePolicy.orValue('Fail') == old.?failurePolicy.orValue('Fail') && \
                new.?namespaceSelector == old.?namespaceSelector && \
                new.?objectSelector == old.?objectSelector && \
                new.?matchConditions == old.?matchConditions && \
                new.?matchPolicy == old.?matchPolicy && \
                (old.?rules.orValue([]).size() == 0 || new.?rules == old.?rules)))";
    let expression = format!("request.operation != 'DELETE' && {kept}");
    let rule = json!([{
        "apiGroups": ["admissionregistration.k8s.io"],
        "apiVersions": ["*"],
        "operations": ["UPDATE", "DELETE"],
        "resources": ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
        "resourceNames": [guarded.configuration],
    }]);
    let message = "the webhooks of sandgate may not be deleted or weakened while its guard is on: see \
                   docs/backstop.md, Emergency stop";
    object(guarded, "webhooks", &rule, &expression, message)
}

fn runtime_classes(guarded: &Guarded) -> [Json; 2] {
    let rule = json!([{
        "apiGroups": ["node.k8s.io"],
        "apiVersions": ["*"],
        "operations": ["UPDATE", "DELETE"],
        "resources": ["runtimeclasses"],
        "resourceNames": guarded.runtime_classes,
    }]);
    let expression = "request.operation != 'DELETE' && object.handler == oldObject.handler";
    let message = "the runtime class of the sandbox may not be deleted, and its handler may not be changed, while \
                   sandgate's guard is on: see docs/backstop.md, Emergency stop";
    object(guarded, "runtimeclasses", &rule, expression, message)
}

fn config_maps(guarded: &Guarded, namespace: &str, names: &[String]) -> [Json; 2] {
    let rule = json!([{
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["UPDATE", "DELETE"],
        "resources": ["configmaps"],
        "resourceNames": names,
    }]);
    let expression = "request.operation != 'DELETE' && object.?data == oldObject.?data && \
                      object.?binaryData == oldObject.?binaryData";
    let message = "the policies of sandgate may only be changed by the writers that its guard names: see \
                   docs/backstop.md, Guard";
    let [policy, mut binding] = object(guarded, "policies", &rule, expression, message);
    binding["spec"]["matchResources"] =
        json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}});
    [policy, binding]
}

fn object(guarded: &Guarded, subject: &str, rules: &Json, expression: &str, message: &str) -> [Json; 2] {
    let name = format!("{}-guard-{subject}", guarded.configuration);
    let metadata = json!({
        "name": name,
        "labels": {"app.kubernetes.io/part-of": "sandgate", "app.kubernetes.io/component": "guard"},
    });
    let writers = cel::list(guarded.writers.iter().map(String::as_str).chain([GARBAGE_COLLECTOR]));
    let is_other = format!(
        "!(request.userInfo.username in {writers}) && !request.userInfo.?groups.orValue([]).exists(g, g in {writers})"
    );
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": metadata,
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": rules},
            "matchConditions": [{"name": "is-no-writer", "expression": is_other}],
            "validations": [{"expression": expression, "reason": "Forbidden", "message": message}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": metadata,
        "spec": {"policyName": name, "validationActions": ["Deny", "Audit"]},
    });
    [policy, binding]
}
