//! Kubernetes objects from YAML and JSON: several to a text, in the order of their members, each value with its line.

use std::{fmt, rc::Rc, thread};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
    ser::{SerializeMap, SerializeSeq},
};
use serde_json::Number;
use serde_saphyr::{Options, Spanned, budget::BudgetBreach};

use super::input::Text;

/// Where a document stands.
#[derive(Debug, Clone)]
pub(super) struct Document {
    /// What messages call the text.
    pub(super) file: Rc<str>,
    /// How many lines of the text stand before the document.
    lines_before: u64,
}

impl Document {
    /// The line of `node` in the text.
    pub(super) fn line(&self, node: &Node) -> u64 {
        self.lines_before + node.line.max(1)
    }
}

/// Something in a text that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) file: String,
    /// The line, from 1; 0 where none is to blame.
    pub(super) line: u64,
    pub(super) text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { file, line, text } = self;
        if *line == 0 { write!(f, "{file}: {text}") } else { write!(f, "{file}:{line}: {text}") }
    }
}

/// A value and the line it begins on, counted inside its document.
#[derive(Debug, Clone)]
pub(super) struct Node {
    line: u64,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The member `key`, unless it is absent or null.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(members) = &self.value else { return None };
        let (_, node) = members.iter().find(|(name, _)| name == key)?;
        (!matches!(node.value, Value::Null)).then_some(node)
    }

    pub(super) fn str(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn list(&self, key: &str) -> Option<&[Self]> {
        match &self.get(key)?.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// What stands at `path`, or its nearest parent that is written down.
    pub(super) fn nearest(&self, path: &str) -> &Self {
        let mut here = self;
        for step in steps(path) {
            let Some(next) = here.child(step) else { break };
            here = next;
        }
        here
    }

    pub(super) fn child(&self, step: &str) -> Option<&Self> {
        match &self.value {
            Value::List(items) => items.get(step.parse::<usize>().ok()?),
            _ => self.get(step),
        }
    }

    /// Sets `key` of a map where it is absent or null; anything but a map is left as it is.
    pub(super) fn set_default(&mut self, key: &str, value: Value) {
        if self.get(key).is_some() {
            return;
        }
        let line = self.line;
        let Value::Map(members) = &mut self.value else { return };
        members.retain(|(name, _)| name != key);
        members.push((key.into(), Self { line, value }));
    }

    /// Appends to the list at `key` of a map, made if absent; anything but a list is left as it is.
    pub(super) fn push(&mut self, key: &str, item: Value) {
        self.set_default(key, Value::List(Vec::new()));
        if let Some(Self { value: Value::List(items), .. }) = self.get_mut(key) {
            items.push(item.into());
        }
    }

    /// Takes the items out of the list at `key`.
    pub(super) fn take_list(&mut self, key: &str) -> Option<Vec<Self>> {
        match &mut self.get_mut(key)?.value {
            Value::List(items) => Some(std::mem::take(items)),
            _ => None,
        }
    }

    /// The member `key` of a map.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        let Value::Map(members) = &mut self.value else { return None };
        members.iter_mut().find(|(name, _)| name == key).map(|(_, node)| node)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

/// A value that stands in no text.
impl From<Value> for Node {
    fn from(value: Value) -> Self {
        Self { line: 0, value }
    }
}

/// The steps of a path such as `spec.containers[0].name` or `metadata.labels[app.kubernetes.io/name]`.
pub(super) fn steps(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches('.');
        if rest.is_empty() {
            return None;
        }
        let (step, after) = match rest.strip_prefix('[') {
            Some(inner) => inner.split_once(']').unwrap_or((inner, "")),
            None => rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())),
        };
        rest = after;
        Some(step)
    })
}

/// The documents of a text; what cannot be read does not hide what can.
pub(super) fn documents(text: &Text) -> Vec<Result<(Document, Node), Problem>> {
    let file: Rc<str> = text.name.as_str().into();
    let parts = if text.text.trim_start().starts_with(['{', '[']) {
        json_parts(&text.text).unwrap_or_else(|| yaml_parts(&text.text))
    } else {
        yaml_parts(&text.text)
    };
    let located = |(lines_before, read): (u64, Result<Node, Wrong>)| match read {
        Ok(root) => Ok((Document { file: file.clone(), lines_before }, root)),
        Err(Wrong { line, problem }) => {
            Err(Problem { file: file.to_string(), line: lines_before + line.max(1), text: problem })
        }
    };
    let read = || parts.iter().map(|part| (part.lines_before, parse(part.text))).collect::<Vec<_>>();
    with_room_to_nest(read).into_iter().map(located).collect()
}

