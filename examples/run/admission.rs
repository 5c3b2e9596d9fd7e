//! The two rounds of admission, as the API server makes them.

use base64::{Engine, engine::general_purpose::STANDARD};
use json_patch::Patch;
use serde_json::{Value, json};

use crate::{
    Result,
    pods::{ExamplePod, NAMESPACE},
    webhook::Connection,
};

/// The outcome of a pod.
pub(crate) enum Outcome {
    /// Admitted, and changed on the way.
    Filled { before: Value, after: Value },
    /// Admitted as it came.
    Unchanged,
    /// The pod is denied by this webhook with this `Status`.
    Denied { webhook: &'static str, status: Value },
}

/// Sends a pod to `/mutate`, and what came of it to `/validate`.
///
/// # Errors
/// Returns an error if an answer is not what the API server would accept.
pub(crate) async fn admit(connection: &mut Connection, pod: &ExamplePod) -> Result<Outcome> {
    let before = pod.arrived();
    let answer = ask(connection, "/mutate", pod, &before).await?;
    if answer["allowed"] != true {
        return Ok(denied("mutate.sandgate.dev", &answer));
    }
    let mut after = before.clone();
    if let Some(patch) = answer["patch"].as_str() {
        let patch: Patch = serde_json::from_slice(&STANDARD.decode(patch)?)?;
        json_patch::patch(&mut after, &patch)?;
    }
    let answer = ask(connection, "/validate", pod, &after).await?;
    if answer["allowed"] != true {
        return Ok(denied("validate.sandgate.dev", &answer));
    }
    Ok(if after == before { Outcome::Unchanged } else { Outcome::Filled { before, after } })
}

fn denied(webhook: &'static str, answer: &Value) -> Outcome {
    Outcome::Denied { webhook, status: answer["status"].clone() }
}

/// The `response` of the webhook.
async fn ask(connection: &mut Connection, path: &str, pod: &ExamplePod, object: &Value) -> Result<Value> {
    let review = review(pod, object);
    let mut answer = connection.post(path, &review).await?;
    if answer["response"]["uid"] != review["request"]["uid"] {
        return Err(format!("{path} answers another request: {answer}").into());
    }
    Ok(answer["response"].take())
}

/// The review of a pod's creation: `object` is the pod as it is by now.
pub(crate) fn review(pod: &ExamplePod, object: &Value) -> Value {
    let kind = json!({"group": "", "version": "v1", "kind": "Pod"});
    let resource = json!({"group": "", "version": "v1", "resource": "pods"});
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": kind,
            "resource": resource,
            "requestKind": kind,
            "requestResource": resource,
            "name": object["metadata"]["name"],
            "namespace": NAMESPACE,
            "operation": "CREATE",
            "userInfo": creator(pod),
            "object": object,
            "oldObject": null,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldValidation": "Strict"},
        }
    })
}

/// A pod with an owner comes from a controller.
fn creator(pod: &ExamplePod) -> Value {
    if pod.written["metadata"]["ownerReferences"].is_array() {
        return json!({
            "username": "system:serviceaccount:kube-system:job-controller",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
        });
    }
    json!({"username": "alice", "groups": ["developers", "system:authenticated"]})
}
