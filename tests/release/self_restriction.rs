//! What the holder of the token of sandgate's own account can do to the webhook configurations.

use serde_json::{Value, json};

use crate::{
    installed::{CHART, Installed},
    upgrades::{KINDS, until_armed},
};
use testbed::shared;

#[tokio::test(flavor = "multi_thread")]
async fn the_account_may_write_bundles_and_the_charts_rules_and_nothing_else() {
    let bed = shared().await;
    let release = Installed::before(bed, "sandgate-self").await.expect("what there is before an install");
    release.install(CHART, &["--set=replicas=1"]).await.expect_success();
    until_armed(&release, false).await;
    // No other writer may interfere meanwhile.
    release.kubectl(&["scale", "deployment", &release.name, "--replicas=0"]).await.expect_success();
    release.until_ready(0).await;

    for kind in KINDS {
        let stored = release.rest.get(&release.configuration(kind)).await.expect("it is there");
        let name = &stored["webhooks"][0]["name"];
        let webhook = |change: Value| {
            let mut webhook = json!({"name": name});
            webhook
                .as_object_mut()
                .expect("an object")
                .extend(change.as_object().expect("an object").clone());
            json!({"webhooks": [webhook]})
        };
        let secrets = json!([{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["secrets"]
        }]);
        let mut wider = stored["webhooks"][0]["rules"].clone();
        wider[0]["resources"] = json!(["pods", "secrets"]);
        let elsewhere = json!({"apiVersion": "v1", "kind": "Namespace", "name": "default", "uid": "u"});
        for (what, change) in [
            ("rules on Secrets", webhook(json!({"rules": secrets}))),
            ("wider rules", webhook(json!({"rules": wider}))),
            ("another address", webhook(json!({"clientConfig": {"url": "https://example.com/"}}))),
            ("every namespace", webhook(json!({"namespaceSelector": {"matchExpressions": null}}))),
            ("no condition", webhook(json!({"matchConditions": [{"$patch": "replace"}]}))),
            ("an object selector", webhook(json!({"objectSelector": {"matchLabels": {"a": "b"}}}))),
            ("failing open", webhook(json!({"failurePolicy": "Ignore"}))),
            ("a short timeout", webhook(json!({"timeoutSeconds": 1}))),
            ("an annotation", json!({"metadata": {"annotations": {"sandgate.dev/rules": "{}"}}})),
            ("a label", json!({"metadata": {"labels": {"a": "b"}}})),
            ("a finalizer", json!({"metadata": {"finalizers": ["a/b"]}})),
            ("another owner", json!({"metadata": {"ownerReferences": [elsewhere]}})),
            ("no webhook", json!({"webhooks": [{"name": name, "$patch": "delete"}]})),
        ] {
            let stderr = patch(&release, kind, &change).await.expect_err(what);
            assert!(stderr.contains("sandgate-self-self"), "{what} of {kind}: {stderr}");
        }
        let rules = &stored["webhooks"][0]["rules"];
        for (what, change) in [
            (
                "another bundle",
                webhook(
                    json!({"clientConfig": {"caBundle": stored["webhooks"][0]["clientConfig"]["caBundle"]}}),
                ),
            ),
            ("no rules", webhook(json!({"rules": null}))),
            ("the chart's rules", webhook(json!({"rules": rules}))),
        ] {
            patch(&release, kind, &change)
                .await
                .unwrap_or_else(|stderr| panic!("{what} of {kind}: {stderr}"));
        }
    }
}

/// A strategic-merge patch with the token of the account; what kubectl prints where it is denied.
async fn patch(release: &Installed<'_>, kind: &str, change: &Value) -> Result<(), String> {
    let account = &release.name;
    let token = release.kubectl(&["create", "token", account]).await.expect_success();
    let kubeconfig = release.bed.kubeconfig_of(account, token.trim()).expect("a kubeconfig");
    let (resource, change) = (format!("{kind}webhookconfiguration"), change.to_string());
    let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
    let patch = ["patch", &resource, &release.name, "--type=strategic", "--patch", &change, &kubeconfig];
    let output = release.kubectl(&patch).await;
    if output.success { Ok(()) } else { Err(output.stderr) }
}
