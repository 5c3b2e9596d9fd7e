//! The result of a scan, in bounded memory: counts, and some examples for each owner and rule.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::templates::TemplateFinding;
use crate::cli::terminal::count;
use sandgate_engine::{
    policy::Policy,
    scan::{Class, Owner, Scanned},
    text::{cut, sanitize},
    violations::{Violation, Violations},
};

/// So many owners are kept with their violations; Pods of further ones are only counted.
const MAX_OWNERS: usize = 5_000;
/// So many names of Pods are kept for each owner.
const MAX_NAMES: usize = 20;
/// So many violations are kept for each owner.
const MAX_LINES: usize = 50;
/// So many characters are kept of each text that comes from a Pod.
const MAX_TEXT_CHARS: usize = 400;

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The number of Pods of each class.
    pub(super) classes: BTreeMap<Class, u64>,
    /// The number of Pods in namespaces without a policy.
    pub(super) no_policy: u64,
    /// Some of these namespaces.
    pub(super) no_policy_namespaces: BTreeSet<String>,
    /// The owners of Pods that violate their policy.
    pub(super) owners: BTreeMap<(String, Owner), OwnerTally>,
    /// The number of Pods that violate their policy and whose owners are not kept.
    pub(super) omitted: u64,
    /// The number of Pods that violate each rule.
    pub(super) rules: BTreeMap<&'static str, RuleTally>,
    /// The number of Pods that would be admitted if they were created anew.
    pub(super) fixed_anew: u64,
    /// Static Pods, by namespace and name; some of them.
    pub(super) statics: Vec<String>,
    /// The number of workload objects whose templates were checked as a whole; none if they were not asked for.
    pub(super) templates_checked: u64,
    /// Those of which a Pod would violate the policy.
    pub(super) templates: Vec<TemplateFinding>,
    /// The number of such objects that are not kept.
    pub(super) templates_omitted: u64,
    /// The number of workload objects of which a template, or a part of one, was not checked.
    pub(super) templates_unchecked: u64,
    /// Some of these objects, each with the reasons.
    pub(super) unchecked_templates: Vec<String>,
    /// The number of workload objects in namespaces without a policy.
    pub(super) templates_no_policy: u64,
    /// The kinds with templates whose objects are in no namespace, so that no policy covers them.
    pub(super) kinds_of_cluster: BTreeSet<String>,
}

/// The Pods of one owner that violate their policy.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OwnerTally {
    /// The policy of the namespace.
    pub(super) policy: String,
    /// The number of Pods.
    pub(super) pods: u64,
    /// The names of some of them.
    pub(super) names: Vec<String>,
    /// The number of Pods of each class.
    #[serde(serialize_with = "by_word")]
    pub(super) classes: BTreeMap<Class, u64>,
    /// The number of Pods that would be admitted if they were created anew.
    pub(super) admitted_anew: u64,
    /// The rules that are violated, and that sandgate fills when the Pods are created anew.
    pub(super) filled: BTreeSet<&'static str>,
    /// What would still be denied.
    pub(super) violations: Vec<Line>,
}

/// One violation, in some Pods of one owner.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    pub(super) rule: &'static str,
    pub(super) path: String,
    pub(super) found: String,
    pub(super) wanted: String,
    pub(super) remedy: String,
    /// The number of Pods.
    pub(super) pods: u64,
}

/// The Pods that violate one rule.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RuleTally {
    /// The number of Pods that violate it as they run.
    pub(super) pods: u64,
    /// The number of Pods that would be denied for it if they were created anew.
    pub(super) denied: u64,
    /// The number of Pods that would be denied for it and for nothing else.
    pub(super) denied_only: u64,
}

