//! What holds for every Pod, whatever is in it.
//!
//! The Pods are made by changing a plain or a complete one in a few random places: with a random value, a value that
//! another field has, or nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::{prelude::*, sample::select};
use sandgate_engine::{
    json::{pod_from_str, value_from_str, write_patch},
    pod::Quantity,
    policy::{Policy, PolicySet},
    review::{Defaults, Endpoint, answer, evaluate},
    rules,
};
use serde_json::{Value as Json, json};

/// Where a change may be made, as JSON pointers.
const PLACES: &[&str] = &[
    "/metadata",
    "/metadata/labels",
    "/metadata/labels/app",
    "/metadata/annotations",
    "/metadata/annotations/sandgate.dev~1filled-resources",
    "/metadata/annotations/dev.gvisor.x",
    "/metadata/ownerReferences",
    "/spec",
    "/spec/runtimeClassName",
    "/spec/serviceAccountName",
    "/spec/serviceAccount",
    "/spec/automountServiceAccountToken",
    "/spec/restartPolicy",
    "/spec/activeDeadlineSeconds",
    "/spec/terminationGracePeriodSeconds",
    "/spec/affinity",
    "/spec/affinity/nodeAffinity",
    "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms",
    "/spec/tolerations",
    "/spec/tolerations/0",
    "/spec/nodeName",
    "/spec/schedulerName",
    "/spec/priorityClassName",
    "/spec/securityContext",
    "/spec/securityContext/runAsUser",
    "/spec/securityContext/runAsNonRoot",
    "/spec/securityContext/seccompProfile",
    "/spec/securityContext/supplementalGroups",
    "/spec/volumes",
    "/spec/volumes/0",
    "/spec/volumes/0/emptyDir",
    "/spec/volumes/0/emptyDir/sizeLimit",
    "/spec/volumes/0/hostPath",
    "/spec/hostNetwork",
    "/spec/overhead",
    "/spec/resources",
    "/spec/initContainers",
    "/spec/containers",
    "/spec/containers/0",
    "/spec/containers/1",
    "/spec/containers/0/image",
    "/spec/containers/0/env",
    "/spec/containers/0/securityContext",
    "/spec/containers/0/securityContext/privileged",
    "/spec/containers/0/securityContext/capabilities",
    "/spec/containers/0/securityContext/capabilities/drop",
    "/spec/containers/0/resources",
    "/spec/containers/0/resources/limits",
    "/spec/containers/0/resources/limits/cpu",
    "/spec/containers/0/resources/requests/memory",
    "/spec/containers/0/volumeMounts",
    "/spec/containers/0/volumeMounts/0",
    "/spec/containers/0/volumeMounts/0/mountPath",
    "/spec/containers/0/livenessProbe",
    "/spec/containers/0/restartPolicy",
    "/spec/containers/0/somethingNew",
];

fn complete_pod() -> Json {
    serde_saphyr::from_str(include_str!("../../examples/pods/complete.yaml")).unwrap()
}

fn plain_pod() -> Json {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "a", "image": "i"}]}})
}

/// Any JSON at all, with a liking for what means something in a Pod.
fn anything() -> impl Strategy<Value = Json> {
    let words = [
        "",
        "gvisor",
        "workflow-runner",
        "Always",
        "Never",
        "OnFailure",
        "ALL",
        "RuntimeDefault",
        "/workspace",
        "/tmp/..",
        "0",
        "1",
        "2",
        "4Gi",
        "10Gi",
        "500m",
        "1e3",
        "-1",
        "x",
        "Exists",
        "default",
        "runc",
        "In",
    ];
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Json::from),
        select(vec![0_i64, 1, 30, 999, 1000, 1001, 3600, -1, i64::MAX]).prop_map(Json::from),
        select(vec![0.5, 1e3, -2.25, 1e300]).prop_map(Json::from),
        select(words.to_vec()).prop_map(Json::from),
        "\\PC{0,12}".prop_map(Json::from),
    ];
    let keys = select(vec![
        "name",
        "key",
        "operator",
        "value",
        "type",
        "emptyDir",
        "sizeLimit",
        "medium",
        "limits",
        "requests",
        "cpu",
        "memory",
        "mountPath",
        "drop",
        "add",
        "securityContext",
        "matchExpressions",
        "values",
        "image",
        "restartPolicy",
        "kind",
        "controller",
        "projected",
        "sources",
        "privileged",
    ]);
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            proptest::collection::btree_map(keys.clone().prop_map(String::from), inner, 0..4)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

/// A Pod that was changed in up to four places.
fn pods() -> impl Strategy<Value = Json> {
    let change = (select(PLACES), proptest::option::of(anything()));
    (any::<bool>(), proptest::collection::vec(change, 0..5)).prop_map(|(complete, changes)| {
        let mut pod = if complete { complete_pod() } else { plain_pod() };
        for (place, value) in changes {
            put(&mut pod, place, value);
        }
        pod
    })
}

