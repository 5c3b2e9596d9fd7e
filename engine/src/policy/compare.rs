//! The comparison of two policies, key by key: what one allows and the other does not. The direction in which a key
//! opens stands beside the key.

use serde::Serialize;
use serde_json::Value;

use super::{Exception, Header, Level, Pattern, Policy, Profile, Spec};
use crate::pod::Quantity;

/// A difference between two policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The profile that the key is of; empty for the policy's own keys.
    pub profile: String,
    /// The exception that the key is of; empty for the keys of Pods.
    pub exception: String,
    /// The key, such as `security.runAsUser`.
    pub key: String,
    /// The value of the first policy.
    pub from: String,
    /// The value of the second policy.
    pub to: String,
    /// The direction of the change: the second policy is stricter or weaker.
    pub direction: Direction,
}

/// The effect of a changed key on what a policy allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The second policy allows less.
    Stricter,
    /// The second policy allows more.
    Weaker,
    /// The second policy allows something else, or fills something else.
    Other,
}

/// The way in which two values of a key are compared.
#[derive(Debug, Clone, Copy)]
pub(super) enum Nature {
    /// A list or mapping of what is allowed: more is weaker.
    Allows,
    /// A list or mapping of what is demanded or forbidden: more is stricter.
    Demands,
    /// A switch that is weaker in this position.
    WeakIf(bool),
    /// A ceiling. A higher one is weaker; null stands for no ceiling.
    AtMost,
    /// A range of ids.
    Range,
    /// A demand that null lifts.
    NullIsWeak,
    /// A value that is filled, or that allows neither more nor less.
    Fills,
}

/// The keys of a policy as a whole, without those that `extends` resolves.
const HEADER_KEYS: [(&str, Nature); 9] = [
    ("namespaces", Nature::Fills),
    ("namespaceSelector", Nature::Fills),
    ("fill", Nature::Fills),
    ("candidate", Nature::Fills),
    ("exempt.users", Nature::Allows),
    ("exempt.groups", Nature::Allows),
    ("help", Nature::Fills),
    ("warnings.filled", Nature::Fills),
    ("templates", Nature::Fills),
];

/// The change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyChange {
    pub(super) key: &'static str,
    pub(super) from: String,
    pub(super) to: String,
    /// The items that the second value allows and the first does not, if they can be listed.
    pub(super) gained: Option<String>,
    pub(super) direction: Direction,
}

/// Returns what changes for Pods if the policy `from` becomes the policy `to`.
#[must_use]
pub fn diff(from: &Policy, to: &Policy) -> Vec<Change> {
    let mut changes = header_changes(&from.header, &to.header);
    profile_changes("", from.base(), to.base(), &mut changes);
    let find =
        |policy: &'_ Policy, name: &str| policy.profiles().iter().position(|profile| profile.name == name);
    for (index, profile) in from.profiles().iter().enumerate() {
        let other = find(to, &profile.name).map(|found| &to.profiles()[found]);
        let moved = find(to, &profile.name).is_some_and(|found| found != index);
        let matcher = |profile: Option<&Profile>| {
            profile.map_or_else(|| "none".into(), |profile| json(&profile.matcher).to_string())
        };
        if moved || other.is_none_or(|other| other.matcher != profile.matcher) {
            let change = other_change(&profile.name, "match", matcher(Some(profile)), matcher(other));
            changes.push(change);
        }
        profile_changes(&profile.name, profile, other.unwrap_or(to.base()), &mut changes);
    }
    for profile in to.profiles().iter().filter(|profile| find(from, &profile.name).is_none()) {
        let matcher = json(&profile.matcher).to_string();
        changes.push(other_change(&profile.name, "match", "none".into(), matcher));
        profile_changes(&profile.name, from.base(), profile, &mut changes);
    }
    // What a profile inherits is reported once, for the policy, and what an exception inherits, for the Pod.
    let all = changes.clone();
    let inherited = |change: &Change| {
        let above = |other: &&Change| {
            let profile_above = other.profile.is_empty() && !change.profile.is_empty();
            let exception_above = other.exception.is_empty() && !change.exception.is_empty();
            (profile_above && (exception_above || other.exception == change.exception))
                || (exception_above && other.profile == change.profile)
        };
        let same =
            |other: &Change| (&other.key, &other.from, &other.to) == (&change.key, &change.from, &change.to);
        all.iter().filter(above).any(same)
    };
    changes.retain(|change| !inherited(change));
    changes
}

fn other_change(profile: &str, key: &str, from: String, to: String) -> Change {
    Change {
        profile: profile.into(),
        exception: String::new(),
        key: key.into(),
        from,
        to,
        direction: Direction::Other,
    }
}

fn header_changes(from: &Header, to: &Header) -> Vec<Change> {
    let changes = changes_of(HEADER_KEYS.iter(), &json(from), &json(to));
    let mut changes: Vec<Change> = changes.into_iter().map(|change| located(change, "", "")).collect();
    let mut level = |key: String, from: Level, to: Level| {
        let direction = if to > from { Direction::Stricter } else { Direction::Weaker };
        if from != to {
            let (from, to) = (from.as_str().into(), to.as_str().into());
            changes.push(Change { direction, ..other_change("", &key, from, to) });
        }
    };
    level("mode".into(), from.mode.into(), to.mode.into());
    let rules: std::collections::BTreeSet<&String> = from.rules.keys().chain(to.rules.keys()).collect();
    for rule in rules {
        let of = |header: &Header| header.rules.get(rule).copied().unwrap_or(header.mode.into());
        level(format!("rules.{rule}"), of(from), of(to));
    }
    changes
}

