//! The real cert-manager, without the webhook that validates its objects.

use super::{ControlPlane, Process, Result, assets, eventually, progress};

/// The controllers of issuers and certificates, and the cainjector; they end when it is dropped.
pub struct CertManager(Process);

impl CertManager {
    /// Creates the CRDs and the namespace `cert-manager`, and starts the controllers.
    ///
    /// # Errors
    /// Returns an error if the program cannot be built or started, or the CRDs are not served in time.
    pub async fn start(bed: &ControlPlane) -> Result<Self> {
        let (program, crds) = tokio::task::spawn_blocking(|| -> Result<_> {
            Ok((assets::cert_manager()?, assets::cert_manager_crds()?))
        })
        .await??;
        let applied = bed.kubectl(&["apply", "--server-side", "-f", &format!("{}/", crds.display())]).await;
        if !applied.success {
            return Err(applied.stderr.into());
        }
        bed.kubectl(&["create", "namespace", "cert-manager"]).await;
        let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
        eventually("the kinds of cert-manager are served", async || {
            Ok(bed.kubectl(&established).await.success.then_some(()))
        })
        .await?;
        let environment = [("KUBECONFIG".to_owned(), bed.kubeconfig().display().to_string())];
        let mut process = Process::start_with("cert-manager", &program, &[], &environment, bed.folder())?;
        process.check()?;
        progress("cert-manager runs");
        Ok(Self(process))
    }

    /// # Errors
    /// Returns an error if it has ended by itself: with the end of its log.
    pub fn check(&mut self) -> Result<()> {
        self.0.check()
    }
}
