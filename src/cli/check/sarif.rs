//! The result as SARIF 2.1.0, which code scanning reads.

use serde_json::{Value, json};

use super::{Checked, Report};
use crate::cli::workload_pods::Finding;
use sandgate_engine::{
    policy::Level,
    review::Outcome,
    rules::{self, Rule},
};

pub(in crate::cli) const SCHEMA: &str =
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
                "executionSuccessful": report.failures.is_empty() && !(report.is_strict && report.unchecked() > 0),
                "toolExecutionNotifications": notifications(report),
            }],
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{log:#}\n")
}

/// Returns what SARIF has of a rule.
pub(in crate::cli) fn descriptor(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": format!("Run \"sandgate explain {}\" for the setting in the policy.", rule.id)},
        "defaultConfiguration": {"level": "error"},
    })
}

/// What could not be checked, and what was not.
fn notifications(report: &Report) -> Vec<Value> {
    let failures =
        report.failures.iter().map(|failure| json!({"level": "error", "message": {"text": failure}}));
    let notices = report.notices.iter().map(|notice| {
        let level = if report.is_failure(notice) { "error" } else { "warning" };
        notification(level, &notice.place.text, &notice.place.file, notice.place.line)
    });
    let uncovered = report.pods.iter().filter(|pod| pod.result.is_none()).map(|pod| {
        let level = if report.is_strict { "error" } else { "warning" };
        let text = format!("{}: no policy covers the namespace", pod.pod.title());
        notification(level, &text, pod.pod.file(), pod.pod.line())
    });
    failures.chain(notices).chain(uncovered).collect()
}

fn notification(level: &str, text: &str, file: &str, line: u64) -> Value {
    json!({
        "level": level,
        "message": {"text": text},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": uri(file)},
            "region": {"startLine": line},
        }}],
    })
}

fn results(pod: &Checked) -> Vec<Value> {
    pod.violations().iter().map(|finding| violation(pod, finding, level(pod, finding))).collect()
}

/// A rule that is only warned of or recorded breaks no build, and neither does a user that is exempt.
fn level(pod: &Checked, finding: &Finding) -> &'static str {
    match finding.level {
        Level::Enforce if pod.outcome() != Outcome::Exempt => "error",
        Level::Warn => "warning",
        Level::Enforce | Level::Audit | Level::Off => "note",
    }
}

fn violation(pod: &Checked, finding: &Finding, level: &str) -> Value {
    json!({
        "ruleId": finding.rule,
        "ruleIndex": rules::ALL.iter().position(|rule| rule.id == finding.rule),
        "level": level,
        "message": {"text": format!("{}: {}", pod.pod.title(), finding.sentence())},
        "locations": [{
            "physicalLocation": {
                "artifactLocation": {"uri": uri(pod.pod.file())},
                "region": {"startLine": finding.line},
            },
            "logicalLocations": [{"fullyQualifiedName": finding.path}],
        }],
    })
}

/// The path as a URI reference: relative if the path is.
pub(in crate::cli) fn uri(path: &str) -> String {
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
