//! Violations by what the policy does with them.

use crate::{
    policy::{Level, Policy},
    violations::{Report, Sink, Violation, Violations},
};

/// The violations of one object, by the level of the violated rule. Each level has a list of its own, so that violations
/// that are only recorded cannot hide one that is enforced, however many they are.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LeveledViolations {
    /// The violations that deny the request.
    pub enforce: Violations,
    /// The violations that are warned of and recorded.
    pub warn: Violations,
    /// The violations that are only recorded.
    pub audit: Violations,
}

impl LeveledViolations {
    /// Returns the violations at each level, the highest level first.
    #[must_use]
    pub fn by_level(&self) -> [(Level, &Violations); 3] {
        [(Level::Enforce, &self.enforce), (Level::Warn, &self.warn), (Level::Audit, &self.audit)]
    }

    /// Returns the violations that are kept, those at the highest level first.
    #[must_use]
    pub fn iter(&self) -> <&Self as IntoIterator>::IntoIter {
        self.into_iter()
    }

    /// Returns the violations that are kept, each with its level, those at the highest level first.
    pub fn with_level(&self) -> impl Iterator<Item = (Level, &Violation)> {
        self.by_level()
            .into_iter()
            .flat_map(|(level, violations)| violations.iter().map(move |violation| (level, violation)))
    }

    /// Returns the highest level that has violations.
    #[must_use]
    pub fn highest(&self) -> Option<Level> {
        let mut levels = self.by_level().into_iter();
        levels.find(|(_, violations)| !violations.is_empty()).map(|(level, _)| level)
    }

    /// Returns the violations at the highest level that has some; an empty list if none has.
    #[must_use]
    pub fn of_highest(&self) -> &Violations {
        match self.highest() {
            Some(Level::Warn) => &self.warn,
            Some(Level::Audit) => &self.audit,
            _ => &self.enforce,
        }
    }

    /// Returns true if there is no violation at any level.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.highest().is_none()
    }

    /// Returns the number of violations, those that are not kept included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_level().into_iter().map(|(_, violations)| violations.len()).sum()
    }

    /// Returns the violations at each level as `change` returns them.
    #[must_use]
    pub(crate) fn map(&self, change: impl Fn(&Violations) -> Violations) -> Self {
        let Self { enforce, warn, audit } = self;
        Self { enforce: change(enforce), warn: change(warn), audit: change(audit) }
    }

    /// Returns a sink that sorts violations by the policy's levels.
    pub(super) fn sorted_by<'s>(&'s mut self, policy: &'s Policy) -> Sorter<'s> {
        Sorter { policy, violations: self, wanted: |_| true }
    }

    /// Returns a sink that sorts violations by the policy's levels, and drops those at levels for which `wanted` does not
    /// hold.
    pub(super) fn sorted_where<'s>(
        &'s mut self,
        policy: &'s Policy,
        wanted: fn(Level) -> bool,
    ) -> Sorter<'s> {
        Sorter { policy, violations: self, wanted }
    }
}

impl<'v> IntoIterator for &'v LeveledViolations {
    type Item = &'v Violation;
    type IntoIter = std::iter::Chain<
        std::iter::Chain<std::slice::Iter<'v, Violation>, std::slice::Iter<'v, Violation>>,
        std::slice::Iter<'v, Violation>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.enforce.iter().chain(self.warn.iter()).chain(self.audit.iter())
    }
}

/// Sorts violations by the level of their rule. Those of a rule that is off are dropped.
pub(super) struct Sorter<'s> {
    policy: &'s Policy,
    violations: &'s mut LeveledViolations,
    wanted: fn(Level) -> bool,
}

impl Sink for Sorter<'_> {
    fn take(&mut self, report: &Report) {
        let level = self.policy.level_of(report.rule.id);
        if !(self.wanted)(level) {
            return;
        }
        match level {
            Level::Enforce => self.violations.enforce.take(report),
            Level::Warn => self.violations.warn.take(report),
            Level::Audit => self.violations.audit.take(report),
            Level::Off => {}
        }
    }
}
