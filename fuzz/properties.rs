//! What must hold for any bytes, one function for each fuzz target.
//!
//! `make fuzz` drives them with coverage; `tests/fuzz` drives the same functions for a moment on every change.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use sandgate_engine::{
    backstop,
    json::{Value, pod_from_str, value_from_str, write_patch},
    pod::{Quantity, image::ImageReference},
    policy::{ImagePattern, PathPattern, Pattern, Policy, PolicySet, touches_system_path},
    review::{Caller, Endpoint, Evaluator, Head, Unread, WithoutPolicy, answer},
    rules, workload, yaml,
};
use serde_json::{Value as Json, json};

#[path = "../tests/oracle/quantity.rs"]
#[allow(dead_code, reason = "the oracle adds them up, too")]
mod nanos;
#[path = "policies.rs"]
mod policies;

use policies::{document, load};

const ENDPOINTS: [Endpoint; 2] = [Endpoint::Mutate, Endpoint::Validate];

static POLICIES: LazyLock<Vec<PolicySet>> = LazyLock::new(policies::policies);

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
        denial_says_why(response);
    }
    let warnings = response["warnings"].as_array().into_iter().flatten().filter_map(Json::as_str);
    assert!(warnings.map(|warning| warning.chars().count()).all(|length| length <= 256));
    let mut line = Vec::new();
    answer.record.write_line(&mut line, "T", 0);
    assert!(line.is_empty() || is_one_line(str::from_utf8(&line).expect("text").trim_end_matches('\n')));
}

fn denial_says_why(response: &Json) {
    assert!(response["patch"].is_null(), "a denial carries no patch");
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

/// Any text as the Pod of a review: what is admitted stays admitted, and its patch makes what was checked.
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

/// The round trip of the patch, also where what it makes would be denied.
fn patch_makes_the_filled_pod(text: &str) {
    let (Ok(mut tree), Ok(mut pod)) = (pod_from_str(text), serde_json::from_str::<Json>(text)) else {
        return;
    };
    let policies = PolicySet::builtin();
    let profile = policies.policies()[0].base();
    rules::fill(profile, &mut tree);
    apply(&write_patch(&tree), &mut pod);
    for (parent, skipped) in [("", "status"), ("/metadata", "managedFields")] {
        if let Some(Json::Object(fields)) = pod.pointer_mut(parent) {
            fields.remove(skipped);
        }
    }
    assert_eq!(pod, serde_json::to_value(&tree).expect("a tree is JSON"));
    let once = pod.to_string();
    let mut again = pod_from_str(&once).expect("it was read before");
    rules::fill(profile, &mut again);
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
    let answer = ask(policies, Endpoint::Mutate, &request("CREATE", text, "null"));
    // What enforcing would deny is admitted as it came.
    if answer["auditAnnotations"]["verdict"] != "admitted" {
        return;
    }
    let mut stored = pod.clone();
    if let Some(patch) = answer["patch"].as_str() {
        apply(&STANDARD.decode(patch).expect("Base64"), &mut stored);
    }
    let stored = stored.to_string();
    for endpoint in ENDPOINTS {
        let answer = ask(policies, endpoint, &request("CREATE", &stored, "null"));
        assert_eq!(answer["allowed"], true, "{stored}\n{answer}");
        assert!(answer["patch"].is_null(), "{stored}");
        let answer = ask(policies, endpoint, &request("UPDATE", &stored, &stored));
        assert_eq!(answer["allowed"], true, "{stored}\n{answer}");
    }
}

fn ask(policies: &PolicySet, endpoint: Endpoint, review: &str) -> Json {
    let answer = answer(policies, endpoint, None, review.as_bytes()).expect("a review");
    serde_json::from_slice::<Json>(&answer.body).expect("the answer is JSON")["response"].take()
}

/// Any text as a policy file: it is denied with words for people, or what it fills satisfies itself.
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

/// What filling makes of a plain Pod under the policy's own keys needs no more filling, and lacks only what a policy can
/// leave to people: an account, a deadline, an id, or an image of its own.
fn policy_agrees_with_itself(policy: &Policy) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "main", "image": "registry.example.com/a"}]},
    });
    let text = pod.to_string();
    let mut tree = pod_from_str(&text).expect("a Pod");
    let profile = policy.base();
    rules::fill(profile, &mut tree);
    let left_to_people = [
        "images",
        "service-account",
        "scheduler",
        "run-as-user",
        "run-as-group",
        "active-deadline",
        "seccomp",
        "resource-limits",
        "pod-budget",
    ];
    let violations = rules::check(profile, &tree);
    let is_known = violations.iter().all(|violation| left_to_people.contains(&violation.rule.id));
    assert!(is_known, "{:?}", violations.lines());
    let once = serde_json::to_string(&tree).expect("a tree is JSON");
    let mut again = value_from_str(&once).expect("a tree is JSON");
    rules::fill(profile, &mut again);
    assert_eq!(write_patch(&again), b"", "{once}");
}

