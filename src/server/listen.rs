//! Accepting connections: a bound on their number, TLS, then HTTP/1.1 or HTTP/2 as the handshake agreed.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::{body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tower::ServiceExt;

use super::{
    Shared,
    activity::{Activity, Watched},
    router,
};

/// Serves until `ended` turns true and every connection is closed.
pub(super) async fn serve(
    listener: TcpListener,
    tls: rustls::ServerConfig,
    shared: Arc<Shared>,
    mut ended: watch::Receiver<bool>,
) {
    let most = shared.limits.connections;
    let permits = Arc::new(Semaphore::new(most as usize));
    let server =
        Server { tls: TlsAcceptor::from(Arc::new(tls)), router: router(Arc::clone(&shared)), shared };
    let for_connections = ended.clone();
    loop {
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        tokio::select! {
            (Ok(permit), accepted) = next => match accepted {
                Ok((stream, _)) => { tokio::spawn(server.clone().connection(stream, permit, for_connections.clone())); }
                Err(error) => back_off(&error).await,
            },
            () = until(&mut ended) => break,
        }
    }
    drop(listener);
    // Every connection holds a permit: when all can be had, all are closed.
    let _ = permits.acquire_many(most).await;
}

/// Waits until the server ends.
async fn until(ended: &mut watch::Receiver<bool>) {
    let _ = ended.wait_for(|ended| *ended).await;
}

/// Too many open files and the like pass by; a busy loop would not help.
async fn back_off(error: &std::io::Error) {
    tracing::warn!(%error, "Cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[derive(Clone)]
struct Server {
    tls: TlsAcceptor,
    router: Router,
    shared: Arc<Shared>,
}

impl Server {
    async fn connection(
        self,
        stream: TcpStream,
        _permit: OwnedSemaphorePermit,
        ended: watch::Receiver<bool>,
    ) {
        let metrics = &self.shared.metrics;
        let _ = stream.set_nodelay(true);
        let handshake = tokio::time::timeout(self.shared.limits.handshake, self.tls.accept(stream)).await;
        let stream = match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                metrics.handshake_failures.inc();
                tracing::debug!(%error, "TLS handshake failed; is plain HTTP sent to the TLS port?");
                return;
            }
            Err(_) => {
                metrics.handshake_failures.inc();
                tracing::debug!("TLS handshake took too long");
                return;
            }
        };
        metrics.handshakes.inc();
        metrics.connections.inc();
        self.serve(stream, ended).await;
        metrics.connections.dec();
    }

    async fn serve(&self, stream: TlsStream<TcpStream>, ended: watch::Receiver<bool>) {
        let activity = Activity::new();
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(Watched { stream, activity: Arc::clone(&activity) });
        let requests = Arc::clone(&activity);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let (router, requests) = (self.router.clone(), Arc::clone(&requests));
            async move {
                requests.begin_request();
                let response = router.oneshot(request).await;
                requests.end_request();
                response
            }
        });
        if is_h2 {
            let mut builder = conn::http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .max_concurrent_streams(100)
                .max_header_list_size(16 * 1024)
                .keep_alive_interval(Duration::from_secs(30))
                .keep_alive_timeout(Duration::from_secs(20));
            let connection = pin!(builder.serve_connection(io, service));
            self.until_done(connection, |c| c.graceful_shutdown(), &activity, ended).await;
        } else {
            let connection = pin!(conn::http1::Builder::new().serve_connection(io, service));
            self.until_done(connection, |c| c.graceful_shutdown(), &activity, ended).await;
        }
    }

    /// Drives a connection to its end: by the peer, by our end, or because it has been of no use for too long.
    async fn until_done<C>(
        &self,
        mut connection: Pin<&mut C>,
        shut_down: impl Fn(Pin<&mut C>),
        activity: &Activity,
        mut ended: watch::Receiver<bool>,
    ) where
        C: Future<Output = hyper::Result<()>>,
    {
        const LOOK_AGAIN: Duration = Duration::from_secs(1);
        let mut shutting_down = false;
        let mut look = tokio::time::interval(LOOK_AGAIN);
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "A connection ended early");
                    }
                    return;
                }
                _ = look.tick() => {
                    if activity.is_stale(self.shared.limits.header, self.shared.limits.idle) {
                        tracing::debug!("A connection was idle, or sent the head of its request, for too long");
                        return;
                    }
                }
                () = until(&mut ended), if !shutting_down => {
                    shutting_down = true;
                    shut_down(connection.as_mut());
                }
            }
        }
    }
}
