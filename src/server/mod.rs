//! The webhook as a server: TLS port for reviews, plain port for probes and metrics.

mod activity;
mod admin;
mod handler;
mod listen;
mod metrics;
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
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    audit::Trail,
    certs::{self, CertError, DevCertificate, Pair, Resolver},
    cluster::{self, Access, ConnectError, Events, Keeper},
    observe::Observers,
    readiness::Readiness,
    telemetry::{CollectorError, Deliveries, LogLevel, TraceSettings, Traces},
};
use sandgate_engine::policy::{LoadErrors, PolicySet, Source};

use listen::Port;

pub use handler::router;
pub use metrics::{Limit, Metrics, ReloadMetrics};

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
    /// The name of the cluster, in audit records.
    pub cluster: String,
    /// The name of this replica, in audit records.
    pub instance: String,
    /// Whether refused Pods are told of in Events.
    pub events: Option<EventSettings>,
    /// Whether requests are traced.
    pub traces: Option<TraceSettings>,
    /// What a peer may cost.
    pub limits: Limits,
    /// How often policy and certificate files are looked at.
    pub reload_interval: Duration,
    /// How long to go on serving, not ready, after the signal to end: until no endpoint sends anything more.
    pub shutdown_delay: Duration,
    /// How long open requests may then take.
    pub drain_timeout: Duration,
}

