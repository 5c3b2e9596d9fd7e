//! Kueue with `preset/kueue-jobs`: its manager runs in a Pod, as its own manifests have it, and starts Jobs and Pods when
//! their queue has quota for them.
//!
//! Two things differ from its manifests: the manager tolerates the taint of the one node and asks it for less, and the
//! aggregated API that lists pending workloads is left out, since the API server of the testbed has no client certificate
//! for such servers.

use std::{fs, os::unix::fs::symlink};

use serde_json::{Value, json};
use testbed::{Cluster, Engine, Rest, Result, eventually, harness::Test};
use tokio::sync::OnceCell;

use super::{event_of, logs_of, pods_of, selected_pods};
use crate::{
    pods::{container, has_ended, until},
    running::{GVISOR, KERNEL_OF_GVISOR},
    shared::{Bed, cluster},
};

/// The namespace, with the preset of this name.
pub(super) const NAMESPACE: &str = "kueue-jobs";

/// The tests of this module.
pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new_async(queue_counts_filled_requests_and_its_job_runs_in_gvisor),
        Test::new_async(second_job_waits_for_quota_and_then_runs),
        Test::new_async(job_is_pending_if_its_queue_has_no_ephemeral_storage),
        Test::new_async(plain_pod_gets_its_flavor_when_it_is_admitted),
        Test::new_async(user_is_warned_of_a_privileged_job_and_its_pods_are_denied),
        Test::new_async(flavor_with_foreign_toleration_is_named_in_an_event),
    ]
}

const IMAGE: &str = "localhost/kueue:bed";

/// Returns the cluster with Kueue.
async fn with_kueue() -> Bed<impl Sized> {
    static RUNNING: OnceCell<()> = OnceCell::const_new();
    let bed = cluster().await;
    RUNNING.get_or_init(async || start(bed.cluster).await.unwrap()).await;
    bed
}

async fn start(cluster: &Cluster) -> Result<()> {
    let engine = cluster.engine(Engine::Kueue).await?;
    cluster.import_with(IMAGE, &[(&engine.controller, "/manager")], &["/manager"], "USER 65532:65532")?;
    let folder = cluster.folder().join("kueue");
    fs::create_dir(&folder)?;
    symlink(&engine.module, folder.join("module"))?;
    fs::write(folder.join("kustomization.yaml"), kustomization().to_string())?;
    let folder = folder.display().to_string();
    cluster.bed.kubectl(&["apply", "--server-side", "--kustomize", &folder]).await.expect_success();
    // The kubelet mounts the manager's certificate anew up to two minutes after the manager has created it.
    let rollout =
        ["rollout", "status", "deployment/kueue-controller-manager", "-n=kueue-system", "--timeout=5m"];
    cluster.bed.kubectl(&rollout).await.expect_success();
    let rest = cluster.bed.rest().await?;
    eventually("Kueue's webhooks answer", async || {
        let flavor = object("ResourceFlavor", "probe", &json!({}));
        Ok(rest.post(&format!("{API}/resourceflavors?dryRun=All"), &flavor).await.ok())
    })
    .await?;
    Ok(())
}

/// Returns Kueue's manifests with what this cluster needs.
fn kustomization() -> Value {
    let manager = json!({
        "name": "manager",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "kueue-controller-manager", "namespace": "kueue-system"},
        "spec": {"template": {"spec": {"containers": [manager], "tolerations": [Cluster::toleration()]}}},
    });
    let aggregated = json!({
        "$patch": "delete", "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "every-one"},
    });
    json!({
        "resources": ["module/config/default"],
        "patches": [
            {"patch": deployment.to_string()},
            {"target": {"kind": "APIService"}, "patch": aggregated.to_string()},
        ],
    })
}

const API: &str = "/apis/kueue.x-k8s.io/v1beta2";

/// The label that names the queue of a Job or Pod.
const QUEUE: &str = "kueue.x-k8s.io/queue-name";

/// The toleration of a flavor, as the preset allows it.
fn dedicated() -> Value {
    json!({"key": "kueue.x-k8s.io/flavor", "operator": "Equal", "value": "dedicated", "effect": "NoSchedule"})
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// A quota for any Job here.
fn enough() -> Value {
    json!({"cpu": "1", "memory": "2Gi", "ephemeral-storage": "2Gi"})
}

/// Creates a queue of this name, with a flavor of its own that has this toleration and this quota.
async fn create_queue(rest: &Rest, name: &str, toleration: Value, quota: &Value) {
    // The label of the node.
    let flavor = json!({"nodeLabels": {"workload-type": "workflow-runner"}, "tolerations": [toleration]});
    rest.post(&format!("{API}/resourceflavors"), &object("ResourceFlavor", name, &flavor)).await.unwrap();
    let quota = quota.as_object().unwrap();
    let resources: Vec<_> =
        quota.iter().map(|(name, quota)| json!({"name": name, "nominalQuota": quota})).collect();
    let covered: Vec<_> = quota.keys().collect();
    let group = json!({"coveredResources": covered, "flavors": [{"name": name, "resources": resources}]});
    let queue = json!({"namespaceSelector": {}, "resourceGroups": [group]});
    rest.post(&format!("{API}/clusterqueues"), &object("ClusterQueue", name, &queue)).await.unwrap();
    let queue = object("LocalQueue", name, &json!({"clusterQueue": name}));
    rest.post(&format!("{API}/namespaces/{NAMESPACE}/localqueues"), &queue).await.unwrap();
}

fn jobs(rest: &str) -> String {
    format!("/apis/batch/v1/namespaces/{NAMESPACE}/jobs{rest}")
}

/// A Job of a queue, which waits for the queue to start it.
fn job(name: &str, queue: &str, container: &Value) -> Value {
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [container]}});
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "labels": {QUEUE: queue}},
        "spec": {"suspend": true, "backoffLimit": 0, "template": template},
    })
}

