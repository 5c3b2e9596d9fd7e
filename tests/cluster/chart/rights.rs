//! What the chart lets sandgate do.

use serde_json::{Value, json};

use super::{Objects, items, render, render_scenario, scenario, strings};

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
    let rules = items(&objects.cluster_role()["rules"]);
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
    let rules = items(&without.cluster_role()["rules"]);
    assert_eq!(rules.len(), 1);
    assert_ne!(rules[0]["resources"], json!(["events"]));
    assert!(!without.one("Deployment").to_string().contains("--events"));

    let alone = render_scenario(&scenario("audit-file")).await;
    let of_webhook = |object: &&Value| object["metadata"]["name"] == "sandgate";
    assert_eq!(alone.all("Role").filter(of_webhook).count(), 0);
    let events =
        json!([{"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}]);
    assert_eq!(alone.cluster_role()["rules"], events);
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
        for kind in ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"] {
            assert_eq!(objects.of_webhook(kind).count(), 0, "{name}: {kind}");
        }
        assert_eq!(token(&objects), false, "{name}");
    }
    assert_eq!(token(&render(&[]).await), true);
}

fn token(objects: &Objects) -> &Value {
    &objects.one("Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"]
}

#[tokio::test]
async fn the_test_may_create_pods_in_the_namespace_that_it_tries_and_read_what_the_webhooks_depend_on() {
    let objects = render(&[]).await;
    let rules: Vec<_> = objects
        .all("Role")
        .filter(|role| role["metadata"]["name"] == "sandgate-test")
        .map(|role| (role["metadata"]["namespace"].clone(), role["rules"].clone()))
        .collect();
    let wanted = [
        (json!("workflows"), json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}])),
        (
            json!(super::NAMESPACE),
            json!([{
                "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["sandgate-ca"], "verbs": ["get"],
            }]),
        ),
    ];
    assert_eq!(rules, wanted);
    for object in &objects.0 {
        let is_of_test = object["metadata"]["name"].as_str().is_some_and(|name| name.ends_with("-test"));
        let hook = &object["metadata"]["annotations"]["helm.sh/hook"];
        assert_eq!(hook == "test", is_of_test, "only what the test needs comes and goes with it: {object:#}");
    }
}

#[tokio::test]
async fn the_rights_of_the_doctor_read_and_reach_no_secret_and_are_bound_to_no_one() {
    let objects = render(&["--set", "doctor.test=false"]).await;
    let is_of_doctor = |object: &&Value| object["metadata"]["name"] == "sandgate-doctor";
    let roles: Vec<_> = objects.all("ClusterRole").chain(objects.all("Role")).filter(is_of_doctor).collect();
    assert_eq!(roles.len(), 2);
    for rule in roles.iter().flat_map(|role| items(&role["rules"])) {
        assert!(!items(&rule["resources"]).contains(&json!("secrets")), "{rule}");
        for verb in items(&rule["verbs"]) {
            assert!(verb == "get" || verb == "list", "{rule}");
        }
    }
    for binding in objects.all("ClusterRoleBinding").chain(objects.all("RoleBinding")) {
        assert_ne!(binding["roleRef"]["name"], "sandgate-doctor", "{binding:#}");
    }
    assert_eq!(items(&objects.one("Pod")["spec"]["containers"]).len(), 1);
    let without = render(&["--set", "doctor.roles=false"]).await;
    assert_eq!(without.all("ClusterRole").filter(is_of_doctor).count(), 0);
}

#[tokio::test]
async fn helm_test_runs_the_doctor_with_its_rights() {
    let objects = render(&[]).await;
    let containers = items(&objects.one("Pod")["spec"]["containers"]);
    assert_eq!(containers.len(), 2);
    assert_eq!(
        containers[1]["args"],
        json!([
            "doctor",
            "--image=busybox",
            "--fail-on=critical",
            "--wait=30s",
            "--sandgate-namespace=sandgate-system",
            "--webhook-configuration=sandgate",
            "--ca-secret=sandgate-ca",
        ])
    );
    let bindings = objects.all("ClusterRoleBinding").chain(objects.all("RoleBinding"));
    let of_doctor: Vec<_> =
        bindings.filter(|binding| binding["roleRef"]["name"] == "sandgate-doctor").collect();
    assert_eq!(of_doctor.len(), 2);
    for binding in of_doctor {
        assert_eq!(binding["subjects"][0]["name"], "sandgate-test");
        assert_eq!(binding["metadata"]["annotations"]["helm.sh/hook"], "test", "they go with the test");
    }
}

#[tokio::test]
async fn a_scan_at_intervals_may_list_pods_and_write_its_own_reports() {
    assert_eq!(render(&[]).await.all("CronJob").count(), 0);
    let objects = render(&["--set", "scan.schedule=17 3 * * *"]).await;
    let job = objects.one("CronJob");
    assert_eq!(job["spec"]["schedule"], "17 3 * * *");
    let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let args = strings(&pod["containers"][0]["args"]);
    assert_eq!(
        args,
        [
            "scan",
            "--all-namespaces",
            "--from-cluster",
            "--sandgate-namespace=sandgate-system",
            "--exit-zero",
            "--write-reports=auto",
        ]
    );
    let role = objects.all("ClusterRole").find(|role| role["metadata"]["name"] == "sandgate-scan");
    let rules = items(&role.expect("a role")["rules"]);
    assert_eq!(rules[0], json!({"apiGroups": [""], "resources": ["pods", "namespaces"], "verbs": ["list"]}));
    for rule in rules.iter().filter(|rule| items(&rule["verbs"]).contains(&json!("patch"))) {
        assert_eq!(rule["resourceNames"], json!(["sandgate-workflow-runner"]));
    }
    let without = render(&["--set", "scan.schedule=@daily", "--set", "scan.reports="]).await;
    let role = without.all("ClusterRole").find(|role| role["metadata"]["name"] == "sandgate-scan");
    assert_eq!(items(&role.expect("a role")["rules"]).len(), 1, "no report, no right to write one");
}

#[tokio::test]
async fn where_nothing_is_enforced_there_is_no_test() {
    let objects = render_scenario(&scenario("files")).await;
    assert_eq!(objects.all("Pod").count(), 0);
}
