//! The lifetime of the Pod and its restarts.

use super::{Group, Rule};
use crate::{
    json::Value,
    path::{LazyPath, SPEC},
    pod::{ContainerKind, Pod, controller, is_job, metadata_mut, spec_mut},
    policy::{Profile, RestartPolicyValue, Spec},
    violations::{Reporter, show},
};

pub(super) static RESTART_POLICY: Rule = Rule {
    id: "restart-policy",
    group: Group::Lifecycle,
    title: "restartPolicy is the policy's.",
    why: "An unset restartPolicy and the API default Always look the same; on a Pod without a controller both \
          become the policy's. A controller other than a Job would create a new Pod each time one ends, so its Pods \
          are denied: run the work as a Job. OnFailure of a Job's Pod is allowed, since the deadline limits it.",
    references: &["https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy"],
    setting: "spec.lifecycle.restartPolicy",
    fill: Some(fill_restart_policy),
    check: check_restart_policy,
};

fn fill_restart_policy<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let spec = &profile.spec;
    let wants_always = spec.lifecycle.restart_policy.default == RestartPolicyValue::Always;
    let controlled =
        metadata_mut(pod).is_none_or(|metadata| controller(metadata).is_some_and(|owner| !is_job(owner)));
    if wants_always || controlled {
        return 0;
    }
    let Some(pod) = spec_mut(pod) else { return 0 };
    if pod.get("restartPolicy").is_some_and(|policy| policy.as_str() != Some("Always")) {
        return 0;
    }
    pod.set("restartPolicy", spec.lifecycle.restart_policy.default.as_str());
    1
}

fn check_restart_policy(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let settings = &spec.lifecycle.restart_policy;
    let owner = pod.controller();
    let of_job = owner.is_some_and(is_job);
    let found = pod.spec.str("restartPolicy").unwrap_or("Always");
    let default = settings.default.as_str();
    if found == default
        || (of_job && settings.allowed_for_jobs.iter().any(|allowed| allowed.as_str() == found))
    {
        return;
    }
    let restarter = owner.filter(|_| !of_job);
    let remedy = match restarter.map(|owner| owner.str("kind")) {
        Some(Some(kind)) if found == "Always" => {
            format!("run it as a Job, a {kind} restarts Pods for ever")
        }
        // Left out it would be Always, which is not filled for a Pod that its controller would make again.
        Some(_) => format!("set it to {default}"),
        None => format!("set it to {default} or leave it out"),
    };
    out.report(SPEC.child("restartPolicy"), show(pod.spec.get("restartPolicy")), default, remedy);
}

pub(super) static CONTAINER_RESTART_RULES: Rule = Rule {
    id: "container-restart-rules",
    group: Group::Lifecycle,
    title: "No container overrides the restartPolicy of the Pod.",
    why: "Since Kubernetes 1.34 a container may have a restart policy or restart rules of its own, which take \
          precedence over the Pod's Never. Only Always on an init container is allowed: it makes a native sidecar, \
          which ends with the Pod.",
    references: &[
        "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-restart-rules",
    ],
    setting: "",
    fill: None,
    check: check_container_restart_rules,
};

fn check_container_restart_rules(_: &Spec, pod: &Pod, out: &mut Reporter) {
    for container in &pod.containers {
        let own = container.object.get("restartPolicy");
        let harmless = container.kind == ContainerKind::Sidecar
            || own.is_none_or(|policy| policy.as_str() == Some("Never"));
        if !harmless {
            out.report(
                container.at("restartPolicy"),
                show(own),
                "unset",
                "remove it, the Pod's restartPolicy holds",
            );
        }
        if container.object.list("restartPolicyRules").next().is_some() {
            out.report(
                container.at("restartPolicyRules"),
                show(container.object.get("restartPolicyRules")),
                "unset",
                "remove it, the Pod's restartPolicy holds",
            );
        }
    }
}

pub(super) static ACTIVE_DEADLINE: Rule = Rule {
    id: "active-deadline",
    group: Group::Lifecycle,
    title: "activeDeadlineSeconds is set and bounded.",
    why: "Without activeDeadlineSeconds a Pod may run for ever. It is filled if unset. It may be shorter than the \
          policy's maximum, not longer.",
    references: &[
        "https://kubernetes.io/docs/concepts/workloads/controllers/job/#job-termination-and-cleanup",
    ],
    setting: "spec.lifecycle.activeDeadlineSeconds",
    fill: Some(fill_active_deadline),
    check: check_active_deadline,
};

