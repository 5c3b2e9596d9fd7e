//! What users of other charts expect to set, as one scenario sets all of it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Objects, items, render, render_scenario, scenario, strings, title};

async fn everything() -> Objects {
    render_scenario(&scenario("everything")).await
}

fn pod(objects: &Objects) -> &Value {
    &objects.one("Deployment")["spec"]["template"]["spec"]
}

#[tokio::test]
async fn every_object_has_the_common_annotations() {
    for object in &everything().await.0 {
        assert_eq!(object["metadata"]["annotations"]["example.com/owner"], "platform", "{}", title(object));
    }
}

#[tokio::test]
async fn the_pods_take_what_is_set() {
    let objects = everything().await;
    let deployment = objects.one("Deployment");
    assert_eq!(deployment["metadata"]["annotations"]["example.com/deployment"], "yes");
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"], json!({"maxSurge": 0, "maxUnavailable": 1}));
    assert_eq!(deployment["spec"]["revisionHistoryLimit"], 3);
    assert_eq!(deployment["spec"]["minReadySeconds"], 5);
    assert_eq!(deployment["spec"]["template"]["metadata"]["annotations"]["example.com/pod"], "yes");
    let pod = pod(&objects);
    assert_eq!(pod["hostNetwork"], true);
    assert_eq!(pod["dnsPolicy"], "ClusterFirstWithHostNet");
    assert_eq!(pod["dnsConfig"]["options"][0]["name"], "ndots");
    assert_eq!(pod["hostAliases"][0]["ip"], "192.0.2.1");
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "company"}]));
    assert_eq!(pod["topologySpreadConstraints"][0]["maxSkew"], 2);
    assert_eq!(pod["nodeSelector"], json!({"kubernetes.io/os": "linux"}));
    assert_eq!(pod["initContainers"][0]["name"], "first");
    let [container, beside] = items(&pod["containers"]) else { panic!("two containers: {pod:#}") };
    assert_eq!(beside["name"], "beside");
    assert_eq!(container["image"], "registry.example.com/security/sandgate:1");
    assert!(items(&container["env"]).iter().any(|one| one["name"] == "OTEL_EXPORTER_OTLP_ENDPOINT"));
    assert_eq!(container["envFrom"][0]["configMapRef"]["name"], "more");
    assert!(items(&container["volumeMounts"]).iter().any(|mount| mount["mountPath"] == "/etc/otlp"));
    assert!(items(&pod["volumes"]).iter().any(|volume| volume["name"] == "otlp-ca"));
    let probe =
        json!({"httpGet": {"path": "/healthz", "port": "admin"}, "periodSeconds": 2, "failureThreshold": 30});
    assert_eq!(container["startupProbe"], probe);
}

