//! The smallest policy that admits the Pods that are there.
//!
//! For the full sandbox, and for each preset of an engine that made one of the Pods, whatever violates is asked for with
//! its smallest value, and the policy that comes of it is evaluated again until nothing changes. The one that admits most
//! Pods with the fewest openings of its own is suggested, then the one that opens less. It has no opening that no Pod
//! needs, and every Pod that is listed as admitted was admitted by the engine under the document that is returned.

mod asks;
mod draft;
mod engines;
mod meaning;

use std::collections::BTreeMap;

use crate::{
    json::{Value, pod_from_str},
    path::{FieldPath, Step},
    pod::spec,
    policy::{LoadError, LoadErrors, Mode, Opening, PodMatch, Policy, PolicySet, Source, Spec, opened},
    review::{Defaults, evaluate, with_facts},
    rules,
    violations::Violation,
};
use asks::{Ask, Evidence, asks_of};
use draft::{Draft, Head};

/// A Pod that a policy is suggested for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The name in comments, such as `Deployment web`.
    pub name: String,
    /// The Pod as JSON.
    pub json: String,
    /// The number of Pods that it stands for.
    pub count: usize,
}

/// What the suggested policy is called and where it begins.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The name of the policy.
    pub name: String,
    /// The namespaces that it is for.
    pub namespaces: Vec<String>,
    /// The mode that it is written with.
    pub mode: Mode,
    /// Where to begin.
    pub start: Start,
    /// The runtime classes besides the default that run gVisor. No other class is ever opened.
    pub gvisor_classes: Vec<String>,
}

/// Where a suggestion begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The full sandbox, or the preset of an engine that made one of the Pods, whichever needs less.
    Anywhere,
    /// The full sandbox.
    Sandbox,
    /// This preset.
    Preset(&'static str),
}

/// A Pod that no policy should admit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unadmitted {
    /// The place of the Pod among the subjects.
    pub subject: usize,
    /// What has to change, one line each.
    pub reasons: Vec<String>,
}

/// A suggested policy.
#[derive(Debug, Clone)]
pub struct Suggestion {
    /// The document, with a comment for each opening.
    pub document: String,
    /// The preset that it extends.
    pub preset: Option<&'static str>,
    /// The policy, in mode enforce.
    pub policy: Policy,
    /// The Pods that cannot be admitted.
    pub unadmitted: Vec<Unadmitted>,
    /// The rules that fill something in the Pods that are admitted, with the number of Pods, the most first.
    pub filled: Vec<(&'static str, usize)>,
}

/// So many times a policy is evaluated again, before what still violates counts as not to be admitted.
const MAX_ROUNDS: usize = 8;

/// Suggests the smallest policy for `subjects`.
///
/// # Errors
/// Fails if a preset or a name of `wanted` makes no policy.
pub fn suggest(subjects: &[Subject], wanted: &Wanted) -> Result<Suggestion, LoadErrors> {
    let first = match wanted.start {
        Start::Preset(preset) => Some(preset),
        Start::Anywhere | Start::Sandbox => None,
    };
    let mut best = Search::new(subjects, wanted, first)?.finished();
    if wanted.start == Start::Anywhere && best.left_out() + best.openings().len() > 0 {
        for Meant { preset, is_only_for_denied } in best.presets() {
            let search = Search::new(subjects, wanted, Some(preset))?.finished();
            let is_better = if is_only_for_denied {
                search.left_out() < best.left_out()
            } else {
                search.rank() < best.rank()
            };
            if is_better {
                best = search;
            }
        }
    }
    best.into_suggestion()
}

/// A preset that may be meant for the Pods.
struct Meant {
    preset: &'static str,
    /// True if none of the Pods that are admitted without it is of its engine.
    is_only_for_denied: bool,
}

/// Pods of an audit trail, of which only the texts of their violations are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The name in comments, such as `Job train`.
    pub name: String,
    /// The number of Pods that it stands for.
    pub count: usize,
    /// What they violate.
    pub violations: Vec<RecordedViolation>,
}

/// A violation as an audit record has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of the record")]
pub struct RecordedViolation {
    pub rule: String,
    pub path: String,
    pub found: String,
    pub wanted: String,
    pub remedy: String,
}

