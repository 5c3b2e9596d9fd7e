//! Tests of the content of an answer and its record, and of the reviews that are answered.

use super::*;

#[test]
fn a_plain_pod_is_filled_and_the_filled_pod_passes_validation() {
    let answered = mutate(&create(&plain_pod()));
    assert_eq!(answered.response["allowed"], true);
    assert_eq!(answered.response["uid"], "0a1b");
    let pod = patched(&plain_pod(), &answered);
    assert_eq!(pod["spec"]["runtimeClassName"], "gvisor");
    assert_eq!(pod["metadata"]["annotations"]["sandgate.dev/policy"], "workflow-runner");
    assert_eq!(
        pod["metadata"]["annotations"]["sandgate.dev/policy-hash"],
        PolicySet::builtin().policies()[0].hash
    );
    let answered = validate(&create(&pod));
    assert_eq!(answered.response["allowed"], true);
    assert!(answered.response.get("patch").is_none() && answered.response.get("patchType").is_none());
    let again = mutate(&create(&pod));
    assert!(again.response.get("patch").is_none(), "the second round has nothing to add");
}

#[test]
fn a_complete_pod_gets_no_patch() {
    let answered = mutate(&create(&complete_pod()));
    assert_eq!(answered.response["allowed"], true);
    assert!(answered.response.get("patch").is_none() && answered.response.get("patchType").is_none());
}

#[test]
fn an_unfilled_pod_does_not_pass_validation() {
    assert_eq!(validate(&create(&plain_pod())).response["allowed"], false);
}

#[test]
fn a_denial_names_rule_path_and_remedy_and_carries_no_patch() {
    let answered = mutate(&create(&privileged()));
    let response = &answered.response;
    assert_eq!(response["allowed"], false);
    assert_eq!(
        (&response["status"]["code"], &response["status"]["reason"]),
        (&json!(403), &json!("Forbidden"))
    );
    assert_eq!(
        response["status"]["message"],
        "policy \"workflow-runner\": spec.containers[0].securityContext.privileged is true, must be false or unset: remove privileged (privileged)\nTo fix: sandgate fix FILE. The rule: sandgate explain privileged"
    );
    assert_eq!(
        response["status"]["details"]["causes"][0]["field"],
        "spec.containers[0].securityContext.privileged"
    );
    assert_eq!(response["auditAnnotations"]["verdict"], "denied");
    assert_eq!(response["auditAnnotations"]["rules"], "privileged");
    assert!(response.get("patch").is_none());
}

#[test]
fn all_violations_are_listed_at_once() {
    let mut pod = privileged();
    pod["spec"]["hostPID"] = json!(true);
    pod["spec"]["volumes"].as_array_mut().unwrap().push(json!({"name": "h", "hostPath": {"path": "/"}}));
    let answered = mutate(&create(&pod));
    assert_eq!(answered.response["auditAnnotations"]["rules"], "privileged,host-namespaces,volume-types");
    let message = answered.response["status"]["message"].as_str().unwrap();
    assert_eq!(message.lines().count(), 5, "{message}");
    assert!(message.ends_with("\nTo fix: sandgate fix FILE. Each rule: sandgate explain RULE"), "{message}");
}

/// A terminal that shows the trail must not obey a name, and nothing of the name may be lost.
#[test]
fn the_record_escapes_what_could_forge_a_line() {
    let image = "registry.example.com/a\u{7f}\u{85}\u{9b}2J\u{202e}\u{2028}ß\n";
    let mut pod = privileged();
    pod["spec"]["containers"][0]["image"] = json!(image);
    let text = create(&pod).to_string();
    let policies = PolicySet::builtin();
    let answer = answer(&policies, Endpoint::Mutate, None, text.as_bytes()).unwrap();
    let mut line = Vec::new();
    answer.record.write_line(&mut line, "T", 42);
    let line = String::from_utf8(line).unwrap();
    assert!(line.contains(r"a\u007f\u0085\u009b2J\u202e\u2028ß\n"), "{line}");
    assert_eq!(serde_json::from_str::<Json>(&line).unwrap()["images"][0], image);
}

