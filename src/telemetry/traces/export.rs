//! Spans to a collector, as OTLP over HTTP in JSON: <https://opentelemetry.io/docs/specs/otlp/>.

use std::{
    fs, io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::http::{HeaderValue, Method, Request, Uri, header::CONTENT_TYPE, uri::Scheme};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{sync::mpsc::Receiver, time::timeout};

use super::{Span, SpanVerdict, TraceSettings};
use crate::telemetry::{Deliveries, LogThrottle};

/// The most spans in one request.
const MAX_BATCH_SPANS: usize = 512;

/// The time for which spans are collected into a batch.
const BATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The time-out of an export to the collector.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// The reason why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages describe them")]
pub enum CollectorError {
    #[error("--otlp-endpoint {0}: not a URL of a collector, such as http://127.0.0.1:4318")]
    Url(Uri),
    #[error("--otlp-endpoint {0}: https needs --otlp-ca FILE with the CA of the collector")]
    NoCa(Uri),
    #[error("--otlp-ca {path} cannot be read: {source}", path = path.display())]
    CaFile { path: PathBuf, source: io::Error },
    #[error("--otlp-ca {path}: no certificates in PEM", path = .0.display())]
    Ca(PathBuf),
    #[error("--otlp-ca: {0}")]
    Tls(#[from] rustls::Error),
}

/// Sends what it takes from the queue.
pub(super) struct Exporter {
    queue: Receiver<Span>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Uri,
    resource: Value,
    metrics: Deliveries,
    failures: LogThrottle,
}

impl Exporter {
    pub(super) fn new(
        settings: TraceSettings,
        queue: Receiver<Span>,
        metrics: Deliveries,
    ) -> Result<Self, CollectorError> {
        let TraceSettings { endpoint, ca, ratio: _, instance } = settings;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(&endpoint, ca)?)
            .https_or_http()
            .enable_http1()
            .build();
        let url = format!("{}/v1/traces", endpoint.to_string().trim_end_matches('/'));
        Ok(Self {
            queue,
            client: Client::builder(TokioExecutor::new()).build(connector),
            url: url.parse().map_err(|_| CollectorError::Url(endpoint))?,
            resource: json!({"attributes": [
                text("service.name", "sandgate"),
                text("service.version", env!("CARGO_PKG_VERSION")),
                text("service.instance.id", &instance),
            ]}),
            metrics,
            failures: LogThrottle::default(),
        })
    }

    pub(super) async fn run(mut self) {
        while let Some(first) = self.queue.recv().await {
            let mut spans = vec![first];
            let gathering = async {
                while spans.len() < MAX_BATCH_SPANS
                    && let Some(span) = self.queue.recv().await
                {
                    spans.push(span);
                }
            };
            let _ = timeout(BATCH_INTERVAL, gathering).await;
            self.send(&spans).await;
        }
    }

    /// Spans that cannot be sent are counted, not kept: the next spans come soon enough.
    async fn send(&mut self, spans: &[Span]) {
        let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        let problem = match timeout(EXPORT_TIMEOUT, self.client.request(self.request(spans))).await {
            Ok(Ok(answer)) if answer.status().is_success() => {
                self.metrics.succeeded.inc_by(count);
                return;
            }
            Ok(Ok(answer)) => format!("status {}", answer.status()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("not within {} s", EXPORT_TIMEOUT.as_secs()),
        };
        self.metrics.failed.inc_by(count);
        if self.failures.allow() {
            tracing::warn!(collector = %self.url, problem, "Failed to export spans; they are dropped");
        }
    }

    fn request(&self, spans: &[Span]) -> Request<Full<Bytes>> {
        let spans: Vec<Value> = spans.iter().map(span).collect();
        let scope = json!({"name": "sandgate", "version": env!("CARGO_PKG_VERSION")});
        let body = json!({"resourceSpans": [{
            "resource": self.resource,
            "scopeSpans": [{"scope": scope, "spans": spans}],
        }]});
        let mut request = Request::new(Full::new(Bytes::from(body.to_string())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request
    }
}

/// No roots come with the image, and none of the system's is asked: a collector is one's own.
fn tls(endpoint: &Uri, ca: Option<PathBuf>) -> Result<ClientConfig, CollectorError> {
    let is_https = match endpoint.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => false,
        _ => return Err(CollectorError::Url(endpoint.clone())),
    };
    if is_https && ca.is_none() {
        return Err(CollectorError::NoCa(endpoint.clone()));
    }
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca {
        let pem = fs::read(&path).map_err(|source| CollectorError::CaFile { path: path.clone(), source })?;
        let (added, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
        if added == 0 {
            return Err(CollectorError::Ca(path));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// A span in the JSON of OTLP: ids in hexadecimal, numbers of 64 bits as text.
fn span(span: &Span) -> Value {
    const KIND_SERVER: u8 = 2;
    const STATUS_ERROR: u8 = 2;
    let mut written = json!({
        "traceId": format!("{:032x}", span.trace),
        "spanId": format!("{:016x}", span.id),
        "name": format!("POST /{}", span.endpoint.as_str()),
        "kind": KIND_SERVER,
        "startTimeUnixNano": nanos(span.start).to_string(),
        "endTimeUnixNano": (nanos(span.start) + span.took.as_nanos()).to_string(),
        "attributes": attributes(span),
    });
    if let Some(parent) = span.parent {
        written["parentSpanId"] = format!("{parent:016x}").into();
    }
    // A denied request is not an error of the span.
    if span.status.is_server_error() {
        written["status"] = json!({"code": STATUS_ERROR});
    }
    written
}

fn attributes(span: &Span) -> Vec<Value> {
    let mut attributes = vec![
        text("http.request.method", "POST"),
        text("url.path", &format!("/{}", span.endpoint.as_str())),
        number("http.response.status_code", span.status.as_u16().into()),
    ];
    if let Some(SpanVerdict { outcome, operation, policy, uid, violations }) = &span.verdict {
        attributes.extend([
            text("sandgate.verdict", outcome),
            text("sandgate.operation", operation),
            text("sandgate.uid", uid),
            number("sandgate.violations", *violations),
        ]);
        attributes.extend(policy.as_ref().map(|policy| text("sandgate.policy", policy)));
    }
    attributes
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn number(key: &str, value: usize) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

fn nanos(time: SystemTime) -> u128 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos()
}
