//! The Pods whose times are taken.

use serde_json::{Value, json};

use super::IMAGE;

/// The action of the Pod's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// The program ends at once.
    Nothing,
    /// Runs until it is killed.
    Wait,
}

/// A Pod with nothing but its image.
pub(crate) fn plain(name: &str, does: Does) -> Value {
    let does = if does == Does::Wait { "wait" } else { "nothing" };
    json!({
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": IMAGE, "args": [does]}]},
    })
}

/// A Pod with everything that the policy demands: sandgate admits it unchanged.
pub(crate) fn complete(name: &str, does: Does) -> Value {
    let mut pod = plain(name, does);
    let container = pod["spec"]["containers"][0].clone();
    pod["metadata"]["labels"] = json!({"app": "workflow-runner"});
    pod["spec"] = json!({
        "runtimeClassName": "gvisor",
        "serviceAccountName": "workflow-runner",
        "automountServiceAccountToken": false,
        "restartPolicy": "Never",
        "activeDeadlineSeconds": 3600,
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "workload-type", "operator": "In", "values": ["workflow-runner"]}]},
        ]}}},
        "tolerations": [
            {"key": "sandbox.gke.io/runtime", "operator": "Equal", "value": "gvisor", "effect": "NoSchedule"},
        ],
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "workspace", "emptyDir": {"sizeLimit": "10Gi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
    });
    let container = &mut pod["spec"]["containers"][0];
    container["securityContext"] = json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
    });
    container["resources"] = json!({
        "requests": {"cpu": "100m", "memory": "64Mi", "ephemeral-storage": "1Gi"},
        "limits": {"cpu": "1500m", "memory": "1Gi", "ephemeral-storage": "1Gi"},
    });
    container["volumeMounts"] =
        json!([{"name": "workspace", "mountPath": "/workspace"}, {"name": "tmp", "mountPath": "/tmp"}]);
    pod
}

/// The same, by the runtime that a node takes by itself.
pub(crate) fn complete_in_runc(name: &str, does: Does) -> Value {
    let mut pod = complete(name, does);
    pod["spec"]["runtimeClassName"] = Value::Null;
    pod
}
