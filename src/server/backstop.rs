//! Keeps the backstop's objects in the API server those of the policies in force.

use std::{sync::Arc, time::Duration};

use super::Shared;
use crate::cluster::{self, Access, Backstop, ConnectError};
use sandgate_engine::backstop;

/// The settings of the backstop.
#[derive(Debug, Clone)]
pub struct BackstopSettings {
    /// The connection to the API server.
    pub access: Access,
}

/// The time between two looks at the policies in force.
const POLICY_INTERVAL: Duration = Duration::from_secs(2);
/// The time after which the stored objects are compared again, whatever happens.
const CHECK_INTERVAL: Duration = Duration::from_mins(1);
/// The time to wait after a failure.
const RETRY_DELAY: Duration = Duration::from_secs(15);

/// Starts the task that writes the objects after each policy load.
pub(super) async fn start(settings: BackstopSettings, shared: &Arc<Shared>) -> Result<(), ConnectError> {
    let api = cluster::connect(settings.access).await?;
    let release_namespace = api.namespace().to_owned();
    let keeping = keep(Backstop::new(api, release_namespace.clone()), release_namespace, Arc::clone(shared));
    shared.supervisor.spawn("backstop", keeping);
    Ok(())
}

async fn keep(backstop: Backstop, release_namespace: String, shared: Arc<Shared>) {
    let settings = backstop::Settings { release_namespace, ..backstop::Settings::default() };
    loop {
        let policies = shared.policies.load_full();
        let wait = match reconcile(&backstop, &policies, &settings).await {
            Ok(()) => CHECK_INTERVAL,
            Err(problem) => {
                tracing::error!(%problem, "Backstop is not up to date; trying again");
                RETRY_DELAY
            }
        };
        let until = tokio::time::Instant::now() + wait;
        while tokio::time::Instant::now() < until
            && shared.policies.load().hash() == policies.hash()
            && !shared.is_ending()
        {
            tokio::time::sleep(POLICY_INTERVAL).await;
        }
        if shared.is_ending() {
            return std::future::pending().await;
        }
    }
}

async fn reconcile(
    backstop: &Backstop,
    policies: &sandgate_engine::policy::PolicySet,
    settings: &backstop::Settings,
) -> Result<(), String> {
    let objects = backstop::render(policies, settings)
        .map_err(|refusals| refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    let done = backstop.reconcile(&objects).await.map_err(|error| error.to_string())?;
    if !done.written.is_empty() || !done.removed.is_empty() {
        tracing::info!(written = ?done.written, removed = ?done.removed, "Backstop reconciled");
    }
    if !done.switched_off.is_empty() {
        tracing::warn!(
            policies = ?done.switched_off,
            "Backstop is switched off: the binding was removed and its policy was not; delete the policy to have both again"
        );
    }
    Ok(())
}
