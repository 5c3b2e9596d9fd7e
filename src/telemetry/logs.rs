//! Logs: on standard error, one line each, from a level that can be changed at run time. Lines are written by a thread
//! of their own, so that a reader that stalls holds up nothing: lines that find the queue full are dropped and counted.

use std::{
    borrow::Cow,
    env, fmt as std_fmt,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
};
use tracing_subscriber::{
    EnvFilter, Registry,
    filter::{LevelFilter, ParseError},
    fmt,
    prelude::*,
    reload,
    util::TryInitError,
};

use super::log_queue::LogQueue;
use sandgate_engine::text::{escape, is_unsafe_for_display};

/// The time that the end of the process waits for the last log lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// Text lines for people.
    #[default]
    Text,
    /// JSON lines for programs.
    Json,
}

/// The reason why logs cannot be written, or their level cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is empty.
    #[error("the log filter is empty: give one such as info or sandgate=debug")]
    Empty,
    /// The filter cannot be parsed.
    #[error("{filter:?} is not a log filter such as info or sandgate=debug: {source}")]
    Filter {
        /// The filter as it was given.
        filter: String,
        /// The problem of the filter.
        source: ParseError,
    },
    /// A word of the filter is not a level.
    #[error(
        "{word:?} is not a log level: use off, error, warn, info, debug or trace, or write {word}=debug for a module"
    )]
    Level {
        /// The word as it was given.
        word: String,
    },
    /// The thread that writes lines cannot be started.
    #[error("cannot start the thread that writes the log: {0}")]
    Thread(#[from] io::Error),
    /// Logs are being written already.
    #[error("cannot start the log: {0}")]
    Start(#[from] TryInitError),
    /// The level cannot be changed.
    #[error("cannot change the log level: {0}")]
    Reload(#[from] reload::Error),
}

/// The log of the running program.
#[derive(Debug)]
pub struct Logs {
    /// The level of the lines that are written.
    pub level: LogLevel,
    /// Counts the lines that were dropped.
    pub dropped: DroppedLines,
    queue: LogQueue,
}

impl Drop for Logs {
    /// Flushes the lines that are queued, and waits a second at most.
    fn drop(&mut self) {
        self.queue.flush_within(FLUSH_TIMEOUT);
    }
}

/// Counts log lines that found the queue full.
#[derive(Debug, Clone)]
pub struct DroppedLines(LogQueue);

impl Collector for DroppedLines {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std_fmt::Result {
        let help = "Log lines that were dropped because their reader was too slow";
        let lines = ConstCounter::new(self.0.dropped());
        lines.encode(encoder.encode_descriptor("log_lines_dropped", help, None, MetricType::Counter)?)
    }
}

/// The level of the log lines that are written. It can be changed.
#[derive(Debug, Clone)]
pub struct LogLevel(reload::Handle<EnvFilter, Registry>);

impl LogLevel {
    /// Returns the filter in force.
    #[must_use]
    pub fn current(&self) -> String {
        self.0.with_current(ToString::to_string).unwrap_or_default()
    }

    /// Takes another filter, such as `info` or `sandgate=debug`.
    ///
    /// # Errors
    /// An error if it is no filter.
    pub fn set(&self, filter: &str) -> Result<(), LogError> {
        self.0.reload(parse(filter)?)?;
        // rustls logs by another crate, which was given its level at the start.
        if let Ok(level) = LevelFilter::current().to_string().parse() {
            log::set_max_level(level);
        }
        Ok(())
    }
}

#[cfg(test)]
impl LogLevel {
    /// Returns the level of a log that goes nowhere, for as long as the layer lives.
    pub(crate) fn apart(filter: &str) -> (reload::Layer<EnvFilter, Registry>, Self) {
        let (layer, handle) = reload::Layer::new(EnvFilter::new(filter));
        (layer, Self(handle))
    }
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    if filter.trim().is_empty() {
        return Err(LogError::Empty);
    }
    // A bare word that is no level would be read as the name of a module, and silence all others.
    let words = filter.split(',').map(str::trim);
    if let Some(word) = words.into_iter().find(|word| !word.contains(['=', '[']) && !is_level(word)) {
        return Err(LogError::Level { word: word.to_owned() });
    }
    EnvFilter::try_new(filter).map_err(|source| LogError::Filter { filter: filter.to_owned(), source })
}

fn is_level(word: &str) -> bool {
    word.parse::<LevelFilter>().is_ok()
}

/// Writes logs to standard error from now on. `level` is a filter such as `info` or `sandgate=debug`.
///
/// # Errors
/// An error if `level` is no filter, or logs are being written already.
pub fn start_logs(format: LogFormat, level: &str) -> Result<Logs, LogError> {
    let filter = parse(level)?;
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (filter, handle) = reload::Layer::new(filter);
    let queue = LogQueue::start(io::stderr())?;
    let out = queue.clone();
    let lines = fmt::layer().with_ansi(colours).with_writer(move || PlainLines { out: out.clone(), colours });
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => registry.with(lines).try_init()?,
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init()?,
    }
    // A panic that is caught is a line like any other.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "Panic")));
    Ok(Logs { level: LogLevel(handle), dropped: DroppedLines(queue.clone()), queue })
}

/// Lets one line a minute pass.
#[derive(Debug, Default)]
pub struct LogThrottle(Option<Instant>);

impl LogThrottle {
    /// Returns true if the last line that passed is a minute old, and counts this one as passed.
    pub fn allow(&mut self) -> bool {
        const MIN_INTERVAL: Duration = Duration::from_mins(1);
        let is_allowed = self.0.is_none_or(|last| last.elapsed() >= MIN_INTERVAL);
        if is_allowed {
            self.0 = Some(Instant::now());
        }
        is_allowed
    }
}

/// Queues each event as one line, whatever names and reasons are in it.
struct PlainLines<W> {
    out: W,
    /// True if the escape sequences are sandgate's own.
    colours: bool,
}

impl<W: Write> Write for PlainLines<W> {
    /// `event` is a whole one: `tracing_subscriber` puts it together first.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        self.out.write_all(one_line(&text, self.colours).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Escapes what could forge a line as JSON does, so that a line of JSON stays what it is.
fn one_line(event: &str, colours: bool) -> Cow<'_, str> {
    let line = event.strip_suffix('\n').unwrap_or(event);
    let forges = |c: char| is_unsafe_for_display(c) && !(colours && c == '\u{1b}');
    match escape(line, forges) {
        Cow::Borrowed(_) => Cow::Borrowed(event),
        Cow::Owned(escaped) => Cow::Owned(escaped + "\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_does_not_exist_is_an_error() {
        for filter in ["info", "off", "WARN", "sandgate=debug", "info,hyper=warn", "sandgate[request]=trace"]
        {
            assert!(parse(filter).is_ok(), "{filter}");
        }
        for filter in ["debgu", "info,debgu", "sandgate", "sandgate=debgu", ""] {
            assert!(parse(filter).is_err(), "{filter}");
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let event = "INFO a\nb\r\u{1b}[2K\u{9b}1A\u{202e}\u{200b}c\n";
        let line = "INFO a\\nb\\u000d\\u001b[2K\\u009b1A\\u202e\\u200bc\n";
        assert_eq!(one_line(event, false), line);
        assert_eq!(one_line("INFO plain ünïcödé\n", false), "INFO plain ünïcödé\n");
    }

    #[test]
    fn json_stays_json() {
        let line = one_line("{\"user\":\"a\u{202e}\u{9b}\\n\"}\n", false);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["user"], "a\u{202e}\u{9b}\n");
    }

    #[test]
    fn colours_are_left_on_a_terminal() {
        assert_eq!(one_line("\u{1b}[32mINFO\u{1b}[0m a\u{7f}\n", true), "\u{1b}[32mINFO\u{1b}[0m a\\u007f\n");
    }
}
