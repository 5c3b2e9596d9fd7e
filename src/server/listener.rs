//! Accepting connections: a bound on their number, TLS, then HTTP/1.1 or HTTP/2 as the handshake agreed.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension, Router,
    extract::ConnectInfo,
    http::{HeaderValue, header::CONNECTION},
};
use hyper::{body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::InvalidMessage;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tower::ServiceExt;

use super::{
    Shared,
    activity::{Activity, Protocol, Watched},
};
use crate::telemetry::GaugeGuard;

/// One port: who is let in, and what is answered.
pub(super) struct Port {
    /// TLS; plain HTTP where there is none.
    pub(super) tls: Option<TlsAcceptor>,
    /// What is answered.
    pub(super) router: Router,
    /// The most open connections. The next one waits in the kernel's queue.
    pub(super) connections: u32,
    /// The server's state.
    pub(super) shared: Arc<Shared>,
    /// Turns true when open requests are to be answered and nothing more accepted.
    pub(super) ended: watch::Receiver<bool>,
}

impl Port {
    /// Serves until `ended` turns true and every connection is closed.
    pub(super) async fn serve(self, listener: TcpListener) {
        let permits = Arc::new(Semaphore::new(self.connections as usize));
        let mut ended = self.ended.clone();
        let port = Arc::new(self);
        loop {
            let next = async {
                let permit = Arc::clone(&permits).acquire_owned().await;
                (permit, listener.accept().await)
            };
            tokio::select! {
                (Ok(permit), accepted) = next => match accepted {
                    Ok((stream, peer)) => { tokio::spawn(Arc::clone(&port).connection(stream, peer, permit)); }
                    Err(error) => back_off(&error).await,
                },
                () = until(&mut ended) => break,
            }
        }
        drop(listener);
        // Every connection holds a permit: when all can be had, all are closed.
        let _ = permits.acquire_many(port.connections).await;
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, _permit: OwnedSemaphorePermit) {
        // Answers are small and complete; waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return self
                .serve_http(stream, Protocol::Http1, &self.router.clone().layer(Extension(ConnectInfo(peer))))
                .await;
        };
        let Some(stream) = self.handshake(tls, stream).await else { return };
        let _counted = GaugeGuard::new(&self.shared.metrics.connections);
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        self.serve_http(stream, protocol, &self.router).await;
    }

    async fn handshake(&self, tls: &TlsAcceptor, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let metrics = &self.shared.metrics;
        match timeout(self.shared.limits.handshake, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                metrics.handshakes.inc();
                return Some(stream);
            }
            Ok(Err(error)) if is_no_tls(&error) => {
                tracing::debug!("No TLS on the TLS port; is it plain HTTP?");
            }
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        }
        metrics.handshake_failures.inc();
        None
    }

    async fn serve_http<S>(&self, stream: S, protocol: Protocol, router: &Router)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Activity::new(protocol);
        let io = TokioIo::new(Watched { stream, activity: Arc::clone(&activity) });
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let serving = activity.serve_request();
            let answer = router.clone().oneshot(request);
            let shared = Arc::clone(&self.shared);
            async move {
                let _serving = serving;
                let mut answer = answer.await?;
                // The client is to look for another replica. HTTP/2 is told so in a frame when the delay is over.
                if protocol == Protocol::Http1 && shared.is_ending() {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        match protocol {
            Protocol::Http1 => {
                let connection = pin!(http1().serve_connection(io, service));
                self.until_done(connection, conn::http1::Connection::graceful_shutdown, &activity).await;
            }
            Protocol::Http2 => {
                let connection = pin!(http2().serve_connection(io, service));
                self.until_done(connection, conn::http2::Connection::graceful_shutdown, &activity).await;
            }
        }
    }

    /// Drives a connection to its end: by the peer, by our end, or because it has been of no use for too long.
    async fn until_done<C>(
        &self,
        mut connection: Pin<&mut C>,
        shut_down: impl Fn(Pin<&mut C>),
        activity: &Activity,
    ) where
        C: Future<Output = hyper::Result<()>>,
    {
        // One timer that is seldom reset costs less than two that each request sets and clears.
        const LOOK_AGAIN: Duration = Duration::from_secs(1);
        let mut look = tokio::time::interval(LOOK_AGAIN);
        let mut ended = self.ended.clone();
        let mut shutting_down = false;
        loop {
            tokio::select! {
                biased;
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "A connection ended early");
                    }
                    return;
                }
                () = until(&mut ended), if !shutting_down => {
                    shutting_down = true;
                    shut_down(connection.as_mut());
                }
                _ = look.tick() => {
                    if activity.is_stale(self.shared.limits.header, self.shared.limits.idle) {
                        tracing::debug!("A connection was idle, or took too long for the head of a request");
                        return;
                    }
                }
            }
        }
    }
}

/// hyper's own 400 kB for each connection would be much for a thousand of them; with less than this, large bodies cost
/// measurably more.
fn http1() -> conn::http1::Builder {
    let mut builder = conn::http1::Builder::new();
    builder.max_buf_size(128 * 1024);
    builder
}

/// The windows bound what a connection whose bodies nobody reads yet can hold in memory.
fn http2() -> conn::http2::Builder<TokioExecutor> {
    let mut builder = conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .max_header_list_size(16 * 1024)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(256 * 1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Waits until the server ends.
async fn until(ended: &mut watch::Receiver<bool>) {
    let _ = ended.wait_for(|ended| *ended).await;
}

/// A peer that has left already is its own affair. Too many open files and the like pass by, and trying again at once
/// would only burn the processor.
async fn back_off(error: &io::Error) {
    if matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    ) {
        return;
    }
    tracing::warn!(%error, "Cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn is_no_tls(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}
