//! `sandgate policy suggest`: the smallest policy that admits the Pods that are there.

mod subjects;
mod trail;

use std::{fmt::Write, path::PathBuf};

use clap::Args;
use serde::Deserialize;

use crate::cli::{
    CliError, Status,
    audit::pod_creates::{self, PodCreate},
    print,
    scan::cluster::{ClusterChoice, Cursor, Page},
    terminal::{count, note},
    wait_for,
    workload_pods::{Collected, WorkloadArgs},
};
use crate::policy_files::unknown_preset;
use sandgate_engine::{
    policy::{Mode, PRESETS, PolicySet},
    scan::Owner,
    suggest::{Recorded, Start, Subject, Suggestion, Unadmitted, Wanted, suggest, suggest_from_records},
    text::sanitize,
};
use subjects::Subjects;
use trail::Trail;

/// Suggest the smallest policy that admits the Pods that are there
///
/// Reads the Pods of a cluster, of manifests, or of the API server's audit log, or the violations of an audit trail, and prints a policy for each namespace: a
/// preset, if one is meant for the engine that makes the Pods, and for every further opening which Pods ask for it and what
/// it lets through. Whether a Pod is admitted is decided by the engine, under the policy that is printed. Privileged
/// containers, privilege escalation, namespaces and folders of the host and runtime classes without gVisor are never
/// opened: the Pods that need them are listed with what to change. Changes nothing.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 the policies admit every Pod, 1 some Pods cannot be admitted, 2 could not run, or not \
                        every Pod could be read."
)]
pub(in crate::cli) struct SuggestArgs {
    /// Manifests: files of YAML or JSON, folders of them, or "-" for standard input [default: the Pods of the cluster]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Read the Pods that were created from the API server's audit log of level Request or RequestResponse, denied ones
    /// included; may be given several times
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    apiserver: Vec<PathBuf>,

    /// Read the violations that sandgate's own audit trail has; may be given several times. A trail has no Pods, so this
    /// policy is not evaluated
    #[arg(long, value_name = "FILE", conflicts_with_all = ["files", "apiserver"])]
    trail: Vec<PathBuf>,

    /// Namespaces of the Pods [default: the namespace of the context; for files, their own, else "workflows"]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Vec<String>,

    /// The Pods of every namespace but kube-* and sandgate's own; a policy for each namespace
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "files"])]
    all_namespaces: bool,

    /// Only Pods of the cluster with these labels, such as app=web
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with_all = ["files", "apiserver", "trail"])]
    selector: Option<String>,

    /// Files and folders to leave out of the folders, as in .gitignore; may be repeated
    #[arg(long, value_name = "GLOB", requires = "files")]
    exclude: Vec<String>,

    /// Begin from this preset, or from "none" [default: what needs the fewest openings]
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,

    /// Runtime class besides "gvisor" whose handler runs gVisor; may be repeated. No other class is opened
    #[arg(long, value_name = "CLASS")]
    gvisor_class: Vec<String>,

    /// Name of the policy [default: the name of the namespace]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Mode of the policy: audit changes and denies nothing
    #[arg(long, value_name = "MODE", default_value = "audit", value_parser = parse_mode)]
    mode: Mode,

    /// Namespace of sandgate itself, which --all-namespaces leaves out
    #[arg(long, value_name = "NAMESPACE", default_value = "sandgate-system")]
    sandgate_namespace: String,

    #[command(flatten)]
    cluster: ClusterChoice,
}

fn parse_mode(text: &str) -> Result<Mode, String> {
    let mode = Mode::ALL.into_iter().find(|mode| mode.as_str() == text);
    mode.ok_or_else(|| "write audit, warn or enforce".into())
}

/// The head of a Pod of the cluster.
#[derive(Deserialize)]
struct PodHead {
    metadata: PodMetadata,
}

#[derive(Deserialize)]
struct PodMetadata {
    namespace: String,
}

pub(super) fn run(args: &SuggestArgs) -> Result<Status, CliError> {
    if !args.trail.is_empty() {
        return from_trail(args);
    }
    let mut subjects = Subjects::default();
    let mut status = Status::Fine;
    if !args.files.is_empty() {
        status = add_files(args, &mut subjects)?;
    } else if !args.apiserver.is_empty() {
        status = add_creates(args, &mut subjects)?;
    } else {
        wait_for(add_live(args, &mut subjects))?;
    }
    let mut documents = Vec::new();
    for (namespace, pods) in subjects.by_namespace() {
        let suggestion = suggest(&pods, &wanted(args, namespace)?)?;
        if !suggestion.unadmitted.is_empty() {
            status = status.max(Status::Violations);
        }
        documents.push(text(namespace, &pods, &suggestion));
    }
    if documents.is_empty() {
        return Err(CliError::new(
            "no Pod to suggest a policy for: name their namespaces by -n, use -A, or give manifests",
        ));
    }
    print(&documents.join("---\n"))?;
    if subjects.statics > 0 {
        note(&format!(
            "{} left out: nodes run them from files, and no webhook is asked",
            count(subjects.statics, "Pod")
        ));
    }
    if subjects.left_out > 0 {
        note(&format!(
            "{} are not looked at: their namespaces have too many different Pods; choose some by -l",
            count(subjects.left_out, "Pod")
        ));
        status = Status::Failed;
    }
    Ok(status)
}

