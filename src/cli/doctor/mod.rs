//! `sandgate doctor`: whether a cluster has all that the sandbox depends on.
//!
//! [`facts`] reads the cluster once; the checks are functions of what was read, in the files of their subjects. A check whose
//! facts cannot be read is unknown, and names the right that is missing.

mod apiserver;
mod facts;
mod finding;
mod json;
mod namespaces;
mod nodes;
mod pod_settings;
mod reader;
mod release;
mod rights;
mod text;
mod throwaway;
mod webhooks;

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{
    CliError, PolicyArgs, Status, cluster_args::ReleaseArgs, input, print, scan::ClusterChoice, wait_for,
    waiting::WaitArgs,
};
use facts::{ClusterCheck, Facts, Questions};
use finding::{Answer, Check, Finding, Section, Severity};
use namespaces::Guarded;
use reader::Reader;

/// Check a cluster for all that the sandbox depends on
///
/// Reads nodes, namespaces, webhooks, rights and sandgate's own Pods, and asks for dry runs of two Pods. Changes nothing
/// without --probe. A check that a missing right prevents is unknown, and names the right.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 no check of --fail-on or above failed, 1 one did, 2 could not run.")]
pub(super) struct DoctorArgs {
    /// Namespaces of Pods [default: those that the policies cover, the first twenty]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Vec<String>,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Leave out the checks that need an installation
    #[arg(long, conflicts_with = "probe")]
    preflight: bool,
    /// Run a throwaway Pod in each namespace, which proves gVisor from inside and must not reach the API server
    #[arg(long)]
    probe: bool,
    /// Image of the Pods that are tried; with --probe it must have sh and nc
    #[arg(long, value_name = "IMAGE", default_value = "busybox")]
    image: String,
    #[command(flatten)]
    wait: WaitArgs,
    /// The lowest severity of a failure that makes the exit status 1
    #[arg(long, value_enum, value_name = "SEVERITY", default_value_t = Severity::High)]
    fail_on: Severity,
    /// Checks whose failure is accepted, by name
    #[arg(long, value_name = "CHECK")]
    accept: Vec<String>,
    #[expect(clippy::doc_markdown, reason = "the help shows it as it stands here")]
    /// OpenAPI document of the Kubernetes to upgrade to (api__v1_openapi.json), to compare its Pods with those that sandgate knows
    #[arg(long, value_name = "PATH")]
    openapi: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    release: ReleaseArgs,
    #[command(flatten)]
    cluster: ClusterChoice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// Each check as data
    Json,
}

pub(super) fn run(args: &DoctorArgs) -> Result<Status, CliError> {
    let mut findings = wait_for(examine(args))?;
    let unknown = args.accept.iter().find(|id| !findings.iter().any(|finding| finding.id == *id));
    if let Some(id) = unknown {
        return Err(CliError::new(format_args!(
            "--accept {id}: there is no such check; take a name of the report"
        )));
    }
    // Those of one box stand together, in the order of the namespaces.
    findings.sort_by_key(|finding| (finding.section, box_of(finding)));
    print(&match args.output {
        Format::Text => text::write(&findings),
        Format::Json => json::write(&findings),
    })?;
    let has_failed = findings.iter().any(|finding| finding.counts(args.fail_on));
    Ok(if has_failed { Status::Violations } else { Status::Fine })
}

/// Checks, and again as long as `--wait` lets it. The throwaway Pods come last.
async fn examine(args: &DoctorArgs) -> Result<Vec<Finding>, CliError> {
    let failures =
        |seen: &Examined| seen.findings.iter().filter(|finding| finding.counts(args.fail_on)).count();
    let seen = args.wait.until_nothing_fails(async || examine_once(args).await, failures).await?;
    let Examined { mut findings, reader, namespaces } = seen;
    if args.probe {
        for namespace in &namespaces {
            findings.extend(throwaway::probe(&reader, namespace, &args.image).await);
        }
    }
    accept(&mut findings, args);
    Ok(findings)
}

/// The findings of one look, and what the next step needs.
struct Examined {
    findings: Vec<Finding>,
    reader: Reader,
    namespaces: Vec<String>,
}

async fn examine_once(args: &DoctorArgs) -> Result<Examined, CliError> {
    let cluster = args.cluster.connect().await?;
    let reader = Reader::new(cluster.client().clone());
    let questions = Questions {
        policy: &args.policy,
        namespaces: &args.namespace,
        sandgate_namespace: &args.release.sandgate_namespace,
        configuration: &args.release.webhook_configuration,
        ca_secret: &args.release.ca_secret,
        image: &args.image,
        is_preflight: args.preflight,
        openapi: args.openapi.as_deref().map(read_openapi).transpose()?,
    };
    let facts = Facts::read(&cluster, &reader, &questions).await?;
    let mut findings = check(&facts);
    accept(&mut findings, args);
    let namespaces = facts.namespaces.into_iter().map(|namespace| namespace.name).collect();
    Ok(Examined { findings, reader, namespaces })
}

fn accept(findings: &mut [Finding], args: &DoctorArgs) {
    for finding in findings {
        finding.is_accepted = args.accept.iter().any(|id| id == finding.id);
    }
}

fn read_openapi(path: &Path) -> Result<Value, CliError> {
    let unfit = |problem: String| CliError::new(format_args!("{}: {problem}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| unfit(input::reason(&error)))?;
    serde_json::from_str(&text).map_err(|error| unfit(format!("no JSON: {error}; give an OpenAPI document")))
}

/// Runs every check over what was read.
fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut run = |checks: &[ClusterCheck]| {
        findings.extend(checks.iter().map(|(check, of)| check.finding(of(facts))));
    };
    run(nodes::CHECKS);
    run(apiserver::CHECKS);
    run(rights::CHECKS);
    run(apiserver::METRIC_CHECKS);
    if !facts.is_preflight {
        run(webhooks::CHECKS);
        run(release::CHECKS);
    }
    for namespace in &facts.namespaces {
        findings.extend(check_namespace(facts, namespace));
    }
    findings
}

fn check_namespace(facts: &Facts, namespace: &facts::Namespace) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |check: Check, answer: Answer<'_>| {
        findings.push(check.finding(answer).of_namespace(&namespace.name));
    };
    match facts.policy_of(namespace) {
        Err(unread) => add(namespaces::EXISTS, Err(unread)),
        Ok(policy) => add(namespaces::EXISTS, namespaces::exists(namespace, policy)),
    }
    let Ok(Some(policy)) = facts.policy_of(namespace) else { return findings };
    let guarded = Guarded { facts, namespace, policy };
    let webhooks: &[_] = if facts.is_preflight { &[] } else { webhooks::GUARDED_CHECKS };
    for (check, of) in namespaces::CHECKS.iter().chain(webhooks) {
        add(*check, of(&guarded));
    }
    for (check, title, demand) in pod_settings::CHECKS {
        add(*check, pod_settings::check(&guarded, title, *demand));
    }
    findings
}

/// The place of a check among the ten boxes of the specification.
fn box_of(finding: &Finding) -> usize {
    const BOXES: [&str; 11] = [
        "runtime-class",
        "runtime-handler",
        "node-labels",
        "node-taints",
        "network-policy",
        "service-account",
        "security-context",
        "resource-limits",
        "active-deadline",
        "writable-volumes",
        "secrets",
    ];
    match finding.section {
        Section::Boxes => BOXES.iter().position(|id| *id == finding.id).unwrap_or(BOXES.len()),
        _ => 0,
    }
}
