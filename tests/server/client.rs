//! A client that can be as plain or as rude as a test needs.

use std::{net::SocketAddr, sync::Arc};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn,
    header::CONTENT_TYPE,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::process::{PATIENCE, Server};

pub static BOTH_TLS: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

/// How to reach a server.
pub struct Target {
    pub address: SocketAddr,
    ca: String,
}

impl Target {
    pub fn of(server: &Server) -> Self {
        Self::with_ca(server, &std::fs::read_to_string(server.ca()).unwrap())
    }

    pub fn with_ca(server: &Server, ca: &str) -> Self {
        Self { address: server.listen, ca: ca.into() }
    }

    /// A connection over TLS 1.3 that offers HTTP/1.1, as the API server's.
    pub async fn connect(&self) -> TlsStream<TcpStream> {
        self.connect_as(&[&TLS13], &["http/1.1"]).await.unwrap()
    }

    pub async fn connect_as(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.ca.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_protocol_versions(versions).unwrap().with_root_certificates(roots);
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await?
    }

    /// Connects with a client certificate, where the leaf and its key are PEM.
    pub async fn connect_with(&self, certificate: &str, key: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.ca.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_protocol_versions(BOTH_TLS).unwrap().with_root_certificates(roots);
        let config = config.with_client_auth_cert(chain, key).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TcpStream::connect(self.address).await?;
        timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await?
    }

    /// One request on a connection of its own.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        Http1::over(self.connect().await).await.send(request).await
    }

    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(post(path, body)).await
    }
}

/// A keep-alive connection that speaks HTTP/1.1.
pub struct Http1(conn::http1::SendRequest<Full<Bytes>>);

impl Http1 {
    pub async fn over(stream: TlsStream<TcpStream>) -> Self {
        let (sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Answer {
        timeout(PATIENCE, self.0.ready())
            .await
            .expect("the connection stays open")
            .expect("the connection is open");
        Answer::of(timeout(PATIENCE, self.0.send_request(request)).await.expect("an answer").unwrap()).await
    }

    /// Whether the server has closed it, or does so before long.
    pub async fn is_closed(&mut self) -> bool {
        let closed = async {
            while self.0.ready().await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, closed).await.is_ok()
    }
}

/// A connection that speaks HTTP/2.
pub struct Http2(conn::http2::SendRequest<Full<Bytes>>);

impl Http2 {
    pub async fn over(stream: TlsStream<TcpStream>) -> Self {
        let (sender, connection) =
            conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Answer {
        Answer::of(timeout(PATIENCE, self.0.send_request(request)).await.expect("an answer").unwrap()).await
    }

    pub async fn is_open(&mut self) -> bool {
        self.0.ready().await.is_ok()
    }
}

pub fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::post(format!("https://localhost{path}")).header("host", "localhost");
    request.header(CONTENT_TYPE, "application/json").body(Full::new(body.into())).unwrap()
}

/// An answer with its whole body.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: hyper::HeaderMap,
    pub text: String,
}

impl Answer {
    async fn of(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let body = timeout(PATIENCE, body.collect()).await.expect("a whole body").unwrap().to_bytes();
        Self { status: parts.status, headers: parts.headers, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn closes(&self) -> bool {
        self.headers.get("connection").is_some_and(|value| value == "close")
    }
}

/// A GET of the admin port, in plain HTTP.
pub async fn get(address: SocketAddr, path: &str) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(path).header("host", "localhost").body(Full::<Bytes>::default()).unwrap();
    Answer::of(timeout(PATIENCE, sender.send_request(request)).await.expect("an answer").unwrap()).await
}

/// The value of one line of `/metrics`.
pub async fn metric(server: &Server, line: &str) -> u64 {
    let text = get(server.admin, "/metrics").await.text;
    let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {line} in\n{text}")).parse().unwrap()
}

/// Everything the server sends until it closes the connection, which it must do before long.
pub async fn read_to_end(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let reading = async {
        // An end without close_notify, or a reset, is an end too.
        while let Ok(count @ 1..) = stream.read(&mut chunk).await {
            bytes.extend_from_slice(&chunk[..count]);
        }
    };
    timeout(PATIENCE, reading).await.expect("the server closes the connection");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends raw bytes.
pub async fn write(stream: &mut (impl tokio::io::AsyncWrite + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

/// A review of the Pod in the namespace the built-in policy holds for.
pub fn review(operation: &str, pod: &serde_json::Value) -> String {
    serde_json::json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": operation,
            "namespace": "workflows",
            "userInfo": {"username": "alice", "groups": ["system:authenticated"]},
            "object": pod,
        }
    })
    .to_string()
}

/// A plain Pod, as `kubectl run` makes it.
pub fn plain_pod() -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "plain", "namespace": "workflows"},
        "spec": {"containers": [{"name": "main", "image": "busybox"}]},
    })
}

/// A Pod that no policy admits.
pub fn hostile_pod() -> serde_json::Value {
    let mut pod = plain_pod();
    pod["spec"]["hostPID"] = true.into();
    pod["spec"]["containers"][0]["env"] = serde_json::json!([{"name": "TOKEN", "value": "do-not-log-me"}]);
    pod
}

/// The head of a review in the order in which an API server writes it, up to the object.
pub fn head(namespace: &str) -> String {
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"0a1b","kind":{{"group":"","version":"v1","kind":"Pod"}},"resource":{{"group":"","version":"v1","resource":"pods"}},"name":"p","namespace":"{namespace}","operation":"CREATE","userInfo":{{"username":"alice"}},"object":"#
    )
}
