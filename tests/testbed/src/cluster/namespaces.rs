//! Namespaces that programs run in, so that nothing of theirs touches the machine or outlives us.
//!
//! One process makes a network, a mount and a process namespace, and holds them: when it is killed, the kernel ends
//! everything inside, drops every mount and every interface.

use std::{
    ffi::OsStr,
    fs,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::Child,
    sync::Mutex,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::super::{
    Result, eventually,
    process::{Process, at_the_end},
};

/// The address of the node, and of everything that listens in it.
pub(crate) const ADDRESS: &str = "10.99.0.1";

/// The mount point of cgroups, of either version.
const CGROUPS: &str = "/sys/fs/cgroup";

/// The first process inside. `$1` is the folder of the cluster.
///
/// The kubelet sets some sysctls of the whole machine unless they have the values that it wants: it finds files there
/// instead. A `ClusterIP` needs a route, though iptables turns it away before it is taken.
const INSIDE: &str = r#"
    set -e
    mount --make-rshared /
    for folder in /run /var/lib /var/log; do
        mount -t tmpfs -o mode=755 tmpfs "$folder"
    done
    mkdir -p /run/sysctl /run/lock /var/lib/cni /var/lib/kubelet /var/log/pods /var/log/containers
    for setting in vm.overcommit_memory=1 vm.panic_on_oom=0 kernel.panic=10 kernel.panic_on_oops=1 \
        kernel.keys.root_maxkeys=1000000 kernel.keys.root_maxbytes=25000000; do
        name=${setting%=*}
        echo "${setting#*=}" >"/run/sysctl/$name"
        mount --bind "/run/sysctl/$name" "/proc/sys/$(echo "$name" | tr . /)"
    done
    ip link set lo up
    ip link add node type veth peer name peer
    ip address add ADDRESS/24 dev node
    ip link set node up
    ip link set peer up
    echo 1 >/proc/sys/net/ipv4/ip_forward
    if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
        echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
    fi
    ip route add 10.96.0.0/16 dev node
    : >"$1/namespaces.ready"
    set +e
    # Whatever loses its parent is ours to bury; the shell does that while it waits for its own.
    while :; do sleep 1; done
"#;

/// The namespaces, until it is dropped.
pub(crate) struct Namespaces {
    /// The network of the machine.
    outside: fs::File,
    pid: String,
    /// Under each controller, the cgroup of all pods.
    pub(super) cgroup: String,
    init: Mutex<Process>,
    _broom: Child,
}

impl Namespaces {
    /// Makes them. `folder` is where logs go; its name is that of the cgroup too.
    ///
    /// # Errors
    /// Returns an error if the kernel rejects it: with the output of the first process.
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        let outside = fs::File::open("/proc/thread-self/ns/net")?;
        let name = folder.file_name().ok_or("the folder has a name")?.display().to_string();
        for controller in controllers()? {
            fs::create_dir(controller.join(&name))?;
        }
        let broom = sweep_at_the_end(&name)?;
        let inside = INSIDE.replace("ADDRESS", ADDRESS);
        let arguments =
            ["--net", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc"]
                .map(String::from)
                .into_iter()
                .chain(["sh".into(), "-c".into(), inside, "init".into(), folder.display().to_string()]);
        let arguments: Vec<_> = arguments.collect();
        let mut init = Process::start("namespaces", Path::new("unshare"), &arguments, folder)?;
        eventually("the namespaces are there", async || {
            init.check()?;
            Ok(folder.join("namespaces.ready").is_file().then_some(()))
        })
        .await?;
        let pid = fs::read_to_string(folder.join("namespaces.pid"))?.trim().to_owned();
        Ok(Self { outside, pid, cgroup: name, init: Mutex::new(init), _broom: broom })
    }

    /// # Errors
    /// Returns an error if it has ended by itself.
    pub(super) fn check(&self) -> Result<()> {
        self.init.lock().expect("no holder panics").check()
    }

    /// Returns the command line before a program whose sockets are inside.
    pub(crate) fn network(&self) -> Vec<String> {
        vec!["nsenter".into(), format!("--net={}", self.namespace("net"))]
    }

    /// Returns the command line before a program that is entirely inside, and ends with this process.
    pub(crate) fn node(&self) -> Vec<String> {
        let more = [
            format!("--mount={}", self.namespace("mnt")),
            format!("--pid={}", self.namespace("pid_for_children")),
            // nsenter waits outside; what it waits for shall not survive it.
            "setpriv".into(),
            "--pdeathsig=KILL".into(),
        ];
        [self.network(), more.into()].concat()
    }

    /// Makes every socket that this thread opens from now on one of the inside.
    ///
    /// # Errors
    /// Returns an error if we are not root.
    pub(crate) fn enter(&self) -> Result<()> {
        let namespace = fs::File::open(self.namespace("net"))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(())
    }

    /// Makes every socket that this thread opens from now on, and those of the programs that it starts, one of the machine.
    ///
    /// # Errors
    /// Returns an error if we are not root.
    pub(crate) fn leave(&self) -> Result<()> {
        move_into_link_name_space(self.outside.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(())
    }

    fn namespace(&self, kind: &str) -> String {
        format!("/proc/{}/ns/{kind}", self.pid)
    }
}

/// The folders in which a cgroup is made: each hierarchy of version 1, or the one of version 2.
fn controllers() -> Result<Vec<PathBuf>> {
    let root = Path::new(CGROUPS);
    if root.join("cgroup.controllers").is_file() {
        return Ok(vec![root.into()]);
    }
    let hierarchies = fs::read_dir(root)?.filter_map(|entry| Some(entry.ok()?.path()));
    // Some are there twice, as a link.
    Ok(hierarchies.filter(|path| path.join("cgroup.procs").is_file() && !path.is_symlink()).collect())
}

/// Removes the cgroups once this process has ended, however it ends, and their processes have.
fn sweep_at_the_end(name: &str) -> Result<Child> {
    const SWEEP: &str = r#"
        for second in 1 2 3 4 5 6 7 8 9 10; do
            sleep 1
            find "$1" -maxdepth 2 -type d -name "$2" -exec find {} -depth -type d -delete \; 2>/dev/null
            [ -z "$(find "$1" -maxdepth 2 -type d -name "$2" 2>/dev/null)" ] && exit
        done"#;
    at_the_end(SWEEP, &[CGROUPS, name].map(OsStr::new))
}
