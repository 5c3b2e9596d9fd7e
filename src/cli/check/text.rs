//! The result for people: one block for each object, one line for each violation, the counts at the end.

use std::fmt::Write;

use super::{CheckResult, Checked, Report, Verdict};
use crate::cli::{
    terminal::{BAD, DOUBTFUL, FAINT, GOOD, PLACE, count, fit, paint},
    workload_pods::Finding,
};
use sandgate_engine::policy::Mode;

pub(super) fn write(report: &Report) -> String {
    let mut out = String::new();
    for pod in &report.pods {
        write_pod(pod, report, &mut out);
    }
    let summary = summary(report);
    match (report.pods.is_empty(), report.others + report.unchecked() + report.skipped) {
        // Standard error has the reason.
        (true, 0) => out,
        (true, _) => summary + "\n",
        (false, _) => format!("{out}\n{summary}\n"),
    }
}

fn write_pod(pod: &Checked, report: &Report, out: &mut String) {
    let place = paint(PLACE, format_args!("{}:{}", pod.pod.file(), pod.pod.line()));
    let _ = writeln!(out, "{place}: {} {}", pod.pod.title(), outcome(pod, report));
    let mut violations: Vec<&Finding> = pod.violations().iter().collect();
    violations.sort_by_key(|violation| violation.line);
    for violation in violations {
        write_violation(pod, violation, out);
    }
    let omitted = pod.violation_count() - pod.violations().len();
    if omitted > 0 {
        let _ = writeln!(out, "  and {omitted} more, too many to list");
    }
}

fn outcome(pod: &Checked, report: &Report) -> String {
    let violations = || count(pod.violation_count(), "violation");
    match (pod.verdict(), &pod.result) {
        (Verdict::Denied, _) => format!("{}: {}", paint(BAD, "would be denied"), violations()),
        (Verdict::Tolerated, Some(result)) => {
            let words = format!("would be denied in mode enforce (mode is {})", result.mode.as_str());
            format!("{}: {}", paint(DOUBTFUL, words), violations())
        }
        (Verdict::Admitted, Some(result)) if result.filled.is_empty() => {
            format!("{}, unchanged", paint(GOOD, "would be admitted"))
        }
        (Verdict::Admitted, Some(CheckResult { mode: Mode::Audit, .. })) => {
            format!("{}, unchanged (mode audit fills nothing in)", paint(GOOD, "would be admitted"))
        }
        (Verdict::Admitted, Some(result)) => {
            let fields = count(result.filled.len(), "field");
            format!("{}, {fields} filled in", paint(GOOD, "would be admitted"))
        }
        (_, None) | (Verdict::NoPolicy, _) => format!(
            "{}: no policy covers the namespace (covered: {})",
            paint(DOUBTFUL, "is not checked"),
            report.covered_namespaces()
        ),
    }
}

fn write_violation(pod: &Checked, violation: &Finding, out: &mut String) {
    let place = format!("{}:{}", pod.pod.file(), violation.line);
    let rule = format!("({})", violation.rule);
    let text = fit(format!("{} {rule}", violation.sentence()), place.chars().count() + 4, 6);
    let sentence = text.strip_suffix(&rule).unwrap_or(&text);
    let _ = writeln!(out, "  {}: {sentence}{}", paint(PLACE, place), paint(FAINT, rule));
}

/// Returns the last line: the number of Pods and what became of them.
pub(super) fn summary(report: &Report) -> String {
    let mut parts = Vec::new();
    let mut add = |number, text: String| {
        if number > 0 {
            parts.push(text);
        }
    };
    let (admitted, denied) = (report.count(Verdict::Admitted), report.count(Verdict::Denied));
    let (tolerated, uncovered) = (report.count(Verdict::Tolerated), report.count(Verdict::NoPolicy));
    add(admitted, paint(GOOD, format_args!("{admitted} admitted")));
    add(denied, paint(BAD, format_args!("{denied} denied")));
    add(tolerated, paint(DOUBTFUL, format_args!("{tolerated} admitted in spite of violations")));
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
