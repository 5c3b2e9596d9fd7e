//! The objects are for every Kubernetes since 1.30, and an API server can emulate the versions shortly before its own.

use serde_json::json;

use super::{Release, apply, make_namespace};
use crate::examples::{complete_pod, plain_pod};
use testbed::{ApiServer, Version, eventually};

const NAMESPACE: &str = "workflows";

/// kube-apiserver 1.36 emulates versions back to 1.33: expressions must compile with what CEL could do then.
#[tokio::test]
#[cfg_attr(before_kubernetes = "1.36", ignore = "needs Kubernetes 1.36: emulation of 1.33")]
async fn an_api_server_that_emulates_1_33_takes_the_objects_and_denies() {
    let version = Version::chosen().expect("a version");
    let bed =
        ApiServer::start_flagged(version, vec!["--emulated-version=1.33".into()]).await.expect("it starts");
    let rest = bed.rest().await.expect("a client");
    let served = rest.get("/version").await.expect("a version");
    assert_eq!(served["emulationMinor"], "33", "{served}");
    make_namespace(&rest, NAMESPACE).await;
    for spec in [json!({"extends": "preset/argo-workflows"}), json!({})] {
        apply(&rest, &Release::of(NAMESPACE, &spec).rendered(&[])).await;
    }
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    eventually("the backstop denies", async || {
        let denial = rest.post(&format!("{pods}?dryRun=All"), &plain_pod("plain")).await.err();
        Ok(denial.filter(|denial| denial.message.contains("(backstop)")).map(drop))
    })
    .await
    .expect("an unfilled Pod is denied");
    // The policy of this content is the second one.
    eventually("the second policy is in force", async || {
        Ok(rest.post(&format!("{pods}?dryRun=All"), &complete_pod("complete")).await.ok())
    })
    .await
    .expect("a complete Pod is admitted");
}
