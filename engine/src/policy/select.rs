//! The choice of a namespace's policy, and the selectors that the webhook configurations need so that its Pods
//! arrive.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Header, LoadError, Pattern, Policy};
use crate::hash::short_hash;

/// The label that every namespace carries with its own name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// The namespaces of Kubernetes itself, which neither a selector nor `"*"` means.
const KUBERNETES_PREFIX: &str = "kube-";

/// A `meta/v1` `LabelSelector`: all requirements must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct LabelSelector {
    /// The labels that a namespace must have with exactly these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// The requirements that are not equalities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelRequirement>,
}

/// A requirement of the type `meta/v1` `LabelSelectorRequirement`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelRequirement {
    /// The label that is compared.
    pub key: String,
    /// The operator that compares the label with `values`.
    pub operator: LabelOperator,
    /// The values that the label is compared with, for `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// The operators of a label selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the words of the Kubernetes API")]
pub enum LabelOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl LabelRequirement {
    pub(crate) fn new(key: &str, operator: LabelOperator, values: Vec<String>) -> Self {
        Self { key: key.into(), operator, values }
    }

    /// Returns the requirement that holds exactly where this one does not.
    pub(crate) fn negated(&self) -> Self {
        let operator = match self.operator {
            LabelOperator::In => LabelOperator::NotIn,
            LabelOperator::NotIn => LabelOperator::In,
            LabelOperator::Exists => LabelOperator::DoesNotExist,
            LabelOperator::DoesNotExist => LabelOperator::Exists,
        };
        Self { key: self.key.clone(), operator, values: self.values.clone() }
    }

    fn accepts(&self, value: Option<&str>) -> bool {
        let listed = || value.is_some_and(|value| self.values.iter().any(|other| other == value));
        match self.operator {
            LabelOperator::In => listed(),
            LabelOperator::NotIn => !listed(),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}

impl LabelSelector {
    /// Returns all requirements, those of `matchLabels` written as expressions.
    #[must_use]
    pub fn requirements(&self) -> Vec<LabelRequirement> {
        let labels = self.match_labels.iter();
        let labels =
            labels.map(|(key, value)| LabelRequirement::new(key, LabelOperator::In, vec![value.clone()]));
        labels.chain(self.match_expressions.iter().cloned()).collect()
    }

    /// Returns true if labels fulfil all requirements.
    #[must_use]
    pub fn matches<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.requirements().iter().all(|requirement| requirement.accepts(label(&requirement.key)))
    }

    /// Returns true if there are labels that fulfil both selectors.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        let requirements = [self.requirements(), other.requirements()].concat();
        // Labels are independent of one another, so it is enough that each key can fulfil its requirements.
        requirements.iter().all(|LabelRequirement { key, .. }| {
            let of_key: Vec<_> = requirements.iter().filter(|requirement| requirement.key == *key).collect();
            let fulfilled = |value: Option<&str>| of_key.iter().all(|requirement| requirement.accepts(value));
            // No label can have a value of this length, so it stands for all the values that are not listed.
            let unlisted = "*".repeat(64);
            let listed = of_key.iter().flat_map(|requirement| requirement.values.iter().map(String::as_str));
            fulfilled(None) || listed.chain([unlisted.as_str()]).any(|value| fulfilled(Some(value)))
        })
    }

    /// Returns true if there are labels that fulfil the selector.
    #[must_use]
    pub fn is_satisfiable(&self) -> bool {
        self.meets(&Self::default())
    }
}

/// Every policy in force, by namespace.
#[derive(Debug)]
pub struct PolicySet {
    policies: Vec<Policy>,
    by_policy: HashMap<String, usize>,
    by_name: HashMap<String, usize>,
    /// The patterns by what stands before their first `*`, then by what stands behind their last. Two patterns that
    /// agree in both would have a name in common, which the load checks deny.
    by_pattern: HashMap<String, HashMap<String, (Pattern, usize)>>,
    rest: Option<usize>,
    release_namespace: String,
    warnings: Vec<LoadError>,
    hash: String,
}

impl PolicySet {
    /// Returns the policy that holds if no file is given: the full sandbox for the namespace `workflows`.
    #[must_use]
    pub fn builtin() -> Self {
        Self::new(vec![Policy::default()], Vec::new())
    }

