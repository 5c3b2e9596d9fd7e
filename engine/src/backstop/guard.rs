//! The guard: admission policies that keep the webhook configurations and the runtime class as they are, also against
//! administrators. ValidatingAdmissionPolicies apply to these objects; they do not apply to admission policies.

use serde_json::{Value as Json, json};

use super::cel;

/// The objects that the guard protects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// The name of both webhook configurations.
    pub configuration: String,
    /// The runtime classes, with the handler that each must have where it is known.
    pub runtime_classes: Vec<String>,
    /// The namespace and the name of the ConfigMap with the policies; none if they are no ConfigMap.
    pub config_map: Option<(String, String)>,
    /// The user that may write the ConfigMap and remove webhooks, such as the account of a release pipeline; none lets
    /// nobody.
    pub config_map_writers: Vec<String>,
}

/// Returns the guard, each policy before its binding.
#[must_use]
pub fn guard(guarded: &Guarded) -> Vec<Json> {
    let mut objects = Vec::new();
    objects.extend(webhooks(&guarded.configuration));
    objects.extend(runtime_classes(&guarded.runtime_classes));
    if let Some((namespace, name)) = &guarded.config_map {
        objects.extend(config_map(namespace, name, &guarded.config_map_writers));
    }
    objects
}

/// The configurations may not be deleted, and an update must leave what decides whether a Pod arrives.
fn webhooks(configuration: &str) -> [Json; 2] {
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
        "resourceNames": [configuration],
    }]);
    let message = "the webhooks of sandgate may not be deleted or weakened while its guard is on: see \
                   docs/backstop.md, Emergency stop";
    object("sandgate-guard.webhooks", &rule, &expression, message)
}

fn runtime_classes(names: &[String]) -> [Json; 2] {
    let rule = json!([{
        "apiGroups": ["node.k8s.io"],
        "apiVersions": ["*"],
        "operations": ["UPDATE", "DELETE"],
        "resources": ["runtimeclasses"],
        "resourceNames": names,
    }]);
    let expression = "request.operation != 'DELETE' && object.handler == oldObject.handler";
    let message = "the runtime class of the sandbox may not be deleted, and its handler may not be changed, while \
                   sandgate's guard is on: see docs/backstop.md, Emergency stop";
    object("sandgate-guard.runtimeclasses", &rule, expression, message)
}

fn config_map(namespace: &str, name: &str, writers: &[String]) -> [Json; 2] {
    let rule = json!([{
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["UPDATE", "DELETE"],
        "resources": ["configmaps"],
        "resourceNames": [name],
    }]);
    let writers = cel::list(writers);
    let expression = format!(
        "request.userInfo.username in {writers} || request.userInfo.groups.exists(g, g in {writers}) || \
         (request.operation == 'UPDATE' && object.?data == oldObject.?data && object.?binaryData == oldObject.?binaryData)"
    );
    let message = "the policies of sandgate may only be changed by the writers that its guard names: see \
                   docs/backstop.md, Guard";
    let [policy, mut binding] = object("sandgate-guard.policies", &rule, &expression, message);
    binding["spec"]["matchResources"] =
        json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}});
    [policy, binding]
}

fn object(name: &str, rules: &Json, expression: &str, message: &str) -> [Json; 2] {
    let metadata = json!({
        "name": name,
        "labels": {"app.kubernetes.io/managed-by": "sandgate", "app.kubernetes.io/component": "guard"},
    });
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": metadata,
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": rules},
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
