//! Each cell of the table of verdicts: operation and endpoint against mode; then `fill`, rule levels, candidate and exempt.

use super::*;

fn verdict(policies: &PolicySet, endpoint: Endpoint, review: &Json) -> (String, bool) {
    let answered = ask(policies, endpoint, review);
    let verdict = answered.record["verdict"].as_str().unwrap_or("none").to_owned();
    (verdict, answered.response["allowed"].as_bool().unwrap())
}

#[test]
fn create_at_mutate_in_enforce_is_filled() {
    let answered = ask(&policies("enforce"), Endpoint::Mutate, &create(&plain_pod()));
    assert_eq!(answered.record["verdict"], "admitted");
    assert_eq!(patched(&plain_pod(), &answered)["spec"]["runtimeClassName"], "gvisor");
}

#[test]
fn create_at_mutate_in_enforce_is_denied_if_a_violation_remains() {
    let answered = ask(&policies("enforce"), Endpoint::Mutate, &create(&plain_and_privileged()));
    assert_eq!((&answered.response["allowed"], is_patched(&answered)), (&json!(false), false));
    assert_eq!(answered.record["verdict"], "denied");
    assert_eq!(rules_of(&answered.record["violations"]), ["privileged"], "what was filled violates nothing");
}

#[test]
fn create_at_mutate_in_warn_is_untouched_and_warned_of_what_would_be_filled_and_denied() {
    let warn = policies("warn");
    let answered = ask(&warn, Endpoint::Mutate, &create(&plain_pod()));
    assert_eq!((&answered.response["allowed"], is_patched(&answered)), (&json!(true), false));
    let warnings = warnings_of(&answered);
    assert!(
        warnings.len() == 1 && warnings[0].starts_with("sandgate: would fill runtimeClassName"),
        "{warnings:?}"
    );
    assert_eq!(answered.record["verdict"], "admitted", "enforcing would have filled it");
    assert!(!answered.record["filled"].as_array().unwrap().is_empty());

    let answered = ask(&warn, Endpoint::Mutate, &create(&plain_and_privileged()));
    assert_eq!((&answered.response["allowed"], is_patched(&answered)), (&json!(true), false));
    let warnings = warnings_of(&answered);
    assert!(
        warnings[1].starts_with(
            "sandgate would deny this: spec.containers[0].securityContext.privileged is true, must be"
        ),
        "{warnings:?}"
    );
    assert_eq!(answered.record["verdict"], "warned");
    assert_eq!(rules_of(&answered.record["violations"]), ["privileged"]);
}

#[test]
fn create_at_mutate_in_audit_is_untouched_and_recorded() {
    let audit = policies("audit");
    for (pod, verdict, rules) in
        [(plain_pod(), "admitted", vec![]), (plain_and_privileged(), "would-deny", vec!["privileged"])]
    {
        let answered = ask(&audit, Endpoint::Mutate, &create(&pod));
        assert_eq!((&answered.response["allowed"], is_patched(&answered)), (&json!(true), false));
        assert_eq!(warnings_of(&answered), Vec::<&str>::new());
        assert_eq!(answered.record["verdict"], verdict);
        assert_eq!(rules_of(&answered.record["violations"]), rules);
        assert!(!answered.record["filled"].as_array().unwrap().is_empty());
    }
}

#[test]
fn create_at_validate_in_enforce_is_denied_for_violations() {
    assert_eq!(
        verdict(&policies("enforce"), Endpoint::Validate, &create(&privileged())),
        ("denied".into(), false)
    );
    assert_eq!(
        verdict(&policies("enforce"), Endpoint::Validate, &create(&plain_pod())),
        ("denied".into(), false),
        "nothing is filled here"
    );
    assert_eq!(
        verdict(&policies("enforce"), Endpoint::Validate, &create(&complete_pod())),
        ("admitted".into(), true)
    );
}

#[test]
fn create_at_validate_in_warn_is_admitted_with_warnings() {
    let answered = ask(&policies("warn"), Endpoint::Validate, &create(&privileged()));
    assert_eq!((&answered.response["allowed"], is_patched(&answered)), (&json!(true), false));
    assert_eq!(warnings_of(&answered).len(), 1);
    assert_eq!(answered.record["verdict"], "warned");
}

