//! Where verdicts are read from.

use std::{io, io::Write, ops::ControlFlow, path::PathBuf};

use clap::Args;
use indicatif::ProgressBar;

use super::{
    event::Event,
    filter::FilterArgs,
    lines::{COMPRESSED, LONGEST, Line, Lines, progress},
};
use crate::{
    audit::{self, Verdict},
    cli::{
        Failure, Status,
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

/// What the lines of a file are.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Trail,
    ApiServer,
}

impl SourceArgs {
    /// Hands each verdict that is wanted to `take`, until that breaks off. Lines that cannot be read are named on
    /// standard error, and the status is that of violations. `is_quiet`: there is to be no progress bar.
    pub(super) fn each(
        &self,
        filter: Option<&FilterArgs>,
        is_quiet: bool,
        mut take: impl FnMut(Verdict) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<Status, Failure> {
        let Self { files, apiserver } = self;
        let bar = progress(&[&files[..], apiserver].concat(), is_quiet);
        let mut unread = Unread { bar: bar.clone(), number: 0 };
        let trail = files.iter().map(|path| (path, Kind::Trail));
        let sources = trail.chain(apiserver.iter().map(|path| (path, Kind::ApiServer)));
        'all: for (path, kind) in sources {
            let mut lines = Lines::open(path, &bar)?;
            while lines.advance()? {
                let verdicts = match read(lines.line(), kind) {
                    Ok(verdicts) => verdicts,
                    Err(problem) => {
                        unread.tell(&lines.place(), &problem);
                        continue;
                    }
                };
                for verdict in verdicts {
                    if filter.is_none_or(|filter| filter.wants(&verdict)) && take(verdict)?.is_break() {
                        break 'all;
                    }
                }
            }
        }
        bar.finish_and_clear();
        Ok(unread.end())
    }
}

/// The verdicts of a line.
fn read(line: Line<'_>, kind: Kind) -> Result<Vec<Verdict>, String> {
    let text = match line {
        Line::Whole(text) | Line::Torn(text) if text.is_empty() => return Ok(Vec::new()),
        Line::Whole(text) | Line::Torn(text) => text,
        Line::Compressed => return Err(COMPRESSED.into()),
        Line::TooLong => return Err(format!("is longer than {} MiB", LONGEST >> 20)),
    };
    match kind {
        Kind::Trail => match audit::Line::read(text) {
            Ok(audit::Line::Verdict(verdict)) => Ok(vec![*verdict]),
            Ok(audit::Line::Notice(_)) => Ok(Vec::new()),
            Err(error) => Err(reason(line, "audit line", &error)),
        },
        Kind::ApiServer => match serde_json::from_slice::<Event>(text) {
            Ok(event) => Ok(event.verdicts()),
            Err(error) => Err(reason(line, "event of audit.k8s.io/v1", &error)),
        },
    }
}

fn reason(line: Line<'_>, what: &str, error: &serde_json::Error) -> String {
    if matches!(line, Line::Torn(_)) {
        return "is cut off".into();
    }
    // Each line is a text of its own, so its number there says nothing.
    let error = error.to_string();
    let error = error.rsplit_once(" at line ").map_or(&*error, |(problem, _)| problem);
    format!("is no {what}: {error}")
}

/// The lines that could not be read.
struct Unread {
    bar: ProgressBar,
    number: u64,
}

impl Unread {
    /// The first ones by name: a wrong file has millions.
    const NAMED: u64 = 10;

    fn tell(&mut self, place: &str, problem: &str) {
        self.number += 1;
        if self.number <= Self::NAMED {
            self.bar.suspend(|| error(&format!("{place}: {problem}")));
        }
    }

    fn end(&self) -> Status {
        if self.number > Self::NAMED {
            note(&format!("{} more lines cannot be read", self.number - Self::NAMED));
        }
        if self.number > 0 { Status::Violations } else { Status::Fine }
    }
}

/// Writes `text`; breaks off when nobody reads any more, which is no error.
pub(super) fn write(out: &mut impl Write, text: &[u8]) -> Result<ControlFlow<()>, Failure> {
    match out.write_all(text) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(unwritable(&error)),
    }
}

/// Writes what is still buffered.
pub(super) fn flush(out: &mut impl Write) -> Result<(), Failure> {
    match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritable(&error)),
        _ => Ok(()),
    }
}
