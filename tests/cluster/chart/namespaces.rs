//! The release's own namespace: its quota and its level of Pod Security, and a rendering that is the same each time.

use serde_json::{Value, json};

use super::{Objects, items, render, render_scenario, scenario, template_least, title};
use testbed::shared;

/// A ResourceQuota of limits denies each container without them.
#[tokio::test]
async fn under_a_quota_every_container_can_have_limits() {
    let limits = "limits.cpu=1,limits.memory=128Mi";
    let flags = ["", "test.", "doctor.", "scan."]
        .map(|of| format!("--set={}", limits.replace("limits", &format!("{of}resources.limits"))));
    let schedule = "--set=scan.schedule=17 3 * * *".to_owned();
    let flags: Vec<&str> = flags.iter().chain([&schedule]).map(String::as_str).collect();
    let objects = render(&flags).await;
    let pods = pod_specs(&objects);
    assert_eq!(pods.len(), 3, "the webhook, the test and the scan");
    for (name, pod) in pods {
        for container in items(&pod["containers"]).iter().chain(items(&pod["initContainers"])) {
            for resource in ["cpu", "memory"] {
                let limit = &container["resources"]["limits"][resource];
                assert!(limit.is_string() || limit.is_number(), "{name}: {container:#}");
            }
        }
    }
}

#[tokio::test]
async fn every_pod_of_the_release_passes_the_level_restricted() {
    let bed = shared().await;
    let rest = bed.rest().await.expect("a client");
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let metadata = json!({"generateName": "restricted-", "labels": labels});
    let namespace = bed.namespace(&rest, &metadata).await.expect("a namespace");
    for name in ["defaults", "openshift", "production"] {
        let objects = render_scenario(&scenario(name)).await;
        let pods = pod_specs(&objects);
        assert!(pods.len() >= 2, "{name}: the webhook and the test");
        for (title, mut spec) in pods {
            spec["serviceAccountName"] = json!("default");
            spec["priorityClassName"] = Value::Null;
            let pod = json!({"metadata": {"generateName": "release-"}, "spec": spec});
            let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
            let stored = rest.post(&path, &pod).await;
            assert!(stored.is_ok(), "{name}: {title}: {stored:?}");
        }
    }
}

/// A difference would be a change for Argo CD, each time that it looks.
#[tokio::test]
async fn the_same_values_render_the_same_text() {
    let values = scenario("everything");
    let text = async || template_least(&["--values", &values]).await.expect_success();
    assert_eq!(text().await, text().await);
}

/// The specification of each Pod that the chart has, itself or in a template.
fn pod_specs(objects: &Objects) -> Vec<(String, Value)> {
    let places = [
        ("Pod", "/spec"),
        ("Deployment", "/spec/template/spec"),
        ("CronJob", "/spec/jobTemplate/spec/template/spec"),
    ];
    let found = places.iter().flat_map(|(kind, place)| {
        objects.all(kind).filter_map(|object| Some((title(object), object.pointer(place)?.clone())))
    });
    found.collect()
}
