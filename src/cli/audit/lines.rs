//! Lines of files of any size, one at a time, in bounded memory.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;

use crate::cli::{
    CliError,
    input::{is_stdin, reason, warn_of_terminal},
};

/// The longest line that is read. Events of the API server hold whole objects and are longer than records, but
/// shorter than this.
pub(super) const MAX_LINE_BYTES: usize = 16 << 20;

/// The bytes between two newlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line<'l> {
    Whole(&'l [u8]),
    /// The file ends without a newline.
    Torn(&'l [u8]),
    /// The line is longer than [`MAX_LINE_BYTES`].
    TooLong,
    /// The file is compressed, and this is all that is read of it.
    Compressed,
}

/// The extension of a compressed file.
pub(super) const COMPRESSED: &str = "is compressed; unpack it first: zcat FILE | sandgate audit … -";

/// The lines of one file, or of standard input.
pub(super) struct Lines {
    /// The name of the source in messages.
    pub(super) name: String,
    /// The number of the line that was read last, from 1.
    pub(super) number: u64,
    input: Box<dyn BufRead>,
    /// The line that was read last, with its newline if it has one.
    text: Vec<u8>,
    is_compressed: bool,
}

impl Lines {
    /// Opens a file, or standard input for `-`. `progress` follows what is read of a file.
    pub(super) fn open(path: &Path, progress: &ProgressBar) -> Result<Self, CliError> {
        if is_stdin(path) {
            warn_of_terminal("audit lines");
            return Ok(Self::of("standard input", io::stdin().lock()));
        }
        let name = path.display().to_string();
        let open = || {
            let file = File::open(path)?;
            if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
        };
        match open() {
            Ok(file) => {
                let input = BufReader::with_capacity(256 << 10, progress.wrap_read(file));
                Ok(Self::of(&name, input))
            }
            Err(error) => Err(unreadable(&name, &error)),
        }
    }

    pub(super) fn of(name: &str, input: impl BufRead + 'static) -> Self {
        Self { name: name.into(), number: 0, input: Box::new(input), text: Vec::new(), is_compressed: false }
    }

    /// Reads the next line; `false` at the end.
    pub(super) fn advance(&mut self) -> Result<bool, CliError> {
        self.text.clear();
        self.text.shrink_to(1 << 20);
        let read = self.input.by_ref().take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut self.text);
        if read.map_err(|error| unreadable(&self.name, &error))? == 0 {
            return Ok(false);
        }
        self.number += 1;
        if self.number == 1 && self.text.starts_with(&[0x1f, 0x8b]) {
            self.is_compressed = true;
            self.input = Box::new(io::empty());
            return Ok(true);
        }
        if matches!(self.line(), Line::TooLong) {
            self.input.skip_until(b'\n').map_err(|error| unreadable(&self.name, &error))?;
        }
        Ok(true)
    }

    /// The line that was read last.
    pub(super) fn line(&self) -> Line<'_> {
        match self.text.strip_suffix(b"\n") {
            _ if self.is_compressed => Line::Compressed,
            Some(line) => Line::Whole(line),
            None if self.text.len() > MAX_LINE_BYTES => Line::TooLong,
            None => Line::Torn(&self.text),
        }
    }

    /// The position of the line that was read last.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.name, self.number)
    }
}

/// Returns true for a line of sandgate's own log, as text or JSON: in the output of a Pod it stands between the records.
pub(super) fn is_log_line(text: &[u8]) -> bool {
    const LEVELS: [&str; 5] = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
    const BEGIN: &[u8] = br#"{"timestamp":""#;
    #[derive(Deserialize)]
    struct LogLine<'l> {
        timestamp: &'l str,
        level: &'l str,
    }
    if text.starts_with(BEGIN) {
        let line: Option<LogLine> = serde_json::from_slice(text).ok();
        return line.is_some_and(|line| is_time(line.timestamp) && LEVELS.contains(&line.level));
    }
    let Ok(text) = str::from_utf8(text) else { return false };
    let mut words = text.split_ascii_whitespace();
    words.next().is_some_and(is_time) && words.next().is_some_and(|level| LEVELS.contains(&level))
}

fn is_time(text: &str) -> bool {
    text.parse::<jiff::Timestamp>().is_ok()
}

fn unreadable(name: &str, error: &io::Error) -> CliError {
    CliError::new(format_args!("{name}: cannot be read: {}", reason(error)))
}

/// A bar over all of `files`, on standard error and only if that is a terminal; `is_quiet` where something else is
/// being written there.
pub(super) fn progress(files: &[PathBuf], is_quiet: bool) -> ProgressBar {
    const BAR: &str = "{wide_bar} {bytes}/{total_bytes} {eta}";
    if is_quiet || files.iter().any(|path| is_stdin(path)) {
        return ProgressBar::hidden();
    }
    let sizes = files.iter().filter_map(|path| path.metadata().ok()).map(|file| file.len());
    let bar = ProgressBar::with_draw_target(Some(sizes.sum()), ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_and_a_torn_or_endless_one_is_known() {
        let text = [b"a\n\nb\n".to_vec(), vec![b'x'; MAX_LINE_BYTES + 1], b"\nc".to_vec()].concat();
        let mut lines = Lines::of("x", io::Cursor::new(text));
        for line in [Line::Whole(b"a"), Line::Whole(b""), Line::Whole(b"b"), Line::TooLong, Line::Torn(b"c")]
        {
            assert!(lines.advance().unwrap());
            assert_eq!(lines.line(), line);
        }
        assert_eq!(lines.place(), "x:5");
        assert!(!lines.advance().unwrap());
    }

    #[test]
    fn lines_of_the_log_are_known() {
        for line in [
            "2026-11-24T12:00:00.123456Z  INFO sandgate::cli::serve: Serving listen=0.0.0.0:10250",
            r#"{"timestamp":"2026-11-24T12:00:00.123456Z","level":"INFO","message":"Serving","target":"sandgate"}"#,
        ] {
            assert!(is_log_line(line.as_bytes()), "{line}");
        }
        for line in [
            "",
            "{}",
            "hello",
            r#"{"time":"2026-11-24T12:00:00Z","verdict":"denied"}"#,
            r#"{"timestamp":"2026-11-24T12:00:00Z","level":"denied"}"#,
            "2026-11-24T12:00:00Z denied",
        ] {
            assert!(!is_log_line(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn the_longest_line_is_read() {
        let text = [vec![b'x'; MAX_LINE_BYTES], b"\ny\n".to_vec()].concat();
        let mut lines = Lines::of("x", io::Cursor::new(text));
        for line in [Line::Whole(&vec![b'x'; MAX_LINE_BYTES]), Line::Whole(b"y")] {
            assert!(lines.advance().unwrap());
            assert_eq!(lines.line(), line);
        }
    }
}