fn fill_active_deadline<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let spec = &profile.spec;
    let Some(pod) = spec_mut(pod) else { return 0 };
    let Some(default) = spec.lifecycle.active_deadline_seconds.default else { return 0 };
    pod.set_default("activeDeadlineSeconds", i64::from(default)).into()
}

fn check_active_deadline(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let Some(max) = spec.lifecycle.active_deadline_seconds.max else { return };
    let found = pod.spec.get("activeDeadlineSeconds");
    if !found.and_then(Value::as_i64).is_some_and(|seconds| (1..=i64::from(max)).contains(&seconds)) {
        let wanted = format!("1 to {max}");
        out.report(
            SPEC.child("activeDeadlineSeconds"),
            show(found),
            wanted,
            format_args!("set it to at most {max} or leave it out on create"),
        );
    }
}

pub(super) static GRACE_PERIOD: Rule = Rule {
    id: "grace-period",
    group: Group::Lifecycle,
    title: "terminationGracePeriodSeconds is bounded.",
    why: "With a long terminationGracePeriodSeconds, of the Pod or of a probe, the Pod runs on after its deadline. \
          The API default of 30 seconds is lowered if the policy allows less.",
    references: &["https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination"],
    setting: "spec.lifecycle.terminationGracePeriodSeconds",
    fill: Some(fill_grace_period),
    check: check_grace_period,
};

const GRACE: &str = "terminationGracePeriodSeconds";
const API_DEFAULT_GRACE: i64 = 30;

fn fill_grace_period<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let spec = &profile.spec;
    let Some(max) = spec.lifecycle.termination_grace_period_seconds.max.map(i64::from) else { return 0 };
    if max >= API_DEFAULT_GRACE {
        return 0;
    }
    let Some(pod) = spec_mut(pod) else { return 0 };
    if pod.get(GRACE).is_some_and(|seconds| seconds.as_i64() != Some(API_DEFAULT_GRACE)) {
        return 0;
    }
    pod.set(GRACE, max);
    1
}

fn check_grace_period(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let Some(max) = spec.lifecycle.termination_grace_period_seconds.max.map(i64::from) else { return };
    let mut check = |path: LazyPath, found: Option<&Value>, unset: i64| {
        let seconds = found.map_or(Some(unset), Value::as_i64);
        if !seconds.is_some_and(|seconds| (0..=max).contains(&seconds)) {
            let wanted = format_args!("0 to {max}");
            out.report(path, show(found), wanted, format_args!("set it to at most {max}"));
        }
    };
    check(SPEC.child(GRACE), pod.spec.get(GRACE), API_DEFAULT_GRACE);
    for container in &pod.containers {
        for (probe, settings) in container.probes() {
            // An unset one is the Pod's, which is checked above.
            check(container.at(probe).child(GRACE), settings.get(GRACE), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::testing::*, *};

    const RESTART: &str = "restart-policy spec.restartPolicy";

    fn owned_by(api_version: &str, kind: &str) -> serde_json::Value {
        json!([{"apiVersion": api_version, "kind": kind, "name": "o", "uid": "u", "controller": true}])
    }

    #[test]
    fn a_bare_pod_is_not_restarted() {
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
    fn a_replica_sets_pod_is_refused_with_advice() {
        rejects(RESTART, |pod| {
            pod["metadata"]["ownerReferences"] = owned_by("apps/v1", "ReplicaSet");
            pod["spec"]["restartPolicy"] = json!("Always");
        });
    }

    #[test]
    fn a_controller_may_make_pods_that_end() {
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
    fn an_init_container_that_restarts_on_failure_is_refused_and_a_sidecar_is_not() {
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
            rejects(
                &format!("grace-period spec.containers[0].{probe}.terminationGracePeriodSeconds"),
                |pod| {
                    pod["spec"]["containers"][0][probe] = json!({"terminationGracePeriodSeconds": 61});
                },
            );
        }
    }

    #[test]
    fn the_default_grace_period_is_lowered_to_a_strict_policys() {
        let mut spec = Spec::default();
        spec.lifecycle.termination_grace_period_seconds.max = Some(5);
        let pod = filled_by(&spec, &complete_pod());
        assert_eq!(pod["spec"][GRACE], 5);
        assert_eq!(
            violations_of(&spec, &complete_pod()),
            ["grace-period spec.terminationGracePeriodSeconds"]
        );
    }
}
