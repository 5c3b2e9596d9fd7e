//! What the chart renders.

use std::{collections::BTreeSet, process::Command};

use sandgate_engine::{
    policy::{PolicySet, Source},
    workload::{KINDS, Templates, WorkloadKind},
};
use serde_json::{Value, json};

use super::{
    CHART, NAMESPACE, Objects, items, render, render_scenario, scenario, scenarios, strings, template_least,
    title,
};
use testbed::helm;

#[tokio::test]
async fn every_scenario_passes_a_strict_lint() {
    for scenario in scenarios() {
        let output = helm(&["lint", "--strict", CHART, "--values", &scenario]).await.expect("helm starts");
        let output = output.expect_success();
        for level in ["[INFO]", "[WARNING]", "[ERROR]"] {
            assert!(!output.contains(level), "{scenario}: {output}");
        }
    }
}

#[tokio::test]
async fn in_mode_managed_the_webhooks_come_without_rules_and_ca_and_the_rules_stand_in_an_annotation() {
    // Even if a value sets one.
    let pem = "-----BEGIN CERTIFICATE-----";
    let objects = render(&["--set", &format!("certificates.caBundle={pem}")]).await;
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let configuration = objects.one(kind);
        let rules = configuration["metadata"]["annotations"]["sandgate.dev/rules"].as_str();
        let rules: Value = serde_json::from_str(rules.expect("the annotation")).expect("it is JSON");
        let webhooks = items(&configuration["webhooks"]);
        assert_eq!(rules.as_object().map(serde_json::Map::len), Some(webhooks.len()));
        for webhook in webhooks {
            assert!(webhook.get("rules").is_none(), "{webhook:#}");
            assert!(webhook["clientConfig"].get("caBundle").is_none(), "{webhook:#}");
            let name = webhook["name"].as_str().expect("a name");
            assert_eq!(rules[name], rules_of(name), "{name}");
        }
    }
}

#[tokio::test]
async fn in_the_other_modes_the_rules_stand_where_they_count() {
    for name in ["files", "cert-manager", "cert-manager-issuer"] {
        let objects = render_scenario(&scenario(name)).await;
        for webhook in objects.webhooks() {
            assert_eq!(webhook["rules"], rules_of(webhook["name"].as_str().expect("a name")), "{name}");
            let has_ca = webhook["clientConfig"].get("caBundle").is_some();
            assert_eq!(has_ca, name == "files", "only files bring a CA: {webhook:#}");
        }
        let annotations = &objects.one("ValidatingWebhookConfiguration")["metadata"]["annotations"];
        assert!(annotations.get("sandgate.dev/rules").is_none(), "{annotations}");
        let injected = annotations.get("cert-manager.io/inject-ca-from");
        let wanted = json!("sandgate-system/sandgate");
        assert_eq!(injected, (name != "files").then_some(&wanted), "{name}");
    }
}

/// What each webhook is to be asked about.
fn rules_of(webhook: &str) -> Value {
    let rule = |operations: Value, resources: Value| json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": operations, "resources": resources, "scope": "Namespaced"});
    match webhook {
        "status.sandgate.dev" => json!([rule(json!(["UPDATE"]), json!(["pods/status"]))]),
        "binding.sandgate.dev" => json!([rule(json!(["CREATE"]), json!(["pods/binding", "bindings"]))]),
        _ => json!([
            rule(json!(["CREATE", "UPDATE"]), json!(["pods"])),
            rule(json!(["UPDATE"]), json!(["pods/ephemeralcontainers", "pods/resize"])),
        ]),
    }
}

#[tokio::test]
async fn the_webhooks_fail_closed_and_select_by_the_namespaces_name_alone() {
    let objects = render(&[]).await;
    let names: Vec<_> = objects.webhooks().iter().map(|webhook| webhook["name"].clone()).collect();
    assert_eq!(
        names,
        ["mutate.sandgate.dev", "validate.sandgate.dev", "status.sandgate.dev", "binding.sandgate.dev"]
    );
    for webhook in objects.webhooks() {
        assert_eq!(webhook["failurePolicy"], "Fail");
        assert_eq!(webhook["matchPolicy"], "Equivalent");
        assert_eq!(webhook["sideEffects"], "NoneOnDryRun");
        assert_eq!(webhook["timeoutSeconds"], 5);
        assert!(webhook.get("objectSelector").is_none(), "{webhook:#}");
        let of_name =
            json!([{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["workflows"]}]);
        assert_eq!(webhook["namespaceSelector"], json!({"matchExpressions": of_name}));
        let path = if webhook["name"] == "mutate.sandgate.dev" { "/mutate" } else { "/validate" };
        let service = json!({"name": "sandgate", "namespace": "sandgate-system", "path": path, "port": 443});
        assert_eq!(webhook["clientConfig"]["service"], service);
    }
    assert_eq!(objects.one("MutatingWebhookConfiguration")["webhooks"][0]["reinvocationPolicy"], "IfNeeded");
}

