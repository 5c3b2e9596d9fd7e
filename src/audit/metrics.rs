//! Metrics of the audit trail.

use prometheus_client::{metrics::gauge::Gauge, registry::Registry};

use super::chain::Link;
use crate::telemetry::registry::{Attempts, gauge};

/// Metrics of the audit trail.
#[derive(Debug, Clone)]
pub struct AuditMetrics {
    /// Counts records that were written, and records that were lost.
    pub records: Attempts,
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
        Self {
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

    /// Notes the last line that was written.
    pub fn set_head(&self, head: &Link) {
        self.chain_sequence.set(i64::try_from(head.seq).unwrap_or(i64::MAX));
        self.chain_head.set(head.hash.short());
    }
}
