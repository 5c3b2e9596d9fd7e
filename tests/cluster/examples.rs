//! The pods that tests create.

use serde_json::{Value, json};

/// A pod that asks for nothing.
pub(crate) fn plain_pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "registry.example.com/runner:1"}]}
    })
}

/// A pod that sets every field as the policy wants it.
pub(crate) fn complete_pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "workflow-runner"}},
        "spec": {
            "runtimeClassName": "gvisor",
            "serviceAccountName": "workflow-runner",
            "automountServiceAccountToken": false,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": 600,
            "terminationGracePeriodSeconds": 30,
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "workload-type", "operator": "In", "values": ["workflow-runner"]}]}
            ]}}},
            "tolerations": [
                {"key": "sandbox.gke.io/runtime", "operator": "Equal", "value": "gvisor", "effect": "NoSchedule"}
            ],
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000,
                "seccompProfile": {"type": "RuntimeDefault"}
            },
            "volumes": [
                {"name": "workspace", "emptyDir": {"sizeLimit": "10Gi"}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}
            ],
            "containers": [complete_container("main")]
        }
    })
}

fn complete_container(name: &str) -> Value {
    json!({
        "name": name,
        "image": "registry.example.com/runner:1",
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]}
        },
        "resources": {
            "requests": {"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "1Gi"},
            "limits": {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "10Gi"}
        },
        "volumeMounts": [
            {"name": "workspace", "mountPath": "/workspace"},
            {"name": "tmp", "mountPath": "/tmp"}
        ]
    })
}

/// A Job, a `ReplicaSet` or the like, with this pod as its template.
pub(crate) fn with_template(mut object: Value, pod: &Value, labels: &Value) -> Value {
    object["spec"]["template"] = json!({"metadata": {"labels": labels}, "spec": pod["spec"]});
    object
}