#[tokio::test]
async fn the_webhook_of_templates_is_called_where_asked_for_fails_open_and_soon() {
    let enabled = "webhook.templates.enabled=true";
    let objects =
        render(&["--set", enabled, "--set", "webhook.failurePolicy=Fail,webhook.timeoutSeconds=9"]).await;
    let webhooks = items(&objects.one("MutatingWebhookConfiguration")["webhooks"]);
    assert_eq!(webhooks.len(), 2);
    let webhook = &webhooks[1];
    let fields =
        ["name", "failurePolicy", "timeoutSeconds", "reinvocationPolicy"].map(|field| webhook[field].clone());
    assert_eq!(fields, [json!("templates.sandgate.dev"), json!("Ignore"), json!(1), json!("Never")]);
    assert_eq!(webhook["clientConfig"]["service"]["path"], "/templates");
    assert_eq!(webhook["namespaceSelector"], webhooks[0]["namespaceSelector"]);

    // Only where templates are filled are the requests of controllers of use.
    let conditions = |webhook: &Value| items(&webhook["matchConditions"]).len();
    assert_eq!(conditions(webhook), 2);
    let filling = render(&["--set", enabled, "--set", "policies.workflow-runner.templates=fill"]).await;
    assert_eq!(conditions(&filling.one("MutatingWebhookConfiguration")["webhooks"][1]), 1);

    let no_kinds = template_least(&["--set", enabled, "--set-json", "webhook.templates.kinds=[]"]).await;
    assert!(no_kinds.expect_failure().contains("webhook.templates.kinds is empty"));
}

/// A kind that the engine learns is one to send.
#[tokio::test]
async fn every_kind_with_pods_that_can_be_seen_is_sent_by_default() {
    let objects = render(&["--set", "webhook.templates.enabled=true"]).await;
    let rules = &objects.one("MutatingWebhookConfiguration")["metadata"]["annotations"]["sandgate.dev/rules"];
    let rules: Value = serde_json::from_str(rules.as_str().expect("the annotation")).expect("it is JSON");
    let mut sent = BTreeSet::new();
    for rule in items(&rules["templates.sandgate.dev"]) {
        for resource in strings(&rule["resources"]) {
            sent.insert((strings(&rule["apiGroups"])[0].to_owned(), resource.to_owned()));
        }
    }
    let of_no_namespace = ["ClusterTrainingRuntime", "ClusterWorkflowTemplate"];
    let has_templates = |kind: &&WorkloadKind| {
        !matches!(kind.templates, Templates::Whole | Templates::Reference(..))
            && !of_no_namespace.contains(&kind.kind)
    };
    let plural = |kind: &str| {
        let plural = if kind.ends_with('x') { "es" } else { "s" };
        format!("{}{plural}", kind.to_lowercase())
    };
    let known: BTreeSet<_> =
        KINDS.iter().filter(has_templates).map(|kind| (kind.group.to_owned(), plural(kind.kind))).collect();
    assert_eq!(sent, known);
}

