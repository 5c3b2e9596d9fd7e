//! How long a Pod runs, and whether it starts again.

use super::{Faults, Kind, Subject, must, word};

/// What the API server writes where a Pod sets none, in seconds.
const API_GRACE: i64 = 30;

pub(super) fn check(subject: &Subject, faults: &mut Faults) {
    let lifecycle = &subject.keys.lifecycle;
    let policy = match word(subject.spec.restart_policy.as_ref()) {
        "" => "Always",
        policy => policy,
    };
    let has = |list: &[String]| list.iter().any(|allowed| allowed == policy);
    let may_restart = has(&lifecycle.restart_policy.allowed)
        || (is_of_a_job(subject) && has(&lifecycle.restart_policy.allowed_for_jobs));
    must(may_restart, "restart policy", faults);
    if let Some(max) = lifecycle.active_deadline_seconds.max {
        let is_bounded =
            subject.spec.active_deadline_seconds.is_some_and(|seconds| (1..=max).contains(&seconds));
        must(is_bounded, "deadline", faults);
    }
    if let Some(max) = lifecycle.termination_grace_period_seconds.max {
        let is_short = |seconds: i64| (0..=max).contains(&seconds);
        let grace = subject.spec.termination_grace_period_seconds.unwrap_or(API_GRACE);
        must(is_short(grace), "grace period", faults);
        for placed in subject.containers {
            let container = &placed.container;
            let probes = [&container.liveness_probe, &container.readiness_probe, &container.startup_probe];
            let mut graces =
                probes.into_iter().flatten().filter_map(|probe| probe.termination_grace_period_seconds);
            placed.must(graces.all(is_short), "probe's grace period", faults);
        }
    }
    for placed in subject.containers.iter().filter(|placed| !placed.keys.lifecycle.container_restart_rules) {
        let policy = word(placed.container.restart_policy.as_ref());
        let is_inherited =
            matches!(policy, "" | "Never") || (placed.kind == Kind::Sidecar && policy == "Always");
        placed.must(is_inherited, "container's restart policy", faults);
        let rules = placed.container.restart_policy_rules.iter().flatten();
        placed.must(rules.count() == 0, "restart rule", faults);
    }
}

/// The API server denies a second controller.
fn is_of_a_job(subject: &Subject) -> bool {
    let mut owners = subject.pod.metadata.owner_references.iter().flatten();
    let controller = owners.find(|owner| owner.controller == Some(true));
    controller.is_some_and(|owner| owner.kind == "Job" && owner.api_version == "batch/v1")
}
