//! A stand-in for kube-proxy for one Service, on one loopback port: each new connection goes to the next ready
//! endpoint, and an open one stays where it is. It can delay what it relays.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    try_join,
};

use super::Result;

/// The endpoints that new connections go to.
#[derive(Clone, Default)]
pub struct Endpoints {
    ports: Arc<Mutex<Vec<u16>>>,
    /// The delay in each direction, in milliseconds.
    delay: Arc<AtomicU64>,
}

impl Endpoints {
    /// From now on new connections go to these ports.
    pub fn set(&self, ports: Vec<u16>) {
        *self.ports.lock().expect("no holder panics") = ports;
    }

    /// From now on everything arrives so much later, in each direction.
    ///
    /// # Panics
    /// Panics if the delay is longer than the time that a machine can run.
    pub fn delay(&self, delay: Duration) {
        let milliseconds = u64::try_from(delay.as_millis()).expect("a delay of a network");
        self.delay.store(milliseconds, Ordering::Relaxed);
    }

    /// The next one; none where no endpoint is ready.
    fn next(&self) -> Option<u16> {
        let mut ports = self.ports.lock().expect("no holder panics");
        let next = ports.first().copied();
        if !ports.is_empty() {
            ports.rotate_left(1);
        }
        next
    }
}

/// A listening port; closes when dropped.
pub struct ServiceProxy {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The ports that connections are spread over.
    pub endpoints: Endpoints,
    accepting: JoinHandle<()>,
}

impl ServiceProxy {
    /// Listens on a free port, at first without any endpoint: connections are closed at once.
    ///
    /// # Errors
    /// Returns an error if there is no port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let endpoints = Endpoints::default();
        let accepting = tokio::spawn(accept(listener, endpoints.clone()));
        Ok(Self { port, endpoints, accepting })
    }
}

impl Drop for ServiceProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, endpoints: Endpoints) {
    while let Ok((from, _)) = listener.accept().await {
        let Some(port) = endpoints.next() else { continue };
        let delay = Arc::clone(&endpoints.delay);
        tokio::spawn(async move {
            // A connection to an endpoint that has gone is reset, and a broken one breaks: the caller sees it.
            let Ok(to) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            let _ = from.set_nodelay(true).and_then(|()| to.set_nodelay(true));
            let (from, to) = (from.into_split(), to.into_split());
            let _ = try_join!(relay(from.0, to.1, &delay), relay(to.0, from.1, &delay));
        });
    }
}

/// Each part that is read is delayed by itself: a large body, of several parts, is delayed more than once.
async fn relay(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: &AtomicU64,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        let milliseconds = delay.load(Ordering::Relaxed);
        if milliseconds > 0 {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}
