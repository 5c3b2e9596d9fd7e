//! Reviews in, answers out, as the API server would see them.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value as Json, json};

use super::{Caller, Endpoint, Evaluator, Head, Outcome, Unread, WithoutPolicy, annotations, answer};
use crate::{
    policy::{PolicySet, Source},
    rules::testing::{complete_pod, plain_pod},
};

mod answers;
mod messages;
mod profiles;
mod provenance;
mod updates;
mod verdicts;

fn policies(mode: &str) -> PolicySet {
    policies_of(&format!("mode: {mode}"))
}

fn policies_of(spec: &str) -> PolicySet {
    let text = format!(
        "{{apiVersion: sandgate.dev/v1beta1, kind: SandboxPolicy, metadata: {{name: p}}, spec: {{{spec}}}}}"
    );
    PolicySet::from_sources(&[Source { name: "p.yaml".into(), text }]).unwrap()
}

/// A review of a create as an API server 1.36 sends it.
fn create(pod: &Json) -> Json {
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
        "uid": "0a1b", "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
        "requestResource": {"group": "", "version": "v1", "resource": "pods"},
        "name": pod["metadata"]["name"], "namespace": "workflows", "operation": "CREATE",
        "userInfo": {"username": "jane", "groups": ["dev", "system:authenticated"]},
        "object": pod, "oldObject": null, "dryRun": false,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}
    }})
}

fn update(old: &Json, new: &Json) -> Json {
    let mut review = create(new);
    review["request"]["operation"] = json!("UPDATE");
    review["request"]["oldObject"] = old.clone();
    review
}

fn privileged() -> Json {
    let mut pod = complete_pod();
    pod["spec"]["containers"][0]["securityContext"]["privileged"] = json!(true);
    pod
}

struct Answered {
    response: Json,
    record: Json,
}

fn ask(policies: &PolicySet, endpoint: Endpoint, review: &Json) -> Answered {
    ask_text(policies, endpoint, &review.to_string())
}

fn ask_text(policies: &PolicySet, endpoint: Endpoint, text: &str) -> Answered {
    let answer = answer(policies, endpoint, None, text.as_bytes()).unwrap();
    let body: Json = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["kind"], "AdmissionReview");
    let mut line = Vec::new();
    answer.record.write_line(&mut line, "2026-11-24T12:00:00.000Z", 42);
    let record = if line.is_empty() { json!(null) } else { serde_json::from_slice(&line).unwrap() };
    Answered { response: body["response"].clone(), record }
}

fn mutate(review: &Json) -> Answered {
    ask(&PolicySet::builtin(), Endpoint::Mutate, review)
}

fn validate(review: &Json) -> Answered {
    ask(&PolicySet::builtin(), Endpoint::Validate, review)
}

fn patched(pod: &Json, answered: &Answered) -> Json {
    assert_eq!(answered.response["patchType"], "JSONPatch");
    let patch = STANDARD.decode(answered.response["patch"].as_str().unwrap()).unwrap();
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &serde_json::from_slice::<json_patch::Patch>(&patch).unwrap()).unwrap();
    pod
}

/// The set of the policies `p` and `next`, which is for no namespace.
fn policies_with_next(spec: &str, next: &str) -> PolicySet {
    let document = |name: &str, spec: &str| {
        format!(
            "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
        )
    };
    let next = document("next", &format!("namespaces: [], {next}"));
    let text = format!("{}---\n{next}", document("p", spec));
    PolicySet::from_sources(&[Source { name: "p.yaml".into(), text }]).unwrap()
}

/// The ids of the rules of a list of violations in a record.
fn rules_of(violations: &Json) -> Vec<&str> {
    violations.as_array().unwrap().iter().map(|violation| violation["rule"].as_str().unwrap()).collect()
}

fn warnings_of(answered: &Answered) -> Vec<&str> {
    let warnings = answered.response.get("warnings").and_then(Json::as_array);
    warnings.into_iter().flatten().map(|warning| warning.as_str().unwrap()).collect()
}

fn is_patched(answered: &Answered) -> bool {
    answered.response.get("patch").is_some()
}

/// The plain Pod with a privileged container: a part is open, and a part contradicts the policy.
fn plain_and_privileged() -> Json {
    let mut pod = plain_pod();
    pod["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    pod
}

fn owned_by(kind: &str, api_version: &str, mut pod: Json) -> Json {
    let owner = json!({"apiVersion": api_version, "kind": kind, "name": "o", "uid": "1", "controller": true});
    pod["metadata"]["ownerReferences"] = json!([owner]);
    pod
}
