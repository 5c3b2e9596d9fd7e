//! What people read of a refusal: each text that depends on the Pod or on the policy.

use serde_json::{Value as Json, json};

use super::testing::*;
use crate::{
    json::pod_from_str,
    policy::{NodeOperator, NodeRequirement, Profile, Spec},
};

/// The lines of the refusal of the complete Pod, changed so.
fn said_under(spec: &Spec, change: impl FnOnce(&mut Json)) -> String {
    let mut pod = complete_pod();
    change(&mut pod);
    let text = pod.to_string();
    super::check(&Profile::of_spec(spec.clone()), &pod_from_str(&text).unwrap()).lines().join("\n")
}

fn said(change: impl FnOnce(&mut Json)) -> String {
    said_under(&Spec::default(), change)
}

fn spec_of(text: &str) -> Spec {
    spec(text)
}

#[track_caller]
fn has(said: &str, part: &str) {
    assert!(said.contains(part), "{said:?} has {part:?}");
}

#[test]
fn a_missing_requirement_is_spelled_out() {
    let said = said(|pod| drop(pod["spec"].as_object_mut().unwrap().remove("affinity")));
    has(&said, "must be a term with workload-type In [workflow-runner]");
}

#[test]
fn a_toleration_is_shown_in_one_line() {
    let said = said(|pod| {
        let toleration = json!({"key": "x", "value": "", "effect": "NoExecute"});
        pod["spec"]["tolerations"].as_array_mut().unwrap().push(toleration);
    });
    has(&said, "\"x Equal NoExecute\"");
}

#[test]
fn the_allowed_words_are_named() {
    let spec = spec_of("{runtimeClass: {allowed: [gvisor, kata]}}");
    has(&said_under(&spec, |pod| pod["spec"]["runtimeClassName"] = json!("runc")), "must be gvisor or kata");
}

#[test]
fn a_seccomp_profile_is_written_as_in_a_pod() {
    let unconfined =
        |pod: &mut Json| pod["spec"]["securityContext"]["seccompProfile"] = json!({"type": "Unconfined"});
    has(&said(unconfined), "set it to {type: RuntimeDefault} or leave it out");
    let spec = spec_of("{security: {seccomp: [Localhost/a.json]}}");
    has(&said_under(&spec, unconfined), "set it to {type: Localhost, localhostProfile: \"a.json\"}");
}

