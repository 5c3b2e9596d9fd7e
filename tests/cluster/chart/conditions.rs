//! Which requests reach sandgate: the chart's own configurations, before a real sandgate, on a real API server.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::template_least as template;
use crate::{examples::plain_pod, sandbox::Sandbox};
use testbed::{Denial, eventually};

const REVIEWED: [&str; 2] = ["mutate.sandgate.dev", "validate.sandgate.dev"];

#[tokio::test]
async fn what_a_rule_could_read_is_sent() {
    let guarded = Guarded::new().await;
    guarded.sandbox.create(&plain_pod("main")).await.expect("it is admitted");
    let owner = guarded.owner().await;
    for (step, changes) in [
        ("label", json!({"metadata": {"labels": {"team": "blue"}}})),
        ("annotation", json!({"metadata": {"annotations": {"example.com/note": "x"}}})),
        ("owner", json!({"metadata": {"ownerReferences": [owner]}})),
        ("image", json!({"spec": {"containers": [{"name": "main", "image": "busybox:2"}]}})),
    ] {
        guarded.change("main", step, &changes).await.expect("it is admitted");
        assert_eq!(guarded.asked(step).await, BTreeSet::from(REVIEWED.map(str::to_owned)), "{step}");
    }
}

#[tokio::test]
async fn an_update_of_other_fields_is_not_sent() {
    let guarded = Guarded::new().await;
    let pod = guarded.sandbox.create_and_read(&plain_pod("main")).await;
    let finalizers = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    guarded.change("main", "finalizers", &finalizers).await.expect("it is admitted");
    assert!(guarded.asked("finalizers").await.is_empty());

    let mut same = guarded.sandbox.stored("main").await;
    same["metadata"]["managedFields"] = pod["metadata"]["managedFields"].clone();
    let path = guarded.sandbox.pods_path("/main?fieldManager=same");
    guarded.sandbox.rest.put(&path, &same).await.expect("it is admitted");
    assert!(guarded.asked("same").await.is_empty());
    guarded
        .change("main", "let-go", &json!({"metadata": {"finalizers": null}}))
        .await
        .expect("it is admitted");
}

/// Neither a Pod without labels and annotations, nor one that loses or gets its first, makes a condition fail: a
/// failure would deny the request.
#[tokio::test]
async fn fields_that_are_missing_before_or_after_do_no_harm() {
    let guarded = Guarded::new().await;
    // Made before it was guarded: it has none of either.
    let bare = "before";
    assert!(guarded.sandbox.stored(bare).await["metadata"].get("labels").is_none());
    let hold = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    guarded.change(bare, "bare-finalizers", &hold).await.expect("it is admitted");
    assert!(guarded.asked("bare-finalizers").await.is_empty());
    let status = json!({"status": {"message": "x"}});
    guarded.change_status(bare, "bare-status", &status).await.expect("it is admitted");
    assert!(guarded.asked("bare-status").await.is_empty());
    for (step, labels) in [("first-label", json!({"a": "b"})), ("last-label", Value::Null)] {
        let changes = json!({"metadata": {"labels": labels}});
        guarded.change(bare, step, &changes).await.expect("it had violated before");
        assert_eq!(guarded.asked(step).await.len(), 2, "{step}");
    }
    guarded.change(bare, "let-go", &json!({"metadata": {"finalizers": null}})).await.expect("it is admitted");
}

#[tokio::test]
async fn the_kubelets_status_is_not_sent() {
    let guarded = Guarded::new().await;
    guarded.sandbox.create(&plain_pod("main")).await.expect("it is admitted");
    let heartbeat = json!({"status": {"phase": "Running", "podIP": "10.0.0.7", "conditions": [
        {"type": "Ready", "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-01-01T00:00:00Z"}
    ]}});
    guarded.change_status("main", "heartbeat", &heartbeat).await.expect("it is admitted");
    assert!(guarded.asked("heartbeat").await.is_empty());
    assert_eq!(guarded.sandbox.stored("main").await["status"]["phase"], "Running");
}