#[tokio::test]
async fn an_audit_file_has_a_volume_for_all_that_is_kept() {
    let volume = |objects: &Objects| {
        let spec = objects.one("Deployment")["spec"]["template"]["spec"].clone();
        let container = &spec["containers"][0];
        let mounts = items(&container["volumeMounts"]);
        let mount = mounts.iter().find(|mount| mount["name"] == "audit").expect("it is mounted");
        let path = mount["mountPath"].as_str().expect("a path");
        assert!(mount.get("readOnly").is_none());
        let flags = strings(&container["args"]);
        assert!(flags.contains(&&*format!("--audit-file={path}/$(POD_NAME).jsonl")), "{flags:?}");
        assert!(
            items(&container["env"]).iter().any(|variable| variable["name"] == "POD_NAME"),
            "{container:#}"
        );
        items(&spec["volumes"]).iter().find(|volume| volume["name"] == "audit").expect("a volume").clone()
    };
    let own =
        render(&["--set", "server.audit=file,server.auditFile.maxBytes=1000000,server.auditFile.keep=4"]);
    // Five files, and 16 MiB.
    assert_eq!(volume(&own.await)["emptyDir"], json!({"sizeLimit": (5_000_000 + (16 << 20)).to_string()}));
    let claimed = volume(&render_scenario(&scenario("audit-file")).await);
    assert_eq!(claimed["persistentVolumeClaim"], json!({"claimName": "sandgate-audit"}));
    let default = render(&[]).await.one("Deployment").to_string();
    assert!(!default.contains("/var/log/sandgate"), "{default}");
}

#[tokio::test]
async fn a_control_plane_that_reaches_no_service_is_given_a_url() {
    let objects = render(&["--set", "webhook.url=https://gate.example.com:8443"]).await;
    let urls: Vec<_> =
        objects.webhooks().iter().map(|webhook| webhook["clientConfig"]["url"].clone()).collect();
    let url = |path: &str| json!(format!("https://gate.example.com:8443/{path}"));
    assert_eq!(urls, [url("mutate"), url("validate"), url("validate"), url("validate")]);
    assert!(objects.webhooks().iter().all(|webhook| webhook["clientConfig"].get("service").is_none()));
    let names: Vec<_> = arguments(&objects).into_iter().filter(|flag| flag.contains("server-name")).collect();
    assert_eq!(names, ["--server-name=gate.example.com"]);
}

#[tokio::test]
async fn a_certificate_of_cert_manager_holds_for_the_names_that_the_api_server_calls() {
    let objects = render_scenario(&scenario("cert-manager")).await;
    let certificate = objects.one("Certificate");
    let names = ["sandgate.sandgate-system.svc", "sandgate.sandgate-system.svc.cluster.local"];
    assert_eq!(certificate["spec"]["dnsNames"], json!(names));
    assert_eq!(certificate["spec"]["issuerRef"], json!({"kind": "Issuer", "name": "sandgate"}));
    assert_eq!(objects.all("Issuer").count(), 1);

    let objects = render_scenario(&scenario("cert-manager-issuer")).await;
    let certificate = objects.one("Certificate");
    assert_eq!(certificate["spec"]["dnsNames"], json!(["sandgate.example.com"]));
    assert_eq!(certificate["spec"]["issuerRef"]["kind"], "ClusterIssuer");
    assert_eq!(objects.all("Issuer").count(), 0);

    let objects = render_scenario(&scenario("cert-manager-address")).await;
    let certificate = objects.one("Certificate");
    assert_eq!(certificate["spec"]["ipAddresses"], json!(["2001:db8::7"]));
    assert!(certificate["spec"].get("dnsNames").is_none());
}

/// It need not hold for more than the name that the API server asks for.
#[tokio::test]
async fn a_certificate_of_ones_own_must_hold_for_one_name() {
    let pem = "certificates.caBundle=-----BEGIN CERTIFICATE-----";
    let files = ["--set", "certificates.mode=files,certificates.secretName=tls", "--set", pem];
    let objects = render(&files).await;
    let flags = arguments(&objects);
    assert!(flags.contains(&"--server-name=sandgate.sandgate-system.svc"), "{flags:?}");
    let volumes = &objects.one("Deployment")["spec"]["template"]["spec"]["volumes"];
    assert_eq!(volumes[1]["secret"]["secretName"], "tls");
}

/// The Pods read the ConfigMap; what they read must be what the values say.
#[tokio::test]
async fn the_policies_load_and_guard_exactly_the_namespaces_that_the_webhooks_select() {
    for scenario in scenarios() {
        let objects = render_scenario(&scenario).await;
        let policies = policies(&objects);
        super::scopes::assert_scopes(&objects, &policies, &scenario);
    }
    let objects = render_scenario(&scenario("production")).await;
    let policies = policies(&objects);
    let ci = policies.policies().iter().find(|policy| policy.name == "ci").expect("a policy");
    assert_eq!(ci.base().spec.security.run_as_user.max, 2_000_000, "large numbers stay numbers");
    let objects = render_scenario(&scenario("files")).await;
    let names: Vec<_> =
        self::policies(&objects).policies().iter().map(|policy| policy.name.clone()).collect();
    assert_eq!(names, ["agents"], "there is no default policy");
}

