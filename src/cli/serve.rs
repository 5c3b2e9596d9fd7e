//! `sandgate serve`: placeholder until the server branch lands.

use std::process::ExitCode;

/// Settings of the server.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {}

/// Runs the server until it is told to end.
#[must_use]
pub fn run(_: ServeArgs) -> ExitCode {
    ExitCode::from(2)
}
