//! Metrics of what is written to the API server: managed certificates and Events.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{
    certs::plan::Kind,
    telemetry::registry::{Attempts, Deliveries, family, gauge, gauge_of_seconds},
};

/// The label of a metric of one webhook configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConfigurationLabels {
    configuration: &'static str,
}

/// Metrics of managed certificates.
#[derive(Debug, Clone)]
pub struct CertificateMetrics {
    /// Counts certificates that were signed, and reconciliations that failed.
    pub renewals: Attempts,
    /// Is 1 while reconciliation fails.
    pub failing: Gauge,
    /// Holds the expiry of the CA that signs, in seconds since 1970; 0 if there is none.
    pub ca_expiry: Gauge,
    /// Holds how far the API server's clock is ahead of this one's, in seconds.
    pub clock_skew: Gauge,
    /// Holds the expiry of the served certificate, wherever it comes from, in seconds since 1970.
    pub served_expiry: Gauge,
    /// Counts panics of the process.
    pub panics: Counter,
    published: Family<ConfigurationLabels, Gauge>,
    rules_restored: Family<ConfigurationLabels, Counter>,
    drift: Family<ConfigurationLabels, Gauge>,
}

impl CertificateMetrics {
    /// Registers the metrics at zero. `panics` is the process's counter of panics.
    pub fn register(registry: &mut Registry, panics: Counter) -> Self {
        let metrics = Self {
            renewals: Attempts::register(
                registry,
                "certificate_renewals",
                "Certificates that were signed, and reconciliations of certificates that failed",
            ),
            failing: gauge(
                registry,
                "certificate_upkeep_failing",
                "1 while managed certificates cannot be reconciled; what is served goes on being served",
            ),
            ca_expiry: gauge_of_seconds(
                registry,
                "ca_not_after_timestamp",
                "When the CA that signs expires (managed certificates)",
            ),
            clock_skew: gauge_of_seconds(
                registry,
                "clock_skew",
                "How far the API server's clock is ahead of this one's (managed certificates)",
            ),
            served_expiry: gauge_of_seconds(
                registry,
                "certificate_not_after_timestamp",
                "When the served certificate expires",
            ),
            panics,
            published: family(
                registry,
                "ca_bundle_published",
                "1 while the webhook configuration is armed and trusts the served certificate (managed certificates)",
            ),
            rules_restored: family(
                registry,
                "configuration_rules_restored",
                "How often rules that were removed from an armed webhook configuration were restored (managed certificates)",
            ),
            drift: family(
                registry,
                "configuration_drift",
                "1 while the webhook configuration differs from what the chart rendered (managed certificates)",
            ),
        };
        for kind in Kind::ALL {
            metrics.set_published(kind, false);
            metrics.set_drift(kind, false);
            drop(metrics.rules_restored.get_or_create(&ConfigurationLabels { configuration: kind.as_str() }));
        }
        metrics
    }

    /// Notes whether the configuration has its rules and trusts the certificate that this replica serves.
    pub fn set_published(&self, kind: Kind, is_published: bool) {
        let labels = ConfigurationLabels { configuration: kind.as_str() };
        self.published.get_or_create(&labels).set(is_published.into());
    }

    /// Counts that rules which had been removed from the configuration were restored.
    pub fn inc_rules_restored(&self, kind: Kind) {
        self.rules_restored.get_or_create(&ConfigurationLabels { configuration: kind.as_str() }).inc();
    }

    /// Notes whether the configuration differs from what the chart rendered.
    pub fn set_drift(&self, kind: Kind, has_drifted: bool) {
        self.drift
            .get_or_create(&ConfigurationLabels { configuration: kind.as_str() })
            .set(has_drifted.into());
    }
}

/// Registers the metric of Kubernetes Events at zero.
pub fn register_event_metrics(registry: &mut Registry) -> Deliveries {
    Deliveries::register(
        registry,
        "events",
        "Events for denied Pods: writes that succeeded or failed, and denials that found the queue full",
    )
}