#[tokio::test]
async fn a_webhook_can_have_its_own_failure_policy_and_timeout() {
    let objects = everything().await;
    let found: Vec<_> = objects
        .webhooks()
        .iter()
        .map(|webhook| {
            json!([webhook["name"], webhook["failurePolicy"], webhook["timeoutSeconds"]]).to_string()
        })
        .collect();
    let wanted = [
        r#"["mutate.sandgate.dev","Fail",5]"#,
        r#"["templates.sandgate.dev","Ignore",1]"#,
        r#"["validate.sandgate.dev","Fail",5]"#,
        r#"["status.sandgate.dev","Ignore",5]"#,
        r#"["binding.sandgate.dev","Ignore",2]"#,
    ];
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn monitoring_objects_take_namespaces_annotations_and_relabelings() {
    let objects = everything().await;
    let service = objects.one("ServiceMonitor");
    assert_eq!(service["metadata"]["namespace"], "monitoring");
    assert_eq!(service["metadata"]["annotations"]["example.com/monitor"], "yes");
    assert_eq!(service["spec"]["namespaceSelector"]["matchNames"], json!([super::NAMESPACE]));
    let endpoint = &service["spec"]["endpoints"][0];
    assert_eq!(endpoint["scrapeTimeout"], "10s");
    assert_eq!(endpoint["relabelings"][0]["action"], "labeldrop");
    let pods = &objects.one("PodMonitor")["spec"]["podMetricsEndpoints"][0];
    assert_eq!(pods["metricRelabelings"][0]["action"], "drop");
    assert_eq!(objects.one("PrometheusRule")["metadata"]["namespace"], "monitoring");
    let dashboards =
        objects.all("ConfigMap").filter(|map| map["metadata"]["labels"]["grafana_dashboard"] == "1");
    let dashboard = &dashboards.collect::<Vec<_>>()[0]["metadata"];
    assert_eq!(dashboard["namespace"], "monitoring");
    assert_eq!(dashboard["annotations"]["grafana_folder"], "Security");
}

#[tokio::test]
async fn scaling_budget_flow_schema_and_further_objects_are_as_set() {
    let objects = everything().await;
    let scaler = &objects.one("HorizontalPodAutoscaler")["spec"];
    let names: Vec<_> =
        items(&scaler["metrics"]).iter().map(|metric| metric["resource"]["name"].clone()).collect();
    assert_eq!(names, ["cpu", "memory"]);
    assert_eq!(scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"], 600);
    let budget = &objects.one("PodDisruptionBudget")["spec"];
    assert_eq!(budget["minAvailable"], "50%");
    assert!(budget.get("maxUnavailable").is_none());
    let schema = &objects.one("FlowSchema")["spec"];
    let subject = &schema["rules"][0]["subjects"][0]["serviceAccount"];
    assert_eq!(subject["name"], objects.one("Deployment")["spec"]["template"]["spec"]["serviceAccountName"]);
    assert!(objects.all("ConfigMap").any(|map| map["metadata"]["name"] == "sandgate-more"), "a template");
}

#[tokio::test]
async fn images_take_the_most_specific_registry() {
    let image = async |flags: &str| {
        let objects = render(&["--set", flags]).await;
        pod(&objects)["containers"][0]["image"].as_str().expect("an image").to_owned()
    };
    let own = "image.repository=team/sandgate,image.tag=v1,image.registry=own.example.com:5000/mirror";
    assert_eq!(image(own).await, "own.example.com:5000/mirror/team/sandgate:v1");
    let both = &format!("{own},global.imageRegistry=global.example.com");
    assert_eq!(image(both).await, "own.example.com:5000/mirror/team/sandgate:v1");
    let global = "image.repository=team/sandgate,image.tag=v1,global.imageRegistry=global.example.com";
    assert_eq!(image(global).await, "global.example.com/team/sandgate:v1");
    let named = "image.repository=localhost/sandgate,image.tag=v1,global.imageRegistry=global.example.com";
    assert_eq!(image(named).await, "localhost/sandgate:v1", "the repository names its registry");
}

#[tokio::test]
async fn an_api_server_with_a_certificate_or_a_token_is_verified() {
    let flags = [
        "--set=server.clientCa.configMap=front-proxy,server.clientCa.names={kube-apiserver,other}",
        "--set=server.clientTokens.configMap=keys,server.clientTokens.audience=sandgate",
    ];
    let objects = render(&flags).await;
    let arguments: BTreeSet<_> = strings(&pod(&objects)["containers"][0]["args"]).into_iter().collect();
    for flag in [
        "--client-ca=/etc/sandgate/client-ca/ca.crt",
        "--client-name=kube-apiserver",
        "--client-name=other",
        "--token-jwks=/etc/sandgate/client-tokens/jwks.json",
        "--token-audience=sandgate",
    ] {
        assert!(arguments.contains(flag), "{flag}: {arguments:?}");
    }
    let volume = |objects: &Objects, name: &str| {
        items(&pod(objects)["volumes"]).iter().find(|volume| volume["name"] == name).cloned()
    };
    assert_eq!(volume(&objects, "client-ca").expect("a volume")["configMap"]["name"], "front-proxy");
    assert_eq!(volume(&objects, "client-tokens").expect("a volume")["configMap"]["name"], "keys");
    let secret = render(&["--set=server.clientCa.secret=front-proxy"]).await;
    let secret = volume(&secret, "client-ca").expect("a volume");
    assert_eq!(secret["secret"]["secretName"], "front-proxy");
    let items = json!([{"key": "ca.crt", "path": "ca.crt"}]);
    assert_eq!(secret["secret"]["items"], items, "only the CA of a Secret that may hold a key");
    let neither = render(&[]).await;
    assert!(volume(&neither, "client-ca").is_none() && volume(&neither, "client-tokens").is_none());
}

/// Each field that the chart writes has a digest, so that sandgate sees a change of any.
#[tokio::test]
async fn every_field_of_a_managed_webhook_has_a_digest() {
    let objects = render(&[]).await;
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let configuration = objects.one(kind);
        let digests = configuration["metadata"]["annotations"]["sandgate.dev/rendered"].as_str();
        let digests: Value = serde_json::from_str(digests.expect("the annotation")).expect("it is JSON");
        assert_eq!(
            digests.as_object().map(serde_json::Map::len),
            Some(items(&configuration["webhooks"]).len())
        );
        for webhook in items(&configuration["webhooks"]) {
            let fields = webhook.as_object().expect("a webhook");
            let mut wanted: BTreeSet<_> = fields.keys().map(String::as_str).collect();
            wanted.remove("name");
            wanted.insert("objectSelector");
            let found = digests[webhook["name"].as_str().expect("a name")].as_object().expect("digests");
            assert_eq!(found.keys().map(String::as_str).collect::<BTreeSet<_>>(), wanted);
            assert!(found.values().all(|digest| digest.as_str().is_some_and(|text| text.len() == 16)));
        }
    }
    let changed = render(&["--set=webhook.timeoutSeconds=7"]).await;
    let of = |objects: &Objects| {
        objects.one("MutatingWebhookConfiguration")["metadata"]["annotations"]["sandgate.dev/rendered"]
            .clone()
    };
    assert_ne!(of(&objects), of(&changed));
    let files = render_scenario(&scenario("cert-manager")).await;
    assert!(of(&files).is_null(), "sandgate reads configurations in mode managed only");
}

#[tokio::test]
async fn helm_test_tries_every_enforced_namespace_and_can_be_switched_off() {
    let objects = everything().await;
    let tested: Vec<_> = items(&objects.one("Pod")["spec"]["containers"])
        .iter()
        .filter(|container| container["args"][0] == "probe")
        .map(|container| container["args"][1].as_str().expect("a flag").to_owned())
        .collect();
    assert_eq!(tested, ["--namespace=agents", "--namespace=workflows"]);
    let of_test = |role: &&Value| {
        role["metadata"]["annotations"]["helm.sh/hook"] == "test"
            && role["metadata"]["namespace"] != super::NAMESPACE
    };
    assert_eq!(objects.all("Role").filter(of_test).count(), 2);
    assert_eq!(objects.one("Pod")["spec"]["containers"][0]["resources"]["limits"]["cpu"], "50m");
    let off = render(&["--set=test.enabled=false"]).await;
    assert!(off.0.iter().all(|object| object["metadata"]["annotations"].get("helm.sh/hook").is_none()));
}
