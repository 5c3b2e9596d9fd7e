//! Tests of what people read: the message of a denial and the warnings of an answer.

use super::*;

#[test]
fn help_ends_a_denial_and_nothing_else() {
    let policies = policies_of("help: 'Ask in #sandbox.'");
    let answered = ask(&policies, Endpoint::Mutate, &create(&privileged()));
    let message = answered.response["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("policy \"p\": ") && message.ends_with("\nAsk in #sandbox."), "{message}");
    assert_eq!(
        message.lines().nth(1),
        Some("To fix: sandgate fix FILE. The rule: sandgate explain privileged"),
        "{message}"
    );
    let answered = ask(&policies_of("mode: warn, help: 'Ask us.'"), Endpoint::Mutate, &create(&privileged()));
    assert!(!answered.response.to_string().contains("Ask us."));
    let answered =
        ask(&policies_of("rules: {privileged: enforce}"), Endpoint::Mutate, &create(&privileged()));
    let message = answered.response["status"]["message"].as_str().unwrap();
    assert!(
        message.ends_with("(privileged)\nTo fix: sandgate fix FILE. The rule: sandgate explain privileged"),
        "{message}"
    );
}

#[test]
fn a_denial_by_no_rule_of_the_policy_names_no_explanation() {
    let mut forged = complete_pod();
    forged["metadata"]["annotations"] = json!({"sandgate.dev/policy": "other"});
    let mut elsewhere = create(&plain_pod());
    elsewhere["request"]["namespace"] = json!("default");
    for (review, rule) in
        [(update(&complete_pod(), &forged), "(provenance)"), (elsewhere, "(namespace-policy)")]
    {
        let answered = ask(&policies("enforce"), Endpoint::Validate, &review);
        let message = answered.response["status"]["message"].as_str().unwrap();
        assert!(message.contains(rule) && !message.contains("sandgate explain"), "{message}");
    }
}

#[test]
fn a_person_is_warned_in_one_line_of_what_was_filled() {
    let answered = ask(&policies("enforce"), Endpoint::Mutate, &create(&plain_pod()));
    let warnings = warnings_of(&answered);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("sandgate: filled runtimeClassName, "), "{warnings:?}");
    assert!(warnings[0].ends_with(" more for policy p"), "{warnings:?}");
}

#[test]
fn only_a_person_whose_pod_was_filled_is_warned_of_it() {
    let silent = |policies: &PolicySet, endpoint, review: &Json| {
        let answered = ask(policies, endpoint, review);
        assert_eq!(
            (&answered.response["allowed"], warnings_of(&answered)),
            (&json!(true), vec![]),
            "{review}"
        );
    };
    let enforce = policies("enforce");
    let mut by_account = create(&plain_pod());
    by_account["request"]["userInfo"]["username"] = json!("system:serviceaccount:argo:controller");
    silent(&enforce, Endpoint::Mutate, &by_account);
    let of_workflow = owned_by("Workflow", "argoproj.io/v1alpha1", plain_pod());
    let mut of_workflow = create(&of_workflow);
    of_workflow["request"]["object"]["spec"]["restartPolicy"] = json!("Never");
    silent(&enforce, Endpoint::Mutate, &of_workflow);
    silent(&enforce, Endpoint::Mutate, &create(&complete_pod()));
    silent(&enforce, Endpoint::Validate, &create(&complete_pod()));
    silent(&policies("audit"), Endpoint::Mutate, &create(&plain_pod()));
    let off = policies_of("warnings: {filled: false}");
    silent(&off, Endpoint::Mutate, &create(&plain_pod()));
}

#[test]
fn the_pod_of_a_job_is_warned_of_a_deadline_that_its_job_does_not_know() {
    let warning = "sandgate: this Pod ends after 3600 s by policy p, whatever deadline its Job has \
                   (policy key lifecycle.activeDeadlineSeconds)";
    let mut review = create(&owned_by("Job", "batch/v1", plain_pod()));
    review["request"]["userInfo"]["username"] = json!("system:serviceaccount:kube-system:job-controller");
    let answered = ask(&policies("enforce"), Endpoint::Mutate, &review);
    assert_eq!(warnings_of(&answered), [warning]);

    let mut own = plain_pod();
    own["spec"]["activeDeadlineSeconds"] = json!(60);
    let own = ask(&policies("enforce"), Endpoint::Mutate, &create(&owned_by("Job", "batch/v1", own)));
    assert_eq!(warnings_of(&own), Vec::<&str>::new(), "the deadline is the Pod's own");
    let alone = ask(&policies("enforce"), Endpoint::Mutate, &create(&plain_pod()));
    assert!(!warnings_of(&alone).contains(&warning), "it has no Job");
}

/// The plain Pod as the API server sends it: the plugin `ServiceAccount` has added its token.
fn with_token() -> Json {
    let mut pod = plain_pod();
    let sources = json!([
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}
    ]);
    pod["spec"]["volumes"] =
        json!([{"name": "kube-api-access-x7k2p", "projected": {"defaultMode": 420, "sources": sources}}]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "kube-api-access-x7k2p", "readOnly": true,
        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]);
    pod
}

