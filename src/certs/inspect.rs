//! The certificate that a server presents, and its issuer.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::{
    ca::{Certificate, Fingerprint},
    files::inspect,
    provider,
};

/// A certificate that a server presents.
#[derive(Debug, Clone)]
pub struct Served {
    /// As it came, the others of its chain after it.
    chain: Vec<CertificateDer<'static>>,
    /// The names that it holds for.
    pub names: Vec<String>,
    /// The time when it expires.
    pub not_after: Timestamp,
}

impl Served {
    fn read(chain: Vec<CertificateDer<'static>>, now: Timestamp) -> Result<Self, String> {
        let leaf = chain.first().ok_or("it presents no certificate")?;
        let (not_after, names) = inspect(leaf, &[], now)?;
        Ok(Self { chain, names, not_after })
    }

    /// Asks a server for its certificate. Who signed it is not asked here.
    ///
    /// # Errors
    /// When it cannot be reached, or presents no certificate that can be used at `now`.
    pub async fn by(address: &str, now: Timestamp) -> Result<Self, String> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let asking = async {
            let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            let provider = provider();
            let verifier = Arc::new(AnyIssuer(provider.signature_verification_algorithms));
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .dangerous()
                .with_custom_certificate_verifier(verifier)
                .with_no_client_auth();
            let name = ServerName::try_from("sandgate").map_err(|error| error.to_string())?;
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
            let stream = stream.map_err(|error| format!("no TLS connection: {error}"))?;
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            Ok::<_, String>(chain.iter().map(|certificate| certificate.clone().into_owned()).collect())
        };
        let late = || format!("no answer within {} s", PATIENCE.as_secs());
        Self::read(timeout(PATIENCE, asking).await.map_err(|_| late())??, now)
    }

    /// Which of these CAs it chains to at `now`, by the rules that any client applies.
    pub fn issuer<'c>(
        &self,
        mut authorities: impl Iterator<Item = &'c Certificate>,
        now: Timestamp,
    ) -> Option<Fingerprint> {
        authorities.find(|authority| self.chains_to(authority, now)).map(|authority| authority.id)
    }

    fn chains_to(&self, authority: &Certificate, now: Timestamp) -> bool {
        let chains = || {
            let (leaf, others) = self.chain.split_first()?;
            let name = ServerName::try_from(self.names.first()?.replace('*', "any")).ok()?;
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).ok()?).ok()?;
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().ok()?;
            let now = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().try_into().ok()?));
            verifier.verify_server_cert(leaf, others, &name, &[], now).ok()
        };
        chains().is_some()
    }
}

/// Takes any certificate: it is only looked at.
#[derive(Debug)]
struct AnyIssuer(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyIssuer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::certs::{
        ca::{Authority, State, read_bundle, write_bundle},
        issue::{self, Validity},
    };

    const LIFETIME: SignedDuration = SignedDuration::from_secs(500);
    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn authority() -> Authority {
        Authority::mint(State::Active, NOW, LIFETIME * 2).unwrap()
    }

    fn leaf(authority: &Authority) -> Served {
        let names = ["sandgate.sandgate-system.svc".to_string(), "127.0.0.1".to_string()];
        let signer = authority.signer().unwrap();
        let key = issue::leaf(&names, &signer, Validity { now: NOW, not_after: NOW + LIFETIME }).unwrap();
        Served::read(key.cert, NOW).unwrap()
    }

    #[test]
    fn a_leaf_chains_to_the_ca_that_signed_it_and_to_no_other_of_the_bundle() {
        let [first, second] = [authority(), authority()];
        let certificates = [first.certificate.clone(), second.certificate.clone()];
        let bundle = read_bundle(write_bundle(&certificates).as_bytes());
        assert_eq!(leaf(&first).issuer(bundle.iter(), NOW), Some(first.certificate.id));
        assert_eq!(leaf(&second).issuer(bundle.iter(), NOW), Some(second.certificate.id));
        assert_eq!(leaf(&first).issuer([&second.certificate].into_iter(), NOW), None);
    }

    #[test]
    fn it_holds_for_its_names_from_an_hour_ago_until_its_end() {
        let authority = authority();
        let leaf = leaf(&authority);
        assert_eq!(leaf.names, ["sandgate.sandgate-system.svc", "127.0.0.1"]);
        assert_eq!(leaf.not_after, NOW + LIFETIME);
        for (seconds, holds) in [(-3599, true), (499, true), (-3601, false), (501, false)] {
            let at = NOW + SignedDuration::from_secs(seconds);
            assert_eq!(leaf.chains_to(&authority.certificate, at), holds, "{at}");
        }
    }
}
