//! The certificate that is served, and where it comes from.

pub mod ca;
mod dev;
mod files;
pub mod inspect;
pub mod issue;
mod pem;
pub mod plan;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::{SignedDuration, Timestamp};
use rustls::{
    server::{ClientHello, ResolvesServerCert, danger::ClientCertVerifier},
    sign::CertifiedKey,
};

pub use dev::{DevCertificate, write_files};
pub use files::{Loaded, Pair, load, read};
pub(crate) use pem::describe_pem_error;

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// What was read is no certificate that can be served.
    #[error("{path}: {problem}")]
    Unfit {
        /// The file.
        path: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Made(#[from] rcgen::Error),
}

/// Hands the current certificate to each handshake. Replacing it closes no connection.
#[derive(Debug, Default)]
pub struct Resolver(ArcSwapOption<CertifiedKey>);

impl Resolver {
    /// A resolver that begins with `key`. One by [`Resolver::default`] has none, and rejects handshakes.
    #[must_use]
    pub fn new(key: CertifiedKey) -> Arc<Self> {
        Arc::new(Self(ArcSwapOption::from_pointee(key)))
    }

    /// Serves `key` from the next handshake on.
    pub fn replace(&self, key: CertifiedKey) {
        self.0.store(Some(Arc::new(key)));
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// Configures TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1. If there is a verifier of `clients`, each must present a certificate.
///
/// # Errors
/// If the crypto provider does not support the protocol versions, which would be a fault of the build.
pub fn server_config(
    resolver: Arc<Resolver>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<rustls::ServerConfig, rustls::Error> {
    let config =
        rustls::ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let config = match clients {
        Some(verifier) => config.with_client_cert_verifier(verifier),
        None => config.with_no_client_auth(),
    };
    let mut config = config.with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Returns the time by this machine's clock, in whole seconds as certificates have it.
#[must_use]
pub fn now() -> Timestamp {
    timestamp(Timestamp::now().as_second())
}

/// Returns the time that is so many seconds after 1970, or the latest or earliest one if it is beyond: a certificate may
/// hold until the end of the year 9999.
fn timestamp(seconds: i64) -> Timestamp {
    let beyond = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(seconds).unwrap_or(beyond)
}

/// Returns the time that is `duration` later, or the latest or earliest one if it is beyond.
fn shifted(time: Timestamp, duration: SignedDuration) -> Timestamp {
    let beyond = if duration.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
    time.checked_add(duration).unwrap_or(beyond)
}
