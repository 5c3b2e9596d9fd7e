//! Client certificates: only an API server that presents one is served.

use std::{io, path::PathBuf, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime, pem::PemObject},
    server::{
        VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::certs;

/// The clients that are served.
#[derive(Debug, Clone)]
pub struct ClientAuthSettings {
    /// The file with the CAs of client certificates, in PEM.
    pub ca: PathBuf,
    /// The common names and subject alternative names of which a certificate must have one; any if there are none.
    pub names: Vec<String>,
}

/// The reason why client certificates cannot be verified.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages describe them")]
pub enum ClientAuthError {
    #[error("cannot read client CA {path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("client CA {path} is not PEM: {problem}")]
    NotPem { path: String, problem: &'static str },
    #[error("client CA {path} holds no certificate")]
    Empty { path: String },
    #[error("client CA {path} cannot be used: {source}")]
    Unfit { path: String, source: Error },
    #[error("client CA {path} cannot be used: {source}")]
    Verifier { path: String, source: VerifierBuilderError },
}

impl ClientAuthSettings {
    /// Reads the file of CAs.
    ///
    /// # Errors
    /// Returns an error if it cannot be read.
    pub(super) fn read(&self) -> Result<Vec<u8>, ClientAuthError> {
        let path = || self.ca.display().to_string();
        std::fs::read(&self.ca).map_err(|source| ClientAuthError::Io { path: path(), source })
    }

    /// Makes a verifier of the file's content.
    ///
    /// # Errors
    /// Returns an error if it holds no CA that can be used.
    pub(super) fn verifier(&self, content: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, ClientAuthError> {
        let path = || self.ca.display().to_string();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(content) {
            let certificate = certificate.map_err(|error| ClientAuthError::NotPem {
                path: path(),
                problem: certs::describe_pem_error(&error),
            })?;
            roots.add(certificate).map_err(|source| ClientAuthError::Unfit { path: path(), source })?;
        }
        if roots.is_empty() {
            return Err(ClientAuthError::Empty { path: path() });
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), certs::provider());
        let chain = builder.build().map_err(|source| ClientAuthError::Verifier { path: path(), source })?;
        if self.names.is_empty() {
            return Ok(chain);
        }
        Ok(Arc::new(NamedClient { chain, names: self.names.clone() }))
    }
}

/// Verifies the chain of a certificate, and that it has one of the names.
#[derive(Debug)]
struct NamedClient {
    chain: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

impl ClientCertVerifier for NamedClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        let names = names(end_entity).ok_or(CertificateError::BadEncoding)?;
        if names.iter().any(|name| self.names.contains(name)) {
            return Ok(verified);
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Returns the common names and the DNS and URI names of a certificate.
fn names(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let mut names: Vec<String> = common.map(str::to_owned).collect();
    if let Some(alternative) = certificate.subject_alternative_name().ok()? {
        names.extend(alternative.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
            _ => None,
        }));
    }
    Some(names)
}
