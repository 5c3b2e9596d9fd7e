//! What must hold for any bytes, one function for each fuzz target.
//!
//! `make fuzz` drives them with coverage; `tests/fuzz` drives the same functions for a moment on every change.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use sandgate_engine::{
    json::{pod_from_str, value_from_str, write_patch},
    pod::Quantity,
    policy::{Policy, PolicySet, Source},
    review::{Endpoint, answer},
    rules,
};
use serde_json::{Value as Json, json};

#[path = "../tests/oracle/quantity.rs"]
#[allow(dead_code, reason = "the oracle adds them up, too")]
mod nanos;

const ENDPOINTS: [Endpoint; 2] = [Endpoint::Mutate, Endpoint::Validate];

/// The built-in policy, the same in the other modes, and one that allows more than it.
static POLICIES: LazyLock<[PolicySet; 4]> = LazyLock::new(|| {
    [
        PolicySet::builtin(),
        policies_of("mode: warn"),
        policies_of("mode: audit"),
        policies_of(
            "volumes: {allowed: [emptyDir, configMap, downwardAPI]}\n  \
             images: {allowedPrefixes: [registry.example.com/]}\n  secrets: {allowedNames: [token]}",
        ),
    ]
});

fn policies_of(spec: &str) -> PolicySet {
    let text = format!(
        "apiVersion: sandgate.dev/v1alpha1\nkind: SandboxPolicy\nmetadata: {{name: p}}\nspec:\n  {spec}\n"
    );
    load(text).expect("the policy is right")
}

fn load(text: String) -> Result<PolicySet, sandgate_engine::policy::LoadErrors> {
    PolicySet::from_sources(&[Source { name: "policy.yaml".into(), text }])
}

/// Any bytes sent to a webhook get an answer that the API server understands, or an error.
pub(crate) fn review(data: &[u8]) {
    for policies in &*POLICIES {
        for endpoint in ENDPOINTS {
            answer_is_right(policies, endpoint, data);
        }
    }
}

fn answer_is_right(policies: &PolicySet, endpoint: Endpoint, data: &[u8]) {
    let answer = match answer(policies, endpoint, None, data) {
        Ok(answer) => answer,
        Err(problem) => return assert!(is_one_line(&problem.to_string()), "{problem:?}"),
    };
    let body: Json = serde_json::from_slice(&answer.body).expect("the answer is JSON");
    let response = &body["response"];
    assert_eq!(body["kind"], "AdmissionReview");
    assert_eq!(body["apiVersion"], *answer.record.request.api_version);
    assert_eq!(response["uid"], *answer.record.request.uid);
    assert_eq!(response["patch"].is_null(), response["patchType"].is_null());
    if response["allowed"].as_bool().expect("allowed or not") {
        assert!(response["status"].is_null());
    } else {
        refusal_says_why(response);
    }
    let warnings = response["warnings"].as_array().into_iter().flatten().filter_map(Json::as_str);
    assert!(warnings.map(|warning| warning.chars().count()).all(|length| length <= 256));
    let mut line = Vec::new();
    answer.record.write_line(&mut line, "T", 0);
    assert!(line.is_empty() || is_one_line(str::from_utf8(&line).expect("text").trim_end_matches('\n')));
}

fn refusal_says_why(response: &Json) {
    assert!(response["patch"].is_null(), "a refusal carries no patch");
    assert_eq!(response["status"]["code"], 403);
    let message = response["status"]["message"].as_str().expect("a message");
    assert!(!message.is_empty() && message.len() < 20_000);
    assert!(message.lines().all(is_one_line), "{message:?}");
    assert!(response["status"]["details"]["causes"].as_array().is_some_and(|causes| !causes.is_empty()));
}

/// Neither control characters nor marks that turn the direction of reading.
fn is_one_line(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
}

/// Any text as the Pod of a review: what is admitted stays admitted, and its patch makes what was judged.
pub(crate) fn pod(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    patch_makes_the_filled_pod(text);
    review(request("CREATE", text, "null").as_bytes());
    review(request("UPDATE", text, text).as_bytes());
    let Ok(pod) = serde_json::from_str::<Json>(text) else { return };
    for policies in &*POLICIES {
        admitted_stays_admitted(policies, text, &pod);
    }
}

fn request(operation: &str, pod: &str, old: &str) -> String {
    format!(
        r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"u","operation":"{operation}","namespace":"workflows","resource":{{"group":"","version":"v1","resource":"pods"}},"object":{pod},"oldObject":{old}}}}}"#
    )
}

