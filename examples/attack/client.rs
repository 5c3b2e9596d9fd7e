//! A client of both ports, from an address of its own on the loopback network.

use std::{net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::Result;

/// Longer than the server waits for anything, so that a missing answer is a fault and no matter of time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// A client certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// How a client reaches the webhook.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) from: Ipv4Addr,
    pub(crate) reviews: u16,
    pub(crate) admin: u16,
    pub(crate) ca: PathBuf,
    pub(crate) identity: Option<Identity>,
}

/// The status of an answer, and its body.
pub(crate) type Answer = (StatusCode, Bytes);

impl Client {
    async fn tcp(&self, port: u16) -> Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.from, 0).into())?;
        Ok(timeout(PATIENCE, socket.connect((Ipv4Addr::LOCALHOST, port).into())).await??)
    }

    /// Connects to the port of reviews with this protocol.
    ///
    /// # Errors
    /// If there is no connection, or no handshake.
    pub(crate) async fn tls(&self, protocol: &str) -> Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ca)?)?;
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => config.with_no_client_auth(),
            Some(Identity { certificate, key }) => config.with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes())?],
                PrivateKeyDer::from_pem_slice(key.as_bytes())?,
            )?,
        };
        config.alpn_protocols = vec![protocol.into()];
        let name = ServerName::try_from("localhost")?;
        let stream = self.tcp(self.reviews).await?;
        Ok(timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await??)
    }

    /// Connects to the port of reviews.
    ///
    /// # Errors
    /// If there is no connection.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        Connection::over(self.tls("http/1.1").await?).await
    }

    /// Connects to the port of probes.
    ///
    /// # Errors
    /// If there is no connection.
    pub(crate) async fn connect_admin(&self) -> Result<Connection> {
        Connection::over(self.tcp(self.admin).await?).await
    }

    /// Sends one review, on a connection of its own.
    ///
    /// # Errors
    /// If there is no answer.
    pub(crate) async fn post(&self, path: &str, body: Bytes) -> Result<Answer> {
        self.connect().await?.post(path, body).await
    }

    /// Reads a page of the port of probes.
    ///
    /// # Errors
    /// If there is no answer.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer> {
        self.connect_admin().await?.get(path).await
    }

    /// Returns the sum of all rows of a counter. One that has labels has no row before its first event.
    ///
    /// # Errors
    /// If there is no answer, or no such counter.
    pub(crate) async fn counter(&self, name: &str) -> Result<u64> {
        let (_, text) = self.get("/metrics").await?;
        let text = String::from_utf8_lossy(&text);
        if !text.contains(&format!("# TYPE {name} counter")) {
            return Err(format!("no counter {name}").into());
        }
        let row = format!("{name}_total");
        let rows = text.lines().filter(|line| line.starts_with(&row));
        let values = rows.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        Ok(values.sum())
    }
}

/// An HTTP/1.1 connection that is kept.
pub(crate) struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends with the sender.
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Sends a review.
    ///
    /// # Errors
    /// If there is no answer.
    pub(crate) async fn post(&mut self, path: &str, body: Bytes) -> Result<Answer> {
        let request = Request::post(path).header(HOST, "localhost").header(CONTENT_TYPE, "application/json");
        self.send(request.body(Full::from(body))?).await
    }

    /// Reads a page.
    ///
    /// # Errors
    /// If there is no answer.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send(Request::get(path).header(HOST, "localhost").body(Full::default())?).await
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let answer = async {
            self.0.ready().await?;
            let answer = self.0.send_request(request).await?;
            let status = answer.status();
            Ok::<_, hyper::Error>((status, answer.into_body().collect().await?.to_bytes()))
        };
        Ok(timeout(PATIENCE, answer).await??)
    }
}
