//! Other people's webhooks, in this process.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

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

use crate::{examples::plain_pod, sandbox::Sandbox};
use testbed::{Reinvocation, Webhook, WebhookKind, eventually};

/// What a webhook does to a pod.
type Edit = Arc<dyn Fn(&mut Value) + Send + Sync>;

/// A mutating webhook that edits each pod that is sent to it, every time it is asked. It lives as long as the test's
/// runtime.
pub(crate) struct Injector {
    url: String,
    ca: String,
    state: Arc<State>,
}

/// What the test and the webhook share.
struct State {
    operation: &'static str,
    edit: Mutex<Edit>,
    calls: AtomicUsize,
}

impl Injector {
    /// Starts one that will edit pods in this operation, CREATE or UPDATE, and that changes nothing so far.
    pub(crate) async fn start(operation: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let (config, ca) = certificate();
        let listener = TlsListener { listener, acceptor: TlsAcceptor::from(Arc::new(config)) };
        let edit: Mutex<Edit> = Mutex::new(Arc::new(|_: &mut Value| {}));
        let state = Arc::new(State { operation, edit, calls: AtomicUsize::new(0) });
        let shared = Arc::clone(&state);
        let router =
            Router::new().route("/", post(async move |body: Bytes| shared.answer(&body).to_string()));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url: format!("https://127.0.0.1:{port}/"), ca, state }
    }

    /// From now on it makes this edit.
    pub(crate) fn will(&self, edit: impl Fn(&mut Value) + Send + Sync + 'static) {
        *self.state.edit.lock().expect("no edit panics") = Arc::new(edit);
    }

    /// Makes it known to the API server, in the namespace of `sandbox`, before or after sandgate, and waits until it is
    /// asked.
    pub(crate) async fn register(&self, sandbox: &Sandbox, place: Place, reinvocation: Reinvocation) {
        let configuration = format!("{}-injector-{}", place.prefix(), sandbox.namespace);
        let namespaces = [sandbox.namespace.clone()];
        let webhook = Webhook {
            kind: WebhookKind::Mutating,
            configuration: &configuration,
            name: "sidecar.example.com",
            url: &self.url,
            ca: &self.ca,
            namespaces: &namespaces,
            reinvocation,
        };
        webhook.register(&sandbox.rest).await.expect("it is registered");
        eventually("the API server asks the injector", async || {
            let _ = sandbox.rest.post(&sandbox.pods_path("?dryRun=All"), &plain_pod("try")).await;
            Ok((self.calls() > 0).then_some(()))
        })
        .await
        .expect("it is asked");
    }

    /// How often it was asked so far.
    pub(crate) fn calls(&self) -> usize {
        self.state.calls.load(Ordering::SeqCst)
    }
}

/// Mutating webhooks are called in the order of their configurations' names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    BeforeSandgate,
    AfterSandgate,
}

impl Place {
    fn prefix(self) -> &'static str {
        match self {
            Self::BeforeSandgate => "aa",
            Self::AfterSandgate => "zz",
        }
    }
}

impl State {
    fn answer(&self, review: &[u8]) -> Value {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let review: Value = serde_json::from_slice(review).expect("the API server sends JSON");
        let request = &review["request"];
        let mut response = json!({"uid": request["uid"], "allowed": true});
        if request["operation"] == self.operation {
            let edit = Arc::clone(&self.edit.lock().expect("no edit panics"));
            let mut pod = request["object"].clone();
            edit(&mut pod);
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(STANDARD.encode(patch(&request["object"], &pod).to_string()));
        }
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
    }
}

/// Exchanges what differs, as a whole.
fn patch(before: &Value, after: &Value) -> Value {
    let changed = ["metadata", "spec"].into_iter().filter(|key| before[key] != after[key]);
    changed.map(|key| json!({"op": "replace", "path": format!("/{key}"), "value": after[key]})).collect()
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
