//! `docs/pod-fields.md` held against the engine: what it says of each field is put to the test.

mod samples;
mod table;
mod trial;
mod values;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use sandgate_engine::{pod::schema::DENIED_ON_PURPOSE, rules};

use self::{
    samples::places,
    table::{FieldClass, Table},
    trial::{Trial, trials, violations},
};

#[test]
fn the_document_has_the_fields_that_the_engine_knows() {
    let table = Table::read();
    let known = table.lines().filter(|(.., line)| line.class != FieldClass::Unknown);
    let known: BTreeSet<_> = known.map(|(of, field, _)| (of, field)).collect();
    let places = places();
    let engine: BTreeSet<_> = places.iter().map(|place| (place.of.name, place.field)).collect();
    assert_same(&known, &engine, "src/pod/schema.rs");
}

#[test]
fn the_document_names_every_rule_and_no_other() {
    let table = Table::read();
    let mut named: BTreeSet<_> = table.lines().flat_map(|(.., line)| rules_of(&line.class)).collect();
    // It checks the fields that are unknown.
    named.insert("pod-schema");
    // The rule `env` fills and denies nothing.
    let all: BTreeSet<_> = rules::ALL.iter().map(|rule| rule.id).filter(|id| *id != "env").collect();
    assert_same(&named, &all, "rules::ALL");
}

#[test]
fn each_rule_that_a_line_names_denies_some_value_of_the_field() {
    let trials = by_field();
    let mut faults = Vec::new();
    for (of, field, line) in Table::read().lines() {
        let trials = trials.get(&(of, field)).map_or(&[][..], Vec::as_slice);
        for rule in rules_of(&line.class) {
            if !trials.iter().any(|trial| trial.denied_by(rule)) {
                faults.push(format!("{rule} denies nothing at {of}.{field}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_checked_field_is_checked_wherever_it_stands() {
    let table = Table::read();
    let mut faults = Vec::new();
    for trial in trials().iter().filter(|trial| !trial.is_denied_with_its_parent()) {
        let rules: Vec<_> = rules_of(&table.types[trial.of][trial.field].class).collect();
        let is_checked = rules.is_empty() || rules.iter().any(|rule| trial.denied_by(rule));
        if !is_checked && !is_harmless_here(&trial.place) {
            faults.push(format!("none of {rules:?} denies anything at {}", trial.place));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_harmless_field_may_have_any_value_wherever_it_stands() {
    let table = Table::read();
    let mut faults = Vec::new();
    for trial in trials().iter().filter(|trial| !trial.is_denied_with_its_parent()) {
        let harmless = table.types[trial.of][trial.field].class == FieldClass::Harmless;
        if (harmless || is_harmless_here(&trial.place)) && !trial.denials.is_empty() {
            faults.push(format!("{}: {}", trial.place, trial.denials.join(", ")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_field_that_never_stands_alone_is_not_called_harmless() {
    let table = Table::read();
    for ((of, field), trials) in by_field() {
        let alone = trials.iter().any(|trial| !trial.is_denied_with_its_parent());
        assert!(
            alone || table.types[of][field].class != FieldClass::Harmless,
            "{of}.{field} is always denied with its parent: name the rule"
        );
    }
}

#[test]
fn an_unknown_field_is_denied_wherever_it_stands() {
    let table = Table::read();
    let types: BTreeSet<_> = places().into_iter().map(|place| place.of.name).collect();
    for (of, field, _) in table.lines().filter(|(.., line)| line.class == FieldClass::Unknown) {
        let of_this_type = places().into_iter().filter(|place| place.of.name == of);
        for place in of_this_type {
            let stage = place.stage();
            let path = format!("{}.{field}", stage.path.rsplit_once('.').map_or("", |(above, _)| above));
            for value in ["x".into(), 0.into(), serde_json::json!({}), serde_json::json!([])] {
                let pod = stage.with(&serde_json::json!({field: value}));
                let denied = violations(&pod).into_iter().any(|v| v.rule == "pod-schema" && v.path == path);
                assert!(denied, "{path}: {value} is admitted");
            }
        }
        let whole = table.types[of].values().all(|line| line.class == FieldClass::Unknown);
        assert!(types.contains(of) || whole, "{of} is a type that the engine does not know");
    }
}

#[test]
fn the_fields_that_are_denied_on_purpose_are_the_unknown_ones_of_known_types() {
    let table = Table::read();
    let types: BTreeSet<_> = places().into_iter().map(|place| place.of.name).collect();
    let unknown =
        table.lines().filter(|(of, _, line)| line.class == FieldClass::Unknown && types.contains(of));
    let unknown: BTreeSet<_> = unknown.map(|(of, field, _)| (of, field)).collect();
    assert_same(&unknown, &DENIED_ON_PURPOSE.into_iter().collect(), "DENIED_ON_PURPOSE");
}

fn assert_same<T: Ord + Debug>(document: &BTreeSet<T>, other: &BTreeSet<T>, place: &str) {
    let ours: Vec<_> = document.difference(other).collect();
    let theirs: Vec<_> = other.difference(document).collect();
    assert!(
        ours.is_empty() && theirs.is_empty(),
        "only in the document: {ours:?}, only in {place}: {theirs:?}"
    );
}

/// Places of a checked field where it does no harm. The document says so in the field's line.
fn is_harmless_here(place: &str) -> bool {
    // Preferences, and terms about the Pod's own way: they bind no other Pod and leave no node that the policy does not.
    let affinity = "spec.affinity.";
    place.strip_prefix(affinity).is_some_and(|way| {
        way.contains("preferredDuringScheduling")
            || way.contains(".matchFields")
            || way.starts_with("podAffinity.")
    })
}

fn rules_of(class: &FieldClass) -> impl Iterator<Item = &str> {
    let rules = match class {
        FieldClass::Checked(rules) => rules.as_slice(),
        FieldClass::Harmless | FieldClass::Unknown => &[],
    };
    rules.iter().map(String::as_str)
}

fn by_field() -> BTreeMap<(&'static str, &'static str), Vec<&'static Trial>> {
    let mut fields = BTreeMap::<_, Vec<_>>::new();
    for trial in trials() {
        fields.entry((trial.of, trial.field)).or_default().push(trial);
    }
    fields
}