#[test]
fn create_at_validate_in_audit_is_admitted_and_recorded() {
    let answered = ask(&policies("audit"), Endpoint::Validate, &create(&privileged()));
    assert_eq!((&answered.response["allowed"], warnings_of(&answered)), (&json!(true), vec![]));
    assert_eq!(answered.record["verdict"], "would-deny");
}

/// An update of a Pod, of its ephemeral containers and of its resources, each of which adds a violation.
fn worse_updates() -> Vec<Json> {
    let old = complete_pod();
    let mut privileged_debugger = old.clone();
    privileged_debugger["spec"]["ephemeralContainers"] =
        json!([{"name": "d", "image": "i", "securityContext": {"privileged": true}}]);
    let mut grown = old.clone();
    grown["spec"]["containers"][0]["resources"]["limits"]["memory"] = json!("64Gi");
    let with_subresource = |new: &Json, subresource: &str| {
        let mut review = update(&old, new);
        review["request"]["subResource"] = json!(subresource);
        review
    };
    vec![
        update(&old, &privileged()),
        with_subresource(&privileged_debugger, "ephemeralcontainers"),
        with_subresource(&grown, "resize"),
    ]
}

#[test]
fn update_in_enforce_is_denied_for_violations_that_are_new() {
    for review in worse_updates() {
        assert_eq!(
            verdict(&policies("enforce"), Endpoint::Validate, &review),
            ("denied".into(), false),
            "{review}"
        );
    }
    let same = update(&privileged(), &privileged());
    assert_eq!(verdict(&policies("enforce"), Endpoint::Validate, &same), ("admitted".into(), true));
}

#[test]
fn update_in_warn_is_admitted_with_warnings() {
    for review in worse_updates() {
        let answered = ask(&policies("warn"), Endpoint::Validate, &review);
        assert_eq!((&answered.response["allowed"], is_patched(&answered)), (&json!(true), false));
        assert!(!warnings_of(&answered).is_empty());
        assert_eq!(answered.record["verdict"], "warned");
    }
}

#[test]
fn update_in_audit_is_admitted_and_recorded() {
    for review in worse_updates() {
        let answered = ask(&policies("audit"), Endpoint::Validate, &review);
        assert_eq!((&answered.response["allowed"], warnings_of(&answered)), (&json!(true), vec![]));
        assert_eq!(answered.record["verdict"], "would-deny");
    }
}

#[test]
fn delete_and_connect_are_allowed_in_every_mode() {
    for mode in ["enforce", "warn", "audit"] {
        for operation in ["DELETE", "CONNECT"] {
            let mut review = create(&privileged());
            review["request"]["operation"] = json!(operation);
            for endpoint in Endpoint::ALL {
                assert_eq!(verdict(&policies(mode), endpoint, &review), ("none".into(), true), "{mode}");
            }
        }
    }
}

#[test]
fn a_namespace_without_a_policy_is_denied_and_recorded() {
    let mut review = create(&complete_pod());
    review["request"]["namespace"] = json!("default");
    for endpoint in Endpoint::ALL {
        assert_eq!(verdict(&policies("audit"), endpoint, &review), ("denied".into(), false));
    }
}

#[test]
fn fill_always_fills_in_warn_and_audit_what_violates_nothing_afterwards() {
    for mode in ["warn", "audit"] {
        let policies = policies_of(&format!("mode: {mode}, fill: always"));
        let answered = ask(&policies, Endpoint::Mutate, &create(&plain_pod()));
        let pod = patched(&plain_pod(), &answered);
        assert_eq!(pod["spec"]["runtimeClassName"], "gvisor", "{mode}");
        assert_eq!(pod["metadata"]["annotations"]["sandgate.dev/policy"], "p", "{mode}");
        assert_eq!(verdict(&policies, Endpoint::Validate, &create(&pod)), ("admitted".into(), true));
    }
}

