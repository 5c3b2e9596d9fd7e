//! `sandgate check`: what the webhook would answer for the Pods of files.

mod github;
mod json;
mod junit;
mod sarif;
mod summary;
mod text;

use clap::{Args, ValueEnum};

use super::{
    CliError, Status,
    evaluation::{Evaluation, Evaluator},
    fix, print,
    terminal::{error, note},
    workload_pods::{Finding, Notice, Problem, WorkloadArgs, WorkloadPod},
};
use sandgate_engine::{
    json::is_changed,
    pod::changed_paths,
    policy::{Policy, PolicySet},
    review::{Clamped, Outcome},
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
                        checked.\nWhere the policy only warns or records, the webhook admits Pods that violate it; the exit \
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

    /// First change the files: remove what "sandgate fix --write" removes, and write into templates what sandgate fills;
    /// then check them. An object is filled as a whole, and only where new lines are enough, so that comments stay
    #[arg(long)]
    fix: bool,

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
    if args.fix {
        let evaluator = args.workloads.evaluator(&policies, collected.namespaces.clone());
        let problems = fix::write_fixes(&collected, &evaluator)?;
        collected = args.workloads.collect(&policies)?;
        let evaluator = args.workloads.evaluator(&policies, collected.namespaces.clone());
        fix::write_fills(&collected, &evaluator)?;
        collected = args.workloads.collect(&policies)?;
        collected.unread.extend(problems);
    }
    let evaluator = args.workloads.evaluator(&policies, std::mem::take(&mut collected.namespaces));
    let mut pods = Vec::with_capacity(collected.pods.len());
    for pod in &collected.pods {
        match Checked::of(pod, &evaluator) {
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
        self.notices.iter().filter(|notice| notice.is_unchecked).count() + self.count(Outcome::NoPolicy)
    }

    /// Returns the number of violations that count: a request that is exempt has none.
    fn violations(&self) -> usize {
        let counted = self.pods.iter().filter(|pod| pod.outcome() != Outcome::Exempt);
        counted.map(Checked::violation_count).sum()
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.pods.iter().filter(|pod| pod.outcome() == outcome).count()
    }

    /// Returns the namespaces that have a policy.
    fn covered_namespaces(&self) -> String {
        let scope = |policy: &Policy| match &policy.header.namespace_selector {
            Some(_) => {
                vec![format!("those that policy {} selects by label; add their manifests", policy.name)]
            }
            None => policy.header.namespaces.iter().map(|name| name.as_str().to_owned()).collect(),
        };
        self.policies.policies().iter().flat_map(scope).collect::<Vec<_>>().join(", ")
    }
}

/// One Pod and what was found.
struct Checked<'r> {
    pod: &'r WorkloadPod,
    /// `None` if no policy covers the namespace.
    result: Option<CheckResult<'r>>,
}

struct CheckResult<'r> {
    policy: &'r Policy,
    outcome: Outcome,
    /// The profile that was chosen, if one matches.
    profile: Option<&'r str>,
    /// The exceptions that hold for containers.
    exceptions: Vec<&'r str>,
    /// The paths of the fields that were filled.
    filled: Vec<String>,
    /// The paths of the fields that are not filled, and would be if every rule were enforced.
    unfilled: Vec<String>,
    /// The numbers that were lowered: the path, the number that it was, the number that it is.
    lowered: Vec<(String, i64, i64)>,
    violations: Vec<Finding>,
    /// The number of further violations, too many to keep.
    omitted: usize,
    /// The policy that is evaluated beside it and only recorded, with what violates that.
    candidate: Option<(&'r str, Vec<Finding>)>,
    /// The users for whom the Pod would be admitted.
    admitted_for: Vec<String>,
}

impl<'r> Checked<'r> {
    fn of(pod: &'r WorkloadPod, evaluator: &Evaluator<'r>) -> Result<Self, Problem> {
        let result = evaluator.evaluate(pod)?.map(|evaluation| CheckResult::of(pod, evaluation));
        Ok(Self { pod, result })
    }

    fn outcome(&self) -> Outcome {
        self.result.as_ref().map_or(Outcome::NoPolicy, |result| result.outcome)
    }

    fn violations(&self) -> &[Finding] {
        self.result.as_ref().map_or(&[], |result| &result.violations)
    }

    fn violation_count(&self) -> usize {
        self.result.as_ref().map_or(0, |result| result.violations.len() + result.omitted)
    }
}

impl<'r> CheckResult<'r> {
    fn of(pod: &WorkloadPod, evaluation: Evaluation<'r>) -> Self {
        let Evaluation { policy, outcome, pod: stored, findings, candidate, admitted_for } = evaluation;
        let paths = |pod: &WorkloadPod, value| {
            changed_paths(value).iter().map(|path| pod.path(path)).collect::<Vec<_>>()
        };
        let filled = paths(pod, &stored);
        let simulated =
            findings.simulated.as_ref().filter(|_| outcome != Outcome::Exempt && !is_changed(&stored));
        let violations = pod.findings(&findings.violations);
        let lowered = findings.clamped.iter().filter(|_| is_changed(&stored));
        Self {
            policy,
            outcome,
            profile: findings.profile.map(|profile| profile.name.as_str()).filter(|name| !name.is_empty()),
            exceptions: findings.exceptions,
            filled,
            unfilled: simulated.map(|value| paths(pod, value)).unwrap_or_default(),
            lowered: lowered.map(|Clamped { path, from, to }| (pod.path(path), *from, *to)).collect(),
            omitted: findings.violations.len() - violations.len(),
            violations,
            candidate: candidate.map(|(policy, found)| (policy.name.as_str(), pod.findings(&found))),
            admitted_for,
        }
    }
}
