//! What another webhook can take away of all that is filled: one line an attempt.

use std::collections::BTreeSet;

use sandgate_engine::{
    json,
    policy::Profile,
    rules::{ALL, Rule},
};
use serde_json::{Value, json};

use crate::{
    examples::plain_pod,
    hostile::{list, main, merge},
};

/// What it is called, the rule that misses it, and what the webhook does to the pod.
pub(super) type Removal = (&'static str, &'static str, fn(&mut Value));

/// What a change is called, and what the webhook does to the pod.
pub(super) type Change = (&'static str, fn(&mut Value));

/// Each leaves something open, or at a value that cannot be distinguished from open, so our webhook fills it if it is asked
/// afterwards. [`taken_back`] makes one more of each rule that fills.
pub(super) fn removals() -> Vec<Removal> {
    [of_metadata_and_placement(), of_identity_and_lifecycle(), of_security(), of_volumes_and_resources()]
        .concat()
}

fn of_metadata_and_placement() -> Vec<Removal> {
    vec![
        ("the label removed", "labels", |pod| remove(&mut pod["metadata"]["labels"], "app")),
        ("all labels removed", "labels", |pod| remove(&mut pod["metadata"], "labels")),
        ("the runtime class removed", "runtime-class", |pod| remove(&mut pod["spec"], "runtimeClassName")),
        ("the affinity removed", "node-affinity", |pod| remove(&mut pod["spec"], "affinity")),
        ("a term added that leads anywhere", "node-affinity", |pod| {
            let anywhere = json!({"key": "kubernetes.io/os", "operator": "Exists"});
            list(node_selector(pod), "nodeSelectorTerms").push(json!({"matchExpressions": [anywhere]}));
        }),
        ("a term added that names a node", "node-affinity", |pod| {
            let node = json!({"key": "metadata.name", "operator": "In", "values": ["node-1"]});
            list(node_selector(pod), "nodeSelectorTerms").push(json!({"matchFields": [node]}));
        }),
        ("the requirement turned round", "node-affinity", |pod| {
            let other = json!({"key": "workload-type", "operator": "NotIn", "values": ["workflow-runner"]});
            node_selector(pod)["nodeSelectorTerms"] = json!([{"matchExpressions": [other]}]);
        }),
        ("the requirement loosened", "node-affinity", |pod| {
            let loose =
                json!({"key": "workload-type", "operator": "In", "values": ["workflow-runner", "system"]});
            node_selector(pod)["nodeSelectorTerms"] = json!([{"matchExpressions": [loose]}]);
        }),
        ("the toleration removed", "tolerations", |pod| {
            list(&mut pod["spec"], "tolerations")
                .retain(|toleration| toleration["key"] != "sandbox.gke.io/runtime");
        }),
    ]
}

fn of_identity_and_lifecycle() -> Vec<Removal> {
    vec![
        ("the default account", "service-account", |pod| {
            remove(&mut pod["spec"], "serviceAccount");
            pod["spec"]["serviceAccountName"] = json!("default");
        }),
        ("the token left to the API server", "token-volumes", |pod| {
            remove(&mut pod["spec"], "automountServiceAccountToken");
        }),
        ("the token volume put back", "token-volumes", add_token),
        ("restarts without end", "restart-policy", |pod| pod["spec"]["restartPolicy"] = json!("Always")),
        ("the deadline removed", "active-deadline", |pod| remove(&mut pod["spec"], "activeDeadlineSeconds")),
    ]
}

fn of_security() -> Vec<Removal> {
    vec![
        ("the pod's security context removed", "run-as-user", |pod| {
            remove(&mut pod["spec"], "securityContext")
        }),
        ("runAsNonRoot removed", "run-as-non-root", |pod| remove_security(pod, "runAsNonRoot")),
        ("runAsUser removed", "run-as-user", |pod| remove_security(pod, "runAsUser")),
        ("runAsGroup removed", "run-as-group", |pod| remove_security(pod, "runAsGroup")),
        ("fsGroup removed", "fs-group", |pod| remove_security(pod, "fsGroup")),
        ("seccomp removed", "seccomp", |pod| remove_security(pod, "seccompProfile")),
        ("the container's security context removed", "privilege-escalation", |pod| {
            remove(main(pod), "securityContext");
        }),
        ("allowPrivilegeEscalation removed", "privilege-escalation", |pod| {
            remove(&mut main(pod)["securityContext"], "allowPrivilegeEscalation");
        }),
        ("readOnlyRootFilesystem removed", "read-only-root", |pod| {
            remove(&mut main(pod)["securityContext"], "readOnlyRootFilesystem");
        }),
        ("capabilities removed", "capabilities", |pod| {
            remove(&mut main(pod)["securityContext"], "capabilities");
        }),
        ("one capability dropped in place of all", "capabilities", |pod| {
            main(pod)["securityContext"]["capabilities"]["drop"] = json!(["NET_RAW"]);
        }),
    ]
}

fn of_volumes_and_resources() -> Vec<Removal> {
    vec![
        ("the size limit removed", "empty-dir", |pod| {
            for volume in list(&mut pod["spec"], "volumes") {
                volume["emptyDir"] = json!({});
            }
        }),
        ("a folder without a size limit", "empty-dir", |pod| add_folder(pod, &json!({}))),
        ("a folder in memory without a size limit", "empty-dir", |pod| {
            add_folder(pod, &json!({"medium": "Memory"}));
        }),
        ("all resources removed", "resource-limits", |pod| remove(main(pod), "resources")),
        ("the limit of cpu removed", "resource-limits", |pod| remove_limit(pod, "cpu")),
        ("the limit of memory removed", "resource-limits", |pod| remove_limit(pod, "memory")),
        ("the limit of disk removed", "resource-limits", |pod| remove_limit(pod, "ephemeral-storage")),
        ("a limit raised that the annotation says we filled", "resource-limits", |pod| {
            merge(main(pod), json!({"resources": {"limits": {"cpu": "64"}}}));
            let filled = json!({"main": {"limits": {"cpu": "64"}}}).to_string();
            merge(&mut pod["metadata"], json!({"annotations": {"sandgate.dev/filled-resources": filled}}));
        }),
        ("the container replaced by a bare one", "resource-limits", |pod| {
            pod["spec"]["containers"] = json!([{"name": "other", "image": "x"}]);
        }),
    ]
}

/// What takes something from the pod that it is free to do without: it stays sandboxed.
pub(super) fn at_its_own_cost() -> Vec<Change> {
    vec![
        ("our annotations removed", |pod| remove(&mut pod["metadata"], "annotations")),
        ("our annotations forged", |pod| {
            let forged = json!({"sandgate.dev/policy": "lax", "sandgate.dev/filled-resources": "{"});
            merge(&mut pod["metadata"], json!({"annotations": forged}));
        }),
        ("the mounts removed", |pod| remove(main(pod), "volumeMounts")),
        ("the requests removed", |pod| remove(&mut main(pod)["resources"], "requests")),
        ("the requests set to nothing", |pod| {
            merge(main(pod), json!({"resources": {"requests": {"cpu": "0", "memory": "0"}}}));
        }),
        ("a shorter deadline", |pod| pod["spec"]["activeDeadlineSeconds"] = json!(60)),
        ("a term that matches no node", |pod| list(node_selector(pod), "nodeSelectorTerms").push(json!({}))),
    ]
}

/// A Pod of which every rule that fills has something to fill.
pub(super) fn open_pod(name: &str) -> Value {
    let mut pod = plain_pod(name);
    add_folder(&mut pod, &json!({}));
    pod
}

/// Returns the change that takes back what `rule` fills into [`open_pod`] under these keys; none if it fills nothing.
pub(super) fn taken_back(
    rule: &Rule,
    profile: &Profile,
) -> Option<impl Fn(&mut Value) + Send + Sync + 'static> {
    let filled = filled_by(profile, |_| true);
    let without = filled_by(profile, |other| other != rule);
    (filled != without).then_some(move |pod: &mut Value| {
        // Without its old alias: the API server would take the account from there.
        remove(&mut pod["spec"], "serviceAccount");
        take_back(pod, &filled, &without);
    })
}

