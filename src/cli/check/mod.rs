//! `sandgate check`: what would the webhook say to the Pods of these files?

mod json;
mod junit;
mod sarif;
mod text;

use clap::{Args, ValueEnum};

use super::{
    Failure, Status,
    manifest::Problem,
    print,
    subject::{Finding, Judgement, Subject, SubjectArgs},
};
use sandgate_engine::{
    pod::changed_paths,
    policy::{Mode, PolicySet},
};

/// Check Pods, and whatever makes Pods, as the webhook would
///
/// Fills each Pod as the webhook would, then checks it. Looks into Pods and into whatever has a Pod template: a
/// Deployment, Job, CronJob, StatefulSet, DaemonSet, ReplicaSet, ReplicationController, PodTemplate, a List
/// of them, and other kinds by --path. A Pod from a template is judged as its controller would create it.
#[expect(clippy::doc_markdown, reason = "the help shows it as it stands here")]
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 every Pod would be admitted, 1 violations found, 2 something could not be \
                        checked.\nIn the modes warn and audit the webhook admits what violates the policy; check says \
                        1 all the same."
)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    subjects: SubjectArgs,

    /// How to print the result
    #[arg(short, long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// Every verdict with its data
    Json,
    #[expect(clippy::doc_markdown, reason = "the help shows it as it stands here")]
    /// JUnit XML, one test case for each Pod
    Junit,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

pub(super) fn run(args: &CheckArgs) -> Result<Status, Failure> {
    let policies = args.subjects.policies()?;
    let mut found = args.subjects.find(&policies);
    let mut pods = Vec::with_capacity(found.subjects.len());
    for subject in &found.subjects {
        match Checked::of(subject, &policies) {
            Ok(checked) => pods.push(checked),
            Err(problem) => found.problems.push(problem),
        }
    }
    let report = Report { pods, others: found.others, failures: found.failures(), policies: &policies };
    print(&match args.output {
        Format::Text => text::write(&report),
        Format::Json => json::write(&report),
        Format::Junit => junit::write(&report),
        Format::Sarif => sarif::write(&report),
    })?;
    report.finish()
}

/// The result of a check.
struct Report<'r> {
    pods: Vec<Checked<'r>>,
    /// How many objects make no Pods.
    others: usize,
    /// What could not be checked, and why.
    failures: Vec<String>,
    policies: &'r PolicySet,
}

impl Report<'_> {
    fn finish(&self) -> Result<Status, Failure> {
        if !self.failures.is_empty() {
            return Err(Failure(self.failures.clone()));
        }
        Ok(if self.violations() > 0 { Status::Violations } else { Status::Fine })
    }

    fn violations(&self) -> usize {
        self.pods.iter().map(Checked::violation_count).sum()
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.pods.iter().filter(|pod| pod.verdict() == verdict).count()
    }

    /// The namespaces that have a policy.
    fn covered_namespaces(&self) -> String {
        let policies = self.policies.policies().iter();
        let names: Vec<&str> =
            policies.flat_map(|policy| &policy.spec.namespaces).map(String::as_str).collect();
        names.join(", ")
    }
}

/// One Pod and what was found.
struct Checked<'r> {
    subject: &'r Subject,
    /// `None` where no policy covers the namespace.
    result: Option<CheckResult<'r>>,
}

struct CheckResult<'r> {
    policy: &'r str,
    policy_hash: &'r str,
    mode: Mode,
    /// The paths of what was filled.
    filled: Vec<String>,
    violations: Vec<Finding>,
    /// How many more there are, too many to keep.
    omitted: usize,
}

/// What the webhook would do with a Pod.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Admitted,
    Denied,
    /// Admitted in spite of violations: mode warn or audit.
    Tolerated,
    NoPolicy,
}

impl<'r> Checked<'r> {
    fn of(subject: &'r Subject, policies: &'r PolicySet) -> Result<Self, Problem> {
        let result = subject.judge(policies)?.map(|judgement| CheckResult::of(subject, &judgement));
        Ok(Self { subject, result })
    }

    fn verdict(&self) -> Verdict {
        match &self.result {
            None => Verdict::NoPolicy,
            Some(result) if result.violations.is_empty() => Verdict::Admitted,
            Some(CheckResult { mode: Mode::Enforce, .. }) => Verdict::Denied,
            Some(_) => Verdict::Tolerated,
        }
    }

    fn violations(&self) -> &[Finding] {
        self.result.as_ref().map_or(&[], |result| &result.violations)
    }

    fn violation_count(&self) -> usize {
        self.result.as_ref().map_or(0, |result| result.violations.len() + result.omitted)
    }
}

impl<'r> CheckResult<'r> {
    fn of(subject: &Subject, judgement: &Judgement<'r>) -> Self {
        let Judgement { policy, pod, violations } = judgement;
        let findings = subject.findings(violations);
        Self {
            policy: &policy.name,
            policy_hash: &policy.hash,
            mode: policy.spec.mode,
            filled: changed_paths(pod).iter().map(|path| subject.path(&path.to_string())).collect(),
            omitted: violations.len() - findings.len(),
            violations: findings,
        }
    }
}
