//! The one way out of a verdict: to the metrics, the log, the span, the Events and the audit trail.

mod escapes;
mod log;
mod metrics;
mod review_counters;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use crate::{
    audit::{PendingRecord, Trail},
    cluster::Events,
    telemetry::{Span, Traces},
};
use sandgate_engine::review::Record;

pub use metrics::{EndpointLabels, ReviewMetrics};

/// Everything that a verdict is reported to.
#[derive(Debug)]
pub struct Observers {
    /// Counts verdicts.
    pub metrics: ReviewMetrics,
    /// The audit trail, if one is written.
    pub trail: Option<Trail>,
    /// Kubernetes Events, if they are written.
    pub events: Option<Events>,
    /// Traces, if requests are traced.
    pub traces: Option<Traces>,
}

impl Observers {
    /// Returns observers that only count and log.
    #[must_use]
    pub fn new(metrics: ReviewMetrics) -> Self {
        Self { metrics, trail: None, events: None, traces: None }
    }

    /// Reports a verdict that took `took` to everything. Returns the audit record if the trail's queue is full and the
    /// answer is to wait for it. A sink that panics is counted, and neither changes the answer nor stops the others.
    pub fn observe(&self, record: &Record, took: Duration, span: Option<&mut Span>) -> Option<PendingRecord> {
        if record.request.caller.is_believed() {
            self.guarded(|| self.metrics.observe(record, took));
        } else {
            self.metrics.unverified.inc();
        }
        self.guarded(|| log::log(record, took));
        if let Some(span) = span {
            self.guarded(|| span.set_verdict(record));
        }
        if let Some(events) = &self.events {
            self.guarded(|| events.report(record));
        }
        let trail = self.trail.as_ref()?;
        self.guarded(|| trail.append(record, took)).flatten()
    }

    fn guarded<T>(&self, report: impl FnOnce() -> T) -> Option<T> {
        let reported = catch_unwind(AssertUnwindSafe(report)).ok();
        if reported.is_none() {
            self.metrics.panics.inc();
        }
        reported
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{metrics::counter::Counter, registry::Registry};

    use super::*;

    #[test]
    fn a_panic_of_a_sink_is_counted_and_goes_no_further() {
        let metrics = ReviewMetrics::register(&mut Registry::default(), Counter::default());
        let observers = Observers::new(metrics);
        assert_eq!(observers.guarded(|| 7), Some(7));
        assert_eq!(observers.metrics.panics.get(), 0);
        assert_eq!(observers.guarded(|| -> u8 { panic!("a fault of a sink") }), None);
        assert_eq!(observers.metrics.panics.get(), 1);
    }
}
