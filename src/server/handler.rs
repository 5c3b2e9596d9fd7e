//! From an HTTP request to an HTTP response.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{
        Extensions, HeaderMap, HeaderValue, Request, StatusCode,
        header::{ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT},
        request::Parts,
    },
    response::{IntoResponse, Response},
    routing::post,
};
use hyper::body::Body as _;
use tokio::time::{Instant as Deadline, timeout_at};

use super::{
    Shared,
    body::{self, Bounds, Received},
    evaluation::{Call, Job},
    listener::Peer,
    metrics::Limit,
    templates,
};
use crate::telemetry::GaugeGuard;
use sandgate_engine::review::{Caller, Endpoint, Unread};

/// The time for an answer if the API server does not name its timeout. Its default is 10 seconds.
const ANSWER_TIME: Duration = Duration::from_secs(9);

/// The routes of the TLS port.
pub fn router(shared: Arc<Shared>) -> Router {
    let handler = |endpoint| {
        post(move |State(shared): State<Arc<Shared>>, request: Request<Body>| {
            handle(shared, endpoint, request)
        })
        .fallback(not_allowed)
    };
    let templates = || {
        post(|State(shared): State<Arc<Shared>>, request: Request<Body>| templates::handle(shared, request))
            .fallback(not_allowed)
    };
    Router::new()
        .route("/mutate", handler(Endpoint::Mutate))
        .route("/validate", handler(Endpoint::Validate))
        .route("/mutate/{policy}", handler(Endpoint::Mutate))
        .route("/validate/{policy}", handler(Endpoint::Validate))
        .route("/templates", templates())
        .route("/templates/{policy}", templates())
        .fallback(|| async {
            Rejection::new(
                StatusCode::NOT_FOUND,
                "no such endpoint; there are POST /mutate, POST /validate and POST /templates, each with /POLICY behind it if \
                 the policy selects namespaces by their labels",
            )
        })
        .with_state(shared)
}

async fn not_allowed() -> impl IntoResponse {
    ([(ALLOW, "POST")], Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "only POST is answered here"))
}

async fn handle(shared: Arc<Shared>, endpoint: Endpoint, request: Request<Body>) -> Response {
    let _counted = GaugeGuard::new(&shared.metrics.in_flight);
    let span = shared.observers.traces.as_ref().and_then(|traces| traces.begin(endpoint, request.headers()));
    let Arrival { parts, peer, body, answer_by } = match arrive(&shared, request).await {
        Ok(arrival) => arrival,
        Err(rejection) => {
            if let (Some(traces), Some(span)) = (&shared.observers.traces, span) {
                traces.end(span, rejection.status);
            }
            return rejection.into_response();
        }
    };
    let Received { bytes, incomplete, charge: _charge } = body;
    let received = bytes.len() as u64;
    let caller = caller(&shared, peer, &parts.headers);
    let call = Call { endpoint, path_policy: path_policy(parts.uri.path()).map(Into::into), caller };
    let job = Job::new(Arc::clone(&shared), call, bytes, span);
    // The rest of the body will not be read, so the connection is of no more use.
    let is_cut_off = incomplete.is_some();
    let (response, pending) = match incomplete {
        None => job.evaluate(answer_by).await,
        Some(unread) => job.by_head(&unread),
    };
    let response = if is_cut_off { close(response) } else { response };
    let answered = response.body().size_hint().exact().unwrap_or_default();
    shared.metrics.record_body_sizes(endpoint, received, answered);
    if let Some(record) = pending {
        // Given up, it is counted as lost.
        let _ = timeout_at(answer_by, record.enqueued()).await;
    }
    if let (Some(traces), Some(span)) = (&shared.observers.traces, job.take_span()) {
        traces.end(span, response.status());
    }
    response
}

/// A request whose body was received, as far as its bounds let it.
pub(super) struct Arrival {
    pub(super) parts: Parts,
    pub(super) peer: Peer,
    pub(super) body: Received,
    /// The time by which the answer must go out.
    pub(super) answer_by: Deadline,
}

/// Receives the body of a request, or returns why the request is not answered with a review.
pub(super) async fn arrive(shared: &Shared, request: Request<Body>) -> Result<Arrival, Rejection> {
    let (parts, body) = request.into_parts();
    let start = Deadline::now();
    let answer_by = start + answer_time(parts.uri.query());
    let receive_by = answer_by.min(start + shared.limits.body);
    let declared = declared_length(&parts.headers);
    if let Some(rejection) = rejection(shared, &parts.headers, declared) {
        // A client that asks first has not sent anything yet.
        if !parts.headers.contains_key(EXPECT) {
            body::discard(body, receive_by).await;
        }
        return Err(rejection);
    }
    let peer = peer_of(&parts.extensions);
    let bounds = Bounds { max_bytes: shared.limits.body_bytes, declared, deadline: receive_by };
    let body = body::receive(body, bounds, shared.bodies.charge(peer.address)).await;
    if let Some(unread) = &body.incomplete {
        count(shared, unread);
    }
    Ok(Arrival { parts, peer, body, answer_by })
}

/// Returns a response after which the connection is closed.
pub(super) fn close(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Returns the peer of a request.
fn peer_of(extensions: &Extensions) -> Peer {
    let unknown = Peer { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), has_certificate: false };
    extensions.get().copied().unwrap_or(unknown)
}

/// Returns the policy that the path of a call names: the last part of `/mutate/NAME`. Names of policies need no escapes, so
/// that an escaped one is not a policy name.
pub(super) fn path_policy(path: &str) -> Option<&str> {
    path.trim_start_matches('/').split_once('/').map(|(_, name)| name)
}

