//! What is counted. Every counter is found before the first request, so that counting is one addition.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use crate::{
    policy::Mode,
    review::{Endpoint, Outcome, Record},
    rules,
};

type Labels = Vec<(&'static str, &'static str)>;

/// Why a request was turned away before it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The body is larger than allowed.
    BodySize,
    /// The body did not arrive in time.
    BodyTime,
    /// Too many bytes of bodies are being read at once.
    BodiesInFlight,
}

impl Limit {
    const ALL: [Self; 3] = [Self::BodySize, Self::BodyTime, Self::BodiesInFlight];

    fn as_str(self) -> &'static str {
        match self {
            Self::BodySize => "body-size",
            Self::BodyTime => "body-time",
            Self::BodiesInFlight => "bodies-in-flight",
        }
    }
}

const MODES: [&str; 4] = ["enforce", "warn", "audit", "none"];

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reviews: Vec<Counter>,
    violations: Vec<Counter>,
    duration: [Histogram; 2],
    rejected: [Counter; 3],
    not_reviews: Counter,
    panics: Counter,
    /// Requests that are being answered.
    pub in_flight: Gauge,
    /// Open connections.
    pub connections: Gauge,
    /// TLS handshakes that were completed.
    pub handshakes: Counter,
    /// TLS handshakes that failed or took too long.
    pub handshake_failures: Counter,
    /// Reloads of policies that worked, and that did not.
    pub policy_reloads: [Counter; 2],
    /// 1 while the newest policy files cannot be loaded and older ones hold.
    pub policy_stale: Gauge,
    /// Reloads of certificates that worked, and that did not.
    pub certificate_reloads: [Counter; 2],
    /// When the served certificate expires, in seconds since 1970.
    pub certificate_expiry: Gauge,
    /// Audit records that were written, and that were dropped because the sink was too slow or failed.
    pub audit_records: [Counter; 2],
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics, at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("sandgate");
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The build that runs", build);

        let family =
            counters(&mut registry, "admission_reviews", "Admission reviews that were answered, by verdict");
        let reviews = [Endpoint::Mutate, Endpoint::Validate].into_iter().flat_map(|endpoint| {
            let of_endpoint =
                Outcome::ALL.into_iter().flat_map(move |outcome| MODES.map(|mode| (outcome, mode)));
            of_endpoint.map(move |(outcome, mode)| (endpoint, outcome, mode))
        });
        let reviews = reviews.map(|(endpoint, outcome, mode)| {
            family.get_or_create_owned(&vec![
                ("endpoint", endpoint.as_str()),
                ("verdict", outcome.as_str()),
                ("mode", mode),
            ])
        });
        let reviews = reviews.collect();

        let family = counters(&mut registry, "violations", "Violations that were found, by rule");
        let violations =
            rules::ALL.iter().map(|rule| family.get_or_create_owned(&vec![("rule", rule.id)])).collect();

        let family = Family::<Labels, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let help = "From the last byte of the review to its answer, without the network";
        registry.register("admission_duration_seconds", help, family.clone());
        let duration = [Endpoint::Mutate, Endpoint::Validate]
            .map(|endpoint| family.get_or_create_owned(&vec![("endpoint", endpoint.as_str())]));

        let family =
            counters(&mut registry, "requests_rejected", "Requests that were turned away by a limit");
        let rejected = Limit::ALL.map(|limit| family.get_or_create_owned(&vec![("limit", limit.as_str())]));

        Self {
            reviews,
            violations,
            duration,
            rejected,
            not_reviews: counter(&mut registry, "bad_requests", "Requests that were no admission review"),
            panics: counter(&mut registry, "panics", "Requests that ended in a panic, answered with 500"),
            in_flight: gauge(&mut registry, "requests_in_flight", "Requests that are being answered"),
            connections: gauge(&mut registry, "connections", "Open connections"),
            handshakes: counter(&mut registry, "tls_handshakes", "TLS handshakes that were completed"),
            handshake_failures: counter(
                &mut registry,
                "tls_handshake_failures",
                "TLS handshakes that failed",
            ),
            policy_reloads: results(&mut registry, "policy_reloads", "Loads of changed policy files"),
            policy_stale: gauge(
                &mut registry,
                "policy_stale",
                "1 while changed policy files cannot be loaded",
            ),
            certificate_reloads: results(
                &mut registry,
                "certificate_reloads",
                "Loads of changed certificate files",
            ),
            certificate_expiry: gauge(
                &mut registry,
                "certificate_not_after_timestamp_seconds",
                "When the served certificate expires",
            ),
            audit_records: results(&mut registry, "audit_records", "Audit records, written or dropped"),
            registry,
        }
    }

    /// Counts a verdict.
    pub fn observe(&self, record: &Record, took: Duration) {
        let endpoint = record.endpoint as usize;
        let mode = match record.mode() {
            Some(Mode::Enforce) => 0,
            Some(Mode::Warn) => 1,
            Some(Mode::Audit) => 2,
            None => 3,
        };
        let index = (endpoint * Outcome::ALL.len() + record.outcome as usize) * MODES.len() + mode;
        self.reviews[index].inc();
        for violation in &record.violations {
            if let Some(index) = rules::ALL.iter().position(|rule| rule.id == violation.rule) {
                self.violations[index].inc();
            }
        }
        self.duration[endpoint].observe(took.as_secs_f64());
    }

    /// Counts a request that was turned away.
    pub fn reject(&self, limit: Limit) {
        self.rejected[limit as usize].inc();
    }

    /// Counts a request that was no admission review.
    pub fn not_a_review(&self) {
        self.not_reviews.inc();
    }

    /// Counts a panic.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// The `OpenMetrics` text of all metrics.
    ///
    /// # Errors
    /// Never in practice: it writes to memory.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::with_capacity(16 * 1024);
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// In seconds. A decision takes tens of microseconds; what takes longer than the API server waits does not matter.
const BUCKETS: [f64; 16] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 1.0, 5.0,
];

fn counters(registry: &mut Registry, name: &str, help: &str) -> Family<Labels, Counter> {
    let family = Family::<Labels, Counter>::default();
    registry.register(name, help, family.clone());
    family
}

/// Two counters: of what went well, and of what failed.
fn results(registry: &mut Registry, name: &str, help: &str) -> [Counter; 2] {
    let family = counters(registry, name, help);
    ["ok", "failed"].map(|result| family.get_or_create_owned(&vec![("result", result)]))
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::<u64, AtomicU64>::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{policy::PolicySet, review::answer};

    #[test]
    fn a_verdict_is_counted_under_its_own_labels() {
        let metrics = Metrics::new();
        let policies = PolicySet::builtin();
        let review = br#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u",
            "operation":"CREATE","namespace":"workflows","object":{"spec":{"hostPID":true,"containers":[{"name":"a"}]}}}}"#;
        let answer = answer(&policies, Endpoint::Mutate, review).unwrap();
        metrics.observe(&answer.record, Duration::from_micros(30));
        let text = metrics.text().unwrap();
        for line in [
            r#"sandgate_admission_reviews_total{endpoint="mutate",verdict="denied",mode="enforce"} 1"#,
            r#"sandgate_admission_reviews_total{endpoint="validate",verdict="denied",mode="enforce"} 0"#,
            r#"sandgate_violations_total{rule="host-namespaces"} 1"#,
            r#"sandgate_violations_total{rule="privileged"} 0"#,
            r#"sandgate_admission_duration_seconds_bucket{le="0.00005",endpoint="mutate"} 1"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
