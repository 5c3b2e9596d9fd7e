//! Logs, metrics and traces.

mod escapes;
mod logs;
mod metrics;
mod policies;
mod process;
mod traces;

pub use logs::{LogFormat, LogLevel, Seldom, start_logs};
pub use metrics::{Counted, Deliveries, Limit, Metrics, Reloads, Upkeep};
pub use traces::{CollectorError, Span, TraceSettings, Traces};
