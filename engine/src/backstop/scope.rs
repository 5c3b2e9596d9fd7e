//! The namespaces of a policy, as a binding selects them.
//!
//! A policy beats another for a namespace by the way in which it means it: by name, by pattern, by selector, or as the rest.
//! So each way has objects of its own, and leaves out what a policy with an earlier way covers.

use crate::policy::{LabelOperator, LabelRequirement, LabelSelector, Pattern, Policy, PolicySet, matching};

/// The label that every namespace carries with its own name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// One way in which a policy means namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    /// The end of the names of its objects; empty for the first way of a policy.
    pub(super) suffix: &'static str,
    /// What the labels of the namespace must fulfil.
    pub(super) requirements: Vec<LabelRequirement>,
    /// A condition on the request, in CEL.
    pub(super) condition: Option<String>,
}

/// Returns the scopes of a policy of the set; none if the policy is for no namespaces.
pub(super) fn scopes(policy: &Policy, set: &PolicySet, release_namespace: &str) -> Vec<Scope> {
    let named = literals(set.policies());
    let patterns: Vec<&Pattern> = set.policies().iter().flat_map(|policy| policy.header.patterns()).collect();
    let beside = |names: Vec<String>| {
        (!names.is_empty()).then(|| LabelRequirement::new(NAME_LABEL, LabelOperator::NotIn, names))
    };
    let own = literals(std::slice::from_ref(policy));
    let own_patterns: Vec<&Pattern> = policy.header.patterns().collect();
    let with_release: Vec<String> = named
        .iter()
        .cloned()
        .chain((!release_namespace.is_empty()).then(|| release_namespace.into()))
        .collect();
    // Neither a selector nor "*" means the namespaces of Kubernetes itself.
    let mut others = String::from("!request.namespace.startsWith('kube-')");
    if !patterns.is_empty() {
        others = format!("{others} && !{}", matching(&patterns));
    }
    let mut scopes = Vec::new();
    if !own.is_empty() {
        let requirement = LabelRequirement::new(NAME_LABEL, LabelOperator::In, own);
        scopes.push(Scope { suffix: "", requirements: vec![requirement], condition: None });
    }
    if !own_patterns.is_empty() {
        let requirements = beside(named).into_iter().collect();
        scopes.push(Scope { suffix: ".patterns", requirements, condition: Some(matching(&own_patterns)) });
    }
    if let Some(selector) = &policy.header.namespace_selector {
        let requirements = selector.requirements().into_iter().chain(beside(with_release.clone())).collect();
        scopes.push(Scope { suffix: ".selector", requirements, condition: Some(others.clone()) });
    }
    if policy.header.is_for_rest() {
        let selectors = set.policies().iter().filter_map(|policy| policy.header.namespace_selector.as_ref());
        let negated = selectors.flat_map(LabelSelector::requirements).map(|one| one.negated());
        let requirements = beside(with_release).into_iter().chain(negated).collect();
        scopes.push(Scope { suffix: ".rest", requirements, condition: Some(others) });
    }
    if let Some(first) = scopes.first_mut() {
        first.suffix = "";
    }
    scopes
}

fn literals(policies: &[Policy]) -> Vec<String> {
    let names = policies.iter().flat_map(|policy| policy.header.namespaces.iter());
    let mut names: Vec<String> =
        names.filter(|name| name.is_literal()).map(|name| name.as_str().to_owned()).collect();
    names.sort();
    names
}
