//! Ray with `preset/ray`: the operator `KubeRay` makes the Pods of a `RayCluster`, and Ray itself runs in them.
//!
//! The image is not the one that Ray publishes. It has Debian's Python, the packages that pip installs for Ray, and the
//! name of Ray's image, since the exception of the preset is bound to it.

use std::path::Path;

use serde_json::{Value, json};
use testbed::{
    Cluster, Engine, Process, Result,
    harness::{Test, missing_program},
    is_ready, ray_packages, ray_version,
};
use tokio::sync::{Mutex, OnceCell};

use super::{event_of, pods_of, selected_pods};
use crate::{
    pods::until,
    running::{GVISOR, KERNEL_OF_GVISOR},
    shared::{Bed, cluster},
};

/// The namespace, with the preset of this name.
pub(super) const NAMESPACE: &str = "ray";

/// The tests of this module.
pub(super) fn tests() -> Vec<Test> {
    let missing = missing_program("/usr/bin/python3.11", "python3")
        .or_else(|| missing_program("/usr/bin/pip3", "python3-pip"))
        .or_else(|| missing_program("/bin/bash", "bash"));
    let tests = vec![
        Test::new_async(tasks_run_on_head_and_worker_in_gvisor),
        Test::new_async(autoscaler_alone_has_the_token_and_adds_a_worker),
        Test::new_async(hostile_clusters_have_events_with_the_rule_and_the_remedy),
    ];
    tests.into_iter().map(|test| test.requires(missing.clone())).collect()
}

/// The operator, until this program ends.
static RUNNING: OnceCell<Mutex<Process>> = OnceCell::const_new();

/// Returns the cluster with the operator.
async fn with_ray() -> Bed<impl Sized> {
    let bed = cluster().await;
    RUNNING.get_or_init(async || Mutex::new(start(bed.cluster).await.unwrap())).await;
    bed
}

fn image() -> String {
    format!("rayproject/ray:{}", ray_version())
}

