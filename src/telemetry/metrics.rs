//! What is counted. Every counter is found before the first request, so that counting is one addition.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Metric, Registry, Unit},
};

use super::{policies::Policies, process::Process};
use sandgate_engine::{
    policy::PolicySet,
    review::{Endpoint, Record},
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
    /// Of the mutating and the validating configuration: how often its rules were restored after somebody removed them.
    pub rules_restored: [Counter; 2],
    /// Of the mutating and the validating configuration: 1 while it differs from what the chart rendered.
    pub drift: [Gauge; 2],
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
            authority_expiry: seconds(
                registry,
                "ca_not_after_timestamp",
                "When the CA that signs expires (managed certificates)",
            ),
            published,
            rules_restored: of_both(
                registry,
                "configuration_rules_restored",
                "How often rules that were removed from an armed webhook configuration were restored (managed certificates)",
            ),
            drift: of_both(
                registry,
                "configuration_drift",
                "1 while the webhook configuration differs from what the chart rendered (managed certificates)",
            ),
            clock_skew: seconds(
                registry,
                "clock_skew",
                "How far the API server's clock is ahead of this one's (managed certificates)",
            ),
        }
    }
}

/// One metric for each of the two webhook configurations.
fn of_both<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> [M; 2]
where
    Family<Labels, M>: Metric,
{
    let family = Family::<Labels, M>::default();
    registry.register(name, help, family.clone());
    ["mutating", "validating"]
        .map(|configuration| family.get_or_create_owned(&vec![("configuration", configuration)]))
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
    policies: Policies,
    violations: Vec<Counter>,
    /// Of the rules that fill something.
    filled: Vec<Option<Counter>>,
    duration: [Histogram; 2],
    /// Of requests and of responses, each by endpoint.
    bodies: [[Counter; 2]; 2],
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
        let mut root = Registry::default();
        root.register_collector(Box::new(Process));
        let registry = root.sub_registry_with_prefix("sandgate");
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The build that runs", build);
        let policies = Policies::new();
        registry.register_collector(Box::new(policies.clone()));

        let family = counters(registry, "violations", "Violations that were found, by rule");
        let violations =
            rules::ALL.iter().map(|rule| family.get_or_create_owned(&vec![("rule", rule.id)])).collect();

        let family = counters(registry, "filled_fields", "Fields that were filled, by rule");
        let of_rule =
            |rule: &&rules::Rule| rule.fill.map(|_| family.get_or_create_owned(&vec![("rule", rule.id)]));
        let filled = rules::ALL.iter().map(of_rule).collect();

        let family = Family::<Labels, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let help = "From the last byte of the review to its answer, without the network";
        registry.register_with_unit("admission_duration", help, Unit::Seconds, family.clone());
        let duration = ENDPOINTS.map(|endpoint| family.get_or_create_owned(&vec![("endpoint", endpoint)]));

        let bodies = [
            ("request_body", "Bodies of requests, as they were read"),
            ("response_body", "Bodies of answers"),
        ]
        .map(|(name, help)| {
            let family = Family::<Labels, Counter>::default();
            registry.register_with_unit(name, help, Unit::Bytes, family.clone());
            ENDPOINTS.map(|endpoint| family.get_or_create_owned(&vec![("endpoint", endpoint)]))
        });

        let family = counters(registry, "requests_rejected", "Requests that were turned away by a limit");
        let rejected = Limit::ALL.map(|limit| family.get_or_create_owned(&vec![("limit", limit.as_str())]));

        Self {
            policies,
            violations,
            filled,
            duration,
            bodies,
            rejected,
            not_reviews: counter(registry, "bad_requests", "Requests that were no admission review"),
            panics: counter(registry, "panics", "Requests that ended in a panic, answered with 500"),
            in_flight: gauge(registry, "requests_in_flight", "Requests that are being answered"),
            connections: gauge(registry, "connections", "Open connections"),
            handshakes: counter(registry, "tls_handshakes", "TLS handshakes that were completed"),
            handshake_failures: counter(registry, "tls_handshake_failures", "TLS handshakes that failed"),
            policy: Reloads::register(registry, "policy"),
            certificate: Reloads::register(registry, "certificate"),
            upkeep: Upkeep::register(registry),
            certificate_expiry: seconds(
                registry,
                "certificate_not_after_timestamp",
                "When the served certificate expires",
            ),
            audit_records: results(registry, "audit_records", "Audit records, written or dropped"),
            audit_failing: gauge(
                registry,
                "audit_failing",
                "1 while audit records cannot be written; a file is tried again each second",
            ),
            audit_sequence: gauge(
                registry,
                "audit_chain_sequence",
                "The number of the last audit line that was written",
            ),
            audit_head: gauge(
                registry,
                "audit_chain_head",
                "The first 48 bits of the hash of the last audit line that was written",
            ),
            events: Deliveries::register(
                registry,
                "events",
                "Events for refused Pods: writes that worked or failed, and refusals that found no room",
            ),
            spans: Deliveries::register(registry, "spans", "Spans of traces, sent, not taken or dropped"),
            registry: root,
        }
    }

    /// Counts for these policies from here on; one whose name was in force before counts on.
    pub fn put_in_force(&self, policies: &PolicySet, now: i64) {
        self.policies.replace(policies, now);
    }

    /// Counts a verdict.
    pub fn observe(&self, record: &Record, took: Duration) {
        let endpoint = record.endpoint as usize;
        self.policies.observe(record);
        for violation in record.violations() {
            self.violations[position(violation.rule)].inc();
        }
        if record.is_patched() {
            for filled in &record.findings.filled {
                if let Some(counter) = &self.filled[position(filled.rule)] {
                    counter.inc_by(filled.fields as u64);
                }
            }
        }
        self.duration[endpoint].observe(took.as_secs_f64());
    }

    /// Counts the bodies of a request and of its answer, in bytes.
    pub fn carried(&self, endpoint: Endpoint, request: u64, response: u64) {
        let [requests, responses] = &self.bodies;
        requests[endpoint as usize].inc_by(request);
        responses[endpoint as usize].inc_by(response);
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
        let mut text = String::with_capacity(32 * 1024);
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The words of the endpoints, in their order.
const ENDPOINTS: [&str; 2] = ["mutate", "validate"];

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

/// A gauge whose name ends in `_seconds`.
fn seconds(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register_with_unit(name, help, Unit::Seconds, gauge.clone());
    gauge
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

/// Returns the place of a rule in [`rules::ALL`], which has every rule.
fn position(rule: &'static rules::Rule) -> usize {
    rules::ALL.iter().position(|other| *other == rule).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandgate_engine::{policy::PolicySet, review::answer};

    #[test]
    fn a_verdict_is_counted_under_its_own_labels() {
        let metrics = Metrics::new();
        let policies = PolicySet::builtin();
        let review = br#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u",
            "operation":"CREATE","namespace":"workflows","object":{"spec":{"hostPID":true,"containers":[{"name":"a"}]}}}}"#;
        metrics.put_in_force(&policies, 0);
        let answer = answer(&policies, Endpoint::Mutate, review).unwrap();
        metrics.observe(&answer.record, Duration::from_micros(30));
        let text = metrics.text().unwrap();
        for line in [
            r#"sandgate_admission_reviews_total{endpoint="mutate",operation="CREATE",verdict="denied",policy="workflow-runner",mode="enforce"} 1"#,
            r#"sandgate_admission_reviews_total{endpoint="validate",operation="CREATE",verdict="denied",policy="workflow-runner",mode="enforce"} 0"#,
            r#"sandgate_violations_total{rule="host-namespaces"} 1"#,
            r#"sandgate_violations_total{rule="privileged"} 0"#,
            r#"sandgate_admission_duration_seconds_bucket{le="0.00005",endpoint="mutate"} 1"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn what_is_filled_is_counted_by_rule_where_it_goes_out() {
        let metrics = Metrics::new();
        let policies = PolicySet::builtin();
        metrics.put_in_force(&policies, 0);
        let review = br#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u",
            "operation":"CREATE","namespace":"workflows","object":{"spec":{"containers":[{"name":"a","image":"b"}]}}}}"#;
        let patched = answer(&policies, Endpoint::Mutate, review).unwrap();
        metrics.observe(&patched.record, Duration::from_micros(30));
        metrics.carried(Endpoint::Mutate, 200, 3000);
        let text = metrics.text().unwrap();
        for line in [
            r#"sandgate_filled_fields_total{rule="runtime-class"} 1"#,
            r#"sandgate_filled_fields_total{rule="resource-limits"} 6"#,
            r#"sandgate_request_body_bytes_total{endpoint="mutate"} 200"#,
            r#"sandgate_response_body_bytes_total{endpoint="mutate"} 3000"#,
            r#"sandgate_response_body_bytes_total{endpoint="validate"} 0"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains(r#"sandgate_filled_fields_total{rule="privileged"}"#), "it fills nothing");
    }
}
