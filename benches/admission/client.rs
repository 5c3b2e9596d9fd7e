//! The API server's side: connections that are kept, one request at a time on each, HTTP/1.1 over TLS 1.3.

use std::{
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::TlsConnector;

use crate::support::{Result, server::Server};

/// One connection to a webhook; closed when dropped.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<hyper::Result<()>>,
    address: SocketAddr,
}

impl Connection {
    /// Connects to a server that listens.
    pub(crate) async fn open(address: SocketAddr, tls: &Arc<ClientConfig>) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::IpAddress(address.ip().into());
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, driver: tokio::spawn(connection), address })
    }

    /// Connects to a server that may still be starting.
    pub(crate) async fn open_early(server: &mut Server, tls: &Arc<ClientConfig>) -> Result<Self> {
        const START_TIMEOUT: Duration = Duration::from_secs(10);
        const RETRY_DELAY: Duration = Duration::from_micros(100);
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            match Self::open(server.address, tls).await {
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => server.process.check()?,
                open => return open,
            }
            // The runtime's own timer counts milliseconds, and nothing else is to be done meanwhile.
            thread::sleep(RETRY_DELAY);
        }
    }

    /// Sends a review as the API server does, and reads the answer to its end.
    pub(crate) async fn review(&mut self, body: Bytes) -> Result<Bytes> {
        let request = Request::post("/mutate?timeout=10s")
            .header(header::HOST, self.address.to_string())
            .header(header::USER_AGENT, "kube-apiserver-admission")
            .header(header::ACCEPT, "application/json, */*")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT_ENCODING, "gzip")
            .body(Full::new(body))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        match status {
            StatusCode::OK => Ok(answer),
            _ => Err(format!("answered {status}: {}", String::from_utf8_lossy(&answer)).into()),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
