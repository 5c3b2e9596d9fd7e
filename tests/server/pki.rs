//! Certificates of a test's own.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// A CA that signs leaves.
pub struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A leaf in PEM.
pub struct Leaf {
    pub certificate: String,
    pub key: String,
}

impl Leaf {
    pub fn files(&self) -> [(&str, &str); 2] {
        [("tls.crt", &self.certificate), ("tls.key", &self.key)]
    }
}

impl Ca {
    pub fn new() -> Self {
        Self(CertifiedIssuer::self_signed(ca_params("test CA"), KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn leaf(&self, serial: u64) -> Leaf {
        sign(&self.0, serial)
    }

    /// A leaf with the intermediate that signed it.
    pub fn leaf_with_chain(&self, serial: u64) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let intermediate = CertifiedIssuer::signed_by(ca_params("test intermediate"), key, &self.0).unwrap();
        let mut leaf = sign(&intermediate, serial);
        leaf.certificate.push_str(&intermediate.pem());
        leaf
    }
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn sign(issuer: &CertifiedIssuer<'static, KeyPair>, serial: u64) -> Leaf {
    let mut params = CertificateParams::new(["localhost".to_string(), "127.0.0.1".to_string()]).unwrap();
    params.serial_number = Some(serial.into());
    params.distinguished_name.push(rcgen::DnType::CommonName, "test leaf");
    let key = KeyPair::generate().unwrap();
    Leaf { certificate: params.signed_by(&key, issuer).unwrap().pem(), key: key.serialize_pem() }
}
