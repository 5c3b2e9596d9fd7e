//! `sandgate doctor` in a cluster whose nodes run gVisor, and whose network plugin enforces `NetworkPolicies`.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    pods::IMAGE,
    shared::{NAMESPACE, cluster_alone},
};
use testbed::{eventually, harness::Test, program};

/// The tests of this module.
pub(crate) fn tests() -> Vec<Test> {
    vec![Test::new_async(doctor_proves_gvisor_from_inside_and_reads_each_replica)]
}

/// One thread: only that one is in the network of the cluster, and so are the programs that it starts.
async fn doctor_proves_gvisor_from_inside_and_reads_each_replica() {
    let bed = cluster_alone().await;
    // An earlier test may have scaled it.
    let deployment = "/apis/apps/v1/namespaces/sandgate/deployments/sandgate";
    let available = eventually("both replicas are available", async || {
        Ok((bed.rest.get(deployment).await?["status"]["availableReplicas"] == 2).then_some(()))
    });
    available.await.unwrap();
    let output = Command::new(program().unwrap())
        .env_clear()
        .args([
            "doctor",
            "--namespace",
            NAMESPACE,
            "--sandgate-namespace",
            "sandgate",
            "--probe",
            "--image",
            IMAGE,
        ])
        .args(["--output", "json", "--kubeconfig"])
        .arg(bed.cluster.bed.kubeconfig())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    let of = |id: &str| {
        let checks = report["checks"].as_array().unwrap().iter();
        checks.clone().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no {id}: {text}"))
    };
    for id in [
        "runtime-class",
        "node-labels",
        "node-taints",
        "network-policy",
        "service-account",
        "security-context",
        "resource-limits",
        "active-deadline",
        "writable-volumes",
        "secrets",
        "policy-loaded",
        "certificate",
        "version",
        "probe-gvisor",
        "probe-api-server",
    ] {
        assert_eq!(of(id)["outcome"], json!("ok"), "{:#}", of(id));
    }
    let pods = bed.kubectl(&["get", "pods", "-o", "name"]).await;
    assert!(!pods.contains("sandgate-probe-"), "the throwaway Pod is removed: {pods}");
}