/// What the Pods load: the files of every ConfigMap with policies.
pub(super) fn policies(objects: &Objects) -> PolicySet {
    let names = |map: &&Value| map["metadata"]["name"].as_str().is_some_and(|name| name.contains("-policy"));
    let files = objects.all("ConfigMap").filter(names).filter_map(|map| map["data"].as_object()).flatten();
    let mut sources: Vec<_> = files
        .map(|(name, text)| Source {
            name: name.clone(),
            text: text.as_str().expect("it has text").to_owned(),
        })
        .collect();
    // By the names of the policies, as the chart has them: "a.yaml" comes after "a-b.yaml".
    sources.sort_by_key(|source| source.name.trim_end_matches(".yaml").to_owned());
    let policies =
        PolicySet::from_sources(&sources).unwrap_or_else(|errors| panic!("the policies load: {errors}"));
    policies.with_release_namespace(NAMESPACE)
}

/// Helm changes the ConfigMap, and no Pod restarts.
#[tokio::test]
async fn a_change_of_policy_does_not_roll_the_pods() {
    let before = render(&[]).await;
    let after = render(&["--set", "policies.other.namespaces={other}"]).await;
    assert_ne!(before.one("ConfigMap"), after.one("ConfigMap"));
    assert_eq!(before.one("Deployment"), after.one("Deployment"));
}

#[tokio::test]
async fn the_grace_period_lasts_longer_than_serving_on_and_draining() {
    let objects =
        render(&["--set", "server.shutdownDelaySeconds=40", "--set", "server.drainTimeoutSeconds=20"]).await;
    let grace = &objects.one("Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"];
    assert!(grace.as_i64().is_some_and(|grace| grace > 60), "{grace}");
    let flags = arguments(&objects);
    assert!(flags.contains(&"--shutdown-delay=40") && flags.contains(&"--drain-timeout=20"), "{flags:?}");
}

#[tokio::test]
async fn the_pods_are_confined_and_ask_for_little() {
    let objects = render(&[]).await;
    let pod = &objects.one("Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsUser"], 65532);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let container = &pod["containers"][0];
    let confined = json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
    assert_eq!(container["securityContext"], confined);
    assert!(container["resources"]["limits"].get("cpu").is_none(), "a throttled webhook delays creates");
    for (probe, path) in
        [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
    {
        assert_eq!(container[probe]["httpGet"], json!({"path": path, "port": "admin"}));
    }
    let keys: Vec<_> = items(&pod["topologySpreadConstraints"])
        .iter()
        .map(|constraint| constraint["topologyKey"].clone())
        .collect();
    assert_eq!(keys, ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]);
}

#[tokio::test]
async fn the_image_is_named_by_digest_before_tag_before_the_charts_version() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let by_digest = format!("image.digest={digest}");
    let cases: [(&[&str], String); 3] = [
        (&[], format!("registry.example.com/sandgate:{}", env!("CARGO_PKG_VERSION"))),
        (&["--set", "image.tag=v7"], "registry.example.com/sandgate:v7".into()),
        (&["--set", "image.tag=v7", "--set", &by_digest], format!("registry.example.com/sandgate@{digest}")),
    ];
    for (flags, image) in cases {
        let objects = render(flags).await;
        assert_eq!(objects.one("Deployment")["spec"]["template"]["spec"]["containers"][0]["image"], image);
        assert_eq!(objects.one("Pod")["spec"]["containers"][0]["image"], image);
    }
}

