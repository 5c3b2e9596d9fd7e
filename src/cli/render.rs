//! `sandgate render`: the Pods as they would be admitted.

use std::fmt::Write;

use clap::{Args, ValueEnum};
use serde::Serialize;
use similar::{ChangeTag, TextDiff};

use super::{
    Failure, Status,
    manifest::Problem,
    print,
    subject::{Judgement, Subject, SubjectArgs},
    terminal::{BAD, GOOD, PLACE, STRONG, count, error, note, paint},
};
use sandgate_engine::{
    json::{Value, is_changed, write_patch},
    policy::{Mode, PolicySet},
};

/// Print Pods as they would be admitted
///
/// Fills each Pod as the webhook would and prints it. From a template comes the Pod that its controller would create.
/// A Pod that would be denied is not printed; why stands on standard error.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 every Pod would be admitted, 1 violations found, 2 something could not be \
                        rendered."
)]
pub(super) struct RenderArgs {
    #[command(flatten)]
    subjects: SubjectArgs,

    /// How to print the Pods
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

pub(super) fn run(args: &RenderArgs) -> Result<Status, Failure> {
    let policies = args.subjects.policies()?;
    let mut found = args.subjects.find(&policies);
    let mut status = Status::Fine;
    let mut pods = Vec::new();
    for subject in &found.subjects {
        match render(subject, &policies) {
            Ok((pod, violations)) => {
                status = status.max(violations);
                pods.extend(pod);
            }
            Err(problem) => found.problems.push(problem),
        }
    }
    print(&match args.output {
        Format::Yaml => yaml(&pods),
        Format::Json => json(&pods),
        Format::Patch => patches(&pods),
        Format::Diff => diffs(&pods),
    })?;
    let failures = found.failures();
    if failures.is_empty() { Ok(status) } else { Err(Failure(failures)) }
}

/// The Pod, unless it would be denied, and whether it violates the policy.
fn render<'r>(
    subject: &'r Subject,
    policies: &'r PolicySet,
) -> Result<(Option<Rendered<'r>>, Status), Problem> {
    let before = subject.pod()?;
    let Some(judgement) = subject.judge(policies)? else {
        note(&format!("{} is left as it is: no policy covers the namespace", place(subject)));
        let after = before.clone();
        return Ok((Some(Rendered { subject, before, after }), Status::Fine));
    };
    let violates = !judgement.violations.is_empty();
    if violates {
        tell(subject, &judgement);
    }
    let after = admitted(judgement, &before);
    let status = if violates { Status::Violations } else { Status::Fine };
    Ok((after.map(|after| Rendered { subject, before, after }), status))
}

struct Rendered<'r> {
    subject: &'r Subject,
    before: Value<'r>,
    after: Value<'r>,
}

/// What the API server would store; `None` if nothing. Half a repair is not sent: a Pod that violates the policy and
/// is admitted all the same stays as it is.
fn admitted<'r>(judgement: Judgement<'r>, before: &Value<'r>) -> Option<Value<'r>> {
    match (judgement.policy.spec.mode, judgement.violations.is_empty()) {
        (Mode::Enforce, false) => None,
        (Mode::Audit, _) | (Mode::Warn, false) => Some(before.clone()),
        (Mode::Enforce | Mode::Warn, true) => Some(judgement.pod),
    }
}

fn tell(subject: &Subject, judgement: &Judgement) {
    let Judgement { policy, violations, .. } = judgement;
    let number = count(violations.len(), "violation");
    match policy.spec.mode {
        Mode::Enforce => error(&format!("{} would be denied: {number}", place(subject))),
        mode => note(&format!(
            "{} would be denied, were the mode not {}: {number}",
            place(subject),
            mode.as_str()
        )),
    }
    for finding in subject.findings(violations) {
        error(&format!("{}:{}: {} ({})", subject.file(), finding.line, finding.sentence(), finding.rule));
    }
}

fn place(subject: &Subject) -> String {
    format!("{}:{}: {}", subject.file(), subject.line(), subject.title())
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
    let patch = |pod: &Rendered| match write_patch(&pod.after) {
        patch if patch.is_empty() => "[]\n".to_string(),
        patch => String::from_utf8_lossy(&patch).into_owned() + "\n",
    };
    pods.iter().map(patch).collect()
}

fn diffs(pods: &[Rendered]) -> String {
    let changed = pods.iter().filter(|pod| is_changed(&pod.after));
    changed.map(diff).collect()
}

fn diff(Rendered { subject, before, after }: &Rendered) -> String {
    let (old, new) = (to_yaml(before), to_yaml(after));
    let diff = TextDiff::from_lines(&old, &new);
    let mut text = format!(
        "{}\n{}\n",
        paint(STRONG, format_args!("--- {}", place(subject))),
        paint(STRONG, format_args!("+++ {} as admitted", subject.title())),
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
