//! Owner references, which decide how a pod may restart.

use serde_json::json;

use crate::{
    examples::{plain_pod, with_template},
    sandbox::Sandbox,
    sandboxed::assert_sandboxed,
};
use testbed::eventually;

#[tokio::test]
async fn an_owner_may_be_added_and_removed() {
    let sandbox = Sandbox::with_pod().await;
    let map = json!({"metadata": {"name": "owner"}});
    let map = sandbox.rest.post(&sandbox.path("/configmaps"), &map).await.expect("it is made");
    let owner =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": map["metadata"]["uid"]});
    for owners in [json!([owner]), json!(null)] {
        let changes = json!({"metadata": {"ownerReferences": owners}});
        sandbox.rest.merge(&sandbox.pods_path("/main"), &changes).await.expect("it is no rule's business");
        assert_eq!(sandbox.stored("main").await["metadata"]["ownerReferences"], owners);
    }
    assert_sandboxed(&sandbox.stored("main").await);
}

/// It would be a bare pod that retries. So a Job that is to leave such pods behind stays until they are gone.
#[tokio::test]
async fn a_pod_that_retries_cannot_be_taken_from_its_job() {
    let sandbox = Sandbox::new().await;
    let jobs = start_job(&sandbox, "OnFailure").await;
    let pod = sandbox.first_pod().await;
    let name = pod["metadata"]["name"].as_str().expect("a name");
    let changes = json!({"metadata": {"ownerReferences": null}});
    let denial = sandbox.rest.merge(&sandbox.pods_path(&format!("/{name}")), &changes).await;
    let denial = denial.expect_err("it would retry without end");
    assert!(denial.names("restart-policy"), "{denial}");

    let job = format!("{jobs}/work");
    sandbox.rest.delete(&format!("{job}?propagationPolicy=Orphan")).await.expect("it is being deleted");
    let waiting = sandbox.rest.get(&job).await.expect("it waits for its pods");
    assert_eq!(waiting["metadata"]["finalizers"], json!(["orphan"]));
    sandbox.rest.delete(&sandbox.pods_path(&format!("/{name}"))).await.expect("it is being deleted");
    gone(&sandbox, &job).await;
}

#[tokio::test]
async fn a_job_whose_pods_do_not_retry_leaves_them_behind_if_asked() {
    let sandbox = Sandbox::new().await;
    let jobs = start_job(&sandbox, "Never").await;
    sandbox.first_pod().await;
    sandbox.rest.delete(&format!("{jobs}/work?propagationPolicy=Orphan")).await.expect("it is deleted");
    gone(&sandbox, &format!("{jobs}/work")).await;
    let left = sandbox.first_pod().await;
    assert!(left["metadata"]["ownerReferences"].is_null());
    assert_sandboxed(&left);
}

async fn start_job(sandbox: &Sandbox, restart_policy: &str) -> String {
    let mut pod = plain_pod("");
    pod["spec"]["restartPolicy"] = json!(restart_policy);
    let job = with_template(json!({"metadata": {"name": "work"}}), &pod, &json!({}));
    let jobs = format!("/apis/batch/v1/namespaces/{}/jobs", sandbox.namespace);
    sandbox.rest.post(&jobs, &job).await.expect("a Job is no pod");
    jobs
}

async fn gone(sandbox: &Sandbox, job: &str) {
    let is_gone = async || Ok(sandbox.rest.get(job).await.err());
    assert_eq!(eventually("the Job is gone", is_gone).await.expect("it is").code, 404);
}
