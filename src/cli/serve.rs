//! `sandgate serve`: the webhook itself.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use axum::http::Uri;
use clap::{Args, ValueEnum};

use crate::{
    audit::{self, AuditMetrics, FileSettings, Fsync, OnOverflow, Sink, Stream, Trail, Writer},
    certs::plan::Lifetimes,
    cluster::{self, Access, Watched},
    server::{self, CertificateSource, EventSettings, Limits, Metrics, ServeError, Settings},
    telemetry::{LogFormat, TraceSettings, start_logs},
};

/// Serve the webhook over TLS until SIGTERM.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where to take admission reviews, over TLS
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:10250")]
    listen: SocketAddr,
    /// Where to answer /healthz, /readyz and /metrics, in plain HTTP
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:8080")]
    admin: SocketAddr,
    /// Policy file or folder; the built-in policy where left out
    #[arg(long, value_name = "PATH", env = "SANDGATE_POLICY")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    certificate: CertificateArgs,
    #[command(flatten)]
    managed: ManagedArgs,
    #[command(flatten)]
    reporting: ReportingArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// How often to look whether policy and certificate files changed
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    reload_interval: Duration,
    /// How long to go on serving after SIGTERM, until no endpoint points here any more
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    shutdown_delay: Duration,
    /// How long requests that are still open may then take
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    drain_timeout: Duration,
    #[command(flatten)]
    audit: AuditArgs,
    /// How log lines are written, on stderr
    #[arg(long, value_enum, default_value_t, env = "SANDGATE_LOG_FORMAT")]
    log_format: LogFormat,
    /// Which log lines are written, such as warn, info or sandgate=debug
    #[arg(long, value_name = "FILTER", default_value = "info", env = "SANDGATE_LOG_LEVEL")]
    log_level: String,
    /// How many threads answer; one for each core where left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// File to write the reason of a failed start into as well, where the kubelet looks for it
    #[arg(long, value_name = "PATH")]
    termination_message: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CertificateArgs {
    /// Where the certificate comes from
    #[arg(long, value_enum, default_value_t = CertificateMode::Dev)]
    certs: CertificateMode,
    /// files: the folder with tls.crt and tls.key; dev: where to write ca.crt
    #[arg(long, value_name = "DIR", required_if_eq("certs", "files"))]
    cert_dir: Option<PathBuf>,
    /// A name the certificate must hold for (dev, managed: those it is made for)
    #[arg(long, value_name = "NAME", value_delimiter = ',', required_if_eq("certs", "managed"))]
    server_name: Vec<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Managed certificates")]
struct ManagedArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How long a CA lives
    #[arg(long, value_name = "SECONDS", default_value_t = Lifetimes::DEFAULT.authority, hide = true, value_parser = lifetime())]
    ca_lifetime: i64,
    /// How long a certificate lives
    #[arg(long, value_name = "SECONDS", default_value_t = Lifetimes::DEFAULT.leaf, hide = true, value_parser = lifetime())]
    leaf_lifetime: i64,
    /// How long a new CA is published before it signs
    #[arg(long, value_name = "SECONDS", default_value_t = Lifetimes::DEFAULT.promote_after, hide = true, value_parser = lifetime())]
    promote_after: i64,
    /// How often the Secret and the webhook configurations are looked at, whatever happens
    #[arg(long, value_name = "SECONDS", default_value = "60", hide = true, value_parser = seconds)]
    check_interval: Duration,
    /// How long after the first answer of readiness the webhooks are armed, if they never were
    #[arg(long, value_name = "SECONDS", default_value = "5", hide = true, value_parser = seconds)]
    arm_after: Duration,
}

/// Where managed certificates are kept.
#[derive(Debug, Clone, Args)]
pub(super) struct ClusterArgs {
    /// How to reach the API server; as a Pod's service account where left out
    #[arg(long, value_name = "PATH", env = "KUBECONFIG")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// The namespace of the Secret; our own where left out
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    namespace: Option<String>,
    /// The Secret with the CAs
    #[arg(long, value_name = "NAME", default_value = "sandgate-ca")]
    ca_secret: String,
    /// The name of both webhook configurations
    #[arg(long, value_name = "NAME", default_value = "sandgate")]
    webhook_configuration: String,
}

