//! The lifetime of the Pod and its restarts.

use std::fmt;

use super::{Group, Rule};
use crate::{
    cel::{self, Keys, Statement},
    json::{Object, Value},
    path::{LazyPath, SPEC},
    pod::{ContainerKind, PROBES, Pod, controller, each_container_mut, is_job, metadata, spec_mut},
    policy::{Ceiling, OnExcess, Profile, RestartPolicyValue, Spec},
    violations::{Reporter, show},
};

pub(super) static RESTART_POLICY: Rule = Rule {
    id: "restart-policy",
    group: Group::Lifecycle,
    title: "restartPolicy is one of the policy's.",
    why: "An unset restartPolicy and the API default Always look the same; if the policy does not allow Always, both \
          become its default on a Pod without a controller and on one of a Job. The Pods of other controllers are \
          denied with advice: a ReplicaSet, for example, creates a new Pod each time one ends. A Job's Pod may have \
          the values of allowedForJobs too, since the deadline limits it.",
    references: &["https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy"],
    setting: "spec.lifecycle.restartPolicy.allowed",
    fill: Some(fill_restart_policy),
    check: check_restart_policy,
    cel: Some(cel_restart_policy),
};

/// The value that the API server gives `restartPolicy` where it is unset.
const API_DEFAULT_RESTART_POLICY: &str = "Always";

fn fill_restart_policy<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let settings = &profile.spec.lifecycle.restart_policy;
    if settings.allowed.contains(&RestartPolicyValue::Always)
        || controller(metadata(pod)).is_some_and(|owner| !is_job(owner))
    {
        return 0;
    }
    let Some(pod) = spec_mut(pod) else { return 0 };
    if pod.get("restartPolicy").is_some_and(|policy| policy.as_str() != Some(API_DEFAULT_RESTART_POLICY)) {
        return 0;
    }
    pod.set("restartPolicy", settings.default.as_str());
    1
}

fn check_restart_policy(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let settings = &spec.lifecycle.restart_policy;
    let owner = pod.controller();
    let for_jobs =
        if owner.is_some_and(is_job) { settings.allowed_for_jobs.as_slice() } else { Default::default() };
    let found = pod.spec.get("restartPolicy");
    // A value that is not a text is not one of them.
    let policy = found.map_or(API_DEFAULT_RESTART_POLICY, |policy| policy.as_str().unwrap_or_default());
    if settings.allowed.iter().chain(for_jobs).any(|allowed| allowed.as_str() == policy) {
        return;
    }
    let advice = RestartAdvice { owner, default: settings.default, policy };
    out.report(SPEC.child("restartPolicy"), show(found), Values(&settings.allowed, for_jobs), advice);
}

struct Values<'p>(&'p [RestartPolicyValue], &'p [RestartPolicyValue]);

impl fmt::Display for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self(allowed, for_jobs) = self;
        for (index, value) in allowed.iter().chain(*for_jobs).enumerate() {
            let separator = if index == 0 { "" } else { " or " };
            write!(f, "{separator}{}", value.as_str())?;
        }
        Ok(())
    }
}

/// The action against a wrong restart policy, which depends on what creates the Pod.
struct RestartAdvice<'p, 'a> {
    owner: Option<&'p Object<'a>>,
    default: RestartPolicyValue,
    policy: &'p str,
}

impl fmt::Display for RestartAdvice<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let default = self.default.as_str();
        match self.owner.filter(|owner| !is_job(owner)) {
            Some(owner) if self.policy == API_DEFAULT_RESTART_POLICY && restarts_pods_for_ever(owner) => {
                let kind = owner.str("kind").unwrap_or_default();
                write!(f, "run it as a Job, a {kind} creates a new Pod each time one ends")?;
            }
            Some(owner) => match owner.str("kind") {
                Some(kind) => write!(f, "set restartPolicy: {default} in the template of the {kind}")?,
                None => write!(f, "set it to {default}")?,
            },
            None => write!(f, "set it to {default} or leave it out on create")?,
        }
        f.write_str(" (policy key lifecycle.restartPolicy.allowed)")
    }
}

/// Returns true if an owner is of the kinds that create a new Pod each time one ends, and whose templates take no
/// restart policy but Always.
fn restarts_pods_for_ever(owner: &Object) -> bool {
    let group =
        owner.str("apiVersion").and_then(|version| version.split_once('/')).map_or("", |(group, _)| group);
    matches!(
        (group, owner.str("kind")),
        ("apps", Some("ReplicaSet" | "StatefulSet" | "DaemonSet")) | ("", Some("ReplicationController"))
    )
}

/// True of a Pod whose controller is a Job.
const CEL_IS_OF_JOB: &str = "v.o.?metadata.?ownerReferences.orValue([]).exists(w, w.?controller.orValue(false) && \
                         w.?kind.orValue('') == 'Job' && w.?apiVersion.orValue('') == 'batch/v1')";

