//! Verdicts in the log.

use std::time::Duration;

use sandgate_engine::review::{Outcome, Record};

/// Logs the verdict: at level info if something was or would be denied or was exempt, else at level debug. A stored Pod
/// that violates the policy is logged at level warn.
pub(super) fn log(record: &Record, took: Duration) {
    let request = &record.request;
    if matches!(record.outcome, Outcome::Denied | Outcome::Warned | Outcome::WouldDeny | Outcome::Exempt) {
        tracing::info!(
            verdict = record.outcome.as_str(),
            endpoint = record.endpoint.as_str(),
            uid = &*request.uid,
            namespace = &*request.namespace,
            name = &*request.name,
            user = &*request.user,
            rules = record.rules(),
            "Admission decision"
        );
    } else {
        tracing::debug!(
            verdict = record.outcome.as_str(),
            endpoint = record.endpoint.as_str(),
            uid = &*request.uid,
            namespace = &*request.namespace,
            name = &*request.name,
            ?took,
            "Admission decision"
        );
    }
    if record.is_escape() {
        tracing::warn!(
            policy = record.policy.map(|policy| &*policy.name),
            namespace = &*request.namespace,
            name = &*request.name,
            uid = record.pod_uid(),
            rules = record.forgiven_rules(),
            "A stored Pod violates the policy"
        );
    }
}
