//! Errors of a policy: contradictions, patterns that can never match, and openings that let through more than
//! they seem to.

mod header;
mod match_keys;
mod pod;
mod storage;
mod warnings;

use super::{
    load::{Loaded, Problem, exception_tree, profile_tree},
    profile::Profile,
    spec::Spec,
    tree::Tree,
};

pub(super) use header::errors_of_set;
pub(super) use warnings::warnings;

/// Path and text of what is wrong, before it is located.
#[derive(Debug, Default)]
struct Problems(Vec<(String, String)>);

impl Problems {
    fn add(&mut self, path: impl Into<String>, problem: impl Into<String>) {
        self.0.push((path.into(), problem.into()));
    }

    fn located(self, tree: &Tree, prefix: &str) -> impl Iterator<Item = Problem> {
        self.0.into_iter().map(move |(path, text)| {
            let place = tree.place_of(&path);
            Problem::new(&format!("{prefix}{path}"), text, place)
        })
    }
}

/// Returns what is wrong with a policy by itself. `rules` are the ids of all rules.
pub(super) fn errors(loaded: &Loaded, rules: &[&str]) -> Vec<Problem> {
    let Loaded { policy, tree, .. } = loaded;
    let mut findings = Problems::default();
    header::check(policy, rules, &mut findings);
    match_keys::check(policy, &mut findings);
    let mut problems: Vec<Problem> = findings.located(tree, "spec.").collect();
    each_spec(loaded, |_, spec, exception, tree, prefix| {
        let mut findings = Problems::default();
        check_spec(spec, &mut findings);
        if let Some(base) = exception {
            // What the exception inherits has been reported for the Pod.
            let mut inherited = Problems::default();
            check_spec(base, &mut inherited);
            findings.0.retain(|finding| !inherited.0.contains(finding));
        }
        problems.extend(findings.located(tree, prefix));
    });
    problems
}

/// Calls `visit` for the keys of each profile and exception, with the tree and the path that they are located by. An
/// exception comes with the keys of its profile.
fn each_spec(loaded: &Loaded, mut visit: impl FnMut(&Profile, &Spec, Option<&Spec>, &Tree, &str)) {
    for (index, profile) in loaded.policy.all_profiles().enumerate() {
        let (tree, prefix) = match index {
            0 => (loaded.tree.clone(), "spec.".to_string()),
            _ => (profile_tree(&loaded.tree, index - 1), format!("spec.profiles[{}].spec.", index - 1)),
        };
        visit(profile, &profile.spec, None, &tree, &prefix);
        for (position, exception) in profile.exceptions.iter().enumerate() {
            let tree = exception_tree(&tree, position);
            let prefix = format!("{prefix}containers[{position}].spec.");
            visit(profile, &exception.spec, Some(&profile.spec), &tree, &prefix);
        }
    }
}

fn check_spec(spec: &Spec, findings: &mut Problems) {
    pod::check(spec, findings);
    storage::check(spec, findings);
}

fn is_dns_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len())
        && text.chars().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

fn is_label_key(key: &str) -> bool {
    let name = match key.split_once('/') {
        Some((prefix, name)) if is_dns_subdomain(prefix) => name,
        Some(_) => return false,
        None => key,
    };
    !name.is_empty() && is_label_value(name)
}

/// Returns true if `text` can be the value of a label.
pub(super) fn is_label_value(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    text.len() <= 63
        && text.chars().all(inner)
        && (text.is_empty() || (text.starts_with(edge) && text.ends_with(edge)))
}

/// Reports each entry that is not the name of an object, such as a pattern where names are exact.
fn check_exact_names(path: &str, names: &[String], findings: &mut Problems) {
    for (index, name) in names.iter().enumerate() {
        if !is_dns_subdomain(name) {
            findings
                .add(format!("{path}[{index}]"), format!("{name:?} must be a name, exact and without '*'"));
        } else if names[..index].contains(name) {
            findings.add(format!("{path}[{index}]"), format!("{name:?} is repeated: remove it"));
        }
    }
}
