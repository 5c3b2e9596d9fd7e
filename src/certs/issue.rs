//! Certificates are made here and nowhere else.
//!
//! rcgen's own defaults are valid from 1975 to 4096, carry no authority key id and a serial made of the key.

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use rustls::{
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use time::OffsetDateTime;

use super::{CertError, provider, shifted};

/// How far back a certificate is valid: a peer's clock may be behind.
pub const BACKDATED: SignedDuration = SignedDuration::from_hours(1);

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Pem {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// From when to when a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Now, to the one who makes it.
    pub now: Timestamp,
    /// Its end.
    pub not_after: Timestamp,
}

/// Makes a CA that signs leaves and no other CA.
///
/// # Errors
/// When the random generator fails, or the times cannot stand in a certificate.
pub fn authority(common_name: &str, validity: Validity) -> Result<Pem, CertError> {
    let mut params = params(Vec::new(), common_name, validity)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)?;
    Ok(Pem { certificate: authority.pem(), key: authority.key().serialize_pem() })
}

/// Makes a server's certificate for `names`, DNS names or addresses, signed by `authority`.
///
/// # Errors
/// When a name cannot stand in a certificate, or `authority` is none.
pub fn leaf(names: &[String], authority: &Pem, validity: Validity) -> Result<CertifiedKey, CertError> {
    let (certificate, key) = sign(names, authority, validity)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    CertifiedKey::from_der(vec![certificate.der().clone()], private, &provider())
        .map_err(|error| CertError::Unfit { path: "the new certificate".into(), problem: error.to_string() })
}

/// Makes a server's certificate as [`leaf`] does, in PEM.
///
/// # Errors
/// When a name cannot stand in a certificate, or `authority` is none.
pub fn leaf_pem(names: &[String], authority: &Pem, validity: Validity) -> Result<Pem, CertError> {
    let (certificate, key) = sign(names, authority, validity)?;
    Ok(Pem { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Checks that a certificate can hold for these names, without making one.
///
/// # Errors
/// When a name cannot stand in a certificate.
pub fn check_names(names: &[String]) -> Result<(), CertError> {
    CertificateParams::new(names.to_vec()).map(drop).map_err(CertError::from)
}

fn sign(names: &[String], authority: &Pem, validity: Validity) -> Result<(Certificate, KeyPair), CertError> {
    let mut params = params(names.to_vec(), "sandgate", validity)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    Ok((params.signed_by(&key, &issuer)?, key))
}

fn params(
    names: Vec<String>,
    common_name: &str,
    Validity { now, not_after }: Validity,
) -> Result<CertificateParams, CertError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = moment(shifted(now, -BACKDATED))?;
    params.not_after = moment(not_after)?;
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(random_serial());
    Ok(params)
}

fn moment(time: Timestamp) -> Result<OffsetDateTime, CertError> {
    OffsetDateTime::from_unix_timestamp(time.as_second())
        .map_err(|error| CertError::Unfit { path: "the new certificate".into(), problem: error.to_string() })
}

/// 127 random bits: a serial number is positive and at most 20 bytes (RFC 5280).
fn random_serial() -> SerialNumber {
    let mut bytes = [0; 16];
    // A failing random generator would already have failed the key.
    let _ = provider().secure_random.fill(&mut bytes);
    bytes[0] &= 0x7f;
    SerialNumber::from_slice(&bytes)
}
