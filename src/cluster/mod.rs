//! The API server, as far as managed certificates need it, one Secret and two webhook configurations, Events, and the backstop's
//! admission policies.

mod api;
mod backstop;
mod drift;
mod events;
mod metrics;
mod reconciler;
mod secret;
mod snapshot;
mod watch;
mod webhook_configurations;

use std::{env, path::PathBuf};

use kube::{
    Client, Config,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

pub use api::{Api, ApiError};
pub use backstop::{Backstop, Difference, Reconciled, differences, is_of_backstop};
pub use drift::of as configuration_drift;
pub use events::Events;
pub use metrics::{CertificateMetrics, register_event_metrics};
pub use reconciler::{Reconciler, Settings};
pub use secret::was_armed;
pub use snapshot::{Snapshot, Watched};

/// Why there is no way to an API server. Whether one answers is found out later.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A kubeconfig that cannot be used.
    #[error("kubeconfig {path}: {source}")]
    Kubeconfig {
        /// The file, or files.
        path: String,
        /// What is wrong with it.
        #[source]
        source: KubeconfigError,
    },
    /// A context is named and there is no kubeconfig that could have it.
    #[error("kubeconfig ~/.kube/config: there is none, and --context names one of its contexts")]
    NoKubeconfig,
    /// Neither a kubeconfig nor a service account.
    #[error(
        "no kubeconfig is given, and this is no Pod with a service account ({0}); give --kubeconfig PATH"
    )]
    Outside(#[source] InClusterError),
    /// Its TLS settings cannot be used.
    #[error("cannot set up the connection to the API server: {0}")]
    Client(#[source] Box<kube::Error>),
}

/// Where the API server is, and where in it we are.
#[derive(Debug, Clone)]
pub struct Access {
    /// How to reach it; as a Pod's service account where there is none.
    pub kubeconfig: Option<PathBuf>,
    /// The namespace; the one of the service account or the kubeconfig's context where there is none.
    pub namespace: Option<String>,
    /// The context of the kubeconfig; its current one where there is none.
    pub context: Option<String>,
}

impl Access {
    /// For a person's command: without a kubeconfig the one in the home folder, as kubectl finds it.
    #[must_use]
    pub fn of_user(self) -> Self {
        let at_home = || {
            let file = env::home_dir()?.join(".kube").join("config");
            file.is_file().then_some(file)
        };
        Self { kubeconfig: self.kubeconfig.or_else(at_home), ..self }
    }
}

/// A way to the API server.
///
/// # Errors
/// Returns an error if no source names the API server, or the source cannot be used.
pub async fn connect(Access { kubeconfig, namespace, context }: Access) -> Result<Api, ConnectError> {
    let config = match kubeconfig.filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => from_files(path, context).await?,
        None if context.is_some() => return Err(ConnectError::NoKubeconfig),
        None => Config::incluster().map_err(ConnectError::Outside)?,
    };
    let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)))?;
    Ok(Api::new(client, namespace))
}

/// Several files, as in `KUBECONFIG`, are taken together.
async fn from_files(path: PathBuf, context: Option<String>) -> Result<Config, ConnectError> {
    let unfit = |source| ConnectError::Kubeconfig { path: path.display().to_string(), source };
    let mut merged = Kubeconfig::default();
    for file in env::split_paths(&path) {
        let next = Kubeconfig::read_from(&file).map_err(unfit)?;
        merged = merged.merge(next).map_err(unfit)?;
    }
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(merged, &options).await.map_err(unfit)
}