/// Suggests a policy for the violations of a trail.
fn from_trail(args: &SuggestArgs) -> Result<Status, CliError> {
    let (trail, mut status) = Trail::read(&args.trail, &args.namespace)?;
    let mut documents = Vec::new();
    for (namespace, records) in trail.by_namespace() {
        let suggestion = suggest_from_records(&records, &wanted(args, namespace)?)?;
        if !suggestion.unadmitted.is_empty() {
            status = status.max(Status::Violations);
        }
        documents.push(trail_text(namespace, &records, &suggestion));
    }
    if documents.is_empty() {
        return Err(CliError::new("the trail has no violation of a create: there is nothing to open"));
    }
    print(&documents.join("---\n"))?;
    if trail.left_out > 0 {
        note(&format!(
            "{} not looked at as a whole: they have too many violations, or their namespaces too many owners",
            count(trail.left_out, "record")
        ));
        status = Status::Failed;
    }
    Ok(status)
}

fn wanted(args: &SuggestArgs, namespace: &str) -> Result<Wanted, CliError> {
    Ok(Wanted {
        name: args.name.clone().unwrap_or_else(|| namespace.to_owned()),
        namespaces: vec![namespace.to_owned()],
        mode: args.mode,
        start: start(args.preset.as_deref())?,
        gvisor_classes: args.gvisor_class.clone(),
    })
}

fn start(preset: Option<&str>) -> Result<Start, CliError> {
    let Some(name) = preset else { return Ok(Start::Anywhere) };
    let name = name.strip_prefix("preset/").unwrap_or(name);
    if name == "none" {
        return Ok(Start::Sandbox);
    }
    let known = PRESETS.iter().find(|(known, _)| *known == name);
    known.map(|(name, _)| Start::Preset(name)).ok_or_else(|| CliError::new(unknown_preset(name)))
}

/// Adds the Pods that manifests would make.
fn add_files(args: &SuggestArgs, subjects: &mut Subjects) -> Result<Status, CliError> {
    let ([] | [_]) = args.namespace.as_slice() else {
        return Err(CliError::new("files take one --namespace, for the objects that name none"));
    };
    let namespace = args.namespace.first().map(String::as_str);
    let workloads = WorkloadArgs::of_files(&args.files, namespace, &args.exclude);
    let collected: Collected = workloads.collect(&PolicySet::builtin())?;
    for pod in &collected.pods {
        let owner = Owner { kind: pod.kind.clone(), name: pod.name.clone() };
        subjects.add(&pod.namespace, pod.json(), Some(owner))?;
    }
    collected.notices.iter().for_each(|notice| note(&notice.place.to_string()));
    let failures = collected.failures();
    if failures.is_empty() {
        let is_whole = collected.notices.iter().all(|notice| !notice.is_unchecked);
        return Ok(if is_whole { Status::Fine } else { Status::Failed });
    }
    if collected.pods.is_empty() {
        return Err(CliError(failures));
    }
    Ok(CliError(failures).print())
}

/// Adds the Pods that were created, or denied, according to the API server's audit log.
fn add_creates(args: &SuggestArgs, subjects: &mut Subjects) -> Result<Status, CliError> {
    let reading = pod_creates::each(&args.apiserver, |PodCreate { namespace, pod, .. }| {
        if args.namespace.is_empty() || args.namespace.contains(&namespace) {
            subjects.add(&namespace, pod.get(), None)?;
        }
        Ok(())
    })?;
    Ok(reading.report())
}

/// Adds the Pods of the cluster, page by page.
async fn add_live(args: &SuggestArgs, subjects: &mut Subjects) -> Result<(), CliError> {
    let cluster = args.cluster.connect().await?;
    let scopes = cluster.scopes(&args.namespace, args.all_namespaces);
    let selector = args.selector.as_deref().unwrap_or_default();
    for scope in scopes {
        let mut next = Some(Cursor::default());
        while let Some(cursor) = next {
            let Page { pods, next: following, .. } = cluster.selected_pods(scope, selector, cursor).await?;
            for pod in &pods {
                let head: PodHead = serde_json::from_str(pod.get())
                    .map_err(|error| CliError::new(format_args!("a Pod cannot be read: {error}")))?;
                let namespace = head.metadata.namespace;
                let is_of_system = namespace.starts_with("kube-") || namespace == args.sandgate_namespace;
                if !(args.all_namespaces && is_of_system) {
                    subjects.add(&namespace, pod.get(), None)?;
                }
            }
            next = following;
        }
    }
    Ok(())
}

