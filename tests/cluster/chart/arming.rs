//! The chart and the program together: installed by Helm, run as the chart says and with no other rights than it gives.

use serde_json::{Value, json};

use super::{items, releases::Release, render, strings};
use crate::{examples::plain_pod, sandboxed::assert_sandboxed};
use testbed::{Replica, Rest, eventually, free_port};

#[tokio::test]
async fn the_rights_and_flags_of_the_chart_are_enough_to_arm_the_webhooks_and_keep_them_armed() {
    let port = free_port();
    let url = format!("webhook.url=https://127.0.0.1:{port}");
    let release = Release::install(&["--set", &url]).await;
    let pods = format!("/api/v1/namespaces/{}/pods", release.guarded);
    release.rest.post(&pods, &hostile_pod("early")).await.expect("the webhooks have no rules yet");

    let mut replica = replica(&release, port, &url).await;
    replica.until_ready().await.expect("it is ready");
    until_armed(&release).await;
    let hostile = release.rest.post(&pods, &hostile_pod("hostile")).await.expect_err("it is denied");
    assert!(hostile.names("host-namespaces"), "{hostile}");
    assert_sandboxed(&release.rest.post(&pods, &plain_pod("plain")).await.expect("it is admitted"));

    release.helm(&["upgrade", "--set", &url, "--set", "webhook.timeoutSeconds=7"]).await;
    for configuration in release.configurations().await {
        assert!(is_armed(&configuration), "the upgrade left it armed: {configuration:#}");
        assert_eq!(configuration["webhooks"][0]["timeoutSeconds"], 7);
    }
    assert_sandboxed(&release.rest.post(&pods, &plain_pod("later")).await.expect("it is admitted"));
    let label = json!({"metadata": {"labels": {"app": "other"}}});
    let status = release.rest.merge(&format!("{pods}/plain/status"), &label).await.expect_err("it is denied");
    assert!(status.message.contains("status.sandgate.dev"), "that of status updates is armed too: {status}");

    // A webhook that an upgrade adds comes without rules, and gets them at once.
    release.helm(&["upgrade", "--set", &url, "--set", "webhook.templates.enabled=true"]).await;
    until_armed(&release).await;
    let [mutating, _] = release.configurations().await;
    assert_eq!(mutating["webhooks"][1]["name"], "templates.sandgate.dev");
    let annotation = mutating["metadata"]["annotations"]["sandgate.dev/rules"].as_str();
    let wanted: Value = serde_json::from_str(annotation.expect("the annotation")).expect("it is JSON");
    assert_eq!(mutating["webhooks"][1]["rules"], wanted["templates.sandgate.dev"]);
    release.helm_on("uninstall", &[]).await;
}

/// A replica with the flags of the Deployment and the token of its service account.
async fn replica(release: &Release, port: u16, url: &str) -> Replica {
    let name = &release.name;
    let rendered = render(&["--set", &format!("fullnameOverride={name}"), "--set", url]).await;
    let flags = strings(&rendered.one("Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]);
    let of_certificates = ["--server-name=", "--certs=", "--ca-secret=", "--webhook-configuration="];
    let flags = flags.into_iter().filter(|flag| of_certificates.iter().any(|name| flag.starts_with(name)));
    let mut flags: Vec<_> = flags.map(str::to_owned).collect();
    assert_eq!(flags.len(), of_certificates.len(), "{flags:?}");
    let token = token(&release.rest, name).await;
    let kubeconfig = release.bed.kubeconfig_of(name, &token).expect("a kubeconfig");
    flags.extend(["--kubeconfig".into(), kubeconfig.display().to_string()]);
    flags.extend(["--namespace".into(), name.clone(), "--arm-after".into(), "0.1".into()]);
    let spec = json!({"namespaces": [release.guarded]});
    Replica::start_at(port, release.bed, &spec, |_| flags).expect("it starts")
}

/// As the kubelet asks for one.
async fn token(rest: &Rest, name: &str) -> String {
    let path = format!("/api/v1/namespaces/{name}/serviceaccounts/{name}/token");
    let answer = rest.post(&path, &json!({"spec": {"audiences": []}})).await.expect("a token");
    answer["status"]["token"].as_str().expect("it is text").to_owned()
}

async fn until_armed(release: &Release) {
    let armed = eventually("the webhooks are armed", async || {
        Ok(release.configurations().await.iter().all(is_armed).then_some(()))
    });
    armed.await.expect("they are armed");
    // The API server takes notice a moment later.
    let path = format!("/api/v1/namespaces/{}/pods?dryRun=All", release.guarded);
    let asked = eventually("the API server asks", async || {
        Ok(release.rest.post(&path, &hostile_pod("try")).await.is_err().then_some(()))
    });
    asked.await.expect("it asks");
}

fn is_armed(configuration: &Value) -> bool {
    items(&configuration["webhooks"]).iter().all(|webhook| {
        !items(&webhook["rules"]).is_empty() && webhook["clientConfig"]["caBundle"].is_string()
    })
}

fn hostile_pod(name: &str) -> Value {
    let mut pod = plain_pod(name);
    pod["spec"]["hostPID"] = json!(true);
    pod
}
