//! For each rule: edits of a sound Pod that violate it and no other, and edits at the boundary of what it allows.
//!
//! The notation is that of [`crate::edits`].

mod lifecycle;
mod metadata;
mod other_policies;
mod placement;
mod resources;
mod security;
mod volumes;

use serde_json::{Value as Json, json};

use crate::{edits::Table, generator};

/// Edits of a Pod, and what they are to a rule under a policy.
pub(crate) struct RuleCase {
    pub(crate) rule: &'static str,
    /// The `spec` of the policy.
    pub(crate) spec: Json,
    /// A Pod that violates nothing.
    pub(crate) base: Json,
    pub(crate) violating: Table,
    pub(crate) boundary: Table,
}

/// A case of the default policy.
fn rule_case(rule: &'static str, violating: Table, boundary: Table) -> RuleCase {
    RuleCase { rule, spec: json!({}), base: generator::complete(), violating, boundary }
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
