//! What certs/cert-manager offers, against the CRDs of the real cert-manager.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use testbed::{eventually, shared};

/// The release whose CRDs are taken.
const MODULE: &str = "github.com/cert-manager/cert-manager@v1.21.2";

#[tokio::test]
async fn the_ready_manifests_are_valid_to_the_last_field() {
    let bed = shared().await;
    for crd in ["certificates", "issuers", "clusterissuers"] {
        let file = crds().join(format!("cert-manager.io_{crd}.yaml")).display().to_string();
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

/// The folder with the CRDs, out of the Go module.
fn crds() -> PathBuf {
    let output = Command::new("go")
        .args(["mod", "download", "-json", MODULE])
        .current_dir(std::env::temp_dir())
        .output()
        .expect("go starts");
    let module: Value = serde_json::from_slice(&output.stdout).expect("go prints JSON");
    let folder = module["Dir"].as_str().unwrap_or_else(|| panic!("cannot download {MODULE}: {module}"));
    Path::new(folder).join("deploy/crds")
}