#[test]
fn the_record_has_the_promised_fields_in_order() {
    let text = create(&privileged()).to_string();
    let policies = PolicySet::builtin();
    let answer = answer(&policies, Endpoint::Mutate, None, text.as_bytes()).unwrap();
    let mut line = Vec::new();
    answer.record.write_line(&mut line, "T", 42);
    let line = String::from_utf8(line).unwrap();
    let expected = [
        "time",
        "cluster",
        "instance",
        "verdict",
        "endpoint",
        "authenticated",
        "uid",
        "dryRun",
        "operation",
        "resource",
        "subresource",
        "namespace",
        "name",
        "generateName",
        "owner",
        "user",
        "groups",
        "serviceAccount",
        "policy",
        "profile",
        "exceptions",
        "policyHash",
        "mode",
        "filled",
        "clamped",
        "tokenRemoved",
        "violations",
        "forgiven",
        "candidate",
        "images",
        "durationMicros",
    ];
    let mut position = 0;
    for field in expected {
        let found = line[position..]
            .find(&format!("\"{field}\":"))
            .unwrap_or_else(|| panic!("{field} comes in its order"));
        position += found;
    }
    assert!(line.ends_with('\n') && line.matches('\n').count() == 1);
    let record: Json = serde_json::from_str(&line).unwrap();
    assert_eq!(record["user"], "jane");
    assert_eq!(
        record["violations"][0],
        json!({
            "rule": "privileged", "path": "spec.containers[0].securityContext.privileged",
            "level": "enforce", "found": "true", "wanted": "false or unset", "remedy": "remove privileged"
        })
    );
}

#[test]
fn the_record_of_a_filled_pod_names_what_was_filled_and_no_secret() {
    let mut pod = plain_pod();
    pod["spec"]["containers"][0]["env"] = json!([{"name": "PASSWORD", "value": "hunter2"}]);
    let answered = mutate(&create(&pod));
    let filled: Vec<&str> =
        answered.record["filled"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    assert!(
        filled.contains(&"spec.runtimeClassName") && filled.contains(&"spec.containers[0].resources"),
        "{filled:?}"
    );
    assert!(!answered.record.to_string().contains("hunter2"));
}

#[test]
fn delete_connect_and_other_resources_are_allowed() {
    for (field, value) in
        [("operation", json!("DELETE")), ("operation", json!("CONNECT")), ("subResource", json!("eviction"))]
    {
        let mut review = create(&json!(null));
        review["request"][field] = value;
        let answered = validate(&review);
        assert_eq!(answered.response["allowed"], true);
        assert_eq!(answered.record, json!(null), "no verdict, no record");
    }
    let mut review = create(&plain_pod());
    review["request"]["resource"] = json!({"group": "apps", "version": "v1", "resource": "deployments"});
    assert_eq!(validate(&review).response["allowed"], true);
}

#[test]
fn a_pod_is_evaluated_whatever_group_or_version_the_review_claims_unless_it_is_another_resource() {
    for resource in [json!({"group": "", "version": "v2", "resource": "pods"}), json!({})] {
        let mut review = create(&privileged());
        review["request"]["resource"] = resource;
        assert_eq!(validate(&review).response["allowed"], false);
    }
}

#[test]
fn a_namespace_without_a_policy_is_denied_with_what_to_do() {
    let mut review = create(&complete_pod());
    review["request"]["namespace"] = json!("default");
    let answered = mutate(&review);
    assert_eq!(answered.response["allowed"], false);
    let message = answered.response["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("metadata.namespace is \"default\", must be"), "{message}");
    assert!(message.contains("may not be loaded yet: try again"), "{message}");
    assert_eq!(answered.response["status"]["details"]["causes"][0]["reason"], "namespace-policy");
    review["request"]["operation"] = json!("DELETE");
    assert_eq!(mutate(&review).response["allowed"], true);
}

#[test]
fn a_namespace_without_a_policy_is_allowed_and_left_alone_if_asked_for() {
    let policies = PolicySet::builtin();
    let evaluator = Evaluator {
        policies: &policies,
        path_policy: None,
        without_policy: WithoutPolicy::Allow,
        caller: Caller::Unasked,
    };
    let mut review = create(&privileged());
    review["request"]["namespace"] = json!("default");
    let text = review.to_string();
    let answer = evaluator.answer(Endpoint::Mutate, text.as_bytes()).unwrap();
    let body: Json = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["response"]["allowed"], true);
    assert!(body["response"].get("patch").is_none());
    assert_eq!(answer.record.outcome, Outcome::NoPolicy);
}

