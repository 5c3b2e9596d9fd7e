//! Generated Pods and the Pods of real engines, under several policies.

use std::{collections::BTreeSet, fmt, fs, path::Path};

use sandgate_engine::{policy::PRESETS, review::Endpoint};
use serde_json::{Value as Json, json};

use super::{
    fixture::{Comparison, Fixture},
    pods,
};
use crate::{
    apiserver::{create, policy_with},
    draw, generator,
    policies::{self, Proven},
    schema::Dice,
};

/// So many differences are shown.
const SHOWN: usize = 5;

#[derive(Default)]
struct Figures {
    not_asked: usize,
    admitted: usize,
    denied: usize,
    differences: Vec<String>,
}

impl Figures {
    fn add(&mut self, comparison: Comparison) {
        match comparison {
            Comparison::NotAsked => self.not_asked += 1,
            Comparison::Admitted => self.admitted += 1,
            Comparison::Denied => self.denied += 1,
            Comparison::Different(text) => self.differences.push(text),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { not_asked, admitted, denied, differences: _ } = self;
        write!(f, "{admitted} admitted, {denied} denied by both, {not_asked} denied before by the API server")
    }
}

/// Sends each Pod as it is and as sandgate fills it, so that many are admitted.
async fn compare_all(name: &str, spec: &Json, drawn: impl Iterator<Item = Json>) -> Figures {
    let fixture = Fixture::new(name, spec).await;
    fixture.arm().await;
    let policies = policy_with(spec);
    let mut figures = Figures::default();
    for pod in drawn.filter(can_be_compared) {
        figures.add(fixture.compare(&pod).await);
        let filled = create(&policies, Endpoint::Mutate, &pod);
        if filled.patches {
            figures.add(fixture.compare(&filled.pod).await);
        }
    }
    fixture.disarm().await;
    println!("{name}: {figures}");
    let shown: Vec<&String> = figures.differences.iter().take(SHOWN).collect();
    assert!(figures.differences.is_empty(), "{spec}: {} differences\n{shown:#?}", figures.differences.len());
    figures
}

/// An amount beyond 128 bits counts as none in the engine's budget, and as what it is in the backstop's; both deny it as
/// a limit.
pub(super) fn can_be_compared(pod: &Json) -> bool {
    const MAX_EXPONENT: u32 = 20;
    let is_small = |text: &str| {
        let exponent = text.rsplit_once(['e', 'E']).and_then(|(_, exponent)| exponent.parse::<u32>().ok());
        exponent.is_none_or(|exponent| exponent <= MAX_EXPONENT)
    };
    super::super::stored::can_be_answered(pod)
        && match pod {
            Json::String(text) => is_small(text),
            Json::Array(list) => list.iter().all(can_be_compared),
            Json::Object(fields) => fields.values().all(can_be_compared),
            _ => true,
        }
}

#[tokio::test]
async fn generated_pods_get_the_same_verdict_and_rules_under_the_default_policy() {
    let cases = draw(generator::cases(), pods() / 2);
    let figures = compare_all("default", &json!({}), cases.map(|case| case.pod())).await;
    // Both verdicts came, or the test shows nothing.
    assert!(figures.admitted > 0 && figures.denied > 0, "{figures}");
}

#[tokio::test]
async fn generated_pods_get_the_same_verdict_and_rules_under_drawn_policies() {
    let mut dice = Dice(11);
    let count = if pods() > 1000 { 20 } else { 4 };
    for number in 0..count {
        let Proven { mut spec, .. } = policies::policy(&mut dice, &mut 0);
        if let Some(keys) = spec.as_object_mut() {
            // What a rule's level and the mode do is tested elsewhere.
            for key in ["mode", "rules", "fill", "exempt", "candidate"] {
                keys.remove(key);
            }
        }
        let cases = draw(generator::opened_cases(), pods() / 4 / count);
        let complete = std::iter::once(generator::complete());
        let drawn = cases.map(|(case, _)| case.pod()).chain(complete);
        compare_all(&format!("drawn-{number}"), &spec, drawn).await;
    }
}

/// Presets that between them use profiles, exceptions, tokens, root, extended resources and every volume type.
const SOME_PRESETS: [&str; 5] = ["argo-workflows", "agent-sandbox", "gpu-jobs", "eks-identity", "tekton"];

#[tokio::test]
async fn pods_of_engines_get_the_same_verdict_and_rules_under_the_presets() {
    let all = pods() > 1000;
    let names: BTreeSet<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
    for (number, name) in names.into_iter().filter(|name| all || SOME_PRESETS.contains(name)).enumerate() {
        // A few Pods for each preset; all of them at length.
        let chosen = fixtures().into_iter().enumerate().filter(|(index, _)| all || (index + number) % 5 == 0);
        let generated = draw(generator::opened_cases(), pods() / 160).map(|(case, _)| case.pod());
        let drawn = chosen.map(|(_, pod)| pod).chain(generated);
        compare_all(name, &json!({"extends": format!("preset/{name}")}), drawn).await;
    }
}

/// Returns the Pods of real engines that the engine's own tests use.
fn fixtures() -> Vec<Json> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/tests/fixtures");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries
        .filter(|path| path.is_dir())
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|file| file.unwrap().path())
        .collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| -> Vec<Json> {
        serde_saphyr::from_multiple(&fs::read_to_string(path).unwrap()).unwrap()
    };
    paths.iter().flat_map(read).filter(|object| object["kind"] == "Pod").collect()
}