    /// Returns the set of these policies, no two of which are for one namespace.
    pub(super) fn new(policies: Vec<Policy>, warnings: Vec<LoadError>) -> Self {
        let mut by_name = HashMap::new();
        let mut by_pattern: HashMap<String, HashMap<String, (Pattern, usize)>> = HashMap::new();
        let mut rest = None;
        for (index, policy) in policies.iter().enumerate() {
            for pattern in &policy.header.namespaces {
                if pattern.is_anything() {
                    rest = Some(index);
                    continue;
                }
                match pattern.as_str().split_once('*') {
                    None => {
                        by_name.insert(pattern.as_str().to_string(), index);
                    }
                    Some((before, behind)) => {
                        let behind = behind.rsplit('*').next().unwrap_or_default();
                        let same_prefix = by_pattern.entry(before.into()).or_default();
                        same_prefix.insert(behind.into(), (pattern.clone(), index));
                    }
                }
            }
        }
        let by_policy =
            policies.iter().enumerate().map(|(index, policy)| (policy.name.clone(), index)).collect();
        let hashes: Vec<&str> = policies.iter().map(|policy| policy.hash.as_str()).collect();
        let hash = short_hash(hashes.join(",").as_bytes());
        Self {
            policies,
            by_policy,
            by_name,
            by_pattern,
            rest,
            release_namespace: String::new(),
            warnings,
            hash,
        }
    }

    /// Sets the namespace that the program itself runs in, which neither a selector nor `"*"` means.
    #[must_use]
    pub fn with_release_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.release_namespace = namespace.into();
        self
    }

    /// Returns the policy of a namespace: the one that names it, else the one with a pattern for it, else the one that
    /// the path of the request names and that selects by labels, else the one for `"*"`. The cost depends on the length
    /// of the name, not on the number of policies.
    #[must_use]
    pub fn for_namespace(&self, name: &str, path_policy: Option<&str>) -> Option<&Policy> {
        if let Some(index) = self.by_name.get(name).copied().or_else(|| self.by_pattern(name)) {
            return Some(&self.policies[index]);
        }
        if let Some(named) = path_policy {
            let policy = self.named(named)?;
            // The path is trusted only for policies that select by labels; a policy that names its namespaces is not for others.
            let selects = policy.header.namespace_selector.is_some() && !self.is_excluded(name);
            return selects.then_some(policy);
        }
        self.for_rest(name)
    }

    /// Returns the policy of a namespace whose labels are known, as the webhook configurations would choose it.
    #[must_use]
    pub fn for_labelled_namespace<'l>(
        &self,
        name: &str,
        label: impl Fn(&str) -> Option<&'l str>,
    ) -> Option<&Policy> {
        let selects = |policy: &&Policy| {
            policy.header.namespace_selector.as_ref().is_some_and(|selector| selector.matches(&label))
        };
        let selecting = self.policies.iter().find(selects);
        self.for_namespace(name, selecting.map(|policy| policy.name.as_str()))
    }

    fn by_pattern(&self, name: &str) -> Option<usize> {
        if self.by_pattern.is_empty() {
            return None;
        }
        let ends = || (0..=name.len()).filter(|&end| name.is_char_boundary(end));
        ends().find_map(|end| {
            let same_prefix = self.by_pattern.get(&name[..end])?;
            ends().filter(|&start| start >= end).find_map(|start| {
                let (pattern, index) = same_prefix.get(&name[start..])?;
                pattern.matches(name).then_some(*index)
            })
        })
    }

    fn for_rest(&self, name: &str) -> Option<&Policy> {
        self.rest.filter(|_| !self.is_excluded(name)).map(|index| &self.policies[index])
    }

    /// Returns true for a namespace that neither a selector nor `"*"` means: without the program it could not start again.
    fn is_excluded(&self, name: &str) -> bool {
        name.starts_with(KUBERNETES_PREFIX) || name == self.release_namespace
    }

    /// Returns the policy of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Policy> {
        self.by_policy.get(name).map(|&index| &self.policies[index])
    }

    /// Returns the policy that is evaluated beside `policy`.
    #[must_use]
    pub fn candidate_of(&self, policy: &Policy) -> Option<&Policy> {
        self.named(policy.candidate()?)
    }

    /// Returns all policies, in the order in which they were read.
    #[must_use]
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// Returns what is allowed and probably not meant, for a log and for `policy validate`.
    #[must_use]
    pub fn warnings(&self) -> &[LoadError] {
        &self.warnings
    }

    /// Returns a short hash of the content of all policies.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Returns the names of the policies.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.policies.iter().map(|policy| policy.name.as_str())
    }

    /// Returns what the webhook configurations must select so that each Pod arrives once, at the path of its policy.
    #[must_use]
    pub fn webhook_scopes(&self) -> Vec<WebhookScope> {
        let headers = || self.policies.iter().map(|policy| (policy.name.as_str(), &policy.header));
        let mut named: Vec<String> = self.by_name.keys().cloned().collect();
        named.sort();
        let not_named = (!named.is_empty())
            .then(|| LabelRequirement::new(NAME_LABEL, LabelOperator::NotIn, named.clone()));
        let patterns: Vec<&Pattern> = headers().flat_map(|(_, header)| header.patterns()).collect();
        let not_patterns = (!patterns.is_empty()).then(|| MatchCondition {
            name: "not-by-pattern".into(),
            expression: format!("!({})", matching(&patterns)),
        });
        let not_kubernetes = MatchCondition {
            name: "not-kubernetes".into(),
            expression: format!("!request.namespace.startsWith('{KUBERNETES_PREFIX}')"),
        };
        let others: Vec<MatchCondition> = std::iter::once(not_kubernetes).chain(not_patterns).collect();
        let release = Some(self.release_namespace.clone()).filter(|name| !name.is_empty());
        let excluded: Vec<String> = named.iter().cloned().chain(release).collect();
        let not_excluded =
            (!excluded.is_empty()).then(|| LabelRequirement::new(NAME_LABEL, LabelOperator::NotIn, excluded));

        let mut scopes = Vec::new();
        if !named.is_empty() {
            let requirement = LabelRequirement::new(NAME_LABEL, LabelOperator::In, named.clone());
            scopes.push(WebhookScope::new(WebhookKind::Names, "", vec![requirement], Vec::new()));
        }
        if !patterns.is_empty() {
            let condition = MatchCondition { name: "by-pattern".into(), expression: matching(&patterns) };
            let requirements = not_named.iter().cloned().collect();
            scopes.push(WebhookScope::new(WebhookKind::Patterns, "", requirements, vec![condition]));
        }
        let selecting =
            || headers().filter_map(|(name, header)| Some((name, header.namespace_selector.as_ref()?)));
        for (name, selector) in selecting() {
            let requirements = selector.requirements().into_iter().chain(not_excluded.clone()).collect();
            scopes.push(WebhookScope::new(WebhookKind::Selector, name, requirements, others.clone()));
        }
        if self.rest.is_some() {
            let mut requirements: Vec<LabelRequirement> = not_excluded.into_iter().collect();
            // The load checks allow "*" only beside selectors of one requirement, which can be negated.
            let selectors = selecting().flat_map(|(_, selector)| selector.requirements());
            requirements.extend(selectors.map(|requirement| requirement.negated()));
            scopes.push(WebhookScope::new(WebhookKind::Rest, "", requirements, others));
        }
        scopes
    }
}

