//! A stand-in for kube-proxy for one Service, on one loopback port: each new connection goes to the next ready
//! endpoint, and an open one stays where it is.

use std::sync::{Arc, Mutex};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::Result;

/// The endpoints that new connections go to.
#[derive(Clone, Default)]
pub struct Endpoints(Arc<Mutex<Vec<u16>>>);

impl Endpoints {
    /// From now on new connections go to these ports.
    pub fn set(&self, ports: Vec<u16>) {
        *self.0.lock().expect("no holder panics") = ports;
    }

    /// The next one; none where no endpoint is ready.
    fn next(&self) -> Option<u16> {
        let mut ports = self.0.lock().expect("no holder panics");
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
    while let Ok((mut from, _)) = listener.accept().await {
        let Some(port) = endpoints.next() else { continue };
        tokio::spawn(async move {
            // A connection to an endpoint that has gone is reset, and a broken one breaks: the caller sees it.
            let Ok(mut to) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            let _ = from.set_nodelay(true).and_then(|()| to.set_nodelay(true));
            let _ = copy_bidirectional(&mut from, &mut to).await;
        });
    }
}
