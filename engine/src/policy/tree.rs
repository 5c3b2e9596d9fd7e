//! A YAML document as a tree in which each value knows the file and line where it is written.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, de};
use serde_json::{Number, Value};
use serde_saphyr::Spanned;

/// The file and line of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: Arc<str>,
    /// The line, from 1; 0 if the value is a default of this program.
    pub(super) line: u64,
}

/// A value with the place where it is written.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) place: Place,
    pub(super) node: Node,
}

/// A value of a YAML document.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    /// Returns the tree of a default value of this program.
    pub(super) fn of_default(value: Value) -> Self {
        let place = Place { file: "".into(), line: 0 };
        let node = match value {
            Value::Null => Node::Null,
            Value::Bool(value) => Node::Bool(value),
            Value::Number(number) => Node::Number(number),
            Value::String(text) => Node::Text(text),
            Value::Array(items) => Node::List(items.into_iter().map(Self::of_default).collect()),
            Value::Object(members) => {
                Node::Map(members.into_iter().map(|(key, value)| (key, Self::of_default(value))).collect())
            }
        };
        Self { place, node }
    }

    /// Returns the tree of what was read from `file`, in which the document begins after `lines_before` lines.
    pub(super) fn of_document(raw: Spanned<Raw>, file: &Arc<str>, lines_before: u64) -> Self {
        let place = Place { file: Arc::clone(file), line: lines_before + raw.referenced.line() };
        let node = match raw.value {
            Raw::Null => Node::Null,
            Raw::Bool(value) => Node::Bool(value),
            Raw::Number(number) => Node::Number(number),
            Raw::Text(text) => Node::Text(text),
            Raw::List(items) => Node::List(
                items.into_iter().map(|item| Self::of_document(item, file, lines_before)).collect(),
            ),
            Raw::Map(members) => Node::Map(
                members
                    .into_iter()
                    .map(|(key, value)| (key, Self::of_document(value, file, lines_before)))
                    .collect(),
            ),
        };
        Self { place, node }
    }

    /// Returns the value below `key`, if this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.members().iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Returns the members of a mapping; a value of another kind has none.
    pub(super) fn members(&self) -> &[(String, Self)] {
        match &self.node {
            Node::Map(members) => members,
            _ => &[],
        }
    }

    /// Returns the items of a list; a value of another kind has none.
    pub(super) fn items(&self) -> &[Self] {
        match &self.node {
            Node::List(items) => items,
            _ => &[],
        }
    }

    /// Returns the text of a string.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.node {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Sets the value below `key` of a mapping.
    pub(super) fn set(&mut self, key: &str, value: Self) {
        let Node::Map(members) = &mut self.node else { return };
        match members.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => members.push((key.into(), value)),
        }
    }

    /// Returns the mapping with those members only whose key `keep` accepts.
    pub(super) fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        let members = self.members().iter().filter(|(key, _)| keep(key)).cloned().collect();
        Self { place: self.place.clone(), node: Node::Map(members) }
    }

    /// Returns where the value at `path` is written, or its nearest parent that is written in a file.
    pub(super) fn place_of(&self, path: &str) -> &Place {
        let mut here = self;
        let mut place = &self.place;
        for step in path.split(['.', '[']).map(|step| step.trim_end_matches(']')) {
            let child = match &here.node {
                Node::List(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => here.get(step),
            };
            let Some(child) = child else { break };
            if child.place.line > 0 {
                place = &child.place;
            }
            here = child;
        }
        place
    }

    /// Returns the value without its places.
    pub(super) fn to_json(&self) -> Value {
        match &self.node {
            Node::Null => Value::Null,
            Node::Bool(value) => Value::Bool(*value),
            Node::Number(number) => Value::Number(number.clone()),
            Node::Text(text) => Value::String(text.clone()),
            Node::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Node::Map(members) => {
                Value::Object(members.iter().map(|(key, value)| (key.clone(), value.to_json())).collect())
            }
        }
    }
}

/// A value as the YAML reader hands it over.
#[derive(Debug)]
pub(super) enum Raw {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(String, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawVisitor;

        impl<'de> de::Visitor<'de> for RawVisitor {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a YAML value")
            }

            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
                Ok(Raw::Bool(value))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Raw, E> {
                Ok(Raw::Number(number.into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Raw, E> {
                Ok(Raw::Number(number.into()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Raw, E> {
                Ok(Number::from_f64(number).map_or_else(|| Raw::Text(number.to_string()), Raw::Number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
                Ok(Raw::Text(text.into()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = access.next_element()? {
                    items.push(item);
                }
                Ok(Raw::List(items))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = access.next_entry()? {
                    members.push(member);
                }
                Ok(Raw::Map(members))
            }
        }

        deserializer.deserialize_any(RawVisitor)
    }
}
