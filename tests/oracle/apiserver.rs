//! The API server's part: asking the webhook, applying its patch, defaulting what is stored.

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Pod;
use sandgate_engine::{
    policy::{PolicySet, Source},
    review::{Endpoint, answer},
};
use serde_json::{Value as Json, json};

use crate::policy::Creator;

/// What the webhook answers.
pub(crate) struct Reply {
    pub(crate) allowed: bool,
    /// Rule and path of each violation.
    pub(crate) causes: Vec<(String, String)>,
    pub(crate) warnings: usize,
    pub(crate) patches: bool,
    /// The object with the patch applied.
    pub(crate) pod: Json,
}

/// Who sends the requests of most tests.
pub(crate) const SOMEONE: Creator = Creator { user: "someone", groups: &[] };

/// A create of `pod`.
pub(crate) fn create(policies: &PolicySet, endpoint: Endpoint, pod: &Json) -> Reply {
    create_as(SOMEONE, policies, endpoint, pod)
}

/// A create of `pod` by a user.
pub(crate) fn create_as(creator: Creator, policies: &PolicySet, endpoint: Endpoint, pod: &Json) -> Reply {
    let user = json!({"username": creator.user, "groups": creator.groups});
    ask(policies, endpoint, &json!({"operation": "CREATE", "object": pod, "userInfo": user}))
}

/// The ways a stored Pod is changed: the Pod itself, its subresources that we match, and one of a newer API server.
pub(crate) const UPDATES: [(Endpoint, &str); 5] = [
    (Endpoint::Mutate, ""),
    (Endpoint::Validate, ""),
    (Endpoint::Validate, "ephemeralcontainers"),
    (Endpoint::Validate, "resize"),
    (Endpoint::Validate, "unheard-of"),
];

/// An update from `old` to `new`.
pub(crate) fn update(
    policies: &PolicySet,
    (endpoint, subresource): (Endpoint, &str),
    old: &Json,
    new: &Json,
) -> Reply {
    let request = json!({"operation": "UPDATE", "subResource": subresource, "object": new, "oldObject": old});
    ask(policies, endpoint, &request)
}

/// Whether a create of a Pod that stands in the review as exactly this text is allowed.
pub(crate) fn allows_text(policies: &PolicySet, endpoint: Endpoint, pod: &str) -> bool {
    let review = review(json!({"operation": "CREATE", "object": "@"})).to_string().replace("\"@\"", pod);
    respond(policies, endpoint, &review)["allowed"].as_bool().unwrap()
}

fn ask(policies: &PolicySet, endpoint: Endpoint, request: &Json) -> Reply {
    let response = respond(policies, endpoint, &review(request.clone()).to_string());
    read(&response, request["object"].clone())
}

/// The text of a review of `request`.
pub(crate) fn review_of(request: &Json) -> String {
    review(request.clone()).to_string()
}

fn review(mut request: Json) -> Json {
    request["uid"] = json!("u");
    request["namespace"] = json!("workflows");
    request["resource"] = json!({"group": "", "version": "v1", "resource": "pods"});
    if request["userInfo"].is_null() {
        request["userInfo"] = json!({"username": SOMEONE.user});
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
}

fn respond(policies: &PolicySet, endpoint: Endpoint, review: &str) -> Json {
    let body = answer(policies, endpoint, None, review.as_bytes()).unwrap().body;
    serde_json::from_slice::<Json>(&body).unwrap()["response"].take()
}

fn read(response: &Json, mut pod: Json) -> Reply {
    let patch = response["patch"].as_str().map(|patch| STANDARD.decode(patch).unwrap());
    if let Some(patch) = &patch {
        let patch: json_patch::Patch = serde_json::from_slice(patch).unwrap();
        json_patch::patch(&mut pod, &patch).unwrap();
    }
    let text = |value: &Json| value.as_str().unwrap().to_string();
    let causes = response.pointer("/status/details/causes").and_then(Json::as_array);
    Reply {
        allowed: response["allowed"].as_bool().unwrap(),
        causes: causes.into_iter().flatten().map(|c| (text(&c["reason"]), text(&c["field"]))).collect(),
        warnings: response["warnings"].as_array().map_or(0, Vec::len),
        patches: patch.is_some(),
        pod,
    }
}

/// The default policy in another mode.
pub(crate) fn policy_in_mode(mode: &str) -> PolicySet {
    policy_with(&json!({"mode": mode}))
}

/// The default policy with other settings.
pub(crate) fn policy_with(settings: &Json) -> PolicySet {
    let mut spec = settings.clone();
    spec["namespaces"] = json!(["workflows"]);
    let policy = json!({
        "apiVersion": "sandgate.dev/v1beta1",
        "kind": "SandboxPolicy",
        "metadata": {"name": "workflow-runner"},
        "spec": spec,
    });
    PolicySet::from_sources(&[Source { name: "policy.yaml".into(), text: policy.to_string() }]).unwrap()
}

/// The Pod as the API server reads it; it takes a number for a quantity, null for unset, and the old name of the
/// service account for the new one. What kind of object it is the address says; its times, its managers and its status
/// are no rule's matter.
pub(crate) fn typed(pod: &Json) -> Result<Pod, serde_json::Error> {
    let mut pod = without_nulls(pod);
    let alias = pod["spec"]["serviceAccount"].clone();
    if matches!(pod["spec"]["serviceAccountName"].as_str(), None | Some("")) && alias.is_string() {
        pod["spec"]["serviceAccountName"] = alias;
    }
    let as_text = |amount: &mut Json| {
        if amount.is_number() {
            *amount = Json::from(amount.to_string());
        }
    };
    visit_amounts(&mut pod["spec"], &mut |amount| as_text(amount));
    visit_divisors(&mut pod, &as_text);
    if pod["apiVersion"].is_string() {
        pod["apiVersion"] = json!("v1");
    }
    pod.as_object_mut().and_then(|pod| pod.remove("status"));
    for field in ["creationTimestamp", "deletionTimestamp", "managedFields"] {
        pod["metadata"].as_object_mut().and_then(|metadata| metadata.remove(field));
    }
    serde_json::from_value(pod)
}

/// A number that does not fit its field: the API server reads no such Pod, so it cannot store one.
pub(crate) fn is_of_no_width(error: &serde_json::Error) -> bool {
    error.to_string().starts_with("invalid value: integer")
}

fn visit_divisors(value: &mut Json, change: &impl Fn(&mut Json)) {
    match value {
        Json::Object(fields) => {
            fields.get_mut("divisor").into_iter().for_each(change);
            fields.values_mut().for_each(|value| visit_divisors(value, change));
        }
        Json::Array(list) => list.iter_mut().for_each(|value| visit_divisors(value, change)),
        _ => {}
    }
}

fn without_nulls(value: &Json) -> Json {
    match value {
        Json::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect()
        }
        // In a list null is an item of which nothing is set.
        Json::Array(list) => {
            list.iter().map(|item| if item.is_null() { json!({}) } else { without_nulls(item) }).collect()
        }
        other => other.clone(),
    }
}

