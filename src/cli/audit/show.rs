//! `sandgate audit show`: everything that the trail has about one request.

use std::{fmt::Write, ops::ControlFlow};

use clap::{Args, ValueEnum};

use super::{list::name, source::SourceArgs};
use crate::cli::{
    CliError, Status, print,
    terminal::{BAD, DOUBTFUL, FAINT, GOOD, PLACE, fit, paint},
};
use sandgate_engine::{
    review::{AuditRecord, AuditViolation, Outcome},
    text::sanitize,
};

/// Show one request with all that was wrong with it
#[derive(Debug, Args)]
#[command(after_help = super::STATUS)]
pub(in crate::cli) struct ShowArgs {
    /// The request's uid; in the API server's audit log the auditID
    uid: String,
    #[command(flatten)]
    source: SourceArgs,
    /// The output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: ShowFormat,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum ShowFormat {
    /// A table for people
    #[default]
    Text,
    /// For programs: one object a line
    Json,
}

pub(super) fn run(args: &ShowArgs) -> Result<Status, CliError> {
    let mut is_found = false;
    let reading = args.source.each(None, false, |line| {
        if line.record.uid != args.uid {
            return Ok(ControlFlow::Continue(()));
        }
        is_found = true;
        print(&match args.output {
            ShowFormat::Text => text(&line.record),
            ShowFormat::Json => {
                serde_json::to_string(&line).expect("writing JSON to memory cannot fail") + "\n"
            }
        })?;
        Ok(ControlFlow::Continue(()))
    })?;
    if is_found {
        Ok(reading.status())
    } else {
        Err(CliError::new(format_args!("no verdict has the uid {:?}", args.uid)))
    }
}

fn text(verdict: &AuditRecord) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        if !value.is_empty() {
            const COLUMN: usize = 16;
            let value = fit(sanitize(value), COLUMN, COLUMN);
            let _ = writeln!(text, "{} {value}", paint(FAINT, format_args!("{label:<15}")));
        }
    };
    let style = match verdict.outcome() {
        Some(Outcome::Denied) => BAD,
        Some(Outcome::Warned | Outcome::WouldDeny) => DOUBTFUL,
        _ => GOOD,
    };
    let dry_run = if verdict.dry_run { " (dry run)" } else { "" };
    let slash = if verdict.subresource.is_empty() { "" } else { "/" };
    line("time", &verdict.time);
    line("cluster", &verdict.cluster);
    line("instance", &verdict.instance);
    line(
        "request",
        &format!("{} {}{slash}{}{dry_run}", verdict.operation, verdict.resource, verdict.subresource),
    );
    line("namespace", &verdict.namespace);
    line("name", &name(verdict));
    if let Some(owner) = &verdict.owner {
        line("owner", &format!("{} {}", owner.kind, owner.name));
    }
    line("user", &verdict.user);
    line("groups", &verdict.groups.join(", "));
    line("service account", &verdict.service_account);
    line("images", &verdict.images.join(", "));
    line("policy", &format!("{} {} {}", verdict.policy, verdict.policy_hash, verdict.mode));
    line("profile", verdict.profile.as_deref().unwrap_or_default());
    line("endpoint", &verdict.endpoint);
    line("filled", &verdict.filled.join(", "));
    let mut text = format!("{}\n{text}", paint(style, sanitize(&verdict.verdict)));
    for (title, violations) in [
        ("", &verdict.violations),
        ("found, and denies nothing", &verdict.forgiven),
        ("violations of the candidate policy", &verdict.candidate),
    ] {
        if !violations.is_empty() && !title.is_empty() {
            let _ = writeln!(text, "{}", paint(FAINT, title));
        }
        for violation in violations {
            append(&mut text, violation);
        }
    }
    text
}

fn append(
    text: &mut String,
    AuditViolation { rule, path, found, wanted, remedy, level: _ }: &AuditViolation,
) {
    let _ = writeln!(text, "  {} {}", paint(BAD, sanitize(rule)), paint(PLACE, sanitize(path)));
    for (label, value) in [("found", found), ("wanted", wanted), ("remedy", remedy)] {
        if !value.is_empty() {
            const COLUMN: usize = 11;
            let value = fit(sanitize(value), COLUMN, COLUMN);
            let _ = writeln!(text, "    {} {value}", paint(FAINT, format_args!("{label:<6}")));
        }
    }
}
