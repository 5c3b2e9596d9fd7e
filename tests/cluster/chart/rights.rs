//! What the chart lets sandgate do.

use serde_json::{Value, json};

use super::{Objects, items, render, render_scenario, scenario};

#[tokio::test]
async fn sandgate_has_rights_to_its_secret_its_configurations_and_events_alone() {
    let objects = render(&["--set", "fullnameOverride=gate"]).await;
    let role = objects.all("Role").find(|role| role["metadata"]["name"] == "gate").expect("a role");
    let secrets = json!([
        {
            "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["gate-ca"],
            "verbs": ["create", "get", "patch", "update"],
        },
        {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": [role["metadata"]["namespace"]], "verbs": ["get"]},
    ]);
    assert_eq!(role["rules"], secrets);
    let rules = items(&objects.one("ClusterRole")["rules"]);
    assert_eq!(rules.len(), 2);
    assert_eq!(rules[0]["resourceNames"], json!(["gate"]));
    let resources = json!(["mutatingwebhookconfigurations", "validatingwebhookconfigurations"]);
    assert_eq!(rules[0]["resources"], resources);
    assert_eq!(rules[0]["verbs"], json!(["get", "patch", "watch"]));
    assert_eq!(
        rules[1],
        json!({"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]})
    );
    let configuration = objects.one("MutatingWebhookConfiguration");
    assert_eq!(configuration["metadata"]["name"], "gate", "the name that the rule has");
}

#[tokio::test]
async fn without_events_there_is_no_right_to_write_them_and_with_them_alone_no_other() {
    let without = render(&["--set", "server.events=false"]).await;
    let rules = items(&without.one("ClusterRole")["rules"]);
    assert_eq!(rules.len(), 1);
    assert_ne!(rules[0]["resources"], json!(["events"]));
    assert!(!without.one("Deployment").to_string().contains("--events"));

    let alone = render_scenario(&scenario("audit-file")).await;
    let of_webhook = |object: &&Value| object["metadata"]["name"] == "sandgate";
    assert_eq!(alone.all("Role").filter(of_webhook).count(), 0);
    let events =
        json!([{"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}]);
    assert_eq!(alone.one("ClusterRole")["rules"], events);
    assert_eq!(token(&alone), true);
    assert!(alone.one("Deployment").to_string().contains("--events"));
    let egress = items(&alone.one("NetworkPolicy")["spec"]["egress"]);
    assert_eq!(egress.len(), 2, "the API server can be reached, and what the scenario opens besides");
}

#[tokio::test]
async fn no_rule_has_a_wildcard() {
    let objects = render_scenario(&scenario("production")).await;
    for role in objects.all("Role").chain(objects.all("ClusterRole")) {
        for rule in items(&role["rules"]) {
            for field in ["apiGroups", "resources", "verbs", "resourceNames"] {
                assert!(!items(&rule[field]).contains(&json!("*")), "{rule}");
            }
        }
    }
}

#[tokio::test]
async fn without_managed_certificates_and_events_sandgate_has_no_rights_and_no_token() {
    for name in ["files", "cert-manager"] {
        let objects = render_scenario(&scenario(name)).await;
        let of_webhook =
            |object: &&Value| !object["metadata"]["name"].as_str().unwrap_or("").ends_with("-test");
        for kind in ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"] {
            assert_eq!(objects.all(kind).filter(of_webhook).count(), 0, "{name}: {kind}");
        }
        assert_eq!(token(&objects), false, "{name}");
    }
    assert_eq!(token(&render(&[]).await), true);
}

fn token(objects: &Objects) -> &Value {
    &objects.one("Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"]
}

#[tokio::test]
async fn the_test_may_only_create_pods_in_the_namespace_that_it_tries() {
    let objects = render(&[]).await;
    let role = objects.all("Role").find(|role| role["metadata"]["name"] == "sandgate-test").expect("a role");
    assert_eq!(role["metadata"]["namespace"], "workflows");
    assert_eq!(role["rules"], json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}]));
    for object in &objects.0 {
        let is_of_test = object["metadata"]["name"] == "sandgate-test";
        let hook = &object["metadata"]["annotations"]["helm.sh/hook"];
        assert_eq!(hook == "test", is_of_test, "only what the test needs comes and goes with it: {object:#}");
    }
}

#[tokio::test]
async fn where_nothing_is_enforced_there_is_no_test() {
    let objects = render_scenario(&scenario("files")).await;
    assert_eq!(objects.all("Pod").count(), 0);
}