/// How Events are written.
#[derive(Debug, Clone)]
pub struct EventSettings {
    /// How the API server is reached.
    pub access: Access,
    /// What this replica is called in them.
    pub instance: String,
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
        /// The names the certificate must hold for.
        names: Vec<String>,
    },
    /// Signed in memory by a CA that all replicas share, which is published to the webhook configurations.
    Managed {
        /// How the API server is reached.
        access: Access,
        /// Everything else.
        settings: cluster::Settings,
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
    #[error("the policy cannot be read: {0}")]
    PolicyFile(std::io::Error),
    #[error("no certificate: {0}")]
    Certificate(#[from] CertError),
    #[error("no way to the API server: {0}")]
    Cluster(#[from] ConnectError),
    #[error("{0}")]
    Collector(#[from] CollectorError),
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
    metrics: Metrics,
    observers: Observers,
    limits: Limits,
    /// The bytes of bodies that may still be taken in.
    body_bytes: Semaphore,
    /// How many large bodies may still be judged at once.
    large_bodies: Semaphore,
    readiness: Arc<Readiness>,
    /// Set when the server is to end: not ready any more, and each answer asks to close its connection.
    ending: AtomicBool,
}

impl Shared {
    /// A server's state at its start.
    #[must_use]
    pub fn new(policies: PolicySet, metrics: Metrics, observers: Observers, limits: Limits) -> Self {
        metrics.reviews.set_policies(&policies, jiff::Timestamp::now());
        Self {
            policies: ArcSwap::from_pointee(policies),
            metrics,
            observers,
            limits,
            // One body must always fit, or it would wait for ever.
            body_bytes: Semaphore::new(limits.bodies_in_flight_bytes.max(limits.body_bytes) as usize),
            large_bodies: Semaphore::new(cores()),
            readiness: Arc::default(),
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
    metrics: Metrics,
    trail: Option<Trail>,
    log_level: LogLevel,
) -> Result<(), ServeError> {
    // As process 1 a signal without a handler is ignored, so they are installed before anything else.
    let mut signals = Signals::install()?;
    let (policies, sources) = load_policies(settings.policy.as_deref())?;
    tracing::info!(policies = ?policies.names().collect::<Vec<_>>(), hash = policies.hash(), "Policy loaded");
    let observers = Observers {
        cluster: settings.cluster.clone(),
        instance: settings.instance.clone(),
        trail,
        events: events(settings.events.as_ref(), &metrics.events).await?,
        traces: settings
            .traces
            .clone()
            .map(|traces| Traces::start(traces, metrics.spans.clone()))
            .transpose()?,
        ..Observers::new(metrics.reviews.clone())
    };
    let shared = Arc::new(Shared::new(policies, metrics, observers, settings.limits));
    let Served { resolver, pair, keeper } = certificate(&settings.certificate, &shared).await?;
    let tls = TlsAcceptor::from(Arc::new(certs::server_config(Arc::clone(&resolver))?));

    let listener = bind(settings.listen).await?;
    let admin = bind(settings.admin).await?;
    watch_files(&settings, &shared, sources, resolver, pair)?;
    let (end, ended) = watch::channel(false);
    let reviews = Port {
        tls: Some(tls),
        router: router(Arc::clone(&shared)),
        connections: settings.limits.connections,
        shared: Arc::clone(&shared),
        ended,
    };
    // Probes are answered to the very end.
    let (_never, ended) = watch::channel(false);
    let probes = Port {
        tls: None,
        router: admin::router(Arc::clone(&shared), log_level),
        connections: admin::CONNECTIONS,
        shared: Arc::clone(&shared),
        ended,
    };
    tracing::info!(listen = %listener.local_addr()?, admin = %admin.local_addr()?, "Serving");
    tokio::spawn(probes.serve(admin));
    let accepting = tokio::spawn(reviews.serve(listener));
    match keeper {
        Some(keeper) => keeper.start(),
        None => shared.readiness.set(),
    }

    signals.next().await;
    tracing::info!(delay = ?settings.shutdown_delay, "Ending: not ready any more, serving what still comes");
    shared.ending.store(true, Ordering::Relaxed);
    tokio::select! {
        () = drain(&settings, &end, accepting) => Ok(()),
        () = signals.next() => Err(ServeError::Aborted),
    }
}

/// Goes on serving until the cluster has noticed, then answers what is open.
async fn drain(settings: &Settings, end: &watch::Sender<bool>, accepting: JoinHandle<()>) {
    tokio::time::sleep(settings.shutdown_delay).await;
    end.send_replace(true);
    if tokio::time::timeout(settings.drain_timeout, accepting).await.is_ok() {
        tracing::info!("Ended, every request answered");
    } else {
        tracing::warn!(timeout = ?settings.drain_timeout, "Ended with requests still open");
    }
}

fn load_policies(path: Option<&Path>) -> Result<(PolicySet, Vec<Source>), ServeError> {
    let Some(path) = path else { return Ok((PolicySet::builtin(), Vec::new())) };
    let sources = crate::policy_files::read(path).map_err(ServeError::PolicyFile)?;
    Ok((PolicySet::from_sources(&sources)?, sources))
}

async fn events(
    settings: Option<&EventSettings>,
    metrics: &Deliveries,
) -> Result<Option<Events>, ConnectError> {
    let Some(EventSettings { access, instance }) = settings else { return Ok(None) };
    let api = cluster::connect(access.clone()).await?;
    Ok(Some(Events::start(api, instance.clone(), metrics.clone())))
}

/// The certificate to begin with, and what keeps it.
struct Served {
    resolver: Arc<Resolver>,
    /// The files it was made of.
    pair: Option<Pair>,
    keeper: Option<Keeper>,
}

async fn certificate(source: &CertificateSource, shared: &Shared) -> Result<Served, ServeError> {
    let serve = |key, not_after, pair| {
        shared.metrics.certificates.served_expiry.set(not_after);
        Served { resolver: Resolver::new(key), pair, keeper: None }
    };
    match source {
        CertificateSource::Dev { folder, names } => {
            let made = DevCertificate::new(names)?;
            if let Some(folder) = folder {
                made.write_ca(folder)?;
            }
            Ok(serve(made.key, made.not_after, None))
        }
        CertificateSource::Files { folder, names } => {
            let pair = certs::read(folder)?;
            let loaded = certs::load(folder, &pair, names, certs::now())?;
            tracing::info!(names = ?loaded.names, "Certificate loaded");
            Ok(serve(loaded.key, loaded.not_after, Some(pair)))
        }
        CertificateSource::Managed { access, settings } => {
            cluster::check_names(&settings.names)?;
            let (api, settings) = (cluster::connect(access.clone()).await?, settings.clone());
            let resolver = Arc::<Resolver>::default();
            let (readiness, metrics) = (Arc::clone(&shared.readiness), shared.metrics.certificates.clone());
            let keeper = Keeper::new(api, settings, Arc::clone(&resolver), readiness, metrics);
            Ok(Served { resolver, pair: None, keeper: Some(keeper) })
        }
    }
}

/// Watches the policy and the certificate, where they come from files, beginning after what has been read of them.
fn watch_files(
    settings: &Settings,
    shared: &Arc<Shared>,
    sources: Vec<Source>,
    resolver: Arc<Resolver>,
    pair: Option<Pair>,
) -> std::io::Result<()> {
    let interval = settings.reload_interval;
    if let Some(path) = settings.policy.clone() {
        reload::watch_policy(path, sources, interval, Arc::clone(shared))?;
    }
    if let (CertificateSource::Files { folder, names }, Some(pair)) = (settings.certificate.clone(), pair) {
        reload::watch_certificate(folder, names, pair, interval, shared, resolver)?;
    }
    Ok(())
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
