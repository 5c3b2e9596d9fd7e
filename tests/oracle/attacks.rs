//! For each opening of a policy the attack that its bound keeps off: the loader rejects the policy, or the Pod is denied.

use std::{collections::BTreeMap, sync::LazyLock};

use sandgate_engine::review::Endpoint;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::{
    apiserver::{UPDATES, create, defaulted, typed, update},
    generator, oracle,
    policies::Proven,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attack {
    name: String,
    /// The `spec` of the policy with the opening.
    spec: Json,
    /// What the loader's error says.
    #[serde(default)]
    rejected: Option<String>,
    /// What is set in the complete Pod, by JSON pointer; null takes a field out.
    #[serde(default)]
    set: BTreeMap<String, Json>,
    /// What an update sets besides. Without it the Pod is created.
    #[serde(default)]
    relabel: Option<BTreeMap<String, Json>>,
    /// The rule that denies it.
    #[serde(default)]
    denied: Option<String>,
    /// `validate` where filling repairs what is wrong.
    #[serde(default)]
    only: Option<String>,
}

static ATTACKS: LazyLock<Vec<Attack>> = LazyLock::new(|| {
    serde_saphyr::from_str(include_str!("attacks.yaml")).expect("the attacks are one YAML document")
});

#[test]
fn each_opening_keeps_its_attack_off() {
    let problems: Vec<String> =
        ATTACKS.iter().filter_map(|attack| Some(format!("{}: {}", attack.name, attack.problem()?))).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(ATTACKS.len() >= 60, "only {} attacks", ATTACKS.len());
}

impl Attack {
    /// Returns what went wrong, if the attack got through or was kept off by something else.
    fn problem(&self) -> Option<String> {
        let policy = match (Proven::of(self.spec.clone()), &self.rejected) {
            (Err(error), Some(wanted)) if error.contains(wanted.as_str()) => return None,
            (Err(error), _) => return Some(format!("the loader says {error}")),
            (Ok(_), Some(_)) => return Some("the loader takes the policy".into()),
            (Ok(policy), None) => policy,
        };
        let rule = self.denied.as_deref().expect("an attack is rejected or denied");
        let mut pod = generator::complete();
        self.set.iter().for_each(|(pointer, value)| put(&mut pod, pointer, value));
        if let Some(relabel) = &self.relabel {
            return problem_of_update(&policy, &pod, relabel, rule);
        }
        let typed = typed(&defaulted(&pod)).expect("the attack is a Pod");
        if oracle::faults_under(&policy.oracle, &typed, None).is_empty() {
            return Some("the oracle finds nothing wrong".into());
        }
        let endpoints: &[Endpoint] = match self.only.as_deref() {
            Some("validate") => &[Endpoint::Validate],
            _ => &[Endpoint::Mutate, Endpoint::Validate],
        };
        endpoints.iter().find_map(|endpoint| {
            let reply = create(&policy.engine, *endpoint, &pod);
            let is_denied = !reply.allowed && reply.causes.iter().any(|(id, _)| id == rule);
            (!is_denied).then(|| format!("{endpoint:?} answers {} {:?}", reply.allowed, reply.causes))
        })
    }
}

fn problem_of_update(
    policy: &Proven,
    pod: &Json,
    changes: &BTreeMap<String, Json>,
    rule: &str,
) -> Option<String> {
    let created = create(&policy.engine, Endpoint::Mutate, pod);
    if !created.allowed {
        return Some(format!("it cannot be created: {:?}", created.causes));
    }
    let old = defaulted(&created.pod);
    let mut new = old.clone();
    for (pointer, value) in changes {
        put(&mut new, pointer, value);
    }
    UPDATES.into_iter().find_map(|way| {
        let reply = update(&policy.engine, way, &old, &new);
        let is_denied = !reply.allowed && reply.causes.iter().any(|(id, _)| id == rule);
        (!is_denied).then(|| format!("{way:?} answers {} {:?}", reply.allowed, reply.causes))
    })
}

/// Sets what stands at a JSON pointer, or takes it out; objects on the way are made.
pub(crate) fn put(pod: &mut Json, pointer: &str, value: &Json) {
    let mut here = pod;
    let keys: Vec<String> =
        pointer.split('/').skip(1).map(|key| key.replace("~1", "/").replace("~0", "~")).collect();
    let (last, way) = keys.split_last().expect("a pointer has a key");
    for key in way {
        here = at(here, key);
    }
    match (value, &mut *here) {
        (Json::Null, Json::Object(fields)) => drop(fields.remove(last)),
        _ => *at(here, last) = value.clone(),
    }
}

/// The value of a key or of an index; what is missing is made.
fn at<'p>(here: &'p mut Json, key: &str) -> &'p mut Json {
    if let (Json::Array(list), Ok(index)) = (&mut *here, key.parse::<usize>()) {
        if list.len() <= index {
            list.resize(index + 1, Json::Null);
        }
        return &mut here[index];
    }
    if !here.is_object() {
        *here = json!({});
    }
    &mut here[key]
}
