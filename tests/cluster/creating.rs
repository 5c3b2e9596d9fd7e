//! Every way in which people create pods.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use crate::{
    examples::{plain_pod, with_template},
    sandbox::Sandbox,
    sandboxed::assert_sandboxed,
};

#[tokio::test]
async fn kubectl_run_stores_a_sandboxed_pod() {
    let sandbox = Sandbox::new().await;
    sandbox.kubectl(&["run", "hello", "--image=busybox"]).await.expect_success();
    assert_sandboxed(&sandbox.stored("hello").await);
}

#[tokio::test]
async fn kubectl_apply_stores_a_sandboxed_pod_and_may_be_repeated() {
    let sandbox = Sandbox::new().await;
    let manifest = plain_pod("applied").to_string();
    sandbox.kubectl_reading(&manifest, &["apply", "-f", "-"]).await.expect_success();
    let first = sandbox.stored("applied").await;
    assert_sandboxed(&first);

    let again = sandbox.kubectl_reading(&manifest, &["apply", "-f", "-"]).await.expect_success();
    assert_eq!(again.trim(), "pod/applied unchanged");
    assert_eq!(sandbox.stored("applied").await, first);
}

#[tokio::test]
async fn server_side_apply_stores_a_sandboxed_pod_and_may_be_repeated() {
    let sandbox = Sandbox::new().await;
    let manifest = plain_pod("applied").to_string();
    let apply = ["apply", "--server-side", "-f", "-"];
    sandbox.kubectl_reading(&manifest, &apply).await.expect_success();
    let first = sandbox.stored("applied").await;
    assert_sandboxed(&first);

    sandbox.kubectl_reading(&manifest, &apply).await.expect_success();
    assert_eq!(sandbox.stored("applied").await["spec"], first["spec"]);
}

#[tokio::test]
async fn kubectl_create_job_makes_a_sandboxed_pod() {
    let sandbox = Sandbox::new().await;
    sandbox.kubectl(&["create", "job", "work", "--image=busybox", "--", "true"]).await.expect_success();
    let pod = sandbox.first_pod().await;
    assert_eq!(pod["metadata"]["ownerReferences"][0]["name"], "work");
    assert_sandboxed(&pod);
}

#[tokio::test]
async fn a_cron_jobs_job_makes_a_sandboxed_pod_that_may_retry() {
    let sandbox = Sandbox::new().await;
    let mut pod = plain_pod("");
    pod["spec"]["restartPolicy"] = json!("OnFailure");
    let job = with_template(json!({}), &pod, &json!({}));
    let cron_job = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"},
        "spec": {"schedule": "* * * * *", "concurrencyPolicy": "Forbid", "suspend": true, "jobTemplate": job}
    });
    let cron_jobs = format!("/apis/batch/v1/namespaces/{}/cronjobs", sandbox.namespace);
    sandbox.rest.post(&cron_jobs, &cron_job).await.expect("a CronJob is no pod");
    run_now(&sandbox, &format!("{cron_jobs}/nightly")).await;

    let pod = sandbox.first_pod().await;
    assert_eq!(pod["spec"]["restartPolicy"], "OnFailure");
    assert_sandboxed(&pod);
}

/// A `CronJob` that believes it ran last in the past catches up at once; else the test would wait for the next minute.
async fn run_now(sandbox: &Sandbox, cron_job: &str) {
    let stored = sandbox.rest.get(cron_job).await.expect("it is stored");
    let created = stored["metadata"]["creationTimestamp"].as_str().expect("the API server sets it");
    let year = created.get(..4).and_then(|year| year.parse::<u32>().ok()).expect("a year");
    let long_ago =
        created.replacen(&year.to_string(), &(year - 1).to_string(), 1).replace("-02-29", "-02-28");
    let status = json!({"status": {"lastScheduleTime": long_ago}});
    sandbox.rest.merge(&format!("{cron_job}/status"), &status).await.expect("the status is writable");
    sandbox.rest.merge(cron_job, &json!({"spec": {"suspend": false}})).await.expect("it is resumed");
}

#[tokio::test]
async fn a_create_by_the_kube_client_stores_a_sandboxed_pod() {
    let sandbox = Sandbox::new().await;
    let client = sandbox.bed.client().await.expect("a client");
    let pod: Pod = serde_json::from_value(plain_pod("typed")).expect("it is a pod");
    let pods = Api::<Pod>::namespaced(client, &sandbox.namespace);
    pods.create(&PostParams::default(), &pod).await.expect("it is admitted");
    assert_sandboxed(&sandbox.stored("typed").await);
}

#[tokio::test]
async fn a_generated_name_is_no_hindrance() {
    let sandbox = Sandbox::new().await;
    let mut pod = plain_pod("");
    pod["metadata"] = json!({"generateName": "many-"});
    let stored = sandbox.create_and_read(&pod).await;
    assert!(stored["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("many-")));
    assert_sandboxed(&stored);
}

#[tokio::test]
async fn a_dry_run_shows_what_would_be_stored_and_stores_nothing() {
    let sandbox = Sandbox::new().await;
    let shown = sandbox.kubectl(&["run", "dry", "--image=busybox", "--dry-run=server", "-o", "json"]).await;
    let shown: Value = serde_json::from_str(&shown.expect_success()).expect("kubectl prints JSON");
    assert_sandboxed(&shown);

    let denied = ["run", "dry", "--image=busybox", "--dry-run=server", "--privileged"];
    let message = sandbox.kubectl(&denied).await.expect_failure();
    assert!(message.contains("(privileged)"), "{message}");
    assert_eq!(sandbox.pods().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_denial_names_what_to_change() {
    let sandbox = Sandbox::new().await;
    let message = sandbox.kubectl(&["run", "bad", "--image=busybox", "--privileged"]).await.expect_failure();
    let start =
        "Error from server (Forbidden): admission webhook \"mutate.sandgate.dev\" denied the request: ";
    assert!(message.starts_with(start), "{message}");
    assert!(message.contains("spec.containers[0].securityContext.privileged is true"), "{message}");
}

#[tokio::test]
async fn the_api_servers_audit_log_says_what_was_decided() {
    let sandbox = Sandbox::new().await;
    sandbox.create(&plain_pod("good")).await.expect("it is admitted");
    sandbox.kubectl(&["run", "bad", "--image=busybox", "--privileged"]).await.expect_failure();

    let good = sandbox.audit_annotations(201).await;
    assert_eq!(good["mutate.sandgate.dev/verdict"], "admitted");
    assert_eq!(good["validate.sandgate.dev/verdict"], "admitted");
    assert_eq!(good["validate.sandgate.dev/policy"], "workflow-runner");
    let bad = sandbox.audit_annotations(403).await;
    assert_eq!(bad["mutate.sandgate.dev/verdict"], "denied");
    assert_eq!(bad["mutate.sandgate.dev/rules"], "privileged");
}

/// As a tool that restores backups does: the stored object, without what one cluster gave it.
#[tokio::test]
async fn a_stored_pod_can_be_restored_from_a_backup() {
    let sandbox = Sandbox::with_pod().await;
    let mut backup = sandbox.stored("main").await;
    sandbox.rest.delete(&sandbox.pods_path("/main?gracePeriodSeconds=0")).await.expect("it is deleted");
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"] {
        backup["metadata"].as_object_mut().expect("metadata").remove(field);
    }
    backup["status"] = Value::Null;
    backup["metadata"]["labels"]["velero.io/restore-name"] = json!("restore-1");
    sandbox.create(&backup).await.expect("it is admitted");
    assert_sandboxed(&sandbox.stored("main").await);
}
