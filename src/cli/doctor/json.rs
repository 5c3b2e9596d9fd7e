//! The report as data.

use serde::Serialize;

use super::finding::{Finding, Outcome};

#[derive(Serialize)]
struct Document<'f> {
    checks: &'f [Finding],
    summary: Summary,
}

#[derive(Serialize)]
struct Summary {
    ok: usize,
    failed: usize,
    unknown: usize,
}

pub(super) fn write(findings: &[Finding]) -> String {
    let number = |outcome: Outcome| findings.iter().filter(|finding| finding.outcome == outcome).count();
    let (ok, failed, unknown) = (number(Outcome::Ok), number(Outcome::Fail), number(Outcome::Unknown));
    let document = Document { checks: findings, summary: Summary { ok, failed, unknown } };
    let mut text = serde_json::to_string_pretty(&document).expect("writing JSON to memory cannot fail");
    text.push('\n');
    text
}
