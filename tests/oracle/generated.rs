//! Nothing escapes under any policy: generated policies, and generated Pods under each.

use std::collections::{BTreeMap, BTreeSet};

use sandgate_engine::{policy::PolicySet, review::Endpoint};
use serde_json::{Value as Json, json};

use crate::{
    apiserver::{SOMEONE, UPDATES, create_as, defaulted, is_of_no_width, items, typed, update},
    cases, draw_as, draw_seeded,
    exhaustive::{Answers, examine_as, is_sound, is_sound_under, without_digits},
    generator::{self, Case, yaml},
    in_parallel, oracle,
    policies::{self, Proven},
    policy::Creator,
    schema::Dice,
    share,
};

/// How many Pods each policy gets.
const PODS_OF_A_POLICY: usize = 20;

/// Who creates Pods: the profiles of some policies know the last two.
const CREATORS: [Creator; 3] = [
    SOMEONE,
    Creator { user: "system:serviceaccount:ci:controller", groups: &["system:authenticated"] },
    Creator { user: "alice", groups: &["team-a", "builders"] },
];

#[derive(Default)]
struct Figures {
    policies: usize,
    rejected_by_the_loader: usize,
    admitted: usize,
    denied: usize,
    /// Admitted, and denied under the default policy.
    opened: usize,
    updates_denied: usize,
    filled_mounts: usize,
    /// The edits of openings that some admitted Pod had.
    openings_met: BTreeSet<usize>,
    /// Denied although the oracle finds nothing, by rule.
    stricter: BTreeMap<String, (usize, String)>,
    /// Each kind of disagreement once, with policy and Pod.
    escapes: BTreeMap<String, (usize, String)>,
}

#[test]
fn nothing_escapes_any_policy() {
    let figures = in_parallel(|worker, workers| {
        let mut figures = Figures::default();
        let count = share(cases(), worker, workers).div_ceil(PODS_OF_A_POLICY);
        for seed in draw_as(worker, proptest::prelude::any::<u64>(), count) {
            figures.prove_a_policy(seed);
        }
        figures
    });
    let figures = Figures::sum(figures);
    figures.print();
    figures.are_good();
}

impl Figures {
    fn prove_a_policy(&mut self, seed: u64) {
        let mut dice = Dice(seed);
        let policy = policies::policy(&mut dice, &mut self.rejected_by_the_loader);
        self.policies += 1;
        for (case, opened) in draw_seeded(seed, generator::opened_cases(), PODS_OF_A_POLICY) {
            let creator = dice.pick(&CREATORS);
            self.prove_a_pod(&policy, creator, &case, &opened);
        }
    }

    fn prove_a_pod(&mut self, policy: &Proven, creator: Creator, case: &Case, opened: &[usize]) {
        let pod = case.pod();
        let answers = Answers::to(creator, &policy.engine, &pod);
        if answers.mutate.allowed {
            self.admitted += 1;
            self.opened += usize::from(is_sound(&defaulted(&answers.mutate.pod)).is_err());
            self.openings_met.extend(opened);
        } else {
            self.denied += 1;
        }
        let problem = |pod: &Json| {
            let answers = Answers::to(creator, &policy.engine, pod);
            examine_as(creator, &policy.engine, &policy.oracle, pod, &answers)
                .and_then(|()| examine_fill(policy, pod, &answers))
                .err()
        };
        if let Some(found) = problem(&pod) {
            let same = |pod: &Json| {
                problem(pod).is_some_and(|other| without_digits(&other) == without_digits(&found))
            };
            let known = self.escapes.entry(without_digits(&found));
            known
                .or_insert_with(|| {
                    let smallest = case.clone().reduced(same);
                    (0, format!("{}\nby {creator:?}\n{smallest:?}", yaml(&policy.spec)))
                })
                .0 += 1;
        }
        if answers.mutate.allowed {
            self.filled_mounts += new_mounts(&pod, &answers.mutate.pod).len();
            return;
        }
        // What filling made of a denied Pod is not seen: a Pod that needs none shows what is stricter.
        let stored = defaulted(&pod);
        if is_sound_under(&policy.oracle, creator, &stored).is_ok() && typed(&stored).is_ok() {
            let reply = create_as(creator, &policy.engine, Endpoint::Validate, &stored);
            if !reply.allowed {
                let rules: BTreeSet<&str> = reply.causes.iter().map(|(rule, _)| rule.as_str()).collect();
                let rules = rules.into_iter().collect::<Vec<_>>().join(", ");
                let example = || (0, format!("{}\n{:?}\n{}", yaml(&policy.spec), reply.causes, yaml(&pod)));
                self.stricter.entry(rules).or_insert_with(example).0 += 1;
            }
        }
    }

