//! SARIF 2.1.0, which code scanning reads: what every command writes alike.

use serde_json::{Value, json};

use sandgate_engine::rules::{self, Rule};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The result of a command, as SARIF has it.
pub(super) struct Log {
    /// False if something was not looked at.
    pub(super) is_complete: bool,
    /// What was not looked at, and why.
    pub(super) notifications: Vec<Value>,
    /// What violates a rule: see [`Violation`].
    pub(super) results: Vec<Value>,
}

impl Log {
    /// Returns the text of the file.
    pub(super) fn text(self) -> String {
        let Self { is_complete, notifications, results } = self;
        let log = json!({
            "$schema": SCHEMA,
            "version": "2.1.0",
            "runs": [{
                "tool": {"driver": {
                    "name": env!("CARGO_PKG_NAME"),
                    "version": env!("CARGO_PKG_VERSION"),
                    "rules": rules::ALL.iter().map(|rule| descriptor(rule)).collect::<Vec<_>>(),
                }},
                "invocations": [{
                    "executionSuccessful": is_complete,
                    "toolExecutionNotifications": notifications,
                }],
                "columnKind": "unicodeCodePoints",
                "results": results,
            }],
        });
        format!("{log:#}\n")
    }
}

/// A violation of a rule.
pub(super) struct Violation<'v> {
    /// `error`, `warning` or `note`.
    pub(super) level: &'static str,
    /// The id of the rule.
    pub(super) rule: &'v str,
    /// The sentence.
    pub(super) text: &'v str,
    /// The file, or the name of an object of the cluster as a path.
    pub(super) file: &'v str,
    /// The line in the file.
    pub(super) line: u64,
    /// The field, and what has it.
    pub(super) full_name: &'v str,
}

impl Violation<'_> {
    /// Returns it as SARIF has it.
    pub(super) fn result(&self) -> Value {
        let Self { level, rule, text, file, line, full_name } = self;
        json!({
            "ruleId": rule,
            "ruleIndex": rules::ALL.iter().position(|known| known.id == *rule),
            "level": level,
            "message": {"text": text},
            "locations": [{
                "physicalLocation": physical_location(file, *line),
                "logicalLocations": [{"fullyQualifiedName": full_name}],
            }],
        })
    }
}

/// Returns the place of a line.
pub(super) fn physical_location(file: &str, line: u64) -> Value {
    json!({"artifactLocation": {"uri": uri(file)}, "region": {"startLine": line}})
}

/// Returns what SARIF has of a rule.
fn descriptor(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": format!("Run \"sandgate explain {}\" for the setting in the policy.", rule.id)},
        "defaultConfiguration": {"level": "error"},
    })
}

/// The path as a URI reference: relative if the path is.
fn uri(path: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    let encoded: String = path.trim_start_matches("./").bytes().map(encode).collect();
    if encoded.starts_with('/') { format!("file://{encoded}") } else { encoded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_uris() {
        assert_eq!(uri("./deploy/a b.yaml"), "deploy/a%20b.yaml");
        assert_eq!(uri("/tmp/ü.yaml"), "file:///tmp/%C3%BC.yaml");
    }
}