/// Waits until the Workload of an object of this name is as a test wants it.
async fn workload<G>(bed: &Bed<G>, owner: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let of_owner = |workload: &&Value| workload["metadata"]["ownerReferences"][0]["name"] == owner;
    let find = |list: &Value| list["items"].as_array()?.iter().find(of_owner).cloned();
    let path = format!("{API}/namespaces/{NAMESPACE}/workloads");
    let what = format!("has one of {owner} that {what}");
    let list = until(&bed.rest, &path, &what, |list| find(list).is_some_and(|found| is_so(&found))).await;
    find(&list.unwrap()).unwrap()
}

/// Returns a condition of an object.
fn condition<'v>(object: &'v Value, kind: &str) -> &'v Value {
    let all = object["status"]["conditions"].as_array().into_iter().flatten();
    all.into_iter().find(|one| one["type"] == kind).unwrap_or(&Value::Null)
}

fn is_admitted(workload: &Value) -> bool {
    condition(workload, "Admitted")["status"] == "True"
}

async fn succeeded<G>(bed: &Bed<G>, name: &str) -> Value {
    let path = jobs(&format!("/{name}"));
    until(&bed.rest, &path, "has succeeded", |job| job["status"]["succeeded"] == 1).await.unwrap();
    let mut pods = pods_of(&bed.rest, NAMESPACE, &format!("job-name={name}")).await;
    assert_eq!(pods.len(), 1);
    pods.remove(0)
}