#[tokio::test]
async fn every_object_is_labelled_and_only_the_webhooks_pods_are_selected() {
    for scenario in scenarios() {
        let objects = render_scenario(&scenario).await;
        let deployment = objects.one("Deployment");
        let pod = deployment["spec"]["template"]["metadata"]["labels"].as_object().expect("labels");
        for object in &objects.0 {
            let labels = &object["metadata"]["labels"];
            for key in ["app.kubernetes.io/name", "app.kubernetes.io/instance"] {
                assert_eq!(labels[key], pod[key], "{scenario}: {}", title(object));
            }
            assert_eq!(labels["app.kubernetes.io/managed-by"], "Helm", "{scenario}: {}", title(object));
        }
        let of_test = objects.all("Pod").map(|pod| &pod["metadata"]["labels"]);
        let of_test: Vec<_> = of_test.collect();
        for selector in selectors(&objects) {
            let selector = selector.as_object().expect("a selector has labels");
            assert!(!selector.is_empty());
            assert!(
                selector.iter().all(|(key, value)| pod.get(key) == Some(value)),
                "{scenario}: {selector:?}"
            );
            for labels in &of_test {
                assert!(selector.iter().any(|(key, value)| labels.get(key) != Some(value)), "{selector:?}");
            }
        }
    }
}

/// Whatever selects the webhook's Pods.
fn selectors(objects: &Objects) -> Vec<&Value> {
    let mut found: Vec<_> = objects.all("Service").map(|service| &service["spec"]["selector"]).collect();
    for kind in ["Deployment", "PodDisruptionBudget", "PodMonitor"] {
        found.extend(objects.all(kind).map(|object| &object["spec"]["selector"]["matchLabels"]));
    }
    let of_release = |policy: &&Value| policy["metadata"]["namespace"] == super::NAMESPACE;
    let policies = objects.all("NetworkPolicy").filter(of_release);
    found.extend(policies.map(|policy| &policy["spec"]["podSelector"]["matchLabels"]));
    let pod = &objects.one("Deployment")["spec"]["template"]["spec"];
    let spread = items(&pod["topologySpreadConstraints"]).iter();
    found.extend(spread.map(|constraint| &constraint["labelSelector"]["matchLabels"]));
    found
}

#[tokio::test]
async fn a_service_monitor_finds_the_service_of_the_metrics_alone() {
    let objects = render_scenario(&scenario("production")).await;
    let selector = &objects.one("ServiceMonitor")["spec"]["selector"]["matchLabels"];
    let selector = selector.as_object().expect("labels");
    let fits = |service: &&Value| {
        selector.iter().all(|(key, value)| service["metadata"]["labels"].get(key) == Some(value))
    };
    let found: Vec<_> =
        objects.all("Service").filter(fits).map(|service| &service["metadata"]["name"]).collect();
    assert_eq!(found, ["sandgate-metrics"]);
}

#[tokio::test]
async fn what_is_optional_is_off_unless_asked_for() {
    let objects = render(&[]).await;
    let kinds: BTreeSet<_> =
        objects.0.iter().map(|object| object["kind"].as_str().expect("a kind")).collect();
    let wanted = [
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        "Deployment",
        "MutatingWebhookConfiguration",
        "NetworkPolicy",
        "Pod",
        "PodDisruptionBudget",
        "Role",
        "RoleBinding",
        "Service",
        "ServiceAccount",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
    ];
    assert_eq!(kinds, BTreeSet::from(wanted));
}

#[tokio::test]
async fn an_autoscaler_owns_the_number_of_replicas() {
    let objects = render(&["--set", "autoscaling.enabled=true"]).await;
    assert!(objects.one("Deployment")["spec"].get("replicas").is_none());
    assert_eq!(objects.one("HorizontalPodAutoscaler")["spec"]["minReplicas"], 2);
    assert_eq!(render(&[]).await.one("Deployment")["spec"]["replicas"], 2);
}

/// The flags of the webhook.
fn arguments(objects: &Objects) -> Vec<&str> {
    strings(&objects.one("Deployment")["spec"]["template"]["spec"]["containers"][0]["args"])
}

/// With `--help` behind them: a flag that is not known comes before it.
#[tokio::test]
async fn the_program_accepts_every_flag_of_the_chart() {
    for scenario in scenarios() {
        let objects = render_scenario(&scenario).await;
        let webhook = &objects.one("Deployment")["spec"]["template"];
        for pod in [webhook].into_iter().chain(objects.all("Pod")) {
            let flags = strings(&pod["spec"]["containers"][0]["args"]);
            let output = Command::new(env!("CARGO_BIN_EXE_sandgate"))
                .args(&flags)
                .arg("--help")
                .output()
                .expect("sandgate starts");
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{scenario}: {flags:?}: {complaint}");
        }
    }
}
