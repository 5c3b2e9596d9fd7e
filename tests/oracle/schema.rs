//! Edits at any field of the Pod API, walked from the engine's table of its fields.

use std::{collections::BTreeSet, sync::LazyLock};

use sandgate_engine::pod::schema::{Kind, POD, Type};
use serde_json::{Map, Value as Json, json};

use crate::values;

/// A field of the Pod API; in its path `#` is an item of a list.
pub(crate) struct Field {
    /// `spec/containers/#/livenessProbe/httpGet/host`
    pub(crate) path: String,
    kind: Kind,
}

impl Field {
    /// Its own name.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').find(|key| *key != "#").unwrap_or_default()
    }

    /// A value of the right kind.
    pub(crate) fn value(&self, dice: &mut Dice) -> Json {
        value(self.kind, self.name(), 0, dice)
    }

    /// The field itself, or some item or entry of it where it has any.
    pub(crate) fn place(&self, dice: &mut Dice) -> (String, Kind) {
        match self.kind {
            Kind::List(of) if dice.one_in(3) => (format!("{}/#", self.path), *of),
            Kind::Map(of) if dice.one_in(2) => {
                let key = dice.pick(values::keys(self.name())).replace('/', "~1");
                (format!("{}/{key}", self.path), *of)
            }
            kind => (self.path.clone(), kind),
        }
    }
}

/// Every field, each once; the three kinds of container have fields of their own.
pub(crate) static FIELDS: LazyLock<Vec<Field>> = LazyLock::new(|| {
    let mut fields = Vec::new();
    collect(&POD, "", &mut fields);
    fields
});

fn collect(of: &'static Type, above: &str, fields: &mut Vec<Field>) {
    for &(name, kind) in of.fields {
        let path = if above.is_empty() { name.to_string() } else { format!("{above}/{name}") };
        fields.push(Field { path: path.clone(), kind });
        if let Some((below, of)) = inside(&path, kind) {
            collect(of, &below, fields);
        }
    }
}

/// Where the fields inside a field stand, if it has any.
fn inside(path: &str, kind: Kind) -> Option<(String, &'static Type)> {
    match kind {
        Kind::Object(of) => Some((path.to_string(), of)),
        Kind::List(of) => inside(&format!("{path}/#"), *of),
        _ => None,
    }
}

/// The fields that a Pod sets, as numbers of [`FIELDS`].
pub(crate) fn fields_set(pod: &Json, seen: &mut BTreeSet<usize>) {
    walk(pod, &POD, &mut 0, seen);
}

/// Goes through the fields in the order of [`FIELDS`], so that counting them is knowing them.
fn walk(object: &Json, of: &'static Type, number: &mut usize, seen: &mut BTreeSet<usize>) {
    for &(name, kind) in of.fields {
        let value = object.get(name).filter(|value| !value.is_null());
        if value.is_some() {
            seen.insert(*number);
        }
        *number += 1;
        let Some((_, of)) = inside("", kind) else { continue };
        let first = *number;
        match value {
            Some(Json::Array(items)) => {
                for item in items {
                    *number = first;
                    walk(item, of, number, seen);
                }
            }
            Some(value) => walk(value, of, number, seen),
            None => {}
        }
        *number = first + size(of);
    }
}

fn size(of: &'static Type) -> usize {
    of.fields.iter().map(|(_, kind)| 1 + inside("", *kind).map_or(0, |(_, of)| size(of))).sum()
}

/// A value of `kind` for the field `name`.
pub(crate) fn value(kind: Kind, name: &str, depth: usize, dice: &mut Dice) -> Json {
    match kind {
        Kind::String => json!(dice.pick(values::strings(name))),
        Kind::Boolean => json!(dice.one_in(2)),
        Kind::Quantity if dice.one_in(6) => json!(dice.pick(&[0, 1, 2, 3, 1024])),
        Kind::Quantity => json!(dice.pick(values::QUANTITIES)),
        Kind::IntOrString if dice.one_in(2) => json!("http"),
        Kind::IntOrString | Kind::Integer => json!(dice.pick(values::INTEGERS)),
        // The API server writes both itself.
        Kind::Any => {
            if name == "status" {
                json!({"phase": "Pending"})
            } else {
                json!([])
            }
        }
        Kind::List(of) => {
            let count = if dice.one_in(4) { dice.below(3) } else { 1 };
            (0..count).map(|_| value(*of, name, depth, dice)).collect()
        }
        Kind::Map(of) => {
            let key = dice.pick(values::keys(name));
            json!({key: value(*of, name, depth, dice)})
        }
        Kind::Object(of) => object(of, depth + 1, dice),
    }
}

