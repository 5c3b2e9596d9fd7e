//! The probe, run in three Pods.

use std::path::Path;

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::matrix::{Column, Matrix};
use crate::{
    pods::{has_ended, until},
    shared::{Bed, NAMESPACE},
};
use testbed::Cluster;

const IMAGE: &str = "localhost/probe:bed";

/// A namespace that no policy names.
const OPEN: &str = "open";

/// One that Pod Security guards.
const RESTRICTED: &str = "restricted";

/// Asks every vector from inside each of the three Pods, once for all tests.
pub(super) async fn probed<G>(bed: &Bed<G>) -> &'static Matrix {
    static MATRIX: OnceCell<Matrix> = OnceCell::const_new();

    MATRIX.get_or_init(|| probe(bed)).await
}

async fn probe<G>(bed: &Bed<G>) -> Matrix {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/attack_surface/probe/main.rs");
    bed.cluster.import_source(IMAGE, &source).unwrap();
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    for namespace in [json!({"name": OPEN}), json!({"name": RESTRICTED, "labels": labels})] {
        bed.cluster.bed.namespace(&bed.rest, &namespace).await.unwrap();
    }
    let (unconfined, plain, restricted, sandboxed) = tokio::join!(
        column(bed, OPEN, unconfined(pod())),
        column(bed, OPEN, pod()),
        column(bed, RESTRICTED, restricted(pod())),
        column(bed, NAMESPACE, after_the_network(pod())),
    );
    Matrix { unconfined, plain, restricted, sandboxed }
}

/// One that asks for nothing but to run on this node, and to know where that is.
fn pod() -> Value {
    let node = json!({"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}});
    json!({
        "metadata": {"name": "probe"},
        "spec": {
            "restartPolicy": "Never",
            "tolerations": [Cluster::toleration()],
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

/// The same, started once its `NetworkPolicies` are in force: see `docs/node.md`.
fn after_the_network(mut pod: Value) -> Value {
    let wait = "while nc -w 2 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT -e true 2>/dev/null; do sleep 0.1; done";
    pod["spec"]["initContainers"] = json!([{
        "name": "network", "image": "busybox:bed", "command": ["sh", "-c", wait],
    }]);
    pod
}

/// The same as on the machine itself.
fn unconfined(mut pod: Value) -> Value {
    pod["metadata"]["name"] = json!("unconfined");
    pod["spec"]["hostPID"] = json!(true);
    pod["spec"]["hostNetwork"] = json!(true);
    pod["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    pod
}

async fn column<G>(bed: &Bed<G>, namespace: &str, pod: Value) -> Column {
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    bed.rest.post(&pods, &pod).await.unwrap();
    let name = pod["metadata"]["name"].as_str().unwrap();
    let path = format!("{pods}/{name}");
    let ended = until(&bed.rest, &path, "has ended", has_ended).await.unwrap();
    assert_eq!(ended["status"]["phase"], "Succeeded", "{:#}", ended["status"]);
    let output = bed.cluster.bed.kubectl(&["logs", name, "--namespace", namespace]).await.expect_success();
    let column = Column::read(&output, bed.runtimes(&ended));
    bed.rest.delete(&path).await.unwrap();
    column
}
