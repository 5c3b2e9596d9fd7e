//! What a stored Pod must look like.

use sandgate_engine::pod::Quantity;
use serde_json::{Value, json};

/// Asserts each property of the default policy on a stored pod, and that it has the place to work that it is given.
#[track_caller]
pub(crate) fn assert_sandboxed(pod: &Value) {
    assert_confined(pod);
    for container in containers(pod) {
        assert_writable_paths(container);
    }
}

/// Asserts each property of the default policy on a stored pod.
#[track_caller]
pub(crate) fn assert_confined(pod: &Value) {
    assert_fields(
        pod,
        &[
            ("/spec/runtimeClassName", json!("gvisor")),
            ("/spec/serviceAccountName", json!("workflow-runner")),
            ("/spec/serviceAccount", json!("workflow-runner")),
            ("/spec/automountServiceAccountToken", json!(false)),
            ("/spec/schedulerName", json!("default-scheduler")),
            ("/metadata/labels/app", json!("workflow-runner")),
            (
                "/spec/securityContext",
                json!({
                    "runAsNonRoot": true, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000,
                    "seccompProfile": {"type": "RuntimeDefault"}
                }),
            ),
        ],
    );
    for field in
        ["hostPID", "hostIPC", "hostNetwork", "shareProcessNamespace", "nodeName", "priorityClassName"]
    {
        let found = &pod["spec"][field];
        assert!(found.is_null() || found == false, "{field} is unset in {pod:#}");
    }
    let deadline = pod["spec"]["activeDeadlineSeconds"].as_i64();
    assert!(deadline.is_some_and(|seconds| (1..=3600).contains(&seconds)), "a deadline: {deadline:?}");
    assert_restart_policy(pod);
    assert_affinity(pod);
    assert_tolerations(pod);
    assert_volumes(pod);
    for container in containers(pod) {
        assert_container(container);
    }
    assert_budget(pod);
}

/// Asserts the value at each JSON pointer.
#[track_caller]
pub(crate) fn assert_fields(object: &Value, wanted: &[(&str, Value)]) {
    for (pointer, wanted) in wanted {
        assert_eq!(object.pointer(pointer), Some(wanted), "{pointer} of {object:#}");
    }
}

/// Init containers and app containers.
pub(crate) fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"]
        .into_iter()
        .flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
}

fn assert_restart_policy(pod: &Value) {
    let of_job = pod.pointer("/metadata/ownerReferences/0/kind") == Some(&json!("Job"));
    let found = &pod["spec"]["restartPolicy"];
    assert!(found == "Never" || (of_job && found == "OnFailure"), "restartPolicy is {found}");
}

/// Every alternative has the requirement, or matches no node.
fn assert_affinity(pod: &Value) {
    let required = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let ours = json!({"key": "workload-type", "operator": "In", "values": ["workflow-runner"]});
    let terms = required["nodeSelectorTerms"].as_array().map(Vec::as_slice).unwrap_or_default();
    let fits = |term: &Value| {
        *term == json!({}) || term["matchExpressions"].as_array().is_some_and(|all| all.contains(&ours))
    };
    assert!(!terms.is_empty() && terms.iter().all(fits), "{terms:?}");
}

/// Ours, and the two that the API server adds to every pod.
fn assert_tolerations(pod: &Value) {
    let key = |toleration: &Value| toleration["key"].as_str().unwrap_or_default().to_owned();
    let mut keys: Vec<String> =
        pod["spec"]["tolerations"].as_array().into_iter().flatten().map(key).collect();
    keys.sort();
    assert_eq!(
        keys,
        ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "sandbox.gke.io/runtime"]
    );
    let ours = json!({"key": "sandbox.gke.io/runtime", "operator": "Equal", "value": "gvisor", "effect": "NoSchedule"});
    assert!(pod["spec"]["tolerations"].as_array().is_some_and(|all| all.contains(&ours)), "{pod:#}");
}

/// Nothing but bounded empty folders: so no token either.
fn assert_volumes(pod: &Value) {
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let kinds: Vec<&String> = volume.as_object().into_iter().flatten().map(|(key, _)| key).collect();
        assert_eq!(kinds, ["emptyDir", "name"], "{volume}");
        assert!(volume["emptyDir"]["sizeLimit"].is_string(), "{volume}");
    }
}

fn assert_container(container: &Value) {
    assert_fields(
        container,
        &[
            ("/securityContext/allowPrivilegeEscalation", json!(false)),
            ("/securityContext/readOnlyRootFilesystem", json!(true)),
        ],
    );
    let security = &container["securityContext"];
    let dropped = security["capabilities"]["drop"].as_array();
    assert!(dropped.is_some_and(|names| names.contains(&json!("ALL"))), "{container:#}");
    assert!(security["privileged"] != true && security["capabilities"]["add"].is_null(), "{container:#}");
    for mount in mounts(container) {
        let path = mount["mountPath"].as_str().unwrap_or_default();
        let writable = ["/workspace", "/tmp"].iter().any(|root| path.starts_with(root));
        assert!((writable || mount["readOnly"] == true) && !path.contains("serviceaccount"), "{container:#}");
    }
    for kind in ["limits", "requests"] {
        for resource in ["cpu", "memory", "ephemeral-storage"] {
            assert!(
                container["resources"][kind][resource].is_string(),
                "{kind} of {resource} in {container:#}"
            );
        }
    }
}

/// Asserts that the container has the volumes of the policy, each of its own.
fn assert_writable_paths(container: &Value) {
    for path in ["/workspace", "/tmp"] {
        let is_filled = |mount: &Value| mount["mountPath"] == path && mount["readOnly"] != true;
        assert!(mounts(container).iter().any(is_filled), "{path} is mounted in {container:#}");
    }
}

fn mounts(container: &Value) -> &[Value] {
    container["volumeMounts"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The app containers and sidecars together stay within the pod's budget.
fn assert_budget(pod: &Value) {
    for (resource, budget) in [("cpu", "2"), ("memory", "4Gi"), ("ephemeral-storage", "10Gi")] {
        let limit =
            |container: &Value| quantity(container["resources"]["limits"][resource].as_str().unwrap_or("?"));
        let runs = |container: &&Value| {
            pod["spec"]["containers"].as_array().is_some_and(|all| all.contains(container))
        };
        let total = containers(pod)
            .filter(|container| runs(container) || container["restartPolicy"] == "Always")
            .fold(Quantity::ZERO, |total, container| total.plus(limit(container)));
        assert!(total <= quantity(budget), "{resource}: {total} in {pod:#}");
    }
}

fn quantity(text: &str) -> Quantity {
    Quantity::parse(text).expect("a stored quantity is one")
}
