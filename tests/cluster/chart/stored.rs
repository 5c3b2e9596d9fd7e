//! Whether a real API server takes what the chart renders.

use serde_json::{Value, json};

use super::{Objects, kinds, scenarios, template};
use testbed::{ControlPlane, Rest, shared};

/// Strictly: a field that the API server does not know is an error, not a warning.
#[tokio::test]
async fn the_api_server_takes_every_object_of_every_scenario_those_of_other_peoples_kinds_without_a_schema() {
    let (bed, rest) = cluster().await;
    for scenario in scenarios() {
        let manifest = template(&["--values", &scenario]).await.expect_success();
        let objects = Objects::read(&manifest);
        for account in objects.all("ServiceAccount") {
            account_for_real(&rest, account).await;
        }
        let dry_run = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
        let told = bed.kubectl_reading(&manifest, &dry_run).await;
        assert!(!told.stderr.contains("Warning"), "{scenario}: {}", told.stderr);
        let taken = told.expect_success();
        assert_eq!(taken.lines().count(), objects.0.len(), "{scenario}: {taken}");
    }
}

/// A Pod is refused where its account does not exist, also in a dry run.
async fn account_for_real(rest: &Rest, account: &Value) {
    let metadata = &account["metadata"];
    let [name, namespace] = ["name", "namespace"].map(|field| metadata[field].as_str().expect("it is named"));
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}");
    rest.apply(&path, account, true).await.expect("an account");
}

/// Helm itself: it finds the schema, the notes, the hooks and the API server's own version.
#[tokio::test]
async fn helm_installs_every_scenario_as_far_as_a_dry_run_goes() {
    let (bed, _) = cluster().await;
    for scenario in scenarios() {
        // The other test has made some of the objects by hand.
        let how = ["--dry-run=server", "--take-ownership", "--namespace", super::NAMESPACE];
        let install = [&["install", "sandgate", super::CHART], &how[..]].concat();
        let told = bed.helm(&[&install[..], &["--values", &scenario]].concat()).await.expect_success();
        assert!(told.contains("sandgate guards "), "the notes: {told}");
    }
}

/// The control plane, with the namespaces that the scenarios name and the kinds of other people.
async fn cluster() -> (&'static ControlPlane, Rest) {
    let bed = shared().await;
    let rest = bed.rest().await.expect("a client");
    kinds::define(&rest).await;
    for namespace in [super::NAMESPACE, "workflows", "ci-jobs", "ci-builds", "agents"] {
        let path = format!("/api/v1/namespaces/{namespace}");
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        rest.apply(&path, &object, true).await.expect("a namespace");
    }
    (bed, rest)
}
