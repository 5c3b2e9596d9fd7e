//! `sandgate audit`: reads the audit trail, and the API server's audit log.

mod apiserver_event;
mod chains;
mod counts;
mod filter;
mod lines;
mod list;
pub(super) mod pod_creates;
mod report;
mod show;
mod source;
mod table;
mod top;
mod verify;

use std::{ops::ControlFlow, path::PathBuf};

use clap::Subcommand;

use super::{CliError, Status, print};
use crate::audit::json_schema;
use sandgate_engine::review::AuditRecord;

const STATUS: &str = "Exit status: 0 fine, 1 some lines could not be read, 2 could not run.";

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    List(Box<list::ListArgs>),
    Top(Box<top::TopArgs>),
    Show(show::ShowArgs),
    Report(Box<report::ReportArgs>),
    Verify(verify::VerifyArgs),
    /// Print the JSON schema of the audit lines
    Schema,
}

pub(super) fn run(command: &AuditCommand) -> Result<Status, CliError> {
    match command {
        AuditCommand::List(args) => list::run(args),
        AuditCommand::Top(args) => top::run(args),
        AuditCommand::Show(args) => show::run(args),
        AuditCommand::Report(args) => report::run(args),
        AuditCommand::Verify(args) => verify::run(args),
        AuditCommand::Schema => schema(),
    }
}

/// Hands each record of sandgate's trail to `take`. Lines that cannot be read are named on standard error.
pub(super) fn each_record(files: &[PathBuf], mut take: impl FnMut(&AuditRecord)) -> Result<Status, CliError> {
    let reading = source::SourceArgs::of_trail(files).each(None, false, |verdict| {
        take(&verdict.record);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(if reading.unread > 0 { Status::Failed } else { Status::Fine })
}

fn schema() -> Result<Status, CliError> {
    let schema = serde_json::to_string_pretty(&json_schema()).expect("a schema is always JSON");
    print(&(schema + "\n"))?;
    Ok(Status::Fine)
}
