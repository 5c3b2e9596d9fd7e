//! Somebody who takes whatever is told over HTTP: an API server to those who write Events, a collector to those who trace.

use std::{net::TcpListener, thread};

use axum::{Router, http::StatusCode};
use serde_json::{Value, json};

use crate::support::Result;

/// Takes everything until the benchmark ends, on a thread of its own.
pub(crate) struct Taker {
    pub(crate) url: String,
}

impl Taker {
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let taking = async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, Router::new().fallback(async || (StatusCode::CREATED, "{}"))).await
        };
        thread::spawn(move || runtime.block_on(taking));
        Ok(Self { url })
    }

    /// How a client of the API server finds it.
    pub(crate) fn kubeconfig(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "taker",
            "contexts": [{"name": "taker", "context": {"cluster": "taker", "user": "nobody"}}],
            "clusters": [{"name": "taker", "cluster": {"server": self.url}}],
            "users": [{"name": "nobody", "user": {}}],
        })
    }
}
