//! Policies: what the Pods of a set of namespaces must look like.

mod contradictions;
mod load;
mod spec;

use std::collections::HashMap;

use crate::hash::short_hash;

pub use load::{LoadError, LoadErrors, Source};
pub use spec::*;

/// One policy in force.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// The first 16 hexadecimal digits of the SHA-256 of name and spec, defaults included: the same content
    /// has the same hash, however it is written.
    pub hash: String,
    /// What it demands.
    pub spec: Spec,
}

impl Policy {
    /// A policy of the given content.
    #[must_use]
    pub fn new(name: impl Into<String>, spec: Spec) -> Self {
        let name = name.into();
        let content = serde_json::to_vec(&(&name, &spec)).expect("a policy is always JSON");
        Self { hash: short_hash(&content), name, spec }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new("workflow-runner", Spec::default())
    }
}

/// In `spec.namespaces`: every namespace that reaches the webhook and that no other policy names. No namespace can be
/// called so.
pub const EVERY_OTHER: &str = "*";

/// Every policy in force, by namespace.
#[derive(Debug)]
pub struct PolicySet {
    policies: Vec<Policy>,
    by_namespace: HashMap<String, usize>,
    hash: String,
}

impl PolicySet {
    /// The policy that holds when no file is given: the full sandbox for the namespace `workflows`.
    #[must_use]
    pub fn builtin() -> Self {
        Self::new(vec![Policy::default()])
    }

    /// Reads the policies of `sources`.
    ///
    /// # Errors
    /// All that is wrong with them, each with file, line and path.
    pub fn from_sources(sources: &[Source]) -> Result<Self, LoadErrors> {
        load::load(sources).map(Self::new)
    }

    /// The set of these policies, no two of which name one namespace.
    fn new(policies: Vec<Policy>) -> Self {
        let by_namespace = policies
            .iter()
            .enumerate()
            .flat_map(|(index, policy)| policy.spec.namespaces.iter().map(move |name| (name.clone(), index)))
            .collect();
        let hashes: Vec<&str> = policies.iter().map(|policy| policy.hash.as_str()).collect();
        let hash = short_hash(hashes.join(",").as_bytes());
        Self { policies, by_namespace, hash }
    }

    /// The policy of a namespace: the one that names it, else the one for [`EVERY_OTHER`].
    #[must_use]
    pub fn of_namespace(&self, namespace: &str) -> Option<&Policy> {
        let index = self.by_namespace.get(namespace).or_else(|| self.by_namespace.get(EVERY_OTHER))?;
        Some(&self.policies[*index])
    }

    /// All of them, in the order they were read.
    #[must_use]
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// A short hash of the content of all policies.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The names of the policies.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.policies.iter().map(|policy| policy.name.as_str())
    }
}

/// The JSON schema of one document of a policy file.
#[must_use]
pub fn json_schema() -> schemars::Schema {
    schemars::schema_for!(SandboxPolicy)
}

#[cfg(test)]
mod tests;
