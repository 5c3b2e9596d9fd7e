//! Other people's webhooks, in this process.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{Router, body::Bytes, routing::post};
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// A mutating webhook that adds a container to each pod that lacks it. It lives as long as the test's runtime.
pub(crate) struct Injector {
    pub(crate) url: String,
    pub(crate) ca: String,
}

impl Injector {
    /// Starts one that injects `container`.
    pub(crate) async fn start(container: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let (config, ca) = certificate();
        let listener = TlsListener { listener, acceptor: TlsAcceptor::from(Arc::new(config)) };
        let router =
            Router::new().route("/", post(async move |body: Bytes| inject(&container, &body).to_string()));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url: format!("https://127.0.0.1:{port}/"), ca }
    }
}

fn inject(container: &Value, review: &[u8]) -> Value {
    let review: Value = serde_json::from_slice(review).expect("the API server sends JSON");
    let request = &review["request"];
    let mut response = json!({"uid": request["uid"], "allowed": true});
    let present = request["object"]["spec"]["containers"].as_array().into_iter().flatten();
    let is_new = present.into_iter().all(|other| other["name"] != container["name"]);
    if request["operation"] == "CREATE" && is_new {
        let patch = json!([{"op": "add", "path": "/spec/containers/-", "value": container}]);
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(STANDARD.encode(patch.to_string()));
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

/// A certificate for 127.0.0.1, and the CA that signed it, in PEM.
fn certificate() -> (ServerConfig, String) {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().expect("a key")).expect("a CA");
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address");
    let leaf = leaf.signed_by(&key, &ca).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks them")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("key and certificate fit");
    (config, ca.pem())
}

struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
