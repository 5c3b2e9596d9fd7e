//! A certificate for one process on one machine: made in memory, never for production.

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SerialNumber,
};
use rustls::{
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use time::{Duration, OffsetDateTime};

use super::{CertError, provider};

/// A leaf and the CA that signed it.
#[derive(Debug)]
pub struct DevCertificate {
    /// What is served.
    pub key: CertifiedKey,
    /// The CA in PEM, for `caBundle` and `curl --cacert`.
    pub ca_pem: String,
    /// When the leaf expires, in seconds since 1970.
    pub not_after: i64,
}

impl DevCertificate {
    /// Makes a CA and a leaf for `names`, DNS names or addresses.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn new(names: &[String]) -> Result<Self, CertError> {
        let mut ca = params(Vec::new(), "sandgate development CA", Duration::days(365))?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?)?;

        let mut leaf = params(names.to_vec(), "sandgate", Duration::days(7))?;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let certificate = leaf.signed_by(&key, &ca)?;

        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = CertifiedKey::from_der(vec![certificate.der().clone()], private, &provider()).map_err(
            |error| CertError::Unfit { path: "development certificate".into(), problem: error.to_string() },
        )?;
        Ok(Self { key, ca_pem: ca.pem(), not_after: leaf.not_after.unix_timestamp() })
    }

    /// Writes `ca.crt` into `folder`, which is made if absent.
    ///
    /// # Errors
    /// When the folder or the file cannot be written.
    pub fn write_ca(&self, folder: &Path) -> Result<(), CertError> {
        let path = folder.join("ca.crt");
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, &self.ca_pem))
            .map_err(|error| CertError::Io { path: path.display().to_string(), error })
    }
}

/// rcgen's own defaults are valid from 1975 to 4096, carry no authority key id and a serial made of the key.
fn params(names: Vec<String>, common_name: &str, life: Duration) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
    params.not_after = OffsetDateTime::now_utc() + life;
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(random_serial());
    Ok(params)
}

/// 127 random bits: a serial number is positive and at most 20 bytes (RFC 5280).
fn random_serial() -> SerialNumber {
    let mut bytes = [0; 16];
    // A failing random generator would already have failed the key.
    let _ = provider().secure_random.fill(&mut bytes);
    bytes[0] &= 0x7f;
    SerialNumber::from_slice(&bytes)
}
