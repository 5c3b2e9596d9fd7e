//! The view of a Pod on the machine that it runs on.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    pods::{container, pod, pods_path, until},
    shared::{NAMESPACE, cluster},
};
use testbed::harness::Test;

/// The tests of this module.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new_async(bare_pod_runs_in_gvisor_unprivileged),
        Test::new_async(threads_and_processes_start),
        Test::new_async(sandbox_kernel_is_gvisor),
        Test::new_async(unguarded_pod_runs_on_host_kernel),
        Test::new_async(job_pods_run_in_gvisor),
        Test::new_async(cron_job_pods_run_in_gvisor),
        Test::new_async(init_containers_and_sidecars_share_sandbox),
        Test::new_async(containers_without_limits_share_pod_budget),
        Test::new_async(secret_is_variable_never_file),
    ]
}

/// The version of gVisor's kernel, which is the same on every machine.
pub(crate) const KERNEL_OF_GVISOR: &str = "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016";

/// The name of gVisor in containerd. Nothing inside a Pod can change it.
pub(crate) const GVISOR: &str = "io.containerd.runsc.v1";

async fn bare_pod_runs_in_gvisor_unprivileged() {
    let bed = cluster().await;
    let look = "cat /proc/version; id; grep -E '^(Cap|Groups)' /proc/self/status; \
        for place in / /etc /bin /dev /proc/sys/kernel /sys /dev/shm /tmp /workspace; do \
        touch $place/probe 2>/dev/null && echo writable $place; done; \
        ls /var/run/secrets/kubernetes.io/serviceaccount/token || true";
    bed.kubectl(&["run", "bare", "--image=busybox:bed", "--", "sh", "-c", look]).await;

    let pod = bed.ended("bare").await;

    assert_eq!(pod["status"]["phase"], "Succeeded", "{pod:#}");
    let seen = bed.logs("bare", "bare").await;
    let lines: Vec<&str> = seen.lines().map(str::trim_end).collect();
    for expected in [
        KERNEL_OF_GVISOR,
        "uid=1000 gid=1000 groups=1000",
        "Groups:\t1000",
        "CapInh:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "ls: /var/run/secrets/kubernetes.io/serviceaccount/token: No such file or directory",
    ] {
        assert!(lines.contains(&expected), "{expected}\n{seen}");
    }
    let writable: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("writable ")).collect();
    // The second is memory of the sandbox, and counts against its limit.
    assert_eq!(writable, ["/dev/shm", "/tmp", "/workspace"], "{seen}");
    assert_eq!(bed.runtimes(&pod), [GVISOR, GVISOR]);
    bed.remove("bare").await;
}

/// The C library of most images calls clone3 for both, and gives up where that is not permitted.
async fn threads_and_processes_start() {
    let bed = cluster().await;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/threads/main.rs");
    bed.cluster.import_source("localhost/threads:bed", &source).unwrap();
    let mut threads = pod("threads", "");
    threads["spec"]["containers"] = json!([{"name": "main", "image": "localhost/threads:bed"}]);
    bed.create(&threads).await;

    bed.ended("threads").await;

    assert_eq!(bed.logs("threads", "main").await, "thread: started\nprocess: started\n");
    bed.remove("threads").await;
}

async fn sandbox_kernel_is_gvisor() {
    let bed = cluster().await;
    // On a node with `oci-seccomp` the policy's profile keeps the kernel's log from a Pod: this one has none.
    let mut banner = pod("banner", "dmesg");
    banner["spec"]["runtimeClassName"] = json!("gvisor");
    banner["spec"]["restartPolicy"] = json!("Never");
    banner["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    bed.rest.post("/api/v1/namespaces/default/pods", &banner).await.unwrap();

    let path = "/api/v1/namespaces/default/pods/banner";
    until(&bed.rest, path, "has ended", |pod| pod["status"]["phase"] == "Succeeded").await.unwrap();

    let output = bed.cluster.bed.kubectl(&["logs", "banner"]).await.expect_success();
    assert!(output.contains("Starting gVisor..."), "{output}");
    bed.rest.delete(path).await.unwrap();
}

async fn unguarded_pod_runs_on_host_kernel() {
    let bed = cluster().await;
    let mut open = pod("open", "cat /proc/version");
    open["spec"]["restartPolicy"] = json!("Never");
    open["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    bed.rest.post("/api/v1/namespaces/default/pods", &open).await.unwrap();

    let path = "/api/v1/namespaces/default/pods/open";
    let open =
        until(&bed.rest, path, "has ended", |pod| pod["status"]["phase"] == "Succeeded").await.unwrap();

    let output = bed.cluster.bed.kubectl(&["logs", "open"]).await.expect_success();
    assert!(!output.contains(KERNEL_OF_GVISOR), "{output}");
    assert_eq!(bed.runtimes(&open), ["io.containerd.runc.v2", "io.containerd.runc.v2"]);
    bed.rest.delete(path).await.unwrap();
}

async fn job_pods_run_in_gvisor() {
    let bed = cluster().await;
    let job = json!({
        "metadata": {"name": "work"},
        "spec": {"backoffLimit": 0, "template": {"spec": {
            "restartPolicy": "Never", "containers": [container("main", "cat /proc/version >/workspace/out")],
        }}},
    });
    let jobs = format!("/apis/batch/v1/namespaces/{NAMESPACE}/jobs");
    bed.rest.post(&jobs, &job).await.unwrap();

    let done = |job: &Value| job["status"]["succeeded"] == 1;
    until(&bed.rest, &format!("{jobs}/work"), "is done", done).await.unwrap();

    let pods = bed.rest.get(&pods_path("?labelSelector=job-name=work")).await.unwrap();
    assert_eq!(bed.runtimes(&pods["items"][0]), [GVISOR, GVISOR]);
    bed.rest.delete(&format!("{jobs}/work?propagationPolicy=Background")).await.unwrap();
}

async fn cron_job_pods_run_in_gvisor() {
    let bed = cluster().await;
    let cron = json!({
        "metadata": {"name": "tick"},
        "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"backoffLimit": 0, "template": {
            "metadata": {"labels": {"from": "tick"}},
            "spec": {"restartPolicy": "Never", "containers": [container("main", "true")]},
        }}}},
    });
    let crons = format!("/apis/batch/v1/namespaces/{NAMESPACE}/cronjobs");
    bed.rest.post(&crons, &cron).await.unwrap();

    let succeeded = |cron: &Value| cron["status"]["lastSuccessfulTime"].is_string();
    until(&bed.rest, &format!("{crons}/tick"), "has succeeded", succeeded).await.unwrap();

    let pods = bed.rest.get(&pods_path("?labelSelector=from=tick")).await.unwrap();
    assert_eq!(bed.runtimes(&pods["items"][0]), [GVISOR, GVISOR]);
    bed.rest.delete(&format!("{crons}/tick?propagationPolicy=Background")).await.unwrap();
}

