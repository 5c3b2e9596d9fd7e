//! The result as SARIF 2.1.0, which code scanning reads.

use serde_json::{Value, json};

use super::{Checked, Report};
use crate::cli::subject::Finding;
use sandgate_engine::{
    policy::Mode,
    rules::{self, Rule},
};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

pub(super) fn write(report: &Report) -> String {
    let results: Vec<Value> = report.pods.iter().flat_map(results).collect();
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
                "executionSuccessful": report.failures.is_empty(),
                "toolExecutionNotifications": report.failures.iter().map(notification).collect::<Vec<_>>(),
            }],
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{log:#}\n")
}

fn descriptor(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": format!("Run \"sandgate explain {}\" for the setting in the policy.", rule.id)},
        "defaultConfiguration": {"level": "error"},
    })
}

fn notification(failure: &String) -> Value {
    json!({"level": "error", "message": {"text": failure}})
}

fn results(pod: &Checked) -> Vec<Value> {
    let Some(result) = &pod.result else { return Vec::new() };
    let level = level(result.mode);
    result.violations.iter().map(|finding| violation(pod, finding, level)).collect()
}

/// A policy that only warns or records breaks no build.
fn level(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "error",
        Mode::Warn => "warning",
        Mode::Audit => "note",
    }
}

fn violation(pod: &Checked, finding: &Finding, level: &str) -> Value {
    json!({
        "ruleId": finding.rule,
        "ruleIndex": rules::ALL.iter().position(|rule| rule.id == finding.rule),
        "level": level,
        "message": {"text": format!("{}: {}", pod.subject.title(), finding.sentence())},
        "locations": [{
            "physicalLocation": {
                "artifactLocation": {"uri": uri(pod.subject.file())},
                "region": {"startLine": finding.line},
            },
            "logicalLocations": [{"fullyQualifiedName": finding.path}],
        }],
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