impl Tally {
    /// Adds a Pod.
    pub(super) fn add(
        &mut self,
        policy: &Policy,
        namespace: &str,
        pod: &str,
        owner: &Owner,
        scanned: &Scanned,
    ) {
        *self.classes.entry(scanned.class).or_default() += 1;
        if scanned.class == Class::Static && self.statics.len() < MAX_NAMES {
            self.statics.push(text(&format!("{namespace}/{pod}")));
        }
        if !scanned.class.is_finding() {
            return;
        }
        self.add_rules(scanned);
        let key = (text(namespace), Owner { kind: text(&owner.kind), name: text(&owner.name) });
        if self.owners.len() >= MAX_OWNERS && !self.owners.contains_key(&key) {
            self.omitted += 1;
            return;
        }
        self.owners.entry(key).or_default().add(policy, pod, scanned);
    }

    /// Adds a Pod of a namespace without a policy.
    pub(super) fn add_without_policy(&mut self, namespace: &str) {
        self.no_policy += 1;
        self.add_namespace_without_policy(namespace);
    }

    /// Adds a workload of which a Pod would violate the policy.
    pub(super) fn add_template(&mut self, finding: TemplateFinding) {
        if self.templates.len() >= MAX_OWNERS {
            self.templates_omitted += 1;
            return;
        }
        let TemplateFinding { namespace, kind, name, mut violations, .. } = finding;
        violations.truncate(MAX_LINES);
        let (namespace, kind, name) = (text(&namespace), text(&kind), text(&name));
        self.templates.push(TemplateFinding { namespace, kind, name, violations, ..finding });
    }

    /// Adds a workload of which a template, or a part of one, was not checked.
    pub(super) fn add_unchecked_template(&mut self, object: &str, reasons: &[String]) {
        self.templates_unchecked += 1;
        if self.unchecked_templates.len() < MAX_NAMES {
            self.unchecked_templates.push(text(&format!("{object}: {}", reasons.join("; "))));
        }
    }

    /// Adds a workload of a namespace without a policy.
    pub(super) fn add_template_without_policy(&mut self, namespace: &str) {
        self.templates_no_policy += 1;
        self.add_namespace_without_policy(namespace);
    }

    fn add_namespace_without_policy(&mut self, namespace: &str) {
        if self.no_policy_namespaces.len() < MAX_NAMES {
            self.no_policy_namespaces.insert(text(namespace));
        }
    }

    /// Returns the number of workload objects of which a Pod would violate the policy.
    pub(super) fn template_findings(&self) -> u64 {
        self.templates.len() as u64 + self.templates_omitted
    }

    /// Returns the number of workload objects whose templates were checked as a whole or in part, or could not be.
    pub(super) fn templates_looked_at(&self) -> u64 {
        self.templates_checked + self.templates_unchecked
    }

    fn add_rules(&mut self, scanned: &Scanned) {
        let remaining = ids(&scanned.remaining);
        if scanned.remaining.is_empty() {
            self.fixed_anew += 1;
        }
        for id in ids(&scanned.violations).union(&remaining).copied() {
            let rule = self.rules.entry(id).or_default();
            rule.pods += 1;
            rule.denied += u64::from(remaining.contains(id));
            rule.denied_only += u64::from(remaining.contains(id) && remaining.len() == 1);
        }
    }

    /// Returns the number of Pods that violate their policy.
    pub(super) fn findings(&self) -> u64 {
        self.classes.iter().filter(|(class, _)| class.is_finding()).map(|(_, pods)| pods).sum()
    }

    /// Returns the number of Pods that were checked.
    pub(super) fn checked(&self) -> u64 {
        self.findings() + self.of(Class::Conforms)
    }

    /// Returns the number of Pods of a class.
    pub(super) fn of(&self, class: Class) -> u64 {
        self.classes.get(&class).copied().unwrap_or_default()
    }

