//! `sandgate scan`: which running Pods violate their policy.

pub(super) mod cluster;
mod html;
mod json;
mod junit;
mod reports;
mod sarif;
mod tally;
mod templates;
mod text;

use std::{borrow::Cow, io::IsTerminal, time::Duration};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

use super::{
    CliError, PolicyArgs, Status, print,
    terminal::{count, note},
    wait_for,
};
pub(super) use cluster::{Cluster, ClusterChoice};
use cluster::{Cursor, Labels, Page, Scope};
use reports::{ReportChoice, ReportKind, Reports};
use sandgate_engine::{
    json::pod_from_str,
    policy::{Policy, PolicySet},
    scan::{classify, owner},
};
use tally::Tally;

/// Find running Pods that violate their policy
///
/// Lists the Pods of a cluster and checks each as the webhook checks a final object. Changes no Pod. What the scheduler
/// and the API server add to Pods is no finding. Pods that have ended and static Pods are counted, not checked. With
/// --templates, what the next Pods of workloads would be denied for is listed too.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 no Pod violates its policy, 1 violations found, 2 could not run.")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct ScanArgs {
    /// Namespaces to scan [default: the namespace of the context]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Vec<String>,
    /// Scan every namespace
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Use the policies that sandgate's chart installed in the cluster
    #[arg(long, conflicts_with = "policy")]
    from_cluster: bool,
    /// Namespace of sandgate itself: --from-cluster reads its ConfigMaps, and a policy for "*" leaves it out
    #[arg(long, value_name = "NAMESPACE", default_value = "sandgate-system")]
    sandgate_namespace: String,
    /// Check the templates of workloads too: Deployments, CronJobs and every other kind that the cluster serves and sandgate
    /// knows
    #[arg(long)]
    templates: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output: Format,
    /// Write the result into the namespaces, as a report for each policy
    #[arg(long, value_enum, value_name = "KIND")]
    write_reports: Option<ReportChoice>,
    /// Exit with 0 although Pods violate their policy
    #[arg(long)]
    exit_zero: bool,
    #[command(flatten)]
    cluster: ClusterChoice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// Counts and violations as data
    Json,
    #[expect(clippy::doc_markdown, reason = "the help shows it as it stands here")]
    /// JUnit XML, one test case for each owner of Pods
    Junit,
    /// SARIF 2.1.0; the place of a result is a URI that names the object
    Sarif,
    /// A page in one file, which loads nothing from anywhere
    Html,
}

/// The head of a Pod, which is read beside its tree.
#[derive(Deserialize)]
struct PodHead<'p> {
    #[serde(borrow)]
    metadata: PodMetadata<'p>,
    #[serde(borrow, default)]
    status: PodStatus<'p>,
}

#[derive(Deserialize)]
struct PodMetadata<'p> {
    #[serde(borrow)]
    name: Cow<'p, str>,
    #[serde(borrow)]
    namespace: Cow<'p, str>,
    #[serde(borrow, default)]
    uid: Option<Cow<'p, str>>,
}

/// The results of a scan.
#[derive(Default)]
struct Results {
    tally: Tally,
    /// The reports, if some are to be written.
    reports: Option<Reports>,
}

#[derive(Default, Deserialize)]
struct PodStatus<'p> {
    #[serde(borrow, default)]
    phase: Option<Cow<'p, str>>,
}

pub(super) fn run(args: &ScanArgs) -> Result<Status, CliError> {
    let tally = wait_for(scan(args))?;
    print(&match args.output {
        Format::Text => text::write(&tally),
        Format::Json => json::write(&tally),
        Format::Junit => junit::write(&tally)?,
        Format::Sarif => sarif::write(&tally),
        Format::Html => html::write(&tally)?,
    })?;
    let findings = tally.findings() + tally.template_findings();
    Ok(if findings > 0 && !args.exit_zero { Status::Violations } else { Status::Fine })
}

/// Returns the text for a namespace in which the chart installed no policies.
pub(super) fn without_policies(namespace: &str) -> String {
    format!("namespace {namespace} has no ConfigMap with policies of sandgate's chart")
}

