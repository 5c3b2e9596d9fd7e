//! `sandgate check`: what the webhook would answer for the Pods of files.

mod github;
mod json;
mod junit;
mod sarif;
mod summary;
mod text;

use clap::{Args, ValueEnum};

use super::{
    CliError, Status, print,
    terminal::{error, note},
    workload_pods::{Evaluation, Finding, Notice, Problem, WorkloadArgs, WorkloadPod},
};
use sandgate_engine::{
    pod::changed_paths,
    policy::{Mode, PolicySet},
};

/// Check Pods, and objects that make Pods, as the webhook would
///
/// Fills each Pod as the webhook would, then checks it. Checks Pods and the Pod templates of workloads: Deployment, Job,
/// CronJob, StatefulSet, DaemonSet, Knative Services, Sandboxes, JobSets, Ray, Kubeflow and Volcano jobs, Argo Workflows,
/// Tekton tasks and Spark applications as far as files show their Pods, Lists of them, and other kinds by --path. A Pod
/// from a template is checked as its controller would create it. What may make Pods and was not checked is named.
#[expect(clippy::doc_markdown, reason = "the help shows it as it stands here")]
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 every Pod would be admitted, 1 violations found, 2 something could not be \
                        checked.\nIn the modes warn and audit the webhook admits Pods that violate the policy; the exit \
                        status is 1 all the same."
)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    workloads: WorkloadArgs,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output: Format,

    /// Fail with 2 if something that may make Pods was not checked [default: true for junit and sarif]
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    strict: Option<bool>,

    /// Print the number of violations of each rule instead of each Pod (text only)
    #[arg(long)]
    summary: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
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
    /// Workflow commands of GitHub Actions, one annotation for each violation
    Github,
}

pub(super) fn run(args: &CheckArgs) -> Result<Status, CliError> {
    if args.summary && args.output != Format::Text {
        return Err(CliError::new("--summary is for the output text; leave --output out"));
    }
    let policies = args.workloads.policies()?;
    let mut collected = args.workloads.collect(&policies)?;
    let mut pods = Vec::with_capacity(collected.pods.len());
    for pod in &collected.pods {
        match Checked::of(pod, &policies) {
            Ok(checked) => pods.push(checked),
            Err(problem) => collected.problems.push(problem),
        }
    }
    let report = Report {
        others: collected.others,
        skipped: collected.skipped,
        failures: collected.failures(),
        notices: &collected.notices,
        is_strict: args.strict.unwrap_or(matches!(args.output, Format::Junit | Format::Sarif)),
        policies: &policies,
        pods,
    };
    print(&match args.output {
        Format::Text if args.summary => summary::write(&report),
        Format::Text => text::write(&report),
        Format::Json => json::write(&report),
        Format::Junit => junit::write(&report)?,
        Format::Sarif => sarif::write(&report),
        Format::Github => github::write(&report),
    })?;
    report.finish()
}

/// The result of a check.
struct Report<'r> {
    pods: Vec<Checked<'r>>,
    /// The number of objects that make no Pods.
    others: usize,
    /// The number of files in folders that are no manifests.
    skipped: usize,
    /// What could not be checked, and why.
    failures: Vec<String>,
    /// What must be known about the objects.
    notices: &'r [Notice],
    /// Whether anything that was not checked is a failure.
    is_strict: bool,
    policies: &'r PolicySet,
}

impl Report<'_> {
    fn finish(&self) -> Result<Status, CliError> {
        for notice in self.notices {
            let print = if self.is_failure(notice) { error } else { note };
            print(&notice.place.to_string());
        }
        if !self.failures.is_empty() {
            return Err(CliError(self.failures.clone()));
        }
        if self.is_strict && self.unchecked() > 0 {
            return Ok(Status::Failed);
        }
        Ok(if self.violations() > 0 { Status::Violations } else { Status::Fine })
    }

    fn is_failure(&self, notice: &Notice) -> bool {
        self.is_strict && notice.is_unchecked
    }

    /// Returns the number of things that may make Pods, or are Pods, and were not checked.
    fn unchecked(&self) -> usize {
        self.notices.iter().filter(|notice| notice.is_unchecked).count() + self.count(Verdict::NoPolicy)
    }

    fn violations(&self) -> usize {
        self.pods.iter().map(Checked::violation_count).sum()
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.pods.iter().filter(|pod| pod.verdict() == verdict).count()
    }

    /// Returns the namespaces that have a policy.
    fn covered_namespaces(&self) -> String {
        let policies = self.policies.policies().iter();
        let names: Vec<&str> =
            policies.flat_map(|policy| &policy.header.namespaces).map(|name| name.as_str()).collect();
        names.join(", ")
    }
}

/// One Pod and what was found.
struct Checked<'r> {
    pod: &'r WorkloadPod,
    /// `None` if no policy covers the namespace.
    result: Option<CheckResult<'r>>,
}

struct CheckResult<'r> {
    policy: &'r str,
    policy_hash: &'r str,
    mode: Mode,
    /// The paths of the fields that were filled.
    filled: Vec<String>,
    violations: Vec<Finding>,
    /// The number of further violations, too many to keep.
    omitted: usize,
}

/// The webhook's decision about a Pod.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Admitted,
    Denied,
    /// Admitted in spite of violations: mode warn or audit.
    Tolerated,
    NoPolicy,
}

impl<'r> Checked<'r> {
    fn of(pod: &'r WorkloadPod, policies: &'r PolicySet) -> Result<Self, Problem> {
        let result = pod.evaluate(policies)?.map(|evaluation| CheckResult::of(pod, &evaluation));
        Ok(Self { pod, result })
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
    fn of(pod: &WorkloadPod, evaluation: &Evaluation<'r>) -> Self {
        let Evaluation { policy, pod: filled, violations } = evaluation;
        let findings = pod.findings(violations);
        Self {
            policy: &policy.name,
            policy_hash: &policy.hash,
            mode: policy.mode(),
            filled: changed_paths(filled).iter().map(|path| pod.path(&path.to_string())).collect(),
            omitted: violations.len() - findings.len(),
            violations: findings,
        }
    }
}
