//! No rule is starved: each is violated alone, and each is met at its boundary, many times over.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*, sample::Index};
use sandgate_engine::rules;
use serde_json::Value as Json;

use crate::{
    apiserver::Reply,
    cases, draw, draw_as,
    edits::Table,
    exhaustive::{Answers, examine},
    generator::{self, Case, Edit},
    in_parallel,
    policies::Proven,
    rule_cases::{self, RuleCase},
    share,
};

/// How often a rule must be violated alone, and met at its boundary: 1000 times in a million cases.
fn quota() -> usize {
    (cases() / 1000).max(1)
}

/// Edits around the one that matters must leave it alone; one attempt in so many has to.
const PATIENCE: usize = 30;

#[derive(Default, Clone, Copy)]
struct Tally {
    at_all: usize,
    alone: usize,
    at_boundary: usize,
}

#[derive(Default)]
struct Figures {
    rules: BTreeMap<&'static str, Tally>,
    escapes: Vec<String>,
}

/// The tables say of each edit what it does to a Pod that is sound without it.
#[test]
fn each_rule_is_violated_alone_and_met_at_its_edge_by_a_single_edit() {
    let mut at = draw(any::<[Index; 2]>(), 1);
    let at = at.next().unwrap();
    let mut problems = Vec::new();
    for case in rule_cases::all() {
        let RuleCase { rule, spec, base, violating, boundary } = case;
        let Proven { engine: policies, oracle, .. } =
            Proven::of(spec).unwrap_or_else(|error| panic!("{rule}: {error}"));
        for edit in generator::edits(violating).map(|edit| edit(at)) {
            let answers = Answers::of(&policies, &Case::of(base.clone(), vec![edit.clone()]).pod());
            if !is_alone(rule, &answers) {
                problems.push(format!("{rule} is not violated alone: {edit:?} {:?}", answers.mutate.causes));
            }
        }
        for edit in generator::edits(boundary).map(|edit| edit(at)) {
            let pod = Case::of(base.clone(), vec![edit.clone()]).pod();
            let answers = Answers::of(&policies, &pod);
            if !answers.mutate.allowed {
                problems.push(format!("{rule} at its edge: {edit:?} {:?}", answers.mutate.causes));
            }
            if let Err(problem) = examine(&policies, &oracle, &pod, &answers) {
                problems.push(format!("{rule}: {edit:?} {problem}"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn no_rule_is_starved() {
    let figures = Figures::sum(in_parallel(|worker, workers| {
        let mut figures = Figures::default();
        for case in rule_cases::all() {
            figures.visit(&case, worker, share(quota(), worker, workers));
        }
        figures
    }));
    figures.print();
    assert!(
        figures.escapes.is_empty(),
        "the engine and the oracle disagree:\n{}",
        figures.escapes.join("\n")
    );
    // The rule `env` fills and denies nothing.
    for rule in rules::ALL.iter().filter(|rule| rule.id != "env") {
        let Tally { alone, at_boundary, .. } = figures.of(rule.id);
        assert!(alone >= quota(), "{} was violated alone {alone} times, not {}", rule.id, quota());
        assert!(
            at_boundary >= quota(),
            "{} was met at its boundary {at_boundary} times, not {}",
            rule.id,
            quota()
        );
    }
}

/// Filling repairs what is only left open, so some rules are violated by the final object only.
fn is_alone(rule: &str, answers: &Answers) -> bool {
    let is_only = |reply: &Reply| !reply.allowed && reply.causes.iter().all(|(id, _)| id == rule);
    is_only(&answers.mutate) || is_only(&answers.validate)
}

impl Figures {
    fn visit(&mut self, case: &RuleCase, worker: u8, quota: usize) {
        let alone = self.count(case, &case.violating, worker, quota, |answers| is_alone(case.rule, answers));
        let at_boundary = self.count(case, &case.boundary, worker, quota, |answers| answers.mutate.allowed);
        let tally = self.rules.entry(case.rule).or_default();
        tally.alone += alone;
        tally.at_boundary += at_boundary;
    }

    /// Examines Pods with the edits of `table` until as many as wanted are what they should be; says how many are.
    fn count(
        &mut self,
        case: &RuleCase,
        table: &Table,
        worker: u8,
        quota: usize,
        is_wanted: impl Fn(&Answers) -> bool,
    ) -> usize {
        let proven = Proven::of(case.spec.clone()).unwrap();
        let mut found = 0;
        for pod in pods(case, table, worker, quota) {
            if found == quota {
                break;
            }
            found += usize::from(is_wanted(&self.examine(case, &proven, &pod)));
        }
        found
    }

    fn examine(&mut self, case: &RuleCase, proven: &Proven, pod: &Json) -> Answers {
        let answers = Answers::of(&proven.engine, pod);
        if let Err(fault) = examine(&proven.engine, &proven.oracle, pod, &answers) {
            self.escapes.push(format!("{fault} ({})\n{}", case.rule, generator::yaml(pod)));
        }
        let causes = answers.mutate.causes.iter().chain(&answers.validate.causes);
        for rule in causes.map(|(rule, _)| rule.as_str()).collect::<BTreeSet<_>>() {
            let rule = rules::by_id(rule).unwrap();
            self.rules.entry(rule.id).or_default().at_all += 1;
        }
        answers
    }

    fn of(&self, rule: &str) -> Tally {
        self.rules.get(rule).copied().unwrap_or_default()
    }

    fn sum(all: Vec<Self>) -> Self {
        let mut sum = Self::default();
        for one in all {
            for (rule, Tally { at_all, alone, at_boundary }) in one.rules {
                let known = sum.rules.entry(rule).or_default();
                known.at_all += at_all;
                known.alone += alone;
                known.at_boundary += at_boundary;
            }
            sum.escapes.extend(one.escapes);
        }
        sum
    }

    fn print(&self) {
        println!("{:<26}{:>10}{:>10}{:>10}", "rule", "violated", "alone", "at boundary");
        for rule in rules::ALL {
            let Tally { at_all, alone, at_boundary } = self.of(rule.id);
            println!("{:<26}{at_all:>10}{alone:>10}{at_boundary:>10}", rule.id);
        }
    }
}

/// Sound Pods with each edit of `table` in turn.
fn pods(case: &RuleCase, table: &Table, worker: u8, quota: usize) -> impl Iterator<Item = Json> {
    let base = case.base.clone();
    let edits: Vec<_> = generator::edits(table.clone()).collect();
    let around = (vec(generator::sound_edit(), 0..4), any::<[Index; 2]>());
    draw_as(worker, around, quota * PATIENCE).enumerate().map(move |(turn, (mut around, at))| {
        // One worker begins where the other will not.
        let edit: Edit = edits[(turn + usize::from(worker)) % edits.len()](at);
        around.push(edit);
        Case::of(base.clone(), around).pod()
    })
}
