//! The long property: whatever the webhook admits, the oracle finds nothing wrong with.

use std::collections::{BTreeMap, BTreeSet};

use sandgate::{policy::PolicySet, review::Endpoint, rules};
use serde_json::Value as Json;

use crate::{
    apiserver::{Said, create, defaulted, typed},
    cases, draw, generator, oracle, wanted_cases,
};

/// Rules that the default policy has no setting for: any image and any Secret is allowed.
const SILENT: [&str; 2] = ["images", "secrets"];

/// How many Pods violated a rule, and how many violated no other: after filling, and as they were.
#[derive(Default)]
struct Tally {
    filled: (usize, usize),
    unfilled: (usize, usize),
}

impl Tally {
    fn is_never_alone(&self) -> bool {
        self.filled.1 + self.unfilled.1 == 0
    }
}

#[derive(Default)]
struct Figures {
    admitted: usize,
    admitted_as_it_is: usize,
    denied: usize,
    violated: BTreeMap<String, Tally>,
    /// Refused at `/validate` although the oracle finds nothing, by rule.
    stricter: BTreeMap<String, (usize, String)>,
    /// Each kind of disagreement once, with a Pod.
    escapes: BTreeMap<String, (usize, String)>,
}

#[test]
fn what_is_admitted_is_sound() {
    let policies = PolicySet::builtin();
    let mut figures = Figures::default();
    for case in draw(generator::cases(), cases()) {
        let pod = case.pod();
        let answers = Answers::of(&policies, &pod);
        figures.count(&answers);
        if wanted_cases().is_some() {
            figures.note_strictness(&answers.validate, &pod);
        }
        if let Err(problem) = examine(&policies, &pod, &answers) {
            let same =
                |pod: &Json| examine(&policies, pod, &Answers::of(&policies, pod)).as_ref() == Err(&problem);
            let known = figures.escapes.entry(without_digits(&problem));
            known.or_insert_with(|| (0, format!("{:?}", case.reduced(same)))).0 += 1;
        }
    }
    figures.print();
    figures.are_good();
}

fn without_digits(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// What both endpoints say to a create of one Pod.
struct Answers {
    mutate: Said,
    validate: Said,
}

impl Answers {
    fn of(policies: &PolicySet, pod: &Json) -> Self {
        Self {
            mutate: create(policies, Endpoint::Mutate, pod),
            validate: create(policies, Endpoint::Validate, pod),
        }
    }
}

/// Says how the webhook and the oracle disagree about `pod`.
fn examine(policies: &PolicySet, pod: &Json, answers: &Answers) -> Result<(), String> {
    let Answers { mutate, validate } = answers;
    if validate.allowed {
        is_sound(pod).map_err(|fault| format!("/validate admits: {fault}"))?;
    }
    if !mutate.allowed {
        return points_somewhere(mutate, pod);
    }
    let stored = defaulted(&mutate.pod);
    is_sound(&stored).map_err(|fault| format!("/mutate admits: {fault}"))?;
    let last = create(policies, Endpoint::Validate, &stored);
    if last.allowed {
        Ok(())
    } else {
        Err(format!("/validate refuses what /mutate admitted: {:?}", last.causes))
    }
}

pub(crate) fn is_sound(pod: &Json) -> Result<(), String> {
    let pod = typed(pod).map_err(|error| format!("no Pod: {error}"))?;
    let faults = oracle::judge(&pod);
    if faults.is_empty() { Ok(()) } else { Err(faults.join(", ")) }
}

/// At least one violation must be about something that is there, or is missing in something that is there.
fn points_somewhere(said: &Said, pod: &Json) -> Result<(), String> {
    let found = said.causes.iter().any(|(_, path)| leads_somewhere(pod, path));
    if found { Ok(()) } else { Err(format!("no violation points anywhere: {:?}", said.causes)) }
}

fn leads_somewhere(pod: &Json, path: &str) -> bool {
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
fn keys(path: &str) -> Vec<String> {
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

    fn tally(&mut self, said: &Said, column: impl Fn(&mut Tally) -> &mut (usize, usize)) {
        let rules: BTreeSet<&String> = said.causes.iter().map(|(rule, _)| rule).collect();
        for rule in &rules {
            let (all, alone) = column(self.violated.entry((*rule).clone()).or_default());
            *all += 1;
            *alone += usize::from(rules.len() == 1);
        }
    }

    /// Not wrong, but worth reading: a refusal that the oracle cannot explain.
    fn note_strictness(&mut self, said: &Said, pod: &Json) {
        if said.allowed || is_sound(pod).is_err() {
            return;
        }
        let key = said
            .causes
            .iter()
            .map(|(rule, path)| format!("{rule} at {}", without_digits(path)))
            .collect::<Vec<_>>();
        self.stricter.entry(key.join(", ")).or_insert_with(|| (0, generator::yaml(pod))).0 += 1;
    }

    fn print(&self) {
        let Self { admitted, admitted_as_it_is, denied, violated, stricter, escapes } = self;
        let total = admitted + admitted_as_it_is + denied;
        println!(
            "{total} Pods: {admitted} filled and admitted, {admitted_as_it_is} admitted as they were, {denied} denied"
        );
        println!("{:<26}{:>10}{:>10}{:>12}{:>10}", "violated rule", "/mutate", "alone", "/validate", "alone");
        for (rule, Tally { filled, unfilled }) in violated {
            println!("{rule:<26}{:>10}{:>10}{:>12}{:>10}", filled.0, filled.1, unfilled.0, unfilled.1);
        }
        println!("{} kinds of refusal that the oracle does not share", stricter.len());
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

    /// A sweep that admits or denies nearly everything proves little.
    fn are_good(&self) {
        let Self { admitted, admitted_as_it_is, denied, violated, escapes, .. } = self;
        let total = admitted + admitted_as_it_is + denied;
        assert!(escapes.is_empty(), "the engine and the oracle disagree");
        assert!((admitted + admitted_as_it_is) * 5 >= total, "less than 20 % were admitted");
        assert!(denied * 5 >= total, "less than 20 % were denied");
        let starved: Vec<&str> = rules::ALL
            .iter()
            .map(|rule| rule.id)
            .filter(|id| !SILENT.contains(id) && violated.get(*id).is_none_or(Tally::is_never_alone))
            .collect();
        assert!(starved.is_empty(), "never violated alone: {starved:?}");
    }
}
