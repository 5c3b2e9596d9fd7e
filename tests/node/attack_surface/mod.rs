//! The attack vectors of a node that are open to a Pod: probed by a program in it, with and without sandgate.

mod matrix;
mod probed;

use std::env;

use self::{
    matrix::{Found, stated, version},
    probed::probed,
};
use crate::{
    pods::pod,
    shared::{cluster, cluster_alone},
};
use testbed::{GeneratedDocs, harness::Test};

/// The tests of this module.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new_async(a_sandboxed_pod_has_no_vector_to_the_host_kernel),
        Test::new_async(the_same_pod_without_sandgate_has_open_vectors),
        Test::new_async(a_privileged_pod_has_open_vectors),
        Test::new_async(page_is_as_measured),
        Test::new_async(host_sees_only_filtered_gvisor),
    ]
}

/// The parts of `docs/attack-surface.md` that have the tables.
const KERNEL: &str = "attack-matrix";
const NETWORK: &str = "attack-matrix-network";

async fn a_sandboxed_pod_has_no_vector_to_the_host_kernel() {
    let bed = cluster().await;

    let sandboxed = &probed(&bed).await.sandboxed;

    assert!(sandboxed.is_in_gvisor(), "{:?}, {}", sandboxed.runtimes, sandboxed.kernel);
    assert_eq!(sandboxed.open(), [""; 0]);
    assert_eq!(sandboxed.found_by_id("node-loopback"), Found::Closed, "it is in the network of its node");
}

async fn the_same_pod_without_sandgate_has_open_vectors() {
    let bed = cluster().await;

    let plain = &probed(&bed).await.plain;

    assert!(!plain.is_in_gvisor());
    // Whatever the kernel and its settings.
    let always = [
        "chroot",
        "raw-socket",
        "mknod",
        "root-user",
        "capabilities",
        "system-calls",
        "setuid-programs",
        "writable-root",
        "token",
    ];
    let open = plain.open();
    for vector in always {
        assert!(open.contains(&vector), "{vector} is closed; open are {open:?}");
    }
}

/// Else "closed" would prove nothing.
async fn a_privileged_pod_has_open_vectors() {
    let bed = cluster().await;

    let unconfined = &probed(&bed).await.unconfined;

    // Whatever the kernel and its settings.
    let always = [
        "mount",
        "fsopen",
        "pivot_root",
        "unshare-mount",
        "setns",
        "open_by_handle_at",
        "capset",
        "reboot",
        "swapon",
        "clock",
        "kernel-log",
        "core_pattern",
        "proc-sys",
        "cgroup",
        "sysfs",
        "host-processes",
        "host-root",
        "dev-kmsg",
    ];
    let open = unconfined.open();
    for vector in always {
        assert!(open.contains(&vector), "{vector} is closed; open are {open:?}");
    }
    assert_eq!(unconfined.found_by_id("node-loopback"), Found::Open);
}

/// The vectors that runc leaves open depend on the kernel and its settings, those of sandgate do not.
async fn page_is_as_measured() {
    let bed = cluster().await;
    let matrix = probed(&bed).await;
    let mut page = GeneratedDocs::read("docs/attack-surface.md").unwrap();
    let parts = [(KERNEL, matrix.part_of_kernel()), (NETWORK, matrix.part_of_network())];

    if env::var_os("SANDGATE_WRITE_MATRIX").is_some() {
        println!("{}", matrix.answers());
        for (name, part) in &parts {
            page.write(name, part).unwrap();
        }
    }

    let is_this_kernel =
        page.part(KERNEL).unwrap().contains(&format!("on Linux {}.", version(&matrix.plain.kernel)));
    for (name, part) in parts {
        let (measured, written) = (stated(&part), stated(page.part(name).unwrap()));
        let vectors = |rows: &matrix::Rows| rows.keys().cloned().collect::<Vec<_>>();
        assert_eq!(vectors(&measured), vectors(&written), "run make attack-matrix");
        for (vector, found) in &measured {
            let columns = if is_this_kernel { 0..3 } else { 2..3 };
            assert_eq!(found[columns.clone()], written[vector][columns], "{vector}: run make attack-matrix");
        }
    }
}

/// So no system call of a Pod reaches the machine but through gVisor, which is under a filter itself.
async fn host_sees_only_filtered_gvisor() {
    // A process that is just being started has no filter yet.
    let bed = cluster_alone().await;
    bed.create(&pod("outside", "sleep 1000")).await;
    let outside = bed.ready("outside").await;

    let uid = outside["metadata"]["uid"].as_str().unwrap();
    let look = format!(
        r"for process in /proc/[0-9]*; do
            grep -q {uid} $process/cgroup 2>/dev/null || continue
            echo $(basename $(readlink $process/exe)) $(awk '/^(Seccomp|NoNewPrivs):/ {{ print $1 $2 }}' $process/status)
        done"
    );
    let seen = bed.cluster.run_in_node(&["sh", "-c", &look]).unwrap().expect_success();

    let processes: Vec<&str> = seen.lines().collect();
    assert!(processes.len() > 2, "{seen}");
    for process in processes {
        assert_eq!(process, "runsc NoNewPrivs:1 Seccomp:2", "{seen}");
    }
    bed.remove("outside").await;
}
