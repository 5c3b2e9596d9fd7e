//! Pods that use up what all share: what ends them, and that the node and its other Pods go on.

use std::{env, path::Path};

use serde_json::{Value, json};
use testbed::{eventually, harness::Test};

use crate::{
    pods::{has_ended, pod, pods_path},
    running::KERNEL_OF_GVISOR,
    shared::{Bed, NAMESPACE, cluster, cluster_alone},
};

/// The tests of this module.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new_async(fork_bomb_stays_below_the_limit_of_the_pod),
        Test::new_async(open_files_are_bounded_on_the_node),
        Test::new_async(inotify_watches_are_none_of_the_node),
        Test::new_async(flood_of_logs_is_evicted),
        Test::new_async(many_small_files_are_counted_and_evicted),
        Test::new_async(fifty_pods_at_once_all_run).requires(is_short()),
    ]
}

/// Returns why this run leaves out what takes minutes.
fn is_short() -> Option<String> {
    let is_long = env::var_os("SANDGATE_SOAK_SECONDS").is_some_and(|seconds| !seconds.is_empty());
    (!is_long).then(|| "fifty Pods take minutes: make soak starts them".to_owned())
}

/// The kubelet's `podPidsLimit` on the node of the tests.
const PIDS: u64 = 1024;

fn limited(name: &str, script: &str, limits: &Value) -> Value {
    let mut pod = pod(name, script);
    pod["spec"]["containers"][0]["resources"]["limits"] = limits.clone();
    pod
}

/// Shows that another Pod still runs from start to end.
async fn another_runs<G>(bed: &Bed<G>, name: &str) {
    bed.create(&pod(name, "true")).await;
    assert_eq!(bed.ended(name).await["status"]["phase"], "Succeeded");
    bed.remove(name).await;
}

/// Waits until the output of a Pod has a text, and returns the output.
async fn printed<G>(bed: &Bed<G>, name: &str, text: &str) -> String {
    let what = format!("{name} prints {text}");
    let output = eventually(&what, async || {
        let output = bed.cluster.bed.kubectl(&["logs", name, "-n", NAMESPACE]).await.stdout;
        Ok(output.contains(text).then_some(output))
    });
    output.await.unwrap()
}

/// The node counts what the sandbox itself needs for its processes, which is about one for one.
async fn fork_bomb_stays_below_the_limit_of_the_pod() {
    let bed = cluster().await;
    let bomb = "i=0; while [ $i -lt 3000 ]; do sleep 1000 & i=$((i + 1)); done; echo forked $i; wait";
    let bomb = bed.create(&pod("bomb", bomb)).await;
    let uid = bomb["metadata"]["uid"].as_str().unwrap();

    let mut most = 0;
    let script = format!(
        "cd $(find /sys/fs/cgroup -type d -name pod{uid} -exec test -e {{}}/pids.max ';' -print | head -n 1) && cat pids.max pids.current"
    );
    let ended = eventually("the bomb has gone off", async || {
        let numbers = bed.cluster.run_in_node(&["sh", "-c", &script])?.stdout;
        if let [max, current] = numbers.split_whitespace().collect::<Vec<_>>()[..] {
            assert_eq!(max, PIDS.to_string());
            most = most.max(current.parse()?);
        }
        let pod = bed.rest.get(&pods_path("/bomb")).await?;
        Ok(has_ended(&pod).then_some(pod))
    });
    let ended = ended.await.unwrap();

    println!(
        "fork bomb: at most {most} processes of the node; {}",
        ended["status"]["containerStatuses"][0]["state"]
    );
    assert!(most <= PIDS, "{most}");
    assert_eq!(ended["status"]["phase"], "Failed", "{}", ended["status"]);
    another_runs(&bed, "beside-bomb").await;
    bed.remove("bomb").await;
}

