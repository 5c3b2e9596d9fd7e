//! What certs/cert-manager offers, against the CRDs of the real cert-manager.

use std::{fs, path::Path};

use testbed::{cert_manager_crds, eventually, shared};

#[tokio::test]
async fn the_ready_manifests_are_valid_to_the_last_field() {
    let bed = shared().await;
    let crds = cert_manager_crds().expect("the CRDs of cert-manager");
    for crd in ["certificates", "issuers", "clusterissuers"] {
        let file = crds.join(format!("cert-manager.io_{crd}.yaml")).display().to_string();
        bed.kubectl(&["apply", "--server-side", "-f", &file]).await.expect_success();
    }
    bed.kubectl(&["create", "namespace", "cert-manager"]).await.expect_success();
    bed.kubectl(&["create", "namespace", "sandgate-system"]).await.expect_success();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs/cert-manager");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("a folder") {
        let file = entry.expect("an entry").path().display().to_string();
        let apply = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", &file];
        // A new kind is served a moment after its CRD is stored.
        let applied = eventually(&file, async || {
            let output = bed.kubectl(&apply).await;
            if output.stderr.contains("no matches for kind") {
                return Ok(None);
            }
            Ok(Some(output))
        });
        applied.await.expect("the kinds are served").expect_success();
        count += 1;
    }
    assert_eq!(count, 2);
}
