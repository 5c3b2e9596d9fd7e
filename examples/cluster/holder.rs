//! The process that holds the cluster.

use std::{env, path::Path, time::Duration};

use tokio::signal::unix::{SignalKind, signal};

use crate::{home::Home, tools};
use testbed::{Cluster, Result, program, progress};

/// The interval of the checks that all parts are running.
const LOOK: Duration = Duration::from_secs(1);

/// Starts the cluster, and holds it until it gets SIGTERM, or a part of it ends.
pub(crate) async fn hold(home: &Home) -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        held = start_and_watch(home) => held,
        _ = terminated.recv() => Ok(()),
    }
}

async fn start_and_watch(home: &Home) -> Result<()> {
    let cluster = Cluster::start().await?;
    home.set_work(cluster.folder())?;
    progress("installing sandgate with helm …");
    match env::var_os("SANDGATE_IMAGE").filter(|archive| !archive.is_empty()) {
        Some(archive) => cluster.install_sandgate_from(Path::new(&archive)).await?,
        None => cluster.install_sandgate(&program()?).await?,
    }
    tools::write(home, &cluster)?;
    home.set_ready()?;
    loop {
        tokio::time::sleep(LOOK).await;
        if let Err(ended) = cluster.check().await {
            home.set_failure(&ended.to_string())?;
            return Err(ended);
        }
    }
}
