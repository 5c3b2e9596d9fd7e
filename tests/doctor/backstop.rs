//! The backstop that `sandgate backstop render` prints for the policies of the release, and what may be wrong with it.

use assert_cmd::Command;
use serde_json::{Value, json};

use crate::clinic::Clinic;
use testbed::{admission_list, store_admission};

const NAME: &str = "sandgate-workflow-runner";

/// Renders the objects of the policies in force.
async fn rendered(clinic: &Clinic, flags: &[&str]) -> Vec<Value> {
    let map = clinic.rest.get(&clinic.of_release("/configmaps/sandgate-policy")).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.json");
    std::fs::write(&file, map["data"]["policy.json"].as_str().unwrap()).unwrap();
    let rendered = Command::new(assert_cmd::cargo::cargo_bin!("sandgate"))
        .args(["backstop", "render", "-o", "json", "--release-namespace", &clinic.release, "--policy"])
        .arg(&file)
        .args(flags)
        .output()
        .unwrap();
    let rendered: Value = serde_json::from_slice(&rendered.stdout).unwrap();
    rendered["items"].as_array().unwrap().clone()
}

fn path(kind: &str, name: &str) -> String {
    format!("{}/{name}", admission_list(&json!({"kind": kind})))
}

async fn store(clinic: &Clinic, object: &Value) {
    store_admission(&clinic.rest, object).await.unwrap();
}

async fn remove(clinic: &Clinic, objects: &[Value]) {
    for object in objects.iter().rev() {
        let name = object["metadata"]["name"].as_str().unwrap();
        clinic.delete(&format!("{}/{name}", admission_list(object))).await;
    }
}

#[tokio::test]
async fn a_backstop_of_which_any_object_is_weaker_missing_or_of_another_content() {
    let clinic = Clinic::new().await;
    assert_eq!(clinic.findings().of("backstop")["severity"], "info");
    let objects = rendered(&clinic, &[]).await;
    for object in &objects {
        store(&clinic, object).await;
    }
    // The second pair of a policy is about Bindings of Pods to nodes, and is compared as well.
    let second = format!("{NAME}.binding");
    let binding = |name| path("ValidatingAdmissionPolicyBinding", name);
    clinic
        .breaks("backstop", "medium", [&second, "backstop render"], async |clinic| {
            clinic.merge(&binding(&second), &json!({"spec": {"validationActions": ["Audit"]}})).await;
        })
        .await;
    clinic.merge(&binding(&second), &json!({"spec": {"validationActions": ["Deny", "Audit"]}})).await;
    let missing = format!("binding {NAME}: it is missing");
    clinic
        .breaks("backstop", "medium", [&missing, "backstop verify"], async |clinic| {
            clinic.delete(&binding(NAME)).await;
        })
        .await;
    store(&clinic, &objects[1]).await;
    clinic
        .breaks("backstop", "medium", ["it is of another policy", "backstop render"], async |clinic| {
            let annotations = json!({"sandgate.dev/policy-hash": "0123456789abcdef"});
            let policy = path("ValidatingAdmissionPolicy", NAME);
            clinic.merge(&policy, &json!({"metadata": {"annotations": annotations}})).await;
        })
        .await;
    remove(&clinic, &objects).await;
}

#[tokio::test]
#[cfg_attr(before_kubernetes = "1.36", ignore = "needs Kubernetes 1.36: MutatingAdmissionPolicy v1")]
async fn fills_that_are_missing_or_were_changed_by_somebody() {
    let clinic = Clinic::new().await;
    let objects = rendered(&clinic, &["--fills"]).await;
    for object in &objects {
        store(&clinic, object).await;
    }
    let missing = format!("filling binding {NAME}: it is missing");
    clinic
        .breaks("backstop", "medium", [&missing, "backstop render"], async |clinic| {
            clinic.delete(&path("MutatingAdmissionPolicyBinding", NAME)).await;
        })
        .await;
    store(&clinic, objects.last().unwrap()).await;
    let changed = format!("filling policy {NAME}: its content was changed");
    clinic
        .breaks("backstop", "medium", [&changed, "backstop render"], async |clinic| {
            let policy = path("MutatingAdmissionPolicy", NAME);
            clinic.merge(&policy, &json!({"spec": {"reinvocationPolicy": "Never"}})).await;
        })
        .await;
    remove(&clinic, &objects).await;
}
