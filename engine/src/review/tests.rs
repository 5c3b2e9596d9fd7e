//! Reviews in, answers out, as the API server would see them.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value as Json, json};

use super::{Caller, Endpoint, Evaluator, Head, Outcome, Unread, WithoutPolicy, annotations, answer};
use crate::{
    policy::{PolicySet, Source},
    rules::testing::{complete_pod, plain_pod},
};

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

struct Told {
    response: Json,
    record: Json,
}

fn ask(policies: &PolicySet, endpoint: Endpoint, review: &Json) -> Told {
    ask_text(policies, endpoint, &review.to_string())
}

fn ask_text(policies: &PolicySet, endpoint: Endpoint, text: &str) -> Told {
    let answer = answer(policies, endpoint, None, text.as_bytes()).unwrap();
    let body: Json = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["kind"], "AdmissionReview");
    let mut line = Vec::new();
    answer.record.write_line(&mut line, "2026-11-24T12:00:00.000Z", 42);
    let record = if line.is_empty() { json!(null) } else { serde_json::from_slice(&line).unwrap() };
    Told { response: body["response"].clone(), record }
}

fn mutate(review: &Json) -> Told {
    ask(&PolicySet::builtin(), Endpoint::Mutate, review)
}

fn validate(review: &Json) -> Told {
    ask(&PolicySet::builtin(), Endpoint::Validate, review)
}

fn patched(pod: &Json, told: &Told) -> Json {
    assert_eq!(told.response["patchType"], "JSONPatch");
    let patch = STANDARD.decode(told.response["patch"].as_str().unwrap()).unwrap();
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &serde_json::from_slice::<json_patch::Patch>(&patch).unwrap()).unwrap();
    pod
}

#[test]
fn a_plain_pod_is_filled_and_the_filled_pod_passes_validation() {
    let told = mutate(&create(&plain_pod()));
    assert_eq!(told.response["allowed"], true);
    assert_eq!(told.response["uid"], "0a1b");
    let pod = patched(&plain_pod(), &told);
    assert_eq!(pod["spec"]["runtimeClassName"], "gvisor");
    assert_eq!(pod["metadata"]["annotations"]["sandgate.dev/policy"], "workflow-runner");
    assert_eq!(
        pod["metadata"]["annotations"]["sandgate.dev/policy-hash"],
        PolicySet::builtin().policies()[0].hash
    );
    let told = validate(&create(&pod));
    assert_eq!(told.response["allowed"], true);
    assert!(told.response.get("patch").is_none() && told.response.get("patchType").is_none());
    let again = mutate(&create(&pod));
    assert!(again.response.get("patch").is_none(), "the second round has nothing to add");
}

#[test]
fn a_complete_pod_gets_no_patch() {
    let told = mutate(&create(&complete_pod()));
    assert_eq!(told.response["allowed"], true);
    assert!(told.response.get("patch").is_none() && told.response.get("patchType").is_none());
}

#[test]
fn an_unfilled_pod_does_not_pass_validation() {
    assert_eq!(validate(&create(&plain_pod())).response["allowed"], false);
}

#[test]
fn a_refusal_names_rule_path_and_remedy_and_carries_no_patch() {
    let told = mutate(&create(&privileged()));
    let response = &told.response;
    assert_eq!(response["allowed"], false);
    assert_eq!(
        (&response["status"]["code"], &response["status"]["reason"]),
        (&json!(403), &json!("Forbidden"))
    );
    assert_eq!(
        response["status"]["message"],
        "policy \"workflow-runner\": spec.containers[0].securityContext.privileged is true, must be false or unset: remove privileged (privileged)"
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
fn all_violations_are_told_at_once() {
    let mut pod = privileged();
    pod["spec"]["hostPID"] = json!(true);
    pod["spec"]["volumes"].as_array_mut().unwrap().push(json!({"name": "h", "hostPath": {"path": "/"}}));
    let told = mutate(&create(&pod));
    assert_eq!(told.response["auditAnnotations"]["rules"], "privileged,host-namespaces,volume-types");
    assert_eq!(told.response["status"]["message"].as_str().unwrap().lines().count(), 4);
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
        "policyHash",
        "mode",
        "filled",
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
            "found": "true", "wanted": "false or unset", "remedy": "remove privileged"
        })
    );
}

