//! The one way out of a verdict: to the metrics, the log, the span, the Events and the audit trail.

mod escapes;
pub mod log;
mod metrics;
mod review_counters;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    audit::{PendingRecord, Trail},
    cluster::Events,
    telemetry::{Span, Traces},
};
use sandgate_engine::review::{Origin, Record};

use log::VerdictLog;

pub use metrics::{EndpointLabels, EndpointMetrics, ReviewMetrics};

/// Everything that a verdict is reported to.
#[derive(Debug)]
pub struct Observers {
    /// The name of the cluster, in audit records.
    pub cluster: String,
    /// The name of this replica, in audit records.
    pub instance: String,
    /// The counters of verdicts.
    pub metrics: ReviewMetrics,
    /// The log of verdicts.
    pub log: VerdictLog,
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
        Self {
            cluster: String::new(),
            instance: String::new(),
            metrics,
            log: VerdictLog::default(),
            trail: None,
            events: None,
            traces: None,
        }
    }

    /// Reports a verdict that took `took` to everything. Returns the audit record if the trail's queue is full and the
    /// answer is to wait for it. A sink that panics is counted, and neither changes the answer nor stops the others.
    pub fn observe(&self, record: &Record, took: Duration, span: Option<&mut Span>) -> Option<PendingRecord> {
        if record.request.caller.is_believed() {
            self.guarded(|| self.metrics.observe(record, took));
        } else {
            self.metrics.unverified.inc();
        }
        if let Some(events) = &self.events {
            self.guarded(|| events.report(record));
        }
        let trail = self.trail.as_ref().filter(|_| record.is_recorded());
        // Most verdicts are neither logged nor traced. Where there is no trail either, no record is needed.
        if trail.is_none() && span.is_none() && !VerdictLog::is_logged(record) {
            return None;
        }
        let time = Timestamp::now().to_string();
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let origin = Origin { cluster: &self.cluster, instance: &self.instance };
        // The texts below come from the request; they are cut once, here.
        let entry = self.guarded(|| record.audit_record(origin, &time, micros))?;
        self.guarded(|| self.log.log(record, &entry));
        if let Some(span) = span {
            self.guarded(|| span.set_verdict(&entry, record.violations().len()));
        }
        let trail = trail?;
        self.guarded(|| trail.append(&entry)).flatten()
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
