//! Verdicts counted by something, in bounded memory.

use std::{collections::HashMap, hash::Hash};

use serde::Serialize;

/// How many verdicts, by what became of the requests. More of the first count for more than any of the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counts {
    pub(super) refused: u64,
    /// Admitted, where enforcing would have refused.
    pub(super) would_be_refused: u64,
    pub(super) other: u64,
}

impl Counts {
    pub(super) fn count(&mut self, verdict: &str) {
        match verdict {
            "denied" => self.refused += 1,
            "warned" | "would-deny" => self.would_be_refused += 1,
            _ => self.other += 1,
        }
    }

    pub(super) fn total(self) -> u64 {
        self.refused + self.would_be_refused + self.other
    }

    pub(super) fn add(&mut self, Self { refused, would_be_refused, other }: Self) {
        self.refused += refused;
        self.would_be_refused += would_be_refused;
        self.other += other;
    }
}

/// Counts for each key, up to so many different ones; the rest is counted together.
#[derive(Debug)]
pub(super) struct Tally<K> {
    most: usize,
    all: HashMap<K, Counts>,
    rest: Counts,
}

impl<K: Eq + Hash + Ord> Tally<K> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, all: HashMap::new(), rest: Counts::default() }
    }

    pub(super) fn count(&mut self, key: K, verdict: &str) {
        let has_room = self.all.len() < self.most;
        match self.all.get_mut(&key) {
            Some(counts) => counts.count(verdict),
            None if has_room => self.all.entry(key).or_default().count(verdict),
            None => self.rest.count(verdict),
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

    /// What was counted together.
    pub(super) fn rest(&self) -> Counts {
        self.rest
    }

    /// How many verdicts have no key of their own.
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
        let mut tally = Tally::new(2);
        for (name, verdict) in [
            ("a", "denied"),
            ("b", "warned"),
            ("c", "denied"),
            ("b", "denied"),
            ("b", "denied"),
            ("d", "admitted"),
        ] {
            tally.count(name, verdict);
        }
        let rows = tally.rows(|counts| Reverse(counts.refused));
        let b = Counts { refused: 2, would_be_refused: 1, other: 0 };
        assert_eq!(rows, [(&"b", b), (&"a", Counts { refused: 1, ..Counts::default() })]);
        assert_eq!(tally.rest(), Counts { refused: 1, would_be_refused: 0, other: 1 });
        assert_eq!(tally.uncounted(), 2);
    }
}
