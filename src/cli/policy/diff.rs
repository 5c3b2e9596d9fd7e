//! `sandgate policy diff`: what a second version of policies allows that the first does not, and the reverse.

use std::{fmt::Write, path::PathBuf};

use clap::Args;
use serde::Serialize;

use super::super::{
    CliError, Status,
    format::TextOrJson,
    load_policies, print,
    terminal::{BAD, DOUBTFUL, GOOD, STRONG, paint, wrap},
};
use sandgate_engine::policy::{Change, Direction, Policy, PolicySet, diff};

/// Compare two versions of policies
///
/// Prints for each policy which keys become stricter, which become weaker, and which only change what is filled or allow
/// something else. Policies are compared by name; if each side has only one policy, these two are compared.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 nothing becomes weaker, 1 something becomes weaker, 2 the policies cannot be read."
)]
pub(in crate::cli) struct DiffArgs {
    /// Policy file, folder, or preset/NAME of the first version; "-" is standard input
    from: PathBuf,

    /// Policy file, folder, or preset/NAME of the second version; "-" is standard input
    to: PathBuf,

    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: TextOrJson,
}

/// How one policy changes.
#[derive(Debug, Serialize)]
struct Difference {
    policy: String,
    /// `changed`, `added` or `removed`.
    status: &'static str,
    changes: Vec<Change>,
}

pub(super) fn run(args: &DiffArgs) -> Result<Status, CliError> {
    if args.from == args.to {
        return Err(CliError::new("both versions are the same path; name two"));
    }
    let (from, to) = (load_policies(&args.from)?, load_policies(&args.to)?);
    let differences = differences(&from, &to);
    print(&match args.output {
        TextOrJson::Text => text(&differences),
        TextOrJson::Json => {
            serde_json::to_string_pretty(&differences).expect("writing JSON to memory cannot fail") + "\n"
        }
    })?;
    let is_weaker = number_of(&differences, Direction::Weaker) > 0;
    Ok(if is_weaker { Status::Violations } else { Status::Fine })
}

fn differences(from: &PolicySet, to: &PolicySet) -> Vec<Difference> {
    if let ([one], [other]) = (from.policies(), to.policies()) {
        return changed(one, other).into_iter().collect();
    }
    let removed =
        |policy: &Policy| Difference { policy: policy.name.clone(), status: "removed", changes: Vec::new() };
    let kept = from.policies().iter().filter_map(|policy| match to.named(&policy.name) {
        Some(other) => changed(policy, other),
        None => Some(removed(policy)),
    });
    let added = to.policies().iter().filter(|policy| from.named(&policy.name).is_none());
    kept.chain(added.map(|policy| Difference { status: "added", ..removed(policy) })).collect()
}

fn changed(from: &Policy, to: &Policy) -> Option<Difference> {
    let changes = diff(from, to);
    let policy =
        if from.name == to.name { to.name.clone() } else { format!("{} → {}", from.name, to.name) };
    (!changes.is_empty()).then_some(Difference { policy, status: "changed", changes })
}

fn number_of(differences: &[Difference], direction: Direction) -> usize {
    let changes = differences.iter().flat_map(|difference| &difference.changes);
    changes.filter(|change| change.direction == direction).count()
}

fn text(differences: &[Difference]) -> String {
    let mut text = String::new();
    for Difference { policy, status, changes } in differences {
        let note = match *status {
            "added" => ": added, nothing to compare it with",
            "removed" => ": removed, Pods of its namespaces are denied unless another policy covers them",
            _ => "",
        };
        let _ = writeln!(text, "{}{note}", paint(STRONG, format_args!("policy {policy}")));
        for direction in [Direction::Weaker, Direction::Stricter, Direction::Other] {
            let of_direction = changes.iter().filter(|change| change.direction == direction);
            of_direction.for_each(|change| write_change(change, &mut text));
        }
    }
    let number = |direction| number_of(differences, direction);
    let _ = writeln!(
        text,
        "{} weaker, {} stricter, {} other",
        number(Direction::Weaker),
        number(Direction::Stricter),
        number(Direction::Other)
    );
    text
}

fn write_change(change: &Change, text: &mut String) {
    const COLUMN: usize = 12;
    let Change { profile, exception, key, from, to, direction } = change;
    let (style, word) = match direction {
        Direction::Weaker => (BAD, "weaker"),
        Direction::Stricter => (GOOD, "stricter"),
        Direction::Other => (DOUBTFUL, "other"),
    };
    let profile = if profile.is_empty() { String::new() } else { format!("profile {profile}: ") };
    let exception = if exception.is_empty() { String::new() } else { format!("exception {exception}: ") };
    let line = format!("{profile}{exception}{key}: {from} → {to}");
    let word = paint(style, format_args!("  {word:width$}", width = COLUMN - 2));
    let _ = writeln!(text, "{word}{}", wrap(&line, COLUMN, COLUMN + 2));
}
