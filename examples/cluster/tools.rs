//! kubectl and its like, for a user outside of the cluster's network.

use std::{fs, os::unix::fs::PermissionsExt, process};

use crate::home::Home;
use testbed::{Cluster, Result};

/// A program that reports if the cluster is gone.
const SCRIPT: &str = r#"#!/bin/sh
if [ ! -e /proc/HOLDER ]; then
    echo 'the cluster has ended; make cluster starts another' >&2
    [ ! -e 'FAILED' ] || cat 'FAILED' >&2
    exit 1
fi
exec CALL "$@"
"#;

/// Writes small programs that call the real ones inside.
pub(crate) fn write(home: &Home, cluster: &Cluster) -> Result<()> {
    let inside = cluster.network();
    let kubeconfig = cluster.bed.kubeconfig();
    let settings = [
        format!("KUBECONFIG={}", kubeconfig.display()),
        format!("KUBECACHEDIR={}", cluster.folder().join("kubectl-cache").display()),
        format!("HELM_CACHE_HOME={}", cluster.folder().join("helm").display()),
    ];
    for (name, words) in [
        ("kubectl", vec![cluster.bed.kubectl_program().display().to_string()]),
        ("helm", vec![Cluster::helm_program()?.display().to_string()]),
        ("ctr", cluster.containerd_client()),
    ] {
        let prefix = if name == "ctr" { Vec::new() } else { inside.clone() };
        let call = [&prefix, ["env".to_owned()].as_slice(), &settings, &words].concat();
        let call: Vec<_> = call.iter().map(|word| format!("'{word}'")).collect();
        let script = SCRIPT
            .replace("HOLDER", &process::id().to_string())
            .replace("FAILED", &home.failed().display().to_string())
            .replace("CALL", &call.join(" "));
        let path = home.programs().join(name);
        fs::write(&path, script)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// The commands to use the cluster.
pub(crate) fn advice(home: &Home) -> String {
    format!(
        "kubectl, helm and ctr (containerd's own client) for it, in a shell of root:\n\n  \
         export PATH={}:$PATH\n\n\
         sandgate guards the namespace `workflows`; the image on the node is busybox:bed.\n\n  \
         kubectl get pods -A\n  \
         kubectl run hello --image=busybox:bed -n workflows -- cat /proc/version\n  \
         kubectl logs hello -n workflows\n\n\
         `make cluster-down` ends it, and leaves nothing behind.",
        home.programs().display()
    )
}