#[tokio::test]
async fn labels_in_a_status_update_are_sent_and_validated() {
    let guarded = Guarded::new().await;
    guarded.sandbox.create(&plain_pod("main")).await.expect("it is admitted");
    let harmless = json!({"metadata": {"labels": {"team": "blue"}}});
    guarded.change_status("main", "status-label", &harmless).await.expect("it is admitted");
    assert_eq!(guarded.asked("status-label").await, BTreeSet::from(["status.sandgate.dev".to_owned()]));
    for (changes, rule) in [
        (json!({"metadata": {"labels": {"app": "other"}}}), "labels"),
        (json!({"metadata": {"annotations": {"dev.gvisor.spec.rootfs.source": "/"}}}), "gvisor-annotations"),
    ] {
        let denial = guarded.change_status("main", rule, &changes).await.expect_err("it is denied");
        assert!(denial.message.contains("status.sandgate.dev") && denial.names(rule), "{denial}");
    }
}

#[tokio::test]
#[cfg_attr(before_kubernetes = "1.35", ignore = "needs Kubernetes 1.35: labels of a Binding")]
async fn a_binding_without_labels_is_not_sent_and_others_are_validated() {
    let mut guarded = Guarded::new().await;
    let sandbox = &mut guarded.sandbox;
    for pod in ["one", "two", "three", "four"] {
        sandbox.create(&plain_pod(pod)).await.expect("it is admitted");
    }
    let binding = |pod: &str, metadata: &Value| {
        let mut binding = json!({"metadata": metadata, "target": {"kind": "Node", "name": "node-1"}});
        binding["metadata"]["name"] = json!(pod);
        binding
    };
    for (metadata, rule) in [
        (json!({"labels": {"app": "other"}}), "labels"),
        (json!({"annotations": {"dev.gvisor.spec.rootfs.source": "/"}}), "gvisor-annotations"),
    ] {
        for path in [sandbox.pods_path("/one/binding"), sandbox.path("/bindings")] {
            let denial = sandbox.rest.post(&path, &binding("one", &metadata)).await;
            let denial = denial.expect_err("it is denied");
            assert!(denial.message.contains("binding.sandgate.dev") && denial.names(rule), "{denial}");
        }
    }
    let harmless = binding("one", &json!({"annotations": {"example.com/gpu": "0"}}));
    sandbox.rest.post(&sandbox.pods_path("/one/binding"), &harmless).await.expect("it is admitted");

    sandbox.stop_sandgate();
    let plain = binding("two", &json!({}));
    sandbox.rest.post(&sandbox.pods_path("/two/binding"), &plain).await.expect("no webhook is called");
    // The API server copies these labels of the Node into the Binding, before it calls webhooks.
    let zone = json!({"topology.kubernetes.io/zone": "z1", "topology.kubernetes.io/region": "r1"});
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "zoned", "labels": zone}});
    sandbox.rest.apply("/api/v1/nodes/zoned", &node, true).await.expect("a node");
    let mut zoned = binding("four", &json!({}));
    zoned["target"]["name"] = json!("zoned");
    sandbox.rest.post(&sandbox.pods_path("/four/binding"), &zoned).await.expect("sandgate is not called");
    let labels = &sandbox.stored("four").await["metadata"]["labels"];
    assert_eq!(labels["topology.kubernetes.io/zone"], "z1", "the API server has copied it");
    let labelled = binding("three", &json!({"labels": {"team": "blue"}}));
    let denial = sandbox.rest.post(&sandbox.pods_path("/three/binding"), &labelled).await;
    assert!(denial.expect_err("sandgate does not answer").message.contains("binding.sandgate.dev"));
}

#[tokio::test]
#[cfg_attr(before_kubernetes = "1.33", ignore = "needs Kubernetes 1.33: pods/resize")]
async fn debugging_containers_and_resizes_are_sent() {
    let guarded = Guarded::new().await;
    let sandbox = &guarded.sandbox;
    sandbox.create(&plain_pod("main")).await.expect("it is admitted");
    let debugger = json!({"spec": {"ephemeralContainers": [
        {"name": "debugger", "image": "x", "securityContext": {"privileged": true}}
    ]}});
    let path = sandbox.pods_path("/main/ephemeralcontainers?fieldManager=debug");
    let denial = sandbox.rest.strategic_merge(&path, &debugger).await.expect_err("it is denied");
    assert!(denial.names("privileged"), "{denial}");
    let path = sandbox.pods_path("/main/resize?fieldManager=resize");
    let larger = json!({"spec": {"containers": [{"name": "main", "resources": {"limits": {"cpu": "7"}}}]}});
    let denial = sandbox.rest.strategic_merge(&path, &larger).await.expect_err("it is denied");
    assert!(denial.message.contains(".sandgate.dev"), "{denial}");
}