/// Suggests a policy for the violations of an audit trail. The trail has no Pods, so nothing is evaluated: what one
/// violation hides of another one is not seen, and Pods whose violations do not name what to open are left out.
///
/// # Errors
/// Fails if a preset or a name of `wanted` makes no policy.
pub fn suggest_from_records(records: &[Recorded], wanted: &Wanted) -> Result<Suggestion, LoadErrors> {
    let subject =
        |record: &Recorded| Subject { name: record.name.clone(), json: String::new(), count: record.count };
    let subjects: Vec<Subject> = records.iter().map(subject).collect();
    let preset = match wanted.start {
        Start::Preset(preset) => Some(preset),
        Start::Anywhere | Start::Sandbox => None,
    };
    let mut search = Search::new(&subjects, wanted, preset)?;
    let class = search.base.runtime_class.default.clone();
    for (number, record) in records.iter().enumerate() {
        for RecordedViolation { rule, path, found, wanted, remedy } in &record.violations {
            let asks = asks_of(&Evidence {
                rule,
                path: path.clone(),
                // A text that is cut or is not the value itself is no JSON.
                value: serde_json::from_str(found).unwrap_or_default(),
                found,
                remedy,
                csi_volume: None,
                runtime_class: &class,
            });
            if asks.is_empty() {
                let reason = format!("{path} is {found}, must be {wanted}: {remedy} ({rule})");
                search.reasons[number].push(reason);
            }
            search.asks[number].extend(asks);
        }
    }
    search.reload();
    search.into_suggestion()
}

/// The search that begins from one preset.
struct Search<'s> {
    subjects: &'s [Subject],
    wanted: &'s Wanted,
    preset: Option<&'static str>,
    /// The keys that the document adds to.
    base: Spec,
    /// The policy as it is asked for now, in mode enforce.
    policy: Policy,
    /// What each Pod asks for.
    asks: Vec<Vec<Ask>>,
    /// Why a Pod cannot be admitted; empty if it can.
    reasons: Vec<Vec<String>>,
}

impl<'s> Search<'s> {
    fn new(
        subjects: &'s [Subject],
        wanted: &'s Wanted,
        preset: Option<&'static str>,
    ) -> Result<Self, LoadErrors> {
        let head = Head { name: wanted.name.clone(), extends: preset, ..Head::default() };
        let policy = load(Draft::default().document(&head, false))?;
        let mut search = Self {
            subjects,
            wanted,
            preset,
            base: policy.base().spec.clone(),
            policy,
            asks: vec![Vec::new(); subjects.len()],
            reasons: vec![Vec::new(); subjects.len()],
        };
        search.policy = load(search.document(&search.asks, false))?;
        Ok(search)
    }

    fn head(&self, is_final: bool) -> Head {
        let Wanted { name, namespaces, mode, .. } = self.wanted;
        Head {
            name: name.clone(),
            extends: self.preset,
            namespaces: if is_final { namespaces.clone() } else { Vec::new() },
            mode: is_final.then(|| mode.as_str()),
        }
    }

    fn draft(&self, asks: &[Vec<Ask>]) -> Draft {
        let class =
            |class: &String| ("--gvisor-class", Ask::Add("runtimeClass.allowed", class.as_str().into()));
        let classes: Vec<(&str, Ask)> = self.wanted.gvisor_classes.iter().map(class).collect();
        let of_classes = classes.iter().map(|(asker, ask)| (*asker, ask));
        let of_pods = self.subjects.iter().zip(asks).zip(&self.reasons);
        let of_pods = of_pods
            .filter(|(_, reasons)| reasons.is_empty())
            .flat_map(|((subject, asks), _)| asks.iter().map(move |ask| (subject.name.as_str(), ask)));
        Draft::of(&self.base, of_classes.chain(of_pods))
    }

    fn document(&self, asks: &[Vec<Ask>], is_final: bool) -> String {
        self.draft(asks).document(&self.head(is_final), is_final)
    }

    /// Returns the number of Pods that cannot be admitted.
    fn left_out(&self) -> usize {
        let left_out = self.subjects.iter().zip(&self.reasons).filter(|(_, reasons)| !reasons.is_empty());
        left_out.map(|(subject, _)| subject.count).sum()
    }

    fn finished(mut self) -> Self {
        self.run();
        self.minimize();
        self
    }

