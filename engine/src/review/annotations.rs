//! The audit annotations of an answer: the API server writes them to its own audit log, behind the webhook's name and a
//! slash.

use serde::Serialize;

use super::Record;

/// The key of the verdict's word.
pub const VERDICT: &str = "verdict";
/// The key of the ids of the violated rules, joined by commas. It is absent if none is violated.
pub const RULES: &str = "rules";
/// The key of the policy's name.
pub const POLICY: &str = "policy";
/// The key of the hash of the policy's content.
pub const POLICY_HASH: &str = "policy-hash";

/// The annotations of one answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct AuditAnnotations<'r> {
    verdict: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    rules: String,
    policy: &'r str,
    policy_hash: &'r str,
}

impl<'r> AuditAnnotations<'r> {
    /// Returns the annotations of a verdict, if a policy applied.
    pub(super) fn of(record: &'r Record) -> Option<Self> {
        record.policy.map(|policy| Self {
            verdict: record.outcome.as_str(),
            rules: record.rules(),
            policy: &policy.name,
            policy_hash: &policy.hash,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_that_readers_look_for() {
        let annotations =
            AuditAnnotations { verdict: "denied", rules: "a".into(), policy: "p", policy_hash: "h" };
        let written = serde_json::to_value(annotations).unwrap();
        let keys: Vec<_> = written.as_object().unwrap().keys().map(String::as_str).collect();
        let mut known = [VERDICT, RULES, POLICY, POLICY_HASH];
        known.sort_unstable();
        assert_eq!(keys, known);
    }
}
