//! Child processes that cannot outlive us.
//!
//! A test that is killed runs no destructor, so each child hangs on a leash: a small shell that holds the reading end
//! of a pipe. When the writing end closes, for whatever reason, the shell kills its child, by its process id.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use super::Result;

/// A running program with its log.
pub struct Process {
    name: String,
    pub(super) log: PathBuf,
    /// The file with the program's process id.
    pid: PathBuf,
    shell: Child,
}

/// Runs `"$@"`, ends with its status, and kills it at the end of standard input. `$0` is where its process id goes.
const LEASH: &str = r#"
    exec 3<&0
    "$@" </dev/null 3<&- &
    child=$!
    echo "$child" >"$0"
    (read -r _ <&3; kill -KILL "$child") &
    watcher=$!
    wait "$child"
    status=$?
    kill -KILL "$watcher" 2>/dev/null
    exit "$status"
"#;

impl Process {
    /// Starts `program`; what it prints goes to `NAME.log` in `folder`.
    ///
    /// # Errors
    /// Returns an error if the program cannot be started, or the folder cannot be written to.
    pub fn start(name: &str, program: &Path, arguments: &[String], folder: &Path) -> Result<Self> {
        Self::start_with(name, program, arguments, &[], folder)
    }

    /// The same, called by way of `prefix`, the words of another command.
    pub(super) fn start_in(
        prefix: Vec<String>,
        name: &str,
        program: &Path,
        arguments: &[String],
        folder: &Path,
    ) -> Result<Self> {
        Self::start_by_way_of(prefix, name, program, arguments, &[], folder)
    }

    /// The same, with these variables in its environment.
    pub(super) fn start_by_way_of(
        prefix: Vec<String>,
        name: &str,
        program: &Path,
        arguments: &[String],
        environment: &[(String, String)],
        folder: &Path,
    ) -> Result<Self> {
        let mut words = prefix;
        words.push(program.display().to_string());
        words.extend_from_slice(arguments);
        let (program, arguments) = words.split_first().ok_or("a program has a name")?;
        Self::start_with(name, Path::new(program), arguments, environment, folder)
    }

    /// Starts `program` with these variables in its environment.
    ///
    /// # Errors
    /// Returns the errors of [`Self::start`].
    pub fn start_with(
        name: &str,
        program: &Path,
        arguments: &[String],
        environment: &[(String, String)],
        folder: &Path,
    ) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let pid = folder.join(format!("{name}.pid"));
        // That of an earlier one is not ours.
        let _ = fs::remove_file(&pid);
        let output = File::options().create(true).append(true).open(&log)?;
        let shell = Command::new("sh")
            .args(["-c", LEASH])
            .arg(&pid)
            .arg(program)
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            // A signal to the whole of our group, such as Ctrl-C, would take the leash and leave the child.
            .process_group(0)
            // Nothing here may look for the metadata service of a cloud.
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        Ok(Self { name: name.to_owned(), log, pid, shell })
    }

    /// # Errors
    /// Returns an error if it has ended by itself: with the end of its log.
    pub fn check(&mut self) -> Result<()> {
        let Some(status) = self.shell.try_wait()? else { return Ok(()) };
        let (name, log, tail) = (&self.name, self.log.display(), tail(&self.log));
        Err(format!("{name} ended ({status}); the end of {log}:\n{tail}").into())
    }

    /// Returns how it ended, if it has.
    ///
    /// # Errors
    /// Returns an error if its status cannot be determined.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.shell.try_wait()?)
    }

    /// Returns the processor time of all its threads so far, as the kernel counts it.
    ///
    /// # Errors
    /// Returns an error if the program is not running any more.
    pub fn cpu(&self) -> Result<Duration> {
        let pid = fs::read_to_string(&self.pid)?;
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", pid.trim()))? {
            let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
            nanos += schedstat.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// For signals to it.
    #[must_use]
    pub fn signals(&self) -> Signals {
        Signals(self.pid.clone())
    }
}

/// The target of signals to a program: the file with its process id.
#[derive(Debug, Clone)]
pub struct Signals(PathBuf);

impl Signals {
    /// Sends one, such as `TERM`.
    ///
    /// # Errors
    /// Returns an error if the program is not running any more.
    pub fn send(&self, signal: &str) -> Result<()> {
        let pid = fs::read_to_string(&self.0)?;
        let sent = Command::new("kill").args(["-s", signal, pid.trim()]).output()?;
        if sent.status.success() {
            return Ok(());
        }
        Err(format!("no {signal} was sent: {}", String::from_utf8_lossy(&sent.stderr)).into())
    }
}

/// The last lines of a log.
pub(super) fn tail(log: &Path) -> String {
    const LINES: usize = 20;
    let log = fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

impl Drop for Process {
    /// Lets go of the leash, and waits until the child has gone.
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Removes `folder` once this process has ended, however it ends.
pub(super) fn remove_at_the_end(folder: &Path) -> Result<Child> {
    // The seconds are for the programs that still write into it.
    const REMOVE: &str = r#"for second in 1 2 3 4 5; do sleep 1; rm -rf -- "$1" && exit; done"#;
    at_the_end(REMOVE, &[folder.as_os_str()])
}

/// Runs a script of the shell once this process has ended, however it ends.
pub(super) fn at_the_end(script: &str, arguments: &[&OsStr]) -> Result<Child> {
    let mut guard = Command::new("sh");
    guard.args(["-c", &format!("read -r _; {script}"), "guard"]).args(arguments);
    Ok(guard.stdin(Stdio::piped()).process_group(0).spawn()?)
}
