//! Logs: on standard error, one line each, from a level that can be changed while they are written.

use std::{
    borrow::Cow,
    env,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use tracing_subscriber::{EnvFilter, Registry, filter::LevelFilter, fmt, prelude::*, reload};

use sandgate_engine::text::{escape, is_unsafe_for_display};

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Which lines are written; can be changed.
#[derive(Debug, Clone)]
pub struct LogLevel(reload::Handle<EnvFilter, Registry>);

impl LogLevel {
    /// The filter that holds.
    #[must_use]
    pub fn current(&self) -> String {
        self.0.with_current(ToString::to_string).unwrap_or_default()
    }

    /// Takes another filter, such as `info` or `sandgate=debug`.
    ///
    /// # Errors
    /// When it is no filter.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        let filter = parse(filter)?;
        self.0.reload(filter).map_err(|error| error.to_string())?;
        // rustls logs by another crate, which was told at the start what it need not pass on.
        if let Ok(level) = LevelFilter::current().to_string().parse() {
            log::set_max_level(level);
        }
        Ok(())
    }
}

#[cfg(test)]
impl LogLevel {
    /// Of logs that go nowhere, for as long as the first lives.
    pub(crate) fn apart(filter: &str) -> (reload::Layer<EnvFilter, Registry>, Self) {
        let (layer, handle) = reload::Layer::new(EnvFilter::new(filter));
        (layer, Self(handle))
    }
}

fn parse(filter: &str) -> Result<EnvFilter, String> {
    let unfit =
        |problem: String| format!("{filter:?} is no filter such as info or sandgate=debug: {problem}");
    if filter.trim().is_empty() {
        return Err(unfit("it is empty".into()));
    }
    // A bare word that is no level would be taken for the name of a module, and silence all others.
    let words = filter.split(',').map(str::trim);
    if let Some(word) = words.into_iter().find(|word| !word.contains(['=', '[']) && !is_level(word)) {
        return Err(unfit(format!(
            "{word:?} is no level; use off, error, warn, info, debug or trace, or write {word}=debug for a module"
        )));
    }
    EnvFilter::try_new(filter).map_err(|error| unfit(error.to_string()))
}

fn is_level(word: &str) -> bool {
    word.parse::<LevelFilter>().is_ok()
}

/// Writes logs to stderr from here on. `level` is a filter such as `info` or `sandgate=debug`.
///
/// # Errors
/// When `level` is no filter.
pub fn start_logs(format: LogFormat, level: &str) -> Result<LogLevel, String> {
    let filter = parse(level).map_err(|error| format!("--log-level {error}"))?;
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer().with_ansi(colours).with_writer(move || Lines { out: io::stderr(), colours });
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    // One that is caught is a line like any other.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "Panic")));
    started.map(|()| LogLevel(handle)).map_err(|error| error.to_string())
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

/// Writes each event as one line, whatever names and reasons are in it.
struct Lines<W> {
    out: W,
    /// Whether escape sequences are ours.
    colours: bool,
}

impl<W: Write> Write for Lines<W> {
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
