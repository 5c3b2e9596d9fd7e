//! What was seen of many Pods, counted and printed.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    answers::{Denier, reason, rules},
    examine::{Seen, reduced},
    fixture::{Fixture, How},
};
use crate::{exhaustive::without_digits, generator::Case};

/// How many Pods violated a rule, and how many of those no other.
#[derive(Default)]
struct Tally {
    all: usize,
    alone: usize,
}

#[derive(Default)]
struct Tallies(BTreeMap<String, Tally>);

impl Tallies {
    fn count(&mut self, rules: &BTreeSet<String>) {
        for rule in rules {
            let tally = self.0.entry(rule.clone()).or_default();
            tally.all += 1;
            tally.alone += usize::from(rules.len() == 1);
        }
    }

    fn print(&self, title: &str) {
        println!("{title:<30}{:>8}{:>8}", "all", "alone");
        for (rule, Tally { all, alone }) in &self.0 {
            println!("  {rule:<28}{all:>8}{alone:>8}");
        }
    }
}

#[derive(Default)]
pub(super) struct Figures {
    sent: usize,
    created: usize,
    read_back: usize,
    stored: usize,
    denied: BTreeMap<Denier, usize>,
    rules: Tallies,
    /// Why others than sandgate denied.
    reasons: BTreeMap<(Denier, String), usize>,
    /// Pods whose verdict is another one for what the API server makes of them.
    second_opinions: usize,
    /// Pods that are stored with Pod Security alone.
    restricted: usize,
    stricter: usize,
    stricter_rules: Tallies,
    /// Each kind of problem once, with a Pod.
    problems: BTreeMap<String, (usize, String, Case)>,
}

impl Figures {
    pub(super) fn count(&mut self, case: Case, seen: Seen) {
        self.sent += 1;
        self.created += usize::from(seen.how == How::Create && seen.guarded.stored().is_some());
        self.read_back += usize::from(seen.guarded.was_read());
        self.second_opinions += usize::from(seen.verdicts.len() > 1);
        self.restricted += usize::from(seen.restricted.stored().is_some());
        match seen.guarded.denied() {
            None => self.stored += 1,
            Some((denier, denial)) => {
                *self.denied.entry(denier).or_default() += 1;
                if denier.is_sandgate() {
                    let rules = rules(denial);
                    self.rules.count(&rules);
                    self.count_stricter(&seen, &rules);
                } else {
                    *self.reasons.entry((denier, reason(denial))).or_default() += 1;
                }
            }
        }
        if let Some(problem) = seen.problem {
            self.problems.entry(without_digits(&problem)).or_insert_with(|| (0, problem, case)).0 += 1;
        }
    }

    fn count_stricter(&mut self, seen: &Seen, rules: &BTreeSet<String>) {
        if seen.restricted.stored().is_some() {
            self.stricter += 1;
            self.stricter_rules.count(rules);
        }
    }

    pub(super) fn print(&self, what: &str) {
        let Self { sent, created, read_back, stored, .. } = self;
        let dry_runs = sent - created;
        println!("{what}: {sent} Pods sent, {dry_runs} by dry run or denied, {created} created");
        println!("{stored} stored or would be, {read_back} of them read back from storage; denied by:");
        for (denier, count) in &self.denied {
            println!("  {denier:<28}{count:>8}");
        }
        self.rules.print("denied by sandgate for");
        println!("denied by others for");
        for ((denier, reason), count) in &self.reasons {
            println!("  {count:>6}  {denier}: {reason}");
        }
        println!(
            "{} Pods got another verdict after the API server had read them, as they did on the wire",
            self.second_opinions
        );
        println!(
            "{} are stored with Pod Security alone; sandgate denies {} of these",
            self.restricted, self.stricter
        );
        self.stricter_rules.print("of these for");
        println!("{} kinds of problem", self.problems.len());
    }

    /// Nothing may be wrong; and a run that stores or denies nearly nothing would prove little.
    pub(super) fn are_good(self, fixture: &Fixture) {
        const SHOWN: usize = 5;
        let by_sandgate: usize =
            self.denied.iter().filter(|(denier, _)| denier.is_sandgate()).map(|(_, count)| count).sum();
        let Self { sent, stored, read_back, problems, .. } = self;
        let are_none = problems.is_empty();
        for (count, problem, case) in problems.into_values().take(SHOWN) {
            println!("== {count} × {problem}\n{:?}", reduced(fixture, case, &problem));
        }
        assert!(are_none, "something is wrong with what is stored or denied");
        assert!(stored * 5 >= sent, "less than 20 % were stored");
        assert!(by_sandgate * 5 >= sent, "less than 20 % were denied by sandgate");
        assert!(read_back > 0, "nothing was read back from storage");
    }
}
