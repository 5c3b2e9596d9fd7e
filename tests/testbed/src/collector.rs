//! A collector of traces: OTLP over HTTP, in JSON.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

type Bodies = Arc<Mutex<Vec<Value>>>;

/// Takes everything; ends when dropped.
pub struct Collector {
    /// The value for `--otlp-endpoint`.
    pub url: String,
    bodies: Bodies,
    accepting: JoinHandle<()>,
}

impl Collector {
    /// One in plain HTTP.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// One with TLS, if asked for.
    pub async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let bodies = Bodies::default();
        let kept = Arc::clone(&bodies);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, bodies) = (tls.clone(), Arc::clone(&kept));
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, bodies).await,
                        // Who does not trust us goes away.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, bodies).await;
                            }
                        }
                    }
                });
            }
        });
        Self { url: format!("{scheme}://{address}"), bodies, accepting }
    }

    /// Every span so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Value> {
        let bodies = self.bodies.lock().expect("no holder panics");
        let lists = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
        let resources = bodies.iter().flat_map(|body| lists(body, "resourceSpans"));
        let scopes = resources.flat_map(|resource| lists(&resource, "scopeSpans"));
        scopes.flat_map(|scope| lists(&scope, "spans")).collect()
    }

    /// The bodies of all requests so far.
    #[must_use]
    pub fn bodies(&self) -> Vec<Value> {
        self.bodies.lock().expect("no holder panics").clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, bodies: Bodies) {
    let service = service_fn(|request: Request<Incoming>| take(request, &bodies));
    // The sender may close the connection.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn take(request: Request<Incoming>, bodies: &Bodies) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_right = request.method() == "POST"
        && request.uri().path() == "/v1/traces"
        && request.headers().get("content-type").is_some_and(|kind| kind == "application/json");
    let body = match request.into_body().collect().await {
        Ok(body) => serde_json::from_slice(&body.to_bytes()).ok(),
        Err(_) => None,
    };
    let mut answer = Response::new(Full::from("{}"));
    match body.filter(|_| is_right) {
        Some(body) => bodies.lock().expect("no holder panics").push(body),
        None => *answer.status_mut() = hyper::StatusCode::BAD_REQUEST,
    }
    Ok(answer)
}

/// The value of an attribute of a span, as text.
#[must_use]
pub fn attribute(span: &Value, key: &str) -> Option<String> {
    let attributes = span["attributes"].as_array()?;
    let value = &attributes.iter().find(|attribute| attribute["key"] == key)?["value"];
    let text = value["stringValue"].as_str().or(value["intValue"].as_str())?;
    Some(text.to_owned())
}
