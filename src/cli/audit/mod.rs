//! `sandgate audit`: reads the audit trail, and the API server's audit log.

mod lines;
mod verify;

use clap::Subcommand;

use super::{Failure, Status};

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    Verify(verify::VerifyArgs),
}

pub(super) fn run(command: &AuditCommand) -> Result<Status, Failure> {
    match command {
        AuditCommand::Verify(args) => verify::run(args),
    }
}
