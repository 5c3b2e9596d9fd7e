//! Updates, bindings and escapes.

use super::*;

#[test]
fn an_update_that_changes_nothing_is_allowed_whatever_the_pod_violates() {
    assert_eq!(validate(&update(&privileged(), &privileged())).response["allowed"], true);
    assert_eq!(mutate(&update(&plain_pod(), &plain_pod())).response["allowed"], true);
}

#[test]
fn an_update_is_never_patched() {
    let answered = mutate(&update(&plain_pod(), &plain_pod()));
    assert!(answered.response.get("patch").is_none());
}

#[test]
fn an_update_that_adds_a_violation_is_denied_for_that_one() {
    let mut worse = plain_pod();
    worse["metadata"]["annotations"] = json!({"dev.gvisor.spec.rootfs.source": "/"});
    let answered = validate(&update(&plain_pod(), &worse));
    assert_eq!(answered.response["allowed"], false);
    assert_eq!(answered.response["auditAnnotations"]["rules"], "gvisor-annotations");
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
        pod["spec"]["unheardOf"] = json!({"to": content});
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
fn taking_a_required_label_away_is_denied() {
    let mut pod = complete_pod();
    pod["metadata"]["labels"] = json!({"app": "other"});
    let answered = validate(&update(&complete_pod(), &pod));
    assert_eq!(answered.response["auditAnnotations"]["rules"], "labels");
}

#[test]
fn the_finalizers_of_a_pod_that_is_being_deleted_can_be_removed_whatever_it_violates() {
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
fn a_pod_that_is_being_deleted_gets_no_worse() {
    let mut old = complete_pod();
    old["metadata"]["deletionTimestamp"] = json!("2026-11-24T00:00:00Z");
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({});
    assert_eq!(validate(&update(&old, &new)).response["allowed"], false);
}

#[test]
fn an_ephemeral_container_and_a_resize_are_evaluated() {
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

/// Creates the review of an update that adds an ephemeral container which mounts `volume` to a Pod that has it.
fn debug_with(volume: &Json) -> Json {
    let mut old = complete_pod();
    old["spec"]["volumes"].as_array_mut().unwrap().push(volume.clone());
    let mount = json!({"name": volume["name"], "mountPath": "/tmp/seen", "readOnly": true});
    let mut new = old.clone();
    new["spec"]["ephemeralContainers"] = json!([{
        "name": "debugger", "image": "i", "volumeMounts": [mount],
        "securityContext": complete_pod()["spec"]["containers"][0]["securityContext"],
    }]);
    let mut review = update(&old, &new);
    review["request"]["subResource"] = json!("ephemeralcontainers");
    review
}

#[test]
fn ephemeral_container_does_not_get_a_denied_volume_of_an_older_pod() {
    let token = json!([{"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}]);
    for (volume, rule) in [
        (json!({"name": "kube-api-access-abcde", "projected": {"sources": token}}), "token-volumes"),
        (json!({"name": "disk", "hostPath": {"path": "/var/log"}}), "volume-types"),
        (json!({"name": "keys", "secret": {"secretName": "keys"}}), "secrets,volume-types"),
    ] {
        let answered = validate(&debug_with(&volume));
        assert_eq!(answered.response["allowed"], false, "{volume}");
        assert_eq!(answered.response["auditAnnotations"]["rules"], rule, "{volume}");
        let message = answered.response["status"]["message"].as_str().unwrap();
        assert!(message.contains("spec.ephemeralContainers[0].volumeMounts[0].name"), "{message}");
        // The container that is there already stays what it is.
        let mut again = debug_with(&volume);
        again["request"]["oldObject"] = again["request"]["object"].clone();
        assert_eq!(validate(&again).response["allowed"], true, "{volume}");
    }
    let large = json!({"name": "cache", "emptyDir": {"sizeLimit": "100Gi"}});
    assert_eq!(validate(&debug_with(&large)).response["allowed"], true);
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
fn a_binding_is_evaluated_by_the_labels_and_annotations_that_it_carries() {
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
fn an_update_that_is_denied_may_be_one_of_an_escaped_pod_too() {
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
fn an_escape_that_is_a_dry_run_or_not_enforced_or_fixed_does_not_count() {
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

/// Multus, Calico and OVN-Kubernetes record their work in annotations, by an update of `pods/status`.
#[test]
fn an_agent_of_the_network_may_write_its_annotation_with_the_status() {
    let old = complete_pod();
    let mut new = old.clone();
    new["metadata"]["annotations"] = json!({"cni.projectcalico.org/podIP": "10.0.0.7/32"});
    let mut review = update(&old, &new);
    review["request"]["subResource"] = json!("status");
    assert!(validate(&review).response["allowed"] == true, "with the status");
    let review = update(&old, &new);
    assert!(validate(&review).response["allowed"] == false, "without it");
    let mut hostile = new.clone();
    hostile["metadata"]["annotations"]["dev.gvisor.flag.debug"] = json!("true");
    let mut review = update(&new, &hostile);
    review["request"]["subResource"] = json!("status");
    assert!(validate(&review).response["allowed"] == false, "no other rule is left out");
}
