//! The long property: whatever the webhook admits, the oracle finds nothing wrong with.

use std::collections::{BTreeMap, BTreeSet};

use sandgate_engine::{policy::PolicySet, review::Endpoint};
use serde_json::Value as Json;

use crate::{
    apiserver::{Reply, SOMEONE, create_as, defaulted, is_of_no_width, typed},
    cases, draw_as,
    generator::{self, Case},
    in_parallel, oracle,
    policy::{Creator, DEFAULT, Policy},
    schema::{self, FIELDS},
    share, wanted_cases,
};

/// How many Pods violated a rule, and how many violated no other: after filling, and as they were.
#[derive(Default)]
struct Tally {
    filled: (usize, usize),
    unfilled: (usize, usize),
}

#[derive(Default)]
struct Figures {
    admitted: usize,
    admitted_as_it_is: usize,
    denied: usize,
    violated: BTreeMap<String, Tally>,
    /// The fields of the Pod API that some Pod set.
    fields_set: BTreeSet<usize>,
    /// Denied at `/validate` although the oracle finds nothing, by rule.
    stricter: BTreeMap<String, (usize, String)>,
    /// Each kind of disagreement once, with a Pod.
    escapes: BTreeMap<String, (usize, String)>,
}

#[test]
fn what_is_admitted_is_sound() {
    let figures = in_parallel(|worker, workers| {
        let mut figures = Figures::default();
        for case in draw_as(worker, generator::cases(), share(cases(), worker, workers)) {
            figures.examine(&case);
        }
        figures
    });
    let figures = Figures::sum(figures);
    figures.print();
    figures.are_good();
}

/// Each field is set in a Pod that is sound without it, so that what becomes of it does not hide behind another fault.
#[test]
fn every_field_of_the_pod_api_is_checked() {
    let figures = in_parallel(|worker, workers| {
        let mut figures = Figures::default();
        let fields = draw_as(worker, generator::one_for_each_field(), 1).flatten();
        for case in fields.skip(worker.into()).step_by(workers.into()) {
            figures.examine(&case);
        }
        figures
    });
    let figures = Figures::sum(figures);
    figures.print();
    assert_eq!(figures.fields_never_set(), Vec::<&str>::new());
    assert!(figures.escapes.is_empty(), "the engine and the oracle disagree");
}

