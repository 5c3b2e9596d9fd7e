//! Logs, traces, the process's own metrics, and helpers to register metrics.

mod log_queue;
mod logs;
mod process;
pub mod registry;
#[cfg(test)]
pub(crate) mod testing;
mod traces;

pub use logs::{DroppedLines, LogError, LogFormat, LogLevel, LogThrottle, Logs, start_logs};
pub use process::ProcessMetrics;
pub use registry::{Attempts, Deliveries, GaugeGuard};
pub use traces::{CollectorError, Span, TraceContext, TraceSettings, Traces, register_span_metrics};
