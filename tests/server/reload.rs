//! Policies and certificates that change while it runs, as the kubelet changes them.

use std::time::Duration;

use hyper::StatusCode;
use rustls::version::TLS13;

use crate::{
    client::{Http1, Target, get, hostile_pod, metric, plain_pod, post, review},
    pki::{Ca, Leaf},
    process::{Mount, Server, until},
};

/// A server with the leaf in a mounted folder.
fn serve_files(leaf: &Leaf) -> (Server, Mount) {
    let folder = tempfile::tempdir().unwrap();
    let mount = Mount::new(&folder.path().join("certs"), &leaf.files());
    let path = mount.path.to_str().unwrap().to_string();
    (Server::start_in(folder, &["--certs", "files", "--cert-dir", &path]), mount)
}

/// The serial number of the certificate that a new connection gets, and how long its chain is.
async fn served(target: &Target) -> (u64, usize) {
    let stream = target.connect_as(&[&TLS13], &["http/1.1"]).await.unwrap();
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    let (_, leaf) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
    (leaf.serial.to_string().parse().unwrap(), chain.len())
}

#[tokio::test]
async fn each_rotation_is_served_and_closes_no_connection() {
    let ca = Ca::new();
    let (server, mut mount) = serve_files(&ca.leaf(1));
    let target = Target::with_ca(&server, &ca.pem());
    let mut kept = Http1::over(target.connect().await).await;
    kept.send(post("/mutate", "no")).await;
    assert_eq!(served(&target).await, (1, 1));

    // The second one is what a watch on the file would miss.
    for serial in 2..=3 {
        mount.swap(&ca.leaf(serial).files());
        until("the new certificate is served", async || served(&target).await.0 == serial).await;
    }
    assert_eq!(metric(&server, r#"sandgate_certificate_reloads_total{result="ok"}"#).await, 2);
    assert_eq!(metric(&server, r#"sandgate_certificate_reloads_total{result="failed"}"#).await, 0);
    assert_eq!(kept.send(post("/mutate", "no")).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_chain_is_served_whole() {
    let ca = Ca::new();
    let (server, _mount) = serve_files(&ca.leaf_with_chain(7));
    assert_eq!(served(&Target::with_ca(&server, &ca.pem())).await, (7, 2));
}

#[tokio::test]
async fn a_certificate_that_does_not_match_keeps_the_old_one_until_it_is_fixed() {
    let ca = Ca::new();
    let (server, mut mount) = serve_files(&ca.leaf(1));
    let target = Target::with_ca(&server, &ca.pem());
    let (next, other) = (ca.leaf(2), ca.leaf(3));
    mount.swap(&[("tls.crt", &next.certificate), ("tls.key", &other.key)]);
    server.logged("does not fit");
    assert_eq!(served(&target).await.0, 1);
    assert_eq!(metric(&server, r#"sandgate_certificate_reloads_total{result="failed"}"#).await, 1);
    assert_eq!(metric(&server, "sandgate_certificate_stale").await, 1);
    assert_eq!(get(server.admin, "/readyz").await.status, StatusCode::OK);

    // Reported once, however often it is read.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(server.logs().matches("does not fit").count(), 1, "{}", server.logs());

    mount.swap(&next.files());
    until("the new certificate is served", async || served(&target).await.0 == 2).await;
    assert_eq!(metric(&server, "sandgate_certificate_stale").await, 0);
}

#[tokio::test]
async fn certificate_files_that_are_written_in_place_are_noticed_too() {
    let ca = Ca::new();
    let folder = tempfile::tempdir().unwrap();
    let write = |leaf: &Leaf| {
        for (name, text) in leaf.files() {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
    };
    write(&ca.leaf(1));
    let path = folder.path().to_str().unwrap().to_string();
    let server = Server::start_in(tempfile::tempdir().unwrap(), &["--certs", "files", "--cert-dir", &path]);
    let target = Target::with_ca(&server, &ca.pem());
    write(&ca.leaf(2));
    until("the new certificate is served", async || served(&target).await.0 == 2).await;
}

fn policy(mode: &str) -> String {
    format!(
        "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {{name: workflow-runner}}\n\
         spec: {{namespaces: [workflows], mode: {mode}}}\n"
    )
}

/// A server with the policy in a mounted folder.
fn serve_policy(text: &str) -> (Server, Mount) {
    let folder = tempfile::tempdir().unwrap();
    let mount = Mount::new(&folder.path().join("policy"), &[("policy.yaml", text)]);
    let (path, certs) =
        (mount.path.to_str().unwrap().to_string(), folder.path().to_str().unwrap().to_string());
    (Server::start_in(folder, &["--policy", &path, "--certs", "dev", "--cert-dir", &certs]), mount)
}

async fn is_denied(target: &Target) -> bool {
    let answer = target.post("/mutate", review("CREATE", &hostile_pod())).await;
    assert_eq!(answer.status, StatusCode::OK);
    answer.json()["response"]["allowed"] == false
}

#[tokio::test]
async fn each_new_policy_holds_and_a_bad_one_keeps_the_last_good() {
    let (server, mut mount) = serve_policy(&policy("enforce"));
    let target = Target::of(&server);
    assert!(is_denied(&target).await);

    mount.swap(&[("policy.yaml", &policy("audit"))]);
    until("the new policy holds", async || !is_denied(&target).await).await;
    mount.swap(&[("policy.yaml", &policy("enforce"))]);
    until("the next one holds", async || is_denied(&target).await).await;
    assert_eq!(metric(&server, r#"sandgate_policy_reloads_total{result="ok"}"#).await, 2);

    mount.swap(&[("policy.yaml", "spec: {colour: red}\n")]);
    server.logged("last good");
    assert!(is_denied(&target).await);
    assert_eq!(metric(&server, r#"sandgate_policy_reloads_total{result="failed"}"#).await, 1);
    assert_eq!(metric(&server, "sandgate_policy_stale").await, 1);
    assert_eq!(get(server.admin, "/readyz").await.status, StatusCode::OK);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(server.logs().matches("last good").count(), 1, "{}", server.logs());

    // Back to what holds anyhow: nothing to reload, and nothing stale any more.
    mount.swap(&[("policy.yaml", &policy("enforce"))]);
    until("nothing is stale", async || metric(&server, "sandgate_policy_stale").await == 0).await;
    assert!(is_denied(&target).await);
}

#[tokio::test]
async fn a_policy_that_vanishes_keeps_the_last_good() {
    let (server, mut mount) = serve_policy(&policy("enforce"));
    mount.swap(&[]);
    server.logged("last good");
    assert!(is_denied(&Target::of(&server)).await);
    let answer = Target::of(&server).post("/mutate", review("CREATE", &plain_pod())).await;
    assert_eq!(answer.json()["response"]["allowed"], true);
}