#[test]
fn fill_always_leaves_a_pod_alone_that_would_still_violate_something() {
    for (mode, expected) in [("warn", "warned"), ("audit", "would-deny")] {
        let policies = policies_of(&format!("mode: {mode}, fill: always"));
        let answered = ask(&policies, Endpoint::Mutate, &create(&plain_and_privileged()));
        assert!(!is_patched(&answered), "half a repair: {mode}");
        assert_eq!(answered.record["verdict"], expected);
        assert_eq!(rules_of(&answered.record["violations"]), ["privileged"]);
    }
}

#[test]
fn fill_never_only_validates() {
    for (mode, expected, allowed) in
        [("enforce", "denied", false), ("warn", "warned", true), ("audit", "would-deny", true)]
    {
        let policies = policies_of(&format!("mode: {mode}, fill: never"));
        for endpoint in Endpoint::ALL {
            let answered = ask(&policies, endpoint, &create(&plain_pod()));
            assert!(!is_patched(&answered), "{mode}");
            assert_eq!(answered.record["verdict"], expected, "{mode}");
            assert_eq!(answered.response["allowed"], allowed, "{mode}");
            assert_eq!(answered.record["filled"], json!([]), "{mode}");
            assert_eq!(verdict(&policies, endpoint, &create(&complete_pod())), ("admitted".into(), true));
        }
    }
}

/// The complete Pod with another grace period and another scheduler, which two rules deny that are no floor rules.
fn two_faults() -> Json {
    let mut pod = complete_pod();
    pod["spec"]["terminationGracePeriodSeconds"] = json!(600);
    pod["spec"]["schedulerName"] = json!("other");
    pod
}

#[test]
fn a_rule_that_is_off_is_neither_filled_nor_checked() {
    let off = policies_of("rules: {labels: off, grace-period: off, scheduler: off}");
    let answered = ask(&off, Endpoint::Mutate, &create(&plain_pod()));
    assert!(patched(&plain_pod(), &answered)["metadata"].get("labels").is_none());
    for endpoint in Endpoint::ALL {
        let answered = ask(&off, endpoint, &create(&two_faults()));
        assert_eq!((&answered.response["allowed"], warnings_of(&answered)), (&json!(true), vec![]));
        assert_eq!(answered.record["violations"], json!([]));
    }
}

#[test]
fn a_rule_below_enforce_is_not_filled_under_auto() {
    for level in ["warn", "audit"] {
        let lowered = policies_of(&format!("rules: {{labels: {level}}}"));
        let answered = ask(&lowered, Endpoint::Mutate, &create(&plain_pod()));
        let pod = patched(&plain_pod(), &answered);
        assert_eq!(pod["spec"]["runtimeClassName"], "gvisor", "the other rules are");
        assert!(pod["metadata"].get("labels").is_none(), "{level}");
        let filled = answered.record["filled"].as_array().unwrap();
        assert!(
            filled.iter().any(|path| path.as_str().unwrap().starts_with("metadata.labels")),
            "{filled:?}"
        );
        assert_eq!(answered.record["verdict"], "admitted", "enforcing would have filled it");
        assert_eq!(verdict(&lowered, Endpoint::Validate, &create(&pod)), ("admitted".into(), true));
        let always = policies_of(&format!("fill: always, rules: {{labels: {level}}}"));
        let answered = ask(&always, Endpoint::Mutate, &create(&plain_pod()));
        assert_eq!(patched(&plain_pod(), &answered)["metadata"]["labels"]["app"], "workflow-runner");
    }
}

