//! A located tree: every value with the line it begins on.

use std::{fmt, thread};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
    ser::{SerializeMap, SerializeSeq},
};
use serde_json::Number;
use serde_saphyr::Spanned;

use super::{Document, ParseError, documents, documents::is_json, options};
use crate::path::{FieldPath, Step};

/// A value and the line it begins on.
#[derive(Debug, Clone)]
pub struct Node {
    line: u64,
    /// The value of the node.
    pub value: Value,
}

/// A value of YAML or JSON. Members keep the order of the text; no key occurs twice.
#[derive(Debug, Clone)]
pub enum Value {
    /// `null`, which Kubernetes takes for absent.
    Null,
    /// The value `true` or `false`.
    Bool(bool),
    /// A number that is finite.
    Number(Number),
    /// A value that is text.
    String(String),
    /// A list of nodes.
    List(Vec<Node>),
    /// A mapping of keys to nodes.
    Map(Vec<(String, Node)>),
}

/// Reads every document of a text. A document that cannot be read does not hide the others.
#[must_use]
pub fn read(text: &str) -> Vec<Result<Node, ParseError>> {
    let documents = documents(text);
    with_large_stack(|| documents.iter().map(Document::parse_here).collect())
        .unwrap_or_else(|problem| vec![Err(ParseError { line: 1, problem })])
}

impl Document<'_> {
    /// Reads the document into a tree of nodes.
    ///
    /// # Errors
    /// Returns what is wrong and the line of the whole text: the syntax, a key that occurs twice, a number that is not
    /// finite, or a document beyond the bounds of [`options`].
    pub fn parse(&self) -> Result<Node, ParseError> {
        with_large_stack(|| self.parse_here())
            .unwrap_or_else(|problem| Err(ParseError { line: self.lines_before + 1, problem }))
    }

    /// Reads JSON as YAML first, which knows the lines. What only JSON allows (pairs of escaped surrogates, very long
    /// keys) costs them.
    fn parse_here(&self) -> Result<Node, ParseError> {
        let read = serde_saphyr::with_deserializer_from_str_with_options(self.text, options(), |reader| {
            Node::deserialize(reader)
        });
        let mut root: Node = match read {
            Err(error) if is_json(self.text) && !matches!(error, serde_saphyr::Error::Budget { .. }) => {
                serde_json::from_str(self.text)
                    .map_err(|error| ParseError::of_json(&error, self.lines_before))?
            }
            read => read.map_err(|error| ParseError::of_yaml(&error, self.lines_before))?,
        };
        root.move_down(self.lines_before);
        Ok(root)
    }
}

/// The YAML reader needs much stack for each level of nesting, more than a thread has by default.
fn with_large_stack<T: Send>(read: impl FnOnce() -> T + Send) -> Result<T, String> {
    const STACK_BYTES: usize = 32 << 20;
    thread::scope(|scope| {
        let reader = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, read);
        let reader = reader.map_err(|error| format!("cannot start a thread to read it: {error}"))?;
        reader.join().map_err(|_| "the YAML reader failed; please report it".to_string())
    })
}

impl Node {
    /// Returns the line of the whole text that the value begins on, from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line.max(1)
    }

    /// Returns the member `key`, unless it is absent or null.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(members) = &self.value else { return None };
        let (_, node) = members.iter().find(|(name, _)| name == key)?;
        (!matches!(node.value, Value::Null)).then_some(node)
    }

    /// Returns the string at `key`.
    #[must_use]
    pub fn str(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the items of the list at `key`.
    #[must_use]
    pub fn list(&self, key: &str) -> Option<&[Self]> {
        match &self.get(key)?.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// Takes the items out of the list at `key`.
    pub fn take_list(&mut self, key: &str) -> Option<Vec<Self>> {
        let Value::Map(members) = &mut self.value else { return None };
        match &mut members.iter_mut().find(|(name, _)| name == key)?.1.value {
            Value::List(items) => Some(std::mem::take(items)),
            _ => None,
        }
    }

    /// Returns the member or item that a step leads to.
    #[must_use]
    pub fn child(&self, step: &str) -> Option<&Self> {
        match &self.value {
            Value::List(items) => items.get(step.parse::<usize>().ok()?),
            _ => self.get(step),
        }
    }

    /// Returns the value at `path`, or the nearest one above it that is in the text.
    #[must_use]
    pub fn nearest(&self, path: &FieldPath) -> &Self {
        let mut here = self;
        for step in path.steps() {
            let next = match (step, &here.value) {
                (Step::Index(index), Value::List(items)) => items.get(index),
                (Step::Field(name) | Step::Key(name), _) => here.get(name),
                (Step::Index(_), _) => None,
            };
            let Some(next) = next else { break };
            here = next;
        }
        here
    }

    fn move_down(&mut self, lines: u64) {
        self.line = self.line() + lines;
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.move_down(lines)),
            Value::Map(members) => members.iter_mut().for_each(|(_, node)| node.move_down(lines)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(truth) => serializer.serialize_bool(*truth),
            Value::Number(number) => number.serialize(serializer),
            Value::String(text) => serializer.serialize_str(text),
            Value::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Value::Map(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(key, node)| map.serialize_entry(key, node))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, defined: _ } = Spanned::deserialize(deserializer)?;
        Ok(Self { line: referenced.line(), value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number).map(Value::Number).ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.into()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut members: Vec<(String, Node)> = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        match repeated_key(&members) {
            Some(key) => Err(A::Error::custom(format_args!("duplicate key {key:?}"))),
            None => Ok(Value::Map(members)),
        }
    }
}

/// Returns a key that occurs twice: two readers may pick different ones of its members.
fn repeated_key(members: &[(String, Node)]) -> Option<&str> {
    let mut keys: Vec<&str> = members.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}
