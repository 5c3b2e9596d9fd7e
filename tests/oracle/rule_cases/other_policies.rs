//! Rules under policies that open or close something: what each key admits, its edge, and what stays denied.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;
use serde_json::Value as Json;

use super::RuleCase;
use crate::{attacks::put, edits::Table, generator};

/// A case as its file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    rule: String,
    spec: Json,
    /// What the complete Pod needs besides, as JSON pointers.
    #[serde(default)]
    base: BTreeMap<String, Json>,
    violating: BTreeMap<String, Vec<Json>>,
    boundary: BTreeMap<String, Vec<Json>>,
}

static CASES: LazyLock<Vec<Written>> = LazyLock::new(|| {
    serde_saphyr::from_str(include_str!("other_policies.yaml")).expect("the cases are one YAML document")
});

pub(super) fn rule_cases() -> Vec<RuleCase> {
    CASES.iter().map(case).collect()
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
