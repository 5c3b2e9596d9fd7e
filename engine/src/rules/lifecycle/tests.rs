use serde_json::json;

use super::{super::testing::*, *};

const RESTART: &str = "restart-policy spec.restartPolicy";

fn owned_by(api_version: &str, kind: &str) -> serde_json::Value {
    json!([{"apiVersion": api_version, "kind": kind, "name": "o", "uid": "u", "controller": true}])
}

#[test]
fn bare_pod_is_not_restarted() {
    for always in [json!(null), json!("Always")] {
        let pod = fills(RESTART, |pod| pod["spec"]["restartPolicy"] = always);
        assert_eq!(pod["spec"]["restartPolicy"], "Never");
    }
    rejects(RESTART, |pod| pod["spec"]["restartPolicy"] = json!("OnFailure"));
}

#[test]
fn a_job_may_retry_on_failure() {
    accepts(|pod| {
        pod["metadata"]["ownerReferences"] = owned_by("batch/v1", "Job");
        pod["spec"]["restartPolicy"] = json!("OnFailure");
    });
    rejects(RESTART, |pod| {
        pod["metadata"]["ownerReferences"] = owned_by("example.com/v1", "Job");
        pod["spec"]["restartPolicy"] = json!("OnFailure");
    });
}

#[test]
fn pod_of_a_replica_set_is_denied() {
    rejects(RESTART, |pod| {
        pod["metadata"]["ownerReferences"] = owned_by("apps/v1", "ReplicaSet");
        pod["spec"]["restartPolicy"] = json!("Always");
    });
}

#[test]
fn controller_may_create_pods_that_end() {
    accepts(|pod| pod["metadata"]["ownerReferences"] = owned_by("argoproj.io/v1alpha1", "Workflow"));
}

#[test]
fn a_container_cannot_override_the_pods_restart_policy() {
    for policy in ["Always", "OnFailure"] {
        rejects("container-restart-rules spec.containers[0].restartPolicy", |pod| {
            pod["spec"]["containers"][0]["restartPolicy"] = json!(policy);
        });
    }
    rejects("container-restart-rules spec.containers[0].restartPolicyRules", |pod| {
        pod["spec"]["containers"][0]["restartPolicyRules"] = json!([{"action": "Restart"}]);
    });
    accepts(|pod| pod["spec"]["containers"][0]["restartPolicy"] = json!("Never"));
}

#[test]
fn init_container_that_restarts_on_failure_is_denied_and_a_sidecar_is_not() {
    let mut pod = complete_pod_of_three();
    pod["spec"]["initContainers"][0]["restartPolicy"] = json!("OnFailure");
    assert_eq!(violations(&pod), ["container-restart-rules spec.initContainers[0].restartPolicy"]);
    let mut pod = complete_pod();
    let mut sidecar = pod["spec"]["containers"][0].clone();
    sidecar["restartPolicy"] = json!("Always");
    sidecar["resources"]["limits"] = json!({"cpu": "1", "memory": "2Gi", "ephemeral-storage": "5Gi"});
    pod["spec"]["containers"][0]["resources"]["limits"] = sidecar["resources"]["limits"].clone();
    pod["spec"]["initContainers"] = json!([sidecar]);
    assert_eq!(violations(&pod), Vec::<String>::new());
}

#[test]
fn the_deadline_is_filled_and_bounded() {
    let deadline = "active-deadline spec.activeDeadlineSeconds";
    let pod = fills(deadline, |pod| without(&mut pod["spec"], "activeDeadlineSeconds"));
    assert_eq!(pod["spec"]["activeDeadlineSeconds"], 3600);
    for seconds in [json!(3601), json!(0), json!(-1), json!(i64::MAX)] {
        rejects(deadline, |pod| pod["spec"]["activeDeadlineSeconds"] = seconds);
    }
    accepts(|pod| pod["spec"]["activeDeadlineSeconds"] = json!(3600));
}

#[test]
fn grace_periods_are_bounded() {
    rejects("grace-period spec.terminationGracePeriodSeconds", |pod| pod["spec"][GRACE] = json!(61));
    accepts(|pod| pod["spec"][GRACE] = json!(60));
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        rejects(&format!("grace-period spec.containers[0].{probe}.terminationGracePeriodSeconds"), |pod| {
            pod["spec"]["containers"][0][probe] = json!({"terminationGracePeriodSeconds": 61});
        });
    }
}

#[test]
fn the_default_grace_period_is_lowered_to_a_strict_policys() {
    let mut spec = Spec::default();
    spec.lifecycle.termination_grace_period_seconds.max = Some(5);
    let pod = filled_by(&spec, &complete_pod());
    assert_eq!(pod["spec"][GRACE], 5);
    assert_eq!(violations_of(&spec, &complete_pod()), ["grace-period spec.terminationGracePeriodSeconds"]);
}

