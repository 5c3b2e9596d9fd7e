//! The messages of denied Pods: each text that depends on the Pod or on the policy.

use serde_json::{Value as Json, json};

use super::testing::{spec as of_policy, *};
use crate::policy::{NodeOperator, NodeRequirement, Spec};

/// The message for the complete Pod, changed so.
fn message_under(spec: &Spec, change: impl FnOnce(&mut Json)) -> String {
    let mut pod = complete_pod();
    change(&mut pod);
    lines_of(spec, &pod).join("\n")
}

fn message(change: impl FnOnce(&mut Json)) -> String {
    message_under(&Spec::default(), change)
}

#[track_caller]
fn has(message: &str, part: &str) {
    assert!(message.contains(part), "{message:?} has {part:?}");
}

#[test]
fn a_missing_requirement_is_spelled_out() {
    let found = message(|pod| drop(pod["spec"].as_object_mut().unwrap().remove("affinity")));
    has(&found, "must be a term with workload-type In [workflow-runner]");
}

#[test]
fn a_toleration_is_shown_in_one_line() {
    let found = message(|pod| {
        let toleration = json!({"key": "x", "value": "", "effect": "NoExecute"});
        pod["spec"]["tolerations"].as_array_mut().unwrap().push(toleration);
    });
    has(&found, "\"x Equal NoExecute\"");
}

#[test]
fn the_allowed_words_are_named() {
    let spec = of_policy("{runtimeClass: {allowed: [gvisor, kata]}}");
    has(
        &message_under(&spec, |pod| pod["spec"]["runtimeClassName"] = json!("runc")),
        "must be gvisor or kata",
    );
}

#[test]
fn a_seccomp_profile_is_written_as_in_a_pod() {
    let unconfined =
        |pod: &mut Json| pod["spec"]["securityContext"]["seccompProfile"] = json!({"type": "Unconfined"});
    has(&message(unconfined), "set it to {type: RuntimeDefault} or leave it out");
    let spec = of_policy("{security: {seccompProfiles: [Localhost/a.json]}}");
    has(&message_under(&spec, unconfined), "set it to {type: Localhost, localhostProfile: \"a.json\"}");
}

