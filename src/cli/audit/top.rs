//! `sandgate audit top`: who or what is refused most.

use std::{cmp::Reverse, ops::ControlFlow};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{
    cells::{csv, row},
    filter::FilterArgs,
    list::{Output, rules},
    source::SourceArgs,
    tally::{Counts, Tally},
};
use crate::{
    audit::Verdict,
    cli::{CliError, Status, print, terminal::note},
};

/// Count verdicts by user, rule, namespace, image or owner
///
/// The most refused come first, then those that would be refused if their policy were enforced.
#[derive(Debug, Args)]
#[command(after_help = super::STATUS)]
pub(in crate::cli) struct TopArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// What to count by
    #[arg(long, value_enum, default_value_t)]
    by: By,
    /// How many to print; 0 for all
    #[arg(long, value_name = "N", default_value = "10")]
    limit: usize,
    /// How they are printed
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum By {
    /// Who asked
    User,
    /// What was violated
    #[default]
    Rule,
    /// Where
    Namespace,
    /// What was to run
    Image,
    /// The controller
    Owner,
}

/// More different ones than this are counted together: their names are chosen by whoever is refused.
const MOST: usize = 100_000;

#[derive(Serialize)]
struct Row<'r> {
    name: &'r str,
    #[serde(flatten)]
    counts: Counts,
}

pub(super) fn run(args: &TopArgs) -> Result<Status, CliError> {
    let mut tally = Tally::new(MOST);
    let reading = args.source.each(Some(&args.filter), false, |verdict| {
        for name in names(args.by, &verdict) {
            tally.count(name, &verdict.verdict);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let mut rows = tally.rows(|counts| Reverse(*counts));
    if args.limit > 0 {
        rows.truncate(args.limit);
    }
    let rows: Vec<_> = rows.iter().map(|(name, counts)| Row { name, counts: *counts }).collect();
    print(&text(&rows, args.output))?;
    let uncounted = tally.uncounted();
    if uncounted > 0 {
        note(&format!(
            "{uncounted} verdicts are not counted: more than {MOST} different names; use a filter"
        ));
    }
    Ok(reading.status())
}

/// What a verdict counts for, each once.
pub(super) fn names(by: By, verdict: &Verdict) -> Vec<String> {
    match by {
        By::User => vec![verdict.user.clone()],
        By::Rule => {
            let mut rules: Vec<_> = rules(verdict).into_iter().map(Into::into).collect();
            rules.sort_unstable();
            rules.dedup();
            rules
        }
        By::Namespace => vec![verdict.namespace.clone()],
        By::Image => {
            let mut images = verdict.images.clone();
            images.sort_unstable();
            images.dedup();
            images
        }
        By::Owner => {
            let owner = verdict.owner.iter();
            owner.map(|owner| format!("{}/{}/{}", verdict.namespace, owner.kind, owner.name)).collect()
        }
    }
}

fn borrowed(cells: &[String; 4]) -> [&str; 4] {
    cells.each_ref().map(String::as_str)
}

fn text(rows: &[Row], output: Output) -> String {
    let cells = |Row { name, counts }: &Row| {
        let Counts { refused, would_be_refused, other } = counts;
        [refused.to_string(), would_be_refused.to_string(), other.to_string(), (*name).to_string()]
    };
    let cells = rows.iter().map(cells);
    match output {
        Output::Table => {
            const HEADER: [&str; 4] = ["REFUSED", "WOULD BE", "OTHER", "NAME"];
            let table = row(&HEADER, &HEADER.map(str::len));
            cells.fold(table, |table, cells| table + &row(&borrowed(&cells), &HEADER.map(str::len)))
        }
        Output::Csv => {
            let header = csv(["refused", "wouldBeRefused", "other", "name"]);
            let rows = cells.flat_map(|cells| csv(borrowed(&cells)));
            String::from_utf8_lossy(&header.into_iter().chain(rows).collect::<Vec<u8>>()).into_owned()
        }
        Output::Json => rows.iter().fold(String::new(), |lines, row| {
            lines + &serde_json::to_string(row).expect("writing JSON to memory cannot fail") + "\n"
        }),
    }
}
