//! A policy in the making: what is asked of it, as a document with comments.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use serde_json::{Map, Value as Json, json};

use super::{asks::Ask, meaning::meaning};
use crate::{
    pod::Quantity,
    policy::{API_VERSION, KIND, Spec},
    text::sanitize,
};

/// The keys that come first in a document.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    pub(super) name: String,
    pub(super) extends: Option<&'static str>,
    pub(super) namespaces: Vec<String>,
    pub(super) mode: Option<&'static str>,
}

/// What is asked of a policy, each with those who ask.
#[derive(Debug, Default)]
pub(super) struct Draft {
    root: Branch,
}

/// A mapping, a list or a value of the document.
#[derive(Debug, Default)]
struct Branch {
    /// The key of the policy, on the value that it has.
    key: Option<&'static str>,
    askers: BTreeSet<String>,
    leaf: Option<Json>,
    items: Vec<(Json, BTreeSet<String>)>,
    members: BTreeMap<String, Branch>,
}

impl Branch {
    fn at(&mut self, path: &str) -> &mut Self {
        path.split('.').fold(self, |branch, step| branch.members.entry(step.into()).or_default())
    }

    fn is_empty(&self) -> bool {
        self.leaf.is_none() && self.items.is_empty() && self.members.is_empty()
    }
}

impl Draft {
    /// Returns what has to be set beyond `base`, the keys of what the document extends.
    pub(super) fn of<'a>(base: &Spec, asks: impl Iterator<Item = (&'a str, &'a Ask)>) -> Self {
        let base = serde_json::to_value(base).unwrap_or_default();
        let mut draft = Self::default();
        let mut amounts: BTreeMap<String, Ceiling> = BTreeMap::new();
        for (asker, ask) in asks {
            draft.add(&base, &mut amounts, asker, ask);
        }
        draft.write_amounts(&base, amounts);
        draft
    }

    pub(super) fn is_empty(&self) -> bool {
        self.root.is_empty()
    }

    fn add(&mut self, base: &Json, amounts: &mut BTreeMap<String, Ceiling>, asker: &str, ask: &Ask) {
        match ask {
            Ask::Add(key, item) => {
                let list = self.root.at("add").at(key);
                list.key = Some(key);
                match list.items.iter_mut().find(|(other, _)| other == item) {
                    Some((_, askers)) => _ = askers.insert(asker.into()),
                    None => list.items.push((item.clone(), BTreeSet::from([asker.into()]))),
                }
            }
            Ask::Set(key, value) if at(base, key) == value => {}
            Ask::Set(key, value) => self.set(key, value.clone(), asker),
            Ask::Include(key, id) => {
                for end in ["min", "max"] {
                    let is_beyond = |bound: &i64| if end == "min" { id < bound } else { id > bound };
                    let path = format!("{key}.{end}");
                    if !at(base, &path).as_i64().as_ref().is_some_and(is_beyond) {
                        continue;
                    }
                    let bound = &mut self.root.at(&path).leaf;
                    let old = bound.as_ref().and_then(Json::as_i64);
                    *bound = Some(json!(old.filter(|old| !is_beyond(old)).unwrap_or(*id)));
                    let range = self.root.at(key);
                    range.key = Some(key);
                    range.askers.insert(asker.into());
                }
            }
            Ask::Seconds(key, seconds) => {
                let branch = self.root.at(key);
                branch.key = Some(key);
                branch.askers.insert(asker.into());
                let old = branch.leaf.as_ref().and_then(Json::as_u64).unwrap_or_default();
                branch.leaf = Some(json!(old.max(u64::from(*seconds))));
            }
            Ask::Amount(key, resource, quantity, text) => {
                let path = resource.as_ref().map_or((*key).into(), |resource| format!("{key}.{resource}"));
                let ceiling = amounts.entry(path).or_insert_with(|| Ceiling::new(key));
                ceiling.raise(*quantity, text, asker);
            }
            Ask::Device { resource, count, class } => {
                let extended = self.root.at("resources.extended");
                extended.key = Some("resources.extended");
                extended.askers.insert(asker.into());
                let known = at(base, "resources.extended").as_object().cloned().unwrap_or_default();
                let mut all = extended.leaf.take().and_then(|all| all.as_object().cloned()).unwrap_or(known);
                let entry = all.entry(resource.clone()).or_insert(json!({"max": 0, "runtimeClasses": []}));
                let max = entry["max"].as_u64().unwrap_or_default().max(u64::from(*count));
                entry["max"] = json!(max);
                if let Some(classes) = entry["runtimeClasses"].as_array_mut()
                    && !classes.contains(&json!(class))
                {
                    classes.push(json!(class));
                }
                extended.leaf = Some(all.into());
            }
        }
    }

    fn set(&mut self, key: &'static str, value: Json, asker: &str) {
        let branch = self.root.at(key);
        branch.key = Some(key);
        branch.askers.insert(asker.into());
        branch.leaf = Some(value);
    }

    /// A Pod has to fit its container, so the Pod's ceiling is raised with the container's.
    fn write_amounts(&mut self, base: &Json, mut amounts: BTreeMap<String, Ceiling>) {
        let of_containers: Vec<(String, Ceiling)> = amounts
            .iter()
            .filter_map(|(path, ceiling)| Some((path.strip_prefix("resources.container.limits.")?, ceiling)))
            .map(|(resource, ceiling)| (format!("resources.pod.limits.{resource}"), ceiling.clone()))
            .collect();
        for (path, ceiling) in of_containers {
            let of_base = Quantity::parse(at(base, &path).as_str().unwrap_or_default()).unwrap_or_default();
            if ceiling.quantity > of_base {
                let pod = amounts.entry(path).or_insert_with(|| Ceiling::new("resources.pod.limits"));
                ceiling.askers.iter().for_each(|asker| pod.raise(ceiling.quantity, &ceiling.text, asker));
            }
        }
        for (path, Ceiling { key, text, askers, .. }) in amounts {
            let branch = self.root.at(&path);
            branch.key = Some(key);
            branch.askers = askers;
            branch.leaf = Some(Json::String(text));
        }
    }

    /// Returns the document. Without `with_comments` it has the same content and is shorter.
    pub(super) fn document(&self, head: &Head, with_comments: bool) -> String {
        let Head { name, extends, namespaces, mode } = head;
        let mut text =
            format!("apiVersion: {API_VERSION}\nkind: {KIND}\nmetadata:\n  name: {}\n", scalar(name));
        let is_empty = extends.is_none() && namespaces.is_empty() && mode.is_none() && self.is_empty();
        text += if is_empty { "spec: {}\n" } else { "spec:\n" };
        if let Some(preset) = extends {
            let _ = writeln!(text, "  extends: preset/{preset}");
        }
        if !namespaces.is_empty() {
            let names: Vec<String> = namespaces.iter().map(|name| scalar(name)).collect();
            let _ = writeln!(text, "  namespaces: [{}]", names.join(", "));
        }
        if let Some(mode) = mode {
            if with_comments && *mode == "audit" {
                text += "  # Nothing is changed or denied yet: read `sandgate audit top`, then enforce.\n";
            }
            let _ = writeln!(text, "  mode: {mode}");
        }
        for (key, branch) in &self.root.members {
            write_branch(&mut text, key, branch, 1, with_comments);
        }
        text
    }
}

