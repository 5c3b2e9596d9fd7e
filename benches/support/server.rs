//! The servers that are compared.

use std::{
    env,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Result, process::Process, webhook};

/// The kind of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The webhook that reads the uid.
    Null,
    /// The webhook that reads everything into a tree.
    Tree,
    /// The real one, without its audit trail.
    Sandgate,
    /// The real one, with an audit line for every request, written to nowhere.
    Audited,
    /// The webhook that fills a typed Pod of `k8s-openapi`.
    KubeRs,
    /// The injector of gVisor's own tests, from [`injector`].
    Injector,
}

/// A running server; ends when dropped.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

impl Server {
    /// Starts one with the certificate and the answer of `folder`. It may not listen yet.
    pub(crate) fn start(kind: Kind, folder: &Path) -> Result<Self> {
        let address = free_address()?;
        let mut command = match kind {
            Kind::Null => webhook("null", address, folder)?,
            Kind::Tree => webhook("tree", address, folder)?,
            Kind::Sandgate | Kind::Audited => sandgate(address, folder)?,
            Kind::KubeRs => webhook("kube-rs", address, folder)?,
            Kind::Injector => injector_in(folder, address)?,
        };
        match kind {
            Kind::Null | Kind::Tree | Kind::KubeRs | Kind::Injector => {}
            Kind::Sandgate => drop(command.arg("--audit=off")),
            Kind::Audited => drop(command.arg("--audit=stdout")),
        }
        command.stdout(File::options().write(true).open("/dev/null")?);
        Ok(Self { kind, address, process: Process::start(&mut command)? })
    }

    /// Starts sandgate with these arguments, which select its sinks for verdicts.
    pub(crate) fn start_with_sinks(arguments: &[String], stdout: Stdio, folder: &Path) -> Result<Self> {
        let address = free_address()?;
        let mut command = sandgate(address, folder)?;
        command.args(arguments).stdout(stdout);
        Ok(Self { kind: Kind::Sandgate, address, process: Process::start(&mut command)? })
    }
}

/// Where the benchmark of webhooks builds the injector of gVisor's own tests.
pub(crate) fn injector() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("gvisor-injector")
}

/// The injector reads its certificate from its working directory, under names of its own.
fn injector_in(folder: &Path, address: SocketAddr) -> Result<Command> {
    for (of, name) in [
        ("ca.crt", "caCert.pem"),
        ("tls.key", "caKey.pem"),
        ("tls.crt", "serverCert.pem"),
        ("tls.key", "serverKey.pem"),
    ] {
        fs::copy(folder.join(of), folder.join(name))?;
    }
    let mut command = Command::new(injector());
    command.arg(address.to_string()).current_dir(folder);
    Ok(command)
}

fn webhook(reader: &str, address: SocketAddr, folder: &Path) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.args([webhook::ARGUMENT, reader, &address.port().to_string()]).arg(folder);
    Ok(command)
}

fn sandgate(address: SocketAddr, folder: &Path) -> Result<Command> {
    let mut command = Command::new(program());
    command.args(["serve", "--certs", "files"]).arg("--cert-dir").arg(folder);
    command.args(["--listen", &address.to_string(), "--admin", &free_address()?.to_string()]);
    // Only what goes wrong: the table needs no log beside it.
    command.args(["--log-level", "warn"]);
    Ok(command)
}

/// Cargo builds it for the benchmark; `SANDGATE_BIN` names another one to compare with.
pub(crate) fn program() -> PathBuf {
    env::var_os("SANDGATE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_sandgate").into(), PathBuf::from)
}

/// An address that is free now. Nothing else here opens ports while the server starts.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
