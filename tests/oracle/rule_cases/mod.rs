//! For each rule: edits of a sound Pod that violate it and no other, and edits at the boundary of what it allows.
//!
//! The notation is that of [`crate::places`].

mod lifecycle;
mod metadata;
mod other_policies;
mod placement;
mod resources;
mod security;
mod volumes;

use serde_json::{Value as Json, json};

use crate::{edits::Table, generator, oracle};

/// The policy that a rule is tried under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolicyVariant {
    Default,
    /// Names the registry, the Secrets, and more volume types.
    Named,
    /// Wants images pinned, and no Secret in the environment.
    Sealed,
}

impl PolicyVariant {
    pub(crate) fn settings(self) -> Json {
        match self {
            Self::Default => json!({}),
            Self::Named => json!({
                "images": {"allowedPrefixes": ["registry.example.com"]},
                "secrets": {"allowedNames": ["s", "t"]},
                "volumes": {"allowed": ["emptyDir", "configMap", "secret"]},
            }),
            Self::Sealed => json!({"images": {"requireDigest": true}, "secrets": {"environment": false}}),
        }
    }

    pub(crate) fn policy(self) -> oracle::Policy {
        match self {
            Self::Default => oracle::DEFAULT,
            Self::Named => oracle::Policy {
                image_prefixes: &["registry.example.com"],
                secrets: &["s", "t"],
                volume_types: &["emptyDir", "configMap", "secret"],
                ..oracle::DEFAULT
            },
            Self::Sealed => {
                oracle::Policy { wants_digest: true, secrets_in_environment: false, ..oracle::DEFAULT }
            }
        }
    }

    /// A Pod that violates nothing.
    pub(crate) fn base(self) -> Json {
        let mut pod = generator::complete();
        if self == Self::Sealed {
            pod["spec"]["containers"][0]["image"] = json!(pinned());
        }
        pod
    }
}

fn pinned() -> String {
    format!("registry.example.com/runner:1@sha256:{}", "0a".repeat(32))
}

pub(crate) struct RuleCase {
    pub(crate) rule: &'static str,
    pub(crate) variant: PolicyVariant,
    pub(crate) violating: Table,
    pub(crate) boundary: Table,
}

fn rule_case(rule: &'static str, violating: Table, boundary: Table) -> RuleCase {
    RuleCase { rule, variant: PolicyVariant::Default, violating, boundary }
}

/// Rules that more than one policy is needed for stand here more than once.
pub(crate) fn all() -> Vec<RuleCase> {
    let mut cases = metadata::rule_cases();
    cases.extend(placement::rule_cases());
    cases.extend(lifecycle::rule_cases());
    cases.extend(security::of_users());
    cases.extend(security::of_privileges());
    cases.extend(security::of_confinement());
    cases.extend(security::of_isolation());
    cases.extend(volumes::of_volumes());
    cases.extend(volumes::of_mounts());
    cases.extend(resources::rule_cases());
    cases.extend(other_policies::rule_cases());
    cases
}

fn hardened() -> Json {
    json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}})
}

fn tiny() -> Json {
    let amounts = json!({"cpu": "1m", "memory": "1Mi", "ephemeral-storage": "1Mi"});
    json!({"limits": amounts, "requests": amounts})
}