/// Always is the API default, which cannot be distinguished from an unset field: it stays if it is allowed.
#[test]
fn restart_policy_may_be_each_of_the_allowed_values() {
    let spec = spec("{lifecycle: {restartPolicy: {allowed: [Never, OnFailure, Always]}}}");
    for policy in ["Never", "OnFailure", "Always"] {
        accepts_under(&spec, |pod| pod["spec"]["restartPolicy"] = json!(policy));
    }
    accepts_under(&spec, |pod| pod["spec"]["restartPolicy"] = json!(null));
    for wrong in [json!("never"), json!(""), json!("Sometimes")] {
        rejects_under(&spec, RESTART, |pod| pod["spec"]["restartPolicy"] = wrong);
    }
}

#[test]
fn restart_policy_of_a_number_is_denied_even_where_always_is_allowed() {
    let spec = spec("{lifecycle: {restartPolicy: {allowed: [Never, Always]}}}");
    let mut pod = complete_pod();
    pod["spec"]["restartPolicy"] = json!(1);
    assert!(violations_of(&spec, &pod).contains(&RESTART.to_string()));
}

#[test]
fn default_restart_policy_is_filled_where_always_is_not_allowed() {
    let spec = spec("{lifecycle: {restartPolicy: {default: OnFailure, allowed: [Never, OnFailure]}}}");
    assert_eq!(filled_by(&spec, &plain_pod())["spec"]["restartPolicy"], "OnFailure");
    accepts_under(&spec, |pod| pod["spec"]["restartPolicy"] = json!("Never"));
}

#[test]
fn a_jobs_pod_has_the_values_for_jobs_and_no_other() {
    let strict = spec("{lifecycle: {restartPolicy: {allowedForJobs: []}}}");
    let of_job = |policy: &str| {
        let policy = json!(policy);
        move |pod: &mut serde_json::Value| {
            pod["metadata"]["ownerReferences"] = owned_by("batch/v1", "Job");
            pod["spec"]["restartPolicy"] = policy;
        }
    };
    rejects_under(&strict, RESTART, of_job("OnFailure"));
    accepts_under(&strict, of_job("Never"));
}

fn advice(version: &str, kind: &str, policy: &str) -> String {
    let mut pod = complete_pod();
    pod["metadata"]["ownerReferences"] = owned_by(version, kind);
    pod["spec"]["restartPolicy"] = json!(policy);
    lines_of(&Spec::default(), &pod).join("\n")
}

#[test]
fn advice_depends_on_the_controller() {
    for kind in ["ReplicaSet", "StatefulSet", "DaemonSet"] {
        let expected = format!(
            "spec.restartPolicy is \"Always\", must be Never: run it as a Job, a {kind} creates a new Pod each time one ends (policy key lifecycle.restartPolicy.allowed) (restart-policy)"
        );
        assert_eq!(advice("apps/v1", kind, "Always"), expected);
    }
    assert!(advice("v1", "ReplicationController", "Always").contains("run it as a Job"));
    for (version, kind) in [
        ("agents.x-k8s.io/v1beta1", "Sandbox"),
        ("ray.io/v1", "RayCluster"),
        ("example.com/v1", "ReplicaSet"),
    ] {
        let expected = format!(
            "must be Never: set restartPolicy: Never in the template of the {kind} (policy key lifecycle.restartPolicy.allowed) (restart-policy)"
        );
        let found = advice(version, kind, "Always");
        assert!(found.ends_with(&expected), "{found}");
    }
    let of_job = advice("batch/v1", "Job", "Sometimes");
    assert!(of_job.contains("must be Never or OnFailure: set it to Never or leave it out"), "{of_job}");
}

fn excepted(keys: &str) -> Profile {
    let text = format!(
        "{{containers: [{{name: e, match: {{images: [registry.example.com/trusted]}}, spec: {keys}}}]}}"
    );
    policy(&text).base().clone()
}

#[test]
fn restart_rules_of_containers_are_a_key_of_the_policy_and_of_exceptions() {
    let with_rules = |image: &str, list: &str| {
        let mut pod = complete_pod_of_three();
        pod["spec"][list][0]["image"] = json!(image);
        pod["spec"][list][0]["restartPolicy"] = json!("OnFailure");
        pod["spec"][list][0]["restartPolicyRules"] =
            json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]);
        pod
    };
    let profile = excepted("{lifecycle: {containerRestartRules: true}}");
    let trusted = "registry.example.com/trusted:1";
    assert_eq!(violations_under(&profile, &with_rules(trusted, "containers")), Vec::<String>::new());
    assert_eq!(violations_under(&profile, &with_rules(trusted, "initContainers")), Vec::<String>::new());
    for image in ["registry.example.com/trusted-evil:1", "registry.example.com/other"] {
        let at = "container-restart-rules spec.containers[0]";
        let expected = [format!("{at}.restartPolicy"), format!("{at}.restartPolicyRules")];
        assert_eq!(violations_under(&profile, &with_rules(image, "containers")), expected);
    }
    let everywhere = spec("{lifecycle: {containerRestartRules: true}}");
    assert_eq!(violations_of(&everywhere, &with_rules("x", "containers")), Vec::<String>::new());
}