/// Any text as a policy file: what is stated in CEL is closed, so that no text of a policy ends a literal or a bracket, and what is
/// not is named in one line.
pub(crate) fn cel(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(policies) = load(text.to_owned()) else { return };
    match backstop::render(&policies, &backstop::Settings::default()) {
        Ok(objects) => objects.iter().for_each(expressions_are_closed),
        Err(refusals) => {
            assert!(!refusals.is_empty());
            for refusal in &refusals {
                assert!(is_one_line(&refusal.to_string()), "{refusal}");
            }
        }
    }
}

fn expressions_are_closed(value: &Json) {
    match value {
        Json::Array(items) => items.iter().for_each(expressions_are_closed),
        Json::Object(fields) => {
            for (key, value) in fields {
                match value.as_str().filter(|_| key.to_ascii_lowercase().ends_with("expression")) {
                    Some(expression) => assert!(is_closed(expression), "{expression}"),
                    None => expressions_are_closed(value),
                }
            }
        }
        _ => {}
    }
}

/// Whether the literals of an expression end and its brackets fit, read as `cel-go` reads them.
fn is_closed(expression: &str) -> bool {
    let mut open = Vec::new();
    let mut quote = None;
    let mut chars = expression.chars();
    while let Some(next) = chars.next() {
        match (quote, next) {
            (Some(_), '\\') => drop(chars.next()),
            (Some(_), '\n' | '\r') => return false,
            (Some(mark), _) if next == mark => quote = None,
            (None, '"' | '\'') => quote = Some(next),
            (None, '(') => open.push(')'),
            (None, '[') => open.push(']'),
            (None, '{') => open.push('}'),
            (None, ')' | ']' | '}') if open.pop() != Some(next) => return false,
            _ => {}
        }
    }
    quote.is_none() && open.is_empty()
}

/// Any text as a `spec`, a line of dashes and a Pod: what `/mutate` admits, `/validate` admits.
pub(crate) fn policy_pod(data: &[u8]) {
    let Some((spec, pod)) = str::from_utf8(data).ok().and_then(|text| text.split_once("\n---\n")) else {
        return;
    };
    let Ok(value) = serde_json::from_str::<Json>(pod) else { return };
    let Ok(policies) = load(document(spec)) else { return };
    // A second document may have no namespace, or another name.
    if policies.for_namespace("workflows", None).is_some() {
        admitted_stays_admitted(&policies, pod, &value);
    }
}

/// Any bytes as the head of a review: it is answered by a denial with the uid that the whole review has, or not at all.
pub(crate) fn head(data: &[u8]) {
    let Some(head) = Head::read(data) else { return };
    let evaluator = Evaluator {
        policies: &POLICIES[0],
        path_policy: None,
        without_policy: WithoutPolicy::Deny,
        caller: Caller::default(),
    };
    for endpoint in ENDPOINTS {
        let Some(head) = Head::read(data) else { return };
        let answer = evaluator.answer_head(endpoint, head, Unread::TooLarge(1));
        let body: Json = serde_json::from_slice(&answer.body).expect("the answer is JSON");
        assert!(body["response"]["uid"].as_str().is_some_and(|uid| !uid.is_empty()));
        assert!(body["response"]["patch"].is_null(), "what was not read is not filled");
        if body["response"]["allowed"] == false {
            denial_says_why(&body["response"]);
        }
    }
    drop(head);
}

/// Any text as a Pod that is changed and changed again: the patch makes what the changes made.
pub(crate) fn patch(data: &[u8]) {
    let (Some((text, orders)), true) = (
        data.iter().rposition(|byte| *byte == b'\n').map(|at| (&data[..at], &data[at + 1..])),
        data.len() < 1 << 16,
    ) else {
        return;
    };
    let Ok(text) = str::from_utf8(text) else { return };
    let (Ok(mut tree), Ok(mut before)) = (value_from_str(text), serde_json::from_str::<Json>(text)) else {
        return;
    };
    for order in orders.chunks_exact(2).take(32) {
        change(&mut tree, order[0], order[1]);
    }
    apply(&write_patch(&tree), &mut before);
    assert_eq!(before, serde_json::to_value(&tree).expect("a tree is JSON"));
}