/// The YAML reader needs much stack for each level of nesting, more than a main thread may have.
fn with_room_to_nest<T: Send>(read: impl FnOnce() -> T + Send) -> T {
    const ENOUGH: usize = 32 << 20;
    thread::scope(|scope| {
        let reader = thread::Builder::new().stack_size(ENOUGH).spawn_scoped(scope, read);
        reader.expect("a thread can be started").join().expect("the reader does not panic")
    })
}

/// The text of one document.
struct Part<'t> {
    text: &'t str,
    lines_before: u64,
}

/// JSON values, one after the other; `None` if the text is something else.
fn json_parts(text: &str) -> Option<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let (mut end, mut lines_before) = (0, 0);
    while let Some(value) = values.next() {
        value.ok()?;
        let part = &text[end..values.byte_offset()];
        parts.push(Part { text: part, lines_before });
        end = values.byte_offset();
        lines_before += lines(part);
    }
    Some(parts)
}

/// A line `---` always ends a document: inside one, YAML indents or quotes it.
fn yaml_parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut start, mut position, mut line, mut lines_before) = (0, 0, 0, 0);
    for next in text.split_inclusive('\n') {
        if next
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
        {
            parts.push(Part { text: &text[start..position], lines_before });
            (start, lines_before) = (position, line);
        }
        position += next.len();
        line += 1;
    }
    parts.push(Part { text: &text[start..], lines_before });
    parts.retain(|part| !is_blank(part.text));
    parts
}

fn is_blank(text: &str) -> bool {
    let says_nothing =
        |line: &str| line.is_empty() || line == "---" || line == "..." || line.starts_with(['#', '%']);
    text.trim_start_matches('\u{feff}').lines().map(str::trim).all(says_nothing)
}

fn lines(text: &str) -> u64 {
    text.bytes().filter(|byte| *byte == b'\n').count() as u64
}

/// Why a document cannot be read.
struct Wrong {
    line: u64,
    problem: String,
}

/// JSON is read as YAML first, which knows the lines. What only JSON allows (pairs of escaped surrogates, very long
/// keys) costs them.
fn parse(text: &str) -> Result<Node, Wrong> {
    let is_json = text.trim_start().starts_with(['{', '[']);
    match parse_yaml(text) {
        Err(error) if is_json && !matches!(error, serde_saphyr::Error::Budget { .. }) => {
            serde_json::from_str(text).map_err(|error| wrong_json(&error))
        }
        read => read.map_err(|error| wrong_yaml(&error)),
    }
}

fn parse_yaml(text: &str) -> Result<Node, serde_saphyr::Error> {
    serde_saphyr::with_deserializer_from_str_with_options(text, options(), |reader| Node::deserialize(reader))
}

/// Room for a manifest of 100 000 containers; depth and aliases are bounded as a stack and a memory are. Numbers are
/// read as kubectl does: 0644 is octal.
fn options() -> Options {
    serde_saphyr::options! {
        with_snippet: false,
        legacy_octal_numbers: true,
        budget: serde_saphyr::budget! {
            max_events: 10_000_000,
            max_nodes: 5_000_000,
            max_depth: 120,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
    }
}

fn wrong_yaml(error: &serde_saphyr::Error) -> Wrong {
    use serde_saphyr::Error;

    let error = error.without_snippet();
    let problem = match error {
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => TOO_DEEP.into(),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("duplicate key {key:?}"),
        Error::Budget { .. } | Error::AliasReplayLimitExceeded { .. } => "holds too many values".into(),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "an alias may not stand inside its own anchor".into()
        }
        Error::NonFiniteFloat { .. } => "a number that is not finite; quote it if it is a text".into(),
        error => plain(&error.to_string()),
    };
    Wrong { line: error.location().map_or(0, |location| location.line()), problem }
}