fn cel_restart_policy(keys: Keys) -> Vec<Statement> {
    let settings = &keys.spec.lifecycle.restart_policy;
    let found = "v.o.?spec.?restartPolicy.orValue('Always')";
    let allowed = cel::list(settings.allowed.iter().map(|value| value.as_str()));
    let for_jobs = if settings.allowed_for_jobs.is_empty() {
        "false".into()
    } else {
        let values = cel::list(settings.allowed_for_jobs.iter().map(|value| value.as_str()));
        format!("({found} in {values} && {CEL_IS_OF_JOB})")
    };
    let condition = cel::not(&cel::any([format!("{found} in {allowed}"), for_jobs]));
    vec![Statement::pod(condition, "spec.restartPolicy", &cel::shown("v.o.?spec.?restartPolicy"))]
}

pub(super) static CONTAINER_RESTART_RULES: Rule = Rule {
    id: "container-restart-rules",
    group: Group::Lifecycle,
    title: "No container overrides the restartPolicy of the Pod unless the policy allows it.",
    why: "Since Kubernetes 1.34 a container may have a restart policy or restart rules of its own, which take \
          precedence over the Pod's Never. Always on an init container is allowed: it makes a native sidecar, which \
          ends with the Pod. A policy can allow the others, which the Pod's deadline bounds.",
    references: &[
        "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-restart-rules",
    ],
    setting: "spec.lifecycle.containerRestartRules",
    fill: None,
    check: check_container_restart_rules,
    cel: Some(cel_container_restart_rules),
};

fn check_container_restart_rules(_: &Spec, pod: &Pod, out: &mut Reporter) {
    let remedy = "remove it, the Pod's restartPolicy holds (policy key lifecycle.containerRestartRules)";
    for container in &pod.containers {
        if container.spec.lifecycle.container_restart_rules {
            continue;
        }
        let own = container.object.get("restartPolicy");
        let harmless = container.kind == ContainerKind::Sidecar
            || own.is_none_or(|policy| policy.as_str() == Some("Never"));
        if !harmless {
            out.report(container.at("restartPolicy"), show(own), "unset", remedy);
        }
        if container.object.list("restartPolicyRules").next().is_some() {
            let rules = container.object.get("restartPolicyRules");
            out.report(container.at("restartPolicyRules"), show(rules), "unset", remedy);
        }
    }
}

fn cel_container_restart_rules(keys: Keys) -> Vec<Statement> {
    let is_closed = keys.of_container(|spec| (!spec.lifecycle.container_restart_rules).to_string());
    let own = "c.k != 'sidecar' && c.o.?restartPolicy.orValue('Never') != 'Never'";
    let rules = "c.o.?restartPolicyRules.orValue([]).size() > 0";
    vec![
        Statement::container(
            cel::all([is_closed.clone(), own.into()]),
            "restartPolicy",
            &cel::shown("c.o.?restartPolicy"),
        ),
        Statement::container(
            cel::all([is_closed, rules.into()]),
            "restartPolicyRules",
            "string(c.o.?restartPolicyRules.orValue([]).size()) + ' rules'",
        ),
    ]
}

pub(super) static ACTIVE_DEADLINE: Rule = Rule {
    id: "active-deadline",
    group: Group::Lifecycle,
    title: "activeDeadlineSeconds is set and bounded as far as the policy bounds it.",
    why: "Without activeDeadlineSeconds a Pod may run for ever. The policy's default is filled if it is unset. It may \
          be shorter than the policy's maximum; a longer one is denied, or lowered if the policy clamps. A Job's own \
          deadline is not in its Pods, so that a Pod ends at this one whatever its Job has.",
    references: &[
        "https://kubernetes.io/docs/concepts/workloads/controllers/job/#job-termination-and-cleanup",
    ],
    setting: "spec.lifecycle.activeDeadlineSeconds",
    fill: Some(fill_active_deadline),
    check: check_active_deadline,
    cel: Some(cel_active_deadline),
};

const DEADLINE: &str = "activeDeadlineSeconds";

fn fill_active_deadline<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let bound = &profile.spec.lifecycle.active_deadline_seconds;
    let Some(pod) = spec_mut(pod) else { return 0 };
    if let Some(lowered) = excess(bound.max, bound.on_excess, pod.get(DEADLINE)) {
        pod.set(DEADLINE, lowered);
        return 1;
    }
    let Some(default) = bound.default else { return 0 };
    pod.set_default(DEADLINE, i64::from(default)).into()
}

