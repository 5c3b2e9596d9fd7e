//! The messages of `make cluster` if it cannot work, and the files that it leaves behind.

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
        Test::new(full_disk_is_an_error_with_the_space_needed),
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
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    text.lines().last().unwrap_or_default().to_owned()
}

fn without_root_asks_for_root() {
    // In a place where another user may read it.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("cluster");
    fs::copy(make_cluster(), &copy).unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let unprivileged = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(copy)
        .arg("up")
        .env("SANDGATE_CLUSTER", folder.path().join("home"))
        .output()
        .unwrap();
    assert_eq!(
        complaint(&unprivileged),
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
    let text = complaint(&without);
    assert!(
        text.starts_with("cluster: packages are missing: apt-get install --no-install-recommends "),
        "{text}"
    );
    assert!(text.contains(" buildah "), "{text}");
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
    let text = complaint(&with_other_mounts("mount -t tmpfs none /sys/fs/cgroup"));
    assert_eq!(
        text,
        "cluster: cgroup controllers are missing under /sys/fs/cgroup: cpu, cpuset, memory, pids"
    );
}

fn full_disk_is_an_error_with_the_space_needed() {
    let text = complaint(&with_other_mounts("mount -t tmpfs -o size=20m none /mnt && export TMPDIR=/mnt"));
    assert_eq!(
        text,
        "cluster: the disk is too full: /mnt has 20 MiB left, 2048 are needed; free some space, or set TMPDIR"
    );
}

/// The settings that the kubelet would change for the whole machine.
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
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    };
    let kubectl = || Command::new(home.join("bin/kubectl")).args(["get", "nodes"]).output().unwrap();

    assert!(run("up").starts_with("The cluster is up after "));
    let first = fs::read_to_string(home.join("work")).unwrap();
    assert!(cgroups_of(&first) > 0);
    assert!(kubectl().status.success());
    assert!(run("up").starts_with("The cluster is up already."));

    // Its holder was killed, and could clean up nothing.
    let pid = fs::read_to_string(home.join("pid")).unwrap();
    assert!(Command::new("kill").args(["-s", "KILL", &pid]).status().unwrap().success());
    while Path::new("/proc").join(&pid).exists() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let text = String::from_utf8_lossy(&kubectl().stderr).into_owned();
    assert_eq!(text, "the cluster has ended; make cluster starts another\n");
    assert!(run("up").starts_with("The cluster is up after "));
    assert_eq!((Path::new(&first).exists(), cgroups_of(&first)), (false, 0));

    // A part that ends takes the rest with it, and the end of its log is shown.
    let second = fs::read_to_string(home.join("work")).unwrap();
    let kubelet = fs::read_to_string(Path::new(&second).join("kubelet.pid")).unwrap();
    assert!(Command::new("kill").args(["-s", "KILL", kubelet.trim()]).status().unwrap().success());
    let text = eventually("kubectl reports it", async || {
        let text = String::from_utf8_lossy(&kubectl().stderr).into_owned();
        Ok(text.starts_with("the cluster has ended").then_some(text))
    });
    let text = text.await.unwrap();
    assert!(text.contains("\nkubelet ended (") && text.contains("kubelet.log:\n"), "{text}");
    assert_eq!(run("down"), "The cluster is gone, and everything that was in it.\n");
    assert_eq!(run("down"), "No cluster is up.\n");
    assert_eq!((Path::new(&second).exists(), cgroups_of(&second), home.exists()), (false, 0, false));
    assert_eq!(sysctls(), before);
}
