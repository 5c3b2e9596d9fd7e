//! Logs and metrics.

mod logs;
mod metrics;

pub use logs::{LogFormat, LogLevel, start_logs};
pub use metrics::{Counted, EventCounters, Limit, Metrics, Reloads, Upkeep};
