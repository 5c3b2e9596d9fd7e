//! The admin port, plain HTTP: is it alive, is it ready, what has it counted.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use super::Shared;

/// Serves until the process ends.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    if let Err(error) = axum::serve(listener, router(shared)).await {
        tracing::error!(%error, "The admin port is gone");
    }
}

fn router(shared: Arc<Shared>) -> Router {
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
    (StatusCode::OK, "ok\n")
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    match shared.metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
            .into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