/// The selection of one webhook of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookScope {
    /// The way in which the webhook selects its namespaces.
    pub kind: WebhookKind,
    /// The policy that the path of the webhook ends in (`/mutate/NAME`), or empty for the path without a policy.
    pub path_policy: String,
    /// The `namespaceSelector` of the webhook.
    pub namespace_selector: LabelSelector,
    /// The `matchConditions` of the webhook.
    pub match_conditions: Vec<MatchCondition>,
}

impl WebhookScope {
    fn new(
        kind: WebhookKind,
        path_policy: &str,
        requirements: Vec<LabelRequirement>,
        match_conditions: Vec<MatchCondition>,
    ) -> Self {
        let namespace_selector =
            LabelSelector { match_labels: BTreeMap::new(), match_expressions: requirements };
        Self { kind, path_policy: path_policy.into(), namespace_selector, match_conditions }
    }

    /// Returns the beginning of the names of its webhooks, which differ in a configuration.
    pub(crate) fn name_prefix(&self) -> String {
        match self.kind {
            WebhookKind::Names => String::new(),
            WebhookKind::Patterns => "patterns.".into(),
            WebhookKind::Selector => format!("{}.selector.", self.path_policy),
            WebhookKind::Rest => "rest.".into(),
        }
    }
}

/// The way in which a webhook selects its namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WebhookKind {
    /// By name, for all policies together.
    Names,
    /// By pattern, for all policies together.
    Patterns,
    /// By the selector of one policy.
    Selector,
    /// All that no other webhook selects.
    Rest,
}

/// A `matchConditions` entry of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MatchCondition {
    /// The name of the condition.
    pub name: String,
    /// The CEL expression that must be true.
    pub expression: String,
}

/// Returns the CEL expression that is true for a namespace that a pattern stands for.
pub(crate) fn matching(patterns: &[&Pattern]) -> String {
    let alternatives: Vec<String> =
        patterns.iter().map(|pattern| pattern.as_str().replace('*', "[^/]*")).collect();
    format!("request.namespace.matches('^({})$')", alternatives.join("|"))
}

impl Header {
    /// Returns true if the policy is for `"*"`.
    #[must_use]
    pub fn is_for_rest(&self) -> bool {
        self.namespaces.allows_anything()
    }
}
