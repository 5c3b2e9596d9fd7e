//! Checks of metrics: those of the API server, and those of sandgate's Pods, each broken once.

use serde_json::{Value, json};

use crate::{apart::apart, clinic::Clinic, played};

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

/// The address of a Pod, for documentation (RFC 5737): the proxy of the control plane looks at the port only.
const POD_ADDRESS: &str = "192.0.2.10";

impl Clinic {
    /// Makes a complete installation whose Pods answer, in a control plane of its own.
    async fn apart() -> Self {
        let clinic = Self::on(apart().await, &json!({})).await;
        for node in ["node-1", "node-2"] {
            clinic.has_address(node).await;
        }
        clinic
    }

    /// Gives the replica on a node an address.
    async fn has_address(&self, node: &str) {
        let status = json!({"status": {"podIP": POD_ADDRESS, "podIPs": [{"ip": POD_ADDRESS}]}});
        self.merge(&self.of_release(&format!("/pods/sandgate-{node}/status")), &status).await;
    }

    /// Puts a replica with these metrics in the place of that on the second node.
    async fn replace_replica(&self, metrics: String) {
        self.delete(&self.of_release("/pods/sandgate-node-2?gracePeriodSeconds=0")).await;
        self.make_replica("node-2", played::metrics(metrics)).await;
        self.has_address("node-2").await;
    }

    /// Makes a Pod of an earlier revision, to which nothing answers any more.
    async fn make_old_replica(&self, name: &str) -> String {
        self.make_replica(name, testbed::free_port()).await;
        self.has_address(name).await;
        self.of_release(&format!("/pods/sandgate-{name}"))
    }

    /// Returns the metrics of the API server.
    async fn apiserver_metrics(&self) -> String {
        self.bed.kubectl(&["get", "--raw", "/metrics"]).await.expect_success()
    }
}

#[tokio::test]
async fn requests_that_were_admitted_because_nothing_answered() {
    let clinic = Clinic::apart().await;
    let words = ["admitted because sandgate did not answer", "webhook.failurePolicy=Fail"];
    clinic
        .breaks("fail-open", "critical", words, async |clinic| {
            for kind in ["mutating", "validating"] {
                let path = clinic.configuration(kind);
                let mut object = clinic.rest.get(&path).await.unwrap();
                let webhook = &mut object["webhooks"][0];
                webhook["failurePolicy"] = json!("Ignore");
                webhook["clientConfig"]["url"] = json!(format!("https://127.0.0.1:{}/x", testbed::free_port()));
                clinic.rest.put(&path, &object).await.unwrap();
            }
            let pod = json!({"metadata": {"generateName": "x-"}, "spec": {"containers": [{"name": "a", "image": "x"}]}});
            testbed::eventually("a request is admitted without an answer", async || {
                let _ = clinic.rest.post(&clinic.inside("/pods?dryRun=All"), &pod).await;
                let metrics = clinic.apiserver_metrics().await;
                Ok(metrics.contains("apiserver_admission_webhook_fail_open_count{").then_some(()))
            })
            .await
            .unwrap();
        })
        .await;
}

#[tokio::test]
async fn a_request_that_the_backstop_had_to_deny() {
    const NAME: &str = "sandgate-workflow-runner";
    let clinic = Clinic::apart().await;
    let words = ["Pods came past the webhook", "why the webhook was not asked"];
    clinic
        .breaks("backstop-caught", "high", words, async |clinic| {
            let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]});
            let policy = json!({"metadata": {"name": NAME}, "spec": {
                "matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "false"}],
            }});
            clinic.post(&format!("{ADMISSION}/validatingadmissionpolicies"), &policy).await;
            let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": clinic.namespace}});
            let binding = json!({"metadata": {"name": NAME}, "spec": {
                "policyName": NAME, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": selector},
            }});
            clinic.post(&format!("{ADMISSION}/validatingadmissionpolicybindings"), &binding).await;
            let pod = json!({"metadata": {"generateName": "x-"}, "spec": {"containers": [{"name": "a", "image": "x"}]}});
            testbed::eventually("the policy denies", async || {
                let stored = clinic.rest.post(&clinic.inside("/pods?dryRun=All"), &pod).await;
                Ok(stored.is_err_and(|denial| denial.message.contains(NAME)).then_some(()))
            })
            .await
            .unwrap();
        })
        .await;
    clinic.delete(&format!("{ADMISSION}/validatingadmissionpolicybindings/{NAME}")).await;
    clinic.delete(&format!("{ADMISSION}/validatingadmissionpolicies/{NAME}")).await;
}

#[tokio::test]
async fn an_api_server_without_an_audit_log() {
    let clinic = Clinic::apart().await;
    let findings = clinic.findings();
    let found = findings.fails("apiserver-audit", "medium");
    assert!(found["action"].as_str().unwrap().contains("examples/audit-policy.yaml"), "{found:#}");
    assert_eq!(Clinic::new_beside(clinic).await.findings().outcome("apiserver-audit"), "ok");
}

#[tokio::test]
async fn a_replica_that_has_loaded_another_policy() {
    let clinic = Clinic::apart().await;
    clinic
        .breaks("policy-loaded", "high", ["sandgate-node-1", "ConfigMap"], async |clinic| {
            clinic
                .change_policy(&json!({"namespaces": [clinic.namespace], "help": "ask the platform team"}))
                .await;
        })
        .await;
}

