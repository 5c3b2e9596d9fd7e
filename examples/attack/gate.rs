//! The gate under attack: a release build as a process under the memory limit, restarted whenever it ends.

use std::{
    collections::HashSet,
    env,
    fs::{self, File},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use hyper::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use testbed::free_port;
use tokio::time::{sleep, timeout};

use crate::{
    Result,
    client::{Client, Identity, PATIENCE},
    limit::MemoryLimit,
};

/// The policies in force: that of the guarded namespace, and one of keys that are often thought to bound more than they do.
const POLICIES: &str = "\
apiVersion: sandgate.dev/v1beta1
kind: SandboxPolicy
metadata: {name: workflows}
spec: {namespaces: [workflows], labels: {required: {sandgate.dev/sandbox: \"true\"}}}
---
apiVersion: sandgate.dev/v1beta1
kind: SandboxPolicy
metadata: {name: custom}
spec:
  namespaces: [custom]
  labels: {required: {sandgate.dev/sandbox: \"true\"}}
  volumes: {image: true, csi: [{driver: secrets-store.csi.k8s.io}]}
  images: {allowed: [registry.example.com/**], requireDigest: true}
";

/// Where the audit trail goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trail {
    /// A file.
    File,
    /// Standard output, which is a pipe, as is standard error.
    Pipe,
}

/// A running gate. It ends when it is dropped.
pub(crate) struct Gate {
    command: Command,
    process: Child,
    folder: TempDir,
    reviews: u16,
    admin: u16,
    /// How often it had to be started again.
    pub(crate) restarts: u32,
}

impl Gate {
    /// Starts a gate with these further flags, and waits until it is ready.
    ///
    /// # Errors
    /// If it is not built, or not ready in time.
    pub(crate) async fn start(limit: &MemoryLimit, trail: Trail, flags: &[String]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("sandgate-attack-").tempdir()?;
        let (reviews, admin) = (free_port(), free_port());
        let policy = folder.path().join("policy.yaml");
        fs::write(&policy, POLICIES)?;
        let mut command = limit.command(&program()?);
        command.args(["serve", "--certs", "dev", "--shutdown-delay", "0", "--log-format", "json"]);
        command.args(["--listen", &format!("127.0.0.1:{reviews}"), "--admin", &format!("127.0.0.1:{admin}")]);
        command.arg("--cert-dir").arg(folder.path()).arg("--policy").arg(policy).args(flags);
        command.env_remove("SANDGATE_POLICY").stdin(Stdio::null());
        match trail {
            Trail::File => {
                command.args(["--audit", "file", "--audit-file"]).arg(folder.path().join("audit/gate.jsonl"));
                fs::create_dir(folder.path().join("audit"))?;
                command.stderr(File::create(folder.path().join("log"))?);
            }
            Trail::Pipe => {
                command.args(["--audit", "stdout"]).stdout(Stdio::piped()).stderr(Stdio::piped());
            }
        }
        let process = command.spawn()?;
        let mut gate = Self { command, process, folder, reviews, admin, restarts: 0 };
        timeout(PATIENCE, gate.ready()).await.map_err(|_| "sandgate is not ready in time")??;
        Ok(gate)
    }

    async fn ready(&mut self) -> Result<()> {
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("sandgate ended ({status}): {}", self.log()).into());
            }
            let answer = self.client(1).get("/readyz").await;
            if answer.is_ok_and(|(status, _)| status == StatusCode::OK) {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts it again if it has ended, as a kubelet does, and counts that.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn revive(&mut self) -> Result<()> {
        if self.process.try_wait()?.is_some() {
            self.restarts += 1;
            self.process = self.command.spawn()?;
        }
        Ok(())
    }

    /// Returns a client with the address `127.0.0.NUMBER`.
    pub(crate) fn client(&self, number: u8) -> Client {
        Client {
            from: Ipv4Addr::new(127, 0, 0, number),
            reviews: self.reviews,
            admin: self.admin,
            ca: self.folder.path().join("ca.crt"),
            identity: None,
        }
    }

    /// Returns a client with a certificate.
    pub(crate) fn identified(&self, number: u8, identity: Identity) -> Client {
        Client { identity: Some(identity), ..self.client(number) }
    }

    /// Returns the streams of a gate whose trail is a pipe.
    pub(crate) fn streams(
        &mut self,
    ) -> (Option<impl std::io::Read + use<>>, Option<impl std::io::Read + use<>>) {
        (self.process.stdout.take(), self.process.stderr.take())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn trail(&self) -> PathBuf {
        self.folder.path().join("audit")
    }

    /// Reads the records of all files of the trail.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(crate) fn records(&self) -> Result<Records> {
        let mut records = Records::default();
        for file in fs::read_dir(self.trail())? {
            records.add(&fs::read_to_string(file?.path())?);
        }
        Ok(records)
    }

    /// Waits until the trail has the records of all these reviews, and returns how many it does not have.
    ///
    /// # Errors
    /// If the trail cannot be read.
    pub(crate) async fn lost(&self, uids: &HashSet<String>) -> Result<usize> {
        const TRIES: u32 = 20;
        let mut lost = 0;
        for _ in 0..TRIES {
            let records = self.records()?;
            lost = uids.iter().filter(|uid| !records.uids.contains(*uid)).count();
            if lost == 0 {
                break;
            }
            sleep(Duration::from_millis(250)).await;
        }
        Ok(lost)
    }

    /// Runs `sandgate audit verify` on the trail, and returns whether its chain is whole, with what it prints.
    ///
    /// # Errors
    /// If it cannot be run.
    pub(crate) fn verify(&self) -> Result<(bool, String)> {
        let files: Vec<_> =
            fs::read_dir(self.trail())?.map(|file| file.map(|file| file.path())).collect::<Result<_, _>>()?;
        let output = Command::new(program()?).args(["audit", "verify"]).args(files).output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&text).trim().to_owned()))
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What stands in a trail.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// The uids of the reviews that have a record.
    pub(crate) uids: HashSet<String>,
    /// The records that notices report as dropped.
    pub(crate) dropped: u64,
    /// The length of the longest line, in bytes.
    pub(crate) longest: usize,
}

impl Records {
    /// Adds the lines of a file or a stream.
    pub(crate) fn add(&mut self, text: &str) {
        for line in text.lines() {
            self.longest = self.longest.max(line.len());
            let Ok(record) = serde_json::from_str::<Value>(line) else { continue };
            self.uids.extend(record["uid"].as_str().map(Into::into));
            if record["notice"] == "dropped" {
                self.dropped += record["records"].as_u64().unwrap_or_default();
            }
        }
    }
}

/// Returns the program: the release build, or the one that `SANDGATE_BINARY` names.
///
/// # Errors
/// If it is missing.
pub(crate) fn program() -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let target = env::var_os("CARGO_TARGET_DIR").map_or(target, Into::into);
    let program = env::var_os("SANDGATE_BINARY").map_or_else(|| target.join("release/sandgate"), Into::into);
    if !program.is_file() {
        return Err(format!("{} is missing: run make attack", program.display()).into());
    }
    Ok(program)
}