async fn queue_counts_filled_requests_and_its_job_runs_in_gvisor() {
    let bed = with_kueue().await;
    // What the policy fills into one container, and the overhead of the RuntimeClass.
    let quota = json!({"cpu": "550m", "memory": "1088Mi", "ephemeral-storage": "1Gi"});
    create_queue(&bed.rest, "counted", dedicated(), &quota).await;
    let mut open = container("main", "cat /proc/version");
    open.as_object_mut().unwrap().remove("resources");
    bed.rest.post(&jobs(""), &job("counted", "counted", &open)).await.unwrap();

    let pod = succeeded(&bed, "counted").await;

    let filled = json!({"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "1Gi"});
    let counted = workload(&bed, "counted", "is admitted", is_admitted).await;
    let set = &counted["spec"]["podSets"][0]["template"]["spec"];
    assert_eq!(set["containers"][0]["resources"]["requests"], filled, "{set:#}");
    assert_eq!(set["runtimeClassName"], "gvisor");
    let used = &counted["status"]["admission"]["podSetAssignments"][0]["resourceUsage"];
    assert_eq!(*used, quota, "{:#}", counted["status"]["admission"]);

    let spec = &pod["spec"];
    assert_eq!(spec["runtimeClassName"], "gvisor");
    assert_eq!(spec["containers"][0]["resources"]["requests"], filled);
    assert_eq!(spec["nodeSelector"]["workload-type"], "workflow-runner");
    let tolerations = spec["tolerations"].as_array().unwrap();
    assert!(tolerations.contains(&dedicated()), "{tolerations:#?}");
    assert_eq!(bed.runtimes(&pod), [GVISOR, GVISOR]);
    assert_eq!(logs_of(&bed, &pod, "main").await.trim_end(), KERNEL_OF_GVISOR);
}

async fn second_job_waits_for_quota_and_then_runs() {
    let bed = with_kueue().await;
    // A container of 20m and its sandbox take 70m.
    let quota = json!({"cpu": "100m", "memory": "1Gi", "ephemeral-storage": "2Gi"});
    create_queue(&bed.rest, "narrow", dedicated(), &quota).await;
    let holding = container("main", "until [ -e /tmp/go ]; do sleep 1; done");
    bed.rest.post(&jobs(""), &job("holding", "narrow", &holding)).await.unwrap();
    workload(&bed, "holding", "is admitted", is_admitted).await;
    let next = container("main", "echo my turn");
    bed.rest.post(&jobs(""), &job("next", "narrow", &next)).await.unwrap();

    let is_pending = |workload: &Value| {
        let reserved = condition(workload, "QuotaReserved");
        reserved["status"] == "False" && reserved["reason"] == "Pending"
    };
    let pending = workload(&bed, "next", "waits for quota", is_pending).await;
    let message = condition(&pending, "QuotaReserved")["message"].as_str().unwrap();
    assert!(
        message.contains("insufficient unused quota for cpu in flavor narrow, 40m more needed"),
        "{message}"
    );
    assert!(pods_of(&bed.rest, NAMESPACE, "job-name=next").await.is_empty());
    assert_eq!(bed.rest.get(&jobs("/next")).await.unwrap()["spec"]["suspend"], true);

    let pods = selected_pods(NAMESPACE, "job-name=holding");
    let runs = |list: &Value| list["items"][0]["status"]["phase"] == "Running";
    let list = until(&bed.rest, &pods, "runs", runs).await.unwrap();
    let first = list["items"][0]["metadata"]["name"].as_str().unwrap();
    let go = ["exec", first, "-n", NAMESPACE, "--", "touch", "/tmp/go"];
    bed.cluster.bed.kubectl(&go).await.expect_success();

    let pod = succeeded(&bed, "next").await;
    assert_eq!(bed.runtimes(&pod), [GVISOR, GVISOR]);
    assert_eq!(logs_of(&bed, &pod, "main").await, "my turn\n");
}

async fn job_is_pending_if_its_queue_has_no_ephemeral_storage() {
    let bed = with_kueue().await;
    create_queue(&bed.rest, "partial", dedicated(), &json!({"cpu": "1", "memory": "2Gi"})).await;
    bed.rest.post(&jobs(""), &job("partial", "partial", &container("main", "true"))).await.unwrap();

    let is_pending = |workload: &Value| condition(workload, "QuotaReserved")["status"] == "False";
    let pending = workload(&bed, "partial", "waits for quota", is_pending).await;

    let message = condition(&pending, "QuotaReserved")["message"].as_str().unwrap();
    assert!(message.contains("resource ephemeral-storage unavailable in ClusterQueue"), "{message}");
}

async fn plain_pod_gets_its_flavor_when_it_is_admitted() {
    let bed = with_kueue().await;
    create_queue(&bed.rest, "pods", dedicated(), &enough()).await;
    let spec = json!({"restartPolicy": "Never", "containers": [container("main", "cat /proc/version")]});
    let plain = json!({"metadata": {"name": "plain", "labels": {QUEUE: "pods"}}, "spec": spec});
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    let created = bed.rest.post(&path, &plain).await.unwrap();
    assert_eq!(created["spec"]["schedulingGates"][0]["name"], "kueue.x-k8s.io/admission");

    let pod = until(&bed.rest, &format!("{path}/plain"), "has ended", has_ended).await.unwrap();

    assert_eq!(pod["status"]["phase"], "Succeeded", "{:#}", pod["status"]);
    assert_eq!(pod["spec"]["runtimeClassName"], "gvisor");
    let tolerations = pod["spec"]["tolerations"].as_array().unwrap();
    assert!(tolerations.contains(&dedicated()), "{tolerations:#?}");
    assert_eq!(bed.runtimes(&pod), [GVISOR, GVISOR]);
}

async fn user_is_warned_of_a_privileged_job_and_its_pods_are_denied() {
    let bed = with_kueue().await;
    create_queue(&bed.rest, "open", dedicated(), &enough()).await;
    let mut hostile = job("hostile", "open", &container("main", "cat /host/etc/shadow"));
    let spec = &mut hostile["spec"]["template"]["spec"];
    spec["volumes"] = json!([{"name": "host", "hostPath": {"path": "/"}}]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "host", "mountPath": "/host"}]);
    spec["containers"][0]["securityContext"] = json!({"privileged": true});
    let create = ["create", "-f", "-", "-n", NAMESPACE];
    let created = bed.cluster.bed.kubectl_reading(&hostile.to_string(), &create).await;

    let warned =
        "sandgate will deny its Pods: spec.template.spec.containers[0].securityContext.privileged is true";
    assert!(created.success && created.stderr.contains(warned), "{}", created.stderr);
    let message = event_of(&bed, NAMESPACE, "hostile", "FailedCreate").await;
    for part in ["spec.containers[0].securityContext.privileged is true", "(privileged)", "(volume-types)"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(pods_of(&bed.rest, NAMESPACE, "job-name=hostile").await.is_empty());
    // Kueue knows of quota only: the Job keeps it until it is deleted.
    workload(&bed, "hostile", "is admitted", is_admitted).await;
    bed.rest.delete(&jobs("/hostile?propagationPolicy=Background")).await.unwrap();
}

async fn flavor_with_foreign_toleration_is_named_in_an_event() {
    let bed = with_kueue().await;
    let foreign =
        json!({"key": "dedicated", "operator": "Equal", "value": "control-plane", "effect": "NoSchedule"});
    create_queue(&bed.rest, "foreign", foreign, &enough()).await;
    bed.rest.post(&jobs(""), &job("foreign", "foreign", &container("main", "true"))).await.unwrap();

    let message = event_of(&bed, NAMESPACE, "foreign", "FailedCreate").await;

    for part in ["dedicated Equal control-plane NoSchedule", "placement.allowedTolerations", "(tolerations)"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(pods_of(&bed.rest, NAMESPACE, "job-name=foreign").await.is_empty());
    bed.rest.delete(&jobs("/foreign?propagationPolicy=Background")).await.unwrap();
}
