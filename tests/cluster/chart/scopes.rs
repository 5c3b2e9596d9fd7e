//! The webhooks select what the policies say, as `PolicySet::webhook_scopes` describes it.

use std::fs;

use sandgate_engine::policy::{PolicySet, WebhookKind, WebhookScope};
use serde_json::{Value, json};

use super::{Objects, items, rendering::policies, template};

/// The kinds of webhook, with the endpoint of each and its match conditions beside those of its scope. That of templates is
/// only there where it is enabled.
const WEBHOOKS: [(&str, &str, usize); 5] = [
    ("mutate", "mutate", 1),
    ("templates", "templates", 2),
    ("validate", "validate", 1),
    ("status", "validate", 1),
    ("binding", "validate", 1),
];

/// Policies as the values of the chart have them.
const TABLE: [&str; 9] = [
    "{one: {namespaces: [b, a]}}",
    "{one: {namespaces: [a]}, two: {namespaces: [b], mode: audit}}",
    "{one: {namespaces: ['ci-*', 'team-*-dev']}}",
    "{one: {namespaces: [ci-a, 'ci-*']}, one-b: {namespaces: ['x*y*z']}}",
    "{one: {namespaceSelector: {matchLabels: {sandgate.dev/policy: one}}}}",
    "{one: {namespaces: [a]}, two: {namespaceSelector: {matchLabels: {b: c, a: b}, \
     matchExpressions: [{key: tier, operator: Exists}, {key: team, operator: NotIn, values: [x, z]}]}}}",
    "{one: {namespaces: ['*']}}",
    "{one: {namespaces: ['*']}, two: {namespaceSelector: {matchExpressions: [{key: a, operator: Exists}]}}, \
     three: {namespaces: ['ci-*', c]}}",
    "{one: {namespaces: [a], candidate: three}, two: {extends: preset/tekton, namespaces: ['ci-*']}, \
     three: {extends: one, namespaces: []}}",
];

#[tokio::test]
async fn webhooks_select_what_the_policies_say_for_every_kind_of_selection() {
    for policies_value in TABLE {
        let objects = render_policies_with(policies_value, &["--set=webhook.templates.enabled=true"]).await;
        assert!(objects.webhooks().iter().any(|webhook| webhook["failurePolicy"] == "Ignore"));
        assert_scopes(&objects, &policies(&objects), policies_value);
    }
}

#[tokio::test]
async fn rules_and_digests_name_every_webhook_of_every_scope() {
    let objects = render_policies(TABLE[7]).await;
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let object = objects.one(kind);
        for annotation in ["sandgate.dev/rules", "sandgate.dev/rendered"] {
            let text = object["metadata"]["annotations"][annotation].as_str().expect("text");
            let by_webhook: Value = serde_json::from_str(text).expect("JSON");
            for webhook in items(&object["webhooks"]) {
                let name = webhook["name"].as_str().expect("a name");
                let entry = &by_webhook[name];
                assert!(entry.is_object() || !items(entry).is_empty(), "{annotation} of {name}: {entry}");
            }
        }
    }
}

