//! Policies: what the Pods of a set of namespaces must look like.
//!
//! A policy file is read as a tree ([`tree`]), merged with what it extends ([`merge`]), parsed ([`load`]) and checked
//! ([`checks`]). What comes out is resolved: [`PolicySet::for_namespace`] finds the policy, [`Policy::profile_for`] the
//! keys of a Pod, and [`Profile::spec_for`] the keys of a container, none of them with an allocation.

mod checks;
mod compare;
mod document;
mod images;
mod load;
mod merge;
mod openings;
mod paths;
mod pattern;
mod presets;
mod profile;
mod rule_levels;
mod security;
mod select;
mod spec;
mod storage;
mod tree;
mod values;

use crate::hash::short_hash;

pub use compare::{Change, Direction, diff};
pub use document::*;
pub use images::{ImagePattern, ImagePatterns};
pub(crate) use load::load;
pub use load::{LoadError, LoadErrors, Source};
pub use openings::{Opened, Opening, Reach, opened};
pub use paths::{ExactPath, PathPattern, PathPatterns, SYSTEM_PATHS, touches_system_path};
pub(crate) use paths::{is_safe as is_safe_path, is_same_path};
pub use pattern::{Names, Pattern};
pub use presets::{PRESETS, preset};
pub use profile::*;
pub use rule_levels::FLOOR_RULES;
pub(crate) use select::matching;
pub use select::{
    LabelOperator, LabelRequirement, LabelSelector, MatchCondition, PolicySet, WebhookKind, WebhookScope,
};
pub use spec::*;
pub use values::*;

/// One policy in force.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The name of the policy.
    pub name: String,
    /// The first 16 hexadecimal digits of the SHA-256 of name and resolved keys, defaults included: the same content
    /// has the same hash, however it is written.
    pub hash: String,
    /// The keys that concern the policy as a whole.
    pub header: Header,
    base: Profile,
    profiles: Vec<Profile>,
}

impl Policy {
    /// Returns a policy of the given content, which has passed the load checks.
    pub(crate) fn new(name: String, header: Header, base: Profile, profiles: Vec<Profile>) -> Self {
        // What the policy extends is resolved: the same content has the same hash, wherever it comes from.
        let resolved = Header { extends: String::new(), ..header.clone() };
        let content =
            serde_json::to_vec(&(&name, resolved, &base, &profiles)).expect("a policy is always JSON");
        Self { hash: short_hash(&content), name, header, base, profiles }
    }

    /// Returns a policy with these keys for every Pod, and the defaults elsewhere.
    #[must_use]
    pub fn of_spec(name: impl Into<String>, spec: Spec) -> Self {
        Self::new(name.into(), Header::default(), Profile::of_spec(spec), Vec::new())
    }

    /// Returns the mode of the policy.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.header.mode
    }

    /// Returns when the policy fills.
    #[must_use]
    pub fn fill(&self) -> Fill {
        self.header.fill
    }

    /// Returns the name of the policy that is evaluated beside this one.
    #[must_use]
    pub fn candidate(&self) -> Option<&str> {
        Some(self.header.candidate.as_str()).filter(|name| !name.is_empty())
    }

    /// Returns what the policy does with the violations of a rule. A floor rule stays at the mode.
    #[must_use]
    pub fn level_of(&self, rule: &str) -> Level {
        let written = self.header.rules.get(rule).copied();
        let level = written.filter(|level| *level == Level::Enforce || !FLOOR_RULES.contains(&rule));
        level.unwrap_or_else(|| self.header.mode.into())
    }

    /// Returns true if the user is exempt from the policy.
    #[must_use]
    pub fn exempts(&self, creator: &Creator) -> bool {
        let Exempt { users, groups } = &self.header.exempt;
        users.iter().any(|user| user == creator.user)
            || groups.iter().any(|group| creator.groups.iter().any(|own| **own == **group))
    }

    /// Returns the keys that hold for a Pod: those of the first profile that matches, else the policy's own.
    #[must_use]
    pub fn profile_for(&self, pod: &PodFacts) -> &Profile {
        let matching = self.profiles.iter().find(|profile| profile.matcher.matches(pod, &self.base.spec));
        matching.unwrap_or(&self.base)
    }

    /// Returns the policy's own keys, which hold for every Pod that no profile matches.
    #[must_use]
    pub fn base(&self) -> &Profile {
        &self.base
    }

    /// Returns the profiles in the order in which they are tried.
    #[must_use]
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// Returns the policy's own keys and those of its profiles.
    pub fn all_profiles(&self) -> impl Iterator<Item = &Profile> {
        std::iter::once(&self.base).chain(&self.profiles)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::of_spec("workflow-runner", Spec::default())
    }
}

#[cfg(test)]
mod tests;
