//! From an HTTP request to an HTTP response.

use std::{
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{
        HeaderMap, HeaderValue, Request, StatusCode,
        header::{ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT},
    },
    response::{IntoResponse, Response},
    routing::post,
};
use http_body_util::{BodyExt, Limited};
use hyper::body::Body as _;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::SemaphorePermit,
    task::block_in_place,
    time::{Instant as Deadline, timeout, timeout_at},
};

use super::{Shared, metrics::Limit};
use crate::{
    audit::PendingRecord,
    telemetry::{GaugeGuard, Span},
};
use sandgate_engine::review::{self, Answer, Endpoint, NotAReview};

/// The routes of the TLS port.
pub fn router(shared: Arc<Shared>) -> Router {
    let of = |endpoint| {
        post(move |State(shared): State<Arc<Shared>>, request: Request<Body>| {
            handle(shared, endpoint, request)
        })
        .fallback(|| async {
            ([(ALLOW, "POST")], Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "only POST is answered here"))
        })
    };
    Router::new()
        .route("/mutate", of(Endpoint::Mutate))
        .route("/validate", of(Endpoint::Validate))
        .fallback(|| async {
            Refusal::new(StatusCode::NOT_FOUND, "no such endpoint; there are POST /mutate and POST /validate")
        })
        .with_state(shared)
}

async fn handle(shared: Arc<Shared>, endpoint: Endpoint, request: Request<Body>) -> Response {
    let mut span =
        shared.observers.traces.as_ref().and_then(|traces| traces.begin(endpoint, request.headers()));
    let response = judge(&shared, endpoint, request, span.as_mut()).await;
    if let (Some(traces), Some(span)) = (&shared.observers.traces, span) {
        traces.end(span, response.status());
    }
    response
}

async fn judge(
    shared: &Shared,
    endpoint: Endpoint,
    request: Request<Body>,
    span: Option<&mut Span>,
) -> Response {
    /// Below it a review is judged so soon that other connections can wait for it.
    const LARGE: usize = 1 << 20;

    let _counted = GaugeGuard::new(&shared.metrics.in_flight);
    let (body, _room) = match take_body(shared, request).await {
        Ok(taken) => taken,
        Err(refusal) => return refusal.into_response(),
    };
    let (response, waiting) = if body.len() < LARGE {
        respond(shared, endpoint, &body, span)
    } else {
        let _turn = shared.large_bodies.acquire().await;
        aside(|| respond(shared, endpoint, &body, span))
    };
    let answered = response.body().size_hint().exact().unwrap_or_default();
    shared.metrics.record_body_sizes(endpoint, body.len() as u64, answered);
    if let Some(record) = waiting {
        record.enqueued().await;
    }
    response
}

/// Does long work without holding up the other connections of this thread.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => block_in_place(work),
        _ => work(),
    }
}

/// The answer, and its audit record where the answer is to wait for it.
fn respond(
    shared: &Shared,
    endpoint: Endpoint,
    body: &[u8],
    span: Option<&mut Span>,
) -> (Response, Option<PendingRecord>) {
    let policies = shared.policies.load();
    respond_with(shared, span, || review::answer(&policies, endpoint, body))
}

fn respond_with<'a>(
    shared: &Shared,
    span: Option<&mut Span>,
    judge: impl FnOnce() -> Result<Answer<'a>, NotAReview>,
) -> (Response, Option<PendingRecord>) {
    let start = Instant::now();
    // The engine does not panic. Should it do so all the same, the answer is an error, never an allow.
    match catch_unwind(AssertUnwindSafe(judge)) {
        Ok(Ok(answer)) => {
            let took = start.elapsed();
            let waiting = shared.observers.observe(&answer.record, took, span);
            let mut response = Response::new(Body::from(answer.body));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            (response, waiting)
        }
        Ok(Err(problem)) => {
            shared.metrics.bad_requests.inc();
            (Refusal::new(StatusCode::BAD_REQUEST, one_line(&problem.to_string())).into_response(), None)
        }
        Err(_) => {
            shared.metrics.panics.inc();
            let reason = "sandgate failed on this review; please report it";
            (Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, reason).into_response(), None)
        }
    }
}

/// The whole body with its share of the room for bodies, or the refusal.
async fn take_body(shared: &Shared, request: Request<Body>) -> Result<(Bytes, SemaphorePermit<'_>), Refusal> {
    let (parts, body) = request.into_parts();
    let time = answer_before(parts.uri.query()).unwrap_or(Duration::MAX).min(shared.limits.body);
    let room = match room_needed(shared, &parts.headers) {
        Ok(room) => room,
        Err(refusal) => {
            // Who asks first has not sent anything yet.
            if parts.headers.contains_key(EXPECT) {
                return Err(refusal.closing());
            }
            discard(body, time).await;
            return Err(refusal);
        }
    };
    read_body(shared, body, room, time).await
}

