//! The admin port, plain HTTP: is it alive, is it ready, what has it counted.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};

use super::Shared;

/// The kubelet's probes and a few scrapers.
pub(super) const CONNECTIONS: u32 = 64;

/// The routes of the admin port.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n") })
        .with_state(shared)
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
