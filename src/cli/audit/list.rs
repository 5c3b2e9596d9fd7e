//! `sandgate audit list`: the verdicts, one a line.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, BufWriter, IsTerminal},
    ops::ControlFlow,
};

use clap::{Args, ValueEnum};

use super::{
    filter::FilterArgs,
    source::{SourceArgs, flush, write},
    table::{csv, row},
};
use crate::{
    audit::VerdictLine,
    cli::{
        CliError, Status,
        terminal::{columns, fit, seconds},
    },
};
use sandgate_engine::{
    review::{AuditRecord, rules},
    text::sanitize,
};

/// List the verdicts of an audit trail
#[derive(Debug, Args)]
#[command(after_help = super::STATUS)]
pub(in crate::cli) struct ListArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// The output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: ListFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum ListFormat {
    /// A table for people
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
    let is_narrow = columns().is_some_and(|columns| columns < TABLE_COLUMNS);
    let header: Vec<u8> = match output {
        ListFormat::Table if is_narrow => Vec::new(),
        ListFormat::Table => table(&TABLE),
        ListFormat::Json => Vec::new(),
        ListFormat::Csv => csv(COLUMNS.map(|(name, _)| name)),
    };
    if write(&mut out, &header)?.is_break() {
        return Ok(Status::Fine);
    }
    let is_quiet = io::stdout().is_terminal();
    let reading = source.each(Some(filter), is_quiet, |verdict| {
        let is_block = is_narrow && *output == ListFormat::Table;
        let text = if is_block { block(&verdict.record) } else { line(&verdict, *output) };
        let flow = write(&mut out, &text)?;
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

/// The columns of a terminal below which a verdict takes two lines instead of a row.
const TABLE_COLUMNS: usize = 130;

/// Returns a verdict as two lines or more, for a terminal that a row does not fit into.
fn block(record: &AuditRecord) -> Vec<u8> {
    let AuditRecord { verdict, operation, namespace, user, .. } = record;
    let (time, name, rules) = (seconds(&record.time), name(record), record.rules().join(", "));
    let head = format!("{time}  {verdict}  {operation} {namespace}/{name} by {user}");
    let mut text = fit(sanitize(&head), 0, 4) + "\n";
    if !rules.is_empty() {
        let _ = writeln!(text, "    {}", fit(sanitize(&rules), 4, 4));
    }
    text.into_bytes()
}

fn table(cells: &[&str]) -> Vec<u8> {
    row(cells, &WIDTHS).into_bytes()
}

/// A column of CSV: its name, and its text in a record.
type TableColumn = (&'static str, for<'r> fn(&'r AuditRecord<'static>) -> Cow<'r, str>);

const COLUMNS: [TableColumn; 32] = [
    ("time", |record| (&*record.time).into()),
    ("cluster", |record| (&*record.cluster).into()),
    ("instance", |record| (&*record.instance).into()),
    ("verdict", |record| (&*record.verdict).into()),
    ("endpoint", |record| (&*record.endpoint).into()),
    ("authenticated", |record| record.authenticated.to_string().into()),
    ("uid", |record| (&*record.uid).into()),
    ("dryRun", |record| record.dry_run.to_string().into()),
    ("operation", |record| (&*record.operation).into()),
    ("resource", |record| (&*record.resource).into()),
    ("subresource", |record| (&*record.subresource).into()),
    ("namespace", |record| (&*record.namespace).into()),
    ("name", |record| (&*record.name).into()),
    ("generateName", |record| (&*record.generate_name).into()),
    ("ownerKind", |record| record.owner.as_ref().map(|owner| &*owner.kind).unwrap_or_default().into()),
    ("ownerName", |record| record.owner.as_ref().map(|owner| &*owner.name).unwrap_or_default().into()),
    ("user", |record| (&*record.user).into()),
    ("groups", |record| record.groups.join(" ").into()),
    ("serviceAccount", |record| (&*record.service_account).into()),
    ("policy", |record| (&*record.policy).into()),
    ("profile", |record| record.profile.as_deref().unwrap_or_default().into()),
    ("exceptions", |record| record.exceptions.join(" ").into()),
    ("policyHash", |record| (&*record.policy_hash).into()),
    ("mode", |record| (&*record.mode).into()),
    ("filled", |record| record.filled.join(" ").into()),
    ("clamped", |record| {
        let clamped = record.clamped.iter();
        let texts = clamped.map(|number| format!("{}={}>{}", number.path, number.from, number.to));
        texts.collect::<Vec<_>>().join(" ").into()
    }),
    ("tokenRemoved", |record| record.token_removed.to_string().into()),
    ("rules", |record| record.rules().join(",").into()),
    ("forgivenRules", |record| rules(&record.forgiven).join(",").into()),
    ("candidateRules", |record| rules(&record.candidate).join(",").into()),
    ("images", |record| record.images.join(" ").into()),
    ("durationMicros", |record| record.duration_micros.to_string().into()),
];

fn line(line: &VerdictLine, output: ListFormat) -> Vec<u8> {
    let record = &line.record;
    match output {
        ListFormat::Table => {
            let AuditRecord { time, verdict, operation, namespace, user, .. } = record;
            let rules = record.rules().join(",");
            table(&[&seconds(time), verdict, operation, namespace, &name(record), user, &rules])
        }
        ListFormat::Json => {
            let mut line = serde_json::to_vec(line).expect("writing JSON to memory cannot fail");
            line.push(b'\n');
            line
        }
        ListFormat::Csv => csv(COLUMNS.map(|(_, text)| text(record))),
    }
}

/// Returns the name of the object, or its prefix.
pub(super) fn name(record: &AuditRecord) -> String {
    let AuditRecord { name, generate_name, .. } = record;
    if name.is_empty() && !generate_name.is_empty() { format!("{generate_name}*") } else { name.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The columns that stand for a field of another shape.
    const OF_FIELD: [(&str, &str); 5] = [
        ("ownerKind", "owner"),
        ("ownerName", "owner"),
        ("rules", "violations"),
        ("forgivenRules", "forgiven"),
        ("candidateRules", "candidate"),
    ];

    #[test]
    fn each_field_of_the_record_has_its_column_in_order() {
        let field =
            |column| OF_FIELD.iter().find(|(name, _)| *name == column).map_or(column, |(_, field)| *field);
        let mut columns: Vec<_> = COLUMNS.iter().map(|(name, _)| field(name)).collect();
        columns.dedup();
        let mut record = Vec::new();
        AuditRecord::default().write_line(&mut record);
        let record = String::from_utf8(record).unwrap();
        let fields: serde_json::Value = serde_json::from_str(&record).unwrap();
        assert_eq!(columns.len(), fields.as_object().unwrap().len());
        let places: Vec<_> = columns.iter().map(|column| record.find(&format!("\"{column}\":"))).collect();
        assert!(places.is_sorted() && places.iter().all(Option::is_some), "{columns:?}\n{record}");
    }

    #[test]
    fn a_column_holds_its_own_field() {
        let record = AuditRecord { user: "alice".into(), cluster: "c".into(), ..AuditRecord::default() };
        let texts: Vec<_> =
            COLUMNS.iter().filter(|(_, text)| !text(&record).is_empty()).map(|(name, _)| *name).collect();
        assert_eq!(texts, ["cluster", "authenticated", "dryRun", "user", "tokenRemoved", "durationMicros"]);
    }
}
