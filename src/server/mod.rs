//! The webhook as a server: a TLS port for reviews, a plain port for probes and metrics.

mod admin;
mod backstop;
mod body;
mod budget;
mod client_auth;
mod connections;
mod evaluation;
mod handler;
mod idle;
mod listener;
mod metrics;
mod no_policy;
mod reload;
mod settings;
mod templates;
mod tokens;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener},
    num::NonZeroUsize,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::ServerConfig;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{Semaphore, watch},
    task::JoinHandle,
};

use crate::{
    audit::Trail,
    certs::{self, CertError, DevCertificate, Pair, Resolver},
    cluster::{self, ConnectError, Events, Reconciler},
    observe::Observers,
    readiness::Readiness,
    supervisor::{Supervisor, TaskEnded},
    telemetry::{CollectorError, Deliveries, LogLevel, Traces},
};
use sandgate_engine::{
    policy::{LoadErrors, PolicySet, Source},
    review::WithoutPolicy,
};

use budget::BodyBudget;
use listener::Port;
use no_policy::NoPolicyWarnings;
use tokens::TokenVerifier;

pub use backstop::BackstopSettings;
pub use client_auth::{ClientAuthError, ClientAuthSettings};
pub use handler::router;
pub use metrics::{Limit, Metrics, ReloadMetrics};
pub use settings::{CertificateSource, EventSettings, Limits, Settings};
pub use tokens::{KeyError, TokenSettings};