/// An open file of a sandbox is none of the node, or one for all that have it open.
async fn open_files_are_bounded_on_the_node() {
    let bed = cluster().await;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/hoard/main.rs");
    bed.cluster.import_source("localhost/hoard:bed", &source).unwrap();
    let open = || {
        let first = "cut -f1 /proc/sys/fs/file-nr";
        bed.cluster.run_in_node(&["sh", "-c", first]).unwrap().expect_success().trim().parse::<u32>().unwrap()
    };
    let before = open();
    let mut hoard = pod("hoard", "");
    hoard["spec"]["containers"] = json!([{"name": "main", "image": "localhost/hoard:bed"}]);
    bed.create(&hoard).await;

    let opened = printed(&bed, "hoard", "files: ").await;

    let after = open();
    println!("{} The node had {before} open files before, {after} after.", opened.trim());
    // Others of the machine come and go: a hundred thousand would be seen.
    assert!(after < before + 50_000, "{opened} {before} before, {after} after");
    another_runs(&bed, "beside-hoard").await;
    bed.remove("hoard").await;
}

async fn inotify_watches_are_none_of_the_node() {
    let bed = cluster().await;
    let script = "i=0; while [ $i -lt 100 ]; do inotifyd - /tmp & i=$((i + 1)); done; echo watching; wait";
    let instances = || {
        let count = "find /proc/[0-9]*/fd -lname 'anon_inode:inotify' 2>/dev/null | wc -l";
        bed.cluster.run_in_node(&["sh", "-c", count]).unwrap().expect_success().trim().parse::<u32>().unwrap()
    };
    let before = instances();
    bed.create(&pod("watching", script)).await;
    printed(&bed, "watching", "watching").await;

    // Others of the node come and go: a hundred would be seen.
    let after = instances();
    assert!(after < before + 50, "{before} before, {after} after");
    bed.remove("watching").await;
}

async fn flood_of_logs_is_evicted() {
    let bed = cluster().await;
    let flood = "while :; do head -c 1000000 /dev/zero | tr '\\0' x; echo; sleep 0.1; done";
    bed.create(&limited("flood", flood, &json!({"ephemeral-storage": "20Mi"}))).await;

    let flood = bed.ended("flood").await;

    assert_eq!(flood["status"]["reason"], "Evicted", "{}", flood["status"]);
    let message = flood["status"]["message"].as_str().unwrap();
    assert!(message.contains("20Mi"), "{message}");
    another_runs(&bed, "beside-flood").await;
    bed.remove("flood").await;
}

async fn many_small_files_are_counted_and_evicted() {
    let bed = cluster().await;
    // Each takes a block of 4 KiB, though it has one byte.
    let script = "i=0; while :; do echo >/workspace/$i; i=$((i + 1)); done";
    bed.create(&limited("small", script, &json!({"ephemeral-storage": "8Mi"}))).await;

    let small = bed.ended("small").await;

    assert_eq!(small["status"]["reason"], "Evicted", "{}", small["status"]);
    bed.remove("small").await;
}

/// They ask for more than the node has, so some wait for others; all run, and each in its sandbox. With the limits that
/// are filled, the quota of the namespace admits 24.
async fn fifty_pods_at_once_all_run() {
    const PODS: usize = 50;
    let bed = cluster_alone().await;
    let names: Vec<String> = (0..PODS).map(|number| format!("many-{number}")).collect();
    for name in &names {
        let mut one = limited(name, "cat /proc/version", &json!({"cpu": "500m", "memory": "256Mi"}));
        one["metadata"]["labels"] = json!({"wave": "fifty"});
        bed.create(&one).await;
    }

    let mut left = PODS;
    // Each wave has the time of one Pod.
    while left > 0 {
        let before = left;
        let moved = eventually("another Pod has ended", async || {
            let list = bed.rest.get(&pods_path("?labelSelector=wave%3Dfifty")).await?;
            let pods = list["items"].as_array().ok_or("a list has items")?;
            assert!(pods.iter().all(|pod| pod["status"]["phase"] != "Failed"), "{list:#}");
            let ended = pods.iter().filter(|pod| has_ended(pod)).count();
            Ok((PODS - ended < before).then_some(PODS - ended))
        });
        left = moved.await.unwrap();
    }

    for name in names {
        assert!(bed.logs(&name, "main").await.starts_with(KERNEL_OF_GVISOR));
        bed.remove(&name).await;
    }
}