impl ClusterArgs {
    pub(super) fn split(self) -> (Access, Watched) {
        let Self { kubeconfig, namespace, ca_secret, webhook_configuration } = self;
        (
            Access { kubeconfig, namespace },
            Watched { secret: ca_secret, configuration: webhook_configuration },
        )
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CertificateMode {
    /// Made in memory for this process, not for production
    Dev,
    /// Read from --cert-dir, and again when the files change
    Files,
    /// Signed by a CA in a Secret that sandgate makes, publishes and renews
    Managed,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum AuditSink {
    /// One JSON line a verdict on stdout
    #[default]
    Stdout,
    /// The same lines in --audit-file, which is rotated
    File,
    /// None
    Off,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Audit trail")]
struct AuditArgs {
    /// Where audit records go
    #[arg(long, value_enum, default_value_t)]
    audit: AuditSink,
    /// The file that records are appended to, in a folder that exists; full ones are renamed to PATH.N
    #[arg(long, value_name = "PATH", required_if_eq("audit", "file"))]
    audit_file: Option<PathBuf>,
    /// How large the file may become; what is written at once is never split, at most 4 MiB of records
    #[arg(long, value_name = "BYTES", default_value = "104857600", value_parser = clap::value_parser!(u64).range(4096..))]
    audit_max_bytes: u64,
    /// How old its first record may become before the next one begins a new file
    #[arg(long, value_name = "SECONDS", default_value = "86400", value_parser = clap::value_parser!(u64).range(1..))]
    audit_max_age: u64,
    /// How many full files are kept
    #[arg(long, value_name = "N", default_value = "10")]
    audit_keep: usize,
    /// When records are forced to the disk
    #[arg(long, value_enum, default_value_t)]
    audit_fsync: Fsync,
    /// What happens to a record that finds the buffer of 4 MiB full
    #[arg(long, value_enum, default_value_t)]
    audit_on_overflow: OnOverflow,
}

impl AuditArgs {
    fn start(&self, metrics: &AuditMetrics) -> Result<Option<(Trail, Writer)>, String> {
        let Self {
            audit,
            audit_file,
            audit_max_bytes,
            audit_max_age,
            audit_keep,
            audit_fsync,
            audit_on_overflow,
        } = self;
        match (audit, audit_file) {
            (AuditSink::File, Some(path)) => {
                let settings = FileSettings {
                    path: path.clone(),
                    max_bytes: *audit_max_bytes,
                    max_age: Duration::from_secs(*audit_max_age),
                    keep: *audit_keep,
                    fsync: *audit_fsync,
                };
                start_trail(audit::File::new(settings), *audit_on_overflow, metrics)
            }
            (AuditSink::Stdout, _) => start_trail(Stream::new(io::stdout()), *audit_on_overflow, metrics),
            _ => Ok(None),
        }
    }
}

fn start_trail(
    sink: impl Sink,
    on_overflow: OnOverflow,
    metrics: &AuditMetrics,
) -> Result<Option<(Trail, Writer)>, String> {
    let started = Trail::start(sink, on_overflow, metrics.clone());
    started.map(Some).map_err(|error| format!("cannot start the audit trail: {error}"))
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Events and traces")]
struct ReportingArgs {
    /// Write a Kubernetes Event for each Pod that was refused, about its controller or else its namespace
    #[arg(long)]
    events: bool,
    /// Send traces to a collector there, as OTLP over HTTP in JSON; /v1/traces is appended
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<Uri>,
    /// The CAs that the collector's certificate may be signed by, in PEM
    #[arg(long, value_name = "FILE", env = "OTEL_EXPORTER_OTLP_CERTIFICATE")]
    otlp_ca: Option<PathBuf>,
    /// How many of the requests to trace that come without a trace context, from 0 to 1
    #[arg(long, value_name = "RATIO", default_value = "0", value_parser = ratio)]
    otlp_sample_ratio: f64,
    /// The name of the cluster in audit records
    #[arg(long, value_name = "NAME", env = "SANDGATE_CLUSTER_NAME", default_value = "")]
    cluster_name: String,
    /// The name of this replica in audit records, Events and traces
    #[arg(long, value_name = "NAME", env = "POD_NAME", default_value = "sandgate", value_parser = instance)]
    instance: String,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// The largest body, in bytes; an update of the largest Pod there can be carries it twice
    #[arg(long, value_name = "BYTES", default_value = "8388608", value_parser = clap::value_parser!(u32).range(1024..))]
    max_body_bytes: u32,
    /// All bodies that are being read at once, in bytes
    #[arg(long, value_name = "BYTES", default_value = "67108864")]
    max_body_bytes_in_flight: u32,
    /// The most open connections
    #[arg(long, value_name = "N", default_value = "1024", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,
    /// How long a TLS handshake may take
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    handshake_timeout: Duration,
    /// How long the head of a request may take
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    header_timeout: Duration,
    /// How long the body of a request may take
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    body_timeout: Duration,
    /// How long a connection may be idle; the API server closes its own after 90 seconds
    #[arg(long, value_name = "SECONDS", default_value = "180", value_parser = seconds)]
    idle_timeout: Duration,
}

/// Serves until it is ended.
#[must_use]
pub fn run(args: ServeArgs) -> ExitCode {
    let message = args.termination_message.clone();
    match start(args) {
        Ok(code) => code,
        Err(problem) => cannot_run(&problem, message.as_deref()),
    }
}

fn start(args: ServeArgs) -> Result<ExitCode, String> {
    let logs =
        start_logs(args.log_format, &args.log_level).map_err(|error| format!("--log-level: {error}"))?;
    let mut metrics = Metrics::new();
    metrics.register_log(logs.dropped.clone());
    let (trail, writer) = args.audit.start(&metrics.audit)?.unzip();
    let threads = args.threads.map_or_else(server::cores, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let served = runtime.block_on(server::serve(settings(args), metrics, trail, logs.level.clone()));
    finish(served, runtime, writer)
}

fn finish(
    served: Result<(), ServeError>,
    runtime: tokio::runtime::Runtime,
    writer: Option<Writer>,
) -> Result<ExitCode, String> {
    runtime.shutdown_timeout(Duration::from_millis(100));
    match served {
        Ok(()) => {
            const PATIENCE: Duration = Duration::from_secs(2);
            if writer.is_some_and(|writer| !writer.finish(PATIENCE)) {
                // Standard error may have the same reader, and the log never waits for it.
                tracing::error!("Audit sink is stuck; some records are lost");
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(ServeError::Aborted) => {
            eprintln!("sandgate: {}", ServeError::Aborted);
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error.to_string()),
    }
}

fn cannot_run(problem: &str, message: Option<&Path>) -> ExitCode {
    eprintln!("sandgate: {problem}");
    if let Some(Err(error)) = message.map(|path| fs::write(path, problem)) {
        eprintln!("sandgate: the termination message cannot be written: {error}");
    }
    ExitCode::from(2)
}

fn settings(args: ServeArgs) -> Settings {
    let CertificateArgs { certs, cert_dir, server_name } = args.certificate;
    let ReportingArgs { events, otlp_endpoint, otlp_ca, otlp_sample_ratio, cluster_name, instance } =
        args.reporting;
    let (access, _) = args.managed.cluster.clone().split();
    let certificate = match (certs, cert_dir) {
        (CertificateMode::Files, Some(folder)) => CertificateSource::Files { folder, names: server_name },
        (CertificateMode::Managed, _) => managed(args.managed, server_name),
        (_, folder) if server_name.is_empty() => {
            CertificateSource::Dev { folder, names: vec!["localhost".into(), "127.0.0.1".into()] }
        }
        (_, folder) => CertificateSource::Dev { folder, names: server_name },
    };
    let LimitArgs {
        max_body_bytes,
        max_body_bytes_in_flight,
        max_connections,
        handshake_timeout,
        header_timeout,
        body_timeout,
        idle_timeout,
    } = args.limits;
    Settings {
        listen: args.listen,
        admin: args.admin,
        policy: args.policy,
        certificate,
        cluster: cluster_name,
        instance: instance.clone(),
        events: events.then(|| EventSettings { access, instance: instance.clone() }),
        traces: otlp_endpoint.map(|endpoint| TraceSettings {
            endpoint,
            ca: otlp_ca,
            ratio: otlp_sample_ratio,
            instance,
        }),
        limits: Limits {
            body_bytes: max_body_bytes,
            bodies_in_flight_bytes: max_body_bytes_in_flight,
            connections: max_connections,
            handshake: handshake_timeout,
            header: header_timeout,
            body: body_timeout,
            idle: idle_timeout,
        },
        reload_interval: args.reload_interval,
        shutdown_delay: args.shutdown_delay,
        drain_timeout: args.drain_timeout,
    }
}

fn managed(args: ManagedArgs, names: Vec<String>) -> CertificateSource {
    let ManagedArgs { cluster, ca_lifetime, leaf_lifetime, promote_after, check_interval, arm_after } = args;
    let (access, watched) = cluster.split();
    let lifetimes = Lifetimes { authority: ca_lifetime, leaf: leaf_lifetime, promote_after };
    let settings = cluster::Settings { watched, names, lifetimes, check_interval, arm_after };
    CertificateSource::Managed { access, settings }
}

/// Whole seconds, at most ten years.
fn lifetime() -> clap::builder::RangedI64ValueParser<i64> {
    clap::value_parser!(i64).range(1..=10 * 365 * 24 * 3600)
}

/// As long as an Event's `reportingInstance` may be.
fn instance(text: &str) -> Result<String, String> {
    match text.len() {
        1..=128 => Ok(text.to_owned()),
        _ => Err("must have from 1 to 128 bytes".into()),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "must be from 0 to 1".into())
}

/// Seconds with an optional fraction, not negative and not absurd.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_string())?;
    let longest = 24.0 * 3600.0;
    if !(0.0..=longest).contains(&seconds) {
        return Err(format!("must be from 0 to {longest} seconds"));
    }
    Ok(Duration::from_secs_f64(seconds))
}