fn wrong_json(error: &serde_json::Error) -> Wrong {
    Wrong { line: error.line() as u64, problem: plain(&error.to_string()) }
}

const TOO_DEEP: &str = "nested too deep";

/// The message without the position, which [`Problem`] carries.
fn plain(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let message = &first[..first.find(" at line ").unwrap_or(first.len())];
    if message == "recursion limit exceeded" { TOO_DEEP.into() } else { message.into() }
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

/// Two readers may pick different ones of two members with one key, so none of them is right.
fn repeated_key(members: &[(String, Node)]) -> Option<&str> {
    let mut keys: Vec<&str> = members.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Result<(Document, Node), Problem>> {
        documents(&Text { name: "f".into(), text: text.into() })
    }

    fn line_of(text: &str, path: &str) -> u64 {
        let documents = read(text);
        let (document, root) = documents.last().unwrap().as_ref().unwrap();
        document.line(root.nearest(path))
    }

    fn problem(text: &str) -> String {
        read(text).into_iter().find_map(Result::err).unwrap().to_string()
    }

    #[test]
    fn a_path_leads_to_its_line() {
        let text = "# head\n---\na: 1\n---\nspec:\n  list:\n  - x: 1\n    y: 2\n  labels:\n    a.b/c: d\n";
        assert_eq!(line_of(text, "spec.list[0].y"), 8);
        assert_eq!(line_of(text, "spec.labels[a.b/c]"), 10);
        assert_eq!(line_of(text, "spec.list[7].z"), 7, "the list itself");
        assert_eq!(line_of(text, "nothing"), 5);
    }

    #[test]
    fn json_has_lines_too() {
        assert_eq!(line_of("{\"a\": 1}\n{\n \"b\": {\n  \"c\": 1}}\n", "b.c"), 4);
    }

    #[test]
    fn what_only_json_allows_is_read() {
        let text = r#"{"a": "\ud83d\ude00"}"#;
        let documents = read(text);
        assert_eq!(documents[0].as_ref().unwrap().1.str("a"), Some("😀"));
    }

    #[test]
    fn members_keep_their_order() {
        let documents = read("z: 1\na: {c: ~, b: [x, 1.5, true]}\n");
        let text = serde_json::to_string(&documents[0].as_ref().unwrap().1).unwrap();
        assert_eq!(text, r#"{"z":1,"a":{"c":null,"b":["x",1.5,true]}}"#);
    }

    #[test]
    fn scalars_are_those_of_kubectl() {
        let documents = read("[yes, 0644, \"yes\", 1_000, 2Gi, 1e3]");
        let text = serde_json::to_string(&documents[0].as_ref().unwrap().1).unwrap();
        assert_eq!(text, r#"[true,420,"yes",1000,"2Gi",1000.0]"#);
    }

    #[test]
    fn a_problem_has_its_line() {
        assert_eq!(problem("a: 1\n---\nb: 1\nb: 2\n"), "f:4: duplicate key \"b\"");
        assert_eq!(problem("{\"a\": 1,\n \"a\": 2}"), "f:2: duplicate key \"a\"");
        assert_eq!(problem("{\"a\": "), "f:1: EOF while parsing a value");
        assert_eq!(problem("a: .nan"), "f:1: a number that is not finite; quote it if it is a text");
    }

    #[test]
    fn a_text_of_comments_has_no_documents() {
        assert_eq!(read("# nothing\n---\n---\n...\n").len(), 0);
    }

    #[test]
    fn depth_and_aliases_are_bounded() {
        for text in
            ["[".repeat(200) + &"]".repeat(200), "{\"a\":".repeat(100_000) + "1" + &"}".repeat(100_000)]
        {
            assert!(read(&text)[0].is_err());
        }
        let bomb: String =
            (0..9).map(|i| format!("a{}: &a{} [{}]\n", i + 1, i + 1, format!("*a{i},").repeat(9))).collect();
        assert!(read(&format!("a0: &a0 x\n{bomb}"))[0].is_err());
    }

    #[test]
    fn steps_of_paths() {
        let all: Vec<&str> = steps("metadata.annotations[a.b/c].x[0]").collect();
        assert_eq!(all, ["metadata", "annotations", "a.b/c", "x", "0"]);
    }
}
