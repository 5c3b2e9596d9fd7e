//! The annotations that name the policy a Pod was filled by. They are sandgate's: on a create they are set right, whatever
//! stood there, and an update cannot change them.

use crate::{
    json::{Object, Value, is_changed},
    path::ANNOTATIONS,
    pod::{self, metadata_mut},
    policy::Policy,
    rules::{Group, Rule},
    violations::{Reporter, Sink, show},
};

/// The annotation that names the policy a Pod was filled by.
pub const POLICY_ANNOTATION: &str = "sandgate.dev/policy";
/// The annotation with the hash of that policy's content.
pub const HASH_ANNOTATION: &str = "sandgate.dev/policy-hash";

const KEYS: [&str; 2] = [POLICY_ANNOTATION, HASH_ANNOTATION];

/// The rule of the two annotations. It needs the policy and the object before an update, so it is not one of
/// [`crate::rules::ALL`]; it is always at the mode of the policy.
pub static PROVENANCE: Rule = Rule {
    id: "provenance",
    group: Group::Metadata,
    title: "The annotations that name the policy of a Pod are sandgate's.",
    why: "People and programs read in them which policy a Pod was admitted by. A create gets the right ones, whatever it \
          brings along, since a copy of a Pod carries those of its original. An update that changes one is denied.",
    references: &["https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/"],
    setting: "",
    fill: None,
    check: |_, _, _| {},
    cel: None,
};

/// Names the policy in a Pod that was filled, and corrects a Pod that names another one.
pub(super) fn stamp<'a>(policy: &'a Policy, pod: &mut Value<'a>) {
    let annotations = annotations(pod);
    let claims = annotations.is_some_and(|annotations| KEYS.iter().any(|key| annotations.get(key).is_some()));
    if is_true(policy, pod) || !(claims || is_changed(pod)) {
        return;
    }
    if let Some(annotations) = metadata_mut(pod).and_then(|metadata| metadata.object_mut("annotations")) {
        for (key, value) in KEYS.into_iter().zip(values(policy)) {
            annotations.set(key, value);
        }
    }
}

/// Reports the annotations of a Pod that is being created and name another policy.
pub(super) fn check_create(policy: &Policy, pod: &Value, sink: &mut dyn Sink) {
    let Some(annotations) = annotations(pod) else { return };
    let mut out = Reporter::new(&PROVENANCE, sink);
    for (key, value) in KEYS.into_iter().zip(values(policy)) {
        let found = annotations.get(key);
        if found.is_some_and(|found| found.as_str() != Some(value)) {
            out.report(ANNOTATIONS.key(key), show(found), "absent on create", "leave the annotation out");
        }
    }
}

/// Reports the annotations that an update adds, changes or removes.
pub(super) fn check_update(old: &Value, new: &Value, sink: &mut dyn Sink) {
    let find = |pod, key| annotations(pod).and_then(|annotations: &Object| annotations.get(key));
    let mut out = Reporter::new(&PROVENANCE, sink);
    for key in KEYS {
        let (before, after) = (find(old, key), find(new, key));
        if before != after {
            let remedy = "leave the annotation as it is, sandgate writes it";
            out.report(ANNOTATIONS.key(key), show(after), show(before), remedy);
        }
    }
}

fn is_true(policy: &Policy, pod: &Value) -> bool {
    let annotations = annotations(pod);
    let find = |key| annotations.and_then(|annotations| annotations.str(key));
    KEYS.into_iter().zip(values(policy)).all(|(key, value)| find(key) == Some(value))
}

fn values(policy: &Policy) -> [&str; 2] {
    [&policy.name, &policy.hash]
}

fn annotations<'p, 'a>(pod: &'p Value<'a>) -> Option<&'p Object<'a>> {
    pod::metadata(pod).object("annotations")
}
