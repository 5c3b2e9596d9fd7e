//! The settings of the server.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{BackstopSettings, ClientAuthSettings, TokenSettings};
use crate::{
    cluster::{self, Access},
    telemetry::TraceSettings,
};
use sandgate_engine::review::WithoutPolicy;

/// The settings of the server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address that serves reviews, over TLS.
    pub listen: SocketAddr,
    /// The address that serves probes and metrics, in plain HTTP.
    pub admin: SocketAddr,
    /// The policy file or folder. If it is absent, the built-in policy is in force.
    pub policy: Option<PathBuf>,
    /// The answer for a namespace that no policy covers.
    pub without_policy: WithoutPolicy,
    /// The verifier of client certificates. If it is absent, clients need not present one.
    pub client_auth: Option<ClientAuthSettings>,
    /// The verifier of bearer tokens. If it is absent, tokens are not read.
    pub tokens: Option<TokenSettings>,
    /// The source of the certificate.
    pub certificate: CertificateSource,
    /// The name of the cluster, in audit records.
    pub cluster: String,
    /// The name of this replica, in audit records.
    pub instance: String,
    /// Writes an Event for each denied Pod, if set.
    pub events: Option<EventSettings>,
    /// Keeps the backstop in the API server, if set.
    pub backstop: Option<BackstopSettings>,
    /// Traces requests, if set.
    pub traces: Option<TraceSettings>,
    /// The bounds of requests and connections.
    pub limits: Limits,
    /// The time between two looks at policy and certificate files.
    pub reload_interval: Duration,
    /// The time to go on serving, not ready, after the signal to end: until no endpoint sends anything more.
    pub shutdown_delay: Duration,
    /// The time that open requests may then take.
    pub drain_timeout: Duration,
}

/// The settings of Events.
#[derive(Debug, Clone)]
pub struct EventSettings {
    /// The connection to the API server.
    pub access: Access,
    /// The name of this replica in them.
    pub instance: String,
}

/// The source of the certificate.
#[derive(Debug, Clone)]
pub enum CertificateSource {
    /// Made in memory; `ca.crt` is written into the folder, if there is one.
    Dev {
        /// The folder that `ca.crt` is written into.
        folder: Option<PathBuf>,
        /// The names that the certificate is valid for.
        names: Vec<String>,
    },
    /// `tls.crt` and `tls.key` of the folder, read again when they change.
    Files {
        /// The folder of the certificates.
        folder: PathBuf,
        /// The names that the certificate must be valid for.
        names: Vec<String>,
    },
    /// Signed in memory by a CA that all replicas share, which is published to the webhook configurations.
    Managed {
        /// The connection to the API server.
        access: Access,
        /// The settings of the cluster mode.
        settings: cluster::Settings,
    },
}

/// The bounds of requests and connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest body, in bytes.
    pub body_bytes: u32,
    /// All bodies that are being received or evaluated, in bytes.
    pub bodies_in_flight_bytes: u32,
    /// The most open connections.
    pub connections: u32,
    /// The time that a TLS handshake may take.
    pub handshake: Duration,
    /// The time that the headers of a request may take.
    pub header: Duration,
    /// The time that the body of a request may take.
    pub body: Duration,
    /// The time that a connection may be idle. The API server closes its own after 90 s; closing first would race with
    /// its next request.
    pub idle: Duration,
}
