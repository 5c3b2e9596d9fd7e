//! What `make cluster` says where it cannot work, and what it leaves behind.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::shared::cluster_alone;
use testbed::{eventually, harness::Test, program};

/// The tests of this module.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new(without_root_asks_for_root),
        Test::new(without_packages_names_them),
        Test::new(without_cgroups_names_controllers),
        Test::new(full_disk_says_how_much_is_needed),
        Test::new_async(cluster_restarts_after_kill_and_leaves_nothing),
    ]
}

/// The program behind `make cluster`, which cargo builds for tests.
fn make_cluster() -> PathBuf {
    let built = program().unwrap().with_file_name("examples").join("cluster");
    assert!(built.is_file(), "cargo test builds it; alone it takes cargo build --example cluster");
    built
}

/// The last line of its complaint, after a run that must fail.
#[track_caller]
fn complaint(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    said.lines().last().unwrap_or_default().to_owned()
}

fn without_root_asks_for_root() {
    // Where somebody else may read it.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("cluster");
    fs::copy(make_cluster(), &copy).unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let nobody = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(copy)
        .arg("up")
        .env("SANDGATE_CLUSTER", folder.path().join("home"))
        .output()
        .unwrap();
    assert_eq!(
        complaint(&nobody),
        "cluster: a cluster with gVisor needs root, for namespaces, mounts and cgroups: use sudo"
    );
}

fn without_packages_names_them() {
    let home = tempfile::tempdir().unwrap();
    let without = Command::new(make_cluster())
        .arg("up")
        .env("PATH", home.path())
        .env("SANDGATE_CLUSTER", home.path().join("home"))
        .output()
        .unwrap();
    let said = complaint(&without);
    assert!(
        said.starts_with("cluster: packages are missing: apt-get install --no-install-recommends "),
        "{said}"
    );
    assert!(said.contains(" buildah "), "{said}");
}

/// Runs it in a mount namespace of its own, after `change`.
fn with_other_mounts(change: &str) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new("unshare")
        .args(["--mount", "--propagation=private", "sh", "-c"])
        .arg(format!("{change} && exec \"$0\" up"))
        .arg(make_cluster())
        .env("SANDGATE_CLUSTER", home.path().join("home"))
        .output()
        .unwrap()
}

fn without_cgroups_names_controllers() {
    let said = complaint(&with_other_mounts("mount -t tmpfs none /sys/fs/cgroup"));
    assert_eq!(
        said,
        "cluster: cgroup controllers are missing under /sys/fs/cgroup: cpu, cpuset, memory, pids"
    );
}

fn full_disk_says_how_much_is_needed() {
    let said = complaint(&with_other_mounts("mount -t tmpfs -o size=20m none /mnt && export TMPDIR=/mnt"));
    assert_eq!(
        said,
        "cluster: the disk is too full: /mnt has 20 MiB left, 2048 are needed; make room, or set TMPDIR"
    );
}

/// What the kubelet would set for the whole machine.
fn sysctls() -> Vec<String> {
    let names = ["vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"];
    names.map(|name| fs::read_to_string(format!("/proc/sys/{name}")).unwrap()).into()
}

fn cgroups_of(work: &str) -> usize {
    let name = Path::new(work).file_name().unwrap();
    let places = fs::read_dir("/sys/fs/cgroup").unwrap().map(|place| place.unwrap().path().join(name));
    places.filter(|cgroup| cgroup.exists()).count()
}

async fn cluster_restarts_after_kill_and_leaves_nothing() {
    // Two clusters at once would be too much for a small machine.
    let _alone = cluster_alone().await;
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let before = sysctls();
    let run = |command: &str| {
        let output =
            Command::new(make_cluster()).arg(command).env("SANDGATE_CLUSTER", &home).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    };
    let kubectl = || Command::new(home.join("bin/kubectl")).args(["get", "nodes"]).output().unwrap();

    assert!(run("up").starts_with("The cluster is up after "));
    let first = fs::read_to_string(home.join("work")).unwrap();
    assert!(cgroups_of(&first) > 0);
    assert!(kubectl().status.success());
    assert!(run("up").starts_with("The cluster is up already."));

    // Whoever held it is gone, and could clean up nothing.
    let pid = fs::read_to_string(home.join("pid")).unwrap();
    assert!(Command::new("kill").args(["-s", "KILL", &pid]).status().unwrap().success());
    while Path::new("/proc").join(&pid).exists() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let said = String::from_utf8_lossy(&kubectl().stderr).into_owned();
    assert_eq!(said, "the cluster has ended; make cluster starts another\n");
    assert!(run("up").starts_with("The cluster is up after "));
    assert_eq!((Path::new(&first).exists(), cgroups_of(&first)), (false, 0));

    // A part that ends takes the rest with it, and its last words are told.
    let second = fs::read_to_string(home.join("work")).unwrap();
    let kubelet = fs::read_to_string(Path::new(&second).join("kubelet.pid")).unwrap();
    assert!(Command::new("kill").args(["-s", "KILL", kubelet.trim()]).status().unwrap().success());
    let said = eventually("kubectl says so", async || {
        let said = String::from_utf8_lossy(&kubectl().stderr).into_owned();
        Ok(said.starts_with("the cluster has ended").then_some(said))
    });
    let said = said.await.unwrap();
    assert!(said.contains("\nkubelet ended (") && said.contains("kubelet.log:\n"), "{said}");
    assert_eq!(run("down"), "The cluster is gone, and everything that was in it.\n");
    assert_eq!(run("down"), "No cluster is up.\n");
    assert_eq!((Path::new(&second).exists(), cgroups_of(&second), home.exists()), (false, 0, false));
    assert_eq!(sysctls(), before);
}
