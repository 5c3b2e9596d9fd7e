//! The probe, run in three Pods.

use std::path::Path;

use serde_json::{Value, json};

use super::matrix::{Column, Matrix};
use crate::{
    pods::until,
    shared::{Bed, NAMESPACE},
};

const IMAGE: &str = "localhost/probe:bed";

/// A namespace that no policy names.
const OPEN: &str = "open";

/// One that Pod Security guards.
const RESTRICTED: &str = "restricted";

/// Asks every door from inside each of the three.
pub(super) async fn probed<G>(bed: &Bed<G>) -> Matrix {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/doors/probe/main.rs");
    bed.cluster.import_source(IMAGE, &source).unwrap();
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    for namespace in [json!({"name": OPEN}), json!({"name": RESTRICTED, "labels": labels})] {
        bed.cluster.bed.namespace(&bed.rest, &namespace).await.unwrap();
    }
    let (plain, restricted, sandboxed) = tokio::join!(
        column(bed, OPEN, pod()),
        column(bed, RESTRICTED, restricted(pod())),
        column(bed, NAMESPACE, pod()),
    );
    Matrix { plain, restricted, sandboxed }
}

/// One that asks for nothing but to run on this node, and to know where that is.
fn pod() -> Value {
    let node = json!({"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}});
    json!({
        "metadata": {"name": "probe"},
        "spec": {
            "restartPolicy": "Never",
            "tolerations": [
                {"key": "sandbox.gke.io/runtime", "operator": "Equal", "value": "gvisor", "effect": "NoSchedule"},
            ],
            "containers": [{"name": "main", "image": IMAGE, "env": [node]}],
        },
    })
}

/// The same with what the level `restricted` of Pod Security asks for.
fn restricted(mut pod: Value) -> Value {
    pod["spec"]["containers"][0]["securityContext"] = json!({
        "runAsNonRoot": true,
        "runAsUser": 1000,
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    pod
}

async fn column<G>(bed: &Bed<G>, namespace: &str, pod: Value) -> Column {
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    bed.rest.post(&pods, &pod).await.unwrap();
    let path = format!("{pods}/probe");
    let over = |pod: &Value| ["Succeeded", "Failed"].iter().any(|phase| pod["status"]["phase"] == *phase);
    let pod = until(&bed.rest, &path, "has ended", over).await.unwrap();
    assert_eq!(pod["status"]["phase"], "Succeeded", "{:#}", pod["status"]);
    let said = bed.cluster.bed.kubectl(&["logs", "probe", "--namespace", namespace]).await.expect_success();
    let column = Column::read(&said, bed.runtimes(&pod));
    bed.rest.delete(&path).await.unwrap();
    column
}
