//! Managed certificates, with two replicas and a service account that may do no more than the chart lets it: pods go on
//! being created, whatever becomes of the Secret, the CA and the configurations.

mod cert_manager;
pub(crate) mod installation;

use std::{process::Command, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use self::installation::{Installation, KINDS};
use crate::examples::plain_pod;
use testbed::{eventually, program};

/// A CA lives for half a minute.
const QUICK: [&str; 8] =
    ["--ca-lifetime", "30", "--leaf-lifetime", "12", "--promote-after", "3", "--check-interval", "0.5"];

#[tokio::test]
async fn the_first_replica_makes_the_ca_and_arms_the_webhooks_and_the_second_joins() {
    let installation = Installation::new().await;
    installation.register().await;
    let mut first = installation.replica(0, &[]);
    first.until_ready().await.expect("it is ready");
    eventually("the configurations are armed", async || {
        let [mutating, validating] = [0, 1].map(|index| installation.webhook(index));
        let armed = [mutating.await, validating.await].iter().all(|webhook| webhook["rules"].is_array());
        Ok(armed.then_some(()))
    })
    .await
    .expect("they are armed");
    let secret = installation.rest.get(&installation.secret_path()).await.expect("a Secret");
    assert_eq!(secret["type"], "sandgate.dev/ca");

    let mut second = installation.replica(1, &[]);
    second.until_ready().await.expect("it is ready");
    installation.until_armed().await;
    let again = installation.rest.get(&installation.secret_path()).await.expect("a Secret");
    assert_eq!(again["data"]["authorities.json"], secret["data"]["authorities.json"]);
    assert_eq!(installation.authorities().await.expect("CAs").len(), 1);
    let pod =
        installation.rest.post(&installation.pods_path(), &plain_pod("main")).await.expect("it is admitted");
    assert_eq!(pod["spec"]["runtimeClassName"], "gvisor");
    for configuration in ["mutating", "validating"] {
        let metric = format!("sandgate_ca_bundle_published{{configuration=\"{configuration}\"}}");
        assert_eq!(first.metric(&metric).await, Some(1), "{configuration}");
    }
}

#[tokio::test]
async fn of_two_first_replicas_at_once_one_makes_the_ca_and_both_serve_by_it() {
    for _ in 0..3 {
        let (installation, replicas) = Installation::running(&[]).await;
        let authorities = installation.authorities().await.expect("CAs");
        assert_eq!(authorities.len(), 1, "the Secret was filled twice");
        assert!(replicas.iter().all(|replica| replica.log().contains("Certificate signed")));
        for index in [0, 1] {
            let bundle = installation.webhook(index).await["clientConfig"]["caBundle"].clone();
            let bundle = STANDARD.decode(bundle.as_str().expect("a bundle")).expect("Base64");
            assert_eq!(String::from_utf8(bundle).ok().as_deref(), authorities[0]["cert"].as_str());
        }
    }
}

#[tokio::test]
async fn nothing_is_armed_before_readiness_was_observed() {
    let installation = Installation::new().await;
    installation.register().await;
    let replica = installation.replica(0, &["--check-interval", "0.2"]);
    eventually("the bundle is published", async || {
        Ok(installation.webhook(0).await["clientConfig"]["caBundle"].is_string().then_some(()))
    })
    .await
    .expect("it is published");
    eventually("a certificate is served", async || {
        Ok(replica.log().contains("Certificate signed").then_some(()))
    })
    .await
    .expect("it is signed");
    // Several looks later.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(installation.webhook(0).await["rules"], Value::Null);
    assert!(replica.is_ready().await);
    eventually("it is armed", async || Ok(installation.webhook(0).await["rules"].is_array().then_some(())))
        .await
        .expect("it is armed");
}

#[tokio::test]
async fn a_lost_and_a_corrupted_secret_heal_while_pods_are_created() {
    let (installation, _replicas) = Installation::running(&["--check-interval", "0.5"]).await;
    let creates = installation.create_pods();
    creates.go_on().await;
    let active = installation.active().await.expect("a CA");

    installation.rest.delete(&installation.secret_path()).await.expect("it is deleted");
    eventually("the Secret is back", async || Ok(installation.active().await)).await.expect("it is back");
    assert_eq!(installation.active().await.expect("a CA"), active);
    creates.go_on().await;

    let garbage = json!({"data": {"authorities.json": "aGVsbG8="}});
    installation.rest.merge(&installation.secret_path(), &garbage).await.expect("it is corrupted");
    eventually("the Secret is whole", async || Ok(installation.active().await)).await.expect("it is whole");
    assert_eq!(installation.active().await.expect("a CA"), active);
    creates.go_on().await;
    creates.none_failed().await;
}

#[tokio::test]
async fn a_fresh_replica_that_finds_no_secret_cuts_off_no_other() {
    let (installation, [first, second]) = Installation::running(&[]).await;
    let active = installation.active().await.expect("a CA");
    drop(second);
    // The first one looks once a minute: the fresh one comes before it.
    installation.rest.delete(&installation.secret_path()).await.expect("it is deleted");
    let mut fresh = installation.replica(1, &[]);
    fresh.until_ready().await.expect("it is ready");
    let creates = installation.create_pods();
    creates.go_on().await;

    eventually("both CAs are known, and one signs", async || {
        let authorities = installation.authorities().await.unwrap_or_default();
        let old = authorities.iter().find(|authority| authority["cert"] == active.as_str());
        Ok(old.map(|old| old["state"].clone()))
    })
    .await
    .expect("both");
    eventually("the first replica follows", async || {
        let signed = first.metric("sandgate_certificate_renewals_total{result=\"ok\"}").await;
        let is_new = installation.active().await.is_some_and(|now| now != active);
        Ok((!is_new || signed > Some(1)).then_some(()))
    })
    .await
    .expect("it follows");
    creates.go_on().await;
    creates.none_failed().await;
}

#[tokio::test]
async fn cas_are_renewed_while_pods_are_created() {
    let (installation, replicas) = Installation::running(&QUICK).await;
    let creates = installation.create_pods();
    let mut seen = Vec::new();
    eventually("the third CA signs", async || {
        seen.extend(installation.active().await);
        seen.dedup();
        Ok((seen.len() >= 3).then_some(()))
    })
    .await
    .expect("three CAs");
    creates.go_on().await;
    creates.none_failed().await;
    for replica in &replicas {
        let signed = replica.metric("sandgate_certificate_renewals_total{result=\"ok\"}").await;
        assert!(signed >= Some(3), "{signed:?}");
    }
    assert!(installation.authorities().await.expect("CAs").len() <= 3);
}

#[tokio::test]
async fn a_cleared_bundle_comes_back_at_once() {
    let (installation, replicas) = Installation::running(&["--check-interval", "600"]).await;
    let bundle = installation.webhook(0).await["clientConfig"]["caBundle"].clone();
    assert!(bundle.is_string());
    for index in 0..KINDS.len() {
        let clear = json!([{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]);
        installation
            .rest
            .json_patch(&installation.configuration_path(index), &clear)
            .await
            .expect("it is cleared");
        // The next look without a change is minutes away: it is the watch that notices.
        eventually("the bundle is back", async || {
            Ok((installation.webhook(index).await["clientConfig"]["caBundle"] == bundle).then_some(()))
        })
        .await
        .expect("it is back");
    }
    installation.until_armed().await;
    drop(replicas);
}

#[tokio::test]
async fn a_deleted_configuration_is_not_made_anew_and_armed_when_it_comes_back() {
    let (installation, replicas) = Installation::running(&["--check-interval", "0.5"]).await;
    let path = installation.configuration_path(0);
    installation.rest.delete(&path).await.expect("it is deleted");
    for replica in &replicas {
        eventually("it is logged", async || {
            Ok(replica.log().contains("There is no mutating webhook configuration").then_some(()))
        })
        .await
        .expect("it is logged");
        assert!(replica.is_ready().await);
    }
    let gone = installation.rest.get(&path).await.expect_err("it stays deleted");
    assert_eq!(gone.code, 404);

    installation.register_one(0).await;
    eventually("it is armed", async || Ok(installation.webhook(0).await["rules"].is_array().then_some(())))
        .await
        .expect("it is armed");
}

#[tokio::test]
async fn an_upgrade_of_the_chart_keeps_bundle_and_rules_and_new_rules_are_taken_over() {
    let (installation, _replicas) = Installation::running(&[]).await;
    let before = installation.webhook(0).await;
    installation.register().await;
    assert_eq!(installation.webhook(0).await, before);

    let upgraded = installation.configuration(0, &["CREATE", "UPDATE"]);
    installation
        .rest
        .apply(&installation.configuration_path(0), &upgraded, true)
        .await
        .expect("it is upgraded");
    eventually("the new rules are there", async || {
        let operations = installation.webhook(0).await["rules"][0]["operations"].clone();
        Ok((operations == json!(["CREATE", "UPDATE"])).then_some(()))
    })
    .await
    .expect("they are there");
}

#[tokio::test]
async fn a_missing_permission_is_named_and_given_later_it_goes_on() {
    let installation = Installation::new().await;
    installation.register().await;
    let role = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles/sandgate", installation.name);
    let rules = installation.rest.get(&role).await.expect("a role")["rules"].clone();
    let mut fewer = rules.clone();
    fewer[0]["verbs"] = json!(["get", "patch", "update"]);
    installation.rest.merge(&role, &json!({"rules": fewer})).await.expect("a verb is taken away");

    let mut replica = installation.replica(0, &["--check-interval", "0.5"]);
    eventually("the missing rule is named", async || {
        let log = replica.log();
        let is_named =
            log.contains("resources: [secrets], resourceNames: [") && log.contains("verbs: [create]");
        Ok(is_named.then_some(()))
    })
    .await
    .expect("it is named");
    assert!(!replica.is_ready().await);
    assert_eq!(replica.metric("sandgate_certificate_upkeep_failing").await, Some(1));

    installation.rest.merge(&role, &json!({"rules": rules})).await.expect("it is given back");
    replica.until_ready().await.expect("it is ready");
}

/// What `sandgate certs show` comes to: its status and its output.
fn show(installation: &Installation, more: &[&str]) -> (Option<i32>, String) {
    let kubeconfig = installation.bed.kubeconfig().display().to_string();
    let output = Command::new(program().expect("sandgate is built"))
        .args(["certs", "show", "--kubeconfig", &kubeconfig, "--namespace", &installation.name])
        .args([
            "--ca-secret",
            &format!("{}-ca", installation.name),
            "--webhook-configuration",
            &installation.name,
        ])
        .args(more)
        .output()
        .expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("it prints text"))
}

#[tokio::test]
async fn what_is_held_published_served_and_due_is_shown() {
    let (installation, [first, _second]) = Installation::running(&[]).await;
    let (status, text) = show(&installation, &["--server", &first.address()]);
    assert_eq!(status, Some(0), "{text}");
    for part in [
        "  active    ",
        "  armed, publishes ",
        "for 127.0.0.1, localhost",
        "a successor of the CA",
        "all is well",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(!text.contains("PRIVATE KEY"), "{text}");

    let (status, text) = show(&installation, &["-o", "json", "--server", &first.address()]);
    let shown: Value = serde_json::from_str(&text).expect("JSON");
    let fingerprint = &shown["authorities"][0]["fingerprint"];
    assert_eq!((status, fingerprint.as_str().map(str::len)), (Some(0), Some(64)), "{text}");
    assert_eq!(shown["configurations"][0]["publishes"], json!([fingerprint]));
    assert_eq!(&shown["served"]["issuer"], fingerprint);
}

#[tokio::test]
async fn what_is_broken_is_shown_with_status_1_and_what_cannot_be_read_with_2() {
    let installation = Installation::new().await;
    installation.register_one(0).await;
    let (status, text) = show(&installation, &["--server", "127.0.0.1:1"]);
    assert_eq!(status, Some(1), "{text}");
    for part in [
        "there is no Secret",
        "there is no validating",
        "has not the rules",
        "127.0.0.1:1: Connection refused",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let (status, text) = show(&installation, &["--kubeconfig", "/nowhere"]);
    assert_eq!(status, Some(2), "{text}");
}

/// The optimistic lock: a patch names the version and the `uid` of what was read.
#[tokio::test]
async fn the_api_server_patches_no_other_version_and_no_other_object() {
    let installation = Installation::new().await;
    let path = installation.configuration_path(0);
    let raise_timeout = async |seen: &Value| {
        let metadata = json!({
            "resourceVersion": seen["metadata"]["resourceVersion"], "uid": seen["metadata"]["uid"],
        });
        let name = &seen["webhooks"][0]["name"];
        let timeout = seen["webhooks"][0]["timeoutSeconds"].as_u64().unwrap_or_default() + 1;
        let changes = json!({"metadata": metadata, "webhooks": [{"name": name, "timeoutSeconds": timeout}]});
        installation.rest.strategic_merge(&path, &changes).await.map_err(|denial| denial.code)
    };
    installation.register_one(0).await;
    let first = installation.rest.get(&path).await.expect("it is registered");
    let second = raise_timeout(&first).await.expect("this version of this object");
    assert_eq!(second["webhooks"][0]["timeoutSeconds"], 6, "{second:#}");
    assert_eq!(raise_timeout(&first).await.expect_err("an older version"), 409);

    installation.rest.delete(&path).await.expect("it is deleted");
    assert_eq!(raise_timeout(&second).await.expect_err("an object that is gone"), 404);
    installation.register_one(0).await;
    assert_eq!(raise_timeout(&second).await.expect_err("another object of that name"), 409);
}

#[tokio::test]
async fn the_namespace_of_the_release_is_read_from_its_webhooks() {
    let bed = testbed::shared().await;
    let rest = bed.rest().await.expect("a client");
    let namespace = bed.namespace(&rest, &json!({"generateName": "release-"})).await.expect("a namespace");
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": namespace},
        "webhooks": [{"name": "mutate.sandgate.dev", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "sandgate", "namespace": namespace, "path": "/mutate"}}}],
    });
    let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    rest.post(path, &configuration).await.expect("it is made");
    let output = Command::new(program().expect("sandgate is built"))
        .args(["certs", "show", "-o", "json", "--webhook-configuration", &namespace, "--kubeconfig"])
        .arg(bed.kubeconfig())
        .output()
        .expect("it runs");
    rest.delete(&format!("{path}/{namespace}")).await.expect("it is removed");
    let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(shown["namespace"], *namespace, "{shown:#}");
}
