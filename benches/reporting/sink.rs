//! A sink for everything that is reported over HTTP: an API server for Events, a collector for traces.

use std::{net::TcpListener, thread};

use axum::{Router, http::StatusCode};
use serde_json::{Value, json};

use crate::support::Result;

/// Takes everything until the benchmark ends, on a thread of its own.
pub(crate) struct Sink {
    pub(crate) url: String,
}

impl Sink {
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, Router::new().fallback(async || (StatusCode::CREATED, "{}"))).await
        };
        thread::spawn(move || runtime.block_on(serving));
        Ok(Self { url })
    }

    /// Returns the kubeconfig for a client of this API server.
    pub(crate) fn kubeconfig(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "sink",
            "contexts": [{"name": "sink", "context": {"cluster": "sink", "user": "anonymous"}}],
            "clusters": [{"name": "sink", "cluster": {"server": self.url}}],
            "users": [{"name": "anonymous", "user": {}}],
        })
    }
}
