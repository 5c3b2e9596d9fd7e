//! `sandgate policy`: the policies in force, how two versions differ, the presets, a policy for what is there, what a
//! policy would have denied, whether policy files are right, and their JSON schema.

mod diff;
mod preset;
mod replay;
mod show;
mod suggest;

use std::{fmt::Write, path::PathBuf};

use clap::{Args, Subcommand};

use super::{
    CliError, Status, policy_sources, print,
    terminal::{GOOD, error, note, paint},
};
use sandgate_engine::policy::{LoadErrors, Policy, PolicySet, json_schema};

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    Show(show::ShowArgs),
    Validate(ValidateArgs),
    Diff(diff::DiffArgs),
    Preset(preset::PresetArgs),
    Suggest(Box<suggest::SuggestArgs>),
    Replay(replay::ReplayArgs),
    /// Print the JSON schema of a policy file
    Schema,
}

/// Check policy files
///
/// Reads the files as one set, as the webhook would, and prints each policy in it, or everything that is wrong. What is
/// allowed and probably not meant is printed as notes on standard error.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 the policies can be used, 1 something in them is wrong, 2 a file cannot be read."
)]
pub(super) struct ValidateArgs {
    /// Policy files, folders of *.yaml, *.yml and *.json, preset/NAME, or "-" for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(command: &PolicyCommand) -> Result<Status, CliError> {
    match command {
        PolicyCommand::Show(args) => show::run(args),
        PolicyCommand::Validate(args) => validate(args),
        PolicyCommand::Diff(args) => diff::run(args),
        PolicyCommand::Preset(args) => preset::run(args),
        PolicyCommand::Suggest(args) => suggest::run(args),
        PolicyCommand::Replay(args) => replay::run(args),
        PolicyCommand::Schema => schema(),
    }
}

fn validate(args: &ValidateArgs) -> Result<Status, CliError> {
    let mut sources = Vec::new();
    for path in &args.files {
        sources.extend(policy_sources(path)?);
    }
    match PolicySet::from_sources(&sources) {
        Ok(policies) => {
            print(&policies.policies().iter().fold(String::new(), |text, policy| text + &line(policy)))?;
            policies.warnings().iter().for_each(|warning| note(&warning.to_string()));
            Ok(Status::Fine)
        }
        Err(LoadErrors(errors)) => {
            for wrong in &errors {
                error(&wrong.to_string());
            }
            Ok(Status::Violations)
        }
    }
}

fn line(policy: &Policy) -> String {
    let mut line = String::new();
    let (good, scope, mode) = (paint(GOOD, "ok"), scope(policy), policy.mode().as_str());
    let _ = writeln!(line, "{good} {}: {scope}; mode {mode}; hash {}", policy.name, policy.hash);
    line
}

/// Returns which namespaces a policy is for.
fn scope(policy: &Policy) -> String {
    let header = &policy.header;
    match &header.namespace_selector {
        Some(selector) => {
            let requirements = selector.requirements();
            let text = |requirement: &sandgate_engine::policy::LabelRequirement| {
                let values = requirement.values.join(", ");
                let operator = serde_json::to_value(requirement.operator).unwrap_or_default();
                let operator = operator.as_str().unwrap_or_default().to_owned();
                if values.is_empty() {
                    format!("{} {operator}", requirement.key)
                } else {
                    format!("{} {operator} [{values}]", requirement.key)
                }
            };
            format!(
                "namespaces with the labels {}",
                requirements.iter().map(text).collect::<Vec<_>>().join(" and ")
            )
        }
        None if header.namespaces.is_empty() => "no namespaces".into(),
        None => format!("namespaces {}", header.namespaces),
    }
}

fn schema() -> Result<Status, CliError> {
    let schema = serde_json::to_string_pretty(&json_schema()).expect("a schema is always JSON");
    print(&(schema + "\n"))?;
    Ok(Status::Fine)
}
