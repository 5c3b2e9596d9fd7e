//! `sandgate render`: the Pods as the API server would store them.

use std::fmt::Write;

use clap::{Args, ValueEnum};
use serde::Serialize;
use similar::{ChangeTag, TextDiff};

use super::{
    CliError, Status,
    evaluation::{Evaluation, Evaluator},
    print,
    terminal::{BAD, GOOD, PLACE, STRONG, count, error, note, paint},
    workload_pods::{Problem, WorkloadArgs, WorkloadPod},
};
use sandgate_engine::{
    json::{Value, is_changed, write_patch},
    review::{Clamped, Outcome},
};

/// Print Pods as they would be admitted
///
/// Fills each Pod as the webhook would and prints it. Of a template it prints the Pod that its controller would
/// create. A Pod that would be denied is not printed; the reason is on standard error.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 every Pod would be admitted, 1 violations found, 2 something could not be \
                        rendered."
)]
pub(super) struct RenderArgs {
    #[command(flatten)]
    workloads: WorkloadArgs,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Yaml, value_name = "FORMAT")]
    output: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// YAML, one document for each Pod
    Yaml,
    /// JSON: the Pod, or a List of them
    Json,
    /// The JSON patch that the webhook sends, one line for each Pod
    Patch,
    /// What changes, as a unified diff of YAML
    Diff,
}

pub(super) fn run(args: &RenderArgs) -> Result<Status, CliError> {
    let policies = args.workloads.policies()?;
    let mut collected = args.workloads.collect(&policies)?;
    let evaluator = args.workloads.evaluator(&policies, std::mem::take(&mut collected.namespaces));
    let mut status = Status::Fine;
    let mut pods = Vec::new();
    for pod in &collected.pods {
        match render(pod, &evaluator) {
            Ok((pod, violations)) => {
                status = status.max(violations);
                pods.extend(pod);
            }
            Err(problem) => collected.problems.push(problem),
        }
    }
    print(&match args.output {
        Format::Yaml => yaml(&pods),
        Format::Json => json(&pods),
        Format::Patch => patches(&pods),
        Format::Diff => diffs(&pods),
    })?;
    for notice in &collected.notices {
        note(&notice.place.to_string());
    }
    let failures = collected.failures();
    if failures.is_empty() { Ok(status) } else { Err(CliError(failures)) }
}

/// Returns the Pod, unless it would be denied, and whether it violates the policy.
fn render<'r>(
    pod: &'r WorkloadPod,
    evaluator: &Evaluator<'r>,
) -> Result<(Option<Rendered<'r>>, Status), Problem> {
    let before = pod.pod()?;
    let Some(evaluation) = evaluator.evaluate(pod)? else {
        note(&format!("{} is left as it is: no policy covers the namespace", place(pod)));
        return Ok((Some(Rendered { pod, after: before.clone(), before, patch: Vec::new() }), Status::Fine));
    };
    let violates = !evaluation.findings.violations.is_empty() && evaluation.outcome != Outcome::Exempt;
    if violates {
        report(pod, &evaluation);
    }
    let status = if violates { Status::Violations } else { Status::Fine };
    if evaluation.outcome == Outcome::Denied {
        return Ok((None, status));
    }
    let lowered = evaluation.findings.clamped.iter().filter(|_| is_changed(&evaluation.pod));
    for Clamped { path, from, to } in lowered {
        note(&format!("{}: {} is lowered from {from} to {to}", place(pod), pod.path(path)));
    }
    let after = evaluation.pod;
    let patch = write_patch(&after);
    if !patch.is_empty() && apply(pod.json(), &patch).as_ref() != serde_json::to_value(&after).ok().as_ref() {
        let text = format!("the patch for {} does not give the filled Pod; please report it", pod.title());
        return Err(Problem { file: pod.file().into(), line: pod.line(), text });
    }
    Ok((Some(Rendered { pod, before, after, patch }), status))
}

