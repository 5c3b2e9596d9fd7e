//! The long property: whatever the webhook admits, the oracle finds nothing wrong with.

use std::collections::{BTreeMap, BTreeSet};

use sandgate::{policy::PolicySet, review::Endpoint, rules};
use serde_json::Value as Json;

use crate::{
    apiserver::{Said, create, defaulted, typed},
    cases, draw, generator, oracle,
};

/// Rules that the default policy has no setting for: any image and any Secret is allowed.
const SILENT: [&str; 2] = ["images", "secrets"];

#[derive(Default)]
struct Figures {
    admitted: usize,
    admitted_as_it_is: usize,
    denied: usize,
    /// How many Pods violated a rule, and how many violated no other.
    violated: BTreeMap<String, (usize, usize)>,
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
        figures.count(&create(&policies, Endpoint::Mutate, &pod));
        figures.note_strictness(&policies, &pod);
        if let Err(problem) = examine(&policies, &pod) {
            let kind = without_digits(&problem);
            let known = figures.escapes.entry(kind).or_insert_with(|| {
                let smallest = case.reduced(|pod| examine(&policies, pod).as_ref() == Err(&problem));
                (0, format!("{smallest:?}"))
            });
            known.0 += 1;
        }
    }
    figures.print();
    figures.are_good();
}

fn without_digits(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// Says how the webhook and the oracle disagree about `pod`.
fn examine(policies: &PolicySet, pod: &Json) -> Result<(), String> {
    if create(policies, Endpoint::Validate, pod).allowed {
        is_sound(pod).map_err(|fault| format!("/validate admits: {fault}"))?;
    }
    let mutated = create(policies, Endpoint::Mutate, pod);
    if !mutated.allowed {
        return points_somewhere(&mutated, pod);
    }
    let stored = defaulted(&mutated.pod);
    is_sound(&stored).map_err(|fault| format!("/mutate admits: {fault}"))?;
    let validated = create(policies, Endpoint::Validate, &stored);
    if !validated.allowed {
        return Err(format!("/validate refuses what /mutate admitted: {:?}", validated.causes));
    }
    Ok(())
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
    fn count(&mut self, said: &Said) {
        match (said.allowed, said.patches) {
            (true, true) => self.admitted += 1,
            (true, false) => self.admitted_as_it_is += 1,
            (false, _) => self.denied += 1,
        }
        let rules: BTreeSet<&String> = said.causes.iter().map(|(rule, _)| rule).collect();
        for rule in &rules {
            let (all, alone) = self.violated.entry((*rule).clone()).or_default();
            *all += 1;
            *alone += usize::from(rules.len() == 1);
        }
    }

    /// Not wrong, but worth reading: a refusal that the oracle cannot explain.
    fn note_strictness(&mut self, policies: &PolicySet, pod: &Json) {
        let said = create(policies, Endpoint::Validate, pod);
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
        println!("{:<26}{:>10}{:>10}", "violated rule", "Pods", "alone");
        for (rule, (all, alone)) in violated {
            println!("{rule:<26}{all:>10}{alone:>10}");
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
            .filter(|id| !SILENT.contains(id) && violated.get(*id).is_none_or(|(_, alone)| *alone == 0))
            .collect();
        assert!(starved.is_empty(), "never violated alone: {starved:?}");
    }
}
