//! `AdmissionReview`s as an API server 1.36 sends them: with its defaults, the volume of the token and `managedFields`.

#![allow(dead_code, reason = "each benchmark uses its part of it")]

use sandgate_engine::{json, policy::PolicySet, review};
use serde_json::{Map, Value, json};

/// The sizes of reviews that the benchmarks call 6 kB, 100 kB and 1 MB, in bytes.
pub(crate) const SIZES: [(&str, usize); 3] = [("6 kB", SMALL), ("100 kB", 100_000), ("1 MB", 1_000_000)];

/// The size of a usual review.
pub(crate) const SMALL: usize = 6_500;

/// The uid of every review.
pub(crate) const UID: &str = "705ab4f5-6393-11e8-b7cc-42010a800002";

/// The part of the policy that a Pod already satisfies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing: the answer is a patch.
    Plain,
    /// Everything: the answer is a plain yes.
    Complete,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Plain, Self::Complete];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "to fill",
            Self::Complete => "complete",
        }
    }
}

/// A review of about `bytes` of the creation of a Pod with two containers.
pub(crate) fn create(kind: Kind, bytes: usize) -> Vec<u8> {
    let envelope = review("CREATE", &json!({}), &Value::Null).len();
    review("CREATE", &pod(kind, bytes.saturating_sub(envelope)), &Value::Null)
}

/// A review of an update that changes a label: two objects of `bytes / 2` each.
pub(crate) fn update(bytes: usize) -> Vec<u8> {
    let old = pod(Kind::Complete, bytes / 2);
    let mut new = old.clone();
    new["metadata"]["labels"]["step"] = json!("2");
    review("UPDATE", &new, &old)
}

/// The most variables of a Pod. sandgate denies more than 2,000.
const MAX_VARIABLES: usize = 1900;

/// The Pod alone: its containers carry as many variables as make it about as long as `bytes`, and longer ones if it would
/// have too many.
pub(crate) fn pod(kind: Kind, bytes: usize) -> Value {
    let length = |variables| text_len(&pod_of(kind, variables, 0));
    let wanted = bytes.saturating_sub(length(0)) * 100 / (length(100) - length(0));
    if wanted <= MAX_VARIABLES {
        return pod_of(kind, wanted, 0);
    }
    pod_of(kind, MAX_VARIABLES, bytes.saturating_sub(length(MAX_VARIABLES)) / MAX_VARIABLES)
}

fn text_len(value: &Value) -> usize {
    value.to_string().len()
}

/// `longer` is the number of bytes by which the value of a variable is longer than usual.
fn pod_of(kind: Kind, variables: usize, longer: usize) -> Value {
    let defaulted = defaulted(variables, longer);
    let plain = with_what_admission_adds(&defaulted);
    match kind {
        Kind::Plain => with_managed_fields(plain, &defaulted),
        Kind::Complete => {
            let complete = filled(&plain);
            with_managed_fields(complete.clone(), &complete)
        }
    }
}

/// A Pod as a person wrote it, with the defaults of the API.
fn defaulted(variables: usize, longer: usize) -> Value {
    json!({
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": "build-image-2764981530",
            "namespace": "workflows",
            "labels": {"app": "workflow-runner", "team": "payments", "workflows.example.com/workflow": "build-image"},
            "annotations": {
                "kubectl.kubernetes.io/default-container": "main"
            }
        },
        "spec": {
            "containers": [
                container("main", variables / 2, longer),
                container("proxy", variables - variables / 2, longer)
            ],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "securityContext": {},
            "schedulerName": "default-scheduler",
            "enableServiceLinks": true
        },
        "status": {}
    })
}

fn container(name: &str, variables: usize, longer: usize) -> Value {
    let value = format!("a value of usual length{}", "x".repeat(longer));
    let variable = |i| json!({"name": format!("SETTING_{i:05}"), "value": value});
    json!({
        "name": name,
        "image": format!("registry.example.com/workflows/{name}:1.27.3"),
        "command": ["/usr/local/bin/run", "--config=/workspace/config.yaml"],
        "args": ["--verbose", "--step=compile"],
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": (0..variables).map(variable).collect::<Vec<_>>(),
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent"
    })
}

