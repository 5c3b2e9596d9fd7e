//! What docs/platforms.md promises for each platform, as far as rendering shows it.

use serde_json::json;

use super::{items, render, render_scenario, scenario, strings};

#[tokio::test]
async fn aks_leaves_the_selectors_alone() {
    for scenario in super::scenarios() {
        let objects = render_scenario(&scenario).await;
        for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
            let annotations = &objects.one(kind)["metadata"]["annotations"];
            assert_eq!(annotations["admissions.enforcer/disabled"], "true", "{scenario}");
        }
    }
    let flag = r"webhook.annotations.admissions\.enforcer/disabled=null";
    let objects = render(&["--set", flag]).await;
    let annotations = &objects.one("MutatingWebhookConfiguration")["metadata"]["annotations"];
    assert!(annotations.get("admissions.enforcer/disabled").is_none(), "{annotations}");
}

/// The kubelet has port 10250 of the node, and of a Fargate Pod.
#[tokio::test]
async fn eks_runs_sandgate_in_the_network_of_the_node_on_another_port() {
    let objects = render(&["--set", "hostNetwork=true,server.port=9443,server.adminPort=9080"]).await;
    let pod = &objects.one("Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["hostNetwork"], true);
    let container = &pod["containers"][0];
    let arguments = strings(&container["args"]);
    assert!(arguments.contains(&"--listen=[::]:9443") && arguments.contains(&"--admin=[::]:9080"));
    let ports = json!([{"name": "https", "containerPort": 9443}, {"name": "admin", "containerPort": 9080}]);
    assert_eq!(container["ports"], ports);
    for service in objects.all("Service") {
        let port = &service["spec"]["ports"][0]["targetPort"];
        assert!(
            ["https", "admin"].iter().any(|name| port == name),
            "by name, so by the changed number: {port}"
        );
    }
}

#[tokio::test]
async fn openshift_chooses_user_and_groups() {
    let objects = render_scenario(&scenario("openshift")).await;
    let webhook = &objects.one("Deployment")["spec"]["template"]["spec"];
    for pod in [webhook, &objects.one("Pod")["spec"]] {
        let context = pod["securityContext"].as_object().expect("a context");
        for field in ["runAsUser", "runAsGroup", "fsGroup"] {
            assert!(!context.contains_key(field), "{context:?}");
        }
        assert_eq!(context["runAsNonRoot"], true, "what restricted-v2 demands stays");
        assert_eq!(context["seccompProfile"], json!({"type": "RuntimeDefault"}));
    }
}

#[tokio::test]
async fn pods_listen_on_both_families_and_services_have_the_families_that_are_set() {
    let objects = render(&[]).await;
    let arguments = strings(&objects.one("Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]);
    assert!(arguments.contains(&"--listen=[::]:10250") && arguments.contains(&"--admin=[::]:8080"));
    for service in objects.all("Service") {
        assert!(service["spec"].get("ipFamilyPolicy").is_none(), "the cluster decides");
    }
    let both = "service.ipFamilyPolicy=PreferDualStack,service.ipFamilies={IPv4,IPv6}";
    let dual = render(&["--set", both]).await;
    for service in dual.all("Service") {
        assert_eq!(service["spec"]["ipFamilyPolicy"], "PreferDualStack");
        assert_eq!(items(&service["spec"]["ipFamilies"]), [json!("IPv4"), json!("IPv6")]);
    }
    let four = render(&["--set", "server.bindAddress=0.0.0.0"]).await;
    assert!(four.one("Deployment").to_string().contains("--listen=0.0.0.0:10250"));
}
