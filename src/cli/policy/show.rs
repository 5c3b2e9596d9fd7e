//! `sandgate policy show`: the policies with every default, and what each lets through beyond the full sandbox.

use std::fmt::Write;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::scope;
use crate::cli::{
    CliError, PolicyArgs, Status, print,
    terminal::{FAINT, STRONG, count, paint, wrap},
};
use sandgate_engine::policy::{Opened, Opening, Policy, opened};

/// Print the policies with every default, and what they open
///
/// Prints each policy as a file that can be used, with everything that it extends and every default written out. The end
/// lists what it opens: what it lets through beyond the full sandbox, who can reach that, and the weakest combination that
/// every creator of Pods can reach.
#[derive(Debug, Args)]
pub(in crate::cli) struct ShowArgs {
    #[command(flatten)]
    policy: PolicyArgs,

    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    /// A policy file; what is opened stands in comments at the end
    #[default]
    Yaml,
    /// A summary for people
    Text,
    /// A list of the policies with their hashes and openings
    Json,
}

pub(super) fn run(args: &ShowArgs) -> Result<Status, CliError> {
    let policies = args.policy.load()?;
    let policies = policies.policies();
    let text = match args.output {
        Format::Yaml => policies.iter().map(yaml).collect::<Vec<_>>().join("---\n"),
        Format::Text => policies.iter().map(text).collect::<Vec<_>>().join("\n"),
        Format::Json => {
            let shown: Vec<Shown> = policies.iter().map(Shown::of).collect();
            serde_json::to_string_pretty(&shown).expect("a policy is always JSON") + "\n"
        }
    };
    print(&text)?;
    Ok(Status::Fine)
}

#[derive(Serialize)]
struct Shown<'p> {
    hash: &'p str,
    policy: serde_json::Value,
    opened: Opened,
}

impl<'p> Shown<'p> {
    fn of(policy: &'p Policy) -> Self {
        Self { hash: &policy.hash, policy: policy.document(), opened: opened(policy) }
    }
}

fn yaml(policy: &Policy) -> String {
    let document = serde_saphyr::to_string(&policy.document()).expect("a policy is always YAML");
    format!("# hash {}\n{document}{}", policy.hash, openings(policy, "# "))
}

fn text(policy: &Policy) -> String {
    const COLUMN: usize = 12;
    let header = &policy.header;
    let mut text = format!("{}\n", paint(STRONG, format_args!("policy {}", policy.name)));
    let mut row = |label: &str, value: String| {
        if !value.is_empty() {
            let label = paint(FAINT, format_args!("  {label:width$}", width = COLUMN - 2));
            let _ = writeln!(text, "{label}{}", wrap(&value, COLUMN, COLUMN));
        }
    };
    row("for", scope(policy));
    row("mode", policy.mode().as_str().into());
    row("hash", policy.hash.clone());
    let rules: Vec<String> =
        header.rules.iter().map(|(rule, level)| format!("{rule} {}", level.as_str())).collect();
    row("rules", rules.join(", "));
    row("candidate", header.candidate.clone());
    row(
        "exempt",
        header.exempt.users.iter().chain(&header.exempt.groups).cloned().collect::<Vec<_>>().join(", "),
    );
    let profiles: Vec<&str> = policy.profiles().iter().map(|profile| profile.name.as_str()).collect();
    row("profiles", profiles.join(", "));
    text + &openings(policy, "")
}

/// Returns what the policy opens, as lines for people that each begin with `margin`.
fn openings(policy: &Policy, margin: &str) -> String {
    let line = |text: &str, column: usize, indent: usize| {
        let blank = " ".repeat(margin.len());
        let text = wrap(text, margin.len() + column, margin.len() + indent);
        let text = text.replace(&format!("\n{blank}"), &format!("\n{margin}"));
        format!("{margin}{}{text}\n", " ".repeat(column))
    };
    let Opened { openings, weakest_profile, weakest } = opened(policy);
    if openings.is_empty() {
        return line("opened: nothing; every Pod is in the full sandbox", 0, 2);
    }
    let mut text = line(&format!("opened, beyond the full sandbox: {}", count(openings.len(), "key")), 0, 2);
    let mut place = None;
    for opening in &openings {
        let of = (&opening.profile, &opening.exception, &opening.reach);
        if place != Some(of) {
            let keys = match (opening.profile.as_str(), opening.exception.as_str()) {
                ("", "") => String::new(),
                ("", exception) => format!("exception {exception}, "),
                (profile, "") => format!("profile {profile}, "),
                (profile, exception) => format!("profile {profile}, exception {exception}, "),
            };
            text += &line(&format!("{keys}for {}:", opening.reach), 2, 4);
            place = Some(of);
        }
        text += &line(&format!("- {}: {}", opening.key, opening.value), 2, 6);
    }
    let keys: Vec<String> = weakest.iter().map(key).collect();
    if !keys.is_empty() {
        let profile = match weakest_profile.as_str() {
            "" => "a Pod that no profile matches".into(),
            name => format!("a Pod of profile {name}"),
        };
        let weakest = format!("weakest that every creator can reach: {profile}, with {}", keys.join(", "));
        text += &line(&weakest, 0, 2);
    }
    text
}

fn key(opening: &Opening) -> String {
    match opening.exception.as_str() {
        "" => opening.key.clone(),
        exception => format!("{} (exception {exception})", opening.key),
    }
}
