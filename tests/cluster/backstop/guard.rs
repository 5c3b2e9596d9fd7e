//! The guard holds against administrators, and not against those that it names.

use serde_json::{Value, json};

use super::{REGISTRATION, Release, apply, remove};
use sandgate_engine::backstop::{Guarded, guard};
use testbed::{eventually, shared};

const CLASSES: &str = "/apis/node.k8s.io/v1/runtimeclasses";

#[tokio::test]
async fn webhooks_and_the_runtime_class_can_neither_be_deleted_nor_weakened_by_an_administrator() {
    let bed = shared().await;
    let rest = bed.rest().await.expect("a client");
    let namespace = bed.namespace(&rest, &json!({"generateName": "guard-"})).await.expect("a namespace");
    let class = json!({"metadata": {"name": namespace}, "handler": "runsc"});
    rest.post(CLASSES, &class).await.expect("a class");
    let configurations = format!("{REGISTRATION}/validatingwebhookconfigurations");
    let configuration = json!({
        "metadata": {"name": namespace},
        "webhooks": [{
            "name": "validate.sandgate.dev",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        }],
    });
    rest.post(&configurations, &configuration).await.expect("a configuration");
    let of_class = json!({"runtimeClass": {"default": namespace, "allowed": [namespace]}});
    let release = Release::of(&namespace, &of_class);
    let all =
        release.rendered(&["--guard", "--webhook-configuration", &namespace, "--guard-writer", "pipeline"]);
    let is_guard = |object: &&Value| object["metadata"]["labels"]["app.kubernetes.io/component"] == "guard";
    let objects: Vec<Value> = all.iter().filter(is_guard).cloned().collect();
    assert_eq!(objects.len(), 4);
    apply(&rest, &objects).await;

    let (webhook, class) = (format!("{configurations}/{namespace}"), format!("{CLASSES}/{namespace}"));
    eventually("the guard denies", async || {
        let denial = rest.delete(&format!("{webhook}?dryRun=All")).await.err();
        let of_class = rest.delete(&format!("{class}?dryRun=All")).await.err();
        Ok(denial
            .zip(of_class)
            .filter(|(denial, _)| denial.message.contains("while its guard is on"))
            .map(drop))
    })
    .await
    .expect("a delete is denied");
    let one = |change: Value| {
        let mut webhook = configuration["webhooks"][0].clone();
        webhook.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        json!({"webhooks": [webhook]})
    };
    let rules = json!([{
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]
    }]);
    let mut answers = Vec::new();
    for (what, change, is_denied) in [
        ("failing open", one(json!({"failurePolicy": "Ignore"})), true),
        ("another selector", one(json!({"namespaceSelector": {"matchLabels": {"a": "b"}}})), true),
        ("an object selector", one(json!({"objectSelector": {"matchLabels": {"a": "b"}}})), true),
        ("no webhook", json!({"webhooks": []}), true),
        ("a timeout", one(json!({"timeoutSeconds": 7})), false),
        ("the rules of a new configuration", one(json!({"rules": rules})), false),
        ("no rules again", one(json!({"rules": null})), true),
    ] {
        let answer = rest.merge(&webhook, &change).await;
        if answer.is_err() != is_denied {
            answers.push(format!("{what}: {answer:?}"));
        }
    }
    remove(&rest, &objects).await;
    eventually("the guard is off", async || Ok(rest.delete(&webhook).await.ok().map(drop)))
        .await
        .expect("without the guard it is deleted");
    eventually("the guard is off", async || Ok(rest.delete(&class).await.ok().map(drop)))
        .await
        .expect("deleted");
    assert_eq!(answers, Vec::<String>::new());
}

#[tokio::test]
async fn policies_in_a_config_map_are_changed_by_the_named_writers_only() {
    let bed = shared().await;
    let rest = bed.rest().await.expect("a client");
    let namespace = bed.namespace(&rest, &json!({"generateName": "guard-"})).await.expect("a namespace");
    let maps = format!("/api/v1/namespaces/{namespace}/configmaps");
    for name in ["policy", "other"] {
        let map = json!({"metadata": {"name": name}, "data": {"policy.yaml": "strict"}});
        rest.post(&maps, &map).await.expect("a ConfigMap");
    }
    let guarded = Guarded {
        configuration: namespace.clone(),
        runtime_classes: Vec::new(),
        config_maps: Some((namespace.clone(), vec!["policy".into()])),
        writers: vec!["pipeline".into()],
    };
    let name = format!("{namespace}-guard-policies");
    let is_of_policies = |object: &Value| object["metadata"]["name"] == name.as_str();
    let objects: Vec<Value> = guard(&guarded).into_iter().filter(is_of_policies).collect();
    assert_eq!(objects.len(), 2);
    apply(&rest, &objects).await;

    let policy = format!("{maps}/policy");
    let weaker = json!({"data": {"policy.yaml": "weak"}});
    eventually("the guard denies", async || {
        let denial = rest.merge(&format!("{policy}?dryRun=All"), &weaker).await.err();
        Ok(denial.filter(|denial| denial.message.contains("only be changed by the writers")).map(drop))
    })
    .await
    .expect("another content is denied");
    let mut answers = Vec::new();
    for (what, answer, is_denied) in [
        ("a new key", rest.merge(&policy, &json!({"data": {"more.yaml": "x"}})).await, true),
        ("binary data", rest.merge(&policy, &json!({"binaryData": {"more": "eA=="}})).await, true),
        ("deleting", rest.delete(&policy).await, true),
        ("a label", rest.merge(&policy, &json!({"metadata": {"labels": {"a": "b"}}})).await, false),
        ("another ConfigMap", rest.merge(&format!("{maps}/other"), &weaker).await, false),
    ] {
        if answer.is_err() != is_denied {
            answers.push(format!("{what}: {answer:?}"));
        }
    }
    let patch = weaker.to_string();
    let patching = ["patch", "configmap", "policy", "--type=merge", "--patch", &patch];
    let as_writer = ["--as=pipeline", "--as-group=system:masters", "--namespace", &namespace];
    let written = bed.kubectl(&[&patching[..], &as_writer].concat()).await;
    remove(&rest, &objects).await;
    assert_eq!(answers, Vec::<String>::new());
    written.expect_success();
    let stored = rest.get(&policy).await.expect("it is there");
    assert_eq!(stored["data"]["policy.yaml"], "weak", "the writer's");
}
