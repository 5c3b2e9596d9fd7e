//! The lifetime of the Pod and its restarts.

use crate::cel::{self, Keys, Statement};

/// True of a Pod whose controller is a Job.
const IS_OF_JOB: &str = "v.o.?metadata.?ownerReferences.orValue([]).exists(w, w.?controller.orValue(false) && \
                         w.?kind.orValue('') == 'Job' && w.?apiVersion.orValue('') == 'batch/v1')";

pub(super) fn restart_policy(keys: Keys) -> Vec<Statement> {
    let settings = &keys.spec.lifecycle.restart_policy;
    let found = "v.o.?spec.?restartPolicy.orValue('Always')";
    let allowed = cel::list(settings.allowed.iter().map(|value| value.as_str()));
    let for_jobs = if settings.allowed_for_jobs.is_empty() {
        "false".into()
    } else {
        let values = cel::list(settings.allowed_for_jobs.iter().map(|value| value.as_str()));
        format!("({found} in {values} && {IS_OF_JOB})")
    };
    let condition = cel::not(&cel::any([format!("{found} in {allowed}"), for_jobs]));
    vec![Statement::pod(condition, "spec.restartPolicy", &cel::shown("v.o.?spec.?restartPolicy"))]
}

pub(super) fn container_restart_rules(keys: Keys) -> Vec<Statement> {
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

pub(super) fn active_deadline(keys: Keys) -> Vec<Statement> {
    let Some(max) = keys.spec.lifecycle.active_deadline_seconds.max else { return Vec::new() };
    let field = "v.o.?spec.?activeDeadlineSeconds";
    let condition = format!("!({field}.orValue(0) >= 1 && {field}.orValue(0) <= {max})");
    vec![Statement::pod(condition, "spec.activeDeadlineSeconds", &cel::shown_value(field))]
}

pub(super) fn grace_period(keys: Keys) -> Vec<Statement> {
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
