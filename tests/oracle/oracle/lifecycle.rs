//! How long a Pod runs, and whether it starts again.

use super::{Faults, Kind, Section, Subject, must, word};
use crate::{
    generator,
    rule_cases::{RuleCase, hardened, rule_case, tiny},
};
use serde::Deserialize;
use serde_json::json;

/// The keys, the property and its cases.
pub(super) const SECTION: Section = Section {
    defaults: DEFAULTS,
    drawn: DRAWN,
    check,
    cases: rule_cases,
    cases_under_policies: CASES_UNDER_POLICIES,
};

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lifecycle {
    pub(crate) restart_policy: RestartPolicy,
    pub(crate) container_restart_rules: bool,
    pub(crate) active_deadline_seconds: Seconds,
    pub(crate) termination_grace_period_seconds: Seconds,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RestartPolicy {
    pub(crate) allowed: Vec<String>,
    pub(crate) allowed_for_jobs: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Seconds {
    pub(crate) max: Option<i64>,
}

/// The default of each key, as the documentation of the policy file has it.
const DEFAULTS: &str = r"
lifecycle:
  restartPolicy: {default: Never, allowed: [Never], allowedForJobs: [OnFailure]}
  containerRestartRules: false
  activeDeadlineSeconds: {default: 3600, max: 3600, onExcess: deny}
  terminationGracePeriodSeconds: {max: 60, onExcess: deny}
";

/// The values of each key that generated policies draw from.
const DRAWN: &str = r"
lifecycle.restartPolicy:
- {allowed: [Never, OnFailure]}
- {default: OnFailure, allowed: [OnFailure, Always], allowedForJobs: []}
- {default: Never, allowed: [Never, OnFailure, Always], allowedForJobs: []}
- {default: Always, allowed: [Always], allowedForJobs: []}
lifecycle.containerRestartRules: [true]
lifecycle.activeDeadlineSeconds:
- {default: null, max: 3600}
- {default: 600, max: 5400, onExcess: clamp}
- {default: null, max: 60, onExcess: clamp}
lifecycle:
- {restartPolicy: {allowedForJobs: []}, activeDeadlineSeconds: {default: 3600, max: null}}
- {restartPolicy: {default: Never, allowed: [Never, OnFailure, Always], allowedForJobs: []}, activeDeadlineSeconds: {default: null, max: null}}
lifecycle.terminationGracePeriodSeconds: [{max: 20}, {max: null}, {max: 300, onExcess: clamp}, {max: 30, onExcess: deny}, {max: 0}]
";

/// What the API server writes where a Pod sets none, in seconds.
const API_GRACE: i64 = 30;

fn check(subject: &Subject, faults: &mut Faults) {
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

fn rule_cases() -> Vec<RuleCase> {
    let sidecar = json!({
        "name": "proxy", "image": "registry.example.com/proxy:1", "restartPolicy": "Always",
        "securityContext": hardened(), "resources": tiny(),
    });
    let mut beside_a_sidecar = generator::complete()["spec"].take();
    beside_a_sidecar["containers"][0]["resources"] = tiny();
    beside_a_sidecar["initContainers"] = json!([sidecar]);
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1", "controller": true});
    let metadata = json!({
        "name": "of-a-job", "namespace": "workflows", "labels": {"app": "workflow-runner"}, "ownerReferences": [job],
    });
    vec![
        rule_case(
            "restart-policy",
            vec![(
                "spec/restartPolicy",
                vec![json!("OnFailure"), json!("never"), json!(""), json!("Always")],
            )],
            vec![
                ("spec/restartPolicy", vec![json!("!remove"), json!("Always"), json!("Never")]),
                ("metadata", vec![metadata]),
            ],
        ),
        rule_case(
            "container-restart-rules",
            vec![
                (
                    "spec/containers/*/restartPolicy",
                    vec![json!("Always"), json!("OnFailure"), json!("never")],
                ),
                (
                    "C/restartPolicyRules",
                    vec![json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}])],
                ),
            ],
            vec![
                ("spec/containers/*/restartPolicy", vec![json!("Never"), json!(null)]),
                ("C/restartPolicyRules", vec![json!([])]),
                ("spec", vec![beside_a_sidecar]),
            ],
        ),
        rule_case(
            "active-deadline",
            vec![(
                "spec/activeDeadlineSeconds",
                vec![json!(0), json!(-1), json!(3601), json!(4_294_967_297_u64)],
            )],
            vec![("spec/activeDeadlineSeconds", vec![json!(1), json!(3600), json!("!remove")])],
        ),
        rule_case(
            "grace-period",
            vec![
                ("spec/terminationGracePeriodSeconds", vec![json!(61), json!(-1), json!(4_294_967_297_u64)]),
                (
                    "C/livenessProbe",
                    vec![json!({"exec": {"command": ["true"]}, "terminationGracePeriodSeconds": 61})],
                ),
            ],
            vec![
                ("spec/terminationGracePeriodSeconds", vec![json!(0), json!(60)]),
                (
                    "C/livenessProbe",
                    vec![json!({"exec": {"command": ["true"]}, "terminationGracePeriodSeconds": 60})],
                ),
            ],
        ),
    ]
}

/// Cases under policies that open or close something.
const CASES_UNDER_POLICIES: &str = r#"
- rule: restart-policy
  spec: {lifecycle: {restartPolicy: {default: OnFailure, allowed: [OnFailure], allowedForJobs: []}}}
  base: {/spec/restartPolicy: OnFailure}
  violating:
    spec/restartPolicy: [Never]
  boundary:
    spec/restartPolicy: [OnFailure, Always]
- rule: active-deadline
  spec: {lifecycle: {activeDeadlineSeconds: {default: null, max: 60}}}
  base: {/spec/activeDeadlineSeconds: 60}
  violating:
    spec/activeDeadlineSeconds: [61, 0, "!remove"]
  boundary:
    spec/activeDeadlineSeconds: [1, 60]
- rule: active-deadline
  spec: {lifecycle: {activeDeadlineSeconds: {default: 60, max: 60, onExcess: clamp}}}
  base: {/spec/activeDeadlineSeconds: 60}
  violating:
    spec/activeDeadlineSeconds: [0, -1]
  boundary:
    spec/activeDeadlineSeconds: [61, 2147483647]
- rule: grace-period
  spec: {lifecycle: {terminationGracePeriodSeconds: {max: 300, onExcess: clamp}}}
  violating:
    spec/terminationGracePeriodSeconds: [-1]
  boundary:
    spec/terminationGracePeriodSeconds: [301, 300, 2147483647]
- rule: container-restart-rules
  spec: {}
  violating:
    spec/containers/*/restartPolicy: [OnFailure]
  boundary:
    spec/containers/*/restartPolicy: [Never]
"#;
