//! A control group of this machine, version 1 or 2, that bounds what programs may use.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::id,
    thread,
    time::Duration,
};

use super::Result;

/// The mount point of cgroups, of either version.
const ROOT: &str = "/sys/fs/cgroup";

/// The period of the bound of the CPU, in microseconds.
const PERIOD: u64 = 100_000;

/// Joins the groups `$1` names, one a line, and becomes the program behind them.
const JOIN: &str = r#"
    for group in $1; do echo $$ >"$group/cgroup.procs" || exit 1; done
    shift
    exec "$@"
"#;

/// The programs that were started by way of [`Self::prefix`] share its bounds. It is removed when it is dropped, if its
/// programs have ended.
#[derive(Debug)]
pub struct ControlGroup {
    /// That of the memory and that of the CPU; one and the same in version 2.
    memory: PathBuf,
    cpu: PathBuf,
    version: u8,
}

impl ControlGroup {
    /// Makes one without any bound.
    ///
    /// # Errors
    /// Returns an error if this process may not make one, or no controller of memory and CPU is mounted.
    pub fn new(name: &str) -> Result<Self> {
        let root = Path::new(ROOT);
        let name = format!("sandgate-{name}-{}", id());
        let made = |folder: PathBuf| -> Result<PathBuf> {
            fs::create_dir_all(&folder)
                .map_err(|error| format!("cannot make the control group {}: {error}", folder.display()))?;
            Ok(folder)
        };
        if root.join("cgroup.controllers").is_file() {
            fs::write(root.join("cgroup.subtree_control"), "+cpu +memory")
                .map_err(|error| format!("cannot delegate cpu and memory of {ROOT}: {error}"))?;
            let folder = made(root.join(name))?;
            return Ok(Self { memory: folder.clone(), cpu: folder, version: 2 });
        }
        for controller in ["memory", "cpu"] {
            if !root.join(controller).join("cgroup.procs").is_file() {
                return Err(format!("no {controller} controller is mounted at {ROOT}").into());
            }
        }
        let memory = made(root.join("memory").join(&name))?;
        Ok(Self { memory, cpu: made(root.join("cpu").join(&name))?, version: 1 })
    }

    /// Returns the words in front of a command that run it in the group.
    #[must_use]
    pub fn prefix(&self) -> Vec<String> {
        let groups = format!("{}\n{}", self.memory.display(), self.cpu.display());
        ["sh", "-c", JOIN, "join", &groups].map(str::to_owned).to_vec()
    }

    /// Bounds the memory of all of them together, in bytes; `None` lifts the bound.
    ///
    /// # Errors
    /// Returns an error if the bound cannot be set.
    pub fn limit_memory(&self, bytes: Option<u64>) -> Result<()> {
        let (file, unbounded) =
            if self.version == 1 { ("memory.limit_in_bytes", "-1") } else { ("memory.max", "max") };
        let wanted = bytes.map_or_else(|| unbounded.to_owned(), |bytes| bytes.to_string());
        write(&self.memory.join(file), &wanted)
    }

    /// Bounds the CPU time of all of them together, in percent of one CPU; `None` lifts the bound.
    ///
    /// # Errors
    /// Returns an error if the bound cannot be set.
    pub fn limit_cpu(&self, percent: Option<u64>) -> Result<()> {
        let quota = percent.map(|percent| (PERIOD * percent / 100).to_string());
        if self.version == 1 {
            let quota = quota.unwrap_or_else(|| "-1".to_owned());
            return write(&self.cpu.join("cpu.cfs_quota_us"), &quota);
        }
        let quota = quota.unwrap_or_else(|| "max".to_owned());
        write(&self.cpu.join("cpu.max"), &format!("{quota} {PERIOD}"))
    }
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).map_err(|error: io::Error| format!("cannot write {}: {error}", file.display()))?;
    Ok(())
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        for folder in [&self.memory, &self.cpu] {
            // Its programs may take a moment to end.
            for _ in 0..50 {
                if fs::remove_dir(folder).is_ok() || !folder.exists() {
                    break;
                }
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}