    /// Returns the presets of the engines that made the Pods which need openings. An engine that made less than a third of
    /// them does not count: its preset would open something for all the others. The preset of an engine that made only
    /// Pods that cannot be admitted has to admit one of them.
    fn presets(&self) -> Vec<Meant> {
        const LEAST_SHARE: usize = 3;
        let subjects = || self.subjects.iter().zip(&self.reasons).zip(&self.asks);
        let mut needy: Vec<&str> = Vec::new();
        let mut denied: Vec<&str> = Vec::new();
        for ((subject, reasons), asks) in subjects() {
            match (reasons.is_empty(), asks.is_empty()) {
                (true, false) => needy.push(&subject.json),
                (false, _) => denied.push(&subject.json),
                (true, true) => {}
            }
        }
        let often = |(_, pods): &(&str, usize)| pods * LEAST_SHARE >= needy.len();
        let of_needy: Vec<&'static str> =
            engines::presets_for(&needy).into_iter().filter(often).map(|(preset, _)| preset).collect();
        let of_denied = engines::presets_for(&denied).into_iter().map(|(preset, _)| preset);
        let of_denied: Vec<&'static str> = of_denied.filter(|preset| !of_needy.contains(preset)).collect();
        let meant = |presets: Vec<&'static str>, is_only_for_denied| {
            presets.into_iter().map(move |preset| Meant { preset, is_only_for_denied })
        };
        meant(of_needy, false).chain(meant(of_denied, true)).collect()
    }

    /// Returns what makes one policy better than another: fewer Pods that it cannot admit, fewer openings of its own, a
    /// preset of an engine before one for an addition, and less that it opens beyond the full sandbox altogether.
    fn rank(&self) -> (usize, usize, bool, u32) {
        let weight = opened(&self.policy).openings.iter().map(Opening::weight).sum();
        (self.left_out(), self.openings().len(), self.preset.is_some_and(engines::is_addition), weight)
    }

    /// Returns what the Pods ask for, each once.
    fn openings(&self) -> Vec<Ask> {
        let mut openings: Vec<Ask> = Vec::new();
        for ask in self
            .asks
            .iter()
            .zip(&self.reasons)
            .filter(|(_, reasons)| reasons.is_empty())
            .flat_map(|(asks, _)| asks)
        {
            if !openings.contains(ask) {
                openings.push(ask.clone());
            }
        }
        openings
    }

    /// Asks for what violates, until nothing changes.
    fn run(&mut self) {
        for round in 0..=MAX_ROUNDS {
            let mut is_changed = false;
            for number in 0..self.subjects.len() {
                if self.reasons[number].is_empty() {
                    is_changed |= self.ask(number, round == MAX_ROUNDS);
                }
            }
            if !is_changed {
                return;
            }
            self.reload();
        }
    }

    /// Asks for what violates in one Pod, and returns whether that changes anything.
    fn ask(&mut self, number: usize, is_last: bool) -> bool {
        let subject = &self.subjects[number];
        let pod = match pod_from_str(&subject.json) {
            Ok(pod) => pod,
            Err(error) => {
                self.reasons[number].push(format!("the Pod cannot be read: {error}"));
                return true;
            }
        };
        let (violations, filled) = violations(&self.policy, &pod);
        if violations.is_empty() {
            return false;
        }
        let mut reasons = Vec::new();
        let own = &mut self.asks[number];
        let asked_before = own.len();
        for violation in violations {
            let asks = asks_of(&evidence(&violation, &filled));
            // What was asked for before, and did not help, will not help.
            if is_last || asks.iter().all(|ask| own[..asked_before].contains(ask)) {
                reasons.push(violation.to_string());
            }
            own.extend(asks.into_iter().filter(|ask| !own.contains(ask)).collect::<Vec<Ask>>());
        }
        self.reasons[number] = reasons;
        true
    }

    /// Loads the policy that is asked for. What makes none is left out, with the Pods that ask for it.
    fn reload(&mut self) {
        if let Ok(policy) = load(self.document(&self.asks, false)) {
            self.policy = policy;
            return;
        }
        let mut kept: Vec<Vec<Ask>> = vec![Vec::new(); self.subjects.len()];
        for number in 0..self.subjects.len() {
            if !self.reasons[number].is_empty() {
                continue;
            }
            kept[number].clone_from(&self.asks[number]);
            match load(self.document(&kept, false)) {
                Ok(policy) => self.policy = policy,
                Err(LoadErrors(errors)) => {
                    kept[number].clear();
                    let reason = |error: &LoadError| {
                        format!("no policy can allow it: {} {}", error.path, error.problem)
                    };
                    self.reasons[number] = errors.iter().map(reason).collect();
                }
            }
        }
        self.asks = kept;
    }

    /// Drops what no Pod needs: an opening can make another one needless.
    fn minimize(&mut self) {
        for opening in self.openings() {
            let without: Vec<Vec<Ask>> = self
                .asks
                .iter()
                .map(|asks| asks.iter().filter(|ask| **ask != opening).cloned().collect())
                .collect();
            let Ok(policy) = load(self.document(&without, false)) else { continue };
            // An opening that belongs to another one is kept: a Pod that restarts has no deadline.
            let belongs = matches!(opening, Ask::Set(key, _) if key.starts_with("lifecycle.restartPolicy")
                || key.starts_with("lifecycle.activeDeadlineSeconds"));
            if !belongs && self.all_are_admitted(&policy) {
                (self.asks, self.policy) = (without, policy);
            }
        }
    }

    /// Returns true if every Pod that can be admitted is, under `policy`.
    fn all_are_admitted(&self, policy: &Policy) -> bool {
        let pods = self.subjects.iter().zip(&self.reasons).filter(|(_, reasons)| reasons.is_empty());
        let mut pods = pods.map(|(subject, _)| pod_from_str(&subject.json));
        pods.all(|pod| pod.is_ok_and(|pod| violations(policy, &pod).0.is_empty()))
    }

    fn into_suggestion(mut self) -> Result<Suggestion, LoadErrors> {
        let document = self.document(&self.asks, true);
        let enforced = Wanted { mode: Mode::Enforce, ..self.wanted.clone() };
        // The document as it is printed has to load, and what is checked is the same document in mode enforce.
        load(document.clone())?;
        self.policy = load(
            self.draft(&self.asks)
                .document(&Head { mode: Some(enforced.mode.as_str()), ..self.head(true) }, true),
        )?;
        let mut filled: BTreeMap<&'static str, usize> = BTreeMap::new();
        for (number, subject) in self.subjects.iter().enumerate() {
            let Ok(pod) = pod_from_str(&subject.json) else { continue };
            if !self.reasons[number].is_empty() {
                continue;
            }
            let (left, _) = violations(&self.policy, &pod);
            self.reasons[number] = left.iter().map(ToString::to_string).collect();
            let mut changed = pod.clone();
            for fill in evaluate(&self.policy, &mut changed, None, Defaults::Fill).filled {
                *filled.entry(fill.rule.id).or_default() += subject.count;
            }
        }
        let mut filled: Vec<(&'static str, usize)> = filled.into_iter().collect();
        filled.sort_by_key(|(rule, pods)| (std::cmp::Reverse(*pods), *rule));
        let unadmitted = self.reasons.into_iter().enumerate().filter(|(_, reasons)| !reasons.is_empty());
        let unadmitted = unadmitted.map(|(subject, reasons)| Unadmitted { subject, reasons }).collect();
        Ok(Suggestion { document, preset: self.preset, policy: self.policy, unadmitted, filled })
    }
}

