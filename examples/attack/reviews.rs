//! The reviews that are sent. All but the bystander's are of Pods that no policy here admits.

use std::fmt::Write;

use hyper::body::Bytes;
use serde_json::{Map, Value, json};

/// A review, and the uid that its audit record must have.
#[derive(Debug, Clone)]
pub(crate) struct Review {
    pub(crate) uid: String,
    pub(crate) body: Bytes,
}

/// The name of the user who attacks.
const ATTACKER: &str = "mallory";

/// Returns the head of a review, as an API server writes it, up to the object.
pub(crate) fn head(uid: &str, namespace: &str, user: &str, operation: &str) -> String {
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"{uid}","kind":{{"group":"","version":"v1","kind":"Pod"}},"resource":{{"group":"","version":"v1","resource":"pods"}},"name":"p","namespace":"{namespace}","operation":"{operation}","userInfo":{{"username":"{user}","groups":["system:authenticated"]}},"object":"#
    )
}

/// Returns the create of a Pod, given as JSON text.
pub(crate) fn create_text(uid: String, namespace: &str, pod: &str) -> Review {
    let body = format!("{}{pod}}}}}", head(&uid, namespace, ATTACKER, "CREATE")).into();
    Review { uid, body }
}

/// Returns the create of a Pod.
pub(crate) fn create(uid: String, namespace: &str, pod: &Value) -> Review {
    create_text(uid, namespace, &pod.to_string())
}

/// Returns the update of a Pod.
pub(crate) fn update(uid: String, old: &Value, new: &Value) -> Review {
    let head = head(&uid, "workflows", ATTACKER, "UPDATE");
    let body = format!("{head}{new},\"oldObject\":{old}}}}}").into();
    Review { uid, body }
}

/// Returns the create of a harmless Pod by another user.
pub(crate) fn harmless(uid: String) -> Review {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "main", "image": "registry.example.com/work@sha256:0000000000000000000000000000000000000000000000000000000000000000"}]},
    });
    let body = format!("{}{pod}}}}}", head(&uid, "workflows", "alice", "CREATE")).into();
    Review { uid, body }
}

/// Returns a Pod that asks for the node.
pub(crate) fn hostile() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {
            "hostPID": true, "hostNetwork": true,
            "containers": [{"name": "a", "image": "b", "securityContext": {"privileged": true}}],
            "volumes": [{"name": "root", "hostPath": {"path": "/"}}],
        },
    })
}

/// Returns a hostile Pod, as text, whose container has `count` variables `item`.
pub(crate) fn with_values(item: &str, count: usize) -> String {
    let mut text = String::with_capacity(count * (item.len() + 1) + 200);
    text.push_str(r#"{"apiVersion":"v1","kind":"Pod","spec":{"hostPID":true,"containers":[{"name":"a","image":"b","env":["#);
    for number in 0..count {
        let _ = write!(text, "{}{item}", if number == 0 { "" } else { "," });
    }
    text.push_str("]}]}}");
    text
}

/// Returns a hostile Pod with so many volumes, and as many annotations that name the last one.
pub(crate) fn with_hints(count: usize) -> Value {
    let mut pod = hostile();
    let volumes = (0..count).map(|i| json!({"name": format!("v{i:05}"), "emptyDir": {}}));
    pod["spec"]["volumes"] = volumes.collect();
    let last = count - 1;
    let hints: Map<_, _> =
        (0..count).map(|i| (format!("dev.gvisor.spec.mount.v{last:05}.t{i}"), json!(""))).collect();
    pod["metadata"]["annotations"] = Value::Object(hints);
    pod
}

/// Returns a hostile Pod, as text, whose review an API server would pad to six bytes for each `<`.
pub(crate) fn padded(characters: usize) -> String {
    let padding = r"\u003c".repeat(characters);
    let pod = hostile().to_string();
    let env = format!(r#""env":[{{"name":"X","value":"{padding}"}}],"image":"b""#);
    pod.replacen(r#""image":"b""#, &env, 1)
}

/// Returns Pods for the namespace `custom` that get more than its policy says by a value below an allowed parent.
pub(crate) fn below_allowed_parents() -> Vec<Value> {
    let digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    let with = |image: &str, volumes: Value| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "a", "image": image}], "volumes": volumes},
        })
    };
    let good = format!("registry.example.com/work@{digest}");
    let driver = "secrets-store.csi.k8s.io";
    vec![
        with(&good, json!([{"name": "v", "image": {"reference": "evil.example.net/tools:latest"}}])),
        with(
            &good,
            json!([{"name": "v", "image": {"reference": format!("evil.example.net/tools@{digest}")}}]),
        ),
        with(
            &good,
            json!([{"name": "v", "csi": {"driver": driver, "nodePublishSecretRef": {"name": "admin"}}}]),
        ),
        with(&good, json!([{"name": "v", "azureFile": {"shareName": "s", "secretName": "admin"}}])),
        with(
            &good,
            json!([{"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"name": "b", "path": "p"}}]}}]),
        ),
        with(
            &good,
            json!([{"name": "kube-api-access-mine", "projected": {"sources": [
            {"serviceAccountToken": {"audience": "sts.amazonaws.com", "expirationSeconds": 31_536_000, "path": "t"}}]}}]),
        ),
        with(&format!("registry.example.com:5000/work@{digest}"), json!([])),
        with(&format!("registry.example.com.evil.net/work@{digest}"), json!([])),
        with(&format!("registry.example.comevil/work@{digest}"), json!([])),
        with("registry.example.com/work:latest", json!([])),
    ]
}

/// Returns updates that make a Pod worse which violates the policy already, or that rewrite its provenance.
pub(crate) fn worse_updates() -> Vec<(Value, Value)> {
    let annotated = |count: usize| {
        let mut pod = hostile();
        let annotations: Map<_, _> =
            (0..count).map(|i| (format!("dev.gvisor.x{i:05}"), json!("1"))).collect();
        pod["metadata"]["annotations"] = Value::Object(annotations);
        pod
    };
    let old = annotated(1003);
    let changed = |count: usize, change: &dyn Fn(&mut Value)| {
        let mut pod = annotated(count);
        change(&mut pod);
        (old.clone(), pod)
    };
    let stamped = |policy: &str, hash: &str| {
        let mut pod = hostile();
        let annotations = json!({"sandgate.dev/policy": policy, "sandgate.dev/policy-hash": hash});
        pod["metadata"]["annotations"] = annotations;
        pod
    };
    vec![
        changed(1001, &|pod| {
            pod["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
            pod["spec"]["runtimeClassName"] = json!("runc");
        }),
        changed(1003, &|pod| pod["metadata"]["annotations"]["dev.gvisor.x01002"] = json!("2")),
        changed(900, &|pod| pod["spec"]["hostIPC"] = json!(true)),
        (stamped("workflows", "1"), stamped("approved-by-security", "1")),
        (stamped("workflows", "1"), stamped("workflows", "2")),
        (stamped("workflows", "1"), hostile()),
    ]
}
