//! The result for people: one block for each object, one line for each violation, the counts at the end.

use std::fmt::Write;

use super::{CheckResult, Checked, Report};
use crate::cli::{
    terminal::{BAD, DOUBTFUL, FAINT, GOOD, PLACE, count, fit, paint},
    workload_pods::Finding,
};
use sandgate_engine::review::Outcome;

pub(super) fn write(report: &Report) -> String {
    let mut out = String::new();
    for pod in &report.pods {
        write_pod(pod, report, &mut out);
    }
    let summary = summary(report);
    match (report.pods.is_empty(), report.others + report.unchecked() + report.skipped) {
        // Standard error has the reason.
        (true, 0) => out,
        (true, _) => fit(summary, 0, 2) + "\n",
        (false, _) => format!("{out}\n{}\n", fit(summary, 0, 2)),
    }
}

fn write_pod(pod: &Checked, report: &Report, out: &mut String) {
    let place = paint(PLACE, format_args!("{}:{}", pod.pod.file(), pod.pod.line()));
    let head = format!("{place}: {} {}", pod.pod.title(), outcome(pod, report));
    let _ = writeln!(out, "{}", fit(head, 0, 4));
    let mut violations: Vec<&Finding> = pod.violations().iter().collect();
    violations.sort_by_key(|violation| violation.line);
    for violation in violations {
        write_violation(pod, violation, out);
    }
    let omitted = pod.violation_count() - pod.violations().len();
    if omitted > 0 {
        let _ = writeln!(out, "  and {omitted} more, too many to list");
    }
    let Some(result) = &pod.result else { return };
    for (path, from, to) in &result.lowered {
        let _ = writeln!(out, "{}", fit(format!("  {path} is lowered from {from} to {to}"), 0, 6));
    }
    if !result.admitted_for.is_empty() {
        let users = result.admitted_for.join(", ");
        let _ =
            writeln!(out, "{}", fit(format!("  It would be admitted for {users}: check it with --as"), 0, 4));
    }
    let Some((candidate, violations)) = &result.candidate else { return };
    let verdict = if violations.is_empty() { "would admit it" } else { "would deny it" };
    let number = count(violations.len(), "violation");
    let _ = writeln!(out, "{}", fit(format!("  The candidate policy {candidate} {verdict}: {number}"), 0, 4));
    for violation in violations {
        write_violation(pod, violation, out);
    }
}

fn outcome(pod: &Checked, report: &Report) -> String {
    let Some(result) = &pod.result else {
        return format!(
            "{}: no policy covers the namespace (covered: {})",
            paint(DOUBTFUL, "is not checked"),
            report.covered_namespaces()
        );
    };
    let (style, verdict) = match result.outcome {
        Outcome::Denied => (BAD, "would be denied"),
        Outcome::Warned => (DOUBTFUL, "would be admitted with warnings"),
        Outcome::WouldDeny => (DOUBTFUL, "would be admitted and recorded"),
        Outcome::Exempt => (DOUBTFUL, "is exempt and would be admitted"),
        _ => (GOOD, "would be admitted"),
    };
    let mut text = paint(style, verdict) + &keys(result);
    if result.outcome != Outcome::Denied {
        text += &fills(result);
    }
    if pod.violation_count() > 0 {
        let _ = write!(text, ": {}", count(pod.violation_count(), "violation"));
    }
    text
}

/// Returns which keys of the policy hold for the Pod, if not its own.
fn keys(result: &CheckResult) -> String {
    let profile = result.profile.map(|name| format!("profile {name}"));
    let exceptions =
        (!result.exceptions.is_empty()).then(|| format!("exceptions {}", result.exceptions.join(", ")));
    let keys: Vec<String> = profile.into_iter().chain(exceptions).collect();
    if keys.is_empty() { String::new() } else { format!(" ({})", keys.join("; ")) }
}

fn fills(result: &CheckResult) -> String {
    match (result.filled.len(), result.unfilled.len()) {
        (0, 0) => ", unchanged".into(),
        (0, unfilled) => {
            format!(", unchanged ({} would be filled if every rule were enforced)", count(unfilled, "field"))
        }
        (filled, _) => format!(", {} filled in", count(filled, "field")),
    }
}

fn write_violation(pod: &Checked, violation: &Finding, out: &mut String) {
    let place = format!("{}:{}", pod.pod.file(), violation.line);
    let rule = format!("({})", violation.rule_and_level());
    let text = format!("  {}: {} {}", paint(PLACE, place), violation.sentence(), paint(FAINT, rule));
    let _ = writeln!(out, "{}", fit(text, 0, 6));
}

/// Returns the last line: the number of Pods and what became of them.
pub(super) fn summary(report: &Report) -> String {
    let mut parts = Vec::new();
    let mut add = |number, text: String| {
        if number > 0 {
            parts.push(text);
        }
    };
    let (admitted, denied) = (report.count(Outcome::Admitted), report.count(Outcome::Denied));
    let (warned, recorded) = (report.count(Outcome::Warned), report.count(Outcome::WouldDeny));
    let (exempt, uncovered) = (report.count(Outcome::Exempt), report.count(Outcome::NoPolicy));
    add(admitted, paint(GOOD, format_args!("{admitted} admitted")));
    add(denied, paint(BAD, format_args!("{denied} denied")));
    add(warned, paint(DOUBTFUL, format_args!("{warned} admitted with warnings")));
    add(recorded, paint(DOUBTFUL, format_args!("{recorded} admitted and recorded")));
    add(exempt, paint(DOUBTFUL, format_args!("{exempt} exempt")));
    add(uncovered, paint(DOUBTFUL, format_args!("{uncovered} not covered by a policy")));
    add(report.violations(), count(report.violations(), "violation"));
    add(report.others, format!("{} without Pods", count(report.others, "object")));
    let unchecked = report.notices.iter().filter(|notice| notice.is_unchecked).count();
    let objects = count(unchecked, "object");
    add(unchecked, paint(DOUBTFUL, format_args!("{objects} whose Pods are not checked")));
    add(report.skipped, format!("{} skipped as no manifest", count(report.skipped, "file")));
    add(
        report.failures.len(),
        paint(BAD, format_args!("{} not checked", count(report.failures.len(), "input"))),
    );
    let pods = count(report.pods.len(), "Pod");
    format!("{pods}: {}", parts.join(", "))
}
