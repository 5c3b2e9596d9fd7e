//! Controllers of engines, which make Pods for people: each runs beside the control plane, with a service account.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use serde_json::json;

use super::{
    super::{Engine, Result, process::Process},
    Cluster,
};

/// The folders of an engine.
pub struct Sources {
    /// The folder with its sources and manifests.
    pub module: PathBuf,
    /// The path of its controller, beside its other programs.
    pub controller: PathBuf,
}

impl Cluster {
    /// Finds the programs of an engine and its sources; builds what is missing.
    ///
    /// # Errors
    /// Returns an error if a program cannot be built.
    pub async fn engine(&self, engine: Engine) -> Result<Sources> {
        let find = move || Ok(Sources { module: engine.sources()?, controller: engine.find()? });
        self.outside(find).await
    }

    /// Runs what downloads something in the network of the machine: the thread of a test is in that of the cluster, which
    /// has no way out.
    ///
    /// # Errors
    /// Returns the error of `work`.
    pub async fn outside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let namespaces = Arc::clone(&self.namespaces);
        let work = move || {
            namespaces.leave()?;
            work()
        };
        // In a thread that does nothing else afterwards.
        let done = tokio::task::spawn_blocking(|| thread::spawn(work).join()).await?;
        done.unwrap_or_else(|_| Err("a download panicked".into()))
    }

    /// Starts a program in the network of the cluster with these variables, and with a kubeconfig for a new service
    /// account `name` in a new namespace `name`, which may do everything. `arguments` gets the path of the kubeconfig.
    ///
    /// # Errors
    /// Returns an error if the program does not start, or the API server rejects an object.
    pub async fn start_controller(
        &self,
        name: &str,
        program: &Path,
        arguments: impl FnOnce(&Path) -> Vec<String>,
        environment: &[(&str, &str)],
    ) -> Result<Process> {
        let rest = self.bed.rest().await?;
        let metadata = json!({"name": name});
        rest.post("/api/v1/namespaces", &json!({"metadata": metadata})).await?;
        let accounts = format!("/api/v1/namespaces/{name}/serviceaccounts");
        rest.post(&accounts, &json!({"metadata": metadata})).await?;
        let binding = json!({
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": name}],
        });
        rest.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).await?;
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        let token = rest.post(&format!("{accounts}/{name}/token"), &request).await?;
        let token = token["status"]["token"].as_str().ok_or("a token request has a token")?;
        let kubeconfig = self.bed.kubeconfig_of(name, token)?;
        let variables = environment.iter().map(|(name, value)| format!("{name}={value}"));
        let prefix = [self.network(), vec!["env".into()], variables.collect()].concat();
        Process::start_in(prefix, name, program, &arguments(&kubeconfig), self.folder())
    }
}