/// How much room the body needs, or why it is not wanted.
fn room_needed(shared: &Shared, headers: &HeaderMap) -> Result<u32, Refusal> {
    check_type(headers)?;
    let limit = shared.limits.body_bytes;
    // Without a declared length a body may become as large as the limit, so that much is set aside.
    let Some(length) = declared_length(headers) else { return Ok(limit) };
    match u32::try_from(length) {
        Ok(length) if length <= limit => Ok(length),
        _ => Err(too_large(shared)),
    }
}

async fn read_body(
    shared: &Shared,
    body: Body,
    room: u32,
    time: Duration,
) -> Result<(Bytes, SemaphorePermit<'_>), Refusal> {
    let deadline = Deadline::now() + time;
    let Ok(Ok(permit)) = timeout_at(deadline, shared.body_bytes.acquire_many(room)).await else {
        shared.metrics.inc_rejected(Limit::BodiesInFlight);
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many bodies at once").closing());
    };
    match timeout_at(deadline, collect(body, room as usize)).await {
        Ok(Ok(body)) => Ok((body, permit)),
        Ok(Err(Uncollected::TooLarge)) => Err(too_large(shared).closing()),
        Ok(Err(Uncollected::Broken(error))) => {
            let reason = one_line(&format!("the body could not be read: {error}"));
            Err(Refusal::new(StatusCode::BAD_REQUEST, reason).closing())
        }
        Err(_) => {
            shared.metrics.inc_rejected(Limit::BodyTime);
            let reason = format!("the body did not arrive within {time:?}");
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, reason).closing())
        }
    }
}

/// Why a body is not whole.
enum Uncollected {
    TooLarge,
    Broken(axum::Error),
}

/// A body that comes in one piece is not copied. Pieces are put together as they come: keeping them until the last
/// would hold the body twice, and hyper could not use its buffer again.
async fn collect(mut body: Body, room: usize) -> Result<Bytes, Uncollected> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(Uncollected::Broken)?.into_data() else { continue };
        if piece.len() > room - whole.len() {
            return Err(Uncollected::TooLarge);
        }
        if whole.is_empty() {
            if body.is_end_stream() {
                return Ok(piece);
            }
            whole.reserve_exact(room);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.into())
}

/// Reads on what nobody wants, within reason: a client that is cut off while it sends may never see why.
async fn discard(body: Body, time: Duration) {
    const MOST: usize = 32 << 20;
    let mut body = Limited::new(body, MOST);
    let reading = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = timeout(time, reading).await;
}

fn check_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let problem = one_line(&format!("Content-Type is {kind:?}; send application/json"));
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, problem));
    }
    let encoding = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        let problem = "Content-Encoding is set; send the review uncompressed";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, problem));
    }
    Ok(())
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The API server says in the query how long it waits: `timeout=5s`. A little is left for the answer's way back.
fn answer_before(query: Option<&str>) -> Option<Duration> {
    let seconds = query?.split('&').find_map(|pair| pair.strip_prefix("timeout="))?.strip_suffix('s')?;
    let seconds: u32 = seconds.parse().ok()?;
    Some(Duration::from_millis(u64::from(seconds) * 900))
}

fn too_large(shared: &Shared) -> Refusal {
    shared.metrics.inc_rejected(Limit::BodySize);
    let reason = format!("the body is larger than {} bytes", shared.limits.body_bytes);
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
}

/// Why a request gets no review for an answer.
struct Refusal {
    status: StatusCode,
    reason: Cow<'static, str>,
    closes: bool,
}

impl Refusal {
    fn new(status: StatusCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { status, reason: reason.into(), closes: false }
    }

    /// The rest of the body will not be read, so the connection is of no more use.
    fn closing(self) -> Self {
        Self { closes: true, ..self }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, reason, closes } = self;
        tracing::debug!(status = status.as_u16(), %reason, "Request refused");
        let mut response = (status, format!("{reason}\n")).into_response();
        if closes {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// A reason may quote what was sent, which may be long and have line breaks in it.
fn one_line(reason: &str) -> String {
    const LONGEST: usize = 400;
    reason.chars().take(LONGEST).map(|char| if char.is_control() { ' ' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;
    use crate::{
        observe::Observers,
        server::{Limits, Metrics},
    };
    use sandgate_engine::policy::PolicySet;

    fn shared() -> Arc<Shared> {
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
    fn a_panic_is_an_error_and_never_an_allow() {
        let shared = shared();
        let (response, _) = respond_with(&shared, None, || panic!("a fault of the engine"));
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(shared.metrics.text().unwrap().contains("sandgate_panics_total 1"));
    }

    #[test]
    fn the_api_servers_patience_is_read_from_the_query() {
        assert_eq!(answer_before(Some("timeout=10s")), Some(Duration::from_secs(9)));
        assert_eq!(answer_before(Some("a=b&timeout=5s")), Some(Duration::from_millis(4500)));
        for query in ["timeout=", "timeout=s", "timeout=1m0s", "timeout=-5s", "timeout=99999999999s", ""] {
            assert_eq!(answer_before(Some(query)), None, "{query}");
        }
    }
}