fn check_active_deadline(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let bound = &spec.lifecycle.active_deadline_seconds;
    let Some(max) = bound.max else { return };
    let found = pod.spec.get(DEADLINE);
    if found.and_then(Value::as_i64).is_some_and(|seconds| (1..=i64::from(max)).contains(&seconds)) {
        return;
    }
    let leave_out = if bound.default.is_some() { " or leave it out on create" } else { "" };
    let remedy =
        format_args!("set it to at most {max}{leave_out} (policy key lifecycle.activeDeadlineSeconds.max)");
    out.report(SPEC.child(DEADLINE), show(found), format_args!("1 to {max}"), remedy);
}

/// Returns the ceiling of a number that the policy lowers to it.
fn excess(max: Option<u32>, on_excess: OnExcess, found: Option<&Value>) -> Option<i64> {
    let max = i64::from(max.filter(|_| on_excess == OnExcess::Clamp)?);
    found.and_then(Value::as_i64).filter(|seconds| *seconds > max).map(|_| max)
}

fn cel_active_deadline(keys: Keys) -> Vec<Statement> {
    let Some(max) = keys.spec.lifecycle.active_deadline_seconds.max else { return Vec::new() };
    let field = "v.o.?spec.?activeDeadlineSeconds";
    let condition = format!("!({field}.orValue(0) >= 1 && {field}.orValue(0) <= {max})");
    vec![Statement::pod(condition, "spec.activeDeadlineSeconds", &cel::shown_value(field))]
}

pub(super) static GRACE_PERIOD: Rule = Rule {
    id: "grace-period",
    group: Group::Lifecycle,
    title: "terminationGracePeriodSeconds is bounded.",
    why: "With a long terminationGracePeriodSeconds, of the Pod or of a probe, the Pod runs on after its deadline. \
          The API default of 30 seconds is lowered if the policy allows less; a longer one is denied, or lowered if \
          the policy clamps.",
    references: &["https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination"],
    setting: "spec.lifecycle.terminationGracePeriodSeconds",
    fill: Some(fill_grace_period),
    check: check_grace_period,
    cel: Some(cel_grace_period),
};

const GRACE: &str = "terminationGracePeriodSeconds";
/// The grace period that the API server gives a Pod without one, in seconds.
const API_DEFAULT_GRACE: i64 = 30;

fn fill_grace_period<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let Ceiling { max, on_excess } = profile.spec.lifecycle.termination_grace_period_seconds;
    let Some(ceiling) = max.map(i64::from) else { return 0 };
    let Some(spec) = spec_mut(pod) else { return 0 };
    let mut filled = 0;
    let is_default = spec.get(GRACE).is_none_or(|seconds| seconds.as_i64() == Some(API_DEFAULT_GRACE));
    if (is_default && ceiling < API_DEFAULT_GRACE) || excess(max, on_excess, spec.get(GRACE)).is_some() {
        spec.set(GRACE, ceiling);
        filled += 1;
    }
    if on_excess != OnExcess::Clamp {
        return filled;
    }
    each_container_mut(pod, profile, |_, container, _| {
        for probe in PROBES {
            let Some(Value::Object(probe)) = container.get_mut(probe) else { continue };
            if let Some(lowered) = excess(max, on_excess, probe.get(GRACE)) {
                probe.set(GRACE, lowered);
                filled += 1;
            }
        }
    });
    filled
}

fn check_grace_period(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let Some(max) = spec.lifecycle.termination_grace_period_seconds.max.map(i64::from) else { return };
    let mut check = |path: LazyPath, found: Option<&Value>, unset: i64| {
        let seconds = found.map_or(Some(unset), Value::as_i64);
        if !seconds.is_some_and(|seconds| (0..=max).contains(&seconds)) {
            let remedy = format_args!(
                "set it to at most {max} (policy key lifecycle.terminationGracePeriodSeconds.max)"
            );
            out.report(path, show(found), format_args!("0 to {max}"), remedy);
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

fn cel_grace_period(keys: Keys) -> Vec<Statement> {
    let Some(max) = keys.spec.lifecycle.termination_grace_period_seconds.max else { return Vec::new() };
    let field = "v.o.?spec.?terminationGracePeriodSeconds";
    let condition = format!("!({field}.orValue(30) >= 0 && {field}.orValue(30) <= {max})");
    let mut checks =
        vec![Statement::pod(condition, "spec.terminationGracePeriodSeconds", &cel::shown_value(field))];
    for probe in crate::pod::PROBES {
        let field = format!("c.o.?{probe}.?terminationGracePeriodSeconds");
        let condition = format!("!({field}.orValue(0) >= 0 && {field}.orValue(0) <= {max})");
        let path = format!("{probe}.terminationGracePeriodSeconds");
        checks.push(Statement::container(condition, &path, &cel::shown_value(&field)));
    }
    checks
}

#[cfg(test)]
mod tests;
