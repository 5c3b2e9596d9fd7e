//! The admin port, plain HTTP: liveness, readiness, metrics and the log level.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, State},
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_TYPE, USER_AGENT},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use http_body_util::{BodyExt, Limited};

use super::Shared;
use crate::telemetry::LogLevel;

/// The largest number of open connections: the kubelet's probes and a few scrapers.
pub(super) const MAX_CONNECTIONS: u32 = 64;

/// The time that a connection may be idle. A probe opens a new one each time.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The routes of the admin port.
pub(super) fn router(shared: Arc<Shared>, log_level: LogLevel) -> Router {
    Router::new()
        .route("/healthz", get(healthy))
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

async fn healthy(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    match shared.supervisor.failure() {
        None => (StatusCode::OK, "ok\n".into()),
        Some(ended) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{ended}\n")),
    }
}

/// Only a kubelet's probe is an observation of readiness: after it the Pod's endpoint gets reviews. Others may look.
async fn ready(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> (StatusCode, &'static str) {
    if shared.is_ending() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
    }
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let is_ready = if agent.starts_with("kube-probe/") {
        shared.readiness.check_and_mark_observed()
    } else {
        shared.readiness.is_ready()
    };
    if !is_ready {
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

type AdminRejection = (StatusCode, String);

/// Anybody may reach the port. Only a process of the same Pod may see and change what is logged.
fn require_loopback(peer: SocketAddr) -> Result<(), AdminRejection> {
    if peer.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err((StatusCode::FORBIDDEN, "only from the same Pod: kubectl exec POD -- /sandgate log-level\n".into()))
}

async fn show_log_level(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    State(level): State<LogLevel>,
) -> Result<String, AdminRejection> {
    require_loopback(peer)?;
    Ok(format!("{}\n", level.current()))
}

async fn set_log_level(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    State(level): State<LogLevel>,
    body: Body,
) -> Result<String, AdminRejection> {
    const MAX_FILTER_BYTES: usize = 4096;
    require_loopback(peer)?;
    let unfit = |reason: String| (StatusCode::BAD_REQUEST, format!("{reason}\n"));
    let filter =
        Limited::new(body, MAX_FILTER_BYTES).collect().await.map_err(|error| unfit(error.to_string()))?;
    let level_set = level.set(&String::from_utf8_lossy(&filter.to_bytes()));
    level_set.map_err(|error| unfit(error.to_string()))?;
    let filter = level.current();
    tracing::info!(filter, "Log level changed");
    Ok(format!("{filter}\n"))
}

#[cfg(test)]
mod tests {
    use axum::http::{Method, Request};
    use futures::FutureExt;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_task_that_ended_is_reported_as_unhealthy() {
        let shared = crate::server::handler::tests::shared();
        let (_logs, level) = LogLevel::apart("error");
        let healthz = async || {
            let request = Request::get("/healthz").body(Body::empty()).unwrap();
            router(Arc::clone(&shared), level.clone()).oneshot(request).await.unwrap().status()
        };
        assert_eq!(healthz().await, StatusCode::OK);
        drop(shared.supervisor.guard("audit"));
        assert_eq!(healthz().await, StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[tokio::test]
    async fn only_a_kubelets_probe_observes_readiness() {
        let shared = crate::server::handler::tests::shared();
        shared.readiness.set();
        let (_logs, level) = LogLevel::apart("error");
        let readyz = async |agent: &str| {
            let request = Request::get("/readyz").header(USER_AGENT, agent).body(Body::empty()).unwrap();
            router(Arc::clone(&shared), level.clone()).oneshot(request).await.unwrap().status()
        };
        assert_eq!(readyz("curl/8.0").await, StatusCode::OK);
        assert!(shared.readiness.observed().now_or_never().is_none());
        assert_eq!(readyz("kube-probe/1.36").await, StatusCode::OK);
        assert!(shared.readiness.observed().now_or_never().is_some());
    }

    #[tokio::test]
    async fn only_the_same_pod_sees_and_changes_the_log_level() {
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
            assert!(require_loopback(peer).is_ok(), "{peer}");
        }
    }
}
