//! Plain Jobs, Indexed Jobs and CronJobs with `preset/jobs`.

use serde_json::{Value, json};
use testbed::harness::Test;

use super::{event_of, logs_of, pods_of};
use crate::{
    pods::{container, until},
    running::GVISOR,
    shared::cluster,
};

/// The namespace, with the preset of this name.
pub(super) const NAMESPACE: &str = "jobs";

/// The tests of this module.
pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new_async(job_reads_its_config_map_and_home_is_writable),
        Test::new_async(every_index_of_an_indexed_job_runs_in_gvisor),
        Test::new_async(failing_job_is_tried_again_and_then_fails),
        Test::new_async(cron_job_without_any_setting_runs_in_gvisor),
        Test::new_async(privileged_job_has_an_event_that_says_what_to_change),
    ]
}

fn path(rest: &str) -> String {
    format!("/apis/batch/v1/namespaces/{NAMESPACE}/{rest}")
}

fn job(name: &str, spec: &Value, script: &str) -> Value {
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [container("main", script)]}});
    let mut job = json!({"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": template}});
    job["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    job
}

async fn job_reads_its_config_map_and_home_is_writable() {
    let bed = cluster().await;
    let settings = json!({"metadata": {"name": "report-config"}, "data": {"word": "xyzzy"}});
    bed.rest.post(&format!("/api/v1/namespaces/{NAMESPACE}/configmaps"), &settings).await.unwrap();
    let mut report =
        job("report", &json!({}), "cat /etc/report/word; echo; cd; pwd; touch state && echo kept");
    let spec = &mut report["spec"]["template"]["spec"];
    spec["volumes"] = json!([{"name": "settings", "configMap": {"name": "report-config"}}]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "settings", "mountPath": "/etc/report"}]);
    bed.rest.post(&path("jobs"), &report).await.unwrap();

    until(&bed.rest, &path("jobs/report"), "is done", |job| job["status"]["succeeded"] == 1).await.unwrap();

    let pods = pods_of(&bed.rest, NAMESPACE, "job-name=report").await;
    assert_eq!(bed.runtimes(&pods[0]), [GVISOR, GVISOR]);
    assert_eq!(logs_of(&bed, &pods[0], "main").await, "xyzzy\n/tmp\nkept\n");
}

async fn every_index_of_an_indexed_job_runs_in_gvisor() {
    let bed = cluster().await;
    let indexed = json!({"completionMode": "Indexed", "completions": 4, "parallelism": 2});
    let shards = job("shards", &indexed, "echo shard $JOB_COMPLETION_INDEX on $HOSTNAME");
    bed.rest.post(&path("jobs"), &shards).await.unwrap();

    let done = |job: &Value| job["status"]["completedIndexes"] == "0-3";
    until(&bed.rest, &path("jobs/shards"), "has every index", done).await.unwrap();

    let mut lines = Vec::new();
    for pod in pods_of(&bed.rest, NAMESPACE, "job-name=shards").await {
        assert_eq!(bed.runtimes(&pod), [GVISOR, GVISOR]);
        lines.push(logs_of(&bed, &pod, "main").await);
    }
    lines.sort();
    assert_eq!(lines, [0, 1, 2, 3].map(|index| format!("shard {index} on shards-{index}\n")));
}

async fn failing_job_is_tried_again_and_then_fails() {
    let bed = cluster().await;
    let failing = job("failing", &json!({"backoffLimit": 1}), "exit 3");
    bed.rest.post(&path("jobs"), &failing).await.unwrap();

    let failed = |job: &Value| {
        job["status"]["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["type"] == "Failed"))
    };
    let failing = until(&bed.rest, &path("jobs/failing"), "has failed", failed).await.unwrap();

    assert_eq!(failing["status"]["failed"], 2, "{}", failing["status"]);
    for pod in pods_of(&bed.rest, NAMESPACE, "job-name=failing").await {
        assert_eq!(pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 3);
    }
}

async fn cron_job_without_any_setting_runs_in_gvisor() {
    let bed = cluster().await;
    let template = job("unused", &json!({}), "cat /proc/version")["spec"].clone();
    let cron = json!({"metadata": {"name": "tick"}, "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": template}}});
    bed.rest.post(&path("cronjobs"), &cron).await.unwrap();

    let succeeded = |cron: &Value| cron["status"]["lastSuccessfulTime"].is_string();
    until(&bed.rest, &path("cronjobs/tick"), "has succeeded", succeeded).await.unwrap();

    let made_by =
        |pod: &Value| pod["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("tick-"));
    let pods = pods_of(&bed.rest, NAMESPACE, "job-name").await;
    let pod = pods.iter().find(|pod| made_by(pod)).unwrap();
    assert_eq!(bed.runtimes(pod), [GVISOR, GVISOR]);
    bed.rest.delete(&path("cronjobs/tick?propagationPolicy=Background")).await.unwrap();
}

async fn privileged_job_has_an_event_that_says_what_to_change() {
    let bed = cluster().await;
    let mut hostile = job("hostile", &json!({}), "cat /host/etc/shadow");
    let spec = &mut hostile["spec"]["template"]["spec"];
    spec["volumes"] = json!([{"name": "host", "hostPath": {"path": "/"}}]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "host", "mountPath": "/host"}]);
    spec["containers"][0]["securityContext"] = json!({"privileged": true});
    bed.rest.post(&path("jobs"), &hostile).await.unwrap();

    let message = event_of(&bed, NAMESPACE, "hostile", "FailedCreate").await;

    for part in ["spec.containers[0].securityContext.privileged is true", "(privileged)", "(volume-types)"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(pods_of(&bed.rest, NAMESPACE, "job-name=hostile").await.is_empty());
    bed.rest.delete(&path("jobs/hostile?propagationPolicy=Background")).await.unwrap();
}
