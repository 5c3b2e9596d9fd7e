//! Which doors of a node a Pod finds open: asked by a program in it, with and without sandgate.

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
use testbed::Page;

/// The parts of the README that have the table.
const KERNEL: &str = "attack-matrix";
const NETWORK: &str = "attack-matrix-network";

#[tokio::test]
async fn a_sandboxed_pod_finds_no_door_to_the_kernel_of_the_machine() {
    let Some(bed) = cluster().await else { return };

    let sandboxed = &probed(&bed).await.sandboxed;

    assert!(sandboxed.is_in_gvisor(), "{:?}, {}", sandboxed.runtimes, sandboxed.kernel);
    assert_eq!(sandboxed.open(), [""; 0]);
    assert_eq!(sandboxed.found_by_id("node-loopback"), Found::Closed, "it is in the network of its node");
}

#[tokio::test]
async fn the_same_pod_without_sandgate_finds_doors_open() {
    let Some(bed) = cluster().await else { return };

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
    for door in always {
        assert!(open.contains(&door), "{door} is closed; open are {open:?}");
    }
}

/// Else "closed" would prove nothing.
#[tokio::test]
async fn the_probe_notices_the_doors_that_are_open_to_a_privileged_pod() {
    let Some(bed) = cluster().await else { return };

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
    for door in always {
        assert!(open.contains(&door), "{door} is closed; open are {open:?}");
    }
    assert_eq!(unconfined.found_by_id("node-loopback"), Found::Open);
}

/// What runc leaves open depends on the kernel and its settings, what sandgate does not.
#[tokio::test]
async fn the_readme_has_the_table_that_was_measured() {
    let Some(bed) = cluster().await else { return };
    let matrix = probed(&bed).await;
    let mut page = Page::read("README.md").unwrap();
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
        let doors = |rows: &matrix::Rows| rows.keys().cloned().collect::<Vec<_>>();
        assert_eq!(doors(&measured), doors(&written), "run make attack-matrix");
        for (door, found) in &measured {
            let columns = if is_this_kernel { 0..3 } else { 2..3 };
            assert_eq!(found[columns.clone()], written[door][columns], "{door}: run make attack-matrix");
        }
    }
}

/// So no system call of a Pod reaches the machine but through gVisor, which is under a filter itself.
#[tokio::test]
async fn the_machine_sees_nothing_of_a_sandboxed_pod_but_gvisor_under_a_filter() {
    // A process that is just being started has no filter yet.
    let Some(bed) = cluster_alone().await else { return };
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