/// The API server bounds what its conditions may cost, and denies what costs more.
#[tokio::test]
async fn the_largest_pods_are_compared_within_the_budget() {
    let guarded = Guarded::new().await;
    let mut pod = plain_pod("main");
    let environment = (0..2000).map(|number| json!({"name": format!("V{number}"), "value": "x".repeat(470)}));
    pod["spec"]["containers"][0]["env"] = environment.collect();
    guarded.sandbox.create(&pod).await.expect("it is admitted");
    let hold = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    guarded.change("main", "large-same", &hold).await.expect("it is within the budget");
    assert!(guarded.asked("large-same").await.is_empty());
    let image = json!({"spec": {"containers": [{"name": "main", "image": "busybox:2"}]}});
    guarded.change("main", "large-image", &image).await.expect("it is within the budget");
    assert_eq!(guarded.asked("large-image").await.len(), 2);
    guarded
        .change("main", "let-go", &json!({"metadata": {"finalizers": null}}))
        .await
        .expect("it is admitted");
}

/// A namespace before which the chart's own configurations stand, with a Pod `before` that was there before them.
struct Guarded {
    sandbox: Sandbox,
}

impl Guarded {
    async fn new() -> Self {
        let sandbox = Sandbox::unguarded(&Value::Null, &json!({})).await;
        sandbox.create(&plain_pod("before")).await.expect("no webhook is called");
        let manifest = configurations(&sandbox, &[]).await;
        sandbox.bed.kubectl_reading(&manifest, &["create", "-f", "-"]).await.expect_success();
        let guarded = Self { sandbox };
        eventually("the API server asks sandgate", async || {
            let path = guarded.sandbox.pods_path("?dryRun=All&fieldManager=try");
            let _ = guarded.sandbox.rest.post(&path, &plain_pod("try")).await;
            Ok((guarded.asked("try").await.len() == REVIEWED.len()).then_some(()))
        })
        .await
        .expect("it asks");
        guarded
    }

    /// Something that may own a Pod.
    async fn owner(&self) -> Value {
        let map = json!({"metadata": {"name": "owner"}});
        let map = self.sandbox.rest.post(&self.sandbox.path("/configmaps"), &map).await.expect("a ConfigMap");
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": map["metadata"]["uid"]})
    }

    /// Changes a Pod; `step` is what the audit log knows the request by.
    async fn change(&self, pod: &str, step: &str, changes: &Value) -> Result<Value, Denial> {
        let path = self.sandbox.pods_path(&format!("/{pod}?fieldManager={step}"));
        self.sandbox.rest.strategic_merge(&path, changes).await
    }

    async fn change_status(&self, pod: &str, step: &str, changes: &Value) -> Result<Value, Denial> {
        let path = self.sandbox.pods_path(&format!("/{pod}/status?fieldManager={step}"));
        self.sandbox.rest.strategic_merge(&path, changes).await
    }

    /// The webhooks that were asked in the last request of this step: each leaves its verdict in the audit log.
    async fn asked(&self, step: &str) -> BTreeSet<String> {
        let Sandbox { bed, namespace, .. } = &self.sandbox;
        let of_step = |event: &Value| {
            event["requestURI"].as_str().is_some_and(|uri| uri.ends_with(&format!("fieldManager={step}")))
        };
        let event = eventually("the audit log has the request", async || {
            Ok(bed.audit_events(namespace)?.into_iter().rev().find(of_step))
        });
        let event = event.await.expect("an event");
        let annotations = event["annotations"].as_object().into_iter().flatten();
        annotations.filter_map(|(key, _)| Some(key.strip_suffix("/verdict")?.to_owned())).collect()
    }
}

/// The chart's two configurations with further flags, with names of this namespace, and its sandgate for an answer.
pub(crate) async fn configurations(sandbox: &Sandbox, further: &[&str]) -> String {
    let Sandbox { namespace, sandgate, .. } = sandbox;
    let flags = [
        format!("--set=fullnameOverride={namespace}"),
        format!("--set=policies.workflow-runner.namespaces={{{namespace}}}"),
        format!("--set=webhook.url={}", sandgate.url()),
        "--set=certificates.mode=files,certificates.secretName=tls".into(),
        format!("--set-file=certificates.caBundle={}", sandgate.ca_file().display()),
        "--show-only=templates/mutating-webhook.yaml".into(),
        "--show-only=templates/validating-webhook.yaml".into(),
    ];
    let flags = flags.each_ref().map(String::as_str);
    template(&[&flags, further].concat()).await.expect_success()
}
