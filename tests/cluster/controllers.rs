//! Controllers whose pods are denied, and those that need no pods.

use serde_json::{Value, json};

use crate::{
    examples::{plain_pod, with_template},
    sandbox::Sandbox,
};

#[tokio::test]
async fn a_replica_set_says_why_it_has_no_pods_and_does_not_try_without_end() {
    let sandbox = Sandbox::new().await;
    let labels = json!({"set": "web"});
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}}
    });
    let set = with_template(set, &plain_pod(""), &labels);
    let sets = format!("/apis/apps/v1/namespaces/{}/replicasets", sandbox.namespace);
    sandbox.rest.post(&sets, &set).await.expect("a ReplicaSet is no pod");

    let events = sandbox.events("web", "FailedCreate").await;
    let message = events[0]["message"].as_str().expect("an event has a message");
    assert!(message.contains("denied the request") && message.contains("(restart-policy)"), "{message}");
    assert!(message.contains("run it as a Job"), "{message}");
    assert_eq!(sandbox.pods().await, Vec::<Value>::new());
    // The controller waits twice as long each time: more than these would take it days.
    let attempts: u64 = events.iter().filter_map(|event| event["count"].as_u64()).sum();
    assert!(attempts <= 25, "{attempts} attempts");
}

#[tokio::test]
async fn a_job_says_why_it_has_no_pods() {
    let sandbox = Sandbox::new().await;
    let mut pod = plain_pod("");
    pod["spec"]["restartPolicy"] = json!("Never");
    pod["spec"]["hostNetwork"] = json!(true);
    let job = with_template(json!({"metadata": {"name": "bad"}}), &pod, &json!({}));
    let jobs = format!("/apis/batch/v1/namespaces/{}/jobs", sandbox.namespace);
    sandbox.rest.post(&jobs, &job).await.expect("a Job is no pod");

    let events = sandbox.events("bad", "FailedCreate").await;
    let message = events[0]["message"].as_str().expect("an event has a message");
    assert!(message.contains("(host-namespaces)"), "{message}");
    assert_eq!(sandbox.pods().await, Vec::<Value>::new());
}