/// The reason why the server cannot run.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages describe them")]
pub enum ServeError {
    #[error("invalid policy:\n{0}")]
    Policy(#[from] LoadErrors),
    #[error("cannot read the policy: {0}")]
    PolicyFile(#[source] io::Error),
    #[error("no certificate: {0}")]
    Certificate(#[from] CertError),
    #[error("cannot connect to the Kubernetes API server: {0}")]
    Cluster(#[from] ConnectError),
    #[error("{0}")]
    Collector(#[from] CollectorError),
    #[error("{0}")]
    ClientAuth(#[from] ClientAuthError),
    #[error("{0}")]
    TokenKeys(#[from] KeyError),
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    TaskEnded(#[from] TaskEnded),
    #[error("ended at once by a second signal")]
    Aborted,
}

/// The state that all requests share.
#[derive(Debug)]
pub struct Shared {
    policies: ArcSwap<PolicySet>,
    metrics: Metrics,
    observers: Observers,
    limits: Limits,
    without_policy: WithoutPolicy,
    no_policy: NoPolicyWarnings,
    /// Verifies bearer tokens, if callers must prove who they are by one.
    tokens: Option<ArcSwap<TokenVerifier>>,
    bodies: BodyBudget,
    /// The memory for evaluating large reviews.
    evaluations: Arc<Semaphore>,
    readiness: Arc<Readiness>,
    supervisor: Supervisor,
    /// Set when the server is to end: not ready any more, and each answer asks to close its connection.
    ending: AtomicBool,
}

impl Shared {
    /// Returns a server's state at its start.
    #[must_use]
    pub fn new(policies: PolicySet, metrics: Metrics, observers: Observers, limits: Limits) -> Self {
        metrics.reviews.set_policies(&policies, jiff::Timestamp::now());
        Self {
            policies: ArcSwap::from_pointee(policies),
            metrics,
            observers,
            limits,
            without_policy: WithoutPolicy::default(),
            no_policy: NoPolicyWarnings::default(),
            tokens: None,
            bodies: BodyBudget::new(limits.bodies_in_flight_bytes as usize, limits.body_bytes as usize),
            evaluations: evaluation::permits(),
            readiness: Arc::default(),
            supervisor: Supervisor::default(),
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
/// Returns an error if it cannot start, a supervised task or thread ends, or a second signal ends it.
pub async fn serve(
    settings: Settings,
    metrics: Metrics,
    trail: Option<Trail>,
    log_level: LogLevel,
    supervisor: Supervisor,
) -> Result<(), ServeError> {
    // As process 1 a signal without a handler is ignored, so they are installed before anything else.
    let mut signals = Signals::install()?;
    let (policies, sources) = load_policies(settings.policy.as_deref())?;
    tracing::info!(policies = ?policies.names().collect::<Vec<_>>(), set_hash = policies.hash(), "Policy loaded");
    let observers = observers(&settings, &metrics, trail, &supervisor).await?;
    let keys = settings.tokens.as_ref().map(TokenSettings::read).transpose()?;
    let tokens = match (&settings.tokens, &keys) {
        (Some(tokens), Some(keys)) => Some(ArcSwap::from_pointee(tokens.verifier(keys)?)),
        _ => None,
    };
    let shared = Arc::new(Shared {
        without_policy: settings.without_policy,
        tokens,
        supervisor: supervisor.clone(),
        ..Shared::new(policies, metrics, observers, settings.limits)
    });
    let Served { resolver, pair, reconciler } = certificate(&settings.certificate, &shared).await?;
    let client_ca = settings.client_auth.as_ref().map(ClientAuthSettings::read).transpose()?;
    let tls = tls_config(&settings, &resolver, client_ca.as_deref())?;
    let tls = Arc::new(ArcSwap::from_pointee(tls));

    let reviews = bind(settings.listen)?;
    let probes = bind(settings.admin)?;
    let loaded = LoadedFiles { sources, pair, client_ca, keys };
    watch_files(&settings, &shared, loaded, &resolver, &tls)?;
    let (listen, admin) = (reviews.local_addr()?, probes.local_addr()?);
    serve_probes(&shared, probes, log_level)?;
    let (end, ended) = watch::channel(false);
    let reviews = serve_reviews(&settings, &shared, reviews, tls, ended)?;
    if let Some(backstop) = settings.backstop.clone() {
        backstop::start(backstop, &shared).await?;
    }
    match reconciler {
        Some(reconciler) => reconciler.start(&supervisor),
        None => shared.readiness.set(),
    }
    tracing::info!(%listen, %admin, "Serving");

    tokio::select! {
        () = signals.next() => {}
        ended = supervisor.first_end() => return Err(ended.into()),
    }
    tracing::info!(delay = ?settings.shutdown_delay, "Shutting down: readiness withdrawn, still serving");
    shared.ending.store(true, Ordering::Relaxed);
    tokio::select! {
        () = drain(&settings, &end, reviews) => Ok(()),
        () = signals.next() => Err(ServeError::Aborted),
        ended = supervisor.first_end() => Err(ended.into()),
    }
}

async fn observers(
    settings: &Settings,
    metrics: &Metrics,
    trail: Option<Trail>,
    supervisor: &Supervisor,
) -> Result<Observers, ServeError> {
    let traces = settings.traces.clone();
    let traces = traces.map(|traces| Traces::start(traces, metrics.spans.clone(), supervisor)).transpose()?;
    Ok(Observers {
        cluster: settings.cluster.clone(),
        instance: settings.instance.clone(),
        trail,
        events: events(settings.events.as_ref(), &metrics.events, supervisor).await?,
        traces,
        ..Observers::new(metrics.reviews.clone())
    })
}

fn tls_config(
    settings: &Settings,
    resolver: &Arc<Resolver>,
    client_ca: Option<&[u8]>,
) -> Result<ServerConfig, ServeError> {
    let clients = match (&settings.client_auth, client_ca) {
        (Some(auth), Some(ca)) => Some(auth.verifier(ca)?),
        _ => None,
    };
    Ok(certs::server_config(Arc::clone(resolver), clients)?)
}

/// Serves reviews until `ended` turns true. The task ends when all connections are closed.
fn serve_reviews(
    settings: &Settings,
    shared: &Arc<Shared>,
    listener: StdListener,
    tls: Arc<ArcSwap<ServerConfig>>,
    ended: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let port = Port {
        tls: Some(tls),
        router: router(Arc::clone(shared)),
        connections: settings.limits.connections,
        idle: settings.limits.idle,
        shared: Arc::clone(shared),
        ended: ended.clone(),
    };
    let listener = TcpListener::from_std(listener)?;
    let guard = shared.supervisor.guard("TLS port");
    Ok(tokio::spawn(async move {
        port.serve(listener).await;
        // At the shutdown it is to end.
        if *ended.borrow() {
            guard.disarm();
        }
    }))
}

/// Serves probes and metrics to the very end of the process, on a thread and in a runtime of their own: neither long
/// evaluations nor a flood of reviews hold them up.
fn serve_probes(shared: &Arc<Shared>, listener: StdListener, log_level: LogLevel) -> io::Result<()> {
    let (never, ended) = watch::channel(false);
    let port = Port {
        tls: None,
        router: admin::router(Arc::clone(shared), log_level),
        connections: admin::MAX_CONNECTIONS,
        idle: admin::IDLE_TIMEOUT,
        shared: Arc::clone(shared),
        ended,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    shared.supervisor.spawn_thread("admin port", move || {
        let _never = never;
        let served: io::Result<()> = runtime.block_on(async {
            port.serve(TcpListener::from_std(listener)?).await;
            Ok(())
        });
        if let Err(error) = served {
            tracing::error!(%error, "The admin port failed");
        }
    })
}

/// Goes on serving until the cluster has noticed, then answers what is open.
async fn drain(settings: &Settings, end: &watch::Sender<bool>, reviews: JoinHandle<()>) {
    tokio::time::sleep(settings.shutdown_delay).await;
    end.send_replace(true);
    match tokio::time::timeout(settings.drain_timeout, reviews).await {
        Ok(Ok(())) => tracing::info!("Shutdown complete, all requests drained"),
        Ok(Err(error)) => tracing::error!(%error, "The TLS port failed while it was drained"),
        Err(_) => {
            tracing::warn!(timeout = ?settings.drain_timeout, "Drain timeout: requests still in flight");
        }
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
    supervisor: &Supervisor,
) -> Result<Option<Events>, ConnectError> {
    let Some(EventSettings { access, instance }) = settings else { return Ok(None) };
    let api = cluster::connect(access.clone()).await?;
    Ok(Some(Events::start(api, instance.clone(), metrics.clone(), supervisor)))
}

/// The certificate to begin with, and what keeps it.
struct Served {
    resolver: Arc<Resolver>,
    /// The files it was made of.
    pair: Option<Pair>,
    reconciler: Option<Reconciler>,
}

async fn certificate(source: &CertificateSource, shared: &Shared) -> Result<Served, ServeError> {
    let serve = |key, not_after: Timestamp, pair| {
        shared.metrics.certificates.served_expiry.set(not_after.as_second());
        Served { resolver: Resolver::new(key), pair, reconciler: None }
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
            certs::issue::check_names(&settings.names)?;
            let (api, settings) = (cluster::connect(access.clone()).await?, settings.clone());
            let resolver = Arc::<Resolver>::default();
            let (readiness, metrics) = (Arc::clone(&shared.readiness), shared.metrics.certificates.clone());
            let reconciler = Reconciler::new(api, settings, Arc::clone(&resolver), readiness, metrics);
            Ok(Served { resolver, pair: None, reconciler: Some(reconciler) })
        }
    }
}

/// The last content of the files that are watched.
struct LoadedFiles {
    sources: Vec<Source>,
    pair: Option<Pair>,
    client_ca: Option<Vec<u8>>,
    keys: Option<Vec<u8>>,
}

/// Watches the files, beginning after what has been read of them.
fn watch_files(
    settings: &Settings,
    shared: &Arc<Shared>,
    loaded: LoadedFiles,
    resolver: &Arc<Resolver>,
    tls: &Arc<ArcSwap<ServerConfig>>,
) -> io::Result<()> {
    let interval = settings.reload_interval;
    let LoadedFiles { sources, pair, client_ca, keys } = loaded;
    if let Some(path) = settings.policy.clone() {
        reload::watch_policy(path, sources, interval, shared)?;
    }
    if let (CertificateSource::Files { folder, names }, Some(pair)) = (settings.certificate.clone(), pair) {
        reload::watch_certificate(folder, names, pair, interval, shared, Arc::clone(resolver))?;
    }
    if let (Some(auth), Some(ca)) = (settings.client_auth.clone(), client_ca) {
        reload::watch_client_ca(auth, ca, interval, shared, Arc::clone(resolver), Arc::clone(tls))?;
    }
    if let (Some(tokens), Some(keys)) = (settings.tokens.clone(), keys) {
        reload::watch_token_keys(tokens, keys, interval, shared)?;
    }
    Ok(())
}

/// Listens on the address. Where the system has no IPv6, `[::]` becomes `0.0.0.0`.
fn bind(address: SocketAddr) -> Result<StdListener, ServeError> {
    let is_any = address.is_ipv6() && address.ip().is_unspecified();
    let listener = StdListener::bind(address).or_else(|error| {
        let has_no_ipv6 =
            matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable)
                || error.raw_os_error() == Some(EAFNOSUPPORT);
        if is_any && has_no_ipv6 {
            StdListener::bind((Ipv4Addr::UNSPECIFIED, address.port()))
        } else {
            Err(error)
        }
    });
    let listener = listener.map_err(|source| ServeError::Listen { address, source })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The system's error for an address family that it does not have, on Linux.
const EAFNOSUPPORT: i32 = 97;

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

/// Returns the number of cores: one worker for each.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn settings() -> Settings {
        let second = Duration::from_secs(1);
        Settings {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            admin: (Ipv4Addr::LOCALHOST, 0).into(),
            policy: None,
            without_policy: WithoutPolicy::Deny,
            client_auth: None,
            tokens: None,
            certificate: CertificateSource::Dev { folder: None, names: vec!["localhost".into()] },
            cluster: String::new(),
            instance: String::new(),
            backstop: None,
            events: None,
            traces: None,
            limits: Limits {
                body_bytes: 1 << 20,
                bodies_in_flight_bytes: 1 << 20,
                connections: 8,
                handshake: second,
                header: second,
                body: second,
                idle: second,
            },
            reload_interval: second,
            shutdown_delay: Duration::ZERO,
            drain_timeout: second,
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_task_that_panics_ends_the_server() {
        let supervisor = Supervisor::default();
        let (_logs, level) = LogLevel::apart("error");
        let server = tokio::spawn(serve(settings(), Metrics::new(), None, level, supervisor.clone()));
        supervisor.spawn("certificate reconciler", async { panic!("a fault") });
        let problem = server.await.unwrap().unwrap_err().to_string();
        assert_eq!(problem, "the certificate reconciler task panicked; please report it");
    }

    #[test]
    fn an_address_without_ipv6_is_bound_as_it_is() {
        assert!(bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap().local_addr().unwrap().is_ipv4());
        let any = bind("[::]:0".parse().unwrap()).unwrap().local_addr().unwrap();
        assert!(any.ip().is_unspecified(), "{any}");
    }
}
