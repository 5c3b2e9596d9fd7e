//! The built sandgate as a process of its own, and a client that reaches it as the API server does.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

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
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

use crate::Result;
use testbed::free_port;

/// The time-out of each step, longer than any takes.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);

/// A running sandgate; ends when dropped.
pub(crate) struct Webhook {
    process: Child,
    folder: TempDir,
    listen: u16,
    admin: u16,
}

impl Webhook {
    /// Starts it on loopback addresses, and waits until it is ready.
    ///
    /// # Errors
    /// Returns an error if it is not built, ends, or is not ready in time.
    pub(crate) async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("sandgate-run-").tempdir()?;
        let (listen, admin) = (free_port(), free_port());
        let process = Command::new(program()?)
            .args(["serve", "--certs", "dev", "--audit", "off", "--shutdown-delay", "0"])
            .args(["--listen", &format!("127.0.0.1:{listen}"), "--admin", &format!("127.0.0.1:{admin}")])
            .arg("--cert-dir")
            .arg(folder.path())
            .env_remove("SANDGATE_POLICY")
            .stdin(Stdio::null())
            .stderr(File::create(log(folder.path()))?)
            .spawn()?;
        let mut webhook = Self { process, folder, listen, admin };
        timeout(STEP_TIMEOUT, webhook.ready()).await.map_err(|_| "sandgate is not ready in time")??;
        Ok(webhook)
    }

    async fn ready(&mut self) -> Result<()> {
        loop {
            self.check()?;
            if is_ready(self.admin).await.unwrap_or(false) {
                return Ok(());
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// Returns an error always: it should not end.
    pub(crate) async fn ended(&mut self) -> Result<()> {
        loop {
            self.check()?;
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Fails when it has ended, with its log.
    fn check(&mut self) -> Result<()> {
        let Some(status) = self.process.try_wait()? else { return Ok(()) };
        let log = fs::read_to_string(log(self.folder()))?;
        Err(format!("sandgate ended ({status}):\n{log}").into())
    }

    /// The folder of `ca.crt` and the log; removed at the end.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The address for reviews.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.listen)
    }

    /// The address of probes and metrics.
    pub(crate) fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin)
    }

    /// Connects over TLS, and trusts nothing but its own CA.
    ///
    /// # Errors
    /// Returns an error if there is no connection, or another certificate.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.folder().join("ca.crt"))?)?;
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(("127.0.0.1", self.listen)).await?;
        let connecting =
            TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost")?, stream);
        Connection::over(timeout(STEP_TIMEOUT, connecting).await??).await
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Cargo puts the examples into a folder below that of the program.
fn program() -> Result<PathBuf> {
    let me = env::current_exe()?;
    let mut around = me.ancestors().skip(1).take(2).map(|folder| folder.join("sandgate"));
    around.find(|path| path.is_file()).ok_or_else(|| "sandgate is not built: run cargo build first".into())
}

fn log(folder: &Path) -> PathBuf {
    folder.join("sandgate.log")
}

async fn is_ready(admin: u16) -> Result<bool> {
    let stream = TcpStream::connect(("127.0.0.1", admin)).await?;
    let request = Request::get("/readyz").header(HOST, "localhost").body(Full::default())?;
    Ok(Connection::over(stream).await?.send(request).await?.0 == StatusCode::OK)
}

/// An HTTP/1.1 connection that is kept for all requests, as the API server keeps its own.
pub(crate) struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends with the sender.
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Sends a review, and returns the review with the answer.
    ///
    /// # Errors
    /// Returns an error if there is no answer in time, or one that is no review.
    pub(crate) async fn post(&mut self, path: &str, review: &Value) -> Result<Value> {
        let request = Request::post(path)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(review.to_string()))?;
        let (status, body) = timeout(STEP_TIMEOUT, self.send(request)).await??;
        if status != StatusCode::OK {
            return Err(format!("{path} answers {status}: {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(serde_json::from_slice(&body)?)
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes)> {
        self.0.ready().await?;
        let answer = self.0.send_request(request).await?;
        Ok((answer.status(), answer.into_body().collect().await?.to_bytes()))
    }
}
