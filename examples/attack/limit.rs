//! The memory limit of the chart, put on the processes of the webhook.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{self, Command},
};

use serde_json::Value;

use crate::Result;

/// Returns the limit that the chart's values set, in bytes.
///
/// # Errors
/// If the values have none in MiB.
pub(crate) fn of_the_chart() -> Result<u64> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/sandgate/values.yaml");
    let values: Value = serde_saphyr::from_str(&fs::read_to_string(file)?)?;
    let limit = values["resources"]["limits"]["memory"].as_str().and_then(|text| text.strip_suffix("Mi"));
    let mebibytes: u64 = limit.ok_or("values.yaml has no resources.limits.memory in Mi")?.parse()?;
    Ok(mebibytes << 20)
}

/// How the limit is enforced.
#[derive(Debug)]
pub(crate) enum MemoryLimit {
    /// A control group of the memory controller, version 1 or 2. It is removed at the end.
    Cgroup { folder: PathBuf, peak: &'static str, name: &'static str },
    /// `RLIMIT_DATA`: an allocation beyond the limit fails, which ends the process too.
    DataSegment { bytes: u64, reason: String },
}

impl MemoryLimit {
    /// Returns a limit of `bytes`: of a control group if this process may make one.
    pub(crate) fn new(bytes: u64) -> Self {
        let name = format!("sandgate-attack-{}", process::id());
        let versions = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes", "cgroup v1"),
            ("/sys/fs/cgroup", "memory.max", "memory.peak", "cgroup v2"),
        ];
        let mut reason = String::from("no memory controller is mounted");
        for (root, limit, peak, version) in versions {
            if !Path::new(root)
                .join(if version.ends_with('1') { limit } else { "cgroup.controllers" })
                .exists()
            {
                continue;
            }
            let folder = Path::new(root).join(&name);
            match fs::create_dir(&folder).and_then(|()| limit_group(&folder, limit, bytes)) {
                Ok(()) => return Self::Cgroup { folder, peak, name: version },
                Err(error) => reason = format!("cannot make {}: {error}", folder.display()),
            }
            let _ = fs::remove_dir(&folder);
        }
        Self::DataSegment { bytes, reason }
    }

    /// Returns a command that runs `program` under the limit.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = match self {
            Self::Cgroup { folder, .. } => {
                let mut shell = Command::new("sh");
                shell.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(folder.join("cgroup.procs"));
                shell
            }
            Self::DataSegment { bytes, .. } => {
                let mut shell = Command::new("sh");
                shell.args(["-c", "ulimit -d \"$0\" && exec \"$@\""]).arg((bytes / 1024).to_string());
                shell
            }
        };
        command.arg(program);
        command
    }

    /// Returns the most memory that the processes of the group have had, in bytes; `None` if that is not counted.
    pub(crate) fn peak(&self) -> Option<u64> {
        let Self::Cgroup { folder, peak, .. } = self else { return None };
        fs::read_to_string(folder.join(peak)).ok()?.trim().parse().ok()
    }

    /// Returns how the limit is enforced, for people.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Cgroup { name, .. } => format!("by {name}"),
            Self::DataSegment { reason, .. } => format!("by RLIMIT_DATA, not a control group ({reason})"),
        }
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        if let Self::Cgroup { folder, .. } = self {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Sets the limit of a group, without swap where swap is counted.
fn limit_group(folder: &Path, limit: &str, bytes: u64) -> io::Result<()> {
    fs::write(folder.join(limit), bytes.to_string())?;
    for (file, most) in [("memory.memsw.limit_in_bytes", bytes), ("memory.swap.max", 0)] {
        if folder.join(file).exists() {
            fs::write(folder.join(file), most.to_string())?;
        }
    }
    Ok(())
}
