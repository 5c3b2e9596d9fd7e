//! Nodes, RuntimeClasses and namespaces, each broken once.

use serde_json::{Value, json};

use crate::clinic::Clinic;

const CLASSES: &str = "/apis/node.k8s.io/v1/runtimeclasses";

#[tokio::test]
async fn a_missing_runtime_class_and_one_of_another_handler() {
    let clinic = Clinic::new().await;
    let words = ["there is no RuntimeClass gvisor", "with the handler runsc"];
    clinic
        .breaks("runtime-class", "critical", words, async |clinic| {
            clinic.delete(&format!("{CLASSES}/gvisor")).await
        })
        .await;
    clinic.post(CLASSES, &json!({"metadata": {"name": "gvisor"}, "handler": "runc"})).await;
    let findings = clinic.findings();
    let found = findings.of("runtime-class");
    assert!(found["what"].as_str().unwrap().contains("handler runc"), "{found:#}");
    clinic.delete(&format!("{CLASSES}/gvisor")).await;
    clinic.post(CLASSES, &json!({"metadata": {"name": "gvisor"}, "handler": "runsc"})).await;
}

#[tokio::test]
async fn a_node_without_the_handler() {
    let clinic = Clinic::new().await;
    let words = ["nodes without the handler runsc: node-2", "configure gVisor"];
    clinic
        .breaks("runtime-handler", "high", words, async |clinic| {
            let status = json!({"status": {"runtimeHandlers": [{"name": ""}]}});
            clinic.merge("/api/v1/nodes/node-2/status", &status).await;
        })
        .await;
}

#[tokio::test]
async fn nodes_without_label_taint_or_readiness() {
    let clinic = Clinic::new().await;
    clinic
        .breaks(
            "node-taints",
            "high",
            ["node-1", "kubectl taint node NODE sandbox.gke.io/runtime=gvisor:NoSchedule"],
            async |clinic| {
                clinic.merge("/api/v1/nodes/node-1", &json!({"spec": {"taints": null}})).await;
            },
        )
        .await;
    clinic
        .breaks("node-ready", "critical", ["none of 2 labelled nodes", "uncordon"], async |clinic| {
            clinic.merge("/api/v1/nodes/node-1", &json!({"spec": {"unschedulable": true}})).await;
            let status = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
            clinic.merge("/api/v1/nodes/node-2/status", &status).await;
        })
        .await;
    clinic
        .breaks(
            "node-labels",
            "critical",
            ["none of 2 nodes", "kubectl label node NODE workload-type=workflow-runner"],
            async |clinic| {
                for node in ["node-1", "node-2"] {
                    let labels = json!({"metadata": {"labels": {"workload-type": null}}});
                    clinic.merge(&format!("/api/v1/nodes/{node}"), &labels).await;
                }
            },
        )
        .await;
}

