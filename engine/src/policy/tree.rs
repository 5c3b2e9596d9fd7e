//! A YAML document as a tree in which each value knows the file and line where it is written.

use std::sync::Arc;

use serde_json::{Number, Value};

use crate::yaml;

/// Where a value is written.
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

    /// Returns the tree of a document of `file`.
    pub(super) fn of_document(document: yaml::Node, file: &Arc<str>) -> Self {
        let place = Place { file: Arc::clone(file), line: document.line() };
        let node = match document.value {
            yaml::Value::Null => Node::Null,
            yaml::Value::Bool(value) => Node::Bool(value),
            yaml::Value::Number(number) => Node::Number(number),
            yaml::Value::String(text) => Node::Text(text),
            yaml::Value::List(items) => {
                Node::List(items.into_iter().map(|item| Self::of_document(item, file)).collect())
            }
            yaml::Value::Map(members) => Node::Map(
                members.into_iter().map(|(key, value)| (key, Self::of_document(value, file))).collect(),
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
