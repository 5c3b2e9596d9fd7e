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

/// How the reloads of something went.
#[derive(Debug, Clone)]
pub struct Reloads {
    /// How many worked.
    pub worked: Counter,
    /// How many did not.
    pub failed: Counter,
    /// 1 while the newest files cannot be used and what older ones said holds.
    pub stale: Gauge,
}

impl Reloads {
    fn register(registry: &mut Registry, what: &str) -> Self {
        let help = format!("Loads of changed {what} files");
        let [worked, failed] = results(registry, &format!("{what}_reloads"), &help);
        let help = format!("1 while changed {what} files cannot be used and what older ones said holds");
        Self { worked, failed, stale: gauge(registry, &format!("{what}_stale"), &help) }
    }
}

/// How managed certificates are kept.
#[derive(Debug, Clone)]
pub struct Upkeep {
    /// How many leaves were signed.
    pub worked: Counter,
    /// How many rounds of looking after certificates failed.
    pub failed: Counter,
    /// 1 while they fail.
    pub failing: Gauge,
    /// When the CA that signs expires, in seconds since 1970.
    pub authority_expiry: Gauge,
    /// Of the mutating and the validating configuration: 1 while it is armed and trusts the certificate that we serve.
    pub published: [Gauge; 2],
    /// How far the API server's clock is ahead of ours, in seconds.
    pub clock_skew: Gauge,
}

impl Upkeep {
    fn register(registry: &mut Registry) -> Self {
        let [worked, failed] = results(
            registry,
            "certificate_renewals",
            "Certificates that were signed, and rounds of looking after certificates that failed",
        );
        let family = Family::<Labels, Gauge>::default();
        registry.register(
            "ca_bundle_published",
            "1 while the webhook configuration is armed and trusts the served certificate (managed certificates)",
            family.clone(),
        );
        let published = ["mutating", "validating"]
            .map(|configuration| family.get_or_create_owned(&vec![("configuration", configuration)]));
        Self {
            worked,
            failed,
            failing: gauge(
                registry,
                "certificate_upkeep_failing",
                "1 while managed certificates cannot be looked after; what is served goes on being served",
            ),
            authority_expiry: gauge(
                registry,
                "ca_not_after_timestamp_seconds",
                "When the CA that signs expires (managed certificates)",
            ),
            published,
            clock_skew: gauge(
                registry,
                "clock_skew_seconds",
                "How far the API server's clock is ahead of this one's (managed certificates)",
            ),
        }
    }
}

/// What became of things that are sent somewhere, with nobody waiting.
#[derive(Debug, Clone)]
pub struct Deliveries {
    /// How many arrived.
    pub worked: Counter,
    /// How many did not.
    pub failed: Counter,
    /// How many found no room in the queue.
    pub dropped: Counter,
}

impl Deliveries {
    fn register(registry: &mut Registry, name: &str, help: &str) -> Self {
        let family = counters(registry, name, help);
        let [worked, failed, dropped] =
            ["ok", "failed", "dropped"].map(|result| family.get_or_create_owned(&vec![("result", result)]));
        Self { worked, failed, dropped }
    }
}

/// Something that is under way, counted until it is dropped.
#[derive(Debug)]
pub struct Counted<'g>(&'g Gauge);

impl<'g> Counted<'g> {
    /// Counts one more.
    #[must_use]
    pub fn up(gauge: &'g Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

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
    /// Reloads of the policy.
    pub policy: Reloads,
    /// Reloads of the certificate.
    pub certificate: Reloads,
    /// Managed certificates.
    pub upkeep: Upkeep,
    /// When the served certificate expires, in seconds since 1970.
    pub certificate_expiry: Gauge,
    /// Audit records that were written, and that were dropped because the sink was too slow or failed.
    pub audit_records: [Counter; 2],
    /// 1 while audit records cannot be written.
    pub audit_failing: Gauge,
    /// The number of the last audit line.
    pub audit_sequence: Gauge,
    /// The first 48 bits of its hash.
    pub audit_head: Gauge,
    /// Kubernetes Events.
    pub events: Deliveries,
    /// Spans of traces.
    pub spans: Deliveries,
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
            policy: Reloads::register(&mut registry, "policy"),
            certificate: Reloads::register(&mut registry, "certificate"),
            upkeep: Upkeep::register(&mut registry),
            certificate_expiry: gauge(
                &mut registry,
                "certificate_not_after_timestamp_seconds",
                "When the served certificate expires",
            ),
            audit_records: results(&mut registry, "audit_records", "Audit records, written or dropped"),
            audit_failing: gauge(
                &mut registry,
                "audit_failing",
                "1 while audit records cannot be written; a file is tried again each second",
            ),
            audit_sequence: gauge(
                &mut registry,
                "audit_chain_sequence",
                "The number of the last audit line that was written",
            ),
            audit_head: gauge(
                &mut registry,
                "audit_chain_head",
                "The first 48 bits of the hash of the last audit line that was written",
            ),
            events: Deliveries::register(
                &mut registry,
                "events",
                "Events for refused Pods: writes that worked or failed, and refusals that found no room",
            ),
            spans: Deliveries::register(
                &mut registry,
                "spans",
                "Spans of traces, sent, not taken or dropped",
            ),
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