    fn sum(all: Vec<Self>) -> Self {
        let mut sum = Self::default();
        for one in all {
            sum.policies += one.policies;
            sum.rejected_by_the_loader += one.rejected_by_the_loader;
            sum.admitted += one.admitted;
            sum.denied += one.denied;
            sum.opened += one.opened;
            sum.updates_denied += one.updates_denied;
            sum.filled_mounts += one.filled_mounts;
            sum.openings_met.extend(one.openings_met);
            for (kinds, known) in [(one.stricter, &mut sum.stricter), (one.escapes, &mut sum.escapes)] {
                for (kind, (count, example)) in kinds {
                    known.entry(kind).or_insert((0, example)).0 += count;
                }
            }
        }
        sum
    }

    fn print(&self) {
        let Self { policies, rejected_by_the_loader, admitted, denied, opened, filled_mounts, .. } = self;
        println!("{policies} policies ({rejected_by_the_loader} more were rejected by the loader)");
        println!("{} Pods: {admitted} admitted, {denied} denied", admitted + denied);
        println!("{opened} of the admitted Pods would be denied under the default policy");
        println!("{filled_mounts} mounts filled, each of a volume that no other container reaches");
        println!("{} of {} openings were used", self.openings_met.len(), generator::OPENINGS.len());
        println!("{} kinds of denial that the oracle does not share", self.stricter.len());
        for (rules, (count, example)) in &self.stricter {
            println!("  {count:>6}  {rules}");
            if std::env::var_os("SANDGATE_PROVE_VERBOSE").is_some() {
                println!("{example}");
            }
        }
        println!("{} escapes", self.escapes.len());
        for (kind, (count, example)) in &self.escapes {
            println!("== {count} × {kind}\n{example}");
        }
    }

    /// Policies that admit or deny nearly everything prove little.
    fn are_good(&self) {
        assert!(self.escapes.is_empty(), "the engine and the oracle disagree");
        let total = self.admitted + self.denied;
        if total < 1000 {
            return;
        }
        assert!(self.admitted * 5 >= total, "less than 20 % were admitted");
        assert!(self.denied * 5 >= total, "less than 20 % were denied");
        assert!(self.opened * 20 >= total, "less than 5 % needed an opening");
        for (rules, (count, example)) in &self.stricter {
            let is_known = rules.split(", ").all(|rule| STRICTER.contains(&rule));
            let is_rare = *count <= total / 20_000;
            assert!(is_known || is_rare, "denied by {rules} although nothing is wrong\n{example}");
        }
    }
}

/// The rules that deny more than the oracle: what it cannot see in a typed Pod. Others rarely do, for values that set nothing
/// or that the API server rejects, such as an empty `procMount`.
const STRICTER: [&str; 1] = ["pod-schema"];

/// What is filled belongs to one container.
fn examine_fill(policy: &Proven, before: &Json, answers: &Answers) -> Result<(), String> {
    let after = &answers.mutate.pod;
    if !answers.mutate.allowed || !answers.mutate.patches || has_no_distinct_names(before) {
        return Ok(());
    }
    for mount in new_mounts(before, after) {
        mount.is_private_in(after, policy)?;
    }
    Ok(())
}

/// Returns true if two containers have one name, or none: the API server rejects such a Pod.
fn has_no_distinct_names(pod: &Json) -> bool {
    let mut seen = BTreeSet::new();
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    let mut containers = lists.iter().flat_map(|list| pod["spec"][list].as_array().into_iter().flatten());
    containers.any(|container| container["name"].as_str().is_none_or(|name| !seen.insert(name)))
}

