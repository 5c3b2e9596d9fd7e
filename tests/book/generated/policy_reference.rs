//! All keys of a policy, from its JSON schema.

use std::fmt::Write;

use sandgate_engine::policy::json_schema;
use serde_json::Value;

use super::{Generated, NOTE};

/// The definitions that have the keys of a whole policy again: their keys are not listed twice.
const WHOLE_POLICIES: [&str; 3] = ["PolicySpec", "ProfileSpec", "Spec"];

const SCALARS: &str = "Keys of the policy itself";

pub(super) fn page() -> Generated {
    let schema = serde_json::to_value(json_schema()).unwrap();
    let reference = Reference { definitions: &schema["$defs"] };
    let keys = reference.definitions["PolicySpec"]["properties"].as_object().unwrap();
    let mut text = format!(
        "# Policy reference\n\n{NOTE}All keys of `spec`, from the schema that `sandgate policy schema` prints for editors. \
         [The policy file](policy.md) describes how they work together, and [how-to](how-to.md) has examples. Keys that \
         are left out have their default.\n\n## {SCALARS}\n\n{HEAD}"
    );
    for (key, value) in keys.iter().filter(|(_, value)| !reference.is_mapping(value)) {
        reference.row(key, value, &mut text);
    }
    for (key, value) in keys.iter().filter(|(_, value)| reference.is_mapping(value)) {
        let _ = write!(text, "\n## spec.{key}\n\n{}\n\n{HEAD}", description(value));
        reference.rows("", reference.resolve(value), &mut text);
    }
    Generated::new("docs/policy-reference.md", text)
}

const HEAD: &str = "| key | type | default | meaning |\n|---|---|---|---|\n";

/// Returns the address of a key on the page, from the page of a rule.
pub(super) fn link(setting: &str) -> String {
    let schema = serde_json::to_value(json_schema()).unwrap();
    let reference = Reference { definitions: &schema["$defs"] };
    let key = setting.split('.').nth(1).unwrap();
    let value = &reference.definitions["PolicySpec"]["properties"][key];
    assert!(value.is_object(), "a policy has no key {setting}");
    let anchor = if reference.is_mapping(value) {
        format!("spec{}", key.to_lowercase())
    } else {
        SCALARS.to_lowercase().replace(' ', "-")
    };
    format!("../policy-reference.md#{anchor}")
}

struct Reference<'a> {
    definitions: &'a Value,
}

impl<'a> Reference<'a> {
    /// Follows a reference, or the one alternative that is not null.
    fn resolve(&self, value: &'a Value) -> &'a Value {
        if let Some(name) = name_of(value) {
            return &self.definitions[name];
        }
        let alternatives = value["anyOf"].as_array().map_or(&[][..], Vec::as_slice);
        alternatives.iter().find(|one| one["type"] != "null").map_or(value, |one| self.resolve(one))
    }

    fn is_mapping(&self, value: &'a Value) -> bool {
        !is_whole_policy(value) && self.resolve(value)["properties"].is_object()
    }

    fn rows(&self, path: &str, definition: &'a Value, text: &mut String) {
        let Some(properties) = definition["properties"].as_object() else { return };
        for (key, value) in properties {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            if self.is_mapping(value) {
                self.row(&path, value, text);
                self.rows(&path, self.resolve(value), text);
            } else {
                self.row(&path, value, text);
            }
        }
    }

    fn row(&self, path: &str, value: &'a Value, text: &mut String) {
        let shown = if self.is_mapping(value) { String::new() } else { default(value) };
        let _ = writeln!(text, "| `{path}` | {} | {shown} | {} |", self.kind(value), description(value));
        let items = self.resolve(value);
        if items["type"] == "array" && self.is_mapping(&items["items"]) {
            self.rows(&format!("{path}[]"), self.resolve(&items["items"]), text);
        }
    }

    /// Returns the type in words: what a person may write.
    fn kind(&self, value: &'a Value) -> String {
        if is_whole_policy(value) {
            return "the keys of a policy".into();
        }
        let definition = self.resolve(value);
        if let Some(choices) = choices(definition) {
            return choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ");
        }
        let types = match &definition["type"] {
            Value::String(one) => vec![one.as_str()],
            Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let is_nullable = types.contains(&"null")
            || value["anyOf"].as_array().is_some_and(|any| any.iter().any(|one| one["type"] == "null"));
        let kind = match types.first() {
            _ if name_of(value) == Some("Quantity") => "quantity".into(),
            Some(&"array") => match self.kind(&definition["items"]) {
                kind if kind == "text" => "list of names".into(),
                kind => format!("list of {kind}"),
            },
            Some(&"integer") => "number".into(),
            Some(&"boolean") => "`true`, `false`".into(),
            Some(&"string") => "text".into(),
            _ => "mapping".to_owned(),
        };
        if is_nullable { format!("{kind} or `null`") } else { kind }
    }
}

fn name_of(value: &Value) -> Option<&str> {
    value["$ref"].as_str()?.rsplit('/').next()
}

/// Returns whether a value, or an alternative of it, is a definition of [`WHOLE_POLICIES`].
fn is_whole_policy(value: &Value) -> bool {
    name_of(value).is_some_and(|name| WHOLE_POLICIES.contains(&name))
        || value["anyOf"].as_array().is_some_and(|any| any.iter().any(is_whole_policy))
}

fn choices(definition: &Value) -> Option<Vec<&str>> {
    if let Some(values) = definition["enum"].as_array() {
        return values.iter().map(Value::as_str).collect();
    }
    definition["oneOf"].as_array()?.iter().map(|one| one["const"].as_str()).collect()
}

fn default(value: &Value) -> String {
    match value.get("default") {
        None => String::new(),
        Some(default) => format!("`{}`", flow(default).replace('|', "\\|")),
    }
}

/// Returns a value as YAML on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| format!("{key}: {}", flow(value));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
        Value::String(text) if text.is_empty() || text.starts_with('*') || text.parse::<f64>().is_ok() => {
            format!("\"{text}\"")
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn description(value: &Value) -> String {
    let text = value["description"].as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
