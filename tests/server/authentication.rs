//! Client certificates and bearer tokens of API servers.

use std::time::{Duration, SystemTime};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hyper::{StatusCode, header::AUTHORIZATION};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use serde_json::json;

use crate::{
    client::{Http1, Target, hostile_pod, metric, plain_pod, post, review},
    pki::Ca,
    process::{Server, until},
};

const AUDIENCE: &str = "https://sandgate.sandgate-system.svc:443/mutate";

#[tokio::test]
async fn only_clients_with_a_certificate_of_the_ca_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, other) = (Ca::new(), Ca::new());
    let file = folder.path().join("client-ca.crt");
    std::fs::write(&file, ca.pem()).unwrap();
    let server = Server::start(&["--client-ca", file.to_str().unwrap()]);
    let target = Target::of(&server);

    let leaf = ca.leaf(1);
    let stream = target.connect_with(&leaf.certificate, &leaf.key).await.unwrap();
    let answer = Http1::over(stream).await.send(post("/mutate", review("CREATE", &plain_pod()))).await;
    assert_eq!(answer.status, StatusCode::OK);

    let failures = async || metric(&server, "sandgate_tls_handshake_failures_total").await;
    // In TLS 1.3 the client learns of it with its first read.
    let _ = target.connect_as(crate::client::BOTH_TLS, &["http/1.1"]).await;
    until("no certificate is a failure", async || failures().await == 1).await;
    let untrusted = other.leaf(1);
    let _ = target.connect_with(&untrusted.certificate, &untrusted.key).await;
    until("a certificate of another CA is a failure", async || failures().await == 2).await;

    // The new CA takes the place of the old one.
    std::fs::write(&file, other.pem()).unwrap();
    server.logged("Client CA reloaded");
    let stream = target.connect_with(&untrusted.certificate, &untrusted.key).await.unwrap();
    let answer = Http1::over(stream).await.send(post("/mutate", review("CREATE", &plain_pod()))).await;
    assert_eq!(answer.status, StatusCode::OK);
    let before = failures().await;
    let _ = target.connect_with(&leaf.certificate, &leaf.key).await;
    until("the old CA is of no use", async || failures().await > before).await;
}

#[tokio::test]
async fn a_client_certificate_must_have_one_of_the_names() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new();
    let file = folder.path().join("client-ca.crt");
    std::fs::write(&file, ca.pem()).unwrap();
    let leaf = ca.leaf(1);
    for (name, is_served) in [("test leaf", true), ("localhost", true), ("kube-apiserver", false)] {
        let server = Server::start(&["--client-ca", file.to_str().unwrap(), "--client-name", name]);
        let _ = Target::of(&server).connect_with(&leaf.certificate, &leaf.key).await;
        let counted =
            if is_served { "sandgate_tls_handshakes_total" } else { "sandgate_tls_handshake_failures_total" };
        until(name, async || metric(&server, counted).await == 1).await;
    }
}

#[test]
fn a_client_ca_that_cannot_be_used_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("client-ca.crt");
    for (content, reason) in [(None, "cannot read client CA"), (Some("hello"), "holds no certificate")] {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let mut command = crate::process::command(&["--certs", "dev", "--client-ca", file.to_str().unwrap()]);
        let output = command.output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(reason), "{message}");
    }
}

/// An API server's key, and its public part as a key set.
struct Signer {
    key: KeyPair,
}

impl Signer {
    fn new() -> Self {
        Self { key: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap() }
    }

    fn jwks(&self) -> String {
        // An uncompressed point: 4, x, y.
        let point = self.key.der_bytes();
        let part = |range| URL_SAFE_NO_PAD.encode(&point[range]);
        json!({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "one",
            "x": part(1..33), "y": part(33..65)}]})
        .to_string()
    }

    fn token(&self, change: impl FnOnce(&mut serde_json::Value)) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let mut claims = json!({
            "iss": "https://kubernetes.default.svc", "aud": [AUDIENCE],
            "sub": "system:serviceaccount:kube-system:webhook-auth",
            "exp": (now + Duration::from_mins(10)).as_secs(), "nbf": now.as_secs(),
            "kubernetes.io": {"attestationClaims": {"webhook-authentication.k8s.io/allowedAPIGroup": [""]}},
        });
        change(&mut claims);
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("one".into());
        encode(&header, &claims, &EncodingKey::from_ec_der(&self.key.serialize_der())).unwrap()
    }
}

#[tokio::test]
async fn only_reviews_with_a_token_of_an_api_server_are_believed() {
    let folder = tempfile::tempdir().unwrap();
    let (signer, other) = (Signer::new(), Signer::new());
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, signer.jwks()).unwrap();
    let server = Server::start(&["--token-jwks", file.to_str().unwrap(), "--token-audience", AUDIENCE]);
    let target = Target::of(&server);
    let send = async |token: Option<String>| {
        let mut request = post("/validate", review("CREATE", &hostile_pod()));
        if let Some(token) = token {
            request.headers_mut().insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        }
        let answer = target.send(request).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.json()["response"]["allowed"], false);
        metric(&server, "sandgate_unverified_reviews_total").await
    };
    assert_eq!(send(Some(signer.token(|_| {}))).await, 0);
    let unproven = [
        None,
        Some("nonsense".into()),
        Some(other.token(|_| {})),
        Some(signer.token(|claims| claims["aud"] = json!(["https://other.svc"]))),
        Some(signer.token(|claims| claims["exp"] = json!(1_000_000))),
        Some(signer.token(|claims| claims["nbf"] = json!(4_000_000_000_u64))),
        // A token of the audience that any Pod can get.
        Some(signer.token(|claims| claims["kubernetes.io"] = json!({"namespace": "workflows"}))),
        Some(signer.token(|claims| {
            claims["kubernetes.io"]["attestationClaims"]["webhook-authentication.k8s.io/allowedAPIGroup"] =
                json!(["apps"]);
        })),
    ];
    for (index, token) in unproven.into_iter().enumerate() {
        assert_eq!(send(token).await, index as u64 + 1);
    }
    let counted = r#"sandgate_violations_total{rule="host-namespaces"}"#;
    assert_eq!(metric(&server, counted).await, 1, "of the one that is believed");

    std::fs::write(&file, other.jwks()).unwrap();
    server.logged("Token keys reloaded");
    assert_eq!(send(Some(other.token(|_| {}))).await, 8);
    assert_eq!(send(Some(signer.token(|_| {}))).await, 9);
}
