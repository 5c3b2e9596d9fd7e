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

/// One of two containers, a sidecar and an init container, which ask for nothing either.
pub(crate) fn pod_of_four(name: &str) -> Value {
    let mut pod = plain_pod(name);
    pod["spec"]["containers"] = json!([{"name": "main", "image": "x"}, {"name": "second", "image": "x"}]);
    pod["spec"]["initContainers"] = json!([
        {"name": "proxy", "image": "x", "restartPolicy": "Always"},
        {"name": "fetch", "image": "x"}
    ]);
    pod
}

/// A pod that sets every field as the policy wants it: the README's, under another name.
pub(crate) fn complete_pod(name: &str) -> Value {
    let mut pod: Value = serde_saphyr::from_str(include_str!("../../examples/pods/complete.yaml"))
        .expect("an example is YAML");
    pod["metadata"] = json!({"name": name, "labels": pod["metadata"]["labels"]});
    pod
}

/// A pod with the root folder of its node as a volume.
pub(crate) fn with_host_path(name: &str) -> Value {
    let mut pod = plain_pod(name);
    pod["spec"]["volumes"] = json!([{"name": "root", "hostPath": {"path": "/"}}]);
    pod
}

/// A Job, a `ReplicaSet` or the like, with this pod as its template.
pub(crate) fn with_template(mut object: Value, pod: &Value, labels: &Value) -> Value {
    object["spec"]["template"] = json!({"metadata": {"labels": labels}, "spec": pod["spec"]});
    object
}