#[test]
fn what_cannot_be_left_out_is_to_be_set() {
    let security = json!({"allowPrivilegeEscalation": true, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
    let app = message(|pod| pod["spec"]["containers"][0]["securityContext"] = security.clone());
    has(&app, "set it to false or leave it out on create");
    let debug = message(|pod| {
        pod["spec"]["ephemeralContainers"] =
            json!([{"name": "d", "image": "i", "securityContext": security}]);
    });
    has(&debug, "set it to false (privilege-escalation)");
}

#[test]
fn the_capabilities_that_may_be_added_are_named() {
    let add = |pod: &mut Json| {
        pod["spec"]["containers"][0]["securityContext"]["capabilities"]["add"] = json!(["X"])
    };
    has(&message(add), "is \"X\", must be absent");
    let spec = of_policy(
        "{security: {root: {runtimeClasses: [gvisor]}, capabilities: {allowedAdd: [CHOWN, KILL]}}}",
    );
    has(&message_under(&spec, add), "CHOWN, KILL");
}

#[test]
fn a_value_of_the_wrong_kind_is_shown_with_the_right_one() {
    for (value, found, wanted) in
        [(json!("true"), "the string \"true\"", "true or false"), (json!({}), "an object", "true or false")]
    {
        has(
            &message(|pod| pod["spec"]["hostPID"] = value),
            &format!("spec.hostPID is {found}, must be {wanted}"),
        );
    }
    for (field, wanted) in [
        ("hostname", "a string"),
        ("priority", "an integer"),
        ("hostAliases", "a list"),
        ("nodeSelector", "an object"),
        ("dnsConfig", "an object"),
    ] {
        has(
            &message(|pod| pod["spec"][field] = json!(true)),
            &format!("spec.{field} is a boolean, must be {wanted}"),
        );
    }
    has(
        &message(|pod| pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] = json!(true)),
        "must be a quantity",
    );
}

#[test]
fn controller_that_creates_pods_again_is_named() {
    let owned = |kind: &str, policy: Json| {
        message(|pod| {
            let version = if kind == "Job" { "batch/v1" } else { "apps/v1" };
            pod["metadata"]["ownerReferences"] =
                json!([{"apiVersion": version, "kind": kind, "name": "o", "uid": "1", "controller": true}]);
            pod["spec"]["restartPolicy"] = policy;
        })
    };
    has(&owned("ReplicaSet", json!("Always")), "run it as a Job, a ReplicaSet creates a new Pod");
    has(
        &owned("ReplicaSet", json!("OnFailure")),
        "set restartPolicy: Never in the template of the ReplicaSet",
    );
    has(&owned("Job", json!("Always")), "set it to Never");
}

/// Nothing is filled for a controller that is not a Job, so the field cannot be omitted.
#[test]
fn controller_without_a_kind_is_no_job() {
    let found = message(|pod| {
        pod["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "batch/v1", "name": "o", "uid": "1", "controller": true}]);
        pod["spec"]["restartPolicy"] = json!("OnFailure");
    });
    has(&found, "set it to Never (policy key lifecycle.restartPolicy.allowed) (restart-policy)");
}

#[test]
fn a_rule_is_found_by_its_id() {
    assert_eq!(super::by_id("seccomp").unwrap().id, "seccomp");
    assert!(super::by_id("no-such-rule").is_none());
}

/// The policy's requirement may have any operator of the API.
#[test]
fn a_requirement_is_met_by_a_stricter_one_only() {
    let mut spec = Spec::default();
    for (operator, met, missed) in [
        (NodeOperator::In, vec![json!(["a"]), json!(["a", "b"])], vec![json!([]), json!(["a", "c"])]),
        (NodeOperator::NotIn, vec![json!(["a", "b"]), json!(["a", "b", "c"])], vec![json!(["a"]), json!([])]),
        (NodeOperator::Gt, vec![json!(["a", "b"])], vec![json!(["a"]), json!(["a", "b", "c"]), json!([])]),
    ] {
        let values = vec!["a".to_owned(), "b".to_owned()];
        spec.placement.node_affinity = vec![NodeRequirement { key: "k".into(), operator, values }];
        let checked = |values: &Json| {
            message_under(&spec, |pod| {
                let required = &mut pod["spec"]["affinity"]["nodeAffinity"];
                required["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] = json!([{"matchExpressions": [{"key": "k", "operator": operator.as_str(), "values": values}]}]);
            })
        };
        for values in met {
            assert_eq!(checked(&values), "", "{operator:?} {values}");
        }
        for values in missed {
            has(&checked(&values), "(node-affinity)");
        }
    }
}

/// A toleration that differs in one part is not the policy's own, so that one is filled in beside it.
#[test]
fn a_toleration_that_differs_in_one_part_does_not_count() {
    let spec = Spec::default();
    for (field, value) in
        [("key", "other"), ("operator", "Exists"), ("value", "runc"), ("effect", "NoExecute")]
    {
        let mut pod = complete_pod();
        pod["spec"]["tolerations"][0][field] = json!(value);
        let tolerations = filled_by(&spec, &pod)["spec"]["tolerations"].clone();
        assert_eq!(tolerations.as_array().unwrap().len(), 2, "{field}: {tolerations}");
        assert_eq!(tolerations[1], complete_pod()["spec"]["tolerations"][0]);
    }
}

#[test]
fn a_toleration_of_the_policys_key_is_held_to_its_value() {
    for (operator, value) in [("Equal", "runc"), ("Exists", "gvisor")] {
        let found = message(|pod| {
            let other = json!({"key": "sandbox.gke.io/runtime", "operator": operator, "value": value, "effect": "NoSchedule"});
            pod["spec"]["tolerations"].as_array_mut().unwrap().push(other);
        });
        has(&found, "the policy must allow it (policy key placement.allowedTolerations) (tolerations)");
    }
}

#[test]
fn what_is_to_be_added_is_written_as_in_a_pod() {
    let none = |pod: &mut Json| {
        pod["spec"]["tolerations"] = json!([]);
        let required = &mut pod["spec"]["affinity"]["nodeAffinity"];
        required["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] =
            json!([{"matchExpressions": [{"key": "other", "operator": "Exists"}]}]);
    };
    let found = message(none);
    has(
        &found,
        r#"add {key: workload-type, operator: In, values: ["workflow-runner"]} to its matchExpressions"#,
    );
    has(&found, r#"add {key: sandbox.gke.io/runtime, operator: Equal, value: "gvisor", effect: NoSchedule}"#);
    let spec = of_policy(
        "{placement: {nodeAffinity: [{key: k, operator: Exists}], tolerations: [{key: t, operator: Exists}]}}",
    );
    let found = message_under(&spec, none);
    has(&found, "add {key: k, operator: Exists} to its matchExpressions");
    has(&found, "add {key: t, operator: Exists}");
}

#[test]
fn a_grace_period_of_ones_own_is_not_the_api_servers_default() {
    let spec = of_policy("{lifecycle: {terminationGracePeriodSeconds: {max: 20}}}");
    let graced = |seconds: i64| {
        let mut pod = complete_pod();
        pod["spec"]["terminationGracePeriodSeconds"] = json!(seconds);
        filled_by(&spec, &pod)["spec"]["terminationGracePeriodSeconds"].clone()
    };
    assert_eq!([graced(30), graced(10), graced(40)], [json!(20), json!(10), json!(40)]);
}

/// An update may keep a violation that the Pod had before, so another value must not look like the same one.
#[test]
fn two_wrong_values_are_shown_differently() {
    let anti_affinity =
        |term: Json| json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    let env = |from: Json| json!([{"name": "A", "valueFrom": {"fileKeyRef": from}}]);
    for (place, one, other) in [
        ("/spec/securityContext/windowsOptions", json!({"hostProcess": true}), json!({"runAsUserName": "a"})),
        (
            "/spec/affinity",
            anti_affinity(json!({"namespaces": ["a"]})),
            anti_affinity(json!({"namespaces": ["b"]})),
        ),
        (
            "/spec/affinity",
            anti_affinity(json!({"namespaceSelector": {}})),
            anti_affinity(json!({"namespaceSelector": {"matchLabels": {"a": "b"}}})),
        ),
        ("/spec/containers/0/env", env(json!({"path": "a"})), env(json!({"path": "b"}))),
        (
            "/spec/containers/0/restartPolicyRules",
            json!([{"action": "Restart"}]),
            json!([{"action": "Ignore"}]),
        ),
        ("/spec/resourceClaims", json!([{"name": "a"}]), json!([{"name": "b"}])),
        ("/spec/containers/0/resources/claims", json!([{"name": "a"}]), json!([{"name": "b"}])),
    ] {
        let (parent, field) = place.rsplit_once('/').unwrap();
        let message_of = |value: Json| message(|pod| pod.pointer_mut(parent).unwrap()[field] = value);
        assert_ne!(message_of(one), message_of(other), "{place}");
    }
}

#[test]
fn volume_and_mount_are_named_with_path_and_rule() {
    let volume = message(|pod| {
        let secret = json!({"name": "s", "secret": {"secretName": "s"}});
        pod["spec"]["volumes"].as_array_mut().unwrap().push(secret);
    });
    has(&volume, "spec.volumes[2].secret is a secret volume, must be ");
    has(&volume, "(volume-types)");
    let mount = message(|pod| pod["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] = json!("/etc"));
    has(&mount, "spec.containers[0].volumeMounts[0].mountPath is \"/etc\", must be ");
    has(&mount, "(writable-paths)");
}

#[test]
fn pod_of_the_most_containers_is_filled() {
    let containers: Vec<Json> =
        (0..100).map(|index| json!({"name": format!("c{index}"), "image": "i"})).collect();
    let mut pod = plain_pod();
    pod["spec"]["containers"] = json!(containers);
    assert!(!violations(&pod).contains(&"pod-schema spec.containers".to_owned()));
    assert_ne!(filled(&pod), pod);
}

/// Each text that denies something that an owner of a policy can open names the key.
#[test]
fn remedies_name_the_key_of_the_policy() {
    for (change, key) in [
        (("/metadata/labels", json!({"app": "x"})), "labels.required"),
        (("/metadata/annotations", json!({"cdi.k8s.io/gpu": "x"})), "annotations.allowed"),
        (("/spec/runtimeClassName", json!("runc")), "runtimeClass.allowed"),
        (("/spec/serviceAccountName", json!("x")), "serviceAccount.allowed"),
        (("/spec/automountServiceAccountToken", json!(true)), "serviceAccount.automountToken"),
        (("/spec/restartPolicy", json!("OnFailure")), "lifecycle.restartPolicy.allowed"),
        (("/spec/containers/0/restartPolicy", json!("Always")), "lifecycle.containerRestartRules"),
        (("/spec/activeDeadlineSeconds", json!(3601)), "lifecycle.activeDeadlineSeconds.max"),
        (("/spec/terminationGracePeriodSeconds", json!(61)), "lifecycle.terminationGracePeriodSeconds.max"),
        (("/spec/affinity", json!({})), "placement.nodeAffinity"),
        (("/spec/tolerations", json!([])), "placement.tolerations"),
        (("/spec/schedulerName", json!("x")), "placement.schedulerNames"),
        (("/spec/priorityClassName", json!("x")), "placement.priorityClassNames"),
    ] {
        let (place, value) = change;
        let (parent, field) = place.rsplit_once('/').unwrap();
        let found = message(|pod| pod.pointer_mut(parent).unwrap()[field] = value);
        has(&found, &format!("(policy key {key}) ("));
    }
}

#[test]
fn priority_class_of_the_cluster_is_not_called_the_authors() {
    let found = message(|pod| pod["spec"]["priorityClassName"] = json!("standard"));
    has(
        &found,
        "remove it if you wrote it; if it is the cluster's globalDefault class, the policy must allow it",
    );
}
