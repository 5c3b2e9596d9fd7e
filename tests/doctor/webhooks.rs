//! Webhooks, policies and the Pods of sandgate, each broken once.

use assert_cmd::Command;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::clinic::Clinic;

impl Clinic {
    /// Changes the only webhook of a configuration.
    async fn edit(&self, kind: &str, change: impl FnOnce(&mut Value)) {
        let path = self.configuration(kind);
        let mut object = self.rest.get(&path).await.unwrap();
        change(&mut object["webhooks"][0]);
        self.rest.put(&path, &object).await.unwrap();
    }

    /// Records in the Secret that both configurations were armed once.
    async fn record_armed(&self) {
        let data = json!({"armed": STANDARD.encode("mutating,validating"), "authorities.json": ""});
        let secret = json!({"metadata": {"name": "sandgate-ca"}, "type": "sandgate.dev/ca", "data": data});
        self.post(&self.of_release("/secrets"), &secret).await;
    }
}

#[tokio::test]
async fn a_configuration_that_is_missing() {
    for (id, kind) in [("mutating-webhook", "mutating"), ("validating-webhook", "validating")] {
        let clinic = Clinic::new().await;
        let what = format!("there is no {kind} webhook configuration");
        clinic
            .breaks(id, "critical", [&what, "helm upgrade"], async |clinic| {
                clinic.delete(&clinic.configuration(kind)).await;
            })
            .await;
        let found = clinic.findings();
        assert_eq!(found.outcome("webhook-drift"), "unknown", "what is missing was not compared");
    }
}

#[tokio::test]
async fn rules_that_are_gone_are_named_as_such() {
    let clinic = Clinic::new().await;
    clinic.record_armed().await;
    clinic
        .breaks("mutating-webhook", "critical", ["rules gone: ", "start sandgate"], async |clinic| {
            clinic.edit("mutating", |webhook| webhook["rules"] = json!([])).await;
        })
        .await;
    clinic.edit("validating", |webhook| webhook["rules"] = json!([])).await;
    let probe = Command::new(assert_cmd::cargo::cargo_bin!("sandgate"))
        .env_clear()
        .args([
            "probe",
            "--namespace",
            &clinic.namespace,
            "--sandgate-namespace",
            &clinic.release,
            "--kubeconfig",
        ])
        .arg(clinic.bed.kubeconfig())
        .args(["--webhook-configuration", &clinic.sandgate.configuration()])
        .output()
        .unwrap();
    let text = String::from_utf8(probe.stdout).unwrap();
    assert_eq!(probe.status.code(), Some(1), "{text}");
    let wanted = format!(
        "FAILED: rules gone: the mutating webhook configuration {} was armed once and has no rules now",
        clinic.sandgate.configuration()
    );
    assert!(text.starts_with(&wanted), "{text}");
    assert_eq!(text.matches("FAILED: rules gone: ").count(), 2, "{text}");
}

#[tokio::test]
async fn a_configuration_that_was_never_armed_is_distinguished_from_one_whose_rules_are_gone() {
    let clinic = Clinic::new().await;
    clinic.edit("mutating", |webhook| webhook["rules"] = json!([])).await;
    let findings = clinic.findings();
    let what = findings.of("mutating-webhook")["what"].as_str().unwrap();
    assert!(what.contains("has not armed it"), "{what}");
}

#[tokio::test]
async fn a_webhook_that_fails_open_or_has_an_object_selector() {
    let clinic = Clinic::new().await;
    clinic
        .breaks(
            "validating-webhook",
            "critical",
            ["failurePolicy Ignore", "webhook.failurePolicy=Fail"],
            async |clinic| {
                clinic.edit("validating", |webhook| webhook["failurePolicy"] = json!("Ignore")).await;
            },
        )
        .await;
    clinic
        .breaks("mutating-webhook", "critical", ["objectSelector", "helm upgrade"], async |clinic| {
            clinic
                .edit("mutating", |webhook| webhook["objectSelector"] = json!({"matchLabels": {"a": "b"}}))
                .await;
        })
        .await;
}

#[tokio::test]
async fn a_ca_that_is_none() {
    let clinic = Clinic::new().await;
    clinic
        .breaks("webhook-ca", "critical", ["expired", "renew"], async |clinic| {
            let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let key = rcgen::KeyPair::generate().unwrap();
            let pem = params.self_signed(&key).unwrap().pem();
            clinic
                .edit("validating", |webhook| {
                    webhook["clientConfig"]["caBundle"] = json!(STANDARD.encode(pem))
                })
                .await;
        })
        .await;
    let findings = clinic.findings();
    let found = findings.of("dry-run-plain");
    assert_eq!(found["outcome"], "fail", "{found:#}");
    assert!(found["what"].as_str().unwrap().contains("x509"), "{found:#}");
    assert!(found["action"].as_str().unwrap().contains("certs show"), "{found:#}");
}

#[tokio::test]
async fn a_configuration_that_differs_from_what_the_chart_rendered() {
    let clinic = Clinic::new().await;
    clinic
        .breaks("webhook-drift", "high", ["has another timeoutSeconds", "managedFields"], async |clinic| {
            let rendered = json!({"validate.sandgate.dev": {"timeoutSeconds": "0000000000000000"}});
            let annotations = json!({"sandgate.dev/rendered": rendered.to_string()});
            clinic
                .merge(
                    &clinic.configuration("validating"),
                    &json!({"metadata": {"annotations": annotations}}),
                )
                .await;
        })
        .await;
}

