//! Verdicts counted by something, in bounded memory.

use std::{collections::HashMap, hash::Hash};

use serde::Serialize;

use sandgate_engine::review::Outcome;

/// The numbers of verdicts of each kind. They are ordered by the first, then by the second, then by the third.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counts {
    /// Verdicts that were denied.
    pub(super) denied: u64,
    /// Verdicts that were admitted, where mode enforce would have denied.
    pub(super) would_deny: u64,
    /// The number of other verdicts.
    pub(super) other: u64,
}

impl Counts {
    pub(super) fn count(&mut self, outcome: Option<Outcome>) {
        match outcome {
            Some(Outcome::Denied) => self.denied += 1,
            Some(Outcome::Warned | Outcome::WouldDeny) => self.would_deny += 1,
            _ => self.other += 1,
        }
    }

    pub(super) fn total(self) -> u64 {
        self.denied + self.would_deny + self.other
    }

    pub(super) fn add(&mut self, Self { denied, would_deny, other }: Self) {
        self.denied += denied;
        self.would_deny += would_deny;
        self.other += other;
    }
}

/// Counts for each key, up to a maximum of different keys; the others are counted together.
#[derive(Debug)]
pub(super) struct CountsBy<K> {
    most: usize,
    all: HashMap<K, Counts>,
    rest: Counts,
}

impl<K: Eq + Hash + Ord> CountsBy<K> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, all: HashMap::new(), rest: Counts::default() }
    }

    pub(super) fn count(&mut self, key: K, outcome: Option<Outcome>) {
        let has_capacity = self.all.len() < self.most;
        match self.all.get_mut(&key) {
            Some(counts) => counts.count(outcome),
            None if has_capacity => self.all.entry(key).or_default().count(outcome),
            None => self.rest.count(outcome),
        }
    }

    /// All, in the order of `rank`, those of the same rank by their key.
    pub(super) fn rows<R: Ord>(&self, rank: impl Fn(&Counts) -> R) -> Vec<(&K, Counts)> {
        let mut rows: Vec<_> = self.all.iter().map(|(key, counts)| (key, *counts)).collect();
        rows.sort_unstable_by(|(key, counts), (other_key, others)| {
            rank(counts).cmp(&rank(others)).then_with(|| key.cmp(other_key))
        });
        rows
    }

    /// The key of the verdicts that were counted together.
    pub(super) fn rest(&self) -> Counts {
        self.rest
    }

    /// The number of verdicts without a key of their own.
    pub(super) fn uncounted(&self) -> u64 {
        self.rest.total()
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use super::*;

    #[test]
    fn what_is_too_much_is_counted_together() {
        let mut counts = CountsBy::new(2);
        for (name, outcome) in [
            ("a", Outcome::Denied),
            ("b", Outcome::Warned),
            ("c", Outcome::Denied),
            ("b", Outcome::Denied),
            ("b", Outcome::Denied),
            ("d", Outcome::Admitted),
        ] {
            counts.count(name, Some(outcome));
        }
        let rows = counts.rows(|counts| Reverse(counts.denied));
        let b = Counts { denied: 2, would_deny: 1, other: 0 };
        assert_eq!(rows, [(&"b", b), (&"a", Counts { denied: 1, ..Counts::default() })]);
        assert_eq!(counts.rest(), Counts { denied: 1, would_deny: 0, other: 1 });
        assert_eq!(counts.uncounted(), 2);
    }
}
