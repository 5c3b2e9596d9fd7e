//! Traces: one span a request, for a collector that takes OTLP over HTTP.

mod context;
mod export;

use std::{
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use axum::http::{HeaderMap, StatusCode, Uri};
use tokio::sync::mpsc::{self, Sender};

pub use self::context::TraceContext;
use self::export::Exporter;
use prometheus_client::registry::Registry;

use super::Deliveries;
use crate::supervisor::Supervisor;
use sandgate_engine::review::{AuditRecord, Endpoint};

pub use export::CollectorError;

/// The most spans in the queue of the exporter. If the queue is full, spans are dropped and counted.
const MAX_QUEUED_SPANS: usize = 2048;

/// The settings of tracing: the collector, and the traced share of requests.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// The collector's base URL.
    pub endpoint: Uri,
    /// The CAs that its certificate may be signed by, in PEM.
    pub ca: Option<PathBuf>,
    /// The share, from 0 to 1, of the requests without a trace context that are traced.
    pub ratio: f64,
    /// The name of this replica.
    pub instance: String,
}

/// Registers the metric of spans at zero.
pub fn register_span_metrics(registry: &mut Registry) -> Deliveries {
    Deliveries::register(registry, "spans", "Spans of traces, sent, not taken or dropped")
}

/// Takes spans. Ending a span never waits.
#[derive(Debug)]
pub struct Traces {
    queue: Sender<Span>,
    ratio: f64,
    metrics: Deliveries,
}

/// A request that is traced.
#[derive(Debug)]
pub struct Span {
    trace: u128,
    id: u64,
    /// None where the trace begins here.
    parent: Option<u64>,
    endpoint: Endpoint,
    start: SystemTime,
    clock: Instant,
    took: Duration,
    status: StatusCode,
    verdict: Option<SpanVerdict>,
}

/// The result of a review. The policy's name is the only text that a person chose: the uid leads to the audit line.
#[derive(Debug)]
struct SpanVerdict {
    outcome: String,
    operation: String,
    policy: Option<String>,
    uid: String,
    violations: usize,
}

impl Traces {
    /// Starts a task that sends spans for as long as this lives.
    ///
    /// # Errors
    /// Returns an error if the collector's URL or CA cannot be used. Whether the collector answers is not tested
    /// here.
    pub fn start(
        settings: TraceSettings,
        metrics: Deliveries,
        supervisor: &Supervisor,
    ) -> Result<Self, CollectorError> {
        let (sender, queue) = mpsc::channel(MAX_QUEUED_SPANS);
        let ratio = settings.ratio;
        let exporter = Exporter::new(settings, queue, metrics.clone())?;
        supervisor.spawn("span exporter", exporter.run());
        Ok(Self { queue: sender, ratio, metrics })
    }

    /// Begins a span, if this request is to be traced: who sends a trace context decides, for others the ratio.
    #[must_use]
    pub fn begin(&self, endpoint: Endpoint, headers: &HeaderMap) -> Option<Span> {
        let context = TraceContext::read(headers);
        let is_sampled = context.map_or_else(|| self.draws(), |context| context.is_sampled);
        is_sampled.then(|| Span {
            trace: context.map_or_else(|| u128::from(random()) << 64 | u128::from(random()), |of| of.trace),
            id: random(),
            parent: context.map(|context| context.parent),
            endpoint,
            start: SystemTime::now(),
            clock: Instant::now(),
            took: Duration::ZERO,
            status: StatusCode::OK,
            verdict: None,
        })
    }

    /// Ends a span with the answer's status.
    pub fn end(&self, mut span: Span, status: StatusCode) {
        span.took = span.clock.elapsed();
        span.status = status;
        if self.queue.try_send(span).is_err() {
            self.metrics.dropped.inc();
        }
    }

    fn draws(&self) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "a ratio is not exact")]
        let drawn = random() as f64 / u64::MAX as f64;
        drawn < self.ratio
    }
}

impl Span {
    /// Notes the verdict of the review.
    pub fn set_verdict(&mut self, record: &AuditRecord, violations: usize) {
        self.verdict = Some(SpanVerdict {
            outcome: record.verdict.to_string(),
            operation: record.operation.to_string(),
            policy: (!record.policy.is_empty()).then(|| record.policy.to_string()),
            uid: record.uid.to_string(),
            violations,
        });
    }
}

/// Never 0, which is no id. It need not be hard to guess, only not the same twice.
fn random() -> u64 {
    RandomState::new().hash_one(()).max(1)
}