async fn start(cluster: &Cluster) -> Result<Process> {
    let engine = cluster.engine(Engine::KubeRay).await?;
    let definitions = engine.module.join("config/crd").display().to_string();
    cluster.bed.kubectl(&["apply", "--server-side", "--kustomize", &definitions]).await.expect_success();
    import(cluster, &cluster.outside(ray_packages).await?)?;
    let rest = cluster.bed.rest().await?;
    // As the page of the preset advises.
    let account = json!({"metadata": {"name": "ray-head"}});
    rest.post(&format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts"), &account).await?;
    let arguments = |kubeconfig: &Path| {
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        // No ports of the node.
        vec![
            kubeconfig,
            "--metrics-addr=0".into(),
            "--health-probe-bind-address=0".into(),
            "--enable-leader-election=false".into(),
        ]
    };
    cluster.start_controller("kuberay", &engine.controller, arguments, &[]).await
}

fn import(cluster: &Cluster, packages: &Path) -> Result<()> {
    let ray = packages.join("bin/ray");
    let folders = [Path::new("/usr/lib/python3.11"), packages];
    let programs = ["/usr/bin/python3", "/usr/bin/python3.11", "/bin/bash"].map(Path::new);
    let programs = [&programs[..], &[&ray]].concat();
    // The user of the Pods gets through the folders above the packages, such as a home folder.
    let above: Vec<_> = packages.ancestors().map(|folder| folder.display().to_string()).collect();
    let instructions = format!(
        "ENV PYTHONPATH={}\nRUN chmod a+rx {} && echo 'ray:x:1000:100::/tmp:/bin/bash' >/etc/passwd\n",
        packages.display(),
        above.join(" "),
    );
    cluster.import_tree(&image(), &folders, &programs, &instructions)
}

fn path(rest: &str) -> String {
    format!("/apis/ray.io/v1/namespaces/{NAMESPACE}/rayclusters{rest}")
}

fn container(name: &str) -> Value {
    let resources =
        json!({"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}});
    json!({"name": name, "image": image(), "imagePullPolicy": "IfNotPresent", "resources": resources})
}

fn group(container: &str) -> Value {
    json!({"rayStartParams": {}, "template": {"spec": {"containers": [self::container(container)]}}})
}

/// A group with at least this many workers and at most one.
fn workers(least: usize) -> Value {
    let mut workers = group("ray-worker");
    workers["groupName"] = json!("workers");
    for (field, value) in [("replicas", least), ("minReplicas", least), ("maxReplicas", 1)] {
        workers[field] = json!(value);
    }
    workers
}

fn ray_cluster(name: &str) -> Value {
    json!({
        "apiVersion": "ray.io/v1", "kind": "RayCluster",
        "metadata": {"name": name},
        "spec": {"rayVersion": ray_version(), "headGroupSpec": group("ray-head")},
    })
}

/// Waits until all Pods of a cluster are ready, and returns those of this type.
async fn ready_pods<G>(bed: &Bed<G>, name: &str, node_type: &str) -> Vec<Value> {
    let selector = format!("ray.io/cluster={name},ray.io/node-type={node_type}");
    let path = selected_pods(NAMESPACE, &selector);
    let are_ready = |list: &Value| {
        let pods = list["items"].as_array();
        pods.is_some_and(|pods| !pods.is_empty() && pods.iter().all(is_ready))
    };
    let mut list = Err("never asked".into());
    // Ray takes its time on a busy machine.
    for _ in 0..4 {
        list = until(&bed.rest, &path, "are ready", are_ready).await;
        if list.is_ok() {
            break;
        }
    }
    let operator = RUNNING.get().unwrap().lock().await.check();
    let list = list.unwrap_or_else(|error| panic!("{error}; the operator: {operator:?}"));
    list["items"].as_array().unwrap().clone()
}

/// Runs a Python script beside Ray in the head, and returns what it prints.
async fn python<G>(bed: &Bed<G>, head: &Value, script: &str) -> String {
    let name = head["metadata"]["name"].as_str().unwrap();
    let exec = ["exec", name, "-c", "ray-head", "-n", NAMESPACE, "--", "python3", "-c", script];
    bed.cluster.bed.kubectl(&exec).await.expect_success()
}

async fn tasks_run_on_head_and_worker_in_gvisor() {
    let bed = with_ray().await;
    let mut tasks = ray_cluster("tasks");
    tasks["spec"]["workerGroupSpecs"] = json!([workers(1)]);
    bed.rest.post(&path(""), &tasks).await.unwrap();
    let head = ready_pods(&bed, "tasks", "head").await.remove(0);
    let worker = ready_pods(&bed, "tasks", "worker").await.remove(0);

    let script = r#"
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
ray.init(logging_level="ERROR", log_to_driver=False)
@ray.remote
def kernel():
    return open("/proc/version").read().strip()
for node in ray.nodes():
    strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    print(ray.get(kernel.options(scheduling_strategy=strategy).remote()))
"#;
    let output = python(&bed, &head, script).await;

    assert_eq!(output.lines().collect::<Vec<_>>(), [KERNEL_OF_GVISOR; 2]);
    for pod in [&head, &worker] {
        let runtimes = bed.runtimes(pod);
        assert!(runtimes.len() >= 2 && runtimes.iter().all(|runtime| runtime == GVISOR), "{runtimes:?}");
        let spec = &pod["spec"];
        assert_eq!(spec["runtimeClassName"], "gvisor");
        assert_eq!(spec["automountServiceAccountToken"], false);
        let security = &spec["containers"][0]["securityContext"];
        assert_eq!(security["readOnlyRootFilesystem"], true, "{security:#}");
        assert_eq!(security["capabilities"]["drop"], json!(["ALL"]), "{security:#}");
    }
    remove(&bed, "tasks").await;
}

async fn autoscaler_alone_has_the_token_and_adds_a_worker() {
    let bed = with_ray().await;
    let mut scaled = ray_cluster("scaled");
    scaled["spec"]["enableInTreeAutoscaling"] = json!(true);
    let head = &mut scaled["spec"]["headGroupSpec"];
    // Tasks need a worker.
    head["rayStartParams"] = json!({"num-cpus": "0"});
    head["template"]["spec"]["serviceAccountName"] = json!("ray-head");
    scaled["spec"]["workerGroupSpecs"] = json!([workers(0)]);
    bed.rest.post(&path(""), &scaled).await.unwrap();
    let head = ready_pods(&bed, "scaled", "head").await.remove(0);

    let script = r#"
import os, ray
ray.init(logging_level="ERROR", log_to_driver=False)
@ray.remote(num_cpus=1)
def node_type():
    return os.environ["RAY_NODE_TYPE_NAME"]
print("ran on", ray.get(node_type.remote()))
print("token", os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token"))
"#;
    let output = python(&bed, &head, script).await;

    assert_eq!(output, "ran on workers\ntoken False\n");
    assert_eq!(head["spec"]["serviceAccountName"], "ray-head");
    let has_token = |container: &&Value| {
        let mounts = container["volumeMounts"].as_array().into_iter().flatten();
        mounts.into_iter().any(|mount| mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount")
    };
    let containers = head["spec"]["containers"].as_array().unwrap();
    let holders: Vec<_> = containers.iter().filter(has_token).map(|container| &container["name"]).collect();
    assert_eq!(holders, ["autoscaler"]);
    remove(&bed, "scaled").await;
}

async fn hostile_clusters_have_events_with_the_rule_and_the_remedy() {
    let bed = with_ray().await;
    let with = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut hostile = ray_cluster(name);
        change(&mut hostile["spec"]["headGroupSpec"]["template"]["spec"]);
        hostile
    };
    let privileged = with("privileged", &|spec| {
        spec["containers"][0]["securityContext"] = json!({"privileged": true});
    });
    let host = with("host", &|spec| {
        spec["volumes"] = json!([{"name": "host", "hostPath": {"path": "/"}}]);
        spec["containers"][0]["volumeMounts"] = json!([{"name": "host", "mountPath": "/host"}]);
    });
    let network = with("network", &|spec| spec["hostNetwork"] = json!(true));
    let account = with("account", &|spec| spec["serviceAccountName"] = json!("strong"));
    let traced = with("traced", &|spec| {
        spec["containers"][0]["securityContext"] = json!({"capabilities": {"add": ["SYS_PTRACE"]}});
    });
    let escapes = [
        ("privileged", privileged, "(privileged)"),
        ("host", host, "(volume-types)"),
        ("network", network, "(host-namespaces)"),
        ("account", account, "(service-account)"),
        ("traced", traced, "(capabilities)"),
    ];
    let strong = json!({"metadata": {"name": "strong"}});
    bed.rest.post(&format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts"), &strong).await.unwrap();
    for (_, hostile, _) in &escapes {
        bed.rest.post(&path(""), hostile).await.unwrap();
    }

    for (name, _, rule) in escapes {
        let message = event_of(&bed, NAMESPACE, name, "FailedToCreateHeadPod").await;
        assert!(message.contains(rule) && message.contains("must be"), "{name}: {message}");
        let pods = pods_of(&bed.rest, NAMESPACE, &format!("ray.io/cluster={name}")).await;
        assert!(pods.is_empty(), "{name}: {pods:#?}");
        remove(&bed, name).await;
    }
}

async fn remove<G>(bed: &Bed<G>, name: &str) {
    bed.rest.delete(&path(&format!("/{name}"))).await.unwrap();
}
