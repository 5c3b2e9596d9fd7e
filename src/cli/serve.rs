//! `sandgate serve`: the webhook itself.

use std::{fs, io, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use axum::http::Uri;
use clap::{Args, ValueEnum};
use jiff::SignedDuration;

use super::cluster_args::ClusterArgs;
use crate::{
    audit::{self, AuditMetrics, FileSettings, Fsync, OnOverflow, Sink, Stream, Trail, Writer},
    certs::plan::Lifetimes,
    cluster,
    server::{
        self, BackstopSettings, CertificateSource, ClientAuthSettings, EventSettings, Limits, Metrics,
        ServeError, Settings, TokenSettings,
    },
    supervisor::Supervisor,
    telemetry::{LogFormat, TraceSettings, start_logs},
};

/// Serve the webhook over TLS until SIGTERM.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct ServeArgs {
    /// Address for admission reviews, over TLS; [::] serves IPv4 as well, and is 0.0.0.0 where there is no IPv6
    #[arg(long, value_name = "ADDR:PORT", default_value = "[::]:10250")]
    listen: SocketAddr,
    /// Address for /healthz, /readyz and /metrics, in plain HTTP
    #[arg(long, value_name = "ADDR:PORT", default_value = "[::]:8080")]
    admin: SocketAddr,
    /// Policy file or folder; if omitted, the built-in policy is in force
    #[arg(long, value_name = "PATH", env = "SANDGATE_POLICY")]
    policy: Option<PathBuf>,
    /// What happens to a Pod in a namespace that the webhook selects and no policy covers
    #[arg(long, value_enum, default_value_t)]
    without_policy: WithoutPolicy,
    /// Keep the policies as ValidatingAdmissionPolicies in the API server too, which hold while no webhook answers
    #[arg(long)]
    backstop: bool,
    #[command(flatten)]
    certificate: CertificateArgs,
    #[command(flatten)]
    caller: CallerArgs,
    #[command(flatten)]
    managed: ManagedArgs,
    #[command(flatten)]
    reporting: ReportingArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// Time between two checks whether policy, certificate and key files changed
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    reload_interval: Duration,
    /// Time to go on serving after SIGTERM, until no endpoint points here any more
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    shutdown_delay: Duration,
    /// Time that requests which are still open may then take
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
    /// Number of threads that answer; if omitted, one for each core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// File to write the reason of a failed start into as well, where the kubelet looks for it
    #[arg(long, value_name = "PATH")]
    termination_message: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CertificateArgs {
    /// Where the certificate comes from
    #[arg(long, value_enum)]
    certs: Option<CertificateMode>,
    /// files: the folder with tls.crt and tls.key; dev: where to write ca.crt
    #[arg(long, value_name = "DIR", required_if_eq("certs", "files"))]
    cert_dir: Option<PathBuf>,
    /// Name that the certificate must be valid for (dev, managed: that it is issued for)
    #[arg(long, value_name = "NAME", value_delimiter = ',', required_if_eq("certs", "managed"))]
    server_name: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum WithoutPolicy {
    /// It is denied
    #[default]
    Deny,
    /// It is admitted and recorded
    Allow,
}

impl From<WithoutPolicy> for sandgate_engine::review::WithoutPolicy {
    fn from(without_policy: WithoutPolicy) -> Self {
        match without_policy {
            WithoutPolicy::Deny => Self::Deny,
            WithoutPolicy::Allow => Self::Allow,
        }
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Authentication of API servers")]
struct CallerArgs {
    /// CAs in PEM: serve only clients that present a certificate signed by one; read again when the file changes
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// Name that a client certificate must have, as its common name or an alternative name; any if omitted
    #[arg(long, value_name = "NAME", value_delimiter = ',', requires = "client_ca")]
    client_name: Vec<String>,
    /// Public keys of the API server's tokens (its /openid/v1/jwks); read again when the file changes
    #[arg(long, value_name = "FILE", requires = "token_audience")]
    token_jwks: Option<PathBuf>,
    #[expect(clippy::doc_markdown, reason = "the help shows it as it stands here")]
    /// Audience that a token must be for: the URL of a webhook, such as https://NAME.NAMESPACE.svc:443/mutate
    #[arg(long, value_name = "URL", value_delimiter = ',', requires = "token_jwks")]
    token_audience: Vec<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Managed certificates")]
struct ManagedArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How long a CA lives
    #[arg(long, value_name = "SECONDS", default_value_t = Lifetimes::DEFAULT.authority.as_secs(), hide = true, value_parser = lifetime())]
    ca_lifetime: i64,
    /// How long a certificate lives
    #[arg(long, value_name = "SECONDS", default_value_t = Lifetimes::DEFAULT.leaf.as_secs(), hide = true, value_parser = lifetime())]
    leaf_lifetime: i64,
    /// How long a new CA is published before it signs
    #[arg(long, value_name = "SECONDS", default_value_t = Lifetimes::DEFAULT.promote_after.as_secs(), hide = true, value_parser = lifetime())]
    promote_after: i64,
    /// How often the Secret and the webhook configurations are looked at, whatever happens
    #[arg(long, value_name = "SECONDS", default_value = "60", hide = true, value_parser = seconds)]
    check_interval: Duration,
    /// How long after the first answer of readiness the webhooks are armed, if they never were
    #[arg(long, value_name = "SECONDS", default_value = "5", hide = true, value_parser = seconds)]
    arm_after: Duration,
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
    fn start(
        &self,
        metrics: &AuditMetrics,
        supervisor: &Supervisor,
    ) -> Result<Option<(Trail, Writer)>, String> {
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
                start_trail(audit::File::new(settings), *audit_on_overflow, metrics, supervisor)
            }
            (AuditSink::Stdout, _) => {
                start_trail(Stream::new(io::stdout()), *audit_on_overflow, metrics, supervisor)
            }
            _ => Ok(None),
        }
    }
}

fn start_trail(
    sink: impl Sink,
    on_overflow: OnOverflow,
    metrics: &AuditMetrics,
    supervisor: &Supervisor,
) -> Result<Option<(Trail, Writer)>, String> {
    let started = Trail::start(sink, on_overflow, metrics.clone(), supervisor);
    started.map(Some).map_err(|error| format!("cannot start the audit trail: {error}"))
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Events and traces")]
struct ReportingArgs {
    /// Write a Kubernetes Event for each Pod that was denied, about its controller or else its namespace
    #[arg(long)]
    events: bool,
    /// Send traces to a collector there, as OTLP over HTTP in JSON; /v1/traces is appended
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<Uri>,
    /// The CAs that the collector's certificate may be signed by, in PEM
    #[arg(long, value_name = "FILE", env = "OTEL_EXPORTER_OTLP_CERTIFICATE")]
    otlp_ca: Option<PathBuf>,
    /// Share of the requests without a trace context that are traced, from 0 to 1
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
    /// Largest body that is evaluated, in bytes; the review of a larger one is denied
    #[arg(long, value_name = "BYTES", default_value = "8388608", value_parser = clap::value_parser!(u32).range(1024..))]
    max_body_bytes: u32,
    /// Budget of all bodies that are received and evaluated at once, in bytes; at least three times --max-body-bytes
    #[arg(long, value_name = "BYTES", default_value = "67108864")]
    max_body_bytes_in_flight: u32,
    /// Largest number of open connections; at the bound the longest idle one is closed
    #[arg(long, value_name = "N", default_value = "1024", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,
    /// Time that a TLS handshake may take
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    handshake_timeout: Duration,
    /// Time that the request headers may take
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    header_timeout: Duration,
    /// Time that the request body may take
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    body_timeout: Duration,
    /// Time that a connection may be idle; the API server closes its own after 90 seconds
    #[arg(long, value_name = "SECONDS", default_value = "180", value_parser = seconds)]
    idle_timeout: Duration,
}

/// Serves until a signal ends it. The exit status is 0 after a graceful shutdown, 1 if it ended early, and 2 if it could not
/// start.
#[must_use]
pub fn run(args: ServeArgs) -> ExitCode {
    let message = args.termination_message.clone();
    let (problem, code) = match start(args) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(problem) => problem,
    };
    eprintln!("sandgate: {problem}");
    if let Some(Err(error)) = message.map(|path| fs::write(path, &problem)) {
        eprintln!("sandgate: cannot write the termination message: {error}");
    }
    code
}

/// Why it did not end well, and the exit status.
type Ending = (String, ExitCode);

fn start(args: ServeArgs) -> Result<(), Ending> {
    let could_not_start = |problem: String| (problem, ExitCode::from(2));
    let certificate = certificate(&args).map_err(could_not_start)?;
    let logs = start_logs(args.log_format, &args.log_level);
    let logs = logs.map_err(|error| could_not_start(format!("--log-level: {error}")))?;
    let (mut metrics, supervisor) = (Metrics::new(), Supervisor::default());
    metrics.register_log(logs.dropped.clone());
    let trail = args.audit.start(&metrics.audit, &supervisor).map_err(could_not_start)?;
    let (trail, writer) = trail.unzip();
    let threads = args.threads.map_or_else(server::cores, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = runtime.map_err(|error| could_not_start(format!("cannot start: {error}")))?;
    let settings = settings(args, certificate);
    let served =
        runtime.block_on(server::serve(settings, metrics, trail, logs.level.clone(), supervisor.clone()));
    supervisor.stop();
    runtime.shutdown_timeout(Duration::from_millis(100));
    if let Some(writer) = writer {
        flush(writer);
    }
    served.map_err(|error| match error {
        ServeError::Aborted | ServeError::TaskEnded(_) => (error.to_string(), ExitCode::FAILURE),
        error => could_not_start(error.to_string()),
    })
}

fn flush(writer: Writer) {
    const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
    if !writer.finish(FLUSH_TIMEOUT) {
        // Standard error may have the same reader, and the log never waits for it.
        tracing::error!("Audit sink is stuck; some records are lost");
    }
}

/// Returns the source of the certificate.
///
/// # Errors
/// If none is named. A development certificate would keep every API server out, so it must be asked for.
fn certificate(args: &ServeArgs) -> Result<CertificateSource, String> {
    let CertificateArgs { certs, cert_dir, server_name } = &args.certificate;
    let names = server_name.clone();
    let Some(mode) = certs else {
        return Err("no certificate: give --certs managed (sandgate makes, publishes and renews it), \
                    --certs files --cert-dir DIR (your own, or cert-manager's mounted Secret), \
                    or --certs dev (for this process alone, not for production)"
            .into());
    };
    Ok(match (mode, cert_dir) {
        (CertificateMode::Managed, _) => managed(&args.managed, names),
        (CertificateMode::Files, Some(folder)) => CertificateSource::Files { folder: folder.clone(), names },
        (_, folder) if names.is_empty() => CertificateSource::Dev {
            folder: folder.clone(),
            names: vec!["localhost".into(), "127.0.0.1".into()],
        },
        (_, folder) => CertificateSource::Dev { folder: folder.clone(), names },
    })
}

fn settings(args: ServeArgs, certificate: CertificateSource) -> Settings {
    let ReportingArgs { events, otlp_endpoint, otlp_ca, otlp_sample_ratio, cluster_name, instance } =
        args.reporting;
    let CallerArgs { client_ca, client_name, token_jwks, token_audience } = args.caller;
    let (access, _) = args.managed.cluster.split();
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
        without_policy: args.without_policy.into(),
        client_auth: client_ca.map(|ca| ClientAuthSettings { ca, names: client_name }),
        tokens: token_jwks.map(|jwks| TokenSettings { jwks, audiences: token_audience }),
        certificate,
        cluster: cluster_name,
        instance: instance.clone(),
        backstop: args.backstop.then(|| BackstopSettings { access: access.clone() }),
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

fn managed(args: &ManagedArgs, names: Vec<String>) -> CertificateSource {
    let ManagedArgs { cluster, ca_lifetime, leaf_lifetime, promote_after, check_interval, arm_after } = args;
    let (access, watched) = cluster.clone().split();
    let [authority, leaf, promote_after] =
        [*ca_lifetime, *leaf_lifetime, *promote_after].map(SignedDuration::from_secs);
    let lifetimes = Lifetimes { authority, leaf, promote_after };
    let settings = cluster::Settings {
        watched,
        names,
        lifetimes,
        check_interval: *check_interval,
        arm_after: *arm_after,
    };
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
