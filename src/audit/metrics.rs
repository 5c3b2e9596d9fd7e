//! Metrics of the audit trail.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::chain::Link;
use crate::telemetry::registry::{Attempts, create, family, gauge};

/// The reason why an audit record was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// The queue was full.
    QueueFull,
    /// The sender's share of the queue was full: one user and one namespace.
    SenderShare,
    /// The record was longer than any record can be.
    TooLong,
    /// The sink could not be written.
    SinkFailed,
}

impl DropReason {
    const ALL: [Self; 4] = [Self::QueueFull, Self::SenderShare, Self::TooLong, Self::SinkFailed];

    fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::SenderShare => "sender-share",
            Self::TooLong => "too-long",
            Self::SinkFailed => "sink-failed",
        }
    }
}

/// The label of the metric of dropped records.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// Metrics of the audit trail.
#[derive(Debug, Clone)]
pub struct AuditMetrics {
    /// Counts records that were written, and records that were lost.
    pub records: Attempts,
    dropped: Family<ReasonLabels, Counter>,
    /// Is 1 while records cannot be written.
    pub failing: Gauge,
    /// Holds the number of the last line that was written.
    pub chain_sequence: Gauge,
    /// Holds the first 48 bits of the hash of the last line that was written.
    pub chain_head: Gauge,
}

impl AuditMetrics {
    /// Registers the metrics at zero.
    pub fn register(registry: &mut Registry) -> Self {
        let dropped = family(registry, "audit_records_dropped", "Audit records that were lost, by reason");
        for reason in DropReason::ALL {
            create(&dropped, &ReasonLabels { reason: reason.as_str() });
        }
        Self {
            dropped,
            records: Attempts::register(registry, "audit_records", "Audit records, written or lost"),
            failing: gauge(
                registry,
                "audit_failing",
                "1 while audit records cannot be written; a file is tried again each second",
            ),
            chain_sequence: gauge(
                registry,
                "audit_chain_sequence",
                "The number of the last audit line that was written",
            ),
            chain_head: gauge(
                registry,
                "audit_chain_head",
                "The first 48 bits of the hash of the last audit line that was written",
            ),
        }
    }

    /// Counts records that were lost.
    pub fn inc_dropped(&self, reason: DropReason, records: u64) {
        self.records.failed.inc_by(records);
        self.dropped.get_or_create(&ReasonLabels { reason: reason.as_str() }).inc_by(records);
    }

    /// Returns the number of records that were lost for this reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get_or_create(&ReasonLabels { reason: reason.as_str() }).get()
    }

    /// Notes the last line that was written.
    pub fn set_head(&self, head: &Link) {
        self.chain_sequence.set(i64::try_from(head.seq).unwrap_or(i64::MAX));
        self.chain_head.set(head.hash.short());
    }
}
