//! What becomes of a Pod when a field has this or that value.

use std::{collections::BTreeSet, sync::LazyLock};

use sandgate_engine::{
    json::pod_from_str,
    policy::{PolicySet, Source},
    rules,
};
use serde_json::{Value as Json, json};

use crate::{
    is_harmless_here,
    samples::{ALLOWED_SECRET, Place, complete_pod, places},
    values,
};

/// What was seen at one place.
pub(crate) struct Trial {
    pub(crate) of: &'static str,
    pub(crate) field: &'static str,
    /// The place for people, without positions.
    pub(crate) place: String,
    /// Rules that deny an object above it, whatever is in it.
    above: BTreeSet<&'static str>,
    /// Rules that deny some value of it or of what is in it.
    here: BTreeSet<&'static str>,
    /// Each value of it that is denied, with the violations; also those of another field.
    pub(crate) denials: Vec<String>,
}

impl Trial {
    pub(crate) fn is_denied_with_its_parent(&self) -> bool {
        !self.above.is_empty()
    }

    pub(crate) fn denied_by(&self, rule: &str) -> bool {
        self.here.contains(rule) || self.above.contains(rule)
    }
}

/// A violation, as the tests look at it.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) rule: &'static str,
    pub(crate) path: String,
}

/// The trial of every place.
pub(crate) fn trials() -> &'static [Trial] {
    static TRIALS: LazyLock<Vec<Trial>> = LazyLock::new(|| {
        assert_eq!(violations(&complete_pod()), [], "the complete Pod is admitted");
        let mut trials: Vec<Trial> = places().iter().map(trial).collect();
        hand_up(&mut trials);
        trials
    });
    &TRIALS
}

fn trial(place: &Place) -> Trial {
    let stage = place.stage();
    let before: BTreeSet<Fault> = violations(&stage.pod).into_iter().collect();
    let above: BTreeSet<_> = before
        .iter()
        .filter(|fault| lies_in(&stage.path, &fault.path) && stage.path != fault.path)
        .map(|fault| fault.rule)
        .collect();
    assert!(!above.is_empty() || before.is_empty(), "the Pod to try {place} with is not sound: {before:?}");
    let denied = |fields: &Json| -> Vec<Fault> {
        let after = violations(&stage.with(fields)).into_iter();
        after.filter(|fault| !before.contains(fault)).collect()
    };
    let (mut here, mut denials) = (BTreeSet::new(), Vec::new());
    // What stands below a denied object needs no more than to be looked at.
    let enough = if above.is_empty() { usize::MAX } else { 2 };
    for value in values::of_kind(place.kind).into_iter().take(enough) {
        let fields = json!({place.field: value});
        let new = denied(&fields);
        let about = new.iter().filter(|f| lies_in(&stage.path, &f.path) || lies_in(&f.path, &stage.path));
        here.extend(about.map(|fault| fault.rule));
        denials.extend(new.iter().map(|Fault { rule, path }| format!("{fields} → {rule} at {path}")));
    }
    // A Secret that may be mounted is the only one: what another name is denied by shows where the type is open.
    let with_secrets: BTreeSet<Fault> = violations_with_secrets(&stage.pod).into_iter().collect();
    for value in values::of_kind(place.kind).into_iter().take(enough) {
        let after = violations_with_secrets(&stage.with(&json!({place.field: value}))).into_iter();
        let new = after.filter(|fault| !with_secrets.contains(fault) && lies_in(&fault.path, &stage.path));
        here.extend(new.map(|fault| fault.rule));
    }
    for fields in values::by_hand(place.of.name, place.field) {
        here.extend(denied(&fields).iter().map(|fault| fault.rule));
    }
    Trial { of: place.of.name, field: place.field, place: place.to_string(), above, here, denials }
}

/// What denies something in an object denies it for the field that has the object.
fn hand_up(trials: &mut [Trial]) {
    for index in (0..trials.len()).rev() {
        let Some((parent, _)) = trials[index].place.rsplit_once('.') else { continue };
        let parent = parent.trim_end_matches("[]");
        let Some(above) = trials[..index].iter().rposition(|trial| trial.place == parent) else { continue };
        let (here, denials) = (trials[index].here.clone(), trials[index].denials.first().cloned());
        let binds = !is_harmless_here(&trials[index].place) && !trials[index].is_denied_with_its_parent();
        trials[above].here.extend(here);
        if binds {
            trials[above].denials.extend(denials);
        }
    }
}

/// Whether `inner` is `outer` or stands below it.
fn lies_in(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// What violates the default policy, with bounds on what it leaves open.
pub(crate) fn violations(pod: &Json) -> Vec<Fault> {
    static POLICIES: LazyLock<PolicySet> = LazyLock::new(|| policies(""));
    violations_under(&POLICIES, pod)
}

/// What violates the same policy if it lets the Pod mount one Secret.
fn violations_with_secrets(pod: &Json) -> Vec<Fault> {
    static POLICIES: LazyLock<PolicySet> = LazyLock::new(|| policies(ALLOWED_SECRET));
    violations_under(&POLICIES, pod)
}

fn policies(mounted_secret: &str) -> PolicySet {
    let text = format!(
        "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {{name: fields}}\nspec:\n  \
         namespaces: [workflows]\n  images: {{allowed: [\"registry.example.com/**\"]}}\n  \
         secrets: {{environment: [{ALLOWED_SECRET}], volumes: [{mounted_secret}]}}\n  \
         security: {{hostUsers: false, supplementalGroupsPolicy: Strict}}\n"
    );
    PolicySet::from_sources(&[Source { name: "fields.yaml".into(), text }]).expect("the policy is right")
}

fn violations_under(policies: &PolicySet, pod: &Json) -> Vec<Fault> {
    let text = pod.to_string();
    let profile = policies.policies()[0].base();
    let violations = rules::check(profile, &pod_from_str(&text).expect("a Pod can be read"));
    violations
        .iter()
        .map(|violation| Fault { rule: violation.rule.id, path: violation.path.to_string() })
        .collect()
}