#[test]
fn a_review_that_cannot_be_read_is_denied_by_its_head() {
    let review = create(&complete_pod()).to_string();
    let mut not_text = review.clone().into_bytes();
    let at = review.find("restartPolicy").unwrap();
    not_text[at] = 0xff;
    for body in [review.as_bytes()[..review.len() - 1].to_vec(), not_text] {
        for (mode, allowed) in [("enforce", false), ("warn", true), ("audit", true)] {
            let policies = policies(mode);
            let answer = answer(&policies, Endpoint::Validate, None, &body).unwrap();
            let answered: Json = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(answered["response"]["allowed"], allowed, "{mode}");
            assert_eq!(answered["response"]["uid"], "0a1b", "{mode}");
            assert_eq!(answered["response"]["warnings"].is_array(), mode == "warn", "{answered}");
            assert!(!answer.record.violations().is_empty(), "{mode}");
            assert_eq!(&*answer.record.request.user, "jane");
        }
    }
}

#[test]
fn every_reason_not_to_evaluate_is_a_denial_with_its_reason() {
    let review = create(&complete_pod()).to_string();
    let policies = PolicySet::builtin();
    let evaluator = Evaluator {
        policies: &policies,
        path_policy: None,
        without_policy: WithoutPolicy::Deny,
        caller: Caller::Unasked,
    };
    for (unread, reason) in [
        (Unread::TooLarge(8_388_608), "in a review of more than 8388608 bytes"),
        (Unread::NotReceived(4500), "not received within 4500 ms"),
        (Unread::NoBudget, "request body budget is exhausted"),
        (Unread::Interrupted, "cut off"),
        (Unread::NotEvaluated, "too slow to evaluate"),
        (Unread::Panicked, "sandgate failed"),
    ] {
        let head = Head::read(&review.as_bytes()[..review.len() - 1]).unwrap();
        let answer = evaluator.answer_head(Endpoint::Mutate, head, unread);
        assert_eq!(answer.record.outcome, Outcome::Denied);
        let message = String::from_utf8(answer.body).unwrap();
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn too_many_values_are_denied() {
    let mut pod = complete_pod();
    pod["spec"]["containers"][0]["env"] = vec![json!({}); 640_000].into();
    let answered = mutate(&create(&pod));
    assert_eq!(answered.response["allowed"], false);
    assert!(answered.response["status"]["message"].as_str().unwrap().contains("more than 250000 values"));
}

#[test]
fn the_requests_namespace_counts_not_the_pods() {
    let mut pod = privileged();
    pod["metadata"]["namespace"] = json!("default");
    assert_eq!(mutate(&create(&pod)).response["allowed"], false);
}

#[test]
fn the_old_version_of_the_review_is_answered_in_kind() {
    let mut review = create(&plain_pod());
    review["apiVersion"] = json!("admission.k8s.io/v1beta1");
    let policies = PolicySet::builtin();
    let text = review.to_string();
    let body: Json =
        serde_json::from_slice(&answer(&policies, Endpoint::Mutate, None, text.as_bytes()).unwrap().body)
            .unwrap();
    assert_eq!(body["apiVersion"], "admission.k8s.io/v1beta1");
    assert_eq!(body["response"]["allowed"], true);
}

#[test]
fn anything_but_a_review_is_an_error_with_its_reason() {
    let error =
        |text: &[u8]| answer(&PolicySet::builtin(), Endpoint::Mutate, None, text).unwrap_err().to_string();
    assert_eq!(error(b"hello"), "not an AdmissionReview: expected value at line 1 column 1");
    assert_eq!(error(b"{\"kind\":\"\xff\"}"), "not an AdmissionReview: not UTF-8, at byte 9");
    assert_eq!(error(br#"{"kind":"Pod"}"#), "not an AdmissionReview: kind is \"Pod\"");
    assert_eq!(error(b"{}"), "not an AdmissionReview: kind is unset");
    let with = |change: &dyn Fn(&mut Json)| {
        let mut review = create(&plain_pod());
        change(&mut review);
        error(review.to_string().as_bytes())
    };
    assert!(
        with(&|r| r["apiVersion"] = json!("admission.k8s.io/v2"))
            .contains("unsupported apiVersion \"admission.k8s.io/v2\"")
    );
    assert!(with(&|r| r["request"] = json!(null)).contains("has no request"));
    assert!(with(&|r| r["request"]["uid"] = json!("")).contains("request.uid is empty"));
}

#[test]
fn a_review_with_a_broken_part_is_denied_with_the_reason() {
    for (change, reason) in [
        (json!({"operation": "create"}), "is not one of CREATE"),
        (json!({"userInfo": {"groups": "system:masters"}}), "invalid type: string"),
    ] {
        let mut review = create(&complete_pod());
        review["request"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answered = mutate(&review);
        assert_eq!(answered.response["allowed"], false);
        let message = answered.response["status"]["message"].as_str().unwrap();
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn a_pod_that_cannot_be_read_without_doubt_is_denied_with_the_reason() {
    let review = create(&complete_pod()).to_string();
    let twice = review.replacen(
        r#""restartPolicy":"Never""#,
        r#""restartPolicy":"Never","restartPolicy":"Always""#,
        1,
    );
    let deep = review.replacen(
        r#""restartPolicy":"Never""#,
        &format!(r#""restartPolicy":{}1{}"#, "[".repeat(200), "]".repeat(200)),
        1,
    );
    let huge = review.replacen(r#""activeDeadlineSeconds":600"#, r#""activeDeadlineSeconds":1e999999999"#, 1);
    for (text, reason) in
        [(twice, "duplicate key \"restartPolicy\""), (deep, "recursion limit"), (huge, "number out of range")]
    {
        for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
            let answered = ask_text(&PolicySet::builtin(), endpoint, &text);
            assert_eq!(answered.response["allowed"], false);
            let message = answered.response["status"]["message"].as_str().unwrap();
            assert!(message.contains(reason), "{message}");
        }
    }
}

#[test]
fn a_create_without_an_object_is_denied() {
    for object in [json!(null), json!("pod"), json!([]), json!(7)] {
        assert_eq!(mutate(&create(&object)).response["allowed"], false, "{object}");
    }
    let mut review = create(&plain_pod());
    review["request"].as_object_mut().unwrap().remove("object");
    assert_eq!(mutate(&review).response["allowed"], false);
}

#[test]
fn a_hundred_thousand_containers_are_denied_within_bounds() {
    let mut pod = plain_pod();
    pod["spec"]["containers"] = (0..100_000)
        .map(|i| json!({"name": format!("c{i}"), "securityContext": {"privileged": true}}))
        .collect();
    let answered = mutate(&create(&pod));
    assert_eq!(answered.response["allowed"], false);
    assert!(answered.response.to_string().len() < 100_000);
}

#[test]
fn a_forged_stamp_is_set_right() {
    let mut pod = complete_pod();
    pod["metadata"]["annotations"] = json!({"sandgate.dev/policy": "none", "sandgate.dev/policy-hash": "0"});
    let answered = mutate(&create(&pod));
    assert_eq!(patched(&pod, &answered)["metadata"]["annotations"]["sandgate.dev/policy"], "workflow-runner");
}

#[test]
fn what_is_filled_goes_out_only_with_a_patch() {
    let patched = |policies: &PolicySet, endpoint, review: &Json| {
        let text = review.to_string();
        answer(policies, endpoint, None, text.as_bytes()).unwrap().record.is_patched()
    };
    let plain = create(&plain_pod());
    assert!(patched(&PolicySet::builtin(), Endpoint::Mutate, &plain));
    assert!(!patched(&PolicySet::builtin(), Endpoint::Validate, &plain));
    assert!(!patched(&policies("audit"), Endpoint::Mutate, &plain));
    assert!(!patched(&PolicySet::builtin(), Endpoint::Mutate, &create(&privileged())));
}

#[test]
fn words_of_records_are_read_back() {
    for outcome in Outcome::ALL {
        assert_eq!(outcome.as_str().parse(), Ok(outcome));
    }
    for endpoint in Endpoint::ALL {
        assert_eq!(endpoint.as_str().parse(), Ok(endpoint));
    }
    let error = "labelled".parse::<Endpoint>().unwrap_err();
    assert_eq!(error.to_string(), "\"labelled\" is not one of: mutate, validate");
}

#[test]
fn audit_annotations_have_the_keys_of_the_module() {
    let answered = ask(&policies("enforce"), Endpoint::Mutate, &create(&privileged()));
    let annotations = answered.response["auditAnnotations"].as_object().unwrap();
    let mut keys: Vec<&str> = annotations.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [annotations::POLICY, annotations::POLICY_HASH, annotations::RULES, annotations::VERDICT]
    );
}
