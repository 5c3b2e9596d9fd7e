//! The filled fields, as YAML that fits on a screen: only changes, below the fields that lead to them.

use std::collections::HashSet;

use anstyle::Style;
use serde_json::{Map, Value};

use crate::{BAD, FAINT, GOOD};

/// Longer lines are broken.
const WIDTH: usize = 92;

/// Longer texts are bookkeeping, and nothing to read here.
const MAX_TEXT_CHARS: usize = 60;

/// Writes the changes of one pod after the other, and repeats none that has been shown.
#[derive(Default)]
pub(crate) struct Diffs {
    shown: HashSet<String>,
}

impl Diffs {
    /// The fields that `after` has and `before` has not, and the other way round.
    pub(crate) fn changes(&mut self, before: &Value, after: &Value) -> String {
        let (Some(before), Some(after)) = (before.as_object(), after.as_object()) else {
            return String::new();
        };
        self.members(before, after, 0)
    }

    fn members(&mut self, before: &Map<String, Value>, after: &Map<String, Value>, depth: usize) -> String {
        let removed = before.iter().filter(|(key, _)| !after.contains_key(*key));
        let mut text: String =
            removed.map(|(key, old)| line('-', BAD, depth, &format!("{key}: {}", flow(old)))).collect();
        let mut repeated = Vec::new();
        for (key, new) in after.iter().filter(|(key, new)| before.get(*key) != Some(new)) {
            let change = self.member(key, before.get(key), new, depth);
            if self.is_new(&change, depth) {
                text.push_str(&change);
            } else {
                repeated.push(key.as_str());
            }
        }
        if !repeated.is_empty() {
            let note = format!("as above: {}", repeated.join(", "));
            let words: Vec<&str> = note.split(' ').collect();
            let lines = fold(&words, WIDTH.saturating_sub(depth * 2));
            text.extend(lines.iter().map(|note| line(' ', FAINT, depth, &format!("# {note}"))));
        }
        text
    }

    /// The roots `metadata` and `spec` are shown always.
    fn is_new(&mut self, change: &str, depth: usize) -> bool {
        self.shown.insert(change.to_owned()) || depth == 0
    }

    fn member(&mut self, key: &str, old: Option<&Value>, new: &Value, depth: usize) -> String {
        let head = || line(' ', FAINT, depth, &format!("{key}:"));
        match (old, new) {
            (Some(Value::Object(old)), Value::Object(new)) if !old.is_empty() => {
                head() + &self.members(old, new, depth + 1)
            }
            (Some(Value::Array(old)), Value::Array(new)) if !old.is_empty() => {
                head() + &self.items(old, new, depth)
            }
            (Some(old @ (Value::String(_) | Value::Number(_) | Value::Bool(_))), new) => {
                let was = format!("{GOOD:#}  {FAINT}# was {}{FAINT:#}", flow(old));
                line('+', GOOD, depth, &format!("{key}: {}{was}", flow(new)))
            }
            (_, new) => added(key, new, depth),
        }
    }

    fn items(&mut self, before: &[Value], after: &[Value], depth: usize) -> String {
        let same = |one: &Value, other: &Value| identity(one) == identity(other);
        let removed = before.iter().filter(|old| !after.iter().any(|new| same(old, new)));
        let mut text: String =
            removed.map(|old| line('-', BAD, depth, &format!("- {}", outline(old)))).collect();
        for new in after {
            match (before.iter().find(|old| same(old, new)), new) {
                (Some(old), new) if old == new => {}
                (Some(Value::Object(old)), Value::Object(_)) => {
                    text.push_str(&line(' ', FAINT, depth, &format!("- {}", outline(new))));
                    text.push_str(&self.members(old, new.as_object().unwrap_or(old), depth + 1));
                }
                (_, new) => text.push_str(&wrapped(&format!("- {}", flow(new)), depth)),
            }
        }
        text
    }
}

/// Returns the lines of a new field.
fn added(key: &str, value: &Value, depth: usize) -> String {
    match value {
        Value::Array(items) if items.iter().all(Value::is_object) => {
            let items = items.iter().map(|item| wrapped(&format!("- {}", flow(item)), depth));
            line('+', GOOD, depth, &format!("{key}:")) + &items.collect::<String>()
        }
        // Two maps that share a line break would be hard to read.
        Value::Object(members) if members.len() > 1 && members.values().all(Value::is_object) => {
            let members = members.iter().map(|(key, value)| added(key, value, depth + 1));
            line('+', GOOD, depth, &format!("{key}:")) + &members.collect::<String>()
        }
        _ => wrapped(&format!("{key}: {}", flow(value)), depth),
    }
}

/// A new value in flow style; it may go on in the next line, a little further in.
fn wrapped(text: &str, depth: usize) -> String {
    let lines = fold(&pieces(text), WIDTH.saturating_sub(depth * 2));
    let indented =
        lines.iter().enumerate().map(|(at, part)| line('+', GOOD, depth + 2 * usize::from(at > 0), part));
    indented.collect()
}

/// The parts of a line that stay together: a key and its scalar or list.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match pieces.last_mut() {
            Some(last) if last.ends_with(':') && !word.starts_with('{') => {
                last.push(' ');
                last.push_str(word);
            }
            _ => pieces.push(word.to_owned()),
        }
    }
    pieces
}

/// Fills lines of at most `width` columns.
fn fold<T: AsRef<str>>(pieces: &[T], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for piece in pieces.iter().map(AsRef::as_ref) {
        match lines.last_mut() {
            Some(last) if last.len() + 1 + piece.len() <= width => {
                last.push(' ');
                last.push_str(piece);
            }
            _ => lines.push(piece.to_owned()),
        }
    }
    lines
}

fn line(sign: char, style: Style, depth: usize, text: &str) -> String {
    format!("{style}{sign} {:indent$}{text}{style:#}\n", "", indent = depth * 2)
}

/// Returns the key by which an item of a list is the same item as before.
fn identity(item: &Value) -> &Value {
    ["mountPath", "name"].iter().find_map(|key| item.get(key)).unwrap_or(item)
}

/// An item that was there before: its name is enough.
fn outline(item: &Value) -> String {
    item.get("name").map_or_else(|| flow(item), |name| format!("name: {}", flow(name)))
}

/// A value on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let members = ordered(members).map(|(key, value)| format!("{key}: {}", flow(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Names first, as people write them.
fn ordered(members: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    let is_name = |key: &str| matches!(key, "name" | "key");
    let first = members.iter().filter(move |(key, _)| is_name(key));
    first.chain(members.iter().filter(move |(key, _)| !is_name(key)))
}

/// Text without quotes, where YAML would read the same text back.
fn scalar(text: &str) -> String {
    if text.len() > MAX_TEXT_CHARS {
        return "…".into();
    }
    let begins = |c: char| c.is_ascii_alphabetic() || c == '/';
    let is_quantity = text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(|c: char| c.is_ascii_alphabetic())
        && !text.contains(['e', 'E', 'x', 'o']);
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    let is_word = matches!(text, "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n");
    if is_plain && !is_word && (text.starts_with(begins) || is_quantity) {
        text.to_owned()
    } else {
        format!("{text:?}")
    }
}
