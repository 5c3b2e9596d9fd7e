//! The report for people: one line for each check, under the headings of its subjects.

use std::fmt::Write;

use super::finding::{Finding, Outcome, Severity};
use crate::cli::terminal::{BAD, DOUBTFUL, FAINT, GOOD, STRONG, columns, count, fit, paint};
use sandgate_engine::text::sanitize;

/// Where the text of a check begins.
const TEXT_COLUMN: usize = 42;
/// Where further lines of a text begin.
const INDENT: usize = 6;

pub(super) fn write(findings: &[Finding]) -> String {
    let mut out = String::new();
    let mut section = None;
    for finding in findings {
        if section != Some(finding.section) {
            let gap = if section.is_some() { "\n" } else { "" };
            let _ = writeln!(out, "{gap}{}", paint(STRONG, finding.section.heading()));
            section = Some(finding.section);
        }
        let _ = writeln!(out, "{}", line(finding));
    }
    let _ = writeln!(out, "\n{}", summary(findings));
    out
}

fn line(finding: &Finding) -> String {
    let Finding { id, severity, outcome, namespace, what, action, is_accepted, .. } = finding;
    let what = match namespace {
        Some(namespace) => format!("{namespace}: {what}"),
        None => what.clone(),
    };
    let (word, style) = match outcome {
        Outcome::Ok => ("ok", GOOD),
        Outcome::Fail if *is_accepted => ("fail", FAINT),
        Outcome::Fail => ("FAIL", if *severity >= Severity::High { BAD } else { DOUBTFUL }),
        Outcome::Unknown => ("?", DOUBTFUL),
    };
    let what = if *is_accepted { format!("{what} (accepted)") } else { what };
    let head = format!("{:<4}  {:<8}  {id:<25}", paint(style, format_args!("{word:<4}")), severity.as_str());
    let what = fit(sanitize(&what), TEXT_COLUMN, INDENT);
    let action = if *is_accepted { "" } else { action };
    match (action, columns()) {
        ("", _) => format!("{head} {what}"),
        (action, None) => format!("{head} {what} \u{2192} {}", sanitize(action)),
        // A person looks for what to do, so it begins a line.
        (action, Some(_)) => {
            let action = fit(format!("\u{2192} {}", sanitize(action)), INDENT, INDENT + 2);
            format!("{head} {what}\n{:INDENT$}{action}", "")
        }
    }
}

fn summary(findings: &[Finding]) -> String {
    let number = |outcome: Outcome| findings.iter().filter(|finding| finding.outcome == outcome).count();
    let failed = number(Outcome::Fail);
    let mut by_severity = Vec::new();
    for severity in [Severity::Critical, Severity::High, Severity::Medium, Severity::Low, Severity::Info] {
        let failed = findings
            .iter()
            .filter(|finding| finding.outcome == Outcome::Fail && finding.severity == severity)
            .count();
        if failed > 0 {
            by_severity.push(format!("{failed} {}", severity.as_str()));
        }
    }
    let mut text = format!("{}: {} ok", count(findings.len(), "check"), number(Outcome::Ok));
    if failed > 0 {
        let _ = write!(text, ", {failed} failed ({})", by_severity.join(", "));
    }
    if number(Outcome::Unknown) > 0 {
        let _ = write!(text, ", {} unknown", number(Outcome::Unknown));
    }
    text
}