const DEADLINE_AT: &str = "active-deadline spec.activeDeadlineSeconds";

fn deadline(seconds: serde_json::Value) -> impl FnOnce(&mut serde_json::Value) {
    move |pod| pod["spec"]["activeDeadlineSeconds"] = seconds
}

#[test]
fn deadline_without_a_default_must_be_written() {
    let spec = spec("{lifecycle: {activeDeadlineSeconds: {default: null, max: 100}}}");
    rejects_under(&spec, DEADLINE_AT, deadline(json!(null)));
    rejects_under(&spec, DEADLINE_AT, deadline(json!(101)));
    accepts_under(&spec, deadline(json!(100)));
}

#[test]
fn deadline_without_a_max_is_filled_and_has_no_ceiling() {
    let spec = spec(
        "{lifecycle: {activeDeadlineSeconds: {default: 100, max: null}, restartPolicy: {allowedForJobs: []}}}",
    );
    let mut pod = complete_pod();
    without(&mut pod["spec"], "activeDeadlineSeconds");
    assert_eq!(filled_by(&spec, &pod)["spec"]["activeDeadlineSeconds"], 100);
    accepts_under(&spec, deadline(json!(i32::MAX)));
}

#[test]
fn deadline_of_two_nulls_is_not_looked_at() {
    let spec = spec(
        "{lifecycle: {activeDeadlineSeconds: {default: null, max: null}, restartPolicy: {allowedForJobs: []}}}",
    );
    accepts_under(&spec, deadline(json!(null)));
    accepts_under(&spec, deadline(json!(i32::MAX)));
}

#[test]
fn deadline_above_int32_is_denied_under_the_highest_max() {
    let spec = spec("{lifecycle: {activeDeadlineSeconds: {default: 2147483647, max: 2147483647}}}");
    accepts_under(&spec, deadline(json!(2_147_483_647)));
    rejects_under(&spec, DEADLINE_AT, deadline(json!(2_147_483_648_i64)));
}

/// Deadlines as GitLab, Tekton and Flyte write them: one second too much, no time-out, nanoseconds.
#[test]
fn numbers_above_the_ceiling_are_clamped() {
    let spec = spec(
        "{lifecycle: {activeDeadlineSeconds: {onExcess: clamp}, terminationGracePeriodSeconds: {onExcess: clamp}}}",
    );
    for seconds in [3601, 2_147_483_647, 3_600_000_000_000_i64] {
        let mut pod = complete_pod();
        pod["spec"]["activeDeadlineSeconds"] = json!(seconds);
        pod["spec"][GRACE] = json!(seconds);
        pod["spec"]["containers"][0]["livenessProbe"] = json!({"tcpSocket": {"port": 1}, GRACE: seconds});
        // /validate denies what no fill has lowered.
        assert_eq!(violations_of(&spec, &pod).len(), 3);
        let filled = filled_by(&spec, &pod);
        assert_eq!(filled["spec"]["activeDeadlineSeconds"], 3600);
        assert_eq!(filled["spec"][GRACE], 60);
        assert_eq!(filled["spec"]["containers"][0]["livenessProbe"][GRACE], 60);
        assert_eq!(violations_of(&spec, &filled), Vec::<String>::new());
        assert_eq!(filled_by(&spec, &filled), filled);
    }
}

#[test]
fn only_numbers_above_the_ceiling_are_clamped() {
    let spec = spec(
        "{lifecycle: {activeDeadlineSeconds: {onExcess: clamp}, terminationGracePeriodSeconds: {max: 20, onExcess: clamp}}}",
    );
    for seconds in [json!(0), json!(-1)] {
        rejects_under(&spec, DEADLINE_AT, |pod| {
            pod["spec"][GRACE] = json!(20);
            pod["spec"]["activeDeadlineSeconds"] = seconds;
        });
    }
    let mut pod = complete_pod();
    for grace in [json!(null), json!(API_DEFAULT_GRACE)] {
        pod["spec"][GRACE] = grace;
        assert_eq!(filled_by(&spec, &pod)["spec"][GRACE], 20);
    }
    pod["spec"][GRACE] = json!(31);
    assert_eq!(filled_by(&spec, &pod)["spec"][GRACE], 20);
    assert_eq!(filled(&pod)["spec"][GRACE], 31, "the default policy denies and does not clamp");
}

#[test]
fn grace_period_without_a_max_is_not_bounded() {
    let spec = spec("{lifecycle: {terminationGracePeriodSeconds: {max: null}}}");
    accepts_under(&spec, |pod| pod["spec"][GRACE] = json!(300));
}
