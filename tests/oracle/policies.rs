//! Policies to prove: drawn key by key from a table, on the default or on a preset, with profiles and exceptions, and
//! kept if the loader takes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::LazyLock,
};

use sandgate_engine::policy::{PolicySet, Source, Spec};
use serde_json::{Map, Value as Json, json};

use crate::{
    oracle::SECTIONS,
    policy::{DEFAULTS, Policy, REPLACED},
    schema::Dice,
};

/// The values of each key that profiles may set.
static VALUES: LazyLock<BTreeMap<String, Vec<Json>>> = LazyLock::new(|| {
    let drawn = SECTIONS.iter().map(|section| section.drawn).collect::<String>();
    serde_saphyr::from_str(&drawn).expect("the values of all subjects are one YAML mapping")
});

/// The keys that exceptions for single containers may set.
const CONTAINER_KEYS: [&str; 14] = [
    "security",
    "serviceAccount.automountToken",
    "serviceAccount.tokens",
    "lifecycle.containerRestartRules",
    "security.runAsUser",
    "security.runAsGroup",
    "security.root",
    "security.capabilities",
    "security.readOnlyRootFilesystem",
    "volumes.filled",
    "volumes.writablePaths",
    "volumes.terminationMessagePaths",
    "secrets.environment",
    "secrets.volumes",
];

/// The `spec` of each preset that comes with the program.
static PRESETS: LazyLock<BTreeMap<String, Json>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets");
    let files = fs::read_dir(folder).expect("the folder of the presets").map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let presets = files.map(|path| {
        let document: Json = serde_saphyr::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        (path.file_stem().unwrap().to_string_lossy().into_owned(), document["spec"].clone())
    });
    presets.collect()
});

/// A policy, as the engine has loaded it and as the oracle has read it.
pub(crate) struct Proven {
    pub(crate) spec: Json,
    pub(crate) engine: PolicySet,
    pub(crate) oracle: Policy,
}

impl Proven {
    /// Reads a `spec` with both; an error is the loader's.
    pub(crate) fn of(spec: Json) -> Result<Self, String> {
        let mut document = spec.clone();
        document["namespaces"] = json!(["workflows"]);
        let document = json!({
            "apiVersion": "sandgate.dev/v1beta1",
            "kind": "SandboxPolicy",
            "metadata": {"name": "proven"},
            "spec": document,
        });
        let source = Source { name: "policy.yaml".into(), text: document.to_string() };
        let engine = PolicySet::from_sources(&[source]).map_err(|errors| errors.to_string())?;
        let preset = |name: &str| PRESETS[name.trim_start_matches("preset/")].clone();
        let oracle = Policy::read(&spec, &preset);
        Ok(Self { spec, engine, oracle })
    }
}

/// Draws a `spec` that may be a policy.
pub(crate) fn spec(dice: &mut Dice) -> Json {
    let mut spec = keys(dice, 5, |_| true);
    if dice.one_in(4) {
        let names: Vec<&String> = PRESETS.keys().collect();
        spec["extends"] = json!(format!("preset/{}", dice.choose(&names)));
    }
    if dice.one_in(4) {
        spec["add"] = keys(dice, 2, |key| VALUES[key].iter().all(Json::is_array));
    }
    if dice.one_in(3) {
        spec["containers"] = exceptions(dice);
    }
    if dice.one_in(3) {
        let count = 1 + usize::from(dice.one_in(3));
        spec["profiles"] = (0..count)
            .map(|index| {
                let mut own = keys(dice, 4, |_| true);
                if dice.one_in(4) {
                    own["containers"] = exceptions(dice);
                }
                json!({"name": format!("profile-{index}"), "match": matcher(dice), "spec": own})
            })
            .collect();
    }
    spec
}

/// Up to `most` keys, each with a value of the table.
fn keys(dice: &mut Dice, most: usize, is_wanted: impl Fn(&str) -> bool) -> Json {
    let known: Vec<&String> = VALUES.keys().filter(|key| is_wanted(key)).collect();
    let counts: Vec<usize> = (1..=most).collect();
    let mut spec = json!({});
    for _ in 0..dice.pick(&counts) {
        let key = dice.pick(&known);
        let value = dice.choose(&VALUES[key]).clone();
        set(&mut spec, key, value);
    }
    spec
}

fn set(spec: &mut Json, key: &str, value: Json) {
    let mut here = spec;
    for part in key.split('.') {
        if !here.is_object() {
            *here = Json::Object(Map::new());
        }
        here = &mut here[part];
    }
    *here = value;
}