/// An object with a few of its fields, and those that it cannot do without.
fn object(of: &'static Type, depth: usize, dice: &mut Dice) -> Json {
    let count = of.fields.len();
    let mut fields = Map::new();
    for &(name, kind) in of.fields {
        let is_wanted = count <= 3 || name == "name" || dice.below(count) < 3;
        if is_wanted && (depth < 4 || !matches!(kind, Kind::Object(_) | Kind::List(_))) {
            fields.insert(name.into(), value(kind, name, depth, dice));
        }
    }
    Json::Object(fields)
}

/// How a value is bent so that it nearly is what it was.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Twist {
    Empty,
    EmptyList,
    EmptyObject,
    Null,
    AsText,
    Lookalike,
    OtherCase,
    Space,
    InList,
    Twice,
    Huge,
}

impl Twist {
    pub(crate) const ALL: [Self; 11] = [
        Self::Empty,
        Self::EmptyList,
        Self::EmptyObject,
        Self::Null,
        Self::AsText,
        Self::Lookalike,
        Self::OtherCase,
        Self::Space,
        Self::InList,
        Self::Twice,
        Self::Huge,
    ];

    pub(crate) fn of(self, value: &Json) -> Json {
        match self {
            Self::Empty => json!(""),
            Self::EmptyList => json!([]),
            Self::EmptyObject => json!({}),
            Self::Null => json!(null),
            Self::AsText => value.as_str().map_or_else(|| json!(value.to_string()), as_number),
            Self::Lookalike => bent(value, lookalike),
            Self::OtherCase => bent(value, other_case),
            Self::Space => bent(value, |text| format!("{text} ")),
            Self::InList => json!([value]),
            Self::Twice => twice(value),
            Self::Huge => match value {
                Json::Number(_) => json!(4_294_967_296_u64 + value.as_u64().unwrap_or_default() % 65_536),
                _ => json!(u64::MAX),
            },
        }
    }
}

fn as_number(text: &str) -> Json {
    text.parse::<i32>().map_or(json!(0), Json::from)
}

/// Bends a string, or every string of a list or an object.
fn bent(value: &Json, bend: impl Fn(&str) -> String + Copy) -> Json {
    match value {
        Json::String(text) => json!(bend(text)),
        Json::Array(list) => list.iter().map(|item| bent(item, bend)).collect(),
        Json::Object(fields) => fields.iter().map(|(key, value)| (bend(key), value.clone())).collect(),
        other => other.clone(),
    }
}

/// Cyrillic letters for Latin ones, a wide digit for a digit.
fn lookalike(text: &str) -> String {
    let swap = |c| match c {
        'a' => '\u{430}',
        'e' => '\u{435}',
        'o' => '\u{43e}',
        'A' => '\u{410}',
        '1' => '\u{ff11}',
        '/' => '\u{2215}',
        c => c,
    };
    text.chars().map(swap).collect()
}

fn other_case(text: &str) -> String {
    let mut letters = text.chars();
    let Some(first) = letters.next() else { return String::new() };
    let first: String =
        if first.is_lowercase() { first.to_uppercase().collect() } else { first.to_lowercase().collect() };
    first + letters.as_str()
}

/// A list with its last entry twice; of an entry with a name, the second has another content.
fn twice(value: &Json) -> Json {
    let Json::Array(list) = value else { return json!([value, value]) };
    let mut list = list.clone();
    let mut again = list.last().cloned().unwrap_or_default();
    if let Some(content) = again.get_mut("value") {
        *content = json!("another");
    }
    list.push(again);
    Json::Array(list)
}

/// Numbers from a seed, so that an edit can be drawn by proptest and read again.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// The generator `SplitMix64`.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(crate) fn choose<'f, T>(&mut self, from: &'f [T]) -> &'f T {
        &from[self.below(from.len())]
    }
}

#[test]
fn every_field_is_found_where_it_is_set() {
    for (number, field) in FIELDS.iter().enumerate() {
        let mut pod = json!(null);
        for key in field.path.split('/').rev() {
            pod = match (key, pod) {
                ("#", inner) => json!([inner]),
                (key, Json::Null) => json!({key: 1}),
                (key, inner) => json!({key: inner}),
            };
        }
        let mut seen = BTreeSet::new();
        fields_set(&pod, &mut seen);
        assert!(seen.contains(&number), "{}", field.path);
    }
}
