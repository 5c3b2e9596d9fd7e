//! The sources of verdicts.

use std::{io, io::Write, ops::ControlFlow, path::PathBuf};

use clap::Args;
use indicatif::ProgressBar;

use super::{
    apiserver_event::AuditEvent,
    chains::Chains,
    filter::FilterArgs,
    lines::{COMPRESSED, Line, Lines, MAX_LINE_BYTES, is_log_line, progress},
    verify::in_order,
};
use crate::{
    audit::{Notice, TrailLine, VerdictLine},
    cli::{
        CliError, Status,
        terminal::{error, note},
        unwritable,
    },
};

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct SourceArgs {
    /// Files with sandgate's audit lines; "-" is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The API server's own audit log; may be given several times
    #[arg(long, value_name = "FILE")]
    apiserver: Vec<PathBuf>,
}

/// The format of the lines of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineKind {
    Trail,
    ApiServer,
}

impl SourceArgs {
    /// Returns the arguments for files of sandgate's own trail.
    pub(super) fn of_trail(files: &[PathBuf]) -> Self {
        Self { files: files.to_vec(), apiserver: Vec::new() }
    }

    /// Hands each verdict that is wanted to `take`, until that breaks off. Lines that cannot be read are named on
    /// standard error. `is_quiet`: there is to be no progress bar.
    pub(super) fn each(
        &self,
        filter: Option<&FilterArgs>,
        is_quiet: bool,
        take: impl FnMut(VerdictLine) -> Result<ControlFlow<()>, CliError>,
    ) -> Result<Reading, CliError> {
        self.each_verified(filter, is_quiet, None, take)
    }

    /// Does the same, and follows the chains of the trail in `chains`. Several files are then read in the order of their
    /// first records.
    pub(super) fn each_verified(
        &self,
        filter: Option<&FilterArgs>,
        is_quiet: bool,
        mut chains: Option<&mut Chains>,
        mut take: impl FnMut(VerdictLine) -> Result<ControlFlow<()>, CliError>,
    ) -> Result<Reading, CliError> {
        let Self { files, apiserver } = self;
        let files = &if chains.is_some() && !files.is_empty() { in_order(files)? } else { files.clone() };
        let bar = progress(&[&files[..], apiserver].concat(), is_quiet);
        let mut reading = Reading::default();
        let trail = files.iter().map(|path| (path, LineKind::Trail));
        let sources = trail.chain(apiserver.iter().map(|path| (path, LineKind::ApiServer)));
        'all: for (path, kind) in sources {
            let mut lines = Lines::open(path, &bar)?;
            reading.files.push(FileRead { name: lines.name.clone(), kind, lines: 0, verdicts: 0 });
            while lines.advance()? {
                if let (Some(chains), LineKind::Trail) = (&mut chains, kind) {
                    chains.read(lines.line(), &|| lines.place());
                    chains.limit_problems();
                }
                let verdicts = match read(lines.line(), kind) {
                    Ok(Content::Verdicts(verdicts)) => verdicts,
                    Ok(Content::Dropped(records)) => {
                        reading.dropped = reading.dropped.saturating_add(records);
                        Vec::new()
                    }
                    Err(problem) => {
                        reading.report(&bar, format!("{}: {problem}", lines.place()));
                        Vec::new()
                    }
                };
                reading.count(lines.number, verdicts.len());
                for verdict in verdicts {
                    if filter.is_none_or(|filter| filter.wants(&verdict.record)) && take(verdict)?.is_break()
                    {
                        break 'all;
                    }
                }
            }
            if let Some(chains) = &mut chains {
                chains.end_file();
            }
        }
        bar.finish_and_clear();
        reading.end();
        Ok(reading)
    }
}

/// The content of a line.
enum Content {
    Verdicts(Vec<VerdictLine>),
    /// So many records were lost before they could be written.
    Dropped(u64),
}