/// The round trip of the patch, also where what it makes would be refused.
fn patch_makes_the_filled_pod(text: &str) {
    let (Ok(mut tree), Ok(mut pod)) = (pod_from_str(text), serde_json::from_str::<Json>(text)) else {
        return;
    };
    let policy = Policy::default();
    rules::fill(&policy.spec, &mut tree);
    apply(&write_patch(&tree), &mut pod);
    for (parent, skipped) in [("", "status"), ("/metadata", "managedFields")] {
        if let Some(Json::Object(fields)) = pod.pointer_mut(parent) {
            fields.remove(skipped);
        }
    }
    assert_eq!(pod, serde_json::to_value(&tree).expect("a tree is JSON"));
    let once = pod.to_string();
    let mut again = pod_from_str(&once).expect("it was read before");
    rules::fill(&policy.spec, &mut again);
    assert_eq!(write_patch(&again), b"", "filling twice is filling once: {once}");
}

fn apply(patch: &[u8], pod: &mut Json) {
    if patch.is_empty() {
        return;
    }
    let patch: json_patch::Patch = serde_json::from_slice(patch).expect("a JSON patch");
    json_patch::patch(pod, &patch).expect("the patch fits");
}

fn admitted_stays_admitted(policies: &PolicySet, text: &str, pod: &Json) {
    let told = ask(policies, Endpoint::Mutate, &request("CREATE", text, "null"));
    // What enforcing would refuse is admitted as it came.
    if told["auditAnnotations"]["verdict"] != "admitted" {
        return;
    }
    let mut stored = pod.clone();
    if let Some(patch) = told["patch"].as_str() {
        apply(&STANDARD.decode(patch).expect("Base64"), &mut stored);
    }
    let stored = stored.to_string();
    for endpoint in ENDPOINTS {
        let told = ask(policies, endpoint, &request("CREATE", &stored, "null"));
        assert_eq!(told["allowed"], true, "{stored}\n{told}");
        assert!(told["patch"].is_null(), "{stored}");
        let told = ask(policies, endpoint, &request("UPDATE", &stored, &stored));
        assert_eq!(told["allowed"], true, "{stored}\n{told}");
    }
}

fn ask(policies: &PolicySet, endpoint: Endpoint, review: &str) -> Json {
    let answer = answer(policies, endpoint, None, review.as_bytes()).expect("a review");
    serde_json::from_slice::<Json>(&answer.body).expect("the answer is JSON")["response"].take()
}

/// Any text as a policy file: it is refused with words for people, or what it fills satisfies itself.
pub(crate) fn policy(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    // YAML ends lines with more than one character.
    let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() as u64;
    match load(text.to_owned()) {
        Ok(policies) => policies.policies().iter().for_each(policy_agrees_with_itself),
        Err(errors) => {
            assert!(!errors.0.is_empty());
            for error in &errors.0 {
                assert!(is_one_line(&error.to_string()), "{:?}", error.to_string());
                assert!(error.line <= lines && !error.problem.is_empty(), "{error:?}");
            }
        }
    }
}

/// A Pod that leaves everything open is filled to one that the policy admits, and that needs no more filling.
fn policy_agrees_with_itself(policy: &Policy) {
    let image = policy.spec.images.allowed_prefixes.first().map_or("example.com/", String::as_str);
    let image = format!("{image}@sha256:{}", "0".repeat(64));
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "main", "image": image}]},
    });
    let text = pod.to_string();
    let mut tree = pod_from_str(&text).expect("a Pod");
    rules::fill(&policy.spec, &mut tree);
    let violations = rules::check(&policy.spec, &tree);
    assert!(violations.is_empty(), "{:?}", violations.lines());
    let once = serde_json::to_string(&tree).expect("a tree is JSON");
    let mut again = value_from_str(&once).expect("a tree is JSON");
    rules::fill(&policy.spec, &mut again);
    assert_eq!(write_patch(&again), b"", "{once}");
}

/// Any text as a quantity: read as a second reader reads it, and written so that it is read back.
pub(crate) fn quantity(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let second = nanos::Nanos::read(text).map(|nanos| nanos.0);
    match Quantity::parse(text) {
        Ok(quantity) => {
            assert_eq!(Quantity::parse(&quantity.to_string()), Ok(quantity), "{text:?}");
            let exact = Quantity::parse(&format!("{}n", second.expect("a quantity to both"))).ok();
            assert!(exact.is_none_or(|exact| exact == quantity), "{text:?} is {quantity}, not {second:?} n");
        }
        Err(sandgate_engine::pod::QuantityError::OutOfRange) => {}
        Err(sandgate_engine::pod::QuantityError::Malformed) => assert_eq!(second, None, "{text:?}"),
    }
}
