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
        let output = bed.kubectl_reading(&manifest, &dry_run).await;
        assert!(!output.stderr.contains("Warning"), "{scenario}: {}", output.stderr);
        let taken = output.expect_success();
        assert_eq!(taken.lines().count(), objects.0.len(), "{scenario}: {taken}");
    }
}

/// A Pod is denied where its account does not exist, also in a dry run.
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
        let output = bed.helm(&[&install[..], &["--values", &scenario]].concat()).await.expect_success();
        assert!(output.contains("sandgate guards "), "the notes: {output}");
    }
}

/// A port that every Pod can reach is named in capitals, with the command that closes it.
#[tokio::test]
async fn the_notes_warn_until_the_addresses_of_the_api_server_are_named() {
    let (bed, _) = cluster().await;
    let values = super::scenario("defaults");
    let usual =
        ["install", "notes", super::CHART, "--dry-run=server", "--namespace", "notes", "--values", &values];
    let off = "checkOtherReleases=false,fullnameOverride=notes";
    let notes = async |flags: &str| {
        bed.helm(&[&usual[..], &["--set", off, "--set", flags]].concat()).await.expect_success()
    };
    let open = "WARNING: networkPolicy.webhookFrom is empty";
    assert!(notes("replicas=2").await.contains(open));
    assert!(!notes("networkPolicy.webhookFrom[0].ipBlock.cidr=192.0.2.1/32").await.contains("WARNING"));
    assert!(notes("networkPolicy.enabled=false").await.contains("WARNING: networkPolicy.enabled is false"));
    assert!(notes("hostNetwork=true").await.contains("WARNING: hostNetwork is true"));
    let account = "Each namespace needs the ServiceAccount that its policy names. With workflowNamespaces.names={workflows}";
    assert!(notes("replicas=2").await.contains(account));
    let audit = notes("policies.workflow-runner.mode=audit").await;
    assert!(audit.contains("No policy is enforced: Pods are admitted, and recorded."), "{audit}");
    assert!(!audit.contains("Each namespace needs"), "{audit}");
    assert!(!audit.contains("workflowNamespaces.names="), "nothing is advised that reaches running Pods");
}

/// The control plane, with the namespaces that the scenarios name and the kinds of other people.
async fn cluster() -> (&'static ControlPlane, Rest) {
    let bed = shared().await;
    let rest = bed.rest().await.expect("a client");
    kinds::define(&rest).await;
    for namespace in [super::NAMESPACE, "workflows", "ci-jobs", "ci-builds", "ci-one", "agents", "monitoring"]
    {
        let path = format!("/api/v1/namespaces/{namespace}");
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        rest.apply(&path, &object, true).await.expect("a namespace");
    }
    (bed, rest)
}
