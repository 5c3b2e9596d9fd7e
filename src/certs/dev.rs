//! Certificates for development: for one process in memory, or as files. Never for production.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use jiff::{SignedDuration, Timestamp};
use rustls::sign::CertifiedKey;

use super::{
    CertError,
    issue::{self, Validity},
    now, shifted,
};

/// How long a development CA is valid.
const CA_LIFETIME: SignedDuration = SignedDuration::from_hours(365 * 24);

/// How long the certificate of one process is valid.
const LEAF_LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A leaf and the CA that signed it.
#[derive(Debug)]
pub struct DevCertificate {
    /// What is served.
    pub key: CertifiedKey,
    /// The CA in PEM, for `caBundle` and `curl --cacert`.
    pub ca_pem: String,
    /// The time when the leaf expires.
    pub not_after: Timestamp,
}

impl DevCertificate {
    /// Makes a CA and a leaf for `names`, DNS names or addresses.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn new(names: &[String]) -> Result<Self, CertError> {
        let now = now();
        let authority = issue::authority(
            "sandgate development CA",
            Validity { now, not_after: shifted(now, CA_LIFETIME) },
        )?;
        let not_after = shifted(now, LEAF_LIFETIME);
        let key = issue::leaf(names, &authority, Validity { now, not_after })?;
        Ok(Self { key, ca_pem: authority.certificate, not_after })
    }

    /// Writes `ca.crt` into `folder`, which is made if absent.
    ///
    /// # Errors
    /// When the folder or the file cannot be written.
    pub fn write_ca(&self, folder: &Path) -> Result<(), CertError> {
        let path = folder.join("ca.crt");
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, &self.ca_pem))
            .map_err(|source| CertError::Io { path: path.display().to_string(), source })
    }
}

/// Writes a new CA and a leaf for `names` that is valid for `lifetime` into `folder`, which is made if absent:
/// `ca.crt`, `tls.crt` and `tls.key`, of which only the owner may read the key. The CA's key is not kept.
///
/// # Errors
/// When a name cannot stand in a certificate, or the folder or a file cannot be written.
pub fn write_files(folder: &Path, names: &[String], lifetime: SignedDuration) -> Result<(), CertError> {
    let now = now();
    let not_after = shifted(now, lifetime.min(CA_LIFETIME));
    let authority =
        issue::authority("sandgate development CA", Validity { now, not_after: shifted(now, CA_LIFETIME) })?;
    let leaf = issue::leaf_pem(names, &authority, Validity { now, not_after })?;
    let failed = |path: &Path, source| CertError::Io { path: path.display().to_string(), source };
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let files = [
        ("ca.crt", authority.certificate, 0o644),
        ("tls.crt", leaf.certificate, 0o644),
        ("tls.key", leaf.key, 0o600),
    ];
    for (name, content, mode) in files {
        let path = folder.join(name);
        write(&path, content.as_bytes(), mode).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// Replaces a file whole, so that no reader sees half of it, or the mode of an older file.
fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&unfinished)?;
    file.write_all(content)?;
    fs::rename(unfinished, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::certs;

    #[test]
    fn what_is_written_is_what_files_mode_loads_and_the_key_is_the_owners() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("certs");
        let names = ["localhost".to_string(), "127.0.0.1".to_string()];
        for _ in 0..2 {
            write_files(&folder, &names, SignedDuration::from_hours(90 * 24)).unwrap();
            let loaded = certs::load(&folder, &certs::read(&folder).unwrap(), &names, now()).unwrap();
            assert_eq!(loaded.names, names);
            let mode = fs::metadata(folder.join("tls.key")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
    }

    #[test]
    fn a_name_that_no_certificate_can_hold_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("certs");
        assert!(write_files(&folder, &["kö".to_string()], LEAF_LIFETIME).is_err());
        assert!(!folder.exists());
    }
}
