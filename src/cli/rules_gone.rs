//! Whether a webhook configuration has its rules, and whether it once had them.

use serde_json::Value;

use crate::certs::plan::Kind;

/// The rules of a webhook configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    /// Each webhook has rules.
    Present,
    /// A webhook has none: it is never called.
    Gone,
}

/// Returns whether each webhook of a configuration has rules.
pub(super) fn rules_of(configuration: &Value) -> Rules {
    let webhooks = configuration["webhooks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let has_rules = |webhook: &Value| webhook["rules"].as_array().is_some_and(|rules| !rules.is_empty());
    if !webhooks.is_empty() && webhooks.iter().all(has_rules) { Rules::Present } else { Rules::Gone }
}

/// Returns the fault of a configuration whose rules are missing. `was_armed` is what the CA Secret records; none if it cannot
/// be read.
pub(super) fn describe(kind: Kind, name: &str, rules: Rules, was_armed: Option<bool>) -> Option<String> {
    if rules == Rules::Present {
        return None;
    }
    let object = format!("the {} webhook configuration {name}", kind.as_str());
    Some(match was_armed {
        Some(true) => {
            format!(
                "rules gone: {object} was armed once and has no rules now, so Pods are admitted without a review"
            )
        }
        Some(false) => format!("{object} has no rules yet: sandgate has not armed it"),
        None => format!(
            "{object} has no rules: not armed yet, or the rules are gone (the CA Secret, which records it, cannot be read)"
        ),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_that_are_gone_are_a_reason_of_their_own() {
        let armed = json!({"webhooks": [{"rules": [{}]}, {"rules": [{}]}]});
        assert_eq!(describe(Kind::Mutating, "s", rules_of(&armed), Some(true)), None);
        let half = json!({"webhooks": [{"rules": [{}]}, {"rules": []}]});
        let text = |was_armed| describe(Kind::Validating, "s", rules_of(&half), was_armed).unwrap();
        assert!(
            text(Some(true)).starts_with("rules gone: the validating webhook configuration s was armed once")
        );
        assert!(text(Some(false)).contains("has not armed it"));
        assert!(text(None).contains("cannot be read"));
    }
}
