//! The limits that end a Pod, or hold it back.

use serde_json::{Value, json};

use crate::{
    pods::pod,
    shared::{Bed, cluster},
};
use testbed::{Result, eventually, harness::Test};

/// The tests of this module.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new_async(memory_over_limit_is_oom_killed),
        Test::new_async(pod_past_deadline_is_ended),
        Test::new_async(disk_over_limit_is_evicted),
        Test::new_async(cpu_over_limit_is_throttled),
        Test::new_async(memory_volume_counts_against_limit),
    ]
}

fn with_limits(name: &str, script: &str, limits: Value) -> Value {
    let mut pod = pod(name, script);
    pod["spec"]["containers"][0]["resources"]["limits"] = limits;
    pod
}

async fn memory_over_limit_is_oom_killed() {
    let bed = cluster().await;
    // What is written to memory is memory.
    bed.create(&with_limits("greedy", "cat /dev/zero >/dev/shm/all", json!({"memory": "64Mi"}))).await;

    let greedy = bed.ended("greedy").await;

    assert_eq!(greedy["status"]["phase"], "Failed");
    let state = &greedy["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(state["reason"], "OOMKilled", "{state}");
    bed.remove("greedy").await;
}

async fn pod_past_deadline_is_ended() {
    let bed = cluster().await;
    let mut slow = pod("slow", "sleep 1000");
    slow["spec"]["activeDeadlineSeconds"] = json!(3);
    slow["spec"]["terminationGracePeriodSeconds"] = json!(1);
    bed.create(&slow).await;

    let slow = bed.ended("slow").await;

    assert_eq!(slow["status"]["reason"], "DeadlineExceeded", "{}", slow["status"]);
    bed.remove("slow").await;
}

async fn disk_over_limit_is_evicted() {
    let bed = cluster().await;
    let script = "head -c 40000000 /dev/zero >/workspace/all && echo written; sleep 1000";
    bed.create(&with_limits("full", script, json!({"ephemeral-storage": "20Mi"}))).await;

    let full = bed.ended("full").await;

    assert_eq!(full["status"]["reason"], "Evicted", "{}", full["status"]);
    let message = full["status"]["message"].as_str().unwrap();
    assert!(message.contains("20Mi"), "{message}");
    bed.remove("full").await;
}

async fn cpu_over_limit_is_throttled() {
    let bed = cluster().await;
    bed.create(&with_limits("busy", "while :; do :; done", json!({"cpu": "100m"}))).await;
    let busy = bed.ready("busy").await;

    // The kernel's own account of the pod, whose cgroup has a limit of 100m and the sandbox's own 50m.
    let throttled = eventually("the pod was throttled", async || {
        let stat = bed.in_cgroup(&busy, "cat cpu.stat")?;
        let count = stat.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse::<u64>().ok());
        Ok(count.filter(|count| *count > 10))
    });
    throttled.await.unwrap();
    let quota = "cat cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 cpu.max";
    assert_eq!(bed.in_cgroup(&busy, quota).unwrap().trim(), "15000");
    bed.remove("busy").await;
}

impl<G> Bed<G> {
    /// Runs a script on the node, in the folder of the Pod's cgroup for CPU.
    fn in_cgroup(&self, pod: &Value, script: &str) -> Result<String> {
        let uid = pod["metadata"]["uid"].as_str().ok_or("a Pod has a uid")?;
        let limited = "[ -e $0/cpu.cfs_quota_us ] || [ -e $0/cpu.max ]";
        let find =
            format!("find /sys/fs/cgroup -type d -name pod{uid} -exec sh -c '{limited}' {{}} ';' -print");
        let script = format!("cd \"$({find} | head -n 1)\" && {{ {script}; }}");
        Ok(self.cluster.run_in_node(&["sh", "-c", &script])?.stdout)
    }
}

async fn memory_volume_counts_against_limit() {
    let bed = cluster().await;
    let mut memory = with_limits("memory", "cat /dev/zero >/workspace/all", json!({"memory": "64Mi"}));
    memory["spec"]["volumes"] = json!([{"name": "workspace", "emptyDir": {"medium": "Memory"}}]);
    bed.create(&memory).await;

    let memory = bed.ended("memory").await;

    assert_eq!(memory["status"]["phase"], "Failed", "{}", memory["status"]);
    bed.remove("memory").await;
}