/// The proof that the sender is an API server.
fn caller(shared: &Shared, peer: Peer, headers: &HeaderMap) -> Caller {
    if peer.has_certificate {
        return Caller::Certificate;
    }
    match &shared.tokens {
        Some(tokens) if tokens.load().is_authentic(headers) => Caller::Token,
        Some(_) => Caller::Unverified,
        None => Caller::Unasked,
    }
}

fn count(shared: &Shared, unread: &Unread) {
    let limit = match unread {
        Unread::TooLarge(_) => Limit::BodySize,
        Unread::NotReceived(_) => Limit::BodyTime,
        Unread::NoBudget => Limit::BodiesInFlight,
        Unread::Interrupted | Unread::Malformed(_) | Unread::NotEvaluated | Unread::Panicked => return,
    };
    shared.metrics.inc_rejected(limit);
}

/// Returns why the request is rejected before its body is read.
fn rejection(shared: &Shared, headers: &HeaderMap, declared: Option<u64>) -> Option<Rejection> {
    if let Err(rejection) = check_type(headers) {
        return Some(rejection);
    }
    let max = u64::from(shared.limits.body_bytes);
    if headers.contains_key(EXPECT) && declared.is_some_and(|length| length > max) {
        shared.metrics.inc_rejected(Limit::BodySize);
        let reason = format!("the body is larger than {max} bytes");
        return Some(Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, reason));
    }
    None
}

fn check_type(headers: &HeaderMap) -> Result<(), Rejection> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let problem = format!("Content-Type is {kind:?}; send application/json");
        return Err(Rejection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, problem));
    }
    let encoding = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        let problem = "Content-Encoding is set; send the review uncompressed";
        return Err(Rejection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, problem));
    }
    Ok(())
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Returns the time for the answer. The API server names its timeout in the query (`timeout=5s`); a tenth of it is left
/// for the way back.
fn answer_time(query: Option<&str>) -> Duration {
    let seconds = || {
        let timeout = query?.split('&').find_map(|pair| pair.strip_prefix("timeout="))?;
        timeout.strip_suffix('s')?.parse::<u32>().ok()
    };
    seconds().map_or(ANSWER_TIME, |seconds| Duration::from_millis(u64::from(seconds) * 900))
}

/// The reason why a request is not answered with a review.
pub(super) struct Rejection {
    status: StatusCode,
    reason: Cow<'static, str>,
}

impl Rejection {
    pub(super) fn new(status: StatusCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { status, reason: reason.into() }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let reason = one_line(&self.reason);
        tracing::debug!(status = self.status.as_u16(), %reason, "Request rejected");
        (self.status, format!("{reason}\n")).into_response()
    }
}

/// A reason may quote what was sent, which may be long and have line breaks in it.
fn one_line(reason: &str) -> String {
    const MAX_REASON_CHARS: usize = 400;
    reason.chars().take(MAX_REASON_CHARS).map(|char| if char.is_control() { ' ' } else { char }).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::{
        observe::Observers,
        server::{Limits, Metrics},
    };
    use sandgate_engine::policy::PolicySet;

    pub(in crate::server) fn shared() -> Arc<Shared> {
        let second = Duration::from_secs(1);
        let limits = Limits {
            body_bytes: 2 << 20,
            bodies_in_flight_bytes: 2 << 20,
            connections: 1,
            handshake: second,
            header: second,
            body: second,
            idle: second,
        };
        let metrics = Metrics::new();
        let observers = Observers::new(metrics.reviews.clone());
        Arc::new(Shared::new(PolicySet::builtin(), metrics, observers, limits))
    }

    #[test]
    fn the_policy_is_the_last_part_of_the_path() {
        assert_eq!(path_policy("/mutate"), None);
        assert_eq!(path_policy("/validate/labelled"), Some("labelled"));
        assert_eq!(path_policy("/mutate/a%2fb"), Some("a%2fb"));
    }

    /// The router needs no socket.
    async fn post(body: &str) -> (StatusCode, String) {
        let request = Request::post("/mutate").header(CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(body.to_string())).unwrap();
        let response = router(shared()).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_review_is_answered_whatever_its_size() {
        for padding in [0, 1 << 20] {
            let review = serde_json::json!({
                "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
                "request": {"uid": "u", "operation": "DELETE", "name": "n".repeat(padding)},
            });
            let (status, answer) = post(&review.to_string()).await;
            assert_eq!(status, StatusCode::OK);
            assert!(answer.contains(r#""allowed":true"#), "{answer}");
        }
    }

    #[tokio::test]
    async fn a_reason_is_one_short_line() {
        let (status, answer) = post(&format!(r#"{{"kind":"{}\n"}}"#, "x".repeat(10_000))).await;
        assert_eq!((status, answer.lines().count()), (StatusCode::BAD_REQUEST, 1), "{answer}");
        assert!(answer.len() < 500, "{answer}");
    }

    #[test]
    fn the_api_servers_timeout_is_read_from_the_query() {
        assert_eq!(answer_time(Some("timeout=10s")), Duration::from_secs(9));
        assert_eq!(answer_time(Some("a=b&timeout=5s")), Duration::from_millis(4500));
        for query in ["timeout=", "timeout=s", "timeout=1m0s", "timeout=-5s", "timeout=99999999999s", ""] {
            assert_eq!(answer_time(Some(query)), ANSWER_TIME, "{query}");
        }
    }
}
