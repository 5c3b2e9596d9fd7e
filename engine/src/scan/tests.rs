//! The classes of stored Pods, as an API server stores them.

use serde_json::{Value as Json, json};

use super::*;
use crate::{
    json::pod_from_str,
    review::POLICY_ANNOTATION,
    rules::testing::{complete_pod, filled, plain_pod, policy},
};

/// What a scan finds: the class, and the rules that are violated as the Pod runs and once it is created anew.
fn scan(policy: &Policy, pod: &Json, phase: &str) -> (Class, Vec<String>, Vec<String>) {
    let text = pod.to_string();
    let scanned = classify(policy, &pod_from_str(&text).unwrap(), Some(phase));
    let rules = |violations: &Violations| violations.iter().map(|it| it.rule.id.to_string()).collect();
    (scanned.class, rules(&scanned.violations), rules(&scanned.remaining))
}

fn class(policy: &Policy, pod: &Json) -> Class {
    scan(policy, pod, "Running").0
}

/// The Pod as it is stored and runs: what a list leaves out, and what the API server and the scheduler add.
fn stored(mut pod: Json) -> Json {
    pod.as_object_mut().unwrap().retain(|key, _| key != "apiVersion" && key != "kind");
    pod["spec"]["nodeName"] = json!("node-1");
    pod["spec"]["serviceAccount"] = pod["spec"]["serviceAccountName"].clone();
    pod["spec"]["priority"] = json!(0);
    pod["spec"]["preemptionPolicy"] = json!("PreemptLowerPriority");
    pod["spec"]["enableServiceLinks"] = json!(true);
    for taint in ["not-ready", "unreachable"] {
        let key = format!("node.kubernetes.io/{taint}");
        let toleration =
            json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
        pod["spec"]["tolerations"].as_array_mut().unwrap().push(toleration);
    }
    pod["metadata"]["managedFields"] = json!([{"manager": "kubelet"}]);
    pod["status"] = json!({"phase": "Running"});
    pod
}

fn hostile() -> Json {
    let mut pod = plain_pod();
    pod["spec"]["hostNetwork"] = json!(true);
    pod
}

fn marked(mut pod: Json, hash: &str) -> Json {
    pod["metadata"]["annotations"] = json!({POLICY_ANNOTATION: "p", HASH_ANNOTATION: hash});
    pod
}

#[test]
fn a_pod_that_was_filled_and_placed_on_a_node_conforms() {
    for pod in [complete_pod(), filled(&plain_pod())] {
        let found = scan(&Policy::default(), &stored(pod), "Running");
        assert_eq!(found, (Class::Conforms, vec![], vec![]));
    }
}

#[test]
fn a_plain_pod_violates_as_it_runs_and_would_be_admitted_anew() {
    let (class, violations, remaining) = scan(&Policy::default(), &plain_pod(), "Running");
    assert_eq!(class, Class::Older);
    assert!(violations.iter().any(|rule| rule == "runtime-class"), "{violations:?}");
    assert_eq!(remaining, Vec::<String>::new());
}

#[test]
fn a_hostile_pod_would_be_denied_anew() {
    let (class, violations, remaining) = scan(&Policy::default(), &hostile(), "Running");
    assert_eq!(class, Class::Older);
    assert!(violations.len() > remaining.len());
    assert_eq!(remaining, ["host-namespaces"]);
}

#[test]
fn the_annotation_names_the_policy_that_filled_a_violating_pod() {
    let policy = Policy::default();
    assert_eq!(class(&policy, &marked(hostile(), &policy.hash)), Class::Violates);
    assert_eq!(class(&policy, &marked(hostile(), "0123456789abcdef")), Class::OtherPolicy);
    assert_eq!(class(&policy, &hostile()), Class::Older);
}

#[test]
fn a_conforming_pod_of_another_policy_is_no_finding() {
    let pod = marked(stored(complete_pod()), "0123456789abcdef");
    assert_eq!(class(&Policy::default(), &pod), Class::Conforms);
}

#[test]
fn what_has_ended_is_not_checked() {
    let policy = Policy::default();
    for (phase, expected) in [
        ("Succeeded", Class::Ended),
        ("Failed", Class::Ended),
        ("Pending", Class::Older),
        ("Unknown", Class::Older),
    ] {
        assert_eq!(scan(&policy, &hostile(), phase).0, expected, "{phase}");
    }
    let text = hostile().to_string();
    assert_eq!(classify(&policy, &pod_from_str(&text).unwrap(), None).class, Class::Older);
}

#[test]
fn only_a_mirror_that_a_node_owns_is_static() {
    let node = json!([{"apiVersion": "v1", "kind": "Node", "name": "node-1", "controller": true}]);
    let mirror = json!({"kubernetes.io/config.mirror": "0123456789abcdef"});
    let mut pod = hostile();
    pod["metadata"]["annotations"] = mirror;
    assert_eq!(class(&Policy::default(), &pod), Class::Older, "no owner");
    pod["metadata"]["ownerReferences"] = node;
    assert_eq!(class(&Policy::default(), &pod), Class::Static);
    pod["metadata"]["annotations"] = json!({});
    assert_eq!(class(&Policy::default(), &pod), Class::Older, "no mirror");
}

