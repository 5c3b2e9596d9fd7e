//! Kueue with `preset/kueue-jobs`: Jobs that wait for a quota, and start with what a flavor adds to their Pods.
//!
//! Its own webhooks, which suspend Jobs and validate its objects, are left out: the Jobs here are suspended from the
//! start, as those webhooks would make them.

use std::{fs, path::Path};

use serde_json::{Value, json};
use testbed::{Cluster, Engine, Process, Result, harness::Test};
use tokio::sync::OnceCell;

use super::{event_of, logs_of, pods_of};
use crate::{
    pods::{container, until},
    running::GVISOR,
    shared::{Bed, cluster},
};

/// The namespace, with the preset of this name.
pub(super) const NAMESPACE: &str = "kueue-jobs";

/// The API of its objects.
const API: &str = "/apis/kueue.x-k8s.io/v1beta2";

/// The tests of this module.
pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new_async(job_starts_with_the_tolerations_of_its_flavor),
        Test::new_async(quota_counts_what_was_filled_into_the_template),
        Test::new_async(hostile_job_is_denied_when_its_turn_comes),
    ]
}

static RUNNING: OnceCell<Process> = OnceCell::const_new();

async fn start(cluster: &Cluster) -> Result<Process> {
    let engine = Cluster::engine(Engine::Kueue).await?;
    let definitions = engine.module.join("config/components/crd/bases").display().to_string();
    cluster.bed.kubectl(&["apply", "--server-side", "-f", &definitions]).await.expect_success();
    let folder = cluster.folder().join("kueue");
    fs::create_dir_all(&folder)?;
    // It listens for webhooks that nothing is sent to.
    for (from, to) in [("apiserver.crt", "tls.crt"), ("apiserver.key", "tls.key")] {
        fs::copy(cluster.folder().join("apiserver").join(from), folder.join(to))?;
    }
    let configuration = json!({
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "health": {"healthProbeBindAddress": "127.0.0.1:18081"},
        "metrics": {"bindAddress": "127.0.0.1:18082"},
        "webhook": {"host": "127.0.0.1", "port": 19443, "certDir": folder},
        "leaderElection": {"leaderElect": false},
        "internalCertManagement": {"enable": false},
        "integrations": {"frameworks": ["batch/job"]},
    });
    let file = folder.join("configuration.json");
    fs::write(&file, configuration.to_string())?;
    let arguments = |kubeconfig: &Path| {
        vec![format!("--config={}", file.display()), format!("--kubeconfig={}", kubeconfig.display())]
    };
    let controller = cluster.start_controller("kueue-system", &engine.controller, arguments, &[]).await?;
    create_queue(cluster).await?;
    Ok(controller)
}

/// A queue with the quota of three Pods of the policy's default requests, on nodes that a flavor describes.
async fn create_queue(cluster: &Cluster) -> Result<()> {
    let rest = cluster.bed.rest().await?;
    let toleration = json!({"key": "kueue.x-k8s.io/flavor", "operator": "Exists", "effect": "NoSchedule"});
    let flavor = json!({
        "metadata": {"name": "sandboxes"},
        "spec": {"nodeLabels": {"workload-type": "workflow-runner"}, "tolerations": [toleration]},
    });
    rest.post(&format!("{API}/resourceflavors"), &flavor).await?;
    let resources = json!([{"name": "cpu", "nominalQuota": "1500m"}, {"name": "memory", "nominalQuota": "3Gi"},
        {"name": "ephemeral-storage", "nominalQuota": "100Gi"}]);
    let group = json!({
        "coveredResources": ["cpu", "memory", "ephemeral-storage"],
        "flavors": [{"name": "sandboxes", "resources": resources}],
    });
    let queue =
        json!({"metadata": {"name": "shared"}, "spec": {"namespaceSelector": {}, "resourceGroups": [group]}});
    rest.post(&format!("{API}/clusterqueues"), &queue).await?;
    let local = json!({"metadata": {"name": "jobs"}, "spec": {"clusterQueue": "shared"}});
    rest.post(&format!("{API}/namespaces/{NAMESPACE}/localqueues"), &local).await?;
    Ok(())
}

/// Returns the cluster with the controller.
async fn with_kueue() -> Bed<impl Sized> {
    let bed = cluster().await;
    RUNNING.get_or_init(async || start(bed.cluster).await.unwrap()).await;
    bed
}

fn path(rest: &str) -> String {
    format!("/apis/batch/v1/namespaces/{NAMESPACE}/jobs{rest}")
}

/// A Job that waits in the queue.
fn queued(name: &str, container: &Value) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"kueue.x-k8s.io/queue-name": "jobs"}},
        "spec": {"suspend": true, "backoffLimit": 0, "template": {"spec": {
            "restartPolicy": "Never", "containers": [container],
        }}},
    })
}

async fn job_starts_with_the_tolerations_of_its_flavor() {
    let bed = with_kueue().await;
    bed.rest.post(&path(""), &queued("waiting", &container("main", "echo its turn"))).await.unwrap();

    until(&bed.rest, &path("/waiting"), "is done", |job| job["status"]["succeeded"] == 1).await.unwrap();

    let pods = pods_of(&bed.rest, NAMESPACE, "job-name=waiting").await;
    let tolerations = pods[0]["spec"]["tolerations"].as_array().unwrap();
    assert!(tolerations.iter().any(|one| one["key"] == "kueue.x-k8s.io/flavor"), "{tolerations:?}");
    assert_eq!(bed.runtimes(&pods[0]), [GVISOR, GVISOR]);
    assert_eq!(logs_of(&bed, &pods[0], "main").await, "its turn\n");
}

async fn quota_counts_what_was_filled_into_the_template() {
    let bed = with_kueue().await;
    let mut open = container("main", "true");
    open.as_object_mut().unwrap().remove("resources");
    bed.rest.post(&path(""), &queued("open", &open)).await.unwrap();

    let workloads = format!("{API}/namespaces/{NAMESPACE}/workloads");
    let of_job = |list: &Value| -> Option<Value> {
        let workload = list["items"]
            .as_array()?
            .iter()
            .find(|one| one["metadata"]["ownerReferences"][0]["name"] == "open")?;
        let usage = &workload["status"]["admission"]["podSetAssignments"][0]["resourceUsage"];
        usage.is_object().then(|| usage.clone())
    };
    let list =
        until(&bed.rest, &workloads, "has the Job's workload", |list| of_job(list).is_some()).await.unwrap();

    let usage = of_job(&list).unwrap();
    assert_eq!((&usage["cpu"], &usage["memory"]), (&json!("500m"), &json!("1Gi")), "{usage}");
}

async fn hostile_job_is_denied_when_its_turn_comes() {
    let bed = with_kueue().await;
    let mut privileged = container("main", "true");
    privileged["securityContext"] = json!({"privileged": true});
    let mut hostile = queued("hostile", &privileged);
    hostile["spec"]["template"]["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    bed.rest.post(&path(""), &hostile).await.unwrap();

    let message = event_of(&bed, NAMESPACE, "hostile", "FailedCreate").await;

    for part in ["spec.containers[0].securityContext.privileged is true", "(privileged)", "(tolerations)"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(pods_of(&bed.rest, NAMESPACE, "job-name=hostile").await.is_empty());
    bed.rest.delete(&path("/hostile?propagationPolicy=Background")).await.unwrap();
}