struct Rendered<'r> {
    pod: &'r WorkloadPod,
    before: Value<'r>,
    after: Value<'r>,
    /// The JSON patch that the webhook sends; empty if it sends none.
    patch: Vec<u8>,
}

/// Applies the patch to the Pod as the API server does.
fn apply(pod: &str, patch: &[u8]) -> Option<serde_json::Value> {
    let mut pod: serde_json::Value = serde_json::from_str(pod).ok()?;
    let patch: json_patch::Patch = serde_json::from_slice(patch).ok()?;
    json_patch::patch(&mut pod, &patch).ok()?;
    Some(pod)
}

fn report(pod: &WorkloadPod, evaluation: &Evaluation) {
    let violations = &evaluation.findings.violations;
    let number = count(violations.len(), "violation");
    let (print, verdict): (fn(&str), &str) = match evaluation.outcome {
        Outcome::Denied => (error, "would be denied"),
        Outcome::Warned => (note, "would be admitted with warnings"),
        _ => (note, "would be admitted and recorded"),
    };
    print(&format!("{} {verdict}: {number}", place(pod)));
    for finding in pod.findings(violations) {
        print(&format!(
            "{}:{}: {} ({})",
            pod.file(),
            finding.line,
            finding.sentence(),
            finding.rule_and_level()
        ));
    }
    if !evaluation.admitted_for.is_empty() {
        let users = evaluation.admitted_for.join(", ");
        print(&format!("{} would be admitted for {users}: render it with --as", place(pod)));
    }
}

fn place(pod: &WorkloadPod) -> String {
    format!("{}:{}: {}", pod.file(), pod.line(), pod.title())
}

fn yaml(pods: &[Rendered]) -> String {
    let documents: Vec<String> = pods.iter().map(|pod| to_yaml(&pod.after)).collect();
    documents.join("---\n")
}

fn to_yaml(pod: &Value) -> String {
    // A long line is not folded: commands are easier to read, and to copy, on one.
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(pod, options)
        .unwrap_or_else(|error| format!("# cannot be written: {error}\n"))
}

fn json(pods: &[Rendered]) -> String {
    let text = match pods {
        [] => return String::new(),
        [pod] => serde_json::to_string_pretty(&pod.after),
        pods => {
            let items = pods.iter().map(|pod| &pod.after).collect();
            serde_json::to_string_pretty(&List { api_version: "v1", kind: "List", items })
        }
    };
    text.expect("writing JSON to memory cannot fail") + "\n"
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'r> {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<&'r Value<'r>>,
}

fn patches(pods: &[Rendered]) -> String {
    let patch = |pod: &Rendered| match pod.patch.as_slice() {
        [] => "[]\n".to_string(),
        patch => String::from_utf8_lossy(patch).into_owned() + "\n",
    };
    pods.iter().map(patch).collect()
}

fn diffs(pods: &[Rendered]) -> String {
    let changed = pods.iter().filter(|pod| !pod.patch.is_empty());
    changed.map(diff).collect()
}

fn diff(Rendered { pod, before, after, patch: _ }: &Rendered) -> String {
    let (old, new) = (to_yaml(before), to_yaml(after));
    let diff = TextDiff::from_lines(&old, &new);
    let mut text = format!(
        "{}\n{}\n",
        paint(STRONG, format_args!("--- {}", place(pod))),
        paint(STRONG, format_args!("+++ {} as admitted", pod.title())),
    );
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        let _ = writeln!(text, "{}", paint(PLACE, hunk.header()));
        for change in hunk.iter_changes() {
            let line = change.value().trim_end_matches('\n');
            let _ = match change.tag() {
                ChangeTag::Delete => writeln!(text, "{}", paint(BAD, format_args!("-{line}"))),
                ChangeTag::Insert => writeln!(text, "{}", paint(GOOD, format_args!("+{line}"))),
                ChangeTag::Equal => writeln!(text, " {line}"),
            };
        }
    }
    text
}