/// The plugins `ServiceAccount`, `DefaultTolerationSeconds` and `Priority` come before every webhook.
fn with_what_admission_adds(pod: &Value) -> Value {
    let mut pod = pod.clone();
    let spec = &mut pod["spec"];
    spec["serviceAccountName"] = json!("default");
    spec["serviceAccount"] = json!("default");
    spec["priority"] = json!(0);
    spec["preemptionPolicy"] = json!("PreemptLowerPriority");
    spec["tolerations"] = json!([
        {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
        {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    ]);
    spec["volumes"] = json!([{"name": "kube-api-access-x7k2p", "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
        ]}}
    ]}}]);
    for container in spec["containers"].as_array_mut().into_iter().flatten() {
        let token = "/var/run/secrets/kubernetes.io/serviceaccount";
        container["volumeMounts"] =
            json!([{"name": "kube-api-access-x7k2p", "readOnly": true, "mountPath": token}]);
    }
    pod
}

/// The Pod as it comes out of `/mutate`.
fn filled(pod: &Value) -> Value {
    let text = pod.to_string();
    let policies = PolicySet::builtin();
    let mut tree = json::pod_from_str(&text).expect("the Pod is JSON");
    let violations =
        review::evaluate(&policies.policies()[0], &mut tree, None, review::Defaults::Fill).violations;
    assert!(violations.is_empty(), "the Pod of the benchmarks is admitted: {violations:?}");
    serde_json::to_value(&tree).expect("the tree is JSON")
}

/// Returns the managed fields by which `kubectl create` set all of `owned`.
fn with_managed_fields(mut pod: Value, owned: &Value) -> Value {
    let mut fields = fields_of(owned);
    for unmanaged in ["f:kind", "f:apiVersion", "f:status"] {
        fields.as_object_mut().and_then(|fields| fields.remove(unmanaged));
    }
    pod["metadata"]["managedFields"] = json!([{
        "manager": "kubectl-create", "operation": "Update", "apiVersion": "v1", "time": "2026-11-24T12:00:00Z",
        "fieldsType": "FieldsV1", "fieldsV1": fields
    }]);
    pod
}

/// The set of fields of a value in the notation of server-side apply (`meta/v1` `FieldsV1`).
fn fields_of(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| (format!("f:{key}"), fields_of(value));
            let fields: Map<String, Value> = members.iter().map(member).collect();
            Value::Object(fields)
        }
        Value::Array(items) => {
            let item = |item: &Value| Some((format!("k:{}", key_of(item)?), with_itself(fields_of(item))));
            // A list whose items have no key is owned as a whole.
            let fields: Option<Map<String, Value>> = items.iter().map(item).collect();
            Value::Object(fields.unwrap_or_default())
        }
        _ => json!({}),
    }
}

/// Returns the key that distinguishes an item of a list from the others.
fn key_of(item: &Value) -> Option<Value> {
    match item {
        _ if item["mountPath"].is_string() => Some(json!({"mountPath": item["mountPath"]})),
        _ if item["containerPort"].is_u64() => {
            Some(json!({"containerPort": item["containerPort"], "protocol": item["protocol"]}))
        }
        _ if item["name"].is_string() => Some(json!({"name": item["name"]})),
        _ => None,
    }
}

fn with_itself(mut fields: Value) -> Value {
    fields["."] = json!({});
    fields
}

fn review(operation: &str, object: &Value, old_object: &Value) -> Vec<u8> {
    let options = if operation == "CREATE" { "CreateOptions" } else { "UpdateOptions" };
    let review = json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": UID,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "requestResource": {"group": "", "version": "v1", "resource": "pods"},
            "name": object["metadata"]["name"],
            "namespace": "workflows",
            "operation": operation,
            "userInfo": {
                "username": "system:serviceaccount:workflow-controller:controller",
                "uid": "0c8c9a1e-3ad4-4d3c-9d0e-6d1f2a3b4c5d",
                "groups": [
                    "system:serviceaccounts", "system:serviceaccounts:workflow-controller", "system:authenticated"
                ],
                "extra": {"authentication.kubernetes.io/credential-id": ["JTI=4f1c8f6e-0a4e-4c55-8f0a-5a1f5fbb9e0d"]}
            },
            "object": object,
            "oldObject": old_object,
            "dryRun": false,
            "options": {
                "kind": options, "apiVersion": "meta.k8s.io/v1",
                "fieldManager": "kubectl-create", "fieldValidation": "Strict"
            }
        }
    });
    review.to_string().into_bytes()
}