#[test]
fn the_record_of_a_filled_pod_names_what_was_filled_and_no_secret() {
    let mut pod = plain_pod();
    pod["spec"]["containers"][0]["env"] = json!([{"name": "PASSWORD", "value": "hunter2"}]);
    let told = mutate(&create(&pod));
    let filled: Vec<&str> =
        told.record["filled"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    assert!(
        filled.contains(&"spec.runtimeClassName") && filled.contains(&"spec.containers[0].resources"),
        "{filled:?}"
    );
    assert!(!told.record.to_string().contains("hunter2"));
}

#[test]
fn an_update_that_changes_nothing_is_allowed_whatever_the_pod_violates() {
    assert_eq!(validate(&update(&privileged(), &privileged())).response["allowed"], true);
    assert_eq!(mutate(&update(&plain_pod(), &plain_pod())).response["allowed"], true);
}

#[test]
fn an_update_is_never_patched() {
    let told = mutate(&update(&plain_pod(), &plain_pod()));
    assert!(told.response.get("patch").is_none());
}

#[test]
fn an_update_that_adds_a_violation_is_refused_for_that_one() {
    let mut worse = plain_pod();
    worse["metadata"]["annotations"] = json!({"dev.gvisor.spec.rootfs.source": "/"});
    let told = validate(&update(&plain_pod(), &worse));
    assert_eq!(told.response["allowed"], false);
    assert_eq!(told.response["auditAnnotations"]["rules"], "gvisor-annotations");
}

#[test]
fn a_violation_with_another_value_is_a_new_one_however_long_or_deep_it_is() {
    let annotated = |value: &str| {
        let mut pod = plain_pod();
        pod["metadata"]["annotations"] = json!({"dev.gvisor.host-uds": format!("{}{value}", "a".repeat(90))});
        pod
    };
    let profiled = |profile: Json| {
        let mut pod = plain_pod();
        pod["spec"]["securityContext"] = json!({"seccompProfile": profile});
        pod
    };
    let unknown = |content: &str| {
        let mut pod = plain_pod();
        pod["spec"]["door"] = json!({"to": content});
        pod
    };
    for (old, new, rule) in [
        (annotated("x"), annotated("y"), "gvisor-annotations"),
        (profiled(json!({"type": "Unconfined"})), profiled(json!({})), "seccomp"),
        (unknown("a"), unknown("b"), "pod-schema"),
    ] {
        assert_eq!(validate(&update(&old, &old)).response["allowed"], true);
        assert_eq!(validate(&update(&old, &new)).response["auditAnnotations"]["rules"], rule);
    }
}

#[test]
fn taking_a_required_label_away_is_refused() {
    let mut pod = complete_pod();
    pod["metadata"]["labels"] = json!({"app": "other"});
    let told = validate(&update(&complete_pod(), &pod));
    assert_eq!(told.response["auditAnnotations"]["rules"], "labels");
}

#[test]
fn the_finalizers_of_a_pod_on_its_way_out_can_be_removed_whatever_it_violates() {
    let mut old = complete_pod();
    old["spec"]["hostPID"] = json!(true);
    old["metadata"]["deletionTimestamp"] = json!("2026-11-24T00:00:00Z");
    old["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let mut new = old.clone();
    new["metadata"]["finalizers"] = json!([]);
    assert_eq!(validate(&update(&old, &new)).response["allowed"], true);
}

/// It may run on for as long as the delete allows.
#[test]
fn a_pod_on_its_way_out_gets_no_worse() {
    let mut old = complete_pod();
    old["metadata"]["deletionTimestamp"] = json!("2026-11-24T00:00:00Z");
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({});
    assert_eq!(validate(&update(&old, &new)).response["allowed"], false);
}

#[test]
fn an_ephemeral_container_and_a_resize_are_judged() {
    let mut debugged = complete_pod();
    debugged["spec"]["ephemeralContainers"] =
        json!([{"name": "d", "image": "i", "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}}}]);
    let mut review = update(&complete_pod(), &debugged);
    review["request"]["subResource"] = json!("ephemeralcontainers");
    assert_eq!(validate(&review).response["allowed"], false);
    let mut resized = complete_pod();
    resized["spec"]["containers"][0]["resources"]["limits"]["cpu"] = json!("64");
    let mut review = update(&complete_pod(), &resized);
    review["request"]["subResource"] = json!("resize");
    assert_eq!(validate(&review).response["allowed"], false);
    review["request"]["subResource"] = json!("a-subresource-of-tomorrow");
    assert_eq!(validate(&review).response["allowed"], false);
}

#[test]
fn delete_connect_and_other_resources_are_allowed() {
    for (field, value) in
        [("operation", json!("DELETE")), ("operation", json!("CONNECT")), ("subResource", json!("eviction"))]
    {
        let mut review = create(&json!(null));
        review["request"][field] = value;
        let told = validate(&review);
        assert_eq!(told.response["allowed"], true);
        assert_eq!(told.record, json!(null), "no verdict, no record");
    }
    let mut review = create(&plain_pod());
    review["request"]["resource"] = json!({"group": "apps", "version": "v1", "resource": "deployments"});
    assert_eq!(validate(&review).response["allowed"], true);
}

#[test]
fn a_pod_is_judged_whatever_group_or_version_the_review_claims_unless_it_is_another_resource() {
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
    let told = mutate(&review);
    assert_eq!(told.response["allowed"], false);
    let message = told.response["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("metadata.namespace is \"default\", must be"), "{message}");
    assert!(message.contains("may not be loaded yet: try again"), "{message}");
    assert_eq!(told.response["status"]["details"]["causes"][0]["reason"], "namespace-policy");
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
fn every_reason_not_to_evaluate_is_a_denial_that_says_why() {
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
    let told = mutate(&create(&pod));
    assert_eq!(told.response["allowed"], false);
    assert!(told.response["status"]["message"].as_str().unwrap().contains("more than 250000 values"));
}

#[test]
fn the_requests_namespace_counts_not_the_pods() {
    let mut pod = privileged();
    pod["metadata"]["namespace"] = json!("default");
    assert_eq!(mutate(&create(&pod)).response["allowed"], false);
}

#[test]
fn mode_warn_fills_and_admits_with_warnings() {
    let warn = policies("warn");
    let told = ask(&warn, Endpoint::Mutate, &create(&plain_pod()));
    assert_eq!(patched(&plain_pod(), &told)["spec"]["runtimeClassName"], "gvisor");
    for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
        let told = ask(&warn, endpoint, &create(&privileged()));
        assert_eq!(told.response["allowed"], true);
        assert!(told.response.get("patch").is_none(), "half a repair could make an invalid object");
        let warning = told.response["warnings"][0].as_str().unwrap();
        assert!(
            warning.starts_with("sandgate would deny this: spec.containers[0].securityContext.privileged"),
            "{warning}"
        );
        assert_eq!(told.record["verdict"], "warned");
    }
}

#[test]
fn a_person_is_told_in_one_line_what_was_filled() {
    let told = ask(&policies("enforce"), Endpoint::Mutate, &create(&plain_pod()));
    let warnings = told.response["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0], "sandgate: filled runtimeClassName, affinity and 12 more for policy p");
}

#[test]
fn only_a_person_whose_pod_was_filled_is_told_so() {
    let silent = |policies: &PolicySet, endpoint, review: &Json| {
        let told = ask(policies, endpoint, review);
        assert_eq!(
            (&told.response["allowed"], told.response.get("warnings")),
            (&json!(true), None),
            "{review}"
        );
    };
    let enforce = policies("enforce");
    let mut by_account = create(&plain_pod());
    by_account["request"]["userInfo"]["username"] = json!("system:serviceaccount:argo:controller");
    silent(&enforce, Endpoint::Mutate, &by_account);
    let mut of_job = plain_pod();
    let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1", "controller": true});
    of_job["metadata"]["ownerReferences"] = json!([owner]);
    silent(&enforce, Endpoint::Mutate, &create(&of_job));
    silent(&enforce, Endpoint::Mutate, &create(&complete_pod()));
    silent(&enforce, Endpoint::Validate, &create(&complete_pod()));
    silent(&policies("audit"), Endpoint::Mutate, &create(&plain_pod()));
    let off = policies_of("warnings: {filled: false}");
    silent(&off, Endpoint::Mutate, &create(&plain_pod()));
}

#[test]
fn warnings_keep_to_what_the_api_server_takes() {
    let mut pod = complete_pod();
    let volumes = pod["spec"]["volumes"].as_array_mut().unwrap();
    for i in 0..200 {
        volumes.push(json!({"name": format!("v{i}"), format!("type{i}"): {}}));
    }
    let told = ask(&policies("warn"), Endpoint::Validate, &create(&pod));
    let warnings: Vec<usize> = told.response["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w.as_str().unwrap().chars().count())
        .collect();
    assert!(
        warnings.len() > 5
            && warnings.iter().all(|length| *length <= 256)
            && warnings.iter().sum::<usize>() <= 4096
    );
}

#[test]
fn mode_audit_touches_nothing_and_records_what_enforcing_would_do() {
    let audit = policies("audit");
    for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
        let told = ask(&audit, endpoint, &create(&plain_pod()));
        assert_eq!((&told.response["allowed"], told.response.get("patch")), (&json!(true), None));
        assert_eq!(told.record["verdict"], "admitted", "enforcing would have filled it");
        assert!(!told.record["filled"].as_array().unwrap().is_empty());
        let told = ask(&audit, endpoint, &create(&privileged()));
        assert_eq!((&told.response["allowed"], told.response.get("warnings")), (&json!(true), None));
        assert_eq!(told.record["verdict"], "would-deny");
        assert_eq!(told.record["violations"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn the_exempt_are_admitted_unfilled_and_recorded() {
    for spec in ["exempt: {users: [jane]}", "exempt: {groups: [dev]}"] {
        let told = ask(&policies_of(spec), Endpoint::Mutate, &create(&privileged()));
        assert_eq!((&told.response["allowed"], told.response.get("patch")), (&json!(true), None));
        assert_eq!(told.record["verdict"], "exempt");
    }
    let told =
        ask(&policies_of("exempt: {users: [jan], groups: [jane]}"), Endpoint::Mutate, &create(&privileged()));
    assert_eq!(told.response["allowed"], false);
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
fn what_is_no_review_is_an_error_that_says_why() {
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
        (json!({"operation": "create"}), "is none of CREATE"),
        (json!({"userInfo": {"groups": "system:masters"}}), "invalid type: string"),
    ] {
        let mut review = create(&complete_pod());
        review["request"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let told = mutate(&review);
        assert_eq!(told.response["allowed"], false);
        let message = told.response["status"]["message"].as_str().unwrap();
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn a_pod_that_cannot_be_read_without_doubt_is_refused_with_the_reason() {
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
            let told = ask_text(&PolicySet::builtin(), endpoint, &text);
            assert_eq!(told.response["allowed"], false);
            let message = told.response["status"]["message"].as_str().unwrap();
            assert!(message.contains(reason), "{message}");
        }
    }
}

#[test]
fn a_create_without_an_object_is_refused() {
    for object in [json!(null), json!("pod"), json!([]), json!(7)] {
        assert_eq!(mutate(&create(&object)).response["allowed"], false, "{object}");
    }
    let mut review = create(&plain_pod());
    review["request"].as_object_mut().unwrap().remove("object");
    assert_eq!(mutate(&review).response["allowed"], false);
}

#[test]
fn a_hundred_thousand_containers_are_refused_within_bounds() {
    let mut pod = plain_pod();
    pod["spec"]["containers"] = (0..100_000)
        .map(|i| json!({"name": format!("c{i}"), "securityContext": {"privileged": true}}))
        .collect();
    let told = mutate(&create(&pod));
    assert_eq!(told.response["allowed"], false);
    assert!(told.response.to_string().len() < 100_000);
}

/// More violations than are kept must not hide the ones that an update adds.
#[test]
fn an_update_of_a_pod_with_thousands_of_violations_adds_none() {
    let annotated = |count: usize| {
        let mut pod = complete_pod();
        let annotations = (0..count).map(|i| (format!("dev.gvisor.x{i:05}"), json!("1")));
        pod["metadata"]["annotations"] = Json::Object(annotations.collect());
        pod
    };
    let old = annotated(3000);
    let allowed = |new: &Json| validate(&update(&old, new)).response["allowed"].as_bool().unwrap();
    assert!(allowed(&old), "nothing is new");
    assert!(allowed(&annotated(2990)), "some are gone");
    assert!(!allowed(&annotated(3001)), "one more");
    let mut fewer = annotated(2990);
    fewer["spec"]["tolerations"].as_array_mut().unwrap().push(json!({"operator": "Exists"}));
    assert!(!allowed(&fewer), "another rule, although there are fewer in all");
    let mut changed = annotated(3000);
    changed["metadata"]["annotations"]["dev.gvisor.x02999"] = json!("2");
    assert!(!allowed(&changed), "another value beyond those that are kept");
}

#[test]
fn a_forged_stamp_is_set_right() {
    let mut pod = complete_pod();
    pod["metadata"]["annotations"] = json!({"sandgate.dev/policy": "none", "sandgate.dev/policy-hash": "0"});
    let told = mutate(&create(&pod));
    assert_eq!(patched(&pod, &told)["metadata"]["annotations"]["sandgate.dev/policy"], "workflow-runner");
}

#[test]
fn a_binding_is_judged_by_the_labels_and_annotations_that_it_carries() {
    let policies = policies("enforce");
    let bind = |resource: &str, subresource: &str, metadata: &Json| {
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": {"kind": "Node", "name": "n"}});
        let mut review = create(&binding);
        review["request"]["resource"]["resource"] = json!(resource);
        review["request"]["subResource"] = json!(subresource);
        [Endpoint::Mutate, Endpoint::Validate].map(|endpoint| {
            let body = answer(&policies, endpoint, None, review.to_string().as_bytes()).unwrap().body;
            serde_json::from_slice::<Json>(&body).unwrap()["response"].take()
        })
    };
    for (resource, subresource) in [("pods", "binding"), ("bindings", "")] {
        for harmless in [
            json!({"name": "main"}),
            json!({"name": "main", "labels": {"team": "a", "app": "workflow-runner"}, "annotations": {"gpu": "0"}}),
        ] {
            for response in bind(resource, subresource, &harmless) {
                assert_eq!(response["allowed"], true, "{response}");
                assert!(response.get("patch").is_none(), "a binding is not filled: {response}");
            }
        }
        for (metadata, rule) in [
            (json!({"name": "main", "labels": {"app": "web"}}), "labels"),
            (
                json!({"name": "main", "annotations": {"dev.gvisor.flag.host-uds": "all"}}),
                "gvisor-annotations",
            ),
            (json!({"name": "main", "annotations": {"kubernetes.io/config.mirror": "x"}}), "mirror-pod"),
        ] {
            for response in bind(resource, subresource, &metadata) {
                assert_eq!(response["allowed"], false, "{response}");
                let causes = response["status"]["details"]["causes"].as_array().unwrap();
                assert_eq!(causes.len(), 1, "nothing else is held against it: {causes:?}");
                assert_eq!(causes[0]["reason"], rule);
            }
        }
    }
}

fn findings(policies: &PolicySet, endpoint: Endpoint, review: &Json) -> (usize, usize, bool) {
    let text = review.to_string();
    let record = answer(policies, endpoint, None, text.as_bytes()).unwrap().record;
    (record.violations().len(), record.findings.forgiven.len(), record.is_escape())
}

/// The Pod of an escape: stored, although it violates the policy.
fn escaped() -> Json {
    let mut pod = privileged();
    pod["metadata"]["uid"] = json!("5f0e");
    pod["spec"]["nodeName"] = json!("node-1");
    pod
}

#[test]
fn an_update_of_a_pod_that_should_not_be_there_is_an_escape() {
    let mut labelled = escaped();
    labelled["metadata"]["labels"]["team"] = json!("a");
    let review = update(&escaped(), &labelled);
    assert_eq!(findings(&PolicySet::builtin(), Endpoint::Validate, &review), (0, 1, true));
    let (policies, text) = (PolicySet::builtin(), review.to_string());
    let record = answer(&policies, Endpoint::Validate, None, text.as_bytes()).unwrap().record;
    assert_eq!((record.pod_uid(), &*record.forgiven_rules()), ("5f0e", "privileged"));
    let (_, forgiven, is_escape) = findings(&PolicySet::builtin(), Endpoint::Mutate, &review);
    assert_eq!((forgiven, is_escape), (1, false), "the other side counts it");
}

#[test]
fn an_update_that_is_refused_may_be_one_of_an_escaped_pod_too() {
    let mut worse = escaped();
    worse["spec"]["hostPID"] = json!(true);
    let found = findings(&PolicySet::builtin(), Endpoint::Validate, &update(&escaped(), &worse));
    assert_eq!(found, (1, 1, true));
}

/// Every Pod that runs has a node, which none may bring along.
#[test]
fn a_pod_that_the_scheduler_has_placed_is_no_escape() {
    let mut placed = complete_pod();
    placed["spec"]["nodeName"] = json!("node-1");
    let found = findings(&PolicySet::builtin(), Endpoint::Validate, &update(&placed, &placed));
    assert_eq!(found, (0, 0, false));
}

#[test]
fn an_escape_that_is_only_tried_or_not_enforced_or_mended_does_not_count() {
    let mut review = update(&escaped(), &escaped());
    review["request"]["dryRun"] = json!(true);
    assert!(!findings(&PolicySet::builtin(), Endpoint::Validate, &review).2);
    let review = update(&escaped(), &escaped());
    for mode in ["warn", "audit"] {
        assert!(!findings(&policies(mode), Endpoint::Validate, &review).2, "{mode}");
    }
    let exempt = policies_of("exempt: {users: [jane]}");
    assert!(!findings(&exempt, Endpoint::Validate, &review).2);
    let review = update(&escaped(), &complete_pod());
    assert!(!findings(&PolicySet::builtin(), Endpoint::Validate, &review).2);
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
    let told = ask(&policies("enforce"), Endpoint::Mutate, &create(&privileged()));
    let annotations = told.response["auditAnnotations"].as_object().unwrap();
    let mut keys: Vec<&str> = annotations.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [annotations::POLICY, annotations::POLICY_HASH, annotations::RULES, annotations::VERDICT]
    );
}