/// A ceiling with those who ask for it.
#[derive(Debug, Clone)]
struct Ceiling {
    key: &'static str,
    quantity: Quantity,
    text: String,
    askers: BTreeSet<String>,
}

impl Ceiling {
    fn new(key: &'static str) -> Self {
        Self { key, quantity: Quantity::ZERO, text: String::new(), askers: BTreeSet::new() }
    }

    fn raise(&mut self, quantity: Quantity, text: &str, asker: &str) {
        self.askers.insert(asker.into());
        if quantity > self.quantity {
            (self.quantity, self.text) = (quantity, text.into());
        }
    }
}

fn at<'j>(json: &'j Json, path: &str) -> &'j Json {
    path.split('.').fold(json, |json, step| json.get(step).unwrap_or(&Json::Null))
}

fn write_branch(text: &mut String, key: &str, branch: &Branch, depth: usize, with_comments: bool) {
    let indent = "  ".repeat(depth);
    let Branch { key: policy_key, askers, leaf, items, members } = branch;
    if with_comments && let Some(policy_key) = policy_key {
        comment(text, depth, &format!("Lets through: {}.", meaning(policy_key)));
        if !askers.is_empty() {
            comment(text, depth, &format!("Asked for by {}.", listed(askers)));
        }
    }
    if let Some(leaf) = leaf {
        let _ = writeln!(text, "{indent}{key}: {}", flow(leaf));
        return;
    }
    let _ = writeln!(text, "{indent}{key}:");
    for (item, askers) in items {
        if with_comments {
            comment(text, depth, &format!("Asked for by {}.", listed(askers)));
        }
        let _ = writeln!(text, "{indent}- {}", flow(item));
    }
    for (key, member) in members {
        write_branch(text, key, member, depth + 1, with_comments);
    }
}

/// Writes a comment in lines of at most 80 characters.
pub(super) fn comment(text: &mut String, depth: usize, words: &str) {
    const MAX_CHARS: usize = 80;
    let margin = format!("{}# ", "  ".repeat(depth));
    let mut line = String::new();
    for word in sanitize(words).split(' ') {
        if !line.is_empty() && margin.len() + line.chars().count() + word.chars().count() >= MAX_CHARS {
            let _ = writeln!(text, "{margin}{line}");
            // What goes on is indented.
            line = "  ".into();
        }
        if !line.trim().is_empty() {
            line.push(' ');
        }
        line += word;
    }
    let _ = writeln!(text, "{margin}{line}");
}

/// Returns the first askers by name, and the number of the others.
fn listed(askers: &BTreeSet<String>) -> String {
    const MAX_NAMED: usize = 3;
    let named: Vec<&str> = askers.iter().take(MAX_NAMED).map(String::as_str).collect();
    match askers.len().saturating_sub(MAX_NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// Returns a value in YAML's flow style.
fn flow(value: &Json) -> String {
    match value {
        Json::String(text) => scalar(text),
        Json::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Json::Object(members) => flow_mapping(members),
        other => other.to_string(),
    }
}

fn flow_mapping(members: &Map<String, Json>) -> String {
    let member = |(key, value): (&String, &Json)| format!("{}: {}", scalar(key), flow(value));
    format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
}

/// Returns a text as YAML, in quotes unless it cannot be read as something else.
fn scalar(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.into() } else { Json::String(text.into()).to_string() }
}