/// A mount that was filled.
struct NewMount {
    list: &'static str,
    container: usize,
    volume: String,
    path: String,
    sub_path: String,
}

fn new_mounts(before: &Json, after: &Json) -> Vec<NewMount> {
    let mut all = Vec::new();
    for list in ["initContainers", "containers"] {
        for (container, filled) in after["spec"][list].as_array().into_iter().flatten().enumerate() {
            let known =
                before["spec"][list][container]["volumeMounts"].as_array().cloned().unwrap_or_default();
            for mount in filled["volumeMounts"].as_array().into_iter().flatten() {
                if known.contains(mount) {
                    continue;
                }
                let text = |key: &str| mount[key].as_str().unwrap_or_default().to_owned();
                let (volume, path, sub_path) = (text("name"), text("mountPath"), text("subPath"));
                all.push(NewMount { list, container, volume, path, sub_path });
            }
        }
    }
    all
}

impl NewMount {
    /// No other container reaches the folder, unless the policy shares the volume.
    fn is_private_in(&self, pod: &Json, policy: &Proven) -> Result<(), String> {
        if policy.oracle.shares(&self.path) {
            return Ok(());
        }
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            for (number, other) in pod["spec"][list].as_array().into_iter().flatten().enumerate() {
                if list == self.list && number == self.container {
                    continue;
                }
                for mount in other["volumeMounts"].as_array().into_iter().flatten() {
                    let is_same = mount["name"].as_str() == Some(&self.volume);
                    let theirs = mount["subPath"].as_str().unwrap_or_default();
                    let has_expression = mount["subPathExpr"].as_str().is_some_and(|path| !path.is_empty());
                    if is_same && (has_expression || meet(theirs, &self.sub_path)) {
                        return Err(format!(
                            "{}[{}] gets {} at {}, which {list}[{number}] reaches",
                            self.list, self.container, self.volume, self.path
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Returns true if one folder of a volume is or contains the other.
fn meet(one: &str, other: &str) -> bool {
    let parts = |path: &str| -> Vec<String> {
        path.split('/').filter(|part| !matches!(*part, "" | ".")).map(str::to_owned).collect()
    };
    let (one, other) = (parts(one), parts(other));
    one.iter().zip(&other).all(|(one, other)| one == other)
}

/// An update is checked under the profile of the new object; what the old one had counts only under the same.
#[test]
fn no_update_escapes_any_policy() {
    let mut denied = 0;
    let count = (cases() / 100).max(20);
    for seed in draw_as(0, proptest::prelude::any::<u64>(), count) {
        let mut dice = Dice(seed);
        let policy = policies::policy(&mut dice, &mut 0);
        let pods = (generator::opened_cases(), generator::any_edits());
        for ((case, _), edits) in draw_seeded(seed, pods, PODS_OF_A_POLICY) {
            let creator = dice.pick(&CREATORS);
            let created = create_as(creator, &policy.engine, Endpoint::Mutate, &case.pod());
            let old = defaulted(&created.pod);
            let mut new = old.clone();
            for edit in &edits {
                edit.apply(&mut new);
            }
            let new = defaulted(&new);
            denied += usize::from(prove_an_update(&policy, &old, &new));
        }
    }
    println!("{denied} updates that add a violation, all denied");
    assert!(denied * 10 > count, "only {denied} updates added a violation");
}

/// What containers inherit from their Pod, each with the field.
const INHERITED: [(&str, &str); 4] = [
    ("runAsNonRoot", "runAsNonRoot"),
    ("user", "runAsUser"),
    ("group", "runAsGroup"),
    ("seccomp", "seccompProfile"),
];

/// Returns true if the engine had a violation in the place of this fault before, for which the oracle has another name or
/// none: a field of the Pod that is as it was, and that a container inherited; an affinity with a term that is empty, and so
/// selects no node. The API server rejects an update that adds to such a term.
pub(crate) fn was_there_before(fault: &str, known: &[String], old: &Json, new: &Json) -> bool {
    if fault == "node affinity" {
        let terms = old.pointer(NODE_TERMS).and_then(Json::as_array).into_iter().flatten();
        return terms.into_iter().any(|term| term.as_object().is_none_or(serde_json::Map::is_empty));
    }
    let field_of = |kind: &str| INHERITED.iter().find(|(inherited, _)| *inherited == kind);
    let Some((kind, field)) = fault.strip_prefix("Pod's ").and_then(field_of) else { return false };
    let value = |pod: &Json| pod["spec"]["securityContext"][field].clone();
    value(old) == value(new) && known.iter().any(|known| known.starts_with(&format!("{kind} in ")))
}

const NODE_TERMS: &str =
    "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";

/// Returns true if the update adds a violation. It must then be denied.
fn prove_an_update(policy: &Proven, old: &Json, new: &Json) -> bool {
    let (Ok(old_pod), Ok(new_pod)) = (typed(old), typed(new)) else { return false };
    let (before, after) =
        (policy.oracle.profile_of(&old_pod, None), policy.oracle.profile_of(&new_pod, None));
    let is_same = std::ptr::eq(before, after);
    let mut known = if is_same { oracle::faults_of_profile(before, &old_pod) } else { Vec::new() };
    let all_known = known.clone();
    let kind_of = |fault: &String| fault.split(" in ").next().unwrap_or_default().to_owned();
    let kinds: BTreeSet<String> = known.iter().map(kind_of).collect();
    let placeless: BTreeSet<String> =
        known.iter().filter(|fault| kind_of(fault) == **fault).cloned().collect();
    let added = oracle::faults_of_profile(after, &new_pod).into_iter().find(|fault| {
        // What was wrong in the Pod is reported once, however many containers begin to have a part in it.
        let kind = kind_of(fault);
        let begins_to_inherit = INHERITED.iter().any(|(inherited, _)| *inherited == kind);
        let is_inherited = placeless.contains(&kind)
            || (begins_to_inherit && kinds.contains(&kind))
            || was_there_before(fault, &all_known, old, new);
        let at = known.iter().position(|known| known == fault);
        at.map(|at| known.swap_remove(at)).is_none() && !is_inherited && kind != "node name"
    });
    let Some(fault) = added else { return false };
    for way in UPDATES {
        let reply = update(&policy.engine, way, old, new);
        assert!(
            !reply.allowed && !reply.patches,
            "{way:?} admits: {fault}\n{}\n{}\nbecomes\n{}",
            yaml(&policy.spec),
            yaml(old),
            yaml(new)
        );
    }
    true
}

/// The user of the Pod was wrong before, where the container inherited it, and is as wrong afterwards, where none does.
#[test]
fn an_update_that_mends_a_container_and_leaves_the_pod_as_it_was_is_admitted() {
    let policies = PolicySet::builtin();
    let mut old = defaulted(&generator::complete());
    old["spec"]["securityContext"]["runAsUser"] = json!(1);
    let mut new = old.clone();
    new["spec"]["containers"][0]["securityContext"]["runAsUser"] = json!(1000);
    for way in UPDATES {
        assert!(update(&policies, way, &old, &new).allowed, "{way:?}");
    }
    new["spec"]["securityContext"]["runAsUser"] = json!(2);
    for way in UPDATES {
        assert!(!update(&policies, way, &old, &new).allowed, "{way:?}: another wrong user of the Pod");
    }
}

#[test]
fn folders_meet_if_one_contains_the_other() {
    assert!(
        meet("", "main") && meet("a/b", "a") && meet("./a", "a//b") && !meet("a", "b") && !meet("ab", "a")
    );
    let pod = json!({"spec": {"containers": [{"volumeMounts": [{"name": "a", "mountPath": "/a"}]}]}});
    assert_eq!(new_mounts(&json!({}), &pod).len(), 1);
    assert!(is_of_no_width(&serde_json::from_value::<i32>(json!(1_i64 << 40)).unwrap_err()));
    assert_eq!(items(&mut json!({"a": [1]}), "a").count(), 1);
}
