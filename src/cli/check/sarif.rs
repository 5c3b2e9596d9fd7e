//! The result as SARIF.

use serde_json::{Value, json};

use super::{Checked, Report};
use crate::cli::{
    sarif::{Log, Violation, physical_location},
    workload_pods::Finding,
};
use sandgate_engine::{policy::Level, review::Outcome};

pub(super) fn write(report: &Report) -> String {
    let results: Vec<Value> = report.pods.iter().flat_map(results).collect();
    let is_complete = report.failures.is_empty() && !(report.is_strict && report.unchecked() > 0);
    Log { is_complete, notifications: notifications(report), results }.text()
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
        "locations": [{"physicalLocation": physical_location(file, line)}],
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

fn violation(pod: &Checked, finding: &Finding, level: &'static str) -> Value {
    let text = format!("{}: {}", pod.pod.title(), finding.sentence());
    let violation = Violation {
        level,
        rule: finding.rule,
        text: &text,
        file: pod.pod.file(),
        line: finding.line,
        full_name: &finding.path,
    };
    violation.result()
}