#[test]
fn every_mode_finds_the_same() {
    for spec in ["{mode: audit}", "{mode: warn}", "{mode: enforce}", "{mode: audit, fill: always}"] {
        let (class, violations, remaining) = scan(&policy(spec), &hostile(), "Running");
        assert_eq!(class, Class::Older, "{spec}");
        assert!(violations.iter().any(|rule| rule == "runtime-class"), "{spec}");
        assert_eq!(remaining, ["host-namespaces"], "{spec}");
    }
}

#[test]
fn a_policy_that_never_fills_denies_the_plain_pod_anew() {
    let (_, violations, remaining) = scan(&policy("{fill: never}"), &plain_pod(), "Running");
    assert_eq!(violations, remaining);
    assert!(!remaining.is_empty());
}

#[test]
fn a_rule_that_is_off_finds_nothing() {
    let mut pod = stored(complete_pod());
    pod["spec"]["activeDeadlineSeconds"] = json!(999_999);
    assert_eq!(class(&policy("{}"), &pod), Class::Older);
    assert_eq!(class(&policy("{rules: {active-deadline: \"off\"}}"), &pod), Class::Conforms);
}

#[test]
fn a_pod_that_fits_the_profile_of_some_user_conforms() {
    let policy = policy(
        "{profiles: [{name: builders, match: {users: [builder]}, spec: {lifecycle: {activeDeadlineSeconds: {max: 999999}}}}]}",
    );
    let mut pod = stored(complete_pod());
    pod["spec"]["activeDeadlineSeconds"] = json!(999_999);
    assert_eq!(class(&policy, &pod), Class::Conforms);
    pod["spec"]["activeDeadlineSeconds"] = json!(9_999_999);
    assert_eq!(class(&policy, &pod), Class::Older);
}

#[test]
fn an_owner_is_the_workload_that_people_wrote() {
    let owner_of = |kind: &str, name: &str, labels: Json| {
        let mut pod = plain_pod();
        pod["metadata"]["labels"] = labels;
        pod["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "x/v1", "kind": kind, "name": name, "controller": true}]);
        let text = pod.to_string();
        let Owner { kind, name } = owner(&pod_from_str(&text).unwrap());
        format!("{kind} {name}")
    };
    let hashed = json!({"pod-template-hash": "5d4f"});
    assert_eq!(owner_of("ReplicaSet", "my-web-5d4f", hashed.clone()), "Deployment my-web");
    assert_eq!(owner_of("ReplicaSet", "my-web", hashed), "ReplicaSet my-web");
    assert_eq!(owner_of("ReplicaSet", "web-5d4f", json!({})), "ReplicaSet web-5d4f");
    assert_eq!(owner_of("Job", "nightly-29383920", json!({})), "CronJob nightly");
    assert_eq!(owner_of("Job", "nightly-2938392", json!({})), "Job nightly-2938392");
    assert_eq!(owner_of("Workflow", "w", json!({})), "Workflow w");
    let text = plain_pod().to_string();
    assert_eq!(owner(&pod_from_str(&text).unwrap()), Owner { kind: "Pod".into(), name: "plain".into() });
}

#[test]
fn json_that_is_no_pod_is_a_finding_and_no_panic() {
    for text in ["null", "[]", "{}", r#"{"metadata": [], "spec": 1}"#] {
        let pod = pod_from_str(text).unwrap();
        assert!(classify(&Policy::default(), &pod, None).class.is_finding(), "{text}");
        assert_eq!(owner(&pod).kind, "Pod");
    }
}

#[test]
fn what_the_agents_of_a_network_record_in_a_placed_pod_is_no_finding() {
    let mut pod = stored(complete_pod());
    pod["metadata"]["annotations"] = json!({
        "cni.projectcalico.org/podIP": "10.0.0.7/32",
        "k8s.v1.cni.cncf.io/network-status": "[]",
        "k8s.ovn.org/pod-networks": "{}",
    });
    assert_eq!(class(&Policy::default(), &pod), Class::Conforms);
    pod["spec"]["nodeName"] = Json::Null;
    assert_eq!(class(&Policy::default(), &pod), Class::Older, "no agent has seen a Pod that is on no node");
}

#[test]
fn an_annotation_by_which_an_author_asks_for_a_network_is_a_finding() {
    for key in
        ["k8s.v1.cni.cncf.io/networks", "cni.projectcalico.org/ipAddrs", "v1.multus-cni.io/default-network"]
    {
        let mut pod = stored(complete_pod());
        pod["metadata"]["annotations"] = json!({key: "x"});
        assert_eq!(scan(&Policy::default(), &pod, "Running").1, ["annotations"], "{key}");
    }
}
