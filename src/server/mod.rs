//! The webhook as a server: TLS port for reviews, plain port for probes and metrics.

mod activity;
mod admin;
mod handler;
mod listen;
mod reload;

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{Semaphore, watch},
};

use crate::{
    audit::Trail,
    certs::{self, CertError, DevCertificate, Resolver},
    policy::{LoadErrors, PolicySet, files},
    telemetry::Metrics,
};

pub use handler::router;

/// How the server is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where reviews are taken, over TLS.
    pub listen: SocketAddr,
    /// Where probes and metrics are answered, in plain HTTP.
    pub admin: SocketAddr,
    /// The policy file or folder; the built-in policy where there is none.
    pub policy: Option<PathBuf>,
    /// Where the certificate comes from.
    pub certificate: CertificateSource,
    /// What a peer may cost.
    pub limits: Limits,
    /// How often policy and certificate files are looked at.
    pub reload_interval: Duration,
    /// How long to go on serving, not ready, after the signal to end: until no endpoint sends anything more.
    pub shutdown_delay: Duration,
    /// How long open requests may then take.
    pub drain_timeout: Duration,
}

/// Where the certificate comes from.
#[derive(Debug, Clone)]
pub enum CertificateSource {
    /// Made in memory; `ca.crt` is written into the folder, if there is one.
    Dev {
        /// Where to write `ca.crt`.
        folder: Option<PathBuf>,
        /// The names it holds for.
        names: Vec<String>,
    },
    /// `tls.crt` and `tls.key` of the folder, read again when they change.
    Files {
        /// The folder.
        folder: PathBuf,
        /// A name the certificate must hold for.
        name: Option<String>,
    },
}

/// What a peer may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest body, in bytes.
    pub body_bytes: u32,
    /// All bodies that are being read, in bytes.
    pub bodies_in_flight_bytes: u32,
    /// The most open connections.
    pub connections: u32,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long the head of a request may take.
    pub header: Duration,
    /// How long the body of a request may take.
    pub body: Duration,
    /// How long a connection may be idle. The API server closes its own after 90 s; closing first would race with
    /// its next request.
    pub idle: Duration,
}

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ServeError {
    #[error("the policy does not load:\n{0}")]
    Policy(#[from] LoadErrors),
    #[error("no certificate: {0}")]
    Certificate(#[from] CertError),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    #[error("cannot listen on {address}: {error}")]
    Listen { address: SocketAddr, error: std::io::Error },
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("ended at once by a second signal")]
    Aborted,
}

/// What every request needs.
#[derive(Debug)]
pub struct Shared {
    policies: ArcSwap<PolicySet>,
    metrics: Arc<Metrics>,
    trail: Option<Trail>,
    limits: Limits,
    body_bytes: Semaphore,
    /// Set when the server is to end: not ready any more, and each answer asks to close its connection.
    ending: AtomicBool,
}

impl Shared {
    /// A server's state at its start.
    #[must_use]
    pub fn new(policies: PolicySet, metrics: Arc<Metrics>, trail: Option<Trail>, limits: Limits) -> Self {
        Self {
            policies: ArcSwap::from_pointee(policies),
            metrics,
            trail,
            limits,
            body_bytes: Semaphore::new(limits.bodies_in_flight_bytes as usize),
            ending: AtomicBool::new(false),
        }
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }
}

/// Serves until a signal ends it: the first SIGTERM or SIGINT gracefully, a second one at once.
///
/// # Errors
/// When it cannot start, or was ended by a second signal.
pub async fn serve(
    settings: Settings,
    metrics: Arc<Metrics>,
    trail: Option<Trail>,
) -> Result<(), ServeError> {
    // As process 1 a signal without a handler is ignored, so they are installed before anything else.
    let mut signals = Signals::install()?;
    let policies = load_policies(settings.policy.as_deref())?;
    tracing::info!(policies = ?policies.names().collect::<Vec<_>>(), hash = policies.hash(), "Policies loaded");
    let shared = Arc::new(Shared::new(policies, metrics, trail, settings.limits));
    let resolver = certificate(&settings, &shared)?;
    let tls = certs::server_config(Arc::clone(&resolver))?;

    let listener = bind(settings.listen).await?;
    let admin = bind(settings.admin).await?;
    tracing::info!(listen = %listener.local_addr()?, admin = %admin.local_addr()?, "Serving");
    let (end, ended) = watch::channel(false);
    reload::watch_files(&settings, &shared, &resolver);
    tokio::spawn(admin::serve(admin, Arc::clone(&shared)));
    let accepting = tokio::spawn(listen::serve(listener, tls, Arc::clone(&shared), ended));

    signals.next().await;
    tracing::info!(delay = ?settings.shutdown_delay, "Ending: not ready any more, serving what still comes");
    shared.ending.store(true, Ordering::Relaxed);
    let ending = async {
        tokio::time::sleep(settings.shutdown_delay).await;
        let _ = end.send(true);
        match tokio::time::timeout(settings.drain_timeout, accepting).await {
            Ok(_) => tracing::info!("Ended, every request answered"),
            Err(_) => tracing::warn!(timeout = ?settings.drain_timeout, "Ended with requests still open"),
        }
    };
    tokio::select! {
        () = ending => Ok(()),
        () = signals.next() => Err(ServeError::Aborted),
    }
}

fn load_policies(path: Option<&Path>) -> Result<PolicySet, ServeError> {
    match path {
        Some(path) => Ok(PolicySet::from_sources(&files::read(path)?)?),
        None => Ok(PolicySet::builtin()),
    }
}

fn certificate(settings: &Settings, shared: &Shared) -> Result<Arc<Resolver>, ServeError> {
    let (key, not_after) = match &settings.certificate {
        CertificateSource::Dev { folder, names } => {
            let made = DevCertificate::new(names)?;
            if let Some(folder) = folder {
                made.write_ca(folder)?;
            }
            (made.key, made.not_after)
        }
        CertificateSource::Files { folder, name } => {
            let loaded = certs::load(folder, &certs::read(folder)?, name.as_deref(), reload::now())?;
            tracing::info!(names = ?loaded.names, "Certificate loaded");
            (loaded.key, loaded.not_after)
        }
    };
    shared.metrics.certificate_expiry.set(not_after);
    Ok(Resolver::new(key))
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|error| ServeError::Listen { address, error })
}

/// The signals that end the server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn install() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// One worker for each core there is.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}
