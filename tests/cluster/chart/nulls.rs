//! null means "leave it alone": the field is left out, or has the program's own default.

use serde_json::{Value, json};

use super::{CHART, Objects, items, render, strings};
use testbed::helm;

#[tokio::test]
async fn replicas_that_are_null_are_left_to_another_owner() {
    let objects = render(&["--set", "replicas=null"]).await;
    assert!(objects.one("Deployment")["spec"].get("replicas").is_none());
}

#[tokio::test]
async fn every_null_renders_without_a_hole() {
    for value in [
        "global",
        "policyConfigMaps",
        "checkOtherReleases",
        "webhook.failurePolicy",
        "webhook.timeoutSeconds",
        "webhook.annotations",
        "webhook.mutate",
        "image.tag",
        "image.pullPolicy",
        "image.registry",
        "imagePullSecrets",
        "server.port",
        "server.adminPort",
        "server.bindAddress",
        "server.shutdownDelaySeconds",
        "server.drainTimeoutSeconds",
        "server.logFormat",
        "server.logLevel",
        "server.extraArgs",
        "server.clientCa.key",
        "server.clientCa.names",
        "resources",
        "podSecurityContext",
        "securityContext",
        "startupProbe",
        "readinessProbe",
        "livenessProbe",
        "strategy",
        "revisionHistoryLimit",
        "minReadySeconds",
        "spread.nodes",
        "spread.zones",
        "topologySpreadConstraints",
        "podDisruptionBudget.maxUnavailable",
        "priorityClassName",
        "nodeSelector",
        "tolerations",
        "affinity",
        "dnsPolicy",
        "dnsConfig",
        "hostAliases",
        "podLabels",
        "podAnnotations",
        "deploymentAnnotations",
        "commonLabels",
        "commonAnnotations",
        "extraEnv",
        "extraEnvFrom",
        "extraVolumes",
        "extraVolumeMounts",
        "initContainers",
        "extraContainers",
        "extraObjects",
        "nameOverride",
        "fullnameOverride",
        "serviceAccount.name",
        "serviceAccount.annotations",
        "service.type",
        "service.annotations",
        "service.labels",
        "service.ipFamilyPolicy",
        "service.ipFamilies",
        "networkPolicy.webhookFrom",
        "networkPolicy.apiServerPorts",
        "networkPolicy.extraEgress",
        "test.image",
        "test.namespaces",
        "test.resources",
        "workflowNamespaces.names",
        "runtimeClass.overhead",
    ] {
        let objects = render(&["--set", &format!("{value}=null")]).await;
        assert_has_no_hole(&objects, value);
        let replicas = &objects.one("Deployment")["spec"]["replicas"];
        assert_eq!(replicas, 2, "{value}");
    }
}

#[tokio::test]
async fn null_thresholds_are_those_of_the_chart() {
    let enabled = "metrics.prometheusRule.enabled=true";
    let usual = render(&["--set", enabled]).await;
    for value in [
        "certificateExpiryHours",
        "latencySeconds",
        "errorRatio",
        "denialsPerMinute",
        "dropsPerSecond",
        "labels",
    ] {
        let objects = render(&["--set", &format!("{enabled},metrics.prometheusRule.{value}=null")]).await;
        assert_eq!(objects.one("PrometheusRule"), usual.one("PrometheusRule"), "{value}");
    }
}

#[tokio::test]
async fn null_periods_are_those_of_the_program() {
    let flags = "server.shutdownDelaySeconds=null,server.drainTimeoutSeconds=null";
    let objects = render(&["--set", flags]).await;
    let pod = &objects.one("Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["terminationGracePeriodSeconds"], 30);
    let arguments = strings(&pod["containers"][0]["args"]);
    assert!(arguments.contains(&"--shutdown-delay=15"), "{arguments:?}");
    let zero = render(&["--set", "server.shutdownDelaySeconds=0"]).await;
    let zero = zero.one("Deployment").to_string();
    assert!(zero.contains("--shutdown-delay=0"), "zero is no null");
}

/// In a parent chart, where null does not remove a default.
#[tokio::test]
async fn a_parent_chart_has_its_own_policies_alone_and_switches_this_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let parent = folder.path();
    let write = |name: &str, text: &str| std::fs::write(parent.join(name), text).expect("it is written");
    let dependency = "{name: sandgate, version: 0.1.0, condition: sandgate.enabled}";
    write(
        "Chart.yaml",
        &format!("apiVersion: v2\nname: parent\nversion: 1.0.0\ndependencies: [{dependency}]\n"),
    );
    write(
        "values.yaml",
        "global: {imageRegistry: registry.example.com}\nsandgate:\n  enabled: true\n  image: {repository: team/sandgate}\n  \
         policies: {agents: {namespaces: [agents]}}\n  replicas: \"\"\n  podSecurityContext: {runAsUser: \"\"}\n",
    );
    std::fs::create_dir(parent.join("charts")).expect("a folder");
    std::os::unix::fs::symlink(CHART, parent.join("charts/sandgate")).expect("a link");
    let parent = parent.display().to_string();
    let rendered = helm(&["template", "parent", &parent, "--namespace", "x"]).await.expect("helm starts");
    let objects = Objects::read(&rendered.expect_success());
    for webhook in objects.webhooks() {
        assert_eq!(webhook["namespaceSelector"]["matchExpressions"][0]["values"], json!(["agents"]));
    }
    let image = &objects.one("Deployment")["spec"]["template"]["spec"]["containers"][0]["image"];
    assert!(image.as_str().is_some_and(|image| image.starts_with("registry.example.com/team/sandgate:")));
    let spec = &objects.one("Deployment")["spec"];
    assert!(spec.get("replicas").is_none(), "empty text is null");
    assert!(spec["template"]["spec"]["securityContext"].get("runAsUser").is_none(), "empty text is null");
    let off = ["template", "parent", &parent, "--namespace", "x", "--set", "sandgate.enabled=false"];
    let off = helm(&off).await.expect("helm starts").expect_success();
    assert!(Objects::read(&off).0.is_empty(), "{off}");
}

/// A hole is what a template leaves of a null: the text `<nil>`, or a field without a value that has a default.
fn assert_has_no_hole(objects: &Objects, value: &str) {
    for object in &objects.0 {
        let text = object.to_string();
        assert!(!text.contains("nil>"), "{value}: {object:#}");
        assert!(!has_null(object), "{value}: {object:#}");
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().any(has_null),
        Value::Array(_) => items(value).iter().any(has_null),
        _ => false,
    }
}
