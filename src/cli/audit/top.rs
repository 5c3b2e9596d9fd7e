//! `sandgate audit top`: who or what is denied most.

use std::{cmp::Reverse, ops::ControlFlow};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{
    counts::{Counts, CountsBy},
    filter::FilterArgs,
    list::{ListFormat, name},
    source::SourceArgs,
    table::{csv, row},
};
use crate::cli::{
    CliError, Status, print,
    terminal::{fit, note},
};
use sandgate_engine::review::{AuditRecord, Endpoint, Outcome};

/// Count verdicts by user, rule, namespace, image or owner
///
/// Those with the most denials come first, then those that would be denied if their policy were enforced. Requests are
/// counted: of the two records of an admitted create only the one of /validate.
#[derive(Debug, Args)]
#[command(after_help = super::STATUS)]
pub(in crate::cli) struct TopArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// The key to count by; several count each combination, such as --by rule,owner
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [By::default()])]
    by: Vec<By>,
    /// The number of rows to print; 0 for all
    #[arg(long, value_name = "N", default_value = "10")]
    limit: usize,
    /// The output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: ListFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum By {
    /// The user who asked
    User,
    /// The rule that was violated
    #[default]
    Rule,
    /// The namespace of the object
    Namespace,
    /// The image that was to run
    Image,
    /// The controller that owns the Pod, or the Pod itself
    Owner,
}

/// The most names that are counted each; others are counted together, since senders choose the names.
const MAX_NAMES: usize = 100_000;

#[derive(Serialize)]
struct CountRow<'r> {
    name: &'r str,
    #[serde(flatten)]
    counts: Counts,
}

pub(super) fn run(args: &TopArgs) -> Result<Status, CliError> {
    let mut counts_by = CountsBy::new(MAX_NAMES);
    let reading = args.source.each(Some(&args.filter), false, |verdict| {
        if is_final(&verdict.record) {
            for name in combinations(&args.by, &verdict.record) {
                counts_by.count(name, verdict.record.outcome());
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let mut rows = counts_by.rows(|counts| Reverse(*counts));
    let left_out = if args.limit > 0 { rows.len().saturating_sub(args.limit) } else { 0 };
    rows.truncate(rows.len() - left_out);
    let rows: Vec<_> = rows.iter().map(|(name, counts)| CountRow { name, counts: *counts }).collect();
    print(&text(&rows, args.output))?;
    if left_out > 0 {
        note(&format!(
            "{left_out} more {}: --limit 0 prints all",
            if left_out == 1 { "row" } else { "rows" }
        ));
    }
    let uncounted = counts_by.uncounted();
    if uncounted > 0 {
        note(&format!(
            "{uncounted} verdicts are not counted: more than {MAX_NAMES} different names; use a filter"
        ));
    }
    Ok(reading.status())
}

/// Returns true for the record that counts for a request. What /mutate admits comes again to /validate.
pub(super) fn is_final(record: &AuditRecord) -> bool {
    record.endpoint != Endpoint::Mutate.as_str() || record.outcome() == Some(Outcome::Denied)
}

/// Returns what a verdict is counted under if it is counted by several keys.
fn combinations(by: &[By], record: &AuditRecord) -> Vec<String> {
    let Some((first, others)) = by.split_first() else { return Vec::new() };
    others.iter().fold(names(*first, record), |combined, by| {
        let next = names(*by, record);
        combined.iter().flat_map(|name| next.iter().map(move |other| format!("{name}  {other}"))).collect()
    })
}

/// Returns what a verdict is counted under, each once.
pub(super) fn names(by: By, record: &AuditRecord) -> Vec<String> {
    match by {
        By::User => vec![record.user.to_string()],
        By::Rule => record.rules().into_iter().map(Into::into).collect(),
        By::Namespace => vec![record.namespace.to_string()],
        By::Image => {
            let mut images: Vec<_> = record.images.iter().map(ToString::to_string).collect();
            images.sort_unstable();
            images.dedup();
            images
        }
        By::Owner => {
            let owner = record.owner.as_ref().map(|owner| format!("{}/{}", owner.kind, owner.name));
            let owner = owner.unwrap_or_else(|| format!("Pod/{}", name(record)));
            vec![format!("{}/{owner}", record.namespace)]
        }
    }
}

fn borrowed(cells: &[String; 4]) -> [&str; 4] {
    cells.each_ref().map(String::as_str)
}

fn text(rows: &[CountRow], output: ListFormat) -> String {
    let cells = |CountRow { name, counts }: &CountRow| {
        let Counts { denied, would_deny, other } = counts;
        [denied.to_string(), would_deny.to_string(), other.to_string(), (*name).to_string()]
    };
    let cells = rows.iter().map(cells);
    match output {
        ListFormat::Table => {
            const HEADER: [&str; 4] = ["DENIED", "WOULD DENY", "OTHER", "NAME"];
            const NAME_COLUMN: usize = 27;
            let table = row(&HEADER, &HEADER.map(str::len));
            cells.fold(table, |table, cells| {
                let row = row(&borrowed(&cells), &HEADER.map(str::len));
                table + &fit(row, 0, NAME_COLUMN)
            })
        }
        ListFormat::Csv => {
            let header = csv(["denied", "wouldDeny", "other", "name"]);
            let rows = cells.flat_map(|cells| csv(borrowed(&cells)));
            String::from_utf8_lossy(&header.into_iter().chain(rows).collect::<Vec<u8>>()).into_owned()
        }
        ListFormat::Json => rows.iter().fold(String::new(), |lines, row| {
            lines + &serde_json::to_string(row).expect("writing JSON to memory cannot fail") + "\n"
        }),
    }
}