fn read(line: Line<'_>, kind: LineKind) -> Result<Content, String> {
    let text = match line {
        Line::Whole(text) | Line::Torn(text) if text.is_empty() => return Ok(Content::Verdicts(Vec::new())),
        Line::Whole(text) | Line::Torn(text) => text,
        Line::Compressed => return Err(COMPRESSED.into()),
        Line::TooLong => return Err(format!("is longer than {} MiB", MAX_LINE_BYTES >> 20)),
    };
    match kind {
        LineKind::Trail => match TrailLine::read(text) {
            Ok(TrailLine::Verdict(verdict)) => Ok(Content::Verdicts(vec![*verdict])),
            Ok(TrailLine::Notice(line)) => match line.notice {
                Notice::Dropped { records } => Ok(Content::Dropped(records)),
                Notice::Started { .. } | Notice::Torn { .. } => Ok(Content::Verdicts(Vec::new())),
            },
            Err(_) if is_log_line(text) => Ok(Content::Verdicts(Vec::new())),
            Err(error) => Err(reason(line, "audit line", &error)),
        },
        LineKind::ApiServer => match serde_json::from_slice::<AuditEvent>(text) {
            Ok(event) => {
                let lines = event.records().into_iter().map(|record| VerdictLine { record, seal: None });
                Ok(Content::Verdicts(lines.collect()))
            }
            Err(error) => Err(reason(line, "event of audit.k8s.io/v1", &error)),
        },
    }
}

/// Returns why a line could not be read as what it should be.
pub(super) fn reason(line: Line<'_>, what: &str, error: &serde_json::Error) -> String {
    if matches!(line, Line::Torn(_)) {
        return "is cut off".into();
    }
    // Each line is a text of its own, so its number there means nothing.
    let error = error.to_string();
    let error = error.rsplit_once(" at line ").map_or(&*error, |(problem, _)| problem);
    format!("is no {what}: {error}")
}

/// The number of lines that were read, and of those that could not be.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) files: Vec<FileRead>,
    /// The first lines that could not be read, with place and reason.
    pub(super) problems: Vec<String>,
    /// The number of all such lines.
    pub(super) unread: u64,
    /// The number of records that were lost before they could be written, by the trail's notices.
    pub(super) dropped: u64,
}

/// The part of a file that was read.
#[derive(Debug)]
pub(super) struct FileRead {
    pub(super) name: String,
    pub(super) kind: LineKind,
    pub(super) lines: u64,
    /// Those that a filter leaves out included.
    pub(super) verdicts: u64,
}

impl Reading {
    /// The first ones by name: a wrong file has millions.
    const MAX_NAMED: usize = 10;

    pub(super) fn status(&self) -> Status {
        if self.unread > 0 { Status::Violations } else { Status::Fine }
    }

    /// The problems that are not named.
    pub(super) fn unnamed(&self) -> u64 {
        self.unread - self.problems.len() as u64
    }

    fn report(&mut self, bar: &ProgressBar, problem: String) {
        self.unread += 1;
        if self.problems.len() < Self::MAX_NAMED {
            bar.suspend(|| error(&problem));
            self.problems.push(problem);
        }
    }

    fn count(&mut self, lines: u64, verdicts: usize) {
        if let Some(file) = self.files.last_mut() {
            file.lines = lines;
            file.verdicts += verdicts as u64;
        }
    }

    fn end(&self) {
        if self.unnamed() > 0 {
            note(&format!("{} more lines cannot be read", self.unnamed()));
        }
    }
}

/// Writes `text`; breaks off when the reader has gone, which is no error.
pub(super) fn write(out: &mut impl Write, text: &[u8]) -> Result<ControlFlow<()>, CliError> {
    match out.write_all(text) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(unwritable(&error)),
    }
}

/// Writes what is still buffered.
pub(super) fn flush(out: &mut impl Write) -> Result<(), CliError> {
    match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritable(&error)),
        _ => Ok(()),
    }
}
