//! The admin port, plain HTTP: is it alive, is it ready, what has it counted, what does it log.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use http_body_util::{BodyExt, Limited};

use super::Shared;
use crate::telemetry::LogLevel;

/// The kubelet's probes and a few scrapers.
pub(super) const CONNECTIONS: u32 = 64;

/// The routes of the admin port.
pub(super) fn router(shared: Arc<Shared>, log_level: LogLevel) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(shared)
        .merge(log_level_router(log_level))
        .fallback(|| async {
            (StatusCode::NOT_FOUND, "there are /healthz, /readyz, /metrics and /loglevel\n")
        })
}

fn log_level_router(log_level: LogLevel) -> Router {
    Router::new().route("/loglevel", get(show_log_level).put(set_log_level)).with_state(log_level)
}

async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, &'static str) {
    if shared.is_ending() {
        return (StatusCode::SERVICE_UNAVAILABLE, "ending\n");
    }
    if !shared.readiness.tell() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "no certificate that the webhook configurations trust yet\n",
        );
    }
    (StatusCode::OK, "ok\n")
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match shared.metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

type Refusal = (StatusCode, String);

/// Everybody may reach the port; only who is in the same Pod may see and change what is logged.
fn refuse_strangers(peer: SocketAddr) -> Result<(), Refusal> {
    if peer.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err((StatusCode::FORBIDDEN, "only from the same Pod: kubectl exec POD -- /sandgate log-level\n".into()))
}

async fn show_log_level(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    State(level): State<LogLevel>,
) -> Result<String, Refusal> {
    refuse_strangers(peer)?;
    Ok(format!("{}\n", level.current()))
}

async fn set_log_level(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    State(level): State<LogLevel>,
    body: Body,
) -> Result<String, Refusal> {
    const LONGEST: usize = 4096;
    refuse_strangers(peer)?;
    let unfit = |reason: String| (StatusCode::BAD_REQUEST, format!("{reason}\n"));
    let filter = Limited::new(body, LONGEST).collect().await.map_err(|error| unfit(error.to_string()))?;
    let level_set = level.set(&String::from_utf8_lossy(&filter.to_bytes()));
    level_set.map_err(|error| unfit(error.to_string()))?;
    let filter = level.current();
    tracing::info!(filter, "Log level changed");
    Ok(format!("{filter}\n"))
}

#[cfg(test)]
mod tests {
    use axum::http::{Method, Request};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn only_somebody_in_the_same_pod_sees_and_changes_the_log_level() {
        let (_logs, level) = LogLevel::apart("error");
        for (peer, method, status) in [
            ("10.1.2.3:4", Method::GET, StatusCode::FORBIDDEN),
            ("10.1.2.3:4", Method::PUT, StatusCode::FORBIDDEN),
            ("[::ffff:10.1.2.3]:4", Method::PUT, StatusCode::FORBIDDEN),
            ("[fe80::1]:4", Method::PUT, StatusCode::FORBIDDEN),
            ("127.0.0.1:4", Method::GET, StatusCode::OK),
        ] {
            let peer: SocketAddr = peer.parse().unwrap();
            let request = Request::builder().method(method).uri("/loglevel").extension(ConnectInfo(peer));
            let request = request.body(Body::from("off")).unwrap();
            let answer = log_level_router(level.clone()).oneshot(request).await.unwrap();
            assert_eq!(answer.status(), status, "{peer}");
            assert_eq!(level.current(), "error", "{peer}");
        }
        for peer in ["127.0.0.1:4", "[::1]:4", "[::ffff:127.0.0.1]:4"] {
            let peer: SocketAddr = peer.parse().unwrap();
            assert!(refuse_strangers(peer).is_ok(), "{peer}");
        }
    }
}
