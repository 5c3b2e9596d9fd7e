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

use self::{output::Output, page::page, summary::Summary};
use super::{filter::FilterArgs, source::SourceArgs};
use crate::cli::{Failure, Status, input::is_stdin};

/// Make a page of who was denied, when and why
///
/// The page is one file that loads nothing from anywhere and has no script, so that it can be sent by mail and opened
/// from a disk. The same records give the same page.
#[derive(Debug, Args)]
#[command(after_help = super::STATUS)]
pub(in crate::cli) struct ReportArgs {
    /// Where the page goes; "-" is standard output. A report that is there is replaced, any other file is not
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
    /// How many rows a list has at most
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// How many of the newest denials are told in full
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u16).range(0..=1000))]
    newest: u16,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    filter: FilterArgs,
}

pub(super) fn run(args: &ReportArgs) -> Result<Status, Failure> {
    let ReportArgs { html, limit, newest, source, filter } = args;
    // What is wrong with it should be known before gigabytes are read.
    let output = Output::new(html)?;
    let mut summary = Summary::new((*newest).into());
    let is_quiet = is_stdin(html) && io::stdout().is_terminal();
    let reading = source.each(Some(filter), is_quiet, |verdict| {
        summary.take(&verdict.record);
        Ok(ControlFlow::Continue(()))
    })?;
    output.write(&page(&summary, &reading, &filter.described(), (*limit).into()))?;
    Ok(reading.status())
}