fn filled_by(profile: &Profile, is_wanted: impl Fn(&Rule) -> bool) -> Value {
    let text = open_pod("filled").to_string();
    let mut pod = json::pod_from_str(&text).expect("a Pod");
    for fill in ALL.iter().filter(|rule| is_wanted(rule)).filter_map(|rule| rule.fill) {
        fill(profile, &mut pod);
    }
    serde_json::to_value(&pod).expect("a Pod is JSON")
}

/// Gives `value` what `without` has wherever `filled` has something else.
fn take_back(value: &mut Value, filled: &Value, without: &Value) {
    match (value, filled, without) {
        (Value::Object(value), Value::Object(filled), Value::Object(without)) => {
            let keys: BTreeSet<&String> = filled.keys().chain(without.keys()).collect();
            for key in keys.into_iter().filter(|key| filled.get(*key) != without.get(*key)) {
                match (value.get_mut(key), filled.get(key), without.get(key)) {
                    (_, _, None) => drop(value.remove(key)),
                    (Some(value), Some(filled), Some(without)) => take_back(value, filled, without),
                    (_, _, Some(without)) => drop(value.insert(key.clone(), without.clone())),
                }
            }
        }
        (Value::Array(items), Value::Array(filled), Value::Array(without))
            if filled.len() == without.len() && items.len() >= filled.len() =>
        {
            let pairs = filled.iter().zip(without);
            items
                .iter_mut()
                .zip(pairs)
                .for_each(|(item, (filled, without))| take_back(item, filled, without));
        }
        (value, filled, without) if filled != without => *value = without.clone(),
        _ => {}
    }
}

fn remove(object: &mut Value, key: &str) {
    if let Some(object) = object.as_object_mut() {
        object.remove(key);
    }
}

fn remove_security(pod: &mut Value, field: &str) {
    remove(&mut pod["spec"]["securityContext"], field);
}

/// The API server copies a limit into a request that is missing, so both go.
fn remove_limit(pod: &mut Value, resource: &str) {
    for kind in ["limits", "requests"] {
        remove(&mut main(pod)["resources"][kind], resource);
    }
}

fn node_selector(pod: &mut Value) -> &mut Value {
    &mut pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
}

fn add_folder(pod: &mut Value, folder: &Value) {
    let volumes = list(&mut pod["spec"], "volumes");
    volumes.retain(|volume| volume["name"] != "extra");
    volumes.push(json!({"name": "extra", "emptyDir": folder}));
}

pub(super) fn add_container(pod: &mut Value, container: Value) {
    add(&mut pod["spec"], "containers", container);
}

/// Puts an item into a list unless one of its name is there: a webhook may be asked twice.
pub(super) fn add(object: &mut Value, key: &str, item: Value) {
    let list = list(object, key);
    if list.iter().all(|other| other["name"] != item["name"]) {
        list.push(item);
    }
}

/// As the API server itself adds it.
fn add_token(pod: &mut Value) {
    let namespace = json!({"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}});
    let sources = json!([
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]);
    let volume = "kube-api-access-again";
    add(&mut pod["spec"], "volumes", json!({"name": volume, "projected": {"sources": sources}}));
    let path = "/var/run/secrets/kubernetes.io/serviceaccount";
    add(main(pod), "volumeMounts", json!({"name": volume, "mountPath": path, "readOnly": true}));
}