fn visit_amounts(spec: &mut Json, change: &mut impl FnMut(&mut Json)) {
    let mut visit = |owner: &mut Json, path: &str| {
        for amount in owner.pointer_mut(path).and_then(Json::as_object_mut).into_iter().flatten() {
            change(amount.1);
        }
    };
    visit(spec, "/overhead");
    visit(spec, "/resources/limits");
    visit(spec, "/resources/requests");
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in items(spec, list) {
            visit(container, "/resources/limits");
            visit(container, "/resources/requests");
        }
    }
    for volume in items(spec, "volumes") {
        if let Some(size) = volume.pointer_mut("/emptyDir/sizeLimit") {
            change(size);
        }
    }
}

/// The items of a list that may be missing.
pub(crate) fn items<'p>(spec: &'p mut Json, list: &str) -> impl Iterator<Item = &'p mut Json> {
    spec.get_mut(list).and_then(Json::as_array_mut).into_iter().flatten()
}

/// The Pod with the API server's defaults, as far as a rule looks at them.
pub(crate) fn defaulted(pod: &Json) -> Json {
    let mut pod = pod.clone();
    let spec = &mut pod["spec"];
    for (key, value) in [
        ("restartPolicy", json!("Always")),
        ("dnsPolicy", json!("ClusterFirst")),
        ("schedulerName", json!("default-scheduler")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("enableServiceLinks", json!(true)),
        ("securityContext", json!({})),
        ("serviceAccount", spec["serviceAccountName"].clone()),
    ] {
        default(spec, key, value);
    }
    default_tolerations(spec);
    for volume in items(spec, "volumes").filter(|volume| volume.is_object()) {
        let mut fields = volume.as_object().into_iter().flatten();
        if fields.all(|(key, value)| key == "name" || value.is_null()) {
            volume["emptyDir"] = json!({});
        }
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in items(spec, list).filter(|container| container.is_object()) {
            default(container, "terminationMessagePath", json!("/dev/termination-log"));
            default(container, "terminationMessagePolicy", json!("File"));
            default_requests(container);
        }
    }
    pod
}

/// To the API server an empty text is none.
fn default(owner: &mut Json, key: &str, value: Json) {
    if owner.is_object() && (owner[key].is_null() || owner[key] == "") && !value.is_null() {
        owner[key] = value;
    }
}

/// A limit without a request is a request of the same size.
fn default_requests(container: &mut Json) {
    let Some(limits) = container.pointer("/resources/limits").and_then(Json::as_object).cloned() else {
        return;
    };
    let resources = &mut container["resources"];
    default(resources, "requests", json!({}));
    for (name, amount) in limits {
        default(&mut resources["requests"], &name, amount);
    }
}

fn default_tolerations(spec: &mut Json) {
    default(spec, "tolerations", json!([]));
    let Some(list) = spec.get_mut("tolerations").and_then(Json::as_array_mut) else { return };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        if !list.iter().any(|toleration| toleration["key"] == key) {
            list.push(
                json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}),
            );
        }
    }
}