#[tokio::test]
async fn pods_of_a_rollout_that_are_gone_or_going_are_not_asked() {
    let clinic = Clinic::apart().await;
    let evicted = clinic.make_old_replica("evicted").await;
    clinic
        .merge(&format!("{evicted}/status"), &json!({"status": {"phase": "Failed", "reason": "Evicted"}}))
        .await;
    let starting = clinic.make_old_replica("starting").await;
    clinic.merge(&format!("{starting}/status"), &json!({"status": {"phase": "Pending"}})).await;
    // Without a kubelet it stays in the state of being deleted.
    let leaving = clinic.make_old_replica("leaving").await;
    clinic.delete(&leaving).await;
    assert!(clinic.rest.get(&leaving).await.unwrap()["metadata"]["deletionTimestamp"].is_string());

    let findings = clinic.findings();
    for id in ["policy-loaded", "certificate", "version"] {
        assert_eq!(findings.outcome(id), "ok", "{:#}", findings.of(id));
    }
}

#[tokio::test]
async fn a_replica_of_another_version_and_one_whose_certificate_expires() {
    let clinic = Clinic::apart().await;
    clinic
        .breaks("version", "low", ["the replicas are", "program of the release"], async |clinic| {
            clinic.replace_replica("sandgate_build_info{version=\"0.0.9\"} 1\n".into()).await;
        })
        .await;
    let end = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + 3_600).unwrap();
    let metric = |end: jiff::Timestamp| {
        format!("sandgate_certificate_not_after_timestamp_seconds {}\n", end.as_second())
    };
    let expires = format!("sandgate-node-2 serves expires at {end}");
    clinic
        .breaks("certificate", "medium", [&expires, "certs show"], async |clinic| {
            clinic.replace_replica(metric(end)).await;
        })
        .await;
    let past = end - jiff::SignedDuration::from_hours(48);
    clinic.replace_replica(metric(past)).await;
    let findings = clinic.findings();
    let found = findings.fails("certificate", "medium")["what"].as_str().unwrap().to_owned();
    assert!(found.ends_with(&format!("expired at {past}")), "{found}");
}

#[tokio::test]
async fn who_may_take_the_label_by_which_a_policy_selects() {
    let clinic = Clinic::new().await;
    let role = json!({"metadata": {"name": "labeller"},
        "rules": [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["patch"]}]});
    let binding = json!({
        "metadata": {"name": "labeller"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "labeller"},
        "subjects": [{"kind": "User", "name": "mallory", "apiGroup": "rbac.authorization.k8s.io"}],
    });
    clinic.post(&format!("{}/clusterroles", crate::clinic::RBAC), &role).await;
    clinic.post(&format!("{}/clusterrolebindings", crate::clinic::RBAC), &binding).await;
    clinic
        .breaks("who-labels-namespaces", "high", ["User mallory may", "--accept"], async |clinic| {
            let selector = json!({"matchLabels": {"sandbox": "required"}});
            clinic.change_policy(&json!({"namespaceSelector": selector})).await;
        })
        .await;
    clinic.delete(&format!("{}/clusterrolebindings/labeller", crate::clinic::RBAC)).await;
    clinic.delete(&format!("{}/clusterroles/labeller", crate::clinic::RBAC)).await;
}

/// Something that writes into Pods while sandgate is not asked.
#[tokio::test]
async fn a_volume_without_a_limit() {
    let clinic = Clinic::new().await;
    let policies = format!("{ADMISSION}/mutatingadmissionpolicies");
    let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": null}}});
    clinic.merge(&clinic.inside(""), &labels).await;
    clinic
        .breaks("writable-volumes", "high", ["/cache is an emptyDir without a sizeLimit", "dry-run-plain"], async |clinic| {
            clinic.delete(&clinic.configuration("mutating")).await;
            clinic.delete(&clinic.configuration("validating")).await;
            let expression = "Object{spec: Object.spec{\
                volumes: [Object.spec.volumes{name: 'cache', emptyDir: Object.spec.volumes.emptyDir{}}], \
                containers: [Object.spec.containers{name: 'main', \
                    volumeMounts: [Object.spec.containers.volumeMounts{name: 'cache', mountPath: '/cache'}]}]}}";
            let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]});
            let policy = json!({"metadata": {"name": "cache"}, "spec": {
                "matchConstraints": {"resourceRules": [rule]}, "reinvocationPolicy": "Never",
                "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}],
            }});
            clinic.post(&policies, &policy).await;
            let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": clinic.namespace}});
            let binding = json!({"metadata": {"name": "cache"}, "spec": {
                "policyName": "cache", "matchResources": {"namespaceSelector": selector},
            }});
            clinic.post(&format!("{ADMISSION}/mutatingadmissionpolicybindings"), &binding).await;
            let pod = json!({"metadata": {"generateName": "x-"}, "spec": {"containers": [{"name": "main", "image": "x"}]}});
            testbed::eventually("only that policy writes into Pods", async || {
                let stored: Value = clinic.rest.post(&clinic.inside("/pods?dryRun=All"), &pod).await.unwrap_or_default();
                let volumes = stored["spec"]["volumes"].as_array().into_iter().flatten();
                let names: Vec<&str> = volumes.filter_map(|volume| volume["name"].as_str()).collect();
                Ok((names.contains(&"cache") && !names.contains(&"workspace")).then_some(()))
            })
            .await
            .unwrap();
        })
        .await;
    clinic.delete(&format!("{ADMISSION}/mutatingadmissionpolicybindings/cache")).await;
    clinic.delete(&format!("{policies}/cache")).await;
}