pub(crate) fn without_digits(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// What both endpoints say to a create of one Pod.
pub(crate) struct Answers {
    pub(crate) mutate: Reply,
    pub(crate) validate: Reply,
}

impl Answers {
    pub(crate) fn of(policies: &PolicySet, pod: &Json) -> Self {
        Self::to(SOMEONE, policies, pod)
    }

    /// The answers to a create by `creator`.
    pub(crate) fn to(creator: Creator, policies: &PolicySet, pod: &Json) -> Self {
        Self {
            mutate: create_as(creator, policies, Endpoint::Mutate, pod),
            validate: create_as(creator, policies, Endpoint::Validate, pod),
        }
    }
}

/// Returns how the webhook and the oracle disagree about `pod` as an error.
pub(crate) fn examine(
    policies: &PolicySet,
    policy: &Policy,
    pod: &Json,
    answers: &Answers,
) -> Result<(), String> {
    examine_as(SOMEONE, policies, policy, pod, answers)
}

/// Returns how the webhook and the oracle disagree about `pod`, which `creator` creates, as an error.
pub(crate) fn examine_as(
    creator: Creator,
    policies: &PolicySet,
    policy: &Policy,
    pod: &Json,
    answers: &Answers,
) -> Result<(), String> {
    let Answers { mutate, validate } = answers;
    let is_sound = |pod: &Json| is_sound_under(policy, creator, pod);
    if validate.allowed {
        is_sound(pod).map_err(|fault| format!("/validate admits: {fault}"))?;
    }
    if !mutate.allowed {
        return points_somewhere(mutate, pod);
    }
    let stored = defaulted(&mutate.pod);
    is_sound(&stored).map_err(|fault| format!("/mutate admits: {fault}"))?;
    let last = create_as(creator, policies, Endpoint::Validate, &stored);
    if last.allowed {
        Ok(())
    } else {
        Err(format!("/validate denies what /mutate admitted: {:?}", last.causes))
    }
}

pub(crate) fn is_sound(pod: &Json) -> Result<(), String> {
    is_sound_under(&DEFAULT, SOMEONE, pod)
}

/// Returns what the oracle finds wrong with `pod` as an error; nothing if the API server could not even read it.
pub(crate) fn is_sound_under(policy: &Policy, creator: Creator, pod: &Json) -> Result<(), String> {
    let pod = match typed(pod) {
        Ok(pod) => pod,
        Err(error) if is_of_no_width(&error) => return Ok(()),
        Err(error) => return Err(format!("no Pod: {error}")),
    };
    let faults = oracle::faults_under(policy, &pod, Some(creator));
    if faults.is_empty() { Ok(()) } else { Err(faults.join(", ")) }
}

/// At least one violation must be about something that is there, or is missing in something that is there.
fn points_somewhere(reply: &Reply, pod: &Json) -> Result<(), String> {
    let found = reply.causes.iter().any(|(_, path)| leads_somewhere(pod, path));
    if found { Ok(()) } else { Err(format!("no violation points anywhere: {:?}", reply.causes)) }
}

pub(crate) fn leads_somewhere(pod: &Json, path: &str) -> bool {
    let mut here = Some(pod);
    for key in keys(path) {
        let Some(Json::Object(_) | Json::Array(_)) = here else { return here.is_some_and(Json::is_null) };
        here = match here {
            Some(Json::Array(list)) => match key.parse::<usize>() {
                Ok(index) if index < list.len() => list.get(index),
                _ => return false,
            },
            Some(Json::Object(fields)) => Some(fields.get(&key).unwrap_or(&Json::Null)),
            _ => None,
        };
    }
    true
}

/// The keys of `spec.containers[1].x` and `metadata.annotations[a.b/c]`.
pub(crate) fn keys(path: &str) -> Vec<String> {
    let mut keys = vec![String::new()];
    let mut in_brackets = false;
    for c in path.chars() {
        match c {
            '[' => {
                in_brackets = true;
                keys.push(String::new());
            }
            ']' => in_brackets = false,
            '.' if !in_brackets => keys.push(String::new()),
            c => keys.last_mut().unwrap().push(c),
        }
    }
    keys.into_iter()
        .map(|key| key.trim_matches(['"', '\'']).to_string())
        .filter(|key| !key.is_empty())
        .collect()
}

impl Figures {
    fn examine(&mut self, case: &Case) {
        let policies = PolicySet::builtin();
        let pod = case.pod();
        let answers = Answers::of(&policies, &pod);
        self.count(&answers);
        schema::fields_set(&pod, &mut self.fields_set);
        if wanted_cases().is_some() {
            self.note_strictness(&answers.validate, &pod);
        }
        let problem = |pod: &Json, answers: &Answers| examine(&policies, &DEFAULT, pod, answers).err();
        if let Some(found) = problem(&pod, &answers) {
            let same = |pod: &Json| problem(pod, &Answers::of(&policies, pod)).as_ref() == Some(&found);
            let known = self.escapes.entry(without_digits(&found));
            known.or_insert_with(|| (0, format!("{:?}", case.clone().reduced(same)))).0 += 1;
        }
    }

    fn sum(all: Vec<Self>) -> Self {
        let mut sum = Self::default();
        for one in all {
            sum.admitted += one.admitted;
            sum.admitted_as_it_is += one.admitted_as_it_is;
            sum.denied += one.denied;
            sum.fields_set.extend(one.fields_set);
            for (rule, tally) in one.violated {
                let known = sum.violated.entry(rule).or_default();
                add(&mut known.filled, tally.filled);
                add(&mut known.unfilled, tally.unfilled);
            }
            for (kinds, known) in [(one.stricter, &mut sum.stricter), (one.escapes, &mut sum.escapes)] {
                for (kind, (count, pod)) in kinds {
                    known.entry(kind).or_insert((0, pod)).0 += count;
                }
            }
        }
        sum
    }

    fn fields_never_set(&self) -> Vec<&'static str> {
        let numbers = 0..FIELDS.len();
        numbers.filter(|number| !self.fields_set.contains(number)).map(|n| FIELDS[n].path.as_str()).collect()
    }

    fn count(&mut self, answers: &Answers) {
        let Answers { mutate, validate } = answers;
        match (mutate.allowed, mutate.patches) {
            (true, true) => self.admitted += 1,
            (true, false) => self.admitted_as_it_is += 1,
            (false, _) => self.denied += 1,
        }
        self.tally(mutate, |tally| &mut tally.filled);
        self.tally(validate, |tally| &mut tally.unfilled);
    }

    fn tally(&mut self, reply: &Reply, column: impl Fn(&mut Tally) -> &mut (usize, usize)) {
        let rules: BTreeSet<&String> = reply.causes.iter().map(|(rule, _)| rule).collect();
        for rule in &rules {
            let (all, alone) = column(self.violated.entry((*rule).clone()).or_default());
            *all += 1;
            *alone += usize::from(rules.len() == 1);
        }
    }

    /// Not wrong, but worth reading: a denial that the oracle cannot explain.
    fn note_strictness(&mut self, reply: &Reply, pod: &Json) {
        if reply.allowed || is_sound(pod).is_err() {
            return;
        }
        let key = reply
            .causes
            .iter()
            .map(|(rule, path)| format!("{rule} at {}", without_digits(path)))
            .collect::<Vec<_>>();
        self.stricter.entry(key.join(", ")).or_insert_with(|| (0, generator::yaml(pod))).0 += 1;
    }

    fn print(&self) {
        let Self { admitted, admitted_as_it_is, denied, violated, fields_set, stricter, escapes } = self;
        let total = admitted + admitted_as_it_is + denied;
        println!(
            "{total} Pods: {admitted} filled and admitted, {admitted_as_it_is} admitted as they were, {denied} denied"
        );
        println!("{} of {} fields of the Pod API were set", fields_set.len(), FIELDS.len());
        println!("{:<26}{:>10}{:>10}{:>12}{:>10}", "violated rule", "/mutate", "alone", "/validate", "alone");
        for (rule, Tally { filled, unfilled }) in violated {
            println!("{rule:<26}{:>10}{:>10}{:>12}{:>10}", filled.0, filled.1, unfilled.0, unfilled.1);
        }
        println!("{} kinds of denial that the oracle does not share", stricter.len());
        for (rules, (count, pod)) in stricter {
            println!("  {count:>6}  {rules}");
            if std::env::var_os("SANDGATE_PROVE_VERBOSE").is_some() {
                println!("{pod}");
            }
        }
        println!("{} escapes", escapes.len());
        for (kind, (count, pod)) in escapes {
            println!("== {count} × {kind}\n{pod}");
        }
    }

    /// A sweep that admits or denies nearly everything proves little. Of a few Pods nothing can be concluded.
    fn are_good(&self) {
        let Self { admitted, admitted_as_it_is, denied, escapes, .. } = self;
        let total = admitted + admitted_as_it_is + denied;
        assert!(escapes.is_empty(), "the engine and the oracle disagree");
        if total < 1000 {
            return;
        }
        assert!((admitted + admitted_as_it_is) * 5 >= total, "less than 20 % were admitted");
        assert!(denied * 5 >= total, "less than 20 % were denied");
        if total >= 1_000_000 {
            assert_eq!(self.fields_never_set(), Vec::<&str>::new(), "fields that no Pod set");
        }
    }
}

fn add(sum: &mut (usize, usize), more: (usize, usize)) {
    sum.0 += more.0;
    sum.1 += more.1;
}
