//! `sandgate completion`: commands that complete themselves.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, CliError, Status, print};

/// Print a script that completes commands in a shell
///
/// For bash: source <(sandgate completion bash)
#[derive(Debug, Args)]
pub(super) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &CompletionArgs) -> Result<Status, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sandgate", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Status::Fine)
}
