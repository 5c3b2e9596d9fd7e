//! The CAs of managed mode, and how they stand in the Secret and in a `caBundle`.

use std::{collections::BTreeMap, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use rcgen::{KeyPair, PublicKeyData};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    CertError, describe_pem_error,
    issue::{self, Pem, Validity},
    shifted, timestamp,
};

/// The SHA-256 of a certificate: what people compare, and what makes two of them the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Returns its first digits, enough to distinguish CAs.
    #[must_use]
    pub fn short(self) -> String {
        self.to_string()[..8].to_string()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The certificate of a CA, as everybody may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// What it is compared by.
    pub id: Fingerprint,
    /// In PEM.
    pub pem: String,
    /// The time from which it holds.
    pub not_before: Timestamp,
    /// The time until which it holds.
    pub not_after: Timestamp,
}

impl Certificate {
    fn from_der(der: &[u8]) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|error| format!("no X.509: {error}"))?;
        let validity = parsed.validity();
        Ok(Self {
            id: Fingerprint(Sha256::digest(der).into()),
            pem: pem(der),
            not_before: timestamp(validity.not_before.timestamp()),
            not_after: timestamp(validity.not_after.timestamp()),
        })
    }
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::with_capacity(text.len() + text.len() / 64 + 64);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

/// What a CA is there for at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is being published and signs nothing yet.
    Pending,
    /// It signs.
    Active,
    /// It signs nothing more; what it signed is still served.
    Retiring,
}

impl State {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Retiring => "retiring",
        }
    }
}

/// A private key in PEM. Its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(pub String);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

/// A CA as it stands in the Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Its certificate.
    pub certificate: Certificate,
    /// Its key; there is none where only what it once signed must go on being trusted.
    pub key: Option<PrivateKey>,
    /// What it is there for.
    pub state: State,
    /// The time since which it has this state.
    pub since: Timestamp,
}

impl Authority {
    /// Makes a new one that holds for `lifetime` from `now` on.
    ///
    /// # Errors
    /// As [`issue::authority`].
    pub fn mint(state: State, now: Timestamp, lifetime: SignedDuration) -> Result<Self, CertError> {
        let Pem { certificate, key } =
            issue::authority("sandgate CA", Validity { now, not_after: shifted(now, lifetime) })?;
        let unfit = |problem| CertError::Unfit { path: "the new CA".into(), problem };
        let der = CertificateDer::from_pem_slice(certificate.as_bytes());
        let der = der.map_err(|error| unfit(describe_pem_error(&error).into()))?;
        let certificate = Certificate::from_der(&der).map_err(unfit)?;
        Ok(Self { certificate, key: Some(PrivateKey(key)), state, since: now })
    }

    /// One that only goes on being trusted.
    #[must_use]
    pub fn trusted_only(certificate: Certificate, since: Timestamp) -> Self {
        Self { certificate, key: None, state: State::Retiring, since }
    }

    /// Whether leaves are signed by it.
    #[must_use]
    pub fn signs(&self, now: Timestamp) -> bool {
        self.state == State::Active && self.key.is_some() && self.certificate.not_after > now
    }

    /// Its certificate and key, if it can sign.
    #[must_use]
    pub fn signer(&self) -> Option<Pem> {
        let PrivateKey(key) = self.key.clone()?;
        Some(Pem { certificate: self.certificate.pem.clone(), key })
    }
}

/// How an [`Authority`] is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    cert: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    state: State,
    since: Timestamp,
}

/// The list as it is written into the Secret.
#[must_use]
pub fn write(authorities: &[Authority]) -> Vec<u8> {
    let stored = authorities.iter().map(|Authority { certificate, key, state, since }| Stored {
        cert: certificate.pem.clone(),
        key: key.as_ref().map(|PrivateKey(key)| key.clone()),
        state: *state,
        since: *since,
    });
    serde_json::to_vec_pretty(&stored.collect::<Vec<_>>()).expect("strings are always JSON")
}

/// Reads what [`write`] wrote.
///
/// # Errors
/// What is wrong with it, where it is something else or incomplete: half of it is not to be trusted.
pub fn read(text: &[u8]) -> Result<Vec<Authority>, String> {
    // serde_json's messages can quote what they choke on, and this is the text with the keys.
    let stored: Vec<Stored> = serde_json::from_slice(text).map_err(|error| {
        format!("line {} column {}: not the JSON of a list of CAs", error.line(), error.column())
    })?;
    if stored.is_empty() {
        return Err("the list of CAs is empty".into());
    }
    let authorities = stored.into_iter().enumerate().map(|(index, stored)| {
        authority(stored).map_err(|problem| format!("the CA at index {index}: {problem}"))
    });
    authorities.collect()
}

