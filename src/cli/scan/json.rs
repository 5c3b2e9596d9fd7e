//! The result as data.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    tally::{Change, OwnerTally, RuleTally, Tally},
    templates::TemplateFinding,
};
use sandgate_engine::scan::Class;

pub(super) fn write(tally: &Tally) -> String {
    let classes = Class::ALL.into_iter().map(|class| (class.as_str(), tally.of(class))).collect();
    let result = Document {
        owners: tally
            .owners
            .iter()
            .map(|((namespace, owner), pods)| Owned { namespace, kind: &owner.kind, name: &owner.name, pods })
            .collect(),
        templates: &tally.templates,
        rules: &tally.rules,
        best_change: tally.best_change(),
        static_pods: &tally.statics,
        namespaces_without_policy: &tally.no_policy_namespaces,
        unchecked_templates: &tally.unchecked_templates,
        kinds_of_cluster: &tally.kinds_of_cluster,
        summary: Summary {
            classes,
            checked: tally.checked(),
            findings: tally.findings(),
            no_policy: tally.no_policy,
            omitted_owners_pods: tally.omitted,
            templates_checked: tally.templates_checked,
            template_findings: tally.template_findings(),
            templates_unchecked: tally.templates_unchecked,
            templates_no_policy: tally.templates_no_policy,
        },
    };
    let mut text = serde_json::to_string_pretty(&result).expect("writing JSON to memory cannot fail");
    text.push('\n');
    text
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'t> {
    owners: Vec<Owned<'t>>,
    templates: &'t [TemplateFinding],
    rules: &'t BTreeMap<&'static str, RuleTally>,
    best_change: Option<Change>,
    static_pods: &'t [String],
    namespaces_without_policy: &'t BTreeSet<String>,
    unchecked_templates: &'t [String],
    kinds_of_cluster: &'t BTreeSet<String>,
    summary: Summary,
}

#[derive(Serialize)]
struct Owned<'t> {
    namespace: &'t str,
    kind: &'t str,
    name: &'t str,
    #[serde(flatten)]
    pods: &'t OwnerTally,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    classes: BTreeMap<&'static str, u64>,
    checked: u64,
    findings: u64,
    no_policy: u64,
    omitted_owners_pods: u64,
    templates_checked: u64,
    template_findings: u64,
    templates_unchecked: u64,
    templates_no_policy: u64,
}
