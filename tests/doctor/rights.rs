//! Who may change what the sandbox depends on, and each right of the doctor taken away once.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::clinic::{Clinic, RBAC};
use testbed::helm;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/sandgate");

#[tokio::test]
async fn each_right_to_change_what_the_sandbox_depends_on_is_named() {
    let clinic = Clinic::new().await;
    let words = ["User mallory may", "--accept"];
    clinic
        .breaks("who-edits-webhooks", "high", words, async |clinic| {
            clinic.let_edit("admissionregistration.k8s.io", "validatingwebhookconfigurations").await;
        })
        .await;
    clinic.end_editing().await;
    clinic
        .breaks("who-edits-runtime-classes", "high", words, async |clinic| {
            clinic.let_edit("node.k8s.io", "runtimeclasses").await;
        })
        .await;
    clinic.end_editing().await;
    clinic
        .breaks("who-edits-policies", "high", words, async |clinic| clinic.let_edit("", "configmaps").await)
        .await;
    clinic.end_editing().await;
}

/// The rules of the chart's roles, one for each right: in the cluster, or in the namespace of sandgate.
async fn rights_of_the_chart() -> Vec<(bool, Value)> {
    let command = ["template", "sandgate", CHART, "--values", &format!("{CHART}/ci/defaults-values.yaml")];
    let rendered = helm(&[&command[..], &["--show-only", "templates/doctor.yaml"]].concat()).await.unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered.expect_success()).unwrap();
    let mut rights = Vec::new();
    for object in objects.iter().filter(|object| object.is_object()) {
        let is_of_cluster = object["kind"] == "ClusterRole";
        for rule in object["rules"].as_array().unwrap() {
            let field = if rule["resources"].is_array() { "resources" } else { "nonResourceURLs" };
            for target in rule[field].as_array().unwrap() {
                for verb in rule["verbs"].as_array().unwrap() {
                    let mut right = json!({"verbs": [verb]});
                    right[field] = json!([target]);
                    if field == "resources" {
                        right["apiGroups"] = rule["apiGroups"].clone();
                    }
                    rights.push((is_of_cluster, right));
                }
            }
        }
    }
    assert!(rights.len() > 20, "{rights:#?}");
    rights
}

impl Clinic {
    /// Lets a user update objects of a kind.
    async fn let_edit(&self, group: &str, resource: &str) {
        let role = json!({
            "metadata": {"name": "editor"},
            "rules": [{"apiGroups": [group], "resources": [resource], "verbs": ["update"]}],
        });
        let binding = json!({
            "metadata": {"name": "editor"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "editor"},
            "subjects": [{"kind": "User", "name": "mallory", "apiGroup": "rbac.authorization.k8s.io"}],
        });
        self.post(&format!("{RBAC}/clusterroles"), &role).await;
        self.post(&format!("{RBAC}/clusterrolebindings"), &binding).await;
    }

    async fn end_editing(&self) {
        self.delete(&format!("{RBAC}/clusterrolebindings/editor")).await;
        self.delete(&format!("{RBAC}/clusterroles/editor")).await;
    }

    /// Makes a service account, and returns its kubeconfig.
    pub(crate) async fn account(&self) -> PathBuf {
        let accounts = self.of_release("/serviceaccounts");
        self.post(&accounts, &json!({"metadata": {"name": "doctor"}})).await;
        let token = self.post(&format!("{accounts}/doctor/token"), &json!({"spec": {}})).await;
        let subject = json!({"kind": "ServiceAccount", "name": "doctor", "namespace": self.release});
        let reference =
            |kind: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": self.release});
        let of = |kind: &str| json!({"metadata": {"name": self.release}, "roleRef": reference(kind), "subjects": [subject]});
        self.post(&format!("{RBAC}/clusterrolebindings"), &of("ClusterRole")).await;
        let inside = format!("{RBAC}/namespaces/{}/rolebindings", self.release);
        self.post(&inside, &of("Role")).await;
        self.bed.kubeconfig_of(&self.release, token["status"]["token"].as_str().unwrap()).unwrap()
    }

    /// Gives the account these rights and no others.
    pub(crate) async fn give(&self, rights: &[&(bool, Value)]) {
        let rules = |of_cluster: bool| -> Vec<&Value> {
            rights
                .iter()
                .filter(|(is_of_cluster, _)| *is_of_cluster == of_cluster)
                .map(|(_, rule)| rule)
                .collect()
        };
        let name = &self.release;
        let role = |kind: &str, rules: Vec<&Value>| {
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "rules": rules,
            })
        };
        let cluster = format!("{RBAC}/clusterroles/{name}");
        self.rest.apply(&cluster, &role("ClusterRole", rules(true)), true).await.unwrap();
        let inside = format!("{RBAC}/namespaces/{name}/roles/{name}");
        self.rest.apply(&inside, &role("Role", rules(false)), true).await.unwrap();
    }

    /// Takes the rights of the account in the cluster away.
    pub(crate) async fn take_all(&self) {
        for kind in ["clusterroles", "clusterrolebindings"] {
            self.delete(&format!("{RBAC}/{kind}/{}", self.release)).await;
        }
    }
}

/// The rights with which no check is unknown: those of the chart, and dry runs in the namespace of Pods.
pub(crate) async fn rights_of_the_doctor() -> Vec<(bool, Value)> {
    let mut rights = rights_of_the_chart().await;
    rights.push((true, json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]})));
    rights
}

#[tokio::test]
async fn each_right_that_is_missing_makes_checks_unknown_and_none_fail() {
    let clinic = Clinic::new().await;
    let kubeconfig = clinic.account().await;
    let rights = rights_of_the_doctor().await;
    clinic.give(&rights.iter().collect::<Vec<_>>()).await;
    let run = || clinic.doctor_as(&kubeconfig, &["-o", "json"]).findings();
    testbed::eventually("the rights hold", async || Ok((run().with("unknown").len() <= 3).then_some(())))
        .await
        .unwrap_or_else(|error| panic!("{error}: {:#?}", run().0));
    let failed: Vec<String> = run().with("fail").iter().map(ToString::to_string).collect();

    for (index, (_, right)) in rights.iter().enumerate() {
        // What every authenticated user may read, and what is read as part of a list that is given.
        let target = right["resources"][0].as_str().or_else(|| right["nonResourceURLs"][0].as_str()).unwrap();
        if matches!(target, "/openapi/*" | "pods/proxy")
            || right["verbs"] == json!(["get"]) && target.ends_with("configurations")
        {
            continue;
        }
        // Without a list of namespaces those that are named are checked.
        if target == "namespaces" && right["verbs"] == json!(["list"]) {
            continue;
        }
        let others: Vec<_> =
            rights.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, right)| right).collect();
        clinic.give(&others).await;
        let mut last = Vec::new();
        let named = testbed::eventually("the right is missing", async || {
            let findings = run();
            let found = findings.0.iter().any(|finding| {
                let what = finding["what"].as_str().unwrap();
                finding["outcome"] == "unknown"
                    && (what.contains(&format!("[{target}]")) || what.contains(&format!(" {target} ")))
            });
            last = findings.0;
            Ok(found.then_some(()))
        })
        .await;
        assert!(named.is_ok(), "{right}: {last:#?}");
        let newly: Vec<&Value> = last
            .iter()
            .filter(|finding| {
                finding["outcome"] == "fail" && !failed.iter().any(|id| finding["id"] == id.as_str())
            })
            .collect();
        assert!(newly.is_empty(), "{right}: {newly:#?}");
    }
    clinic.take_all().await;
}
