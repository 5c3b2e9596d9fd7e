//! Updates of a Pod that is older than the policy: what it violated before is not held against it.

use serde_json::{Value as Json, json};

use super::fixture::{Fixture, rules_of};

fn old_pod() -> Json {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "old", "labels": {"app": "workflow-runner", "tier": "x"}},
        "spec": {
            "runtimeClassName": "gvisor",
            "hostNetwork": true,
            "containers": [{"name": "main", "image": "registry.example.com/runner:1", "securityContext": {"privileged": true}}],
        },
    })
}

#[tokio::test]
async fn update_is_held_against_new_violations_only() {
    let fixture = Fixture::new("updating", &json!({})).await;
    let pods = format!("/api/v1/namespaces/{}/pods", fixture.guarded);
    fixture.rest.post(&pods, &old_pod()).await.unwrap();
    fixture.arm().await;
    let path = format!("{pods}/old");
    let debug = |security: Json| {
        json!({"spec": {"ephemeralContainers": [{
            "name": "debug",
            "image": "registry.example.com/tools:1",
            "targetContainerName": "main",
            "securityContext": security,
        }]}})
    };
    let updates = [
        (path.clone(), json!({"metadata": {"labels": {"team": "a"}}}), vec![]),
        (path.clone(), json!({"metadata": {"finalizers": ["example.com/hold"]}}), vec![]),
        (path.clone(), json!({"metadata": {"finalizers": null}}), vec![]),
        (path.clone(), json!({"metadata": {"labels": {"app": null}}}), vec!["labels"]),
        (
            path.clone(),
            json!({"metadata": {"annotations": {"sandgate.dev/policy": "x"}}}),
            vec!["provenance"],
        ),
        (
            path.clone(),
            json!({"metadata": {"annotations": {"dev.gvisor.flag.debug": "true"}}}),
            vec!["gvisor-annotations"],
        ),
        (
            format!("{path}/status"),
            json!({"metadata": {"annotations": {"dev.gvisor.flag.debug": "true"}}}),
            vec!["gvisor-annotations"],
        ),
        (
            format!("{path}/status"),
            json!({"metadata": {"annotations": {"cni.projectcalico.org/podIP": "10.0.0.1"}}}),
            vec![],
        ),
        (format!("{path}/status"), json!({"status": {"phase": "Running"}}), vec![]),
        (
            format!("{path}/ephemeralcontainers"),
            debug(json!({"privileged": true})),
            vec!["capabilities", "privilege-escalation", "privileged", "read-only-root"],
        ),
    ];
    let mut wrong = Vec::new();
    for (path, change, expected) in updates {
        let found = match fixture.rest.strategic_merge(&path, &change).await {
            Ok(_) => Vec::new(),
            Err(denial) if denial.message.contains("(backstop)") => {
                rules_of(&denial.message).into_iter().collect()
            }
            Err(denial) => panic!("{path} {change}: {denial}"),
        };
        if found != expected {
            wrong.push(format!("{path} {change}: {found:?}, must be {expected:?}"));
        }
    }
    fixture.disarm().await;
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn binding_carries_no_annotation_past_the_policy() {
    let fixture = Fixture::new("binding", &json!({})).await;
    let pods = format!("/api/v1/namespaces/{}/pods", fixture.guarded);
    fixture.rest.post(&pods, &old_pod()).await.unwrap();
    fixture.arm().await;
    let binding = |metadata: Json| {
        let mut binding = json!({"metadata": metadata, "target": {"kind": "Node", "name": "node-1"}});
        binding["metadata"]["name"] = json!("old");
        binding
    };
    let path = format!("{pods}/old/binding");
    for (metadata, rule) in [
        (json!({"annotations": {"dev.gvisor.flag.debug": "true"}}), "gvisor-annotations"),
        (json!({"labels": {"app": "other"}}), "labels"),
        (json!({"annotations": {"sandgate.dev/policy-hash": "x"}}), "provenance"),
    ] {
        let denial = fixture.rest.post(&path, &binding(metadata.clone())).await.unwrap_err();
        assert_eq!(rules_of(&denial.message).into_iter().collect::<Vec<_>>(), [rule], "{metadata}: {denial}");
    }
    let harmless = json!({"labels": {"app": "workflow-runner"}, "annotations": {"example.com/a": "b"}});
    fixture.rest.post(&path, &binding(harmless)).await.unwrap();
    fixture.disarm().await;
}