async fn scan(args: &ScanArgs) -> Result<Tally, CliError> {
    let cluster = args.cluster.connect().await?;
    let policies = if args.from_cluster {
        let namespace = &args.sandgate_namespace;
        let sources = cluster.policies(namespace).await?;
        if sources.is_empty() {
            return Err(CliError::new(format_args!(
                "{}: set --sandgate-namespace to the namespace of the release, or give the policies by --policy",
                without_policies(namespace)
            )));
        }
        PolicySet::from_sources(&sources)?
    } else {
        args.policy.load()?
    };
    let policies = policies.with_release_namespace(&args.sandgate_namespace);
    let scopes = cluster.scopes(&args.namespace, args.all_namespaces);
    let report_kind = match args.write_reports {
        Some(choice) => Some(ReportKind::find(&cluster, choice).await?),
        None => None,
    };
    let progress = progress();
    let mut results = Results { tally: Tally::default(), reports: report_kind.map(|_| Reports::default()) };
    for scope in scopes.iter().copied() {
        let labels = labels(&cluster, &policies, scope).await?;
        // Nothing is found where nothing is demanded, and that must not look like a clean namespace.
        if let Some(name) = scope.0
            && policy_of(&policies, &labels, name).is_none()
        {
            return Err(CliError::new(format_args!(
                "no policy covers namespace {name}: name it in spec.namespaces of a policy, give the policies by --policy \
                 or --from-cluster, or scan another namespace by -n"
            )));
        }
        scan_pods(&cluster, scope, &policies, &labels, &mut results, &progress).await?;
        if args.templates {
            templates::add(&cluster, scope, &policies, &labels, &mut results.tally).await?;
        }
    }
    progress.finish_and_clear();
    let Results { tally, reports } = results;
    let is_any_without = tally.no_policy + tally.templates_no_policy > 0;
    if is_any_without && tally.classes.is_empty() && tally.templates_looked_at() == 0 {
        return Err(CliError::new(
            "no Pod is in a namespace that a policy covers: give the policies by --policy or --from-cluster",
        ));
    }
    if let (Some(kind), Some(reports)) = (report_kind, reports) {
        let written = reports.write(&cluster, kind, &scopes).await?;
        note(&format!("{} written", count(written, "report")));
    }
    Ok(tally)
}

async fn scan_pods(
    cluster: &Cluster,
    scope: Scope<'_>,
    policies: &PolicySet,
    labels: &Labels,
    results: &mut Results,
    progress: &ProgressBar,
) -> Result<(), CliError> {
    let mut next = Some(Cursor::default());
    while let Some(cursor) = next {
        let Page { pods, left, next: following } = cluster.pods(scope, cursor).await?;
        for pod in &pods {
            add(pod.get(), policies, labels, results)?;
            progress.inc(1);
        }
        progress.set_length(progress.position() + left);
        next = following;
    }
    Ok(())
}

/// Classifies one Pod, and adds it to `results`.
fn add(text: &str, policies: &PolicySet, labels: &Labels, results: &mut Results) -> Result<(), CliError> {
    let unreadable = |pod: &str, error: serde_json::Error| {
        CliError::new(format_args!(
            "{pod} cannot be read: {error}; report it with the version of the API server"
        ))
    };
    let head: PodHead = serde_json::from_str(text).map_err(|error| unreadable("a Pod", error))?;
    let PodMetadata { name, namespace, uid } = &head.metadata;
    let Some(policy) = policy_of(policies, labels, namespace) else {
        results.tally.add_without_policy(namespace);
        return Ok(());
    };
    let pod = pod_from_str(text).map_err(|error| unreadable(&format!("Pod {namespace}/{name}"), error))?;
    let scanned = classify(policy, &pod, head.status.phase.as_deref());
    let owner = owner(&pod);
    if let Some(reports) = &mut results.reports {
        reports.add(policy, (namespace, name, uid.as_deref()), &owner, &scanned);
    }
    results.tally.add(policy, namespace, name, &owner, &scanned);
    Ok(())
}

fn policy_of<'p>(policies: &'p PolicySet, labels: &Labels, namespace: &str) -> Option<&'p Policy> {
    policies.for_labelled_namespace(namespace, |key| labels.of(namespace, key))
}

/// Reads the labels of namespaces if a policy selects by them; else the right to read them is not needed.
async fn labels(cluster: &Cluster, policies: &PolicySet, scope: Scope<'_>) -> Result<Labels, CliError> {
    let selects = policies.policies().iter().any(|policy| policy.header.namespace_selector.is_some());
    if !selects {
        return Ok(Labels::default());
    }
    cluster.labels(scope).await
}

/// Returns a bar on standard error, which is hidden if that is no terminal.
fn progress() -> ProgressBar {
    const BAR: &str = "scanned {pos} of {len} Pods {wide_bar} {elapsed}";
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
