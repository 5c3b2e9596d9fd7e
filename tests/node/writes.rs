//! Where a sandboxed Pod can write, and which of that the kubelet counts.

use std::path::Path;

use serde_json::{Value, json};
use testbed::{Result, eventually, harness::Test};

use crate::{
    pods::{container, pod},
    shared::{Bed, cluster},
};

/// The tests of this module.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new_async(no_mount_but_four_can_be_written_to),
        Test::new_async(volume_of_an_image_cannot_be_written_to),
        Test::new_async(termination_log_is_on_the_node_and_counted_by_no_limit),
        Test::new_async(unlinked_file_is_on_the_node_and_counted_by_no_limit),
    ]
}

/// More than the limit of the Pods here, and little for the node.
const WRITTEN: u64 = 40_000_000;

/// Prints every mount in which a file can be made, or which is a file that can be written to.
const WALK: &str = "cut -d' ' -f2 /proc/mounts | sort -u | while read -r place; do
    if [ -d $place ]; then touch $place/probe 2>/dev/null && echo $place
    else (true >>$place) 2>/dev/null && echo $place; fi
done; true";

async fn no_mount_but_four_can_be_written_to() {
    let bed = cluster().await;
    bed.create(&pod("walk", WALK)).await;

    assert_eq!(bed.ended("walk").await["status"]["phase"], "Succeeded");

    assert_eq!(bed.logs("walk", "main").await, "/dev/shm\n/dev/termination-log\n/tmp\n/workspace\n");
    bed.remove("walk").await;
}

async fn volume_of_an_image_cannot_be_written_to() {
    let bed = cluster().await;
    let image = "localhost/database:bed";
    let busybox = [(Path::new("/bin/busybox"), "/bin/busybox")];
    bed.cluster
        .import_with(image, &busybox, &[], "RUN mkdir /data && chmod 1777 /data\nVOLUME /data")
        .unwrap();
    let mut database =
        pod("database", "touch /data/probe && echo written; grep ' /data ' /proc/mounts; true");
    database["spec"]["containers"][0]["image"] = json!(image);
    bed.create(&database).await;

    assert_eq!(bed.ended("database").await["status"]["phase"], "Succeeded");

    // The node's containerd ignores it, as docs/node.md advises.
    assert_eq!(bed.logs("database", "main").await, "touch: /data/probe: Read-only file system\n");
    bed.remove("database").await;
}

/// A Pod that writes twice what it may keep on the disk, and stays.
fn writer(name: &str, script: &str) -> Value {
    let mut pod = pod(name, &format!("{script} && echo written; sleep 1000"));
    pod["spec"]["containers"][0] = container("main", &format!("{script} && echo written; sleep 1000"));
    pod["spec"]["containers"][0]["resources"]["limits"] = json!({"ephemeral-storage": "20Mi"});
    pod
}

async fn termination_log_is_on_the_node_and_counted_by_no_limit() {
    let bed = cluster().await;
    let script = format!("head -c {WRITTEN} /dev/zero >/dev/termination-log");
    bed.create(&writer("message", &script)).await;
    let pod = bed.ready("message").await;

    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let find = format!("find /var/lib/kubelet/pods/{uid}/containers -type f -exec stat -c %s {{}} ';'");
    bed.until_on_node(&find).await;
    let used = bed.counted_after_now("message").await;

    assert!(used < WRITTEN / 10, "{used} bytes are counted");
    bed.remove("message").await;
}

async fn unlinked_file_is_on_the_node_and_counted_by_no_limit() {
    let bed = cluster().await;
    let script =
        format!("exec 3>/workspace/unlinked && rm /workspace/unlinked && head -c {WRITTEN} /dev/zero >&3");
    bed.create(&writer("unlinked", &script)).await;
    bed.ready("unlinked").await;

    // The sandbox holds it open.
    let find = "find /proc/[0-9]*/fd -lname '*unlinked*' -exec stat -L -c %s {} ';' 2>/dev/null";
    bed.until_on_node(find).await;
    let used = bed.counted_after_now("unlinked").await;

    assert!(used < WRITTEN / 10, "{used} bytes are counted");
    bed.remove("unlinked").await;
}

impl<G> Bed<G> {
    /// Waits until a script that prints the sizes of files on the node prints that of what was written.
    async fn until_on_node(&self, script: &str) {
        let there = eventually("the node has the file", async || {
            let sizes = self.cluster.run_in_node(&["sh", "-c", script])?.stdout;
            Ok(sizes.lines().any(|size| size == WRITTEN.to_string()).then_some(()))
        });
        there.await.unwrap();
    }

    /// Returns the bytes that the kubelet counts for the running Pod, once it has counted again.
    async fn counted_after_now(&self, name: &str) -> u64 {
        let now = self.cluster.run_in_node(&["date", "-u", "+%Y-%m-%dT%H:%M:%SZ"]).unwrap().expect_success();
        let counted = eventually("the kubelet has counted the Pod's disk again", async || {
            let storage = self.ephemeral_storage(name).await?;
            let is_new = storage["time"].as_str().is_some_and(|time| time > now.trim());
            Ok(storage["usedBytes"].as_u64().filter(|_| is_new))
        });
        let counted = counted.await.unwrap();
        let status = self.until(name, "is there", |pod| pod["status"].is_object()).await["status"].clone();
        assert_eq!(status["phase"], "Running", "{status}");
        counted
    }

    /// Returns the kubelet's account of what a Pod has on the disk.
    pub(crate) async fn ephemeral_storage(&self, name: &str) -> Result<Value> {
        let summary = self.kubectl(&["get", "--raw", "/api/v1/nodes/node/proxy/stats/summary"]).await;
        let summary: Value = serde_json::from_str(&summary)?;
        let pods = summary["pods"].as_array().ok_or("a summary has Pods")?;
        let pod = pods.iter().find(|pod| pod["podRef"]["name"] == name);
        Ok(pod.map_or(Value::Null, |pod| pod["ephemeral-storage"].clone()))
    }
}
