//! Policies that only warn or only record: nothing is denied, and nothing is changed that violates the policy.

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use sandgate_engine::{policy::PolicySet, review::Endpoint};
use serde_json::{Value as Json, json};

use super::{
    CLIENTS,
    answers::Answer,
    drawn,
    examine::to_send,
    fewer_pods,
    fixture::{Fixture, How, Proof},
};
use crate::{
    apiserver::{create, items},
    generator::{Case, yaml},
    oracle,
};

/// Only sandgate may deny here.
const PRIVILEGED: &str = "privileged";

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_audits_leaves_everything_as_it_would_be_without_it() {
    let proof = Proof { namespace: "audited", spec: json!({"mode": "audit"}) };
    let fixture = Fixture::new(proof, PRIVILEGED).await;
    let mut violations = 0;
    for (case, guarded, open) in compared(&fixture).await {
        match (&guarded, &open) {
            (Answer::Stored { pod, .. }, Answer::Stored { pod: expected, .. }) => {
                assert_same(pod, expected, &case);
                violations += usize::from(is_denied_elsewhere(pod));
            }
            (Answer::Denied(denial), Answer::Denied(expected)) => {
                let expected = expected.to_string().replace(&fixture.open, &fixture.guarded);
                let denial = denial.to_string();
                assert_eq!(in_any_order(&denial), in_any_order(&expected), "{case:?}");
            }
            (Answer::Denied(denial), _) => panic!("only here: {denial}\n{case:?}"),
            (Answer::Stored { .. }, Answer::Denied(denial)) => panic!("not here: {denial}\n{case:?}"),
        }
    }
    println!("audit: {violations} Pods stored as they were, which violate the policy");
    assert!(violations * 20 > fewer_pods(), "only {violations} violated the policy");
}

/// The API server reports several faults of a Pod in no certain order.
fn in_any_order(denial: &str) -> Vec<&str> {
    let mut words: Vec<&str> = denial.split([' ', ',', '[', ']']).filter(|word| !word.is_empty()).collect();
    words.sort_unstable();
    words
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_warns_fills_what_it_would_admit_and_leaves_the_rest_as_it_is() {
    let proof = Proof { namespace: "warned", spec: json!({"mode": "warn", "fill": "always"}) };
    let fixture = Fixture::new(proof, PRIVILEGED).await;
    let (mut filled, mut violations) = (0, 0);
    for (case, guarded, open) in compared(&fixture).await {
        match (&guarded, &open) {
            (Answer::Stored { pod, .. }, _) if is_sound(pod) => filled += 1,
            (Answer::Stored { pod, .. }, Answer::Stored { pod: expected, .. }) => {
                assert_same(pod, expected, &case);
                violations += 1;
            }
            (Answer::Stored { pod, .. }, _) => panic!("half filled: {}\n{case:?}", yaml(pod)),
            (Answer::Denied(denial), Answer::Stored { .. }) => panic!("only here: {denial}\n{case:?}"),
            (Answer::Denied(_), Answer::Denied(_)) => {}
        }
    }
    println!("warn: {filled} Pods filled, {violations} stored as they were");
    assert!(filled * 5 > fewer_pods(), "only {filled} were filled");
    assert!(violations * 20 > fewer_pods(), "only {violations} violated the policy");
}

/// What becomes of each Pod with the policy and without it.
async fn compared(fixture: &Fixture) -> Vec<(Case, Answer, Answer)> {
    let each = stream::iter(drawn(fewer_pods())).map(async |(number, case)| {
        let (how, pod) = (How::of(number), to_send(case.pod(), number));
        let guarded = fixture.send(&fixture.guarded, &pod, how).await;
        let open = fixture.send(&fixture.open, &pod, how).await;
        (case, guarded, open)
    });
    each.buffer_unordered(CLIENTS).collect().await
}

fn is_sound(pod: &Json) -> bool {
    serde_json::from_value::<Pod>(pod.clone()).is_ok_and(|pod| oracle::faults(&pod).is_empty())
}

fn is_denied_elsewhere(pod: &Json) -> bool {
    !create(&PolicySet::builtin(), Endpoint::Mutate, pod).allowed
}

#[track_caller]
fn assert_same(pod: &Json, expected: &Json, case: &Case) {
    let (pod, expected) = (without_accidents(pod), without_accidents(expected));
    assert!(pod == expected, "{}\nis not\n{}\n{case:?}", yaml(&pod), yaml(&expected));
}

/// Without what differs between any two Pods.
fn without_accidents(pod: &Json) -> Json {
    let mut pod = pod.clone();
    let metadata = pod["metadata"].as_object_mut().expect("a stored Pod has metadata");
    for field in [
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        metadata.remove(field);
    }
    for condition in items(&mut pod["status"], "conditions") {
        condition["lastTransitionTime"].take();
    }
    name_token_volumes(&mut pod["spec"]);
    pod
}

/// The API server draws the last letters of their names.
fn name_token_volumes(spec: &mut Json) {
    let mut text = spec.to_string();
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        let name = volume["name"].as_str().unwrap_or_default();
        if name.starts_with("kube-api-access-") {
            text = text.replace(name, "kube-api-access-");
        }
    }
    *spec = serde_json::from_str(&text).expect("names have no quotes");
}
