//! `sandgate audit report`: the trail as a page, for people who would rather look than read.

mod output;
mod page;
mod sanitized;
mod summary;
mod timeline;

use std::{
    io::{self, IsTerminal},
    ops::ControlFlow,
    path::PathBuf,
};

use clap::Args;

use self::{
    output::Destination,
    page::{Facts, page},
    summary::Summary,
};
use super::{chains::Chains, filter::FilterArgs, source::SourceArgs};
use crate::cli::{CliError, Status, input::is_stdin};

/// Make a page of who was denied, when and why
///
/// For an audit the page has its scope (clusters, replicas, namespaces, period), gaps in time, the state of the hash chains,
/// every exemption with what it let in, the policies with the times in which they held, and every denial as an appendix.
///
/// The page is one file that loads nothing from anywhere and has no script, so that it can be sent by mail and opened
/// from a disk. The same records give the same page.
#[derive(Debug, Args)]
#[command(after_help = super::STATUS)]
pub(in crate::cli) struct ReportArgs {
    /// The file of the page; "-" is standard output. An existing report is replaced, any other file is not
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
    /// The heading of the page
    #[arg(long, value_name = "TEXT", default_value = "Who was denied, and why")]
    title: String,
    /// The most rows of a list
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// The number of the newest denials that are shown in full
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u16).range(0..=1000))]
    newest: u16,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    filter: FilterArgs,
}

pub(super) fn run(args: &ReportArgs) -> Result<Status, CliError> {
    let ReportArgs { html, title, limit, newest, source, filter } = args;
    // What is wrong with it should be known before gigabytes are read.
    let output = Destination::new(html)?;
    let mut summary = Summary::new((*newest).into());
    let is_quiet = is_stdin(html) && io::stdout().is_terminal();
    let mut chains = Chains::default();
    let reading = source.each_verified(Some(filter), is_quiet, Some(&mut chains), |verdict| {
        summary.take(&verdict.record);
        Ok(ControlFlow::Continue(()))
    })?;
    let facts = Facts { summary: &summary, reading: &reading, chains: &chains, title };
    output.write(&page(&facts, &filter.described(), (*limit).into()))?;
    Ok(reading.status())
}
