//! Logs and metrics.

mod escapes;
mod metrics;
mod policies;
mod process;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

pub use metrics::{Counted, Limit, Metrics, Reloads, Upkeep};

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Writes logs to stderr from here on. `level` is a filter such as `info` or `sandgate=debug`.
///
/// # Errors
/// When `level` is no filter.
pub fn start_logs(format: LogFormat, level: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|error| format!("--log-level {level:?}: {error}"))?;
    let colours =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    let started = match format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    // One that is caught is a line like any other.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "Panic")));
    started.map_err(|error| error.to_string())
}
