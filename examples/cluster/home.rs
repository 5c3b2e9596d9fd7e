//! The folder of the cluster, and the process that holds it.

use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use testbed::{Result, progress};

/// The time-out of a start or an end of the cluster.
const START_TIMEOUT: Duration = Duration::from_mins(5);

/// The folder of everything about the one cluster of a checkout.
pub(crate) struct Home(PathBuf);

impl Home {
    /// `SANDGATE_CLUSTER`, or a folder of the build.
    pub(crate) fn of_this_checkout() -> Self {
        let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/cluster");
        Self(env::var_os("SANDGATE_CLUSTER").map_or_else(usual, PathBuf::from))
    }

    /// Returns the folder of the programs for the user.
    pub(crate) fn programs(&self) -> PathBuf {
        self.0.join("bin")
    }

    /// Makes the folder, empty.
    pub(crate) fn make(&self) -> Result<()> {
        self.remove()?;
        fs::create_dir_all(self.programs())?;
        Ok(())
    }

    /// Returns true if pods can be created.
    pub(crate) fn is_ready(&self) -> bool {
        self.0.join("ready").is_file()
    }

    /// Records that pods can be created.
    pub(crate) fn set_ready(&self) -> Result<()> {
        Ok(fs::write(self.0.join("ready"), "")?)
    }

    /// Returns the reason why the cluster has ended by itself, if it has.
    pub(crate) fn failure(&self) -> Option<String> {
        fs::read_to_string(self.failed()).ok()
    }

    /// Records the reason for later commands.
    pub(crate) fn set_failure(&self, why: &str) -> Result<()> {
        Ok(fs::write(self.failed(), why)?)
    }

    /// Returns the path of the file with the reason.
    pub(crate) fn failed(&self) -> PathBuf {
        self.0.join("failed")
    }

    /// The process id of the holder, if it is running. Another program may have got the id of one that is gone.
    pub(crate) fn holder(&self) -> Option<String> {
        let pid = fs::read_to_string(self.pid()).ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        command.ends_with(b"\0hold\0").then_some(pid)
    }

    /// Starts the holder, and shows its output until the cluster is ready.
    pub(crate) fn start_holder(&self) -> Result<()> {
        let log = self.0.join("log");
        let output = File::create(&log)?;
        let mut holder = Command::new(env::current_exe()?)
            .arg("hold")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Ctrl-C in the shell of `make cluster` shall not reach it later.
            .process_group(0)
            .spawn()?;
        fs::write(self.pid(), holder.id().to_string())?;
        let mut log = BufReader::new(File::open(log)?);
        let begun = Instant::now();
        while !self.is_ready() {
            show(&mut log)?;
            if holder.try_wait()?.is_some() {
                show(&mut log)?;
                self.remove()?;
                return Err("it did not come up; the reason stands above".into());
            }
            if begun.elapsed() > START_TIMEOUT {
                self.end_holder()?;
                return Err(format!("it did not come up in {} s", START_TIMEOUT.as_secs()).into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        show(&mut log)
    }

    /// Ends the holder, if there is one, and removes the folder. Prints whether there was anything to end.
    pub(crate) fn end_holder(&self) -> Result<bool> {
        let was_there = self.0.exists();
        if let Some(pid) = self.holder() {
            progress("ending the cluster …");
            signal(&pid, "TERM")?;
            self.until_gone(Duration::from_secs(30), &pid);
        }
        if let Some(pid) = self.holder() {
            signal(&pid, "KILL")?;
            self.until_gone(Duration::from_secs(30), &pid);
        }
        self.until_clean();
        self.remove()?;
        Ok(was_there)
    }

    fn until_gone(&self, patience: Duration, pid: &str) {
        let begun = Instant::now();
        while self.holder().as_deref() == Some(pid) && begun.elapsed() < patience {
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Those who clean up behind the holder outlive it by a moment.
    fn until_clean(&self) {
        let Ok(work) = fs::read_to_string(self.0.join("work")) else { return };
        let work = Path::new(&work);
        let name = work.file_name().unwrap_or_default();
        let cgroups = || {
            Path::new("/sys/fs/cgroup").join(name).exists()
                || Path::new("/sys/fs/cgroup/memory").join(name).exists()
        };
        let begun = Instant::now();
        while (work.exists() || cgroups()) && begun.elapsed() < Duration::from_secs(15) {
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Notes where the cluster itself works.
    pub(crate) fn set_work(&self, folder: &Path) -> Result<()> {
        Ok(fs::write(self.0.join("work"), folder.as_os_str().as_encoded_bytes())?)
    }

    fn remove(&self) -> Result<()> {
        if self.0.exists() {
            fs::remove_dir_all(&self.0)?;
        }
        Ok(())
    }

    fn pid(&self) -> PathBuf {
        self.0.join("pid")
    }
}

/// Shows what was logged since the last time.
fn show(log: &mut impl BufRead) -> Result<()> {
    let mut line = String::new();
    while log.read_line(&mut line)? > 0 {
        eprint!("{line}");
        line.clear();
    }
    Ok(())
}

fn signal(pid: &str, name: &str) -> Result<()> {
    Command::new("kill").args(["-s", name, pid]).status()?;
    Ok(())
}