fn load(text: String) -> Result<Policy, LoadErrors> {
    let policies = PolicySet::from_sources(&[Source { name: "the suggested policy".into(), text }])?;
    Ok(policies.policies()[0].clone())
}

/// Returns what violates the policy if the Pod is created, and the Pod as it is filled. Who creates it is not known, so a
/// Pod that a profile for users admits is admitted.
fn violations<'a>(policy: &'a Policy, pod: &Value<'a>) -> (Vec<Violation>, Value<'a>) {
    let mut filled = pod.clone();
    let findings = evaluate(policy, &mut filled, None, Defaults::Fill);
    let violations: Vec<Violation> =
        findings.violations.with_level().map(|(_, violation)| violation.clone()).collect();
    if violations.is_empty() || is_admitted_for_a_user(policy, pod) {
        return (Vec::new(), filled);
    }
    (violations, filled)
}

fn is_admitted_for_a_user<'a>(policy: &'a Policy, pod: &Value<'a>) -> bool {
    let mut of_users = policy.profiles().iter().filter(|profile| profile.matcher.needs_creator());
    of_users.any(|profile| {
        let matcher = PodMatch { users: None, groups: None, ..profile.matcher.clone() };
        let fits = with_facts(pod, None, |facts| matcher.matches(facts, &policy.base().spec));
        let mut filled = pod.clone();
        fits && {
            rules::fill(profile, &mut filled);
            rules::check(profile, &filled).is_empty()
        }
    })
}

fn evidence<'e>(violation: &'e Violation, pod: &'e Value) -> Evidence<'e> {
    let json = |value: Option<&Value>| {
        value.map_or(serde_json::Value::Null, |value| serde_json::to_value(value).unwrap_or_default())
    };
    let csi: Option<FieldPath> = {
        let steps: Vec<Step> = violation.path.steps().collect();
        let end = steps.iter().position(|step| *step == Step::Field("csi"));
        end.map(|end| steps[..=end].iter().copied().collect())
    };
    Evidence {
        rule: violation.rule.id,
        path: violation.path.to_string(),
        value: json(value_at(pod, &violation.path)),
        found: &violation.found,
        remedy: &violation.remedy,
        csi_volume: csi.map(|path| json(value_at(pod, &path))),
        runtime_class: spec(pod).str("runtimeClassName").unwrap_or_default(),
    }
}

fn value_at<'v, 'a>(pod: &'v Value<'a>, path: &FieldPath) -> Option<&'v Value<'a>> {
    let mut steps = path.steps();
    steps.try_fold(pod, |value, step| match step {
        Step::Field(name) | Step::Key(name) => value.as_object()?.get(name),
        Step::Index(wanted) => {
            value.as_list()?.iter().find(|(index, _)| *index == wanted).map(|(_, item)| item)
        }
    })
}