async fn init_containers_and_sidecars_share_sandbox() {
    let bed = cluster().await;
    let mut together = pod("together", "until [ -e /workspace/side ]; do sleep 0.1; done; cat /workspace/*");
    let mut sidecar = container("side", "echo from the sidecar >/workspace/side; sleep 1000");
    sidecar["restartPolicy"] = json!("Always");
    together["spec"]["initContainers"] =
        json!([container("init", "echo from the init container >/workspace/init"), sidecar]);
    // A filled folder belongs to one container: what containers share, the Pod declares.
    together["spec"]["volumes"] = json!([{"name": "shared", "emptyDir": {}}]);
    let mount = json!([{"name": "shared", "mountPath": "/workspace"}]);
    for pointer in ["/spec/initContainers/0", "/spec/initContainers/1", "/spec/containers/0"] {
        together.pointer_mut(pointer).unwrap()["volumeMounts"] = mount.clone();
    }
    bed.create(&together).await;

    let together = bed.ended("together").await;

    assert_eq!(together["status"]["phase"], "Succeeded", "{together:#}");
    assert_eq!(bed.logs("together", "main").await, "from the init container\nfrom the sidecar\n");
    assert_eq!(bed.runtimes(&together), [GVISOR; 4]);
    bed.remove("together").await;
}

async fn containers_without_limits_share_pod_budget() {
    let bed = cluster().await;
    let names = ["first", "second", "third"];
    let mut shared = pod("shared", "true");
    shared["spec"]["containers"] = names.map(|name| container(name, "sleep 1000")).to_vec().into();
    bed.create(&shared).await;

    let shared = bed.ready("shared").await;

    // Two CPUs are the Pod's budget. What the sandbox itself needs is on top of it.
    let cpu =
        |index: usize| shared["spec"]["containers"][index]["resources"]["limits"]["cpu"].as_str().unwrap();
    assert_eq!([cpu(0), cpu(1), cpu(2)], ["666m"; 3]);
    assert_eq!(bed.runtimes(&shared), [GVISOR; 4]);
    bed.remove("shared").await;
}

async fn secret_is_variable_never_file() {
    let bed = cluster().await;
    let secret = json!({"metadata": {"name": "key"}, "stringData": {"word": "xyzzy"}});
    bed.rest.post(&format!("/api/v1/namespaces/{NAMESPACE}/secrets"), &secret).await.unwrap();
    let mut variable = pod("variable", "echo $WORD");
    let from = json!({"secretKeyRef": {"name": "key", "key": "word"}});
    variable["spec"]["containers"][0]["env"] = json!([{"name": "WORD", "valueFrom": from}]);
    bed.create(&variable).await;

    assert_eq!(bed.ended("variable").await["status"]["phase"], "Succeeded");

    assert_eq!(bed.logs("variable", "main").await, "xyzzy\n");
    let mut file = pod("file", "cat /secret/word");
    file["spec"]["volumes"] = json!([{"name": "secret", "secret": {"secretName": "key"}}]);
    file["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "secret", "mountPath": "/secret"}]);
    let denial = bed.rest.post(&pods_path(""), &file).await.unwrap_err();
    assert!(denial.names("volume-types"), "{denial}");
    bed.remove("variable").await;
}
