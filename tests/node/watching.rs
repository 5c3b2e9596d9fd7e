//! The metrics of a node on a sandbox.

use crate::{
    pods::pod,
    shared::{Bed, NAMESPACE, cluster},
};
use testbed::{eventually, harness::Test};

/// The tests of this module.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new_async(sandbox_usage_is_counted_for_the_pod),
        Test::new_async(sandbox_start_time_is_counted_by_runtime),
    ]
}

async fn sandbox_usage_is_counted_for_the_pod() {
    let bed = cluster().await;
    bed.create(&pod("busy", "while :; do :; done")).await;
    bed.ready("busy").await;
    let of_pod = format!(r#"namespace="{NAMESPACE}",pod="busy""#);

    // A sample that was taken while the sandbox started has the CPU of its start, and little memory.
    let resources = eventually("the Pod's CPU and the sandbox's memory are counted", async || {
        let metrics = bed.kubelet("/metrics/resource").await;
        let seconds = value(&metrics, &format!("pod_cpu_usage_seconds_total{{{of_pod}}}"));
        let memory = value(&metrics, &format!("pod_memory_working_set_bytes{{{of_pod}}}"));
        let is_counted = seconds.is_some_and(|seconds| seconds > 1.0)
            && memory.is_some_and(|memory| memory > f64::from(8 << 20));
        Ok(is_counted.then_some(metrics))
    })
    .await
    .unwrap();

    // Whether the CPU is also counted for the container depends on the network stack: docs/node.md.
    let of_container = format!(r#"container_memory_working_set_bytes{{container="main",{of_pod}}}"#);
    let of_container = value(&resources, &of_container).unwrap_or_default();
    assert!(of_container < f64::from(8 << 20), "{resources}");
    let metrics = bed.kubelet("/metrics/cadvisor").await;
    let of_cgroup = |line: &&str| {
        line.contains(&of_pod) && line.contains(r#"container="""#) && line.contains(r#"image="""#)
    };
    for name in [
        "container_cpu_usage_seconds_total",
        "container_memory_working_set_bytes",
        "container_cpu_cfs_throttled_periods_total",
    ] {
        let of_metric = |line: &&str| line.starts_with(&format!("{name}{{"));
        assert!(metrics.lines().filter(of_metric).any(|line| of_cgroup(&line)), "{name}");
    }
    bed.remove("busy").await;
}

async fn sandbox_start_time_is_counted_by_runtime() {
    let bed = cluster().await;
    bed.create(&pod("started", "true")).await;
    bed.ended("started").await;

    let metrics = bed.kubelet("/metrics").await;

    // Those of runc are sandgate's own Pods.
    for handler in ["runsc", ""] {
        let name = format!(r#"kubelet_run_podsandbox_duration_seconds_count{{runtime_handler="{handler}"}}"#);
        assert!(value(&metrics, &name).is_some_and(|count| count >= 1.0), "{name}");
    }
    assert!(value(&metrics, "kubelet_pod_start_sli_duration_seconds_count").is_some());
    bed.remove("started").await;
}

impl<G> Bed<G> {
    /// Returns the kubelet's answer, by way of the API server.
    async fn kubelet(&self, path: &str) -> String {
        self.kubectl(&["get", "--raw", &format!("/api/v1/nodes/node/proxy{path}")]).await
    }
}

/// The value behind the name and the labels of a metric.
fn value(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
