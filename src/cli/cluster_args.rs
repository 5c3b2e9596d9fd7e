//! The flags that name the API server, and the objects of a release and of managed certificates.

use std::path::PathBuf;

use clap::Args;

use crate::cluster::{Access, Watched};

/// Where managed certificates are stored.
#[derive(Debug, Clone, Args)]
pub(super) struct ClusterArgs {
    /// Kubeconfig of the API server; if omitted, the Pod's service account is used
    #[arg(long, value_name = "PATH", env = "KUBECONFIG")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// Namespace of the Secret; if omitted, sandgate's own
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    namespace: Option<String>,
    /// Name of the Secret with the CAs
    #[arg(long, value_name = "NAME", default_value = "sandgate-ca")]
    ca_secret: String,
    /// Name of both webhook configurations
    #[arg(long, value_name = "NAME", default_value = "sandgate")]
    webhook_configuration: String,
}

impl ClusterArgs {
    /// Returns true if the namespace was named, by its flag or in the environment.
    pub(super) fn names_namespace(&self) -> bool {
        self.namespace.is_some()
    }

    pub(super) fn split(self) -> (Access, Watched) {
        let Self { kubeconfig, namespace, ca_secret, webhook_configuration } = self;
        (
            Access { kubeconfig, namespace, context: None },
            Watched { secret: ca_secret, configuration: webhook_configuration },
        )
    }
}

/// The objects of a release, as a command outside of it names them.
#[derive(Debug, Args)]
pub(super) struct ReleaseArgs {
    /// Namespace of sandgate itself
    #[arg(long, value_name = "NAMESPACE", default_value = "sandgate-system")]
    pub(super) sandgate_namespace: String,
    /// Name of both webhook configurations
    #[arg(long, value_name = "NAME", default_value = "sandgate")]
    pub(super) webhook_configuration: String,
    /// Name of the Secret with the CAs, which records whether the configurations were armed once
    #[arg(long, value_name = "NAME", default_value = "sandgate-ca")]
    pub(super) ca_secret: String,
}
