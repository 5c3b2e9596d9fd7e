//! `sandgate serve` as a child process that ends with its test.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Far more than anything here takes, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A running server with a development certificate by default.
pub struct Server {
    child: Child,
    pub folder: TempDir,
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    logs: Lines,
    pub audit: Lines,
}

impl Server {
    /// Starts with a development certificate and `arguments`, and waits until it serves.
    pub fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certs = folder.path().to_str().unwrap().to_string();
        Self::start_in(folder, &[&["--certs", "dev", "--cert-dir", &certs], arguments].concat())
    }

    /// Starts with exactly these arguments, and waits until it serves.
    pub fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let mut command = command(arguments);
        command.stdout(Stdio::piped());
        Self::run(command, folder)
    }

    /// Runs a command whose standard output is set up, and waits until it serves.
    pub fn run(mut command: Command, folder: TempDir) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        // The test's own end of a pipe must go, or the pipe never ends.
        drop(command);
        let logs = Lines::of(child.stderr.take().unwrap());
        let audit = child.stdout.take().map(Lines::of).unwrap_or_default();
        let serving = logs.wait_for("Serving");
        let address = |field: &str| field_of(&serving, field).parse().unwrap();
        let (listen, admin) = (address("listen"), address("admin"));
        Self { child, folder, listen, admin, logs, audit }
    }

    /// Runs a command whose standard output is set up, and waits until it serves. Its log is not read beyond that; the
    /// reader keeps it open.
    pub fn run_with_stalled_log(mut command: Command, folder: TempDir) -> (Self, impl Read) {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        drop(command);
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut serving = String::new();
        while !serving.contains("Serving") {
            serving.clear();
            assert!(log.read_line(&mut serving).unwrap() > 0, "the server ended");
        }
        let address = |field: &str| field_of(&serving, field).parse().unwrap();
        let (listen, admin) = (address("listen"), address("admin"));
        let (logs, audit) = (Lines::default(), Lines::default());
        (Self { child, folder, listen, admin, logs, audit }, log)
    }

    /// The CA of the development certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Waits for a log line with `text` in it.
    pub fn logged(&self, text: &str) -> String {
        self.logs.wait_for(text)
    }

    /// Every log line so far.
    pub fn logs(&self) -> String {
        self.logs.all().join("\n")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        send_signal(self.pid(), name);
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub fn exit(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "still running; logs:\n{}", self.logs());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A field of a log line, which may be JSON or text.
fn field_of(line: &str, name: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(line) {
        Ok(line) => line[name].as_str().unwrap().to_owned(),
        Err(_) => line.split_once(&format!(" {name}=")).unwrap().1.split(' ').next().unwrap().to_owned(),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `sandgate serve` on free local ports, with logs that can be read.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandgate"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    // A flag counts more.
    command.env("SANDGATE_LOG_FORMAT", "json");
    command.args(["--reload-interval", "0.1"]).args(arguments);
    command
}

pub fn send_signal(pid: u32, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().unwrap();
    assert!(status.success());
}

/// The lines a process has printed, collected as they come.
#[derive(Default)]
pub struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let collected = Arc::clone(&lines);
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                collected.lock().unwrap().push(line);
            }
        });
        Self(lines)
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn wait_for(&self, text: &str) -> String {
        let start = Instant::now();
        loop {
            if let Some(line) = self.all().into_iter().find(|line| line.contains(text)) {
                return line;
            }
            assert!(start.elapsed() < PATIENCE, "no line with {text:?} in:\n{}", self.all().join("\n"));
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A folder as the kubelet mounts it: files are links through `..data`, which links to the newest version.
pub struct Mount {
    pub path: PathBuf,
    versions: usize,
}

impl Mount {
    pub fn new(path: &Path, files: &[(&str, &str)]) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let mut mount = Self { path: path.into(), versions: 0 };
        mount.swap(files);
        for (name, _) in files {
            std::os::unix::fs::symlink(Path::new("..data").join(name), path.join(name)).unwrap();
        }
        mount
    }

    /// Replaces the content as the kubelet does: a new folder, then one rename of the link, then the old one goes.
    pub fn swap(&mut self, files: &[(&str, &str)]) {
        self.versions += 1;
        let folder = |version: usize| format!("..2026_11_24_{version:03}");
        let new = self.path.join(folder(self.versions));
        std::fs::create_dir(&new).unwrap();
        for (name, text) in files {
            std::fs::write(new.join(name), text).unwrap();
        }
        std::os::unix::fs::symlink(folder(self.versions), self.path.join("..data_tmp")).unwrap();
        std::fs::rename(self.path.join("..data_tmp"), self.path.join("..data")).unwrap();
        if self.versions > 1 {
            std::fs::remove_dir_all(self.path.join(folder(self.versions - 1))).unwrap();
        }
    }
}
