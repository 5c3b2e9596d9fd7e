//! A child process that ends with this one, and its processor time and memory as the kernel counts them.

use std::{
    fs, io,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::Result;

/// A running program; killed when dropped.
pub(crate) struct Process {
    child: Child,
    watcher: Child,
}

/// Kills process `$1` at the end of standard input: a benchmark that is killed runs no destructor.
const WATCHER: &str = r#"read -r _; kill -KILL "$1""#;

impl Process {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child = command.stdin(Stdio::null()).spawn()?;
        let pid = child.id().to_string();
        let watcher =
            Command::new("sh").args(["-c", WATCHER, "watcher", &pid]).stdin(Stdio::piped()).spawn()?;
        Ok(Self { child, watcher })
    }

    /// # Errors
    /// Returns an error if it has ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => Err(format!("a server ended: {status}").into()),
            None => Ok(()),
        }
    }

    /// The processor time of all its threads so far, in the kernel's nanoseconds.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
            let on_cpu = schedstat.split(' ').next().unwrap_or_default();
            nanos += on_cpu.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Returns the resident memory of the process.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').trim().strip_suffix(" kB")?.parse::<u64>().ok()
        };
        let (now, peak) = (kilobytes("VmRSS"), kilobytes("VmHWM"));
        let (now, peak) = now.zip(peak).ok_or_else(|| io::Error::other("/proc has no memory figures"))?;
        Ok(Memory { now: now * 1024, peak: peak * 1024 })
    }
}

/// Returns a number of bytes in megabytes.
pub(crate) fn megabytes(bytes: u64) -> f64 {
    let kilobytes = u32::try_from(bytes / 1000).map_or(f64::NAN, f64::from);
    kilobytes / 1000.0
}

impl Drop for Process {
    fn drop(&mut self) {
        // The watcher first: it must not kill by a process id that was reused meanwhile.
        for child in [&mut self.watcher, &mut self.child] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Resident memory in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) now: u64,
    pub(crate) peak: u64,
}