fn exceptions(dice: &mut Dice) -> Json {
    let images = [
        json!(["registry.example.com/proxy"]),
        json!(["registry.example.com/runner"]),
        json!(["registry.example.com/tools:2", "docker.io/library/busybox"]),
    ];
    let count = 1 + usize::from(dice.one_in(3));
    let exception = |index: usize, dice: &mut Dice| {
        let mut matcher = json!({"images": dice.choose(&images)});
        if dice.one_in(3) {
            matcher["names"] = dice.choose(&[json!(["main"]), json!(["proxy", "auto*"])]).clone();
        }
        if dice.one_in(3) {
            matcher["kinds"] = dice.choose(&[json!(["app"]), json!(["init", "sidecar"])]).clone();
        }
        let spec = keys(dice, 4, |key| CONTAINER_KEYS.contains(&key));
        json!({"name": format!("exception-{index}"), "match": matcher, "spec": spec})
    };
    (0..count).map(|index| exception(index, dice)).collect()
}

fn matcher(dice: &mut Dice) -> Json {
    let all = [
        json!({"users": ["system:serviceaccount:ci:controller"]}),
        json!({"groups": ["builders", "team-*"]}),
        json!({"owners": ["Job.batch"]}),
        json!({"owners": ["Sandbox.agents.x-k8s.io", "ReplicationController"]}),
        json!({"serviceAccounts": ["agent-*"]}),
        json!({"serviceAccounts": ["workflow-runner"]}),
        json!({"labels": {"role": "builder"}}),
        json!({"labels": {"tier": "*"}}),
        json!({"runtimeClasses": ["gvisor-gpu"]}),
        json!({"extendedResources": ["nvidia.com/gpu"]}),
    ];
    let mut matcher = dice.choose(&all).clone();
    if dice.one_in(4) {
        for (key, value) in dice.choose(&all).as_object().into_iter().flatten() {
            matcher[key] = value.clone();
        }
    }
    matcher
}

/// Draws policies until the loader takes one; counts those that it does not.
pub(crate) fn policy(dice: &mut Dice, rejected: &mut usize) -> Proven {
    loop {
        if let Ok(proven) = Proven::of(spec(dice)) {
            return proven;
        }
        *rejected += 1;
    }
}

#[test]
fn the_loader_takes_most_of_what_is_drawn_and_every_value_of_the_table() {
    let mut dice = Dice(7);
    let mut rejected = 0;
    for _ in 0..50 {
        policy(&mut dice, &mut rejected);
    }
    assert!(rejected < 500, "{rejected} policies were rejected for 50");
    let mut problems = Vec::new();
    for (key, values) in &*VALUES {
        for value in values {
            let mut spec = json!({});
            set(&mut spec, key, value.clone());
            // What one key alone contradicts, it has beside it.
            match key.as_str() {
                "serviceAccount.default" => set(&mut spec, "serviceAccount.allowed", json!(["*"])),
                "resources.extended" | "security.root" => {
                    set(&mut spec, "runtimeClass", json!({"allowed": ["gvisor", "gvisor-gpu"]}));
                }
                "serviceAccount.allowed" => set(&mut spec, "serviceAccount.default", Json::Null),
                _ => {}
            }
            problems.extend(Proven::of(spec.clone()).err().map(|problem| format!("{spec}: {problem}")));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// A key that the oracle does not know would be proven for its default only, if at all.
#[test]
fn every_key_has_its_default_here_and_is_drawn() {
    let defaults = serde_json::to_value(Spec::default()).unwrap();
    let mut keys = BTreeSet::new();
    leaves(&defaults, "", &mut keys);
    let drawn = VALUES.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value)));
    let mut set_by_some = BTreeSet::new();
    drawn.for_each(|(key, value)| leaves(value, key, &mut set_by_some));
    let at = |key: &str| key.split('.').fold(&*DEFAULTS, |here, part| &here[part]);
    let expected = |key: &str| key.split('.').fold(&defaults, |here, part| &here[part]);
    let other = |key: &&String| at(key) != expected(key);
    let differ: Vec<_> = keys.iter().filter(other).collect();
    assert!(differ.is_empty(), "tests/oracle/oracle states no default, or another one, of {differ:?}");
    let never: Vec<_> = keys.difference(&set_by_some).collect();
    assert!(never.is_empty(), "tests/oracle/oracle draws no value of {never:?}");
}

/// Adds the paths of all keys that hold a value and no mapping of keys.
fn leaves(value: &Json, path: &str, found: &mut BTreeSet<String>) {
    match value.as_object().filter(|_| !REPLACED.contains(&path)) {
        Some(fields) => {
            for (key, field) in fields {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(field, &below, found);
            }
        }
        None => drop(found.insert(path.into())),
    }
}

#[test]
fn every_preset_is_read_by_both() {
    for name in PRESETS.keys() {
        let loaded = Proven::of(json!({"extends": format!("preset/{name}")}));
        assert!(loaded.is_ok(), "{name}: {}", loaded.err().unwrap_or_default());
    }
}