#[test]
fn the_highest_level_decides_and_each_level_has_its_way() {
    let policies = policies_of("rules: {grace-period: warn, scheduler: audit}");
    for endpoint in Endpoint::ALL {
        let answered = ask(&policies, endpoint, &create(&two_faults()));
        assert_eq!(answered.response["allowed"], true);
        assert_eq!(answered.record["verdict"], "warned");
        let warnings = warnings_of(&answered);
        assert!(warnings.len() == 1 && warnings[0].contains("(grace-period)"), "{warnings:?}");
        let levels: Vec<_> = answered.record["violations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|violation| (violation["rule"].as_str().unwrap(), violation["level"].as_str().unwrap()))
            .collect();
        assert_eq!(levels, [("grace-period", "warn"), ("scheduler", "audit")]);

        let mut worse = two_faults();
        worse["spec"]["hostPID"] = json!(true);
        let answered = ask(&policies, endpoint, &create(&worse));
        assert_eq!(answered.record["verdict"], "denied");
        let message = answered.response["status"]["message"].as_str().unwrap();
        assert!(message.contains("(host-namespaces)") && !message.contains("grace-period"), "{message}");
        assert_eq!(
            rules_of(&answered.record["violations"]),
            ["host-namespaces", "grace-period", "scheduler"],
            "the record has them all"
        );
    }
    let audited = policies_of("rules: {grace-period: audit, scheduler: audit}");
    let answered = ask(&audited, Endpoint::Validate, &create(&two_faults()));
    assert_eq!((answered.record["verdict"].as_str(), warnings_of(&answered)), (Some("would-deny"), vec![]));
}

#[test]
fn a_pod_that_violates_only_lowered_rules_is_filled_by_the_others() {
    let policies = policies_of("rules: {scheduler: warn}");
    let mut pod = plain_pod();
    pod["spec"]["schedulerName"] = json!("other");
    let answered = ask(&policies, Endpoint::Mutate, &create(&pod));
    assert_eq!(answered.record["verdict"], "warned");
    let pod = patched(&pod, &answered);
    assert_eq!(verdict(&policies, Endpoint::Validate, &create(&pod)), ("warned".into(), true));
}

#[test]
fn a_rule_at_enforce_denies_in_every_mode_and_is_filled() {
    for mode in ["warn", "audit"] {
        let raised = policies_of(&format!("mode: {mode}, rules: {{scheduler: enforce, labels: enforce}}"));
        assert_eq!(verdict(&raised, Endpoint::Validate, &create(&two_faults())), ("denied".into(), false));
        let answered = ask(&raised, Endpoint::Mutate, &create(&plain_pod()));
        let pod = patched(&plain_pod(), &answered);
        assert_eq!(pod["metadata"]["labels"]["app"], "workflow-runner", "{mode}");
        assert!(pod["spec"].get("runtimeClassName").is_none(), "{mode}");
    }
}

#[test]
fn a_lowered_rule_cannot_hide_an_enforced_one_behind_thousands_of_violations() {
    let policies = policies_of("rules: {volume-types: enforce, resource-kinds: audit}");
    let mut pod = complete_pod();
    let limits = (0..1500).map(|number| (format!("example.com/r{number}"), json!("1")));
    let limits: serde_json::Map<String, Json> = limits.collect();
    pod["spec"]["containers"][0]["resources"]["limits"].as_object_mut().unwrap().extend(limits);
    pod["spec"]["volumes"].as_array_mut().unwrap().push(json!({"name": "h", "hostPath": {"path": "/"}}));
    assert_eq!(verdict(&policies, Endpoint::Validate, &create(&pod)), ("denied".into(), false));
}

#[test]
fn a_floor_rule_stays_at_the_mode() {
    for rule in crate::policy::FLOOR_RULES {
        let text = format!(
            "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {{name: p}}\nspec: {{rules: {{{rule}: audit}}}}\n"
        );
        let source = Source { name: "p.yaml".into(), text };
        match PolicySet::from_sources(&[source]) {
            Err(errors) => assert!(errors.to_string().contains(rule), "{errors}"),
            Ok(set) => assert_eq!(set.policies()[0].level_of(rule), crate::policy::Level::Enforce, "{rule}"),
        }
    }
}

#[test]
fn a_candidate_fills_and_checks_what_came_and_is_only_recorded() {
    let next = "security: {runAsUser: {default: 2000, min: 2000, max: 2000}}, lifecycle: {terminationGracePeriodSeconds: {max: 10}}";
    let policies = policies_with_next("candidate: next", next);
    let answered = ask(&policies, Endpoint::Mutate, &create(&plain_pod()));
    assert_eq!(answered.record["verdict"], "admitted");
    assert_eq!(answered.record["candidate"], json!([]), "the candidate would have filled 2000");
    assert_eq!(patched(&plain_pod(), &answered)["spec"]["securityContext"]["runAsUser"], 1000);

    let mut pod = plain_pod();
    pod["spec"]["terminationGracePeriodSeconds"] = json!(45);
    let answered = ask(&policies, Endpoint::Mutate, &create(&pod));
    assert_eq!(
        (&answered.response["allowed"], answered.record["verdict"].as_str()),
        (&json!(true), Some("admitted"))
    );
    assert_eq!(answered.record["violations"], json!([]));
    assert_eq!(rules_of(&answered.record["candidate"]), ["grace-period"]);
    let filled = patched(&pod, &answered);
    let answered = ask(&policies, Endpoint::Validate, &create(&filled));
    assert_eq!(answered.record["candidate"], json!([]), "a create is evaluated where it can be filled");
}

#[test]
fn a_candidate_evaluates_an_update_at_validate() {
    let policies =
        policies_with_next("candidate: next", "lifecycle: {activeDeadlineSeconds: {max: 60, default: 60}}");
    let mut shorter = complete_pod();
    shorter["spec"]["activeDeadlineSeconds"] = json!(599);
    let review = update(&complete_pod(), &shorter);
    let answered = ask(&policies, Endpoint::Validate, &review);
    assert_eq!(answered.record["verdict"], "admitted");
    assert_eq!(rules_of(&answered.record["candidate"]), ["active-deadline"]);
    assert_eq!(ask(&policies, Endpoint::Mutate, &review).record["candidate"], json!([]));
}

#[test]
fn a_candidate_counts_in_no_denial() {
    let policies =
        policies_with_next("candidate: next", "lifecycle: {terminationGracePeriodSeconds: {max: 1}}");
    let mut pod = privileged();
    pod["spec"]["terminationGracePeriodSeconds"] = json!(45);
    let answered = ask(&policies, Endpoint::Mutate, &create(&pod));
    assert_eq!(rules_of(&answered.record["violations"]), ["privileged"]);
    assert!(!answered.response["status"].to_string().contains("grace-period"));
    assert_eq!(answered.response["auditAnnotations"]["rules"], "privileged");
    assert_eq!(rules_of(&answered.record["candidate"]), ["grace-period", "privileged"]);
}

#[test]
fn the_exempt_are_admitted_unfilled_and_recorded_with_what_they_would_be_denied_for() {
    for spec in ["exempt: {users: [jane]}", "exempt: {groups: [dev]}"] {
        for mode in ["enforce", "warn", "audit"] {
            let policies = policies_of(&format!("mode: {mode}, {spec}"));
            for endpoint in Endpoint::ALL {
                let answered = ask(&policies, endpoint, &create(&plain_and_privileged()));
                assert_eq!((&answered.response["allowed"], is_patched(&answered)), (&json!(true), false));
                assert_eq!(warnings_of(&answered), Vec::<&str>::new());
                assert_eq!(answered.record["verdict"], "exempt");
                assert_eq!(answered.record["filled"], json!([]));
                assert!(rules_of(&answered.record["violations"]).contains(&"privileged"));
            }
        }
        let answered = ask(&policies_of(spec), Endpoint::Mutate, &create(&plain_pod()));
        assert!(!is_patched(&answered));
    }
}

#[test]
fn unknown_metadata_is_admitted_and_recorded() {
    let mut newer = plain_pod();
    newer["metadata"]["newServerField"] = json!({"shard": 1});
    for answered in [mutate(&create(&newer)), validate(&update(&newer, &newer))] {
        assert_eq!(answered.response["allowed"], true, "{}", answered.response);
        assert_eq!(answered.record["verdict"], "admitted");
        assert_eq!(answered.record["violations"], json!([]));
        let recorded = &answered.record["forgiven"];
        let found: Vec<_> = recorded.as_array().unwrap().iter().map(|one| one["path"].clone()).collect();
        assert!(found.contains(&json!("metadata.newServerField")), "{recorded}");
    }
}
