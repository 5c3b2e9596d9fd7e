//! The names under which the API server knows a verdict: the webhooks, and the keys of the audit annotations.
//!
//! The API server writes each annotation of an answer to its audit log, under the name of the webhook and the key:
//! `mutate.sandgate.dev/verdict`.

use super::Endpoint;

/// The key of the verdict, a word of [`super::Outcome`].
pub const VERDICT: &str = "verdict";
/// The key of the ids of the violated rules, joined by commas.
pub const RULES: &str = "rules";
/// The key of the policy's name.
pub const POLICY: &str = "policy";
/// The key of the hash of the policy's content.
pub const POLICY_HASH: &str = "policy-hash";

/// The name of the webhook that fills.
pub const MUTATE_WEBHOOK: &str = "mutate.sandgate.dev";
/// The name of the webhook that validates Pods.
pub const VALIDATE_WEBHOOK: &str = "validate.sandgate.dev";
/// The name of the webhook that validates updates of a Pod's status.
pub const STATUS_WEBHOOK: &str = "status.sandgate.dev";
/// The name of the webhook that validates Bindings.
pub const BINDING_WEBHOOK: &str = "binding.sandgate.dev";

/// The webhooks that the chart registers for verdicts, and the endpoint that each calls. Those for patterns, selectors and the rest have
/// a prefix, such as `patterns.` or `POLICY.selector.`.
const WEBHOOKS: [(&str, Endpoint); 4] = [
    (MUTATE_WEBHOOK, Endpoint::Mutate),
    (VALIDATE_WEBHOOK, Endpoint::Validate),
    (STATUS_WEBHOOK, Endpoint::Validate),
    (BINDING_WEBHOOK, Endpoint::Validate),
];

/// Returns the endpoint that the webhook of this name calls; `None` if it is not one of sandgate's.
#[must_use]
pub fn endpoint_of(webhook: &str) -> Option<Endpoint> {
    let is_one = |known: &str| {
        webhook.strip_suffix(known).is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.'))
    };
    WEBHOOKS.into_iter().find(|(known, _)| is_one(known)).map(|(_, endpoint)| endpoint)
}

/// Returns the key in the API server's audit log of one annotation of a webhook.
#[must_use]
pub fn audit_key(webhook: &str, key: &str) -> String {
    format!("{webhook}/{key}")
}

/// Returns the webhook whose verdict stands under this key of the API server's audit log.
#[must_use]
pub fn webhook_of_verdict(audit_key: &str) -> Option<&str> {
    let (webhook, key) = audit_key.rsplit_once('/')?;
    (key == VERDICT && endpoint_of(webhook).is_some()).then_some(webhook)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_webhook_of_the_chart_with_verdicts_calls_a_known_endpoint() {
        let chart = include_str!("../../../charts/sandgate/templates/_helpers.tpl");
        for (name, _) in WEBHOOKS {
            assert!(chart.contains(&format!("\n{name}:")), "the chart registers {name}");
        }
        let registered =
            chart.lines().filter(|line| line.contains(".sandgate.dev:") && !line.starts_with(' '));
        let names = registered.filter_map(|line| line.split(':').next());
        let mut registered: std::collections::BTreeSet<&str> = names.collect();
        assert!(registered.remove("templates.sandgate.dev"), "that of templates gives no verdict");
        assert_eq!(registered.len(), WEBHOOKS.len(), "{registered:?}");
    }

    #[test]
    fn a_webhook_maps_to_the_endpoint_that_it_calls() {
        assert_eq!(endpoint_of("mutate.sandgate.dev"), Some(Endpoint::Mutate));
        assert_eq!(endpoint_of("patterns.mutate.sandgate.dev"), Some(Endpoint::Mutate));
        assert_eq!(endpoint_of("status.sandgate.dev"), Some(Endpoint::Validate));
        assert_eq!(endpoint_of("ci.selector.binding.sandgate.dev"), Some(Endpoint::Validate));
        for other in
            ["", "sandgate.dev", "other.sandgate.dev", "mutate.sandgate.dev.example.com", "labelled."]
        {
            assert_eq!(endpoint_of(other), None, "{other}");
        }
    }

    #[test]
    fn only_a_verdict_of_sandgate_is_found() {
        let key = audit_key("validate.sandgate.dev", VERDICT);
        assert_eq!(webhook_of_verdict(&key), Some("validate.sandgate.dev"));
        for other in ["validate.sandgate.dev/rules", "other.example.com/verdict", "verdict", "/verdict"] {
            assert_eq!(webhook_of_verdict(other), None, "{other}");
        }
    }
}
