//! The real helm, and what writes a chart's README.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Output, Result,
    assets::{self, helm_docs},
    command,
    host::Host,
};

/// The major version of Helm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelmLine {
    /// Helm 3, which applies on the client's side.
    Three,
    /// Helm 4, which applies on the server's side.
    Four,
}

impl HelmLine {
    fn program(self) -> Result<PathBuf> {
        match self {
            Self::Three => assets::helm3(),
            Self::Four => assets::helm(),
        }
    }
}

/// Runs helm where it needs no cluster.
///
/// # Errors
/// Returns an error if it is not there.
pub async fn helm(arguments: &[&str]) -> Result<Output> {
    run(HelmLine::Four, Host::Machine, arguments, None).await
}

/// Runs helm, with the cluster of `kubeconfig` or none, and with no repository and no plugin of the user's.
pub(super) async fn run(
    line: HelmLine,
    host: Host,
    arguments: &[&str],
    kubeconfig: Option<&Path>,
) -> Result<Output> {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let kubeconfig = kubeconfig.map_or_else(|| "/dev/null".into(), Path::to_path_buf);
    let running = tokio::task::spawn_blocking(move || {
        let home = tempfile::tempdir()?;
        let mut command = host.command(&line.program()?);
        command.args(arguments).env("KUBECONFIG", kubeconfig);
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, home.path().join(variable));
        }
        command::run(&mut command, "")
    });
    running.await?
}

/// The README of a chart, made from its template and the comments of its values.
///
/// # Errors
/// Returns an error if the program is not there, or finds fault with the chart.
pub async fn chart_readme(chart: &Path) -> Result<String> {
    let chart = chart.to_owned();
    let running = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(helm_docs()?);
        command.args(["--dry-run", "--sort-values-order=file", "--log-level=warning"]);
        command.arg("--chart-search-root").arg(chart);
        command::run(&mut command, "")
    });
    let Output { success, stdout, stderr } = running.await??;
    // It succeeds also where it has skipped the chart.
    if success && stderr.is_empty() { Ok(stdout) } else { Err(stderr.into()) }
}