#[test]
fn what_cannot_be_left_out_is_to_be_set() {
    let security = json!({"allowPrivilegeEscalation": true, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
    let app = said(|pod| pod["spec"]["containers"][0]["securityContext"] = security.clone());
    has(&app, "set it to false or leave it out on create");
    let debug = said(|pod| {
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
    has(&said(add), "is \"X\", must be absent");
    let spec = spec_of("{security: {capabilities: {allowedAdd: [CHOWN, KILL]}}}");
    has(&said_under(&spec, add), "must be one of CHOWN, KILL");
}

#[test]
fn a_value_of_the_wrong_kind_is_shown_with_the_right_one() {
    for (value, found, wanted) in
        [(json!("true"), "the string \"true\"", "true or false"), (json!({}), "an object", "true or false")]
    {
        has(
            &said(|pod| pod["spec"]["hostPID"] = value),
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
            &said(|pod| pod["spec"][field] = json!(true)),
            &format!("spec.{field} is a boolean, must be {wanted}"),
        );
    }
    has(
        &said(|pod| pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] = json!(true)),
        "must be a quantity",
    );
}

#[test]
fn a_controller_that_restarts_for_ever_is_named() {
    let owned = |kind: &str, policy: Json| {
        said(|pod| {
            let version = if kind == "Job" { "batch/v1" } else { "apps/v1" };
            pod["metadata"]["ownerReferences"] =
                json!([{"apiVersion": version, "kind": kind, "name": "o", "uid": "1", "controller": true}]);
            pod["spec"]["restartPolicy"] = policy;
        })
    };
    has(&owned("ReplicaSet", json!("Always")), "run it as a Job, a ReplicaSet restarts Pods for ever");
    has(&owned("ReplicaSet", json!("OnFailure")), "set it to Never (restart-policy)");
    has(&owned("Job", json!("Always")), "set it to Never");
}

/// It would be taken for one that restarts for ever, so nothing is filled that is left out.
#[test]
fn a_controller_without_a_kind_is_no_job() {
    let said = said(|pod| {
        pod["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "batch/v1", "name": "o", "uid": "1", "controller": true}]);
        pod["spec"]["restartPolicy"] = json!("OnFailure");
    });
    has(&said, "set it to Never (restart-policy)");
}

#[test]
fn where_no_volume_is_allowed_none_is_offered() {
    let secret = |pod: &mut Json| {
        let secret = json!({"name": "s", "secret": {"secretName": "s"}});
        pod["spec"]["volumes"].as_array_mut().unwrap().push(secret);
    };
    has(&said(secret), "must be emptyDir: remove this volume or use an allowed type (volume-types)");
    let spec = spec_of("{volumes: {allowed: [], writable: []}}");
    has(&said_under(&spec, secret), "must be no volume: remove this volume (volume-types)");
}

#[test]
fn a_mount_outside_says_where_it_may_be() {
    let mount = |pod: &mut Json| pod["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] = json!("/etc");
    has(&said(mount), "must be in /workspace or /tmp, or readOnly: true");
    let spec = spec_of("{volumes: {writable: []}}");
    has(&said_under(&spec, mount), "must be readOnly: true");
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
        let judged = |values: &Json| {
            said_under(&spec, |pod| {
                let required = &mut pod["spec"]["affinity"]["nodeAffinity"];
                required["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] = json!([{"matchExpressions": [{"key": "k", "operator": operator.as_str(), "values": values}]}]);
            })
        };
        for values in met {
            assert_eq!(judged(&values), "", "{operator:?} {values}");
        }
        for values in missed {
            has(&judged(&values), "(node-affinity)");
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
        let said = said(|pod| {
            let other = json!({"key": "sandbox.gke.io/runtime", "operator": operator, "value": value, "effect": "NoSchedule"});
            pod["spec"]["tolerations"].as_array_mut().unwrap().push(other);
        });
        has(&said, "remove this toleration (tolerations)");
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
    let told = said(none);
    has(
        &told,
        r#"add {key: workload-type, operator: In, values: ["workflow-runner"]} to its matchExpressions"#,
    );
    has(&told, r#"add {key: sandbox.gke.io/runtime, operator: Equal, value: "gvisor", effect: NoSchedule}"#);
    let spec = spec_of(
        "{placement: {nodeAffinity: [{key: k, operator: Exists}], tolerations: [{key: t, operator: Exists}]}}",
    );
    let told = said_under(&spec, none);
    has(&told, "add {key: k, operator: Exists} to its matchExpressions");
    has(&told, "add {key: t, operator: Exists}");
}

/// Each part of what the API server adds is looked at, for only that may bring a token where the policy wants one.
#[test]
fn only_the_api_servers_own_token_volume_is_taken_for_it() {
    let volume = json!({"name": "kube-api-access-abcde", "projected": {"sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]}});
    let mount = json!({"name": "kube-api-access-abcde", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"});
    let spec = spec_of("{serviceAccount: {automountToken: true}}");
    let with = |volume: &Json| {
        said_under(&spec, |pod| {
            pod["spec"]["automountServiceAccountToken"] = json!(true);
            pod["spec"]["volumes"].as_array_mut().unwrap().push(volume.clone());
            pod["spec"]["containers"][0]["volumeMounts"].as_array_mut().unwrap().push(mount.clone());
        })
    };
    assert_eq!(with(&volume), "");
    for (place, value) in [
        ("/name", json!("kube-api-acces-abcde")),
        ("/projected/sources/1/configMap/name", json!("mine")),
        ("/projected/sources/2/downwardAPI/items/0/fieldRef/fieldPath", json!("spec.nodeName")),
        ("/projected/sources/2", json!({"secret": {"name": "s"}})),
    ] {
        let mut other = volume.clone();
        *other.pointer_mut(place).unwrap() = value;
        has(&with(&other), "spec.volumes[2].projected");
    }
    let mut short = volume.clone();
    short["projected"]["sources"].as_array_mut().unwrap().pop();
    has(&with(&short), "spec.volumes[2].projected");
    let elsewhere = said_under(&spec, |pod| {
        pod["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] = json!("/etc");
        pod["spec"]["volumes"].as_array_mut().unwrap().push(volume.clone());
    });
    has(&elsewhere, "(writable-paths)");
}

#[test]
fn the_bound_itself_is_admitted() {
    let mut pod = complete_pod();
    pod["spec"]["resources"] = json!({"limits": {"cpu": "2"}});
    assert_eq!(violations(&pod), Vec::<String>::new());
    has(&said(|pod| pod["spec"]["resources"] = json!({"limits": {"cpu": "0"}})), "more than 0, at most 2");
    let containers: Vec<Json> =
        (0..500).map(|index| json!({"name": format!("c{index}"), "image": "i"})).collect();
    let mut pod = plain_pod();
    pod["spec"]["containers"] = json!(containers);
    assert!(!violations(&pod).contains(&"pod-schema spec.containers".to_owned()), "500 containers");
    assert_ne!(filled(&pod), pod, "500 containers are filled");
}

#[test]
fn a_volume_in_memory_of_the_policys_name_is_held_to_the_lower_bound() {
    let sized = |spec: &Spec, size: &str| {
        said_under(spec, |pod| {
            pod["spec"]["volumes"][0]["emptyDir"] = json!({"medium": "Memory", "sizeLimit": size});
        })
    };
    let spec = Spec::default();
    assert_eq!(sized(&spec, "4Gi"), "");
    has(&sized(&spec, "4097Mi"), "at most 4Gi");
    let tmp = |size: &str| {
        said(|pod| pod["spec"]["volumes"][1]["emptyDir"] = json!({"medium": "Memory", "sizeLimit": size}))
    };
    assert_eq!(tmp("1Gi"), "");
    has(&tmp("1025Mi"), "at most 1Gi");
}

#[test]
fn a_grace_period_of_ones_own_is_not_the_api_servers_default() {
    let spec = spec_of("{lifecycle: {terminationGracePeriodSeconds: {max: 20}}}");
    let graced = |seconds: i64| {
        let mut pod = complete_pod();
        pod["spec"]["terminationGracePeriodSeconds"] = json!(seconds);
        filled_by(&spec, &pod)["spec"]["terminationGracePeriodSeconds"].clone()
    };
    assert_eq!([graced(30), graced(10), graced(40)], [json!(20), json!(10), json!(40)]);
}

/// An update may keep a violation that the Pod had before, so another value must not look like the same one.
#[test]
fn two_wrong_values_are_told_apart() {
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
        let said_of = |value: Json| said(|pod| pod.pointer_mut(parent).unwrap()[field] = value);
        assert_ne!(said_of(one), said_of(other), "{place}");
    }
}
