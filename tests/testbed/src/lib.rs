//! A real control plane to test against: etcd, kube-apiserver, kube-controller-manager and kubectl on loopback
//! addresses and free ports, with the real sandgate in front.
//!
//! ```text
//! let bed = ControlPlane::start().await?;
//! let rest = bed.rest().await?;
//! bed.namespace(&rest, &json!({"name": "workflows"})).await?;
//! let sandgate = Sandgate::start(&bed, &["workflows"]).await?;
//! sandgate.guard(&bed, &rest).await?;
//! bed.kubectl(&["run", "hello", "--image=busybox", "-n", "workflows"]).await;
//! ```
//!
//! The version of Kubernetes is 1.36. `SANDGATE_BED_KUBERNETES=1.33`, for example, selects another version for
//! everything that starts a [`ControlPlane`]: those that there is a folder `kubernetes-1.NN` for.
//!
//! Whatever becomes of this process, nothing that it started outlives it: see [`process`].

mod admission_policy;
mod assets;
mod cert_manager;
mod cluster;
mod collector;
mod command;
mod control_group;
mod control_plane;
mod generated_docs;
pub mod harness;
mod helm;
mod host;
mod iptables;
mod kubectl;
pub mod load;
mod node;
pub mod plain_http;
mod ports;
mod process;
mod rest;
mod sandgate;
mod service_proxy;
mod shared;
mod shown;
mod webhook;

use std::{
    error,
    io::{self, Write},
    time::Duration,
};

pub use self::{
    admission_policy::{admission_list, store_admission},
    assets::{Engine, Version, cert_manager_crds, ray_packages, ray_version},
    cert_manager::CertManager,
    cluster::{Cluster, Sources, missing as cannot_run},
    collector::{Collector, attribute},
    command::Output,
    control_group::ControlGroup,
    control_plane::{ApiServer, ControlPlane, IN_USE_NAMESPACE, RECORDED_NAMESPACE},
    generated_docs::GeneratedDocs,
    helm::{HelmLine, chart_readme, helm},
    iptables::Iptables,
    node::{Node, NodePod},
    ports::free_port,
    process::Process,
    rest::{Denial, Rest, is_ready},
    sandgate::{Replica, Sandgate, program},
    service_proxy::ServiceProxy,
    shared::shared,
    shown::{is_shown, shown},
    webhook::{Reinvocation, Webhook, WebhookKind},
};

/// Any error of the testbed; its text is for people.
pub type Error = Box<dyn error::Error + Send + Sync>;

/// The result of the testbed's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The time-out of each step of the testbed, longer than it takes on the slowest machine.
pub const STEP_TIMEOUT: Duration = Duration::from_mins(2);

/// Asks `probe` until it has an answer, and gives up after [`STEP_TIMEOUT`].
///
/// # Errors
/// Returns the error of `probe`, or a time-out that names what was waited for.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let asking = async {
        loop {
            if let Some(answer) = probe().await? {
                return Ok(answer);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let answer = tokio::time::timeout(STEP_TIMEOUT, asking).await;
    answer.unwrap_or_else(|_| Err(format!("waited {} s in vain until {what}", STEP_TIMEOUT.as_secs()).into()))
}

/// Prints the progress of long steps, past the test harness, which captures what `eprintln!` prints.
pub fn progress(line: &str) {
    let _ = writeln!(io::stderr(), "testbed: {line}");
}
