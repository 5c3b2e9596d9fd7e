//! `make demo`: a guided tour of sandgate in front of a real API server.
//!
//! Starts the control plane of the test bed, with sandgate before the namespace `workflows`, and prints each kubectl
//! command with its real output. The cluster has no nodes: it stores pods and never runs them.

mod stops;
mod tour;

use std::{env, process::ExitCode, time::Instant};

use self::tour::{Tour, print};
use testbed::{ControlPlane, Result, Sandgate, progress};

/// The namespace of the built-in policy.
const NAMESPACE: &str = "workflows";

#[tokio::main]
async fn main() -> ExitCode {
    match demo().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("demo: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<()> {
    let started = Instant::now();
    // The commands name files as a person in the repository would.
    env::set_current_dir(env!("CARGO_MANIFEST_DIR"))?;
    progress("starting etcd, kube-apiserver and kube-controller-manager …");
    let tour = Tour::of(ControlPlane::start().await?);
    stops::a_namespace(&tour).await?;
    let _sandgate = guard(tour.bed()).await?;

    stops::a_bare_pod(&tour).await?;
    stops::a_hostile_pod(&tour).await?;
    stops::a_job(&tour).await?;
    stops::a_deployment(&tour).await?;
    stops::a_debugger(&tour).await?;
    stops::a_label(&tour).await?;
    stops::another_namespace(&tour).await?;
    stops::metrics(&tour).await?;
    print(&format!(
        "\nThat was all, in {} s. The cluster goes away now, and leaves nothing behind.",
        started.elapsed().as_secs()
    ));
    Ok(())
}

/// Puts sandgate in front of the namespace.
async fn guard(bed: &ControlPlane) -> Result<Sandgate> {
    let rest = bed.rest().await?;
    let sandgate = Sandgate::start(bed, &[NAMESPACE]).await?;
    sandgate.guard(bed, &rest).await?;
    Ok(sandgate)
}
