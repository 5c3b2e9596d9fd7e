//! Every metric of the process: the server's own, and those that the components below it register.

use std::fmt;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::{Registry, Unit},
};

use crate::{
    audit::AuditMetrics,
    cluster::{CertificateMetrics, register_event_metrics},
    observe::{EndpointLabels, EndpointMetrics, ReviewMetrics},
    telemetry::{
        Attempts, Deliveries, DroppedLines, ProcessMetrics, register_span_metrics,
        registry::{counter, create, family, gauge},
    },
};
use sandgate_engine::{
    review::Endpoint,
    templates::{TemplateAnswer, TemplateResult},
};

/// The limit by which a request was rejected before it was evaluated.
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

/// The label of the metric of rejected requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

/// The label of the metric of reviews of workload templates.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TemplateLabels {
    result: &'static str,
}

/// Metrics of reviews of workload templates.
#[derive(Debug, Clone)]
pub struct TemplateMetrics {
    reviews: Family<TemplateLabels, Counter>,
    filled: Counter,
}

impl TemplateMetrics {
    fn register(registry: &mut Registry) -> Self {
        let reviews =
            family(registry, "template_reviews", "Objects at /templates, by the result of their review");
        for result in TemplateResult::ALL {
            create(&reviews, &TemplateLabels { result: result.as_str() });
        }
        let filled = counter(registry, "templates_filled", "Pod templates that were filled");
        Self { reviews, filled }
    }

    /// Counts an answer.
    pub fn record(&self, answer: &TemplateAnswer) {
        self.reviews.get_or_create(&TemplateLabels { result: answer.result.as_str() }).inc();
        self.filled.inc_by(answer.filled as u64);
    }
}

/// Metrics of files that are read again when they change.
#[derive(Debug, Clone)]
pub struct ReloadMetrics {
    /// The counters of policy reloads.
    pub reloads: Attempts,
    /// Is 1 while the changed files cannot be used and the last good ones are in force.
    pub stale: Gauge,
}

impl ReloadMetrics {
    fn register(registry: &mut Registry, subject: &str) -> Self {
        let reloads = format!("{subject}_reloads");
        let stale = format!("{subject}_stale");
        let help =
            format!("1 while changed {subject} files cannot be used and the last good ones are in force");
        Self {
            reloads: Attempts::register(registry, &reloads, &format!("Loads of changed {subject} files")),
            stale: gauge(registry, &stale, &help),
        }
    }
}

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// The metrics of verdicts and policies.
    pub reviews: ReviewMetrics,
    /// The metrics of the audit trail.
    pub audit: AuditMetrics,
    /// Managed certificates, and the certificate that is served.
    pub certificates: CertificateMetrics,
    /// The counters of Kubernetes Events.
    pub events: Deliveries,
    /// The counters of spans of traces.
    pub spans: Deliveries,
    /// Reloads of the policy.
    pub policy_files: ReloadMetrics,
    /// Reloads of the certificate.
    pub certificate_files: ReloadMetrics,
    /// Reloads of the CAs of client certificates.
    pub client_ca_files: ReloadMetrics,
    /// Reloads of the keys of bearer tokens.
    pub token_key_files: ReloadMetrics,
    /// Reviews of workload templates.
    pub templates: TemplateMetrics,
    /// Requests that are being answered.
    pub in_flight: Gauge,
    /// The gauge of open TLS connections.
    pub connections: Gauge,
    /// TLS handshakes that were completed.
    pub handshakes: Counter,
    /// TLS handshakes that failed or took too long.
    pub handshake_failures: Counter,
    /// Requests whose body is no admission review.
    pub bad_requests: Counter,
    /// Panics that were caught.
    pub panics: Counter,
    request_bytes: EndpointMetrics<Counter>,
    response_bytes: EndpointMetrics<Counter>,
    rejected: Family<LimitLabels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers all metrics, at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut root = Registry::default();
        root.register_collector(Box::new(ProcessMetrics));
        let registry = root.sub_registry_with_prefix("sandgate");
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The build that runs", build);
        let panics = counter(registry, "panics", "Panics of sandgate that were caught: please report them");
        let rejected = family(registry, "requests_rejected", "Requests that were rejected by a limit");
        for limit in Limit::ALL {
            create(&rejected, &LimitLabels { limit: limit.as_str() });
        }
        Self {
            reviews: ReviewMetrics::register(registry, panics.clone()),
            audit: AuditMetrics::register(registry),
            certificates: CertificateMetrics::register(registry, panics.clone()),
            events: register_event_metrics(registry),
            spans: register_span_metrics(registry),
            policy_files: ReloadMetrics::register(registry, "policy"),
            certificate_files: ReloadMetrics::register(registry, "certificate"),
            client_ca_files: ReloadMetrics::register(registry, "client_ca"),
            token_key_files: ReloadMetrics::register(registry, "token_keys"),
            templates: TemplateMetrics::register(registry),
            in_flight: gauge(registry, "requests_in_flight", "Requests that are being answered"),
            connections: gauge(registry, "connections", "Open connections"),
            handshakes: counter(registry, "tls_handshakes", "TLS handshakes that were completed"),
            handshake_failures: counter(registry, "tls_handshake_failures", "TLS handshakes that failed"),
            bad_requests: counter(registry, "bad_requests", "Requests that were no admission review"),
            panics,
            request_bytes: body_bytes(registry, "request_body", "Bodies of requests, as they were read"),
            response_bytes: body_bytes(registry, "response_body", "Bodies of answers"),
            rejected,
            registry: root,
        }
    }

    /// Adds the metric of dropped log lines.
    pub fn register_log(&mut self, dropped: DroppedLines) {
        self.registry.sub_registry_with_prefix("sandgate").register_collector(Box::new(dropped));
    }

    /// Counts the bodies of a request and of its answer, in bytes.
    pub fn record_body_sizes(&self, endpoint: Endpoint, request: u64, response: u64) {
        self.request_bytes.of(endpoint).inc_by(request);
        self.response_bytes.of(endpoint).inc_by(response);
    }

    /// Counts a request that was rejected by a limit.
    pub fn inc_rejected(&self, limit: Limit) {
        self.rejected.get_or_create(&LimitLabels { limit: limit.as_str() }).inc();
    }

    /// Returns all metrics in the `OpenMetrics` text format.
    ///
    /// # Errors
    /// An error of the formatter; writing to memory has none of its own.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(32 * 1024);
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn body_bytes(registry: &mut Registry, name: &str, help: &str) -> EndpointMetrics<Counter> {
    let family: Family<EndpointLabels, Counter> = Family::default();
    registry.register_with_unit(name, help, Unit::Bytes, family.clone());
    EndpointMetrics::of_family(&family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_sizes_are_counted_by_endpoint() {
        let metrics = Metrics::new();
        metrics.record_body_sizes(Endpoint::Mutate, 200, 3000);
        metrics.inc_rejected(Limit::BodyTime);
        let text = metrics.text().unwrap();
        for line in [
            r#"sandgate_request_body_bytes_total{endpoint="mutate"} 200"#,
            r#"sandgate_response_body_bytes_total{endpoint="mutate"} 3000"#,
            r#"sandgate_response_body_bytes_total{endpoint="validate"} 0"#,
            r#"sandgate_requests_rejected_total{limit="body-time"} 1"#,
            r#"sandgate_requests_rejected_total{limit="body-size"} 0"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
