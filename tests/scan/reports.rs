//! `sandgate scan --write-reports` on an API server that has the reports of other tools.

use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::{Scanned, hostile_pod, plain_pod, run_as};
use testbed::{Rest, eventually};

/// Whether the cluster has a kind of reports is the cluster's: one test at a time.
static TURN: Mutex<()> = Mutex::const_new(());

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A kind of reports: group, version, plural, kind.
type Kind = (&'static str, &'static str, &'static str, &'static str);

const OPENREPORTS: Kind = ("openreports.io", "v1alpha1", "reports", "Report");
const WGPOLICY: Kind = ("wgpolicyk8s.io", "v1alpha2", "policyreports", "PolicyReport");

/// Lets the cluster have a kind of reports; with the fields of its API types.
async fn define(rest: &Rest, (group, version, plural, kind): Kind) {
    let text = json!({"type": "string"});
    let number = json!({"type": "integer"});
    let words = |words: &[&str]| json!({"type": "string", "enum": words});
    let reference = json!({"type": "object", "properties": {
        "apiVersion": text, "kind": text, "namespace": text, "name": text, "uid": text, "resourceVersion": text,
        "fieldPath": text,
    }});
    let result = json!({
        "type": "object",
        "required": ["policy"],
        "properties": {
            "source": text, "policy": text, "rule": text, "category": text, "message": text,
            "severity": words(&["critical", "high", "medium", "low", "info"]),
            "result": words(&["pass", "fail", "warn", "error", "skip"]),
            "scored": {"type": "boolean"},
            "timestamp": {"type": "object", "properties": {"seconds": number, "nanos": number}},
            "resources": {"type": "array", "items": reference},
            "properties": {"type": "object", "additionalProperties": text},
        },
    });
    let schema = json!({"type": "object", "properties": {
        "source": text,
        "scope": reference,
        "summary": {"type": "object", "properties": {
            "pass": number, "fail": number, "warn": number, "error": number, "skip": number,
        }},
        "results": {"type": "array", "items": result},
    }});
    let definition = json!({
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")},
            "versions": [{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    });
    rest.post(CRDS, &definition).await.unwrap();
    eventually("the kind is served", async || {
        Ok(rest.get(&format!("/apis/{group}/{version}/{plural}")).await.ok().map(drop))
    })
    .await
    .unwrap();
}

async fn remove(rest: &Rest, (group, version, plural, _): Kind) {
    rest.delete(&format!("{CRDS}/{plural}.{group}")).await.unwrap();
    eventually("the kind is gone", async || {
        let found = rest.get(&format!("/apis/{group}/{version}")).await;
        let resources =
            found.ok().and_then(|found| found["resources"].as_array().cloned()).unwrap_or_default();
        Ok((!resources.iter().any(|resource| resource["name"] == plural)).then_some(()))
    })
    .await
    .unwrap();
}

impl Scanned {
    async fn report(&self, (group, version, plural, _): Kind) -> Value {
        let path = format!("/apis/{group}/{version}/namespaces/{}/{plural}/sandgate-strict", self.namespace);
        self.rest.get(&path).await.unwrap()
    }

    fn write(&self, kind: &str) -> crate::Run {
        self.scan(&["--write-reports", kind])
    }
}

fn results(report: &Value) -> &Vec<Value> {
    report["results"].as_array().unwrap()
}

#[tokio::test]
async fn without_a_kind_of_reports_the_one_to_install_is_named() {
    let _turn = TURN.lock().await;
    let scanned = Scanned::new().await;
    for (kind, wanted) in [
        (
            "auto",
            "install the CustomResourceDefinition reports.openreports.io or policyreports.wgpolicyk8s.io",
        ),
        ("wgpolicy", "install the CustomResourceDefinition policyreports.wgpolicyk8s.io"),
    ] {
        let run = scanned.write(kind);
        assert_eq!(run.status, 2, "{}", run.stdout);
        assert!(run.stderr.contains(wanted), "{}", run.stderr);
    }
}

#[tokio::test]
async fn failures_stand_in_a_report_of_the_kind_that_the_cluster_has() {
    let _turn = TURN.lock().await;
    for kind in [WGPOLICY, OPENREPORTS] {
        let scanned = Scanned::new().await;
        define(&scanned.rest, kind).await;
        scanned.create(&hostile_pod("hostile")).await;
        let run = scanned.write("auto");
        assert_eq!((run.status, run.stderr.as_str()), (1, "note: 1 report written\n"), "{}", run.stdout);
        let report = scanned.report(kind).await;
        assert_eq!(report["metadata"]["labels"]["app.kubernetes.io/managed-by"], "sandgate");
        let results = results(&report);
        assert_eq!(report["summary"]["fail"], results.len());
        let found = results.iter().find(|result| result["rule"] == "host-namespaces").unwrap();
        assert_eq!((&found["result"], &found["policy"]), (&json!("fail"), &json!("strict")), "{found:#}");
        assert_eq!(found["resources"][0]["name"], "hostile");
        assert_eq!(found["properties"]["class"], "older");
        let message = found["message"].as_str().unwrap();
        assert!(message.starts_with("spec.hostNetwork is true, must be false or unset"), "{message}");
        remove(&scanned.rest, kind).await;
    }
}

#[tokio::test]
async fn of_two_kinds_the_newer_is_written_and_the_other_on_request() {
    let _turn = TURN.lock().await;
    let scanned = Scanned::new().await;
    define(&scanned.rest, OPENREPORTS).await;
    define(&scanned.rest, WGPOLICY).await;
    scanned.create(&hostile_pod("hostile")).await;
    assert_eq!(scanned.write("auto").status, 1);
    assert!(!results(&scanned.report(OPENREPORTS).await).is_empty());
    let path = format!("/apis/wgpolicyk8s.io/v1alpha2/namespaces/{}/policyreports", scanned.namespace);
    assert_eq!(scanned.rest.get(&path).await.unwrap()["items"], json!([]));
    assert_eq!(scanned.write("wgpolicy").status, 1);
    assert!(!results(&scanned.report(WGPOLICY).await).is_empty());
    remove(&scanned.rest, OPENREPORTS).await;
    remove(&scanned.rest, WGPOLICY).await;
}

#[tokio::test]
async fn a_report_is_written_again_only_if_something_changed_and_emptied_when_all_conform() {
    let _turn = TURN.lock().await;
    let scanned = Scanned::new().await;
    define(&scanned.rest, OPENREPORTS).await;
    scanned.create(&hostile_pod("hostile")).await;
    assert_eq!(scanned.write("auto").stderr, "note: 1 report written\n");
    let first = scanned.report(OPENREPORTS).await;
    assert_eq!(scanned.write("auto").stderr, "note: 0 reports written\n");
    let again = scanned.report(OPENREPORTS).await;
    assert_eq!(again["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);

    scanned.create(&plain_pod("plain")).await;
    assert_eq!(scanned.write("auto").stderr, "note: 1 report written\n");
    assert!(results(&scanned.report(OPENREPORTS).await).len() > results(&first).len());

    for pod in ["hostile", "plain"] {
        scanned.rest.delete(&format!("{}/{pod}?gracePeriodSeconds=0", scanned.pods())).await.unwrap();
    }
    let run = scanned.write("auto");
    assert_eq!((run.status, run.stderr.as_str()), (0, "note: 1 report written\n"), "{}", run.stdout);
    let report = scanned.report(OPENREPORTS).await;
    assert_eq!((&report["summary"]["fail"], results(&report).len()), (&json!(0), 0));
    remove(&scanned.rest, OPENREPORTS).await;
}

#[tokio::test]
async fn many_failures_are_one_report_that_the_api_server_stores() {
    const PODS: usize = 60;
    let _turn = TURN.lock().await;
    let scanned = Scanned::new().await;
    define(&scanned.rest, OPENREPORTS).await;
    for number in 0..PODS {
        scanned.create(&hostile_pod(&format!("hostile-{number}"))).await;
    }
    assert_eq!(scanned.write("auto").stderr, "note: 1 report written\n");
    let report = scanned.report(OPENREPORTS).await;
    let results = results(&report);
    assert_eq!(results.len(), 501);
    let failures = report["summary"]["fail"].as_u64().unwrap();
    assert!(failures > 1000, "{failures}");
    let wanted = format!("and {} more; sandgate scan shows all", failures - 500);
    assert_eq!(results[500]["message"], wanted);
    remove(&scanned.rest, OPENREPORTS).await;
}

#[tokio::test]
async fn the_right_to_write_reports_is_named_if_it_is_missing() {
    let _turn = TURN.lock().await;
    let scanned = Scanned::new().await;
    define(&scanned.rest, OPENREPORTS).await;
    scanned.create(&hostile_pod("hostile")).await;
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}", scanned.namespace);
    let role = json!({"metadata": {"name": "reader"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]});
    scanned.rest.post(&format!("{rbac}/roles"), &role).await.unwrap();
    let subject = json!({"kind": "ServiceAccount", "name": "default", "namespace": scanned.namespace});
    let reference = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"});
    let binding = json!({"metadata": {"name": "reader"}, "roleRef": reference, "subjects": [subject]});
    scanned.rest.post(&format!("{rbac}/rolebindings"), &binding).await.unwrap();
    let kubeconfig = scanned.kubeconfig_of_default_account().await;
    let policy = scanned.policy.display().to_string();
    let args = ["-n", &scanned.namespace, "--policy", &policy, "--write-reports", "auto"];
    eventually("the right to list Pods holds", async || {
        let run = run_as(kubeconfig.clone(), &args);
        let advice =
            "add a rule {apiGroups: [openreports.io], resources: [reports], verbs: [list, create, patch]}\n";
        assert_eq!(run.status, 2, "{}", run.stdout);
        Ok(run.stderr.ends_with(advice).then_some(()))
    })
    .await
    .unwrap();
    remove(&scanned.rest, OPENREPORTS).await;
}

#[tokio::test]
async fn findings_fail_no_job_that_asks_for_exit_zero() {
    let scanned = Scanned::new().await;
    scanned.create(&hostile_pod("hostile")).await;
    assert_eq!(scanned.scan(&[]).status, 1);
    let run = scanned.scan(&["--exit-zero"]);
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert!(run.stdout.contains("spec.hostNetwork is true"), "{}", run.stdout);
}