/// Sets or removes what stands at `place`, if its parent is there.
fn put(pod: &mut Json, place: &str, value: Option<Json>) {
    let (parent, key) = place.rsplit_once('/').unwrap();
    let key = key.replace("~1", "/");
    match (pod.pointer_mut(parent), value) {
        (Some(Json::Object(members)), Some(value)) => drop(members.insert(key, value)),
        (Some(Json::Object(members)), None) => drop(members.remove(&key)),
        (Some(Json::Array(items)), Some(value)) => items.push(value),
        (Some(Json::Array(items)), None) => drop(items.pop()),
        _ => {}
    }
}

fn filled(policy: &Policy, pod: &Json) -> Json {
    let text = pod.to_string();
    let mut tree = pod_from_str(&text).unwrap();
    let _ = evaluate(policy, &mut tree, None, Defaults::Fill);
    serde_json::to_value(&tree).unwrap()
}

fn review(pod: &Json, operation: &str, old: &Json) -> String {
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
        "uid": "u", "operation": operation, "namespace": "workflows",
        "resource": {"group": "", "version": "v1", "resource": "pods"}, "object": pod, "oldObject": old
    }})
    .to_string()
}

fn ask(policies: &PolicySet, endpoint: Endpoint, review: &str) -> Json {
    let answer = answer(policies, endpoint, None, review.as_bytes()).unwrap();
    let mut line = Vec::new();
    answer.record.write_line(&mut line, "T", 0);
    assert!(!line.is_empty() && line.ends_with(b"\n") && !line[..line.len() - 1].contains(&b'\n'));
    serde_json::from_slice::<Json>(&answer.body).unwrap()["response"].clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn the_patch_makes_the_filled_pod(pod in pods()) {
        let text = pod.to_string();
        let policy = Policy::default();
        let mut tree = pod_from_str(&text).unwrap();
        let _ = evaluate(&policy, &mut tree, None, Defaults::Fill);
        let patch = write_patch(&tree);
        let mut patched = pod.clone();
        if !patch.is_empty() {
            json_patch::patch(&mut patched, &serde_json::from_slice::<json_patch::Patch>(&patch).unwrap()).unwrap();
        }
        prop_assert_eq!(patched, serde_json::to_value(&tree).unwrap());
    }

    #[test]
    fn filling_twice_is_filling_once(pod in pods()) {
        let policy = Policy::default();
        let once = filled(&policy, &pod);
        prop_assert_eq!(filled(&policy, &once), once);
    }

    #[test]
    fn what_mutate_admits_validate_admits(pod in pods()) {
        let policies = PolicySet::builtin();
        let response = ask(&policies, Endpoint::Mutate, &review(&pod, "CREATE", &json!(null)));
        let allowed = response["allowed"] == json!(true);
        let mut stored = pod.clone();
        if let Some(patch) = response["patch"].as_str() {
            prop_assert!(allowed, "a denial carries no patch");
            let patch = STANDARD.decode(patch).unwrap();
            json_patch::patch(&mut stored, &serde_json::from_slice::<json_patch::Patch>(&patch).unwrap()).unwrap();
        }
        let response = ask(&policies, Endpoint::Validate, &review(&stored, "CREATE", &json!(null)));
        if allowed {
            prop_assert_eq!(&response["allowed"], &json!(true), "{}", response);
        }
    }

    #[test]
    fn an_update_that_changes_nothing_is_allowed(pod in pods()) {
        let response = ask(&PolicySet::builtin(), Endpoint::Validate, &review(&pod, "UPDATE", &pod));
        prop_assert_eq!(&response["allowed"], &json!(true), "{}", response);
    }

    #[test]
    fn a_denial_says_why_and_is_no_longer_than_kubectl_can_show(pod in pods()) {
        let response = ask(&PolicySet::builtin(), Endpoint::Mutate, &review(&pod, "CREATE", &json!(null)));
        if response["allowed"] == json!(false) {
            let message = response["status"]["message"].as_str().unwrap();
            prop_assert!(!message.is_empty() && message.len() < 20_000);
            prop_assert!(!response["status"]["details"]["causes"].as_array().unwrap().is_empty());
        }
    }

    #[test]
    fn no_json_makes_the_rules_panic(json in anything()) {
        let text = json.to_string();
        let policy = Policy::default();
        let mut tree = pod_from_str(&text).unwrap();
        let violations = evaluate(&policy, &mut tree, None, Defaults::Fill).violations;
        prop_assert!(!violations.is_empty(), "no random JSON is a sandboxed Pod");
        let _ = rules::check(policy.base(), &value_from_str(&text).unwrap());
    }

    #[test]
    fn no_text_makes_a_quantity_panic(text in "[-+0-9.eEnumkMGTPi]{0,24}|\\PC{0,16}") {
        let _ = Quantity::parse(&text);
    }

    #[test]
    fn a_quantity_is_read_back_as_it_was_written(nano in any::<i64>()) {
        let quantity = Quantity::parse(&format!("{nano}n")).unwrap();
        prop_assert_eq!(Quantity::parse(&quantity.to_string()).unwrap(), quantity);
    }
}
