//! Warns once of each namespace that the webhook selects and no policy covers.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use sandgate_engine::review::{Outcome, Record};

/// The largest number of namespaces that are remembered. Of others no warning is logged; their denials are.
const MAX_NAMESPACES: usize = 1000;

/// The namespaces of which a warning was logged.
#[derive(Debug, Default)]
pub(super) struct NoPolicyWarnings(Mutex<HashSet<String>>);

impl NoPolicyWarnings {
    /// Logs a warning if the record is the first of a namespace without a policy.
    pub(super) fn report(&self, record: &Record) {
        let is_evaluated = record.outcome != Outcome::NotEvaluated;
        if record.policy.is_some() || !is_evaluated || !self.is_first(&record.request.namespace) {
            return;
        }
        tracing::warn!(
            namespace = %record.request.namespace.chars().take(253).collect::<String>(),
            verdict = record.outcome.as_str(),
            "The webhook selects a namespace that no policy covers"
        );
    }

    fn is_first(&self, namespace: &str) -> bool {
        /// The longest name of a namespace, in bytes. A longer name is not a namespace.
        const MAX_NAME_BYTES: usize = 253;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        namespace.len() <= MAX_NAME_BYTES
            && known.len() < MAX_NAMESPACES
            && known.insert(namespace.to_owned())
    }

    /// Forgets all, when the policies have changed.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_namespace_is_reported_once_and_so_many_only() {
        let warnings = NoPolicyWarnings::default();
        assert!(warnings.is_first("a") && warnings.is_first("b"));
        assert!(!warnings.is_first("a"));
        assert!(!warnings.is_first(&"n".repeat(300)));
        let reported = (0..2 * MAX_NAMESPACES).filter(|number| warnings.is_first(&number.to_string()));
        assert_eq!(reported.count(), MAX_NAMESPACES - 2);
        warnings.clear();
        assert!(warnings.is_first("a"));
    }
}
