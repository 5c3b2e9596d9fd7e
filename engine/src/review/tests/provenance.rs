//! The annotations that name the policy of a Pod.

use super::*;
use crate::review::{HASH_ANNOTATION, POLICY_ANNOTATION};

fn stamped(policy: &str, hash: &str) -> Json {
    let mut pod = complete_pod();
    pod["metadata"]["annotations"] = json!({POLICY_ANNOTATION: policy, HASH_ANNOTATION: hash});
    pod
}

#[test]
fn a_create_gets_the_right_annotations_whatever_it_brings_along() {
    let policies = policies("enforce");
    let hash = policies.policies()[0].hash.as_str();
    for forged in [stamped("none", "0"), stamped("p", "0"), stamped("other", hash)] {
        let answered = ask(&policies, Endpoint::Mutate, &create(&forged));
        let annotations = &patched(&forged, &answered)["metadata"]["annotations"];
        assert_eq!(annotations, &json!({POLICY_ANNOTATION: "p", HASH_ANNOTATION: hash}));
    }
    let answered = ask(&policies, Endpoint::Mutate, &create(&stamped("p", hash)));
    assert!(!is_patched(&answered), "they are right");
}

#[test]
fn a_create_that_is_not_filled_is_denied_for_annotations_of_another_policy() {
    let never = policies_of("fill: never");
    let answered = ask(&never, Endpoint::Mutate, &create(&stamped("approved", "0")));
    assert_eq!(answered.response["allowed"], false);
    assert_eq!(rules_of(&answered.record["violations"]), ["provenance", "provenance"]);
    let never_in_audit = policies_of("fill: never, mode: audit");
    let answered = ask(&never_in_audit, Endpoint::Mutate, &create(&stamped("approved", "0")));
    assert_eq!(answered.record["verdict"], "would-deny");
}

/// Replicas load a changed policy one after the other, so one may validate what another has filled.
#[test]
fn the_hash_of_another_replica_is_admitted_at_validate() {
    let answered = ask(&policies("enforce"), Endpoint::Validate, &create(&stamped("p", "0123456789abcdef")));
    assert_eq!(answered.response["allowed"], true);
}

#[test]
fn an_update_that_changes_an_annotation_is_denied() {
    let old = stamped("p", "0123456789abcdef");
    let mut removed = old.clone();
    removed["metadata"]["annotations"].as_object_mut().unwrap().remove(HASH_ANNOTATION);
    for (old, new, key) in [
        (&old, &stamped("approved-by-security", "0123456789abcdef"), POLICY_ANNOTATION),
        (&old, &stamped("p", "1"), HASH_ANNOTATION),
        (&old, &removed, HASH_ANNOTATION),
        (&removed, &old, HASH_ANNOTATION),
    ] {
        for endpoint in Endpoint::ALL {
            let answered = ask(&policies("enforce"), endpoint, &update(old, new));
            assert_eq!(answered.response["allowed"], false);
            let message = answered.response["status"]["message"].as_str().unwrap();
            assert!(message.contains(&format!("metadata.annotations[{key}] is ")), "{message}");
            assert_eq!(rules_of(&answered.record["violations"]), ["provenance"]);
        }
    }
    let mut labelled = old.clone();
    labelled["metadata"]["labels"]["team"] = json!("a");
    assert_eq!(validate(&update(&old, &labelled)).response["allowed"], true);
}

#[test]
fn an_annotation_that_is_changed_is_warned_of_or_recorded_by_the_mode() {
    let review = update(&stamped("p", "0"), &stamped("q", "0"));
    for (mode, verdict) in [("warn", "warned"), ("audit", "would-deny")] {
        let answered = ask(&policies(mode), Endpoint::Validate, &review);
        assert_eq!(
            (&answered.response["allowed"], answered.record["verdict"].as_str()),
            (&json!(true), Some(verdict))
        );
    }
}
