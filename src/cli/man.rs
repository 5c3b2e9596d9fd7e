//! `sandgate man`: the manual pages.

use std::{fs, path::PathBuf};

use clap::{Args, CommandFactory};

use super::{Cli, CliError, Status, input::reason, print};

/// Print the manual page, or write one for each command into a folder
///
/// To read it: sandgate man | man -l -
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Existing folder for sandgate.1, sandgate-check.1 and so on
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &ManArgs) -> Result<Status, CliError> {
    let Some(folder) = &args.output else {
        print(&page(Cli::command())?)?;
        return Ok(Status::Fine);
    };
    for (name, page) in pages()? {
        let path = folder.join(name);
        fs::write(&path, page).map_err(|error| {
            CliError::new(format_args!("cannot write {}: {}", path.display(), reason(&error)))
        })?;
    }
    Ok(Status::Fine)
}

/// Returns each page with its file name: the program's, and one for each command below it.
fn pages() -> Result<Vec<(String, String)>, CliError> {
    let mut program = Cli::command();
    program.build();
    let mut pages = Vec::new();
    let mut commands = vec![("sandgate".to_string(), program)];
    while let Some((name, command)) = commands.pop() {
        let below = command.get_subcommands().filter(|command| command.get_name() != "help");
        commands.extend(below.map(|command| (format!("{name}-{}", command.get_name()), command.clone())));
        pages.push((format!("{name}.1"), page(command.display_name(name))?));
    }
    Ok(pages)
}

fn page(command: clap::Command) -> Result<String, CliError> {
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command).render(&mut page);
    rendered.map_err(|error| CliError::new(format_args!("cannot render the manual page: {error}")))?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}