/// Returns the document with what has to be known about it, as comments.
fn text(namespace: &str, pods: &[Subject], suggestion: &Suggestion) -> String {
    let Suggestion { document, unadmitted, filled, .. } = suggestion;
    let all: usize = pods.iter().map(|pod| pod.count).sum();
    let left_out: usize = unadmitted.iter().map(|pod| pods[pod.subject].count).sum();
    let mut text = format!("# Suggested for {} of namespace {namespace}.\n", count(all, "Pod"));
    let _ = writeln!(text, "# Admitted by this policy: {}. Not admitted: {left_out}.", all - left_out);
    if !filled.is_empty() {
        let rules: Vec<String> = filled.iter().map(|(rule, pods)| format!("{rule}:{pods}")).collect();
        let rules = rules.join(", ");
        text += &comment(
            "# ",
            &format!("In mode enforce these rules change so many of them (sandgate explain RULE): {rules}"),
        );
    }
    text += document;
    let pods: Vec<(&str, usize)> = pods.iter().map(|pod| (pod.name.as_str(), pod.count)).collect();
    text + &listed(&pods, unadmitted)
}

/// Returns a comment in lines of at most 80 characters, the first with this margin.
fn comment(margin: &str, words: &str) -> String {
    const MAX_CHARS: usize = 80;
    let mut text = margin.to_owned();
    let mut column = margin.len();
    for (index, word) in words.split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > MAX_CHARS {
            // The dash of a list is of its first line only.
            let next = if margin.contains('-') { margin.replace('-', " ") } else { format!("{margin}  ") };
            column = next.len();
            let _ = write!(text, "\n{next}");
        } else if index > 0 {
            text.push(' ');
            column += 1;
        }
        text += word;
        column += length;
    }
    text + "\n"
}

fn trail_text(namespace: &str, records: &[Recorded], suggestion: &Suggestion) -> String {
    let Suggestion { document, unadmitted, .. } = suggestion;
    let owners = count(records.len(), "owner");
    let mut text =
        format!("# Suggested for the violations of {owners} of namespace {namespace} in an audit trail.\n");
    text += "# A trail has no Pods, so this policy is not evaluated: check it with\n";
    text += "# `sandgate scan --policy` or `sandgate policy replay`.\n";
    text += document;
    let owners: Vec<(&str, usize)> = records.iter().map(|record| (record.name.as_str(), 1)).collect();
    text + &listed(&owners, unadmitted)
}

/// Returns the Pods that are not admitted with what to change, as comments. Pods of the same owners with the same reasons are
/// listed once.
fn listed(pods: &[(&str, usize)], unadmitted: &[Unadmitted]) -> String {
    let mut grouped: Vec<(&str, &[String], usize)> = Vec::new();
    for Unadmitted { subject, reasons } in unadmitted {
        let (name, count) = pods[*subject];
        match grouped.iter_mut().find(|(known, of, _)| *known == name && *of == reasons.as_slice()) {
            Some((_, _, all)) => *all += count,
            None => grouped.push((name, reasons, count)),
        }
    }
    let mut text = String::new();
    if !grouped.is_empty() {
        text += "# Not admitted, and not opened by any suggestion. What to change:\n";
    }
    for (name, reasons, all) in grouped {
        let of = if all > 1 { format!(" ({})", count(all, "Pod")) } else { String::new() };
        text += &comment("# - ", &sanitize(&format!("{name}{of}")));
        for reason in reasons {
            text += &comment("#     ", &sanitize(reason));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_of_one_owner_are_listed_once() {
        let reasons =
            || vec![format!("spec.hostNetwork is true: {}", "remove hostNetwork ".repeat(4).trim_end())];
        let unadmitted = |subject| Unadmitted { subject, reasons: reasons() };
        let text = listed(&[("Job a", 2), ("Job b", 1), ("Job a", 3)], &[0, 1, 2].map(unadmitted));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[1], lines[4], lines.len()), ("# - Job a (5 Pods)", "# - Job b", 7), "{text}");
        assert!(lines.iter().all(|line| line.len() <= 80), "{text}");
    }

    #[test]
    fn a_long_item_has_one_dash() {
        assert_eq!(comment("# - ", &"word ".repeat(20)).matches('-').count(), 1);
    }
}