#[test]
fn the_removal_of_the_token_is_warned_of_and_recorded() {
    let removed = "sandgate: removed the service account token for the API server (policy key \
                   serviceAccount.automountToken)";
    let answered = ask(&policies("enforce"), Endpoint::Mutate, &create(&with_token()));
    assert_eq!(warnings_of(&answered)[1..], [removed]);
    assert_eq!(answered.record["tokenRemoved"], true);
    let would = ask(&policies("warn"), Endpoint::Mutate, &create(&with_token()));
    assert!(warnings_of(&would)[1].starts_with("sandgate: would remove the service account token"));
    assert_eq!(would.record["tokenRemoved"], true);
    let without = ask(&policies("enforce"), Endpoint::Mutate, &create(&plain_pod()));
    assert_eq!(without.record["tokenRemoved"], false);
    let mut denied = with_token();
    denied["spec"]["hostPID"] = json!(true);
    let denied = ask(&policies("enforce"), Endpoint::Mutate, &create(&denied));
    assert_eq!(denied.record["tokenRemoved"], false, "nothing goes out");
}

#[test]
fn warnings_keep_to_what_the_api_server_takes() {
    let mut pod = complete_pod();
    let volumes = pod["spec"]["volumes"].as_array_mut().unwrap();
    for i in 0..200 {
        volumes.push(json!({"name": format!("v{i}"), format!("type{i}"): {}}));
    }
    let answered = ask(&policies("warn"), Endpoint::Validate, &create(&pod));
    let warnings = warnings_of(&answered);
    let lengths: Vec<usize> = warnings.iter().map(|warning| warning.chars().count()).collect();
    assert!(lengths.len() > 5 && lengths.iter().all(|length| *length <= 256), "{lengths:?}");
    assert!(lengths.iter().sum::<usize>() <= 4096, "{lengths:?}");
    assert!(warnings.last().unwrap().ends_with(" more reasons"), "{warnings:?}");
}

#[test]
fn a_number_that_is_lowered_is_warned_of_and_recorded() {
    let clamp = "lifecycle: {terminationGracePeriodSeconds: {max: 20, onExcess: clamp}}";
    let mut pod = plain_pod();
    pod["spec"]["terminationGracePeriodSeconds"] = json!(30);
    let clamped = json!([{"path": "spec.terminationGracePeriodSeconds", "from": 30, "to": 20}]);

    let answered = ask(&policies_of(clamp), Endpoint::Mutate, &create(&pod));
    assert_eq!(patched(&pod, &answered)["spec"]["terminationGracePeriodSeconds"], 20);
    assert_eq!(answered.record["clamped"], clamped);
    let warning =
        "sandgate: lowered spec.terminationGracePeriodSeconds from 30 to 20, the maximum of policy p";
    assert!(warnings_of(&answered).contains(&warning), "{:?}", warnings_of(&answered));

    let mut by_account = create(&pod);
    by_account["request"]["userInfo"]["username"] = json!("system:serviceaccount:ci:runner");
    let answered = ask(&policies_of(clamp), Endpoint::Mutate, &by_account);
    assert_eq!(warnings_of(&answered), [warning], "the fill that overwrites is always warned of");

    let answered = ask(&policies_of(&format!("mode: warn, {clamp}")), Endpoint::Mutate, &create(&pod));
    assert!(warnings_of(&answered)[0].starts_with("sandgate: would lower "));
    assert_eq!(answered.record["clamped"], clamped);

    let answered = ask(&policies_of(&format!("fill: never, {clamp}")), Endpoint::Mutate, &create(&pod));
    assert_eq!(answered.record["clamped"], json!([]));
}

/// A create of megabytes comes back neither in the message nor in its causes, one violation or many.
#[test]
fn a_denial_of_a_pod_with_long_texts_is_short() {
    const MAX_ANSWER_BYTES: usize = 96 << 10;
    let policies = PolicySet::builtin();
    for character in ["A", "\u{7f}", "\u{202e}", "\"", "沙"] {
        let long = character.repeat(700_000);
        let pod = |change: &dyn Fn(&mut Json)| {
            let mut pod = complete_pod();
            change(&mut pod);
            pod
        };
        let many: serde_json::Map<_, _> =
            (0..100).map(|i| (format!("dev.gvisor.{i}{}", character.repeat(7000)), json!("x"))).collect();
        let pods = [
            pod(&|pod| pod["metadata"]["annotations"] = json!({format!("dev.gvisor.{long}"): &long})),
            pod(&|pod| pod["metadata"]["annotations"] = Json::Object(many.clone())),
            pod(&|pod| pod["spec"][&long] = json!(true)),
            pod(&|pod| pod["spec"]["containers"][0][&long] = json!({&long: &long})),
            pod(&|pod| pod["spec"]["runtimeClassName"] = json!(long)),
            pod(&|pod| pod["spec"]["containers"][0]["resources"]["limits"][&long] = json!("1")),
            pod(&|pod| pod["spec"]["volumes"] = json!([{"name": long, "hostPath": {"path": long}}])),
        ];
        for (number, pod) in pods.iter().enumerate() {
            for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
                let review = create(pod).to_string();
                let answer = answer(&policies, endpoint, None, review.as_bytes()).unwrap();
                let answered: Json = serde_json::from_slice(&answer.body).unwrap();
                let status = &answered["response"]["status"];
                assert_eq!(status["code"], 403, "Pod {number} of {character:?}");
                let bytes = answer.body.len();
                assert!(bytes < MAX_ANSWER_BYTES, "Pod {number} of {character:?}: {bytes} bytes");
                assert!(!status["details"]["causes"].as_array().unwrap().is_empty(), "Pod {number}");
            }
        }
    }
}
