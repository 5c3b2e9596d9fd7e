//! From an HTTP request to an HTTP response.

use std::{
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
        header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
    routing::post,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::Shared;
use crate::{
    review::{self, Endpoint, NotAReview, Outcome, Record},
    telemetry::Limit,
};

/// The routes of the TLS port.
pub fn router(shared: Arc<Shared>) -> Router {
    let of = |endpoint| {
        post(move |State(shared): State<Arc<Shared>>, request: Request<Body>| {
            handle(shared, endpoint, request)
        })
        .fallback(|| async { refuse(StatusCode::METHOD_NOT_ALLOWED, "only POST is answered here") })
    };
    Router::new()
        .route("/mutate", of(Endpoint::Mutate))
        .route("/validate", of(Endpoint::Validate))
        .fallback(|| async {
            refuse(StatusCode::NOT_FOUND, "no such endpoint; there are POST /mutate and POST /validate")
        })
        .with_state(shared)
}

async fn handle(shared: Arc<Shared>, endpoint: Endpoint, request: Request<Body>) -> Response {
    let in_flight = InFlight::begin(&shared);
    let mut response = match read_body(&shared, request).await {
        Ok(body) => respond(&shared, endpoint, &body),
        Err(refusal) => refusal,
    };
    drop(in_flight);
    if shared.is_ending() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Counts a request while it is being answered, also one whose client went away.
struct InFlight<'s>(&'s Shared);

impl<'s> InFlight<'s> {
    fn begin(shared: &'s Shared) -> Self {
        shared.metrics.in_flight.inc();
        Self(shared)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.metrics.in_flight.dec();
    }
}

fn respond(shared: &Shared, endpoint: Endpoint, body: &[u8]) -> Response {
    let start = Instant::now();
    let policies = shared.policies.load();
    // The engine does not panic. Should it do so all the same, the answer is an error, never an allow.
    match catch_unwind(AssertUnwindSafe(|| review::answer(&policies, endpoint, body))) {
        Ok(Ok(answer)) => {
            let took = start.elapsed();
            shared.metrics.observe(&answer.record, took);
            record(shared, &answer.record, took);
            ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], answer.body).into_response()
        }
        Ok(Err(problem)) => not_a_review(shared, &problem),
        Err(_) => {
            shared.metrics.panicked();
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "sandgate failed on this review; please report it")
        }
    }
}

fn not_a_review(shared: &Shared, problem: &NotAReview) -> Response {
    shared.metrics.not_a_review();
    tracing::debug!(%problem, "Bad request");
    refuse(StatusCode::BAD_REQUEST, &problem.to_string())
}

fn record(shared: &Shared, record: &Record, took: Duration) {
    let request = &record.request;
    if matches!(record.outcome, Outcome::Denied | Outcome::Warned | Outcome::WouldDeny | Outcome::Exempt) {
        tracing::info!(
            verdict = record.outcome.as_str(),
            endpoint = record.endpoint.as_str(),
            uid = &*request.uid,
            namespace = &*request.namespace,
            name = &*request.name,
            user = &*request.user,
            rules = record.rules(),
            "Verdict"
        );
    } else {
        tracing::debug!(
            verdict = record.outcome.as_str(),
            endpoint = record.endpoint.as_str(),
            uid = &*request.uid,
            namespace = &*request.namespace,
            name = &*request.name,
            ?took,
            "Verdict"
        );
    }
    if let Some(trail) = shared.trail.as_ref().filter(|_| record.policy.is_some()) {
        let mut line = Vec::with_capacity(1024);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        record.write_line(&mut line, &jiff::Timestamp::now().to_string(), micros);
        trail.record(line);
    }
}

/// The whole body, or the refusal.
async fn read_body(shared: &Shared, request: Request<Body>) -> Result<Bytes, Response> {
    let (parts, body) = request.into_parts();
    check_headers(&parts.headers)?;
    let limit = shared.limits.body_bytes;
    let length = declared_length(&parts.headers);
    if length.is_some_and(|length| length > u64::from(limit)) {
        shared.metrics.reject(Limit::BodySize);
        return Err(too_large(limit));
    }
    let expected = length.and_then(|length| u32::try_from(length).ok()).unwrap_or(limit);
    let time =
        answer_before(parts.uri.query()).map_or(shared.limits.body, |time| time.min(shared.limits.body));
    let reading = async {
        // Without a declared length a body may become as large as the limit, so that much is set aside.
        let room = shared.body_bytes.acquire_many(expected.max(1)).await;
        let Ok(_room) = room else {
            shared.metrics.reject(Limit::BodiesInFlight);
            return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "too many bodies at once"));
        };
        Limited::new(body, limit as usize).collect().await.map(http_body_util::Collected::to_bytes).map_err(
            |error| {
                if error.is::<LengthLimitError>() {
                    shared.metrics.reject(Limit::BodySize);
                    return too_large(limit);
                }
                refuse(StatusCode::BAD_REQUEST, &format!("the body could not be read: {error}"))
            },
        )
    };
    tokio::time::timeout(time, reading).await.unwrap_or_else(|_| {
        shared.metrics.reject(Limit::BodyTime);
        Err(closing(refuse(StatusCode::REQUEST_TIMEOUT, &format!("the body did not arrive within {time:?}"))))
    })
}

fn check_headers(headers: &HeaderMap) -> Result<(), Response> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let problem = format!("Content-Type is {kind:?}; send application/json");
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, &problem));
    }
    let encoding = headers.get(CONTENT_ENCODING).map(|encoding| encoding.as_bytes());
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Encoding is set; send the review uncompressed",
        ));
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

fn too_large(limit: u32) -> Response {
    closing(refuse(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body is larger than {limit} bytes")))
}

/// The rest of the body will not be read, so the connection is of no more use.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn refuse(status: StatusCode, reason: &str) -> Response {
    (status, format!("{reason}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_servers_patience_is_read_from_the_query() {
        assert_eq!(answer_before(Some("timeout=10s")), Some(Duration::from_secs(9)));
        assert_eq!(answer_before(Some("a=b&timeout=5s")), Some(Duration::from_millis(4500)));
        for query in ["timeout=", "timeout=s", "timeout=1m0s", "timeout=-5s", "timeout=99999999999s", ""] {
            assert_eq!(answer_before(Some(query)), None, "{query}");
        }
    }
}