fn authority(Stored { cert, key, state, since }: Stored) -> Result<Authority, String> {
    let der = CertificateDer::from_pem_slice(cert.as_bytes());
    let der = der.map_err(|error| format!("cert is no PEM certificate: {}", describe_pem_error(&error)))?;
    let (_, parsed) =
        X509Certificate::from_der(&der).map_err(|error| format!("cert is no X.509: {error}"))?;
    if let Some(key) = &key {
        let key = KeyPair::from_pem(key).map_err(|_| "key is no private key in PEM".to_string())?;
        if key.subject_public_key_info() != parsed.public_key().raw {
            return Err("key does not belong to cert".into());
        }
    }
    let certificate = Certificate::from_der(&der)?;
    Ok(Authority { certificate, key: key.map(PrivateKey), state, since })
}

/// The certificates of a `caBundle`; what is none is passed over.
#[must_use]
pub fn read_bundle(text: &[u8]) -> Vec<Certificate> {
    let certificates = CertificateDer::pem_slice_iter(text).filter_map(Result::ok);
    in_order(certificates.filter_map(|der| Certificate::from_der(&der).ok()))
}

/// A `caBundle` of these certificates.
#[must_use]
pub fn write_bundle(certificates: &[Certificate]) -> String {
    certificates.iter().map(|certificate| certificate.pem.as_str()).collect()
}

/// Each once, in the order that every replica writes them in.
pub fn in_order(certificates: impl IntoIterator<Item = Certificate>) -> Vec<Certificate> {
    let sorted: BTreeMap<Fingerprint, Certificate> =
        certificates.into_iter().map(|certificate| (certificate.id, certificate)).collect();
    sorted.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
    const LIFETIME: SignedDuration = SignedDuration::from_secs(1000);

    fn minted() -> Authority {
        Authority::mint(State::Active, NOW, LIFETIME).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let list =
            [minted(), Authority::trusted_only(minted().certificate, NOW - SignedDuration::from_secs(5))];
        assert_eq!(read(&write(&list)).unwrap(), list);
        let certificates = in_order(list.map(|authority| authority.certificate));
        assert_eq!(read_bundle(write_bundle(&certificates).as_bytes()), certificates);
    }

    #[test]
    fn a_new_one_holds_from_an_hour_ago_to_the_end_of_its_life() {
        let Certificate { not_before, not_after, .. } = minted().certificate;
        assert_eq!((not_before, not_after), (NOW - SignedDuration::from_hours(1), NOW + LIFETIME));
    }

    #[test]
    fn what_cannot_be_trusted_is_rejected_with_the_reason_and_without_a_key() {
        let mut mixed = minted();
        mixed.key = minted().key;
        let problem = read(&write(&[minted(), mixed])).unwrap_err();
        assert!(problem.contains("index 1") && problem.contains("does not belong"), "{problem}");

        assert!(read(b"[]").unwrap_err().contains("empty"));
        for text in [&b""[..], b"{}", b"[{\"key\":\"hush\"}]", b"[{\"cert\":1,\"key\":\"hush\"}]", b"\xff"] {
            let problem = read(text).unwrap_err();
            assert!(problem.contains("not the JSON") && !problem.contains("hush"), "{problem}");
        }
        let written = String::from_utf8(write(&[minted()])).unwrap();
        assert!(read(written.replace("CERTIFICATE", "NOTHING").as_bytes()).is_err());
        let mut keyless = minted();
        keyless.key = Some(PrivateKey("hush".into()));
        let problem = read(&write(&[keyless])).unwrap_err();
        assert!(problem.contains("no private key") && !problem.contains("hush"), "{problem}");
    }

    #[test]
    fn a_bundle_with_something_else_in_it_is_read_without_it() {
        let certificate = minted().certificate;
        let text = format!("hello\n{0}{0}-----BEGIN X-----\nAAAA\n-----END X-----\n", certificate.pem);
        assert_eq!(read_bundle(text.as_bytes()), [certificate]);
        assert_eq!(read_bundle(b""), []);
    }

    #[test]
    fn a_key_is_never_shown() {
        assert!(!format!("{:?}", minted()).contains("PRIVATE KEY"));
    }
}
