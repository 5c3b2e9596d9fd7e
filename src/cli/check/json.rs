//! The result as data.

use serde::Serialize;

use super::{Checked, Report};
use crate::cli::workload_pods::{Finding, Notice};
use sandgate_engine::review::Outcome;

pub(super) fn write(report: &Report) -> String {
    let result = Document {
        pods: report.pods.iter().map(Pod::of).collect(),
        notes: report.notices,
        errors: &report.failures,
        summary: Summary {
            pods: report.pods.len(),
            admitted: report.count(Outcome::Admitted),
            denied: report.count(Outcome::Denied),
            warned: report.count(Outcome::Warned),
            would_deny: report.count(Outcome::WouldDeny),
            exempt: report.count(Outcome::Exempt),
            no_policy: report.count(Outcome::NoPolicy),
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
    profile: Option<&'r str>,
    exceptions: &'r [&'r str],
    filled: &'r [String],
    would_be_filled: &'r [String],
    lowered: Vec<Lowered<'r>>,
    violation_count: usize,
    violations: &'r [Finding],
    admitted_for: &'r [String],
    candidate: Option<Candidate<'r>>,
}

#[derive(Serialize)]
struct Lowered<'r> {
    path: &'r str,
    from: i64,
    to: i64,
}

#[derive(Serialize)]
struct Candidate<'r> {
    policy: &'r str,
    violations: &'r [Finding],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    pods: usize,
    admitted: usize,
    denied: usize,
    warned: usize,
    would_deny: usize,
    exempt: usize,
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
            verdict: pod.outcome().as_str(),
            policy: result.map(|result| result.policy.name.as_str()),
            policy_hash: result.map(|result| result.policy.hash.as_str()),
            mode: result.map(|result| result.policy.mode().as_str()),
            profile: result.and_then(|result| result.profile),
            exceptions: result.map_or(&[], |result| &result.exceptions),
            filled: result.map_or(&[], |result| &result.filled),
            would_be_filled: result.map_or(&[], |result| &result.unfilled),
            lowered: result.map_or_else(Vec::new, |result| {
                let lowered = result.lowered.iter();
                lowered.map(|(path, from, to)| Lowered { path, from: *from, to: *to }).collect()
            }),
            violation_count: pod.violation_count(),
            violations: pod.violations(),
            admitted_for: result.map_or(&[], |result| &result.admitted_for),
            candidate: result.and_then(|result| {
                let (policy, violations) = result.candidate.as_ref()?;
                Some(Candidate { policy, violations })
            }),
        }
    }
}