fn profile_changes(name: &str, from: &Profile, to: &Profile, changes: &mut Vec<Change>) {
    changes.extend(spec_changes(&from.spec, &to.spec).into_iter().map(|change| located(change, name, "")));
    let spec_of = |profile: &'_ Profile, exception: &str| -> Spec {
        let found = profile.exceptions.iter().find(|other| other.name == exception);
        found.map_or_else(|| profile.spec.clone(), |found| found.spec.clone())
    };
    let names: Vec<&Exception> = from
        .exceptions
        .iter()
        .chain(to.exceptions.iter().filter(|added| from.exceptions.iter().all(|old| old.name != added.name)))
        .collect();
    for Exception { name: exception, .. } in names {
        let (old, new) = (spec_of(from, exception), spec_of(to, exception));
        changes.extend(spec_changes(&old, &new).into_iter().map(|change| located(change, name, exception)));
        let matcher = |profile: &Profile| {
            let found = profile.exceptions.iter().find(|other| other.name == *exception);
            found.map_or_else(|| "none".into(), |found| json(&found.matcher).to_string())
        };
        if matcher(from) != matcher(to) {
            let change = other_change(name, "match", matcher(from), matcher(to));
            changes.push(Change { exception: exception.clone(), ..change });
        }
    }
}

fn located(change: KeyChange, profile: &str, exception: &str) -> Change {
    let KeyChange { key, from, to, gained: _, direction } = change;
    Change { profile: profile.into(), exception: exception.into(), key: key.into(), from, to, direction }
}

/// Returns how the keys of two specs differ.
pub(super) fn spec_changes(from: &Spec, to: &Spec) -> Vec<KeyChange> {
    changes_of(Spec::keys(), &json(from), &json(to))
}

fn changes_of<'k>(
    keys: impl Iterator<Item = &'k (&'static str, Nature)>,
    from: &Value,
    to: &Value,
) -> Vec<KeyChange> {
    let change = |&(key, nature): &(&'static str, Nature)| {
        let (old, new) = (value_at(from, key), value_at(to, key));
        if old == new {
            return None;
        }
        let (direction, gained) = compare(nature, old, new)?;
        Some(KeyChange { key, from: show(old), to: show(new), gained, direction })
    };
    keys.filter_map(change).collect()
}

/// Returns how the second value compares with the first, and what it allows beyond it.
fn compare(nature: Nature, old: &Value, new: &Value) -> Option<(Direction, Option<String>)> {
    let weaker_if = |weaker: bool| if weaker { Direction::Weaker } else { Direction::Stricter };
    let direction = match nature {
        Nature::Fills => Direction::Other,
        Nature::WeakIf(weak) => weaker_if(*new == Value::Bool(weak)),
        Nature::NullIsWeak => weaker_if(new.is_null()),
        Nature::AtMost => weaker_if(higher(new, old)),
        Nature::Range => {
            let (old, new) = (range_of(old), range_of(new));
            match (old, new) {
                _ if old == new => Direction::Other,
                ((old_min, old_max), (min, max)) if old_min <= min && max <= old_max => Direction::Stricter,
                ((old_min, old_max), (min, max)) if min <= old_min && old_max <= max => Direction::Weaker,
                ((_, _), (min, max)) => return Some((Direction::Other, Some(format!("{min} to {max}")))),
            }
        }
        Nature::Allows | Nature::Demands => {
            let (gained, lost) = (beyond(new, old), beyond(old, new));
            let allows = matches!(nature, Nature::Allows);
            let direction = match (gained.is_empty(), lost.is_empty()) {
                (true, true) => return None,
                (false, true) => weaker_if(allows),
                (true, false) => weaker_if(!allows),
                (false, false) => Direction::Other,
            };
            let gained = (allows && !gained.is_empty()).then(|| gained.join(", "));
            return Some((direction, gained));
        }
    };
    Some((direction, None))
}

/// Returns the entries of `wide` that no entry of `narrow` covers.
fn beyond(wide: &Value, narrow: &Value) -> Vec<String> {
    let (wide, narrow) = (entries(wide), entries(narrow));
    let covered = |entry: &str| {
        let pattern = Pattern::try_from(entry.to_string());
        narrow.iter().any(|other| {
            other == entry
                || matches!((Pattern::try_from(other.clone()), &pattern), (Ok(one), Ok(two)) if one.covers(two))
        })
    };
    wide.iter().filter(|entry| !covered(entry)).cloned().collect()
}

fn entries(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().map(show).collect(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| format!("{key}={}", show(value))).collect()
        }
        _ => Vec::new(),
    }
}

fn higher(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Null, _) => true,
        (_, Value::Null) => false,
        (Value::Number(one), Value::Number(other)) => one.as_u64() > other.as_u64(),
        _ => quantity(one) > quantity(other),
    }
}

fn quantity(value: &Value) -> Option<Quantity> {
    Quantity::parse(value.as_str()?).ok()
}

fn range_of(value: &Value) -> (u64, u64) {
    let bound = |key: &str| value.get(key).and_then(Value::as_u64).unwrap_or_default();
    (bound("min"), bound("max"))
}

fn value_at<'v>(value: &'v Value, path: &str) -> &'v Value {
    path.split('.').try_fold(value, |value, step| value.get(step)).unwrap_or(&Value::Null)
}

fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".into(),
        value => value.to_string(),
    }
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("a policy is always JSON")
}

/// Returns the keys that are compared.
#[cfg(test)]
pub(super) fn compared_keys() -> Vec<&'static str> {
    Spec::keys().chain(&HEADER_KEYS).map(|(key, _)| *key).collect()
}
