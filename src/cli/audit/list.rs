//! `sandgate audit list`: the verdicts, one a line.

use std::{
    io::{self, BufWriter, IsTerminal},
    ops::ControlFlow,
};

use clap::{Args, ValueEnum};

use super::{
    cells::{csv, row},
    filter::FilterArgs,
    source::{SourceArgs, flush, write},
};
use crate::{
    audit::Verdict,
    cli::{CliError, Status},
};

/// List verdicts
#[derive(Debug, Args)]
#[command(after_help = super::STATUS)]
pub(in crate::cli) struct ListArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// How they are printed
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Output {
    /// For people
    #[default]
    Table,
    /// For programs: one object a line
    Json,
    /// For spreadsheets; what could be a formula gets a "'" in front
    Csv,
}

pub(super) fn run(args: &ListArgs) -> Result<Status, CliError> {
    let ListArgs { source, filter, output } = args;
    let mut out = BufWriter::new(io::stdout().lock());
    let header: Vec<u8> = match output {
        Output::Table => table(&TABLE),
        Output::Json => Vec::new(),
        Output::Csv => csv(COLUMNS),
    };
    if write(&mut out, &header)?.is_break() {
        return Ok(Status::Fine);
    }
    let is_quiet = io::stdout().is_terminal();
    let reading = source.each(Some(filter), is_quiet, |verdict| {
        let flow = write(&mut out, &line(&verdict, *output))?;
        // A person should see each line at once.
        if is_quiet {
            flush(&mut out)?;
        }
        Ok::<ControlFlow<()>, _>(flow)
    })?;
    flush(&mut out)?;
    Ok(reading.status())
}

const TABLE: [&str; 7] = ["TIME", "VERDICT", "OPERATION", "NAMESPACE", "NAME", "USER", "RULES"];
const WIDTHS: [usize; 6] = [20, 10, 9, 12, 28, 20];

fn table(cells: &[&str]) -> Vec<u8> {
    row(cells, &WIDTHS).into_bytes()
}

const COLUMNS: [&str; 21] = [
    "time",
    "verdict",
    "endpoint",
    "uid",
    "dryRun",
    "operation",
    "resource",
    "subresource",
    "namespace",
    "name",
    "generateName",
    "ownerKind",
    "ownerName",
    "user",
    "groups",
    "serviceAccount",
    "policy",
    "policyHash",
    "mode",
    "rules",
    "images",
];

fn line(verdict: &Verdict, output: Output) -> Vec<u8> {
    let rules = rules(verdict).join(",");
    match output {
        Output::Table => {
            let Verdict { time, verdict: outcome, operation, namespace, user, .. } = verdict;
            // To the second: the rest is in the other formats.
            let time = time.split_once('.').map_or(time.clone(), |(seconds, _)| format!("{seconds}Z"));
            table(&[&time, outcome, operation, namespace, &name(verdict), user, &rules])
        }
        Output::Json => {
            let mut line = serde_json::to_vec(verdict).expect("writing JSON to memory cannot fail");
            line.push(b'\n');
            line
        }
        Output::Csv => cells(verdict, &rules),
    }
}

fn cells(verdict: &Verdict, rules: &str) -> Vec<u8> {
    let owner = verdict.owner.clone().unwrap_or_default();
    let (groups, images) = (verdict.groups.join(" "), verdict.images.join(" "));
    csv([
        &*verdict.time,
        &verdict.verdict,
        &verdict.endpoint,
        &verdict.uid,
        if verdict.dry_run { "true" } else { "false" },
        &verdict.operation,
        &verdict.resource,
        &verdict.subresource,
        &verdict.namespace,
        &verdict.name,
        &verdict.generate_name,
        &owner.kind,
        &owner.name,
        &verdict.user,
        &groups,
        &verdict.service_account,
        &verdict.policy,
        &verdict.policy_hash,
        &verdict.mode,
        rules,
        &images,
    ])
}

/// The violated rules, each once.
pub(super) fn rules(verdict: &Verdict) -> Vec<&str> {
    let mut rules: Vec<&str> = verdict.violations.iter().map(|violation| &*violation.rule).collect();
    rules.dedup();
    rules
}

/// The name, or what it will begin with.
pub(super) fn name(verdict: &Verdict) -> String {
    let Verdict { name, generate_name, .. } = verdict;
    if name.is_empty() && !generate_name.is_empty() { format!("{generate_name}*") } else { name.clone() }
}
