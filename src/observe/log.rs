//! Verdicts in the log.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use sandgate_engine::review::{AuditRecord, Outcome, Record};

/// The most namespaces without a policy that are distinguished. Others are logged at level info.
const MAX_NAMESPACES: usize = 1000;

/// Logs verdicts. Texts of requests come from the audit record, which has cut them.
#[derive(Debug, Default)]
pub struct VerdictLog {
    /// The namespaces without a policy that were logged at level warn.
    without_policy: Mutex<HashSet<String>>,
}

impl VerdictLog {
    /// Returns false if the log has no line for the verdict.
    pub(super) fn is_logged(record: &Record) -> bool {
        let is_usual = matches!(record.outcome, Outcome::Admitted | Outcome::NotEvaluated);
        !is_usual || record.is_escape() || tracing::enabled!(tracing::Level::DEBUG)
    }

    /// Logs a verdict: at level info if something was or would be denied, was exempt or found no policy, else at level
    /// debug. A namespace without a policy is logged at level warn once, a stored Pod that violates its policy each
    /// time.
    pub(super) fn log(&self, record: &Record, entry: &AuditRecord) {
        let AuditRecord { verdict, endpoint, uid, namespace, name, user, .. } = entry;
        match record.outcome {
            Outcome::Admitted | Outcome::NotEvaluated => {
                let micros = entry.duration_micros;
                tracing::debug!(%verdict, %endpoint, %uid, %namespace, %name, micros, "Admission decision");
            }
            Outcome::NoPolicy if self.is_new(namespace) => tracing::warn!(
                %verdict, %endpoint, %uid, %namespace, %name, %user,
                "Admission decision: the webhook selects a namespace that no policy covers"
            ),
            _ => {
                let rules = entry.rules().join(",");
                tracing::info!(%verdict, %endpoint, %uid, %namespace, %name, %user, rules, "Admission decision");
            }
        }
        if record.is_escape() {
            let rules = sandgate_engine::review::rules(&entry.forgiven).join(",");
            let uid = sandgate_engine::text::cut(record.pod_uid(), sandgate_engine::review::MAX_TEXT_CHARS);
            tracing::warn!(
                policy = %entry.policy, %namespace, %name, %uid, rules,
                "A stored Pod violates the policy"
            );
        }
    }

    fn is_new(&self, namespace: &str) -> bool {
        let mut known = self.without_policy.lock().unwrap_or_else(PoisonError::into_inner);
        known.len() < MAX_NAMESPACES && known.insert(namespace.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_new_once_and_memory_is_bounded() {
        let log = VerdictLog::default();
        assert!(log.is_new("a") && !log.is_new("a"));
        let new = (0..2 * MAX_NAMESPACES).filter(|number| log.is_new(&number.to_string())).count();
        assert_eq!(new, MAX_NAMESPACES - 1);
    }
}