#[tokio::test]
async fn a_network_that_denies_nothing_and_one_that_allows_any_peer() {
    let clinic = Clinic::new().await;
    let policies = format!("/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies", clinic.namespace);
    clinic
        .breaks("network-policy", "high", ["selects every Pod", "podSelector {}"], async |clinic| {
            clinic.delete(&format!("{policies}/deny-all")).await;
        })
        .await;
    let open = json!({"metadata": {"name": "open"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": [{}]}});
    clinic.post(&policies, &open).await;
    let findings = clinic.findings();
    let found = findings.of("network-policy");
    assert!(found["what"].as_str().unwrap().contains("open allow any peer"), "{found:#}");

    // A plugin that is not known proves nothing.
    assert_eq!(findings.outcome("network-plugin"), "ok");
    clinic.delete("/apis/apps/v1/namespaces/kube-system/daemonsets/calico-node").await;
    assert_eq!(clinic.findings().outcome("network-plugin"), "unknown");
}

#[tokio::test]
async fn an_account_with_a_token_or_a_binding_or_none() {
    let clinic = Clinic::new().await;
    let account = clinic.inside("/serviceaccounts/workflow-runner");
    clinic
        .breaks(
            "service-account",
            "high",
            ["automountServiceAccountToken", "kubectl patch"],
            async |clinic| {
                clinic.merge(&account, &json!({"automountServiceAccountToken": null})).await;
            },
        )
        .await;
    clinic
        .breaks("account-bindings", "high", ["extra", "remove"], async |clinic| {
            let subject =
                json!({"kind": "ServiceAccount", "name": "workflow-runner", "namespace": clinic.namespace});
            let role =
                json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"});
            let binding = json!({"metadata": {"name": "extra"}, "roleRef": role, "subjects": [subject]});
            let bindings =
                format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings", clinic.namespace);
            clinic.post(&bindings, &binding).await;
        })
        .await;
    clinic.delete(&account).await;
    let findings = clinic.findings();
    assert!(findings.of("service-account")["what"].as_str().unwrap().contains("is missing"));
    // Every Pod is denied then: what a plain Pod gets cannot be seen.
    assert_ne!(findings.outcome("dry-run-plain"), "ok");
}

#[tokio::test]
async fn pod_security_quota_and_limit_range() {
    let clinic = Clinic::new().await;
    clinic
        .breaks("pod-security", "medium", ["enforces baseline", "kubectl label namespace"], async |clinic| {
            let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}});
            clinic.merge(&clinic.inside(""), &labels).await;
        })
        .await;
    clinic
        .breaks("quota", "medium", ["no ResourceQuota", "resourceQuota.enabled"], async |clinic| {
            clinic.delete(&clinic.inside("/resourcequotas/quota")).await;
        })
        .await;
    clinic
        .breaks("limit-range", "low", ["LimitRange range", "remove it"], async |clinic| {
            let limits = json!([{"type": "Container", "default": {"cpu": "1"}}]);
            let range = json!({"metadata": {"name": "range"}, "spec": {"limits": limits}});
            clinic.post(&clinic.inside("/limitranges"), &range).await;
        })
        .await;
}

#[tokio::test]
async fn a_namespace_that_is_missing_or_has_no_policy() {
    let clinic = Clinic::new().await;
    let other = clinic.bed.namespace(&clinic.rest, &json!({"generateName": "other-"})).await.unwrap();
    let of = |namespace: &str| {
        let run = clinic.doctor(&["--namespace", namespace, "-o", "json"]);
        let mut findings = run.findings();
        findings.0.retain(|finding| finding["namespace"] == namespace);
        (run.status, findings)
    };
    let (status, findings) = of(&other);
    let found = findings.fails("namespace", "critical");
    assert!(found["what"].as_str().unwrap().contains("no policy covers it"), "{found:#}");
    assert_eq!(status, 1);
    let (status, findings) = of("nowhere");
    let found = findings.fails("namespace", "critical");
    assert_eq!((status, &found["action"]), (1, &json!("kubectl create namespace nowhere")), "{found:#}");
}

/// A Pod that came past the webhook, on a node, in a class of another handler.
#[tokio::test]
async fn pods_that_violate_the_policy_and_run_outside_of_gvisor() {
    let clinic = Clinic::new().await;
    clinic.delete(&clinic.configuration("mutating")).await;
    clinic.delete(&clinic.configuration("validating")).await;
    let pod = json!({
        "metadata": {"name": "escaped"},
        "spec": {
            "nodeName": "node-1",
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "main", "image": "x",
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    let before = clinic.findings();
    assert_eq!((before.outcome("violating-pods"), before.outcome("pod-handlers")), ("ok", "ok"));
    // The API server drops its webhooks within a moment.
    testbed::eventually("the Pod is stored as it came", async || {
        let stored: Result<Value, _> = clinic.rest.post(&clinic.inside("/pods"), &pod).await;
        Ok(stored.ok().map(drop))
    })
    .await
    .unwrap();
    let after = clinic.findings();
    for found in [after.fails("violating-pods", "high"), after.fails("pod-handlers", "critical")] {
        assert!(found["what"].as_str().unwrap().contains("escaped"), "{found:#}");
    }
}
