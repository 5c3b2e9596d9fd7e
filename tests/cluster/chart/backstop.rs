//! The backstop and its guard, as the chart brings them.

use sandgate_engine::{
    backstop::{Guarded, Settings, guard, render as render_backstop, webhook_manifests},
    policy::{PolicySet, Source},
};
use serde_json::{Value, json};

use super::{Objects, items, render, render_scenario, scenario, strings, template, template_least};

#[tokio::test]
async fn guard_of_the_chart_is_the_one_that_the_command_prints() {
    let objects = render_scenario(&scenario("backstop")).await;
    let guarded = Guarded {
        configuration: "sandgate".into(),
        runtime_classes: vec!["gvisor".into()],
        config_maps: Some(("sandgate-system".into(), vec!["sandgate-policy".into()])),
        writers: vec!["system:serviceaccount:flux-system:helm-controller".into()],
    };
    for wanted in guard(&guarded) {
        let kind = wanted["kind"].as_str().expect("a kind");
        let mut found =
            objects.all(kind).filter(|found| found["metadata"]["name"] == wanted["metadata"]["name"]);
        let found = found.next().unwrap_or_else(|| panic!("there is {}", wanted["metadata"]["name"]));
        assert_eq!(found["spec"], wanted["spec"]);
        let labels = &found["metadata"]["labels"];
        assert_eq!(labels["app.kubernetes.io/component"], "guard");
        assert_eq!(labels["app.kubernetes.io/part-of"], "sandgate");
    }
}

#[tokio::test]
async fn static_webhooks_are_those_of_the_chart_but_for_their_address() {
    let flags = ["--values", &scenario("backstop"), "--set=webhook.failurePolicy=Fail"];
    let files = [
        "--set=certificates.mode=files",
        "--set=certificates.secretName=tls",
        "--set=webhook.url=https://127.0.0.1:9443",
    ];
    let rest =
        ["--set=policies.rest.namespaces={*}", "--set=policies.own.namespaceSelector.matchLabels.team=a"];
    let rendered = template(&[&flags[..], &files, &rest].concat()).await.expect_success();
    let objects = Objects::read(&rendered);
    let texts = [
        ("ci", "{namespaces: ['ci-*'], mode: warn}"),
        ("own", "{namespaceSelector: {matchLabels: {team: a}}}"),
        ("rest", "{namespaces: ['*']}"),
        ("workflow-runner", "{namespaces: [workflows]}"),
    ]
    .map(|(name, spec)| {
        format!(
            "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        )
    });
    let source = Source { name: "policies.yaml".into(), text: texts.join("---\n") };
    let set = PolicySet::from_sources(&[source]).expect("policies").with_release_namespace("sandgate-system");
    for wanted in webhook_manifests(&set, "https://127.0.0.1:9443", "eA==") {
        let kind = wanted["kind"].as_str().expect("a kind");
        let mut found = items(&objects.one(kind)["webhooks"]).to_vec();
        let mut wanted = items(&wanted["webhooks"]).to_vec();
        found.retain(|webhook| !webhook["name"].as_str().is_some_and(|name| name.contains("templates.")));
        for webhook in found.iter_mut().chain(&mut wanted) {
            let config = webhook["clientConfig"].take();
            let path = config["url"].as_str().or(config["service"]["path"].as_str()).expect("a path");
            webhook["clientConfig"] = json!(path.trim_start_matches("https://127.0.0.1:9443"));
        }
        found.sort_by_key(|webhook| webhook["name"].to_string());
        wanted.sort_by_key(|webhook| webhook["name"].to_string());
        assert_eq!(found, wanted, "{kind}");
    }
}

#[tokio::test]
async fn guard_without_writers_is_an_error_since_no_upgrade_would_pass() {
    let output = template_least(&["--set=backstop.guard.enabled=true"]).await;
    assert!(!output.success);
    assert!(output.stderr.contains("backstop.guard.writers is empty"), "{}", output.stderr);
}

#[tokio::test]
async fn account_may_write_every_object_of_its_policies_and_no_other() {
    let objects = render_scenario(&scenario("backstop")).await;
    let mut rules = objects.all("ClusterRole").flat_map(|role| items(&role["rules"]));
    let writes = |rule: &&Value| {
        items(&rule["resources"]).contains(&json!("validatingadmissionpolicies"))
            && rule["resourceNames"].is_array()
    };
    let rule = rules.find(writes).expect("a rule with names");
    let names = strings(&rule["resourceNames"]);
    let policies = [
        "{namespaces: [a, 'ci-*', '*'], rules: {tolerations: audit, labels: enforce}, mode: warn}",
        "{namespaces: [b]}",
    ];
    for (name, spec) in ["ci", "workflow-runner"].into_iter().zip(policies) {
        let text = format!(
            "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        );
        let set = PolicySet::from_sources(&[Source { name: "policy.yaml".into(), text }]).expect("a policy");
        for object in render_backstop(&set, &Settings::default()).expect("it can be stated in CEL") {
            let name = object["metadata"]["name"].as_str().expect("a name");
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
    }
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("sandgate-ci") || name.starts_with("sandgate-workflow-runner"))
    );
    let arguments = objects.one("Deployment").to_string();
    assert!(arguments.contains("\"--backstop\""));
    let usual = render(&[]).await;
    let mut rules = usual.all("ClusterRole").flat_map(|role| items(&role["rules"]));
    assert!(rules.find(writes).is_none());
    assert!(!usual.one("Deployment").to_string().contains("--backstop"));
}