#[tokio::test]
async fn tolerations_of_the_runtime_class_are_allowed_by_the_policies_that_allow_the_class() {
    let values = "{own: {namespaces: [a], placement: {allowedTolerations: [{key: own, operator: Exists}]}}, \
                  preset: {extends: preset/jobs, namespaces: [b]}, \
                  other: {namespaces: [c], runtimeClass: {default: kata, allowed: [kata]}}}";
    let flags = [
        "--set=runtimeClass.create=true,runtimeClass.scheduling.tolerations[0].key=sandbox",
        "--set=runtimeClass.scheduling.tolerations[0].operator=Exists",
        "--set=runtimeClass.scheduling.tolerations[0].tolerationSeconds=60",
    ];
    let policies = policies(&render_policies_with(values, &flags).await);
    let allowed = |name: &str| {
        let policy = policies.named(name).expect("a policy");
        let tolerations = policy.base().spec.placement.allowed_tolerations.iter();
        tolerations.map(|toleration| toleration.key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(allowed("own"), ["own", "sandbox"]);
    assert!(allowed("preset").contains(&"sandbox".into()));
    assert!(!allowed("other").contains(&"sandbox".into()), "the class is another");
}

#[tokio::test]
async fn workflow_namespaces_have_the_mode_of_the_policy_that_selects_them() {
    let flags = [
        "--set=workflowNamespaces.names={a,ci-a,team},workflowNamespaces.resourceQuota.enabled=true",
        "--set=workflowNamespaces.labels.guard=yes",
    ];
    let values = "{one: {namespaces: [a], mode: audit}, two: {namespaces: ['ci-*']}, \
                  three: {namespaceSelector: {matchLabels: {guard: 'yes'}}}, four: {namespaces: ['*'], mode: audit}}";
    let objects = render_policies_with(values, &flags).await;
    let quotas: Vec<_> =
        objects.all("ResourceQuota").map(|quota| quota["metadata"]["namespace"].clone()).collect();
    assert_eq!(quotas, ["ci-a", "team"], "only enforced policies fill in limits");
}

/// Asserts that the webhooks select what the policies say.
#[track_caller]
pub(super) fn assert_scopes(objects: &Objects, policies: &PolicySet, title: &str) {
    let scopes = policies.webhook_scopes();
    assert!(!scopes.is_empty(), "{title}");
    for (kind, endpoint, own_conditions) in WEBHOOKS {
        let of_kind = |webhook: &&Value| {
            let name = webhook["name"].as_str().unwrap_or_default();
            name.strip_suffix(".sandgate.dev").and_then(|name| name.rsplit('.').next()) == Some(kind)
        };
        let webhooks: Vec<_> = objects.webhooks().into_iter().filter(of_kind).collect();
        if kind == "templates" && webhooks.is_empty() {
            continue;
        }
        assert_eq!(webhooks.len(), scopes.len(), "{title}");
        for (webhook, scope) in webhooks.iter().zip(&scopes) {
            assert_eq!(webhook["name"], format!("{}{kind}.sandgate.dev", prefix(scope)), "{title}");
            let selector = serde_json::to_value(&scope.namespace_selector).expect("JSON");
            assert_eq!(webhook["namespaceSelector"], selector, "{title}");
            let conditions = items(&webhook["matchConditions"]);
            let (of_scope, own) = conditions.split_at(conditions.len() - own_conditions);
            assert_eq!(
                json!(of_scope),
                serde_json::to_value(&scope.match_conditions).expect("JSON"),
                "{title}"
            );
            assert!(!own[0]["name"].as_str().expect("a name").contains("pattern"), "{title}");
            let path = format!("/{endpoint}/{}", scope.path_policy);
            let client = &webhook["clientConfig"];
            let found = client["service"]["path"].as_str().or(client["url"].as_str()).expect("a path");
            assert!(found.ends_with(path.trim_end_matches('/')), "{title}: {found} should be {path}");
        }
    }
}

/// What the names of a scope's webhooks begin with.
fn prefix(scope: &WebhookScope) -> String {
    match scope.kind {
        WebhookKind::Names => String::new(),
        WebhookKind::Patterns => "patterns.".into(),
        WebhookKind::Selector => format!("{}.selector.", scope.path_policy),
        WebhookKind::Rest => "rest.".into(),
    }
}

async fn render_policies(policies: &str) -> Objects {
    render_policies_with(policies, &[]).await
}

async fn render_policies_with(policies: &str, flags: &[&str]) -> Objects {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("values.yaml");
    let text = format!("policies: {policies}\nimage: {{repository: registry.example.com/sandgate}}\n");
    fs::write(&file, text).expect("it is written");
    let file = file.display().to_string();
    Objects::read(&template(&[&["--values", &file], flags].concat()).await.expect_success())
}
