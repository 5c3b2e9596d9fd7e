//! Manifest-based admission: the files that `sandgate backstop render --static` writes, in front of a real API server.

use std::{fs, path::Path};

use assert_cmd::Command;
use serde_json::{Value, json};

use super::{BINDINGS, POLICIES, REGISTRATION, Release, make_namespace};
use crate::examples::{complete_pod, plain_pod};
use testbed::{ApiServer, Process, Rest, Version, eventually, free_port, plain_http, program};

const NAMESPACE: &str = "workflows";

/// Starts an API server that reads the files of `folder`.
async fn apiserver(folder: &Path) -> ApiServer {
    let flags = vec![
        "--feature-gates=ManifestBasedAdmissionControlConfig=true".to_owned(),
        format!("--admission-control-config-file={}", folder.join("admission.yaml").display()),
    ];
    let version = Version::chosen().expect("a version");
    ApiServer::start_flagged(version, flags).await.expect("it takes the files")
}

fn pods() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/pods")
}

fn render(release: &Release, folder: &Path, more: &[&str]) -> (i32, String) {
    let folder = folder.display().to_string();
    release.command(&[&["render", "--static", &folder], more].concat())
}

/// A static object has no copy in etcd, so there is nothing to delete.
async fn assert_out_of_reach(rest: &Rest, plural: &str, name: &str) {
    let path = format!("{REGISTRATION}/{plural}");
    let list = rest.get(&path).await.expect("a list");
    assert_eq!(list["items"], json!([]), "{plural}");
    let denial = rest.delete(&format!("{path}/{name}")).await.expect_err("it is not there");
    assert_eq!(denial.code, 404, "{denial}");
}

#[tokio::test]
#[cfg_attr(before_kubernetes = "1.36", ignore = "needs Kubernetes 1.36: manifest-based admission")]
async fn static_policy_denies_from_the_first_request_follows_its_file_and_cannot_be_deleted() {
    let folder = tempfile::tempdir().expect("a folder");
    let release = Release::of(NAMESPACE, &json!({}));
    let (status, text) = render(&release, folder.path(), &[]);
    assert_eq!(status, 0, "{text}");
    let bed = apiserver(folder.path()).await;
    let rest = bed.rest().await.expect("a client");
    make_namespace(&rest, NAMESPACE).await;

    // The first Pod that this API server is asked for.
    let denial = rest.post(&pods(), &plain_pod("first")).await.expect_err("it is denied");
    assert!(denial.message.contains("(backstop)"), "{denial}");
    rest.post(&pods(), &complete_pod("complete")).await.expect("a complete Pod is stored");

    let name = format!("sandgate-{NAMESPACE}.static.k8s.io");
    for plural in [POLICIES, BINDINGS] {
        assert_out_of_reach(&rest, plural, &name).await;
    }
    // Nothing of this name can be written over it.
    let weaker = json!({
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Audit"]},
    });
    let denial = rest.post(&format!("{REGISTRATION}/{BINDINGS}"), &weaker).await.expect_err("it is reserved");
    assert!(denial.message.contains("static.k8s.io"), "{denial}");

    // A file that cannot be read leaves the old policy in force.
    let file = folder.path().join("policies/sandgate.yaml");
    fs::write(&file, "kind: [").expect("it is written");
    eventually("the API server has noticed the broken file", async || {
        let metrics = rest.text("/metrics").await?;
        let is_failure = |line: &str| {
            line.starts_with("apiserver_manifest_admission_config_controller_automatic_reloads_total{")
                && line.contains("status=\"failure\"")
        };
        Ok(metrics.lines().any(is_failure).then_some(()))
    })
    .await
    .expect("it counts a failure");
    rest.post(&pods(), &plain_pod("second")).await.expect_err("it is still denied");

    // The next policy is in force without a restart.
    release.write(&json!({"images": {"requireDigest": true}}));
    let (status, text) = render(&release, folder.path(), &[]);
    assert_eq!(status, 0, "{text}");
    eventually("the new policy is in force", async || {
        let answer = rest.post(&format!("{}?dryRun=All", pods()), &complete_pod("digest")).await;
        Ok(answer.err().filter(|denial| denial.message.contains("images: ")).map(drop))
    })
    .await
    .expect("an image without a digest is denied");
}

