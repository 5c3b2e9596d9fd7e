//! `sandgate fix`: the smallest change of a manifest that is admitted.

mod edit;
mod fills;
mod plan;
mod record;

pub(super) use self::fills::write as write_fills;

use std::{collections::BTreeMap, fs, path::Path};

use clap::{Args, ValueEnum};
use similar::TextDiff;

use super::{
    CliError, Status,
    evaluation::Evaluator,
    input, print,
    terminal::{error, note},
    workload_pods::{Collected, Problem, WorkloadArgs, WorkloadPod},
};
use plan::{Plan, Removal};

/// Make denied manifests conform to the policy
///
/// Removes from each Pod, or from the template that it comes from, what the policy denies and fills by itself: a user id, a
/// privilege, a toleration, a limit above the ceiling. It changes nothing else, opens nothing in the policy, and never
/// removes a container, a volume, a mount or a command. What a person has to decide is listed on standard error.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 every Pod would be admitted after the change, 1 violations are left, 2 something could \
                        not be read or written."
)]
pub(super) struct FixArgs {
    #[command(flatten)]
    workloads: WorkloadArgs,

    /// Write the change into the files instead of printing it; the comments and the order of a file are kept
    #[arg(long)]
    write: bool,

    /// The files are records of the audit trail, such as "sandgate audit show UID -o json" prints: a patch of the Pod for
    /// each denial. A record has no Pod, so the change is not evaluated
    #[arg(long, conflicts_with_all = ["write", "output"])]
    record: bool,

    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT", conflicts_with = "write")]
    output: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The change of each file, as a unified diff
    #[default]
    Diff,
    /// One JSON patch for each object, on a line of its own
    Patch,
}

pub(super) fn run(args: &FixArgs) -> Result<Status, CliError> {
    if args.record {
        return record::run(args.workloads.files());
    }
    let policies = args.workloads.policies()?;
    let mut collected = args.workloads.collect(&policies)?;
    let evaluator = args.workloads.evaluator(&policies, std::mem::take(&mut collected.namespaces));
    let (objects, mut problems) = plan_objects(&collected, &evaluator);
    collected.notices.iter().for_each(|notice| note(&notice.place.to_string()));
    let is_left = report_left(&objects);
    if args.output == Format::Patch {
        let patches = objects.iter().filter(|object| !object.removals.is_empty());
        print(&patches.map(|object| object.patch() + "\n").collect::<String>())?;
    } else {
        problems.extend(change_files(&objects, args.write)?);
    }
    let failures: Vec<String> = collected.failures().into_iter().chain(problems).collect();
    if !failures.is_empty() {
        return Err(CliError(failures));
    }
    Ok(if is_left { Status::Violations } else { Status::Fine })
}

/// Fixes files in place, for `check --fix`.
pub(super) fn write_fixes(collected: &Collected, evaluator: &Evaluator) -> Result<Vec<String>, CliError> {
    let (objects, mut problems) = plan_objects(collected, evaluator);
    problems.extend(change_files(&objects, true)?);
    Ok(problems)
}

/// An object with what is removed from it.
struct FixedObject<'r> {
    first: &'r WorkloadPod,
    removals: Vec<Removal>,
    /// What is left, for each of its Pods.
    left: Vec<(&'r WorkloadPod, sandgate_engine::review::LeveledViolations)>,
}

impl FixedObject<'_> {
    /// Returns the JSON patch of the object.
    fn patch(&self) -> String {
        let paths: Vec<_> = self.removals.iter().map(|removal| removal.path.clone()).collect();
        plan::patch(&paths)
    }
}

fn plan_objects<'r>(
    collected: &'r Collected,
    evaluator: &Evaluator<'_>,
) -> (Vec<FixedObject<'r>>, Vec<String>) {
    let mut objects: Vec<FixedObject> = Vec::new();
    let mut problems = Vec::new();
    for pod in &collected.pods {
        let Plan { removals, left } = match plan::plan(pod, evaluator) {
            Ok(Some(plan)) => plan,
            Ok(None) => {
                note(&format!(
                    "{}: {} is left as it is: no policy covers the namespace",
                    place(pod),
                    pod.title()
                ));
                continue;
            }
            Err(problem) => {
                problems.push(Problem::to_string(&problem));
                continue;
            }
        };
        let known = objects.iter().position(|object| object.first.is_of_same_object(pod));
        let index = known.unwrap_or_else(|| {
            objects.push(FixedObject { first: pod, removals: Vec::new(), left: Vec::new() });
            objects.len() - 1
        });
        let object = &mut objects[index];
        // Pods of one object can share a field.
        for removal in removals {
            if !object.removals.contains(&removal) {
                object.removals.push(removal);
            }
        }
        object.left.push((pod, left));
    }
    (objects, problems)
}

/// Prints what a person has to decide, and returns whether there is something.
fn report_left(objects: &[FixedObject]) -> bool {
    let mut is_left = false;
    for (pod, left) in objects.iter().flat_map(|object| &object.left) {
        for finding in pod.findings(left) {
            is_left = true;
            error(&format!(
                "{}:{}: {} ({})",
                pod.file(),
                finding.line,
                finding.sentence(),
                finding.rule_and_level()
            ));
        }
    }
    is_left
}

fn place(pod: &WorkloadPod) -> String {
    format!("{}:{}", pod.file(), pod.line())
}

/// Writes or prints the changes of each file, and returns what could not be changed in the text of a file.
fn change_files(objects: &[FixedObject], writes: bool) -> Result<Vec<String>, CliError> {
    let mut files: BTreeMap<&str, Vec<&FixedObject>> = BTreeMap::new();
    for object in objects.iter().filter(|object| !object.removals.is_empty()) {
        files.entry(object.first.file()).or_default().push(object);
    }
    let mut problems = Vec::new();
    for (file, mut objects) in files {
        if file == input::STDIN_NAME {
            problems.push(
                "standard input is read once and cannot be changed: use --output patch, or a file".into(),
            );
            continue;
        }
        let before = input::read(Path::new(file)).map_err(CliError::new)?.text;
        let mut text = before.clone();
        // From the bottom up, so that the lines of the objects above stay the same.
        objects.sort_by_key(|object| std::cmp::Reverse(object.first.line()));
        for object in objects {
            match edit::remove(&text, object.first.line(), &object.removals) {
                Some(changed) => text = changed,
                None => problems.push(format!(
                    "{}: {} cannot be changed without writing the file anew: apply the JSON patch of \"sandgate fix \
                     --output patch\"",
                    place(object.first),
                    object.first.title()
                )),
            }
        }
        if text == before {
            continue;
        }
        if writes {
            fs::write(file, &text).map_err(|error| {
                CliError::new(format_args!("{file} cannot be written: {}", input::reason(&error)))
            })?;
            note(&format!("{file} is changed"));
        } else {
            let diff = TextDiff::from_lines(&before, &text);
            print(&diff.unified_diff().header(file, file).to_string())?;
        }
    }
    Ok(problems)
}
