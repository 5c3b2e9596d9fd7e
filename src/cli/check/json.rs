//! The result as data.

use serde::Serialize;

use super::{Checked, Report, Verdict};
use crate::cli::workload_pods::{Finding, Notice};

pub(super) fn write(report: &Report) -> String {
    let result = Document {
        pods: report.pods.iter().map(Pod::of).collect(),
        notes: report.notices,
        errors: &report.failures,
        summary: Summary {
            pods: report.pods.len(),
            admitted: report.count(Verdict::Admitted),
            denied: report.count(Verdict::Denied),
            tolerated: report.count(Verdict::Tolerated),
            no_policy: report.count(Verdict::NoPolicy),
            violations: report.violations(),
            objects_without_pods: report.others,
            unchecked: report.unchecked(),
            skipped_files: report.skipped,
            errors: report.failures.len(),
        },
    };
    let mut text = serde_json::to_string_pretty(&result).expect("writing JSON to memory cannot fail");
    text.push('\n');
    text
}

#[derive(Serialize)]
struct Document<'r> {
    pods: Vec<Pod<'r>>,
    notes: &'r [Notice],
    errors: &'r [String],
    summary: Summary,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pod<'r> {
    file: &'r str,
    line: u64,
    kind: &'r str,
    namespace: &'r str,
    name: &'r str,
    verdict: &'static str,
    policy: Option<&'r str>,
    policy_hash: Option<&'r str>,
    mode: Option<&'static str>,
    filled: &'r [String],
    violation_count: usize,
    violations: &'r [Finding],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    pods: usize,
    admitted: usize,
    denied: usize,
    tolerated: usize,
    no_policy: usize,
    violations: usize,
    objects_without_pods: usize,
    unchecked: usize,
    skipped_files: usize,
    errors: usize,
}

impl<'r> Pod<'r> {
    fn of(pod: &'r Checked) -> Self {
        let result = pod.result.as_ref();
        Self {
            file: pod.pod.file(),
            line: pod.pod.line(),
            kind: &pod.pod.kind,
            namespace: &pod.pod.namespace,
            name: &pod.pod.name,
            verdict: word(pod.verdict()),
            policy: result.map(|result| result.policy),
            policy_hash: result.map(|result| result.policy_hash),
            mode: result.map(|result| result.mode.as_str()),
            filled: result.map_or(&[], |result| &result.filled),
            violation_count: pod.violation_count(),
            violations: pod.violations(),
        }
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Admitted => "admitted",
        Verdict::Denied => "denied",
        Verdict::Tolerated => "tolerated",
        Verdict::NoPolicy => "no-policy",
    }
}