#[tokio::test]
#[cfg_attr(before_kubernetes = "1.36", ignore = "needs Kubernetes 1.36: manifest-based admission")]
async fn static_webhooks_of_a_replica_on_the_same_node_fill_without_a_configuration_that_can_be_deleted() {
    let folder = tempfile::tempdir().expect("a folder");
    let release = Release::of(NAMESPACE, &json!({}));
    let certs = folder.path().join("certs").display().to_string();
    let mut command = Command::new(program().expect("it is built"));
    command.env_clear().args(["certs", "dev", "--out", &certs]).assert().success();
    let (port, admin) = (free_port(), free_port());
    let (url, ca) = (format!("https://127.0.0.1:{port}"), format!("{certs}/ca.crt"));
    let (status, text) = render(&release, folder.path(), &["--webhook-url", &url, "--webhook-ca", &ca]);
    assert_eq!(status, 0, "{text}");
    let mut replica = serve(&release, &certs, port, admin);
    let bed = apiserver(folder.path()).await;
    let rest = bed.rest().await.expect("a client");
    make_namespace(&rest, NAMESPACE).await;
    eventually("the replica is ready", async || {
        replica.check()?;
        Ok(plain_http::is_fine(admin, "/readyz").await.then_some(()))
    })
    .await
    .expect("it is ready");

    let stored = rest.post(&pods(), &plain_pod("plain")).await.expect("it is filled");
    assert_eq!(stored["spec"]["runtimeClassName"], "gvisor");
    assert_eq!(stored["metadata"]["annotations"]["sandgate.dev/policy"], NAMESPACE);
    for plural in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        assert_out_of_reach(&rest, plural, "sandgate.static.k8s.io").await;
    }

    drop(replica);
    let denial = rest.post(&pods(), &plain_pod("later")).await.expect_err("no replica answers");
    assert!(denial.message.contains("mutate.sandgate.dev"), "{denial}");
}

fn serve(release: &Release, certs: &str, port: u16, admin: u16) -> Process {
    let folder = release.policy.parent().expect("a folder");
    let arguments = [
        "serve".to_owned(),
        "--certs=files".into(),
        format!("--cert-dir={certs}"),
        format!("--policy={}", release.policy.display()),
        format!("--listen=127.0.0.1:{port}"),
        format!("--admin=127.0.0.1:{admin}"),
    ];
    Process::start("sandgate", &program().expect("it is built"), &arguments, folder).expect("it starts")
}

#[test]
fn static_files_that_no_api_server_would_take_are_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let release = Release::of(NAMESPACE, &json!({}));
    let (status, text) = render(&release, folder.path(), &["--kubernetes", "1.35"]);
    assert_eq!(status, 2, "{text}");
    assert!(text.contains("Kubernetes 1.35 has no manifest-based admission"), "{text}");
    let (status, text) = render(&release, folder.path(), &["--static-path", "etc/sandgate"]);
    assert_eq!(status, 2, "{text}");
    assert!(text.contains("the API server takes absolute paths only"), "{text}");
    let no_ca = folder.path().join("no-ca.pem");
    fs::write(&no_ca, "x").expect("it is written");
    let ca = no_ca.display().to_string();
    let webhook = ["--webhook-url", "https://127.0.0.1:9443", "--webhook-ca", &ca];
    let (status, text) = render(&release, folder.path(), &webhook);
    assert_eq!(status, 2, "{text}");
    assert!(text.contains("must be a certificate in PEM"), "{text}");
    let left: Vec<Value> = fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| json!(entry.expect("an entry").file_name().to_string_lossy()))
        .collect();
    assert_eq!(left, [json!("no-ca.pem")]);
}
