//! `sandgate policy preset`: the policies that come with the program.

use std::fmt::Write;

use clap::Args;

use super::super::{
    CliError, Status, print,
    terminal::{STRONG, paint, wrap},
};
use crate::policy_files::unknown_preset;
use sandgate_engine::policy::{PRESETS, preset};

/// List the presets, or print one
///
/// Without NAME, lists the policies that come with the program, one for each engine that runs Pods. With one, prints its
/// file: what it opens and why, what to set in the engine, what will not work. Use a preset by "extends: preset/NAME" in a
/// policy, or by --policy preset/NAME.
#[derive(Debug, Args)]
pub(in crate::cli) struct PresetArgs {
    /// Name of the preset
    name: Option<String>,
}

pub(super) fn run(args: &PresetArgs) -> Result<Status, CliError> {
    match &args.name {
        None => print(&list())?,
        Some(name) => {
            let name = name.strip_prefix("preset/").unwrap_or(name);
            print(preset(name).ok_or_else(|| CliError::new(unknown_preset(name)))?)?;
        }
    }
    Ok(Status::Fine)
}

fn list() -> String {
    let column = PRESETS.iter().map(|(name, _)| name.len()).max().unwrap_or_default() + 2;
    PRESETS.iter().fold(String::new(), |mut list, (name, text)| {
        let _ = writeln!(
            list,
            "{}{}",
            paint(STRONG, format_args!("{name:column$}")),
            wrap(title(text), column, column)
        );
        list
    })
}

/// Returns the first line of a preset's header.
fn title(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_start_matches(['#', ' '])
}
