//! `sandgate policy`: the policies in force, whether policy files are right, and their JSON schema.

use std::{fmt::Write, path::PathBuf};

use clap::{Args, Subcommand};

use super::{
    CliError, PolicyArgs, Status, policy_sources, print,
    terminal::{GOOD, error, paint},
};
use sandgate_engine::policy::{LoadErrors, Policy, PolicySet, json_schema};

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Print the policies with every default, as a file that can be used
    Show(PolicyArgs),
    Validate(ValidateArgs),
    /// Print the JSON schema of a policy file
    Schema,
}

/// Check policy files
///
/// Reads the files as one set, as the webhook would, and prints each policy in it, or everything that is wrong.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 the policies can be used, 1 something in them is wrong, 2 a file cannot be read."
)]
pub(super) struct ValidateArgs {
    /// Policy files, folders of *.yaml, *.yml and *.json, or "-" for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(command: &PolicyCommand) -> Result<Status, CliError> {
    match command {
        PolicyCommand::Show(args) => show(&args.load()?),
        PolicyCommand::Validate(args) => validate(args),
        PolicyCommand::Schema => schema(),
    }
}

fn show(policies: &PolicySet) -> Result<Status, CliError> {
    let documents: Vec<String> = policies.policies().iter().map(document).collect();
    print(&documents.join("---\n"))?;
    Ok(Status::Fine)
}

fn document(policy: &Policy) -> String {
    let yaml = serde_saphyr::to_string(&policy.document()).expect("a policy is always YAML");
    format!("# hash {}\n{yaml}", policy.hash)
}

fn validate(args: &ValidateArgs) -> Result<Status, CliError> {
    let mut sources = Vec::new();
    for path in &args.files {
        sources.extend(policy_sources(path)?);
    }
    match PolicySet::from_sources(&sources) {
        Ok(policies) => {
            print(&policies.policies().iter().fold(String::new(), |text, policy| text + &line(policy)))?;
            Ok(Status::Fine)
        }
        Err(LoadErrors(errors)) => {
            for wrong in errors {
                error(&wrong.to_string());
            }
            Ok(Status::Violations)
        }
    }
}

fn line(policy: &Policy) -> String {
    let mut line = String::new();
    let (good, namespaces, mode) =
        (paint(GOOD, "ok"), policy.header.namespaces.to_string(), policy.mode().as_str());
    let _ =
        writeln!(line, "{good} {}: namespaces {namespaces}; mode {mode}; hash {}", policy.name, policy.hash);
    line
}

fn schema() -> Result<Status, CliError> {
    let schema = serde_json::to_string_pretty(&json_schema()).expect("a schema is always JSON");
    print(&(schema + "\n"))?;
    Ok(Status::Fine)
}
