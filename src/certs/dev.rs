//! A certificate for one process on one machine: made in memory, never for production.

use std::{fs, path::Path};

use rustls::sign::CertifiedKey;

use super::{
    CertError,
    mint::{self, Validity},
    now,
};

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
        const DAY: i64 = 24 * 3600;
        let now = now();
        let authority =
            mint::authority("sandgate development CA", Validity { now, not_after: now + 365 * DAY })?;
        let not_after = now + 7 * DAY;
        let key = mint::leaf(names, &authority, Validity { now, not_after })?;
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
            .map_err(|error| CertError::Io { path: path.display().to_string(), error })
    }
}