    /// Returns the one change that fixes most Pods.
    pub(super) fn best_change(&self) -> Option<Change> {
        let anew = Change { rule: None, pods: self.fixed_anew };
        let of_rules = self.rules.iter().map(|(id, rule)| Change { rule: Some(id), pods: rule.denied_only });
        // Of two that fix as many the first is taken: creating anew needs no change of what people wrote.
        let best = of_rules.fold(anew, |best, next| if next.pods > best.pods { next } else { best });
        (best.pods > 0).then_some(best)
    }
}

/// One change that fixes Pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    /// The rule to conform to; none if it is enough to create the Pods anew.
    pub(super) rule: Option<&'static str>,
    /// The number of Pods that would be admitted after it.
    pub(super) pods: u64,
}

impl Change {
    /// Returns the change as one sentence without an end.
    pub(super) fn sentence(self, findings: u64) -> String {
        let of = format!("{} of {}", self.pods, count_pods(findings));
        match self.rule {
            None => format!("create the Pods anew, sandgate fills the rest: fixes {of}"),
            Some(rule) => format!("conform to rule {rule} and create the Pods anew: fixes {of}"),
        }
    }
}

impl OwnerTally {
    fn add(&mut self, policy: &Policy, pod: &str, scanned: &Scanned) {
        self.policy.clone_from(&policy.name);
        self.pods += 1;
        *self.classes.entry(scanned.class).or_default() += 1;
        self.admitted_anew += u64::from(scanned.remaining.is_empty());
        if self.names.len() < MAX_NAMES {
            self.names.push(text(pod));
        }
        for violation in &scanned.remaining {
            self.add_violation(violation);
        }
        let remaining = ids(&scanned.remaining);
        self.filled.extend(ids(&scanned.violations).difference(&remaining));
    }

    fn add_violation(&mut self, violation: &Violation) {
        let new = Line::of(violation);
        let known = self
            .violations
            .iter_mut()
            .find(|line| line.rule == new.rule && line.path == new.path && line.found == new.found);
        if let Some(line) = known {
            line.pods += 1;
        } else if self.violations.len() < MAX_LINES {
            self.violations.push(new);
        }
    }

    /// Returns the classes as people read them.
    pub(super) fn classes(&self) -> String {
        let words: Vec<String> = self
            .classes
            .iter()
            .map(|(class, pods)| {
                let described = describe(*class);
                if *pods == self.pods { described.to_string() } else { format!("{pods} {described}") }
            })
            .collect();
        words.join(", ")
    }
}

impl Line {
    /// Returns the violation of one Pod.
    pub(super) fn of(violation: &Violation) -> Self {
        let Violation { rule, path, found, wanted, remedy } = violation;
        let (path, found) = (text(&path.to_string()), text(found));
        Self { rule: rule.id, path, found, wanted: text(wanted), remedy: text(remedy), pods: 1 }
    }

    pub(super) fn sentence(&self) -> String {
        let Self { path, found, wanted, remedy, rule, .. } = self;
        format!("{path} is {found}, must be {wanted}: {remedy} ({rule})")
    }
}

/// `1 Pod`, `2 Pods`.
pub(super) fn count_pods(pods: u64) -> String {
    count(pods, "Pod")
}

/// Returns what a class of findings means for a Pod.
pub(super) fn describe(class: Class) -> &'static str {
    match class {
        Class::Violates => "changed since sandgate filled it",
        Class::OtherPolicy => "filled by another policy",
        Class::Older => "not filled by sandgate",
        Class::Conforms | Class::Ended | Class::Static => class.as_str(),
    }
}

fn ids(violations: &Violations) -> BTreeSet<&'static str> {
    violations.iter().map(|violation| violation.rule.id).collect()
}

/// Returns a text of a Pod, safe to show and not too long to keep.
fn text(text: &str) -> String {
    cut(&sanitize(text), MAX_TEXT_CHARS).into_owned()
}

fn by_word<S: serde::Serializer>(classes: &BTreeMap<Class, u64>, out: S) -> Result<S::Ok, S::Error> {
    out.collect_map(classes.iter().map(|(class, pods)| (class.as_str(), pods)))
}
