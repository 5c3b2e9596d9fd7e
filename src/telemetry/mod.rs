//! Logs, metrics and traces.

mod logs;
mod metrics;
mod traces;

pub use logs::{LogFormat, LogLevel, Seldom, start_logs};
pub use metrics::{Counted, Deliveries, Limit, Metrics, Reloads, Upkeep};
pub use traces::{CollectorError, Span, TraceSettings, Traces};
