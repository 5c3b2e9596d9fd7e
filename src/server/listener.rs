//! Accepts connections: a bound on their number, TLS, then HTTP/1.1 or HTTP/2 as the handshake agreed.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::{
    Router,
    extract::ConnectInfo,
    http::{HeaderValue, header::CONNECTION},
};
use hyper::{body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{InvalidMessage, ServerConfig};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tower::ServiceExt;

use super::{
    Shared,
    connections::{Connections, Full, Slot},
    idle::{Activity, IdleTrackedStream, Protocol},
};
use crate::telemetry::GaugeGuard;

/// One port: its bounds, and the router that answers.
pub(super) struct Port {
    /// The TLS configuration of new connections; plain HTTP if it is absent.
    pub(super) tls: Option<Arc<ArcSwap<ServerConfig>>>,
    /// The router that answers the requests.
    pub(super) router: Router,
    /// The largest number of open connections.
    pub(super) connections: u32,
    /// The time that a connection may be idle.
    pub(super) idle: Duration,
    /// The shared state of the server.
    pub(super) shared: Arc<Shared>,
    /// Turns true when open requests are to be answered and no more connections accepted.
    pub(super) ended: watch::Receiver<bool>,
}

/// The peer of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    /// The address of the peer.
    pub(super) address: IpAddr,
    /// True if it presented a client certificate, which the handshake has verified.
    pub(super) has_certificate: bool,
}

impl Port {
    /// Serves until `ended` turns true and every connection is closed.
    pub(super) async fn serve(self, listener: TcpListener) {
        let connections = Connections::new(self.connections);
        let mut ended = self.ended.clone();
        let port = Arc::new(self);
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => port.open(&connections, stream, peer, &mut ended).await,
                    Err(error) => back_off(&error).await,
                },
                () = until(&mut ended) => break,
            }
        }
        drop(listener);
        connections.all_closed().await;
    }

    /// Starts serving a connection. If all that are open serve requests, the port waits for one of them to close; if
    /// all of the peer's share do, the new one is closed.
    async fn open(
        self: &Arc<Self>,
        connections: &Arc<Connections>,
        stream: TcpStream,
        peer: SocketAddr,
        ended: &mut watch::Receiver<bool>,
    ) {
        /// The time after which a full port looks again for an idle connection: becoming idle wakes nothing.
        const RETRY_DELAY: Duration = Duration::from_millis(20);
        let activity = Activity::new();
        loop {
            match connections.open(peer.ip().to_canonical(), &activity) {
                Ok(slot) => {
                    tokio::spawn(Arc::clone(self).connection(stream, peer, activity, slot));
                    return;
                }
                Err(Full::Peer) => {
                    tracing::debug!(peer = %peer.ip(), "Closing connection: the peer has its share");
                    return;
                }
                Err(Full::Port) => tokio::select! {
                    () = until(ended) => return,
                    _ = timeout(RETRY_DELAY, connections.one_closed()) => {}
                },
            }
        }
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        activity: Arc<Activity>,
        slot: Slot,
    ) {
        // Answers are small and complete; waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return self.serve_http(stream, Protocol::Http1, peer, false, &activity, &slot).await;
        };
        let shaken = tokio::select! {
            shaken = self.handshake(tls.load_full(), stream) => shaken,
            () = slot.is_to_close() => None,
        };
        let Some(stream) = shaken else { return };
        let _counted = GaugeGuard::new(&self.shared.metrics.connections);
        let session = stream.get_ref().1;
        let protocol = match session.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let has_certificate = session.peer_certificates().is_some();
        self.serve_http(stream, protocol, peer, has_certificate, &activity, &slot).await;
    }

    async fn handshake(&self, tls: Arc<ServerConfig>, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let metrics = &self.shared.metrics;
        match timeout(self.shared.limits.handshake, TlsAcceptor::from(tls).accept(stream)).await {
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

    async fn serve_http<S>(
        &self,
        stream: S,
        protocol: Protocol,
        peer: SocketAddr,
        has_certificate: bool,
        activity: &Arc<Activity>,
        slot: &Slot,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        activity.set_protocol(protocol);
        let io = TokioIo::new(IdleTrackedStream { stream, activity: Arc::clone(activity) });
        let service = service_fn(|mut request: hyper::Request<Incoming>| {
            let serving = activity.serve_request();
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(Peer { address: peer.ip().to_canonical(), has_certificate });
            let answer = self.router.clone().oneshot(request);
            let shared = Arc::clone(&self.shared);
            async move {
                let _serving = serving;
                let mut answer = answer.await?;
                // The client is to look for another replica. HTTP/2 has a frame for it, which is sent after the delay.
                if protocol == Protocol::Http1 && shared.is_ending() {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        match protocol {
            Protocol::Http1 => {
                let connection = pin!(http1().serve_connection(io, service));
                self.until_done(connection, conn::http1::Connection::graceful_shutdown, activity, slot).await;
            }
            Protocol::Http2 => {
                let connection = pin!(http2().serve_connection(io, service));
                self.until_done(connection, conn::http2::Connection::graceful_shutdown, activity, slot).await;
            }
        }
    }

    /// Drives a connection to its end: by the peer, by our shutdown, by a new connection at the bound, or by a timeout.
    async fn until_done<C>(
        &self,
        mut connection: Pin<&mut C>,
        shut_down: impl Fn(Pin<&mut C>),
        activity: &Activity,
        slot: &Slot,
    ) where
        C: Future<Output = hyper::Result<()>>,
    {
        /// One timer that is rarely reset costs less than two that each request sets and clears.
        const CHECK_INTERVAL: Duration = Duration::from_secs(1);
        let mut check = tokio::time::interval(CHECK_INTERVAL);
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
                () = slot.is_to_close() => {
                    tracing::debug!("Closing connection: it is idle, and a new one needs its place");
                    if activity.idle_since().is_some() {
                        return;
                    }
                    // A request has begun since.
                    shutting_down = true;
                    shut_down(connection.as_mut());
                }
                _ = check.tick() => {
                    if activity.is_stale(self.shared.limits.header, self.idle) {
                        tracing::debug!("Closing connection: idle or header timeout");
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

/// The API server opens a stream for each review that it waits for, and another connection when there are no more.
const MAX_STREAMS: u32 = 16;

/// The windows bound the memory of a connection whose bodies are not read yet.
fn http2() -> conn::http2::Builder<TokioExecutor> {
    let mut builder = conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
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

/// Waits after an error of the system, such as too many open files, which passes. An error of the peer needs no wait.
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
