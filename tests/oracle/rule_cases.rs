//! For each rule: edits of a sound Pod that violate it and no other, and edits at the boundary of what it allows.
//!
//! The notation is that of [`crate::edits`].

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::{attacks::put, edits::Table, generator, oracle::SECTIONS};

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
pub(crate) fn rule_case(rule: &'static str, violating: Table, boundary: Table) -> RuleCase {
    RuleCase { rule, spec: json!({}), base: generator::complete(), violating, boundary }
}

/// A case under a policy that opens or closes something, as the files of the subjects have it. Each edit of `violating`
/// violates the rule and no other, each of `boundary` is admitted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    rule: String,
    spec: Json,
    /// What the complete Pod needs besides, as JSON pointers.
    #[serde(default)]
    base: BTreeMap<String, Json>,
    violating: BTreeMap<String, Vec<Json>>,
    boundary: BTreeMap<String, Vec<Json>>,
}

static WRITTEN: LazyLock<Vec<Written>> = LazyLock::new(|| {
    let cases = SECTIONS.iter().map(|section| section.cases_under_policies).collect::<String>();
    serde_saphyr::from_str(&cases).expect("the cases of all subjects are one YAML list")
});

/// Rules that more than one policy is needed for stand here more than once.
pub(crate) fn all() -> Vec<RuleCase> {
    let of_default_policy = SECTIONS.iter().flat_map(|section| (section.cases)());
    of_default_policy.chain(WRITTEN.iter().map(case)).collect()
}

fn case(written: &'static Written) -> RuleCase {
    let Written { rule, spec, base, violating, boundary } = written;
    let mut pod = generator::complete();
    for (pointer, value) in base {
        put(&mut pod, pointer, value);
    }
    let table = |edits: &'static BTreeMap<String, Vec<Json>>| -> Table {
        edits.iter().map(|(place, values)| (place.as_str(), values.clone())).collect()
    };
    RuleCase { rule, spec: spec.clone(), base: pod, violating: table(violating), boundary: table(boundary) }
}

pub(crate) fn hardened() -> Json {
    json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}})
}

pub(crate) fn tiny() -> Json {
    let amounts = json!({"cpu": "1m", "memory": "1Mi", "ephemeral-storage": "1Mi"});
    json!({"limits": amounts, "requests": amounts})
}