#[tokio::test]
async fn a_namespace_that_no_webhook_selects() {
    let clinic = Clinic::new().await;
    clinic
        .breaks(
            "namespace-selected",
            "critical",
            ["no mutating webhook selects it", "helm upgrade"],
            async |clinic| {
                let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}});
                clinic.edit("mutating", |webhook| webhook["namespaceSelector"] = selector).await;
            },
        )
        .await;
}

#[tokio::test]
async fn a_plain_pod_that_is_not_filled_and_a_hostile_one_that_is_admitted() {
    let clinic = Clinic::new().await;
    let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": null}}});
    clinic.merge(&clinic.inside(""), &labels).await;
    let before = clinic.findings();
    for id in ["dry-run-plain", "dry-run-hostile"] {
        assert_eq!(before.outcome(id), "ok", "{:#}", before.of(id));
    }
    clinic.delete(&clinic.configuration("mutating")).await;
    clinic.delete(&clinic.configuration("validating")).await;
    testbed::eventually("the API server asks sandgate no more", async || {
        let findings = clinic.findings();
        let (plain, hostile) = (findings.of("dry-run-plain"), findings.of("dry-run-hostile"));
        let failed = plain["outcome"] == "fail" && hostile["outcome"] == "fail";
        if failed {
            findings.fails("dry-run-plain", "critical");
            findings.fails("dry-run-hostile", "critical");
            assert!(plain["what"].as_str().unwrap().contains("stored as it came"), "{plain:#}");
            assert!(hostile["what"].as_str().unwrap().contains("a hostile Pod is admitted"), "{hostile:#}");
            // What the five last boxes look at is then not filled.
            findings.fails("security-context", "critical");
            findings.fails("resource-limits", "high");
            assert_eq!(findings.outcome("active-deadline"), "ok");
        }
        Ok(failed.then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn what_a_policy_opens_shows_in_the_boxes() {
    let spec = json!({
        "lifecycle": {
            "activeDeadlineSeconds": {"default": null, "max": null},
            "restartPolicy": {"allowedForJobs": []},
        },
        "secrets": {"volumes": ["ci-*"]},
        "exempt": {"users": ["break-glass"]},
    });
    let clinic = Clinic::with_spec(&spec).await;
    let findings = clinic.findings();
    for (found, word) in [
        (findings.fails("active-deadline", "high"), "without end"),
        (findings.fails("secrets", "high"), "ci-*"),
        (findings.fails("exempt", "info"), "break-glass"),
    ] {
        assert!(found["what"].as_str().unwrap().contains(word), "{found:#}");
    }
}

#[tokio::test]
async fn a_policy_in_mode_audit_demands_nothing() {
    let clinic = Clinic::with_spec(&json!({"mode": "audit"})).await;
    let run = clinic.doctor(&["-o", "json"]);
    let findings = run.findings();
    for id in ["security-context", "secrets", "dry-run-plain"] {
        let found = findings.of(id);
        assert_eq!((&found["outcome"], &found["severity"]), (&json!("fail"), &json!("medium")), "{found:#}");
        assert!(found["what"].as_str().unwrap().contains("mode audit"), "{found:#}");
    }
    assert_eq!(run.status, 0, "{}", run.stdout);
}

/// Rules for creates of Pods.
fn creates_of_pods() -> Value {
    json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}])
}

#[tokio::test]
async fn another_webhook_that_changes_pods_later() {
    let clinic = Clinic::new().await;
    let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    clinic
        .breaks("later-webhooks", "low", ["zz-injector", "injectors"], async |clinic| {
            let webhook = json!({
                "name": "zz.example.com", "clientConfig": {"url": "https://127.0.0.1:9"}, "rules": creates_of_pods(),
                "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Ignore",
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "nowhere"}},
            });
            clinic.post(path, &json!({"metadata": {"name": "zz-injector"}, "webhooks": [webhook]})).await;
        })
        .await;
}

#[tokio::test]
async fn a_mutating_policy_that_changes_pods() {
    let clinic = Clinic::new().await;
    let policies = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies";
    clinic
        .breaks("mutating-policies", "low", ["extra", "nothing"], async |clinic| {
            let mutation = json!({
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": "Object{metadata: Object.metadata{labels: {\"a\": \"b\"}}}"},
            });
            let policy = json!({"metadata": {"name": "extra"}, "spec": {
                "matchConstraints": {"resourceRules": creates_of_pods()}, "reinvocationPolicy": "Never",
                "mutations": [mutation],
            }});
            clinic.post(policies, &policy).await;
        })
        .await;
    clinic.delete(&format!("{policies}/extra")).await;
}

#[tokio::test]
async fn too_few_replicas_on_one_node_without_a_budget() {
    let clinic = Clinic::new().await;
    let budgets = format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets/sandgate", clinic.release);
    clinic
        .breaks(
            "disruption-budget",
            "medium",
            ["no PodDisruptionBudget", "podDisruptionBudget.enabled"],
            async |clinic| {
                clinic.delete(&budgets).await;
            },
        )
        .await;
    let before = clinic.findings();
    assert_eq!((before.outcome("replicas"), before.outcome("replica-nodes")), ("ok", "ok"));
    clinic.delete(&clinic.of_release("/pods/sandgate-node-2?gracePeriodSeconds=0")).await;
    let after = clinic.findings();
    after.fails("replicas", "high");
    after.fails("replica-nodes", "medium");
}