/// Changes one value of a tree in one way: where and how, the bytes decide.
fn change(tree: &mut Value<'_>, place: u8, way: u8) {
    match tree {
        Value::Object(object) => {
            let keys: Vec<String> = object.iter().map(|(key, _)| key.to_owned()).collect();
            match (way % 4, keys.get(usize::from(place) % keys.len().max(1))) {
                (0, _) | (_, None) => object.set("added/~ \u{e9}", i64::from(way)),
                (1, Some(key)) => object.set(key.clone(), Value::from(true)),
                (2, Some(key)) => object.set(key.clone(), Value::Null),
                (_, Some(key)) => {
                    if let Some(inner) = object.get_mut(key) {
                        change(inner, place / 3, way / 4);
                    }
                }
            }
        }
        Value::List(list) => match way % 3 {
            0 => list.push(i64::from(place)),
            1 => {
                let mut number = 0;
                list.remove_where(|_| {
                    number += 1;
                    number % 3 == usize::from(place) % 3
                });
            }
            _ => {
                if let Some((_, inner)) = list.iter_mut().nth(usize::from(place) % 4) {
                    change(inner, place / 3, way / 4);
                }
            }
        },
        _ => {}
    }
}

/// Any text as YAML: each document is read as a second reader reads it, or denied in one line.
pub(crate) fn yaml(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    for document in yaml::read(text) {
        match document {
            Ok(node) => assert!(node.line() <= text.lines().count() as u64 + 1),
            Err(error) => assert!(is_one_line(&error.to_string()), "{error}"),
        }
    }
}

/// Any object: the Pods of its templates are JSON, and a path that is named finds them too or finds nothing.
pub(crate) fn workload(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(object) = value_from_str(text) else { return };
    let Ok(found) = workload::pod_templates(&object, "workflows") else { return };
    for template in &found.pods {
        assert!(serde_json::from_str::<Json>(&template.pod).is_ok(), "{}", template.pod);
    }
    let _ = workload::pod_templates_at(&object, "workflows", "spec.template");
    let _ = workload::pod_templates_at(&object, "workflows", "spec[*].x");
}

/// Any text as an image, and as a pattern of images: an image without `*` is matched by itself alone.
pub(crate) fn image(data: &[u8]) {
    let Some((pattern, text)) = str::from_utf8(data).ok().and_then(|text| text.split_once('\n')) else {
        return;
    };
    let parsed = ImageReference::parse(text);
    if let (Some(parsed), Ok(own)) = (&parsed, ImagePattern::try_from(text.to_owned())) {
        assert!(own.matches(parsed), "{text:?} is matched by itself");
    }
    let (Ok(pattern), Some(parsed)) = (ImagePattern::try_from(pattern.to_owned()), parsed) else { return };
    if pattern.as_str() != "*" && pattern.matches(&parsed) {
        let sample = pattern.as_str().replace('*', "x");
        let wanted = ImageReference::parse(&sample).expect("a pattern is a reference but for its stars");
        assert_eq!(wanted.registry, parsed.registry, "{pattern:?} {text:?}");
    }
}

/// Any two texts as an entry of a list of paths and a path: what is covered lies below the entry, and on, above or below
/// a system path only if the entry, without `*`, does.
pub(crate) fn path(data: &[u8]) {
    let Some((entry, path)) = str::from_utf8(data).ok().and_then(|text| text.split_once('\n')) else {
        return;
    };
    let Ok(pattern) = PathPattern::try_from(entry.to_owned()) else { return };
    if !pattern.covers(path) {
        return;
    }
    assert!(path.starts_with('/') && !path.chars().any(char::is_control), "{path:?}");
    assert!(!path.split('/').any(|part| part == ".."), "{path:?}");
    let is_meant = !entry.contains('*') && touches_system_path(entry);
    assert!(is_meant || !touches_system_path(path), "{entry:?} covers {path:?}");
}

/// Any two texts as a pattern and a name: matching agrees with its definition.
pub(crate) fn pattern(data: &[u8]) {
    let Some((text, name)) = str::from_utf8(data).ok().and_then(|text| text.split_once('\n')) else { return };
    if text.len() > 64 || text.matches('*').count() > 6 || name.len() > 64 {
        return;
    }
    let Ok(pattern) = Pattern::try_from(text.to_owned()) else { return };
    let wanted = text == "*" || has_form(text, name);
    assert_eq!(pattern.matches(name), wanted, "{text:?} {name:?}");
    if let Ok(other) = Pattern::try_from(name.to_owned()) {
        assert_eq!(pattern.meets(&other), other.meets(&pattern), "{text:?} {name:?}");
        assert!(!pattern.covers(&other) || pattern.meets(&other), "{text:?} {name:?}");
    }
}

fn has_form(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    let end = text.find('/').unwrap_or(text.len());
    (0..=end).filter(|taken| text.is_char_boundary(*taken)).any(|taken| has_form(rest, &text[taken..]))
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
