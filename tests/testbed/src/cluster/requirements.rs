//! The requirements of a node on the machine.

use std::{env, fs, path::Path};

/// Programs, and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 14] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("ip", "iproute2"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("ipset", "ipset"),
    ("conntrack", "conntrack"),
    ("ethtool", "ethtool"),
    ("socat", "socat"),
    ("buildah", "buildah"),
    ("busybox", "busybox-static"),
    ("ldd", "libc-bin"),
    ("find", "findutils"),
];

/// Files, and the Debian packages that have them.
const FILES: [(&str, &str); 1] = [("/usr/lib/cni/bridge", "containernetworking-plugins")];

/// Returns the reason, in one line, why a cluster cannot be started on this machine; `None` if it can.
pub fn missing() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("a cluster with gVisor needs Linux".into());
    }
    if !rustix::process::geteuid().is_root() {
        return Some("a cluster with gVisor needs root, for namespaces, mounts and cgroups: use sudo".into());
    }
    let packages = missing_packages();
    if !packages.is_empty() {
        return Some(format!(
            "packages are missing: apt-get install --no-install-recommends {}",
            packages.join(" ")
        ));
    }
    missing_cgroups().or_else(missing_space)
}

fn missing_packages() -> Vec<&'static str> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(Into::into)).collect();
    let is_missing = |program: &str| !folders.iter().any(|folder| folder.join(program).is_file());
    let programs = PROGRAMS.into_iter().filter(|(program, _)| is_missing(program));
    let files = FILES.into_iter().filter(|(file, _)| !Path::new(file).is_file());
    let mut packages: Vec<_> = programs.chain(files).map(|(_, package)| package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// The kubelet needs these controllers, of either version.
fn missing_cgroups() -> Option<String> {
    const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
    let root = Path::new("/sys/fs/cgroup");
    let unified = fs::read_to_string(root.join("cgroup.controllers")).ok();
    let has = |controller: &&str| match &unified {
        Some(controllers) => controllers.split_whitespace().any(|one| one == *controller),
        None => root.join(controller).join("cgroup.procs").is_file(),
    };
    let missing: Vec<_> = CONTROLLERS.into_iter().filter(|controller| !has(controller)).collect();
    (!missing.is_empty())
        .then(|| format!("cgroup controllers are missing under {}: {}", root.display(), missing.join(", ")))
}

/// Images, logs and what Pods write are in the folder for temporary files.
fn missing_space() -> Option<String> {
    const NEEDED: u64 = 2 << 30;
    let folder = env::temp_dir();
    let free = match rustix::fs::statvfs(&folder) {
        Ok(there) => there.f_bavail * there.f_frsize,
        Err(error) => return Some(format!("{} cannot be written to: {error}; set TMPDIR", folder.display())),
    };
    (free < NEEDED).then(|| {
        let (free, folder) = (free >> 20, folder.display());
        format!(
            "the disk is too full: {folder} has {free} MiB left, 2048 are needed; free some space, or set TMPDIR"
        )
    })
}
