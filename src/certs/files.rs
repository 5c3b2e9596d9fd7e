//! A certificate from files: `tls.crt` (a chain is welcome) and `tls.key`, as in a mounted Secret.

use std::{fs, path::Path};

use jiff::Timestamp;
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{CertError, describe_pem_error, provider, timestamp};

/// The bytes of the two files.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A certificate that is fit to be served.
#[derive(Debug)]
pub struct Loaded {
    /// What is served.
    pub key: CertifiedKey,
    /// The time when it expires.
    pub not_after: Timestamp,
    /// The names it holds for.
    pub names: Vec<String>,
}

/// Reads `tls.crt` and `tls.key` of `folder`.
///
/// # Errors
/// When one cannot be read.
pub fn read(folder: &Path) -> Result<Pair, CertError> {
    let file = |name| {
        let path = folder.join(name);
        fs::read(&path).map_err(|source| CertError::Io { path: path.display().to_string(), source })
    };
    Ok((file("tls.crt")?, file("tls.key")?))
}

/// Makes a servable certificate of the two files' bytes. `wanted` are names that the certificate must hold for at
/// `now`.
///
/// # Errors
/// When they do not belong together, are expired or not yet valid, or hold for no or the wrong name.
pub fn load(
    folder: &Path,
    (chain, key): &Pair,
    wanted: &[String],
    now: Timestamp,
) -> Result<Loaded, CertError> {
    let unfit = |file: &str, problem: String| CertError::Unfit {
        path: folder.join(file).display().to_string(),
        problem,
    };
    let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
    let chain = chain
        .map_err(|error| unfit("tls.crt", format!("no PEM certificates: {}", describe_pem_error(&error))))?;
    let leaf = chain.first().ok_or_else(|| unfit("tls.crt", "has no certificate in it".into()))?;
    let (not_after, names) = inspect(leaf, wanted, now).map_err(|problem| unfit("tls.crt", problem))?;
    let key = PrivateKeyDer::from_pem_slice(key);
    let key = key.map_err(|error| {
        unfit("tls.key", format!("no private key in PEM: {}", describe_pem_error(&error)))
    })?;
    let key = CertifiedKey::from_der(chain, key, &provider())
        .map_err(|error| unfit("tls.key", format!("does not fit tls.crt: {error}")))?;
    Ok(Loaded { key, not_after, names })
}

pub(super) fn inspect(
    leaf: &CertificateDer,
    wanted: &[String],
    now: Timestamp,
) -> Result<(Timestamp, Vec<String>), String> {
    let (_, leaf) =
        X509Certificate::from_der(leaf).map_err(|error| format!("no X.509 certificate: {error}"))?;
    let validity = leaf.validity();
    let not_after = timestamp(validity.not_after.timestamp());
    if not_after <= now {
        return Err(format!("expired on {}", validity.not_after));
    }
    if timestamp(validity.not_before.timestamp()) > now {
        return Err(format!("not valid before {}", validity.not_before));
    }
    let names: Vec<String> = match leaf.subject_alternative_name() {
        Ok(Some(extension)) => extension.value.general_names.iter().filter_map(name).collect(),
        _ => Vec::new(),
    };
    if names.is_empty() {
        return Err("has no subject alternative name; the API server looks at nothing else".into());
    }
    if let Some(wanted) = wanted.iter().find(|wanted| !names.iter().any(|name| covers(name, wanted))) {
        return Err(format!("holds for {}, not for {wanted}", names.join(", ")));
    }
    Ok((not_after, names))
}

fn name(general: &GeneralName) -> Option<String> {
    match general {
        GeneralName::DNSName(name) => Some((*name).to_string()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => Some(<[u8; 4]>::try_from(*bytes).map(std::net::Ipv4Addr::from).ok()?.to_string()),
            16 => Some(<[u8; 16]>::try_from(*bytes).map(std::net::Ipv6Addr::from).ok()?.to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a certificate's name, perhaps with `*` for its first label, covers `wanted`.
fn covers(name: &str, wanted: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => wanted.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => name.eq_ignore_ascii_case(wanted),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn pair(names: &[&str], years: (i32, i32)) -> Pair {
        let mut params =
            CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem().into_bytes(), key.serialize_pem().into_bytes())
    }

    fn loaded(pair: &Pair, wanted: &[&str]) -> Result<Loaded, CertError> {
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        load(Path::new("certs"), pair, &wanted, Timestamp::constant(1_800_000_000, 0))
    }

    fn problem(pair: &Pair, wanted: &[&str]) -> String {
        loaded(pair, wanted).unwrap_err().to_string()
    }

    #[test]
    fn a_fitting_pair_is_loaded_with_its_names() {
        let wanted = ["a.b.svc", "127.0.0.1"];
        let loaded = loaded(&pair(&wanted, (2026, 2036)), &wanted).unwrap();
        assert_eq!(loaded.names, ["a.b.svc", "127.0.0.1"]);
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        assert!(loaded(&pair(&["*.b.svc"], (2026, 2036)), &["a.b.svc"]).is_ok());
        assert!(problem(&pair(&["*.b.svc"], (2026, 2036)), &["x.a.b.svc"]).contains("not for x.a.b.svc"));
    }

    #[test]
    fn a_chain_is_served_whole() {
        let (mut chain, key) = pair(&["a"], (2026, 2036));
        chain.extend(pair(&["ca"], (2026, 2036)).0);
        assert_eq!(loaded(&(chain, key), &[]).unwrap().key.cert.len(), 2);
    }

    #[test]
    fn an_unfit_pair_is_rejected_with_the_reason() {
        let good = pair(&["a"], (2026, 2036));
        let other = pair(&["a"], (2026, 2036));
        assert!(problem(&(good.0.clone(), other.1), &[]).contains("tls.key: does not fit tls.crt"));
        assert!(problem(&pair(&["a"], (2020, 2025)), &[]).contains("tls.crt: expired on"));
        assert!(problem(&pair(&["a"], (2035, 2036)), &[]).contains("tls.crt: not valid before"));
        assert!(problem(&pair(&[], (2026, 2036)), &[]).contains("no subject alternative name"));
        assert!(problem(&pair(&["a"], (2026, 2036)), &["a", "b"]).contains("holds for a, not for b"));
        assert!(problem(&(b"hello".to_vec(), good.1), &[]).contains("no certificate"));
        assert!(problem(&(good.0, b"hello".to_vec()), &[]).contains("tls.key: no private key"));
    }
}
