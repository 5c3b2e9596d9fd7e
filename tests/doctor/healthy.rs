//! A complete installation, the report itself, and the flags.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
};

use serde_json::{Value, json};

use crate::{
    clinic::{Clinic, WITHOUT_KUBELET},
    rights::rights_of_the_doctor,
};
use testbed::{eventually, is_shown, shown};

#[tokio::test]
async fn a_complete_installation_fails_nothing() {
    let clinic = Clinic::new().await;
    let run = clinic.doctor(&["-o", "json"]);
    let findings = run.findings();
    // There is no backstop here; that is not needed.
    assert_eq!(findings.with("fail"), ["backstop"], "{}", run.stdout);
    assert_eq!(findings.with("unknown"), WITHOUT_KUBELET);
    assert_eq!(run.status, 0, "{}", run.stderr);
}

#[tokio::test]
async fn the_report_begins_with_the_ten_boxes_by_name() {
    let clinic = Clinic::new().await;
    let run = clinic.doctor(&[]);
    let lines: Vec<&str> = run.stdout.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(lines[0], "The ten boxes");
    let about = &clinic.namespace;
    for (line, wanted) in lines[1..].iter().zip([
        "ok    critical  runtime-class             gVisor RuntimeClass: gvisor has the handler runsc",
        "ok    high      runtime-handler           gVisor on the nodes: 2 of 2 report the handler runsc",
        "ok    critical  node-labels               labelled nodes: 2 of 2 have workload-type=workflow-runner",
        "ok    high      node-taints               tainted nodes: 2 of 2",
        &format!("ok    high      network-policy            {about}: NetworkPolicy: 1, all Pods denied by default"),
        &format!("ok    high      service-account           {about}: service account: workflow-runner, automount false"),
        &format!("ok    critical  security-context          {about}: Pod security context: user 1000, no capability, no escalation, seccomp"),
        &format!("ok    high      resource-limits           {about}: resource limits: cpu 2, memory 4Gi, ephemeral-storage 10Gi"),
        &format!("ok    high      active-deadline           {about}: activeDeadlineSeconds: 3600"),
        &format!("ok    high      writable-volumes          {about}: writable volumes: emptyDir /workspace (10Gi), /tmp (1Gi)"),
        &format!("ok    high      secrets                   {about}: Secrets: as environment, never as files"),
    ]) {
        assert_eq!(*line, wanted);
    }
    assert_eq!(lines.len(), 12);
    let last = run.stdout.lines().last().unwrap();
    assert!(last.ends_with("ok, 1 failed (1 info), 3 unknown"), "{last}");
}

#[tokio::test]
async fn the_report_of_the_page_is_what_is_printed_without_labelled_nodes_and_without_one_right() {
    let clinic = Clinic::new().await;
    let kubeconfig = clinic.account().await;
    let rights = rights_of_the_doctor().await;
    clinic
        .give(&rights.iter().filter(|(_, right)| right["resources"][0] != "daemonsets").collect::<Vec<_>>())
        .await;
    for node in ["node-1", "node-2"] {
        let labels = json!({"metadata": {"labels": {"workload-type": null}}});
        clinic.merge(&format!("/api/v1/nodes/{node}"), &labels).await;
    }
    let page = shown("docs/doctor.md", "sandgate doctor -n workflows").unwrap();
    let mut printed = String::new();
    let is_page = eventually("the rights hold", async || {
        printed = clinic.doctor_as(&kubeconfig, &[]).stdout;
        Ok(is_shown(&page, &printed).then_some(()))
    });
    let is_page = is_page.await;
    assert!(is_page.is_ok(), "docs/doctor.md shows\n{page}printed was\n{printed}");
    clinic.take_all().await;
}

#[tokio::test]
async fn before_an_installation_only_the_ground_is_checked() {
    let clinic = Clinic::new().await;
    clinic.delete(&clinic.configuration("mutating")).await;
    clinic.delete(&clinic.configuration("validating")).await;
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.json");
    let text = json!({
        "apiVersion": "sandgate.dev/v1beta1", "kind": "SandboxPolicy", "metadata": {"name": "p"},
        "spec": {"namespaces": [clinic.namespace]},
    });
    fs::write(&policy, text.to_string()).unwrap();
    let run = clinic.doctor(&["--preflight", "--policy", policy.to_str().unwrap(), "-o", "json"]);
    let findings = run.findings();
    assert_eq!(run.status, 0, "{}", run.stdout);
    assert_eq!(findings.outcome("security-context"), "ok", "what the policy will fill");
    for id in ["mutating-webhook", "dry-run-plain", "replicas"] {
        assert!(findings.0.iter().all(|finding| finding["id"] != id), "{id}");
    }
}

#[tokio::test]
async fn an_accepted_failure_is_shown_and_counts_no_more() {
    let clinic = Clinic::new().await;
    clinic.delete("/api/v1/nodes/node-1").await;
    clinic.delete("/api/v1/nodes/node-2").await;
    assert_eq!(clinic.doctor(&[]).status, 1);
    let run = clinic.doctor(&["--accept", "node-labels", "--accept", "node-ready"]);
    assert_eq!(run.status, 0, "{}", run.stdout);
    assert!(run.stdout.contains("fail  critical  node-labels"), "{}", run.stdout);
    assert_eq!(clinic.doctor(&["--accept", "nodes"]).status, 2);
}

#[tokio::test]
async fn waiting_ends_as_soon_as_nothing_fails() {
    let clinic = Clinic::new().await;
    let quota = clinic.inside("/resourcequotas/quota");
    clinic.delete(&quota).await;
    let run = clinic.doctor(&["--fail-on", "medium", "--wait", "1s"]);
    assert_eq!(run.status, 1, "so long it failed: {}", run.stdout);
    let mut command = clinic.command(&clinic.bed.kubeconfig(), &["--fail-on", "medium", "--wait", "10m"]);
    let mut waiting = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(waiting.stderr.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "note: 1 check fails; checking again in 5 s");
    let quota = json!({"metadata": {"name": "quota"}, "spec": {"hard": {"pods": "50"}}});
    clinic.post(&clinic.inside("/resourcequotas"), &quota).await;
    assert_eq!(waiting.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_field_of_a_newer_kubernetes_is_named_before_the_upgrade() {
    let clinic = Clinic::new().await;
    let mut document = clinic.rest.get("/openapi/v3/api/v1").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api__v1_openapi.json");
    let flags = ["--openapi", path.to_str().unwrap()];
    fs::write(&path, document.to_string()).unwrap();
    let findings = clinic.doctor(&[&flags[..], &["-o", "json"]].concat()).findings();
    let known = findings.of("pod-schema");
    assert_eq!((&known["outcome"], &known["severity"]), (&json!("ok"), &json!("medium")), "{known:#}");

    let spec = &mut document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"];
    spec["newField"] = json!({"type": "boolean"});
    fs::write(&path, document.to_string()).unwrap();
    let findings = clinic.doctor(&[&flags[..], &["-o", "json"]].concat()).findings();
    let found = findings.fails("pod-schema", "medium");
    assert!(found["what"].as_str().unwrap().contains("PodSpec.newField"), "{found:#}");
    assert!(found["action"].as_str().unwrap().contains("upgrade sandgate before Kubernetes"), "{found:#}");
    let printed = clinic.doctor(&flags).stdout;
    let page = shown("docs/doctor.md", "sandgate doctor --openapi").unwrap();
    assert!(is_shown(&page, &printed), "{printed}");
}

#[tokio::test]
async fn without_an_api_server_it_could_not_run() {
    let clinic = Clinic::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut kubeconfig: Value =
        serde_json::from_str(&fs::read_to_string(clinic.bed.kubeconfig()).unwrap()).unwrap();
    kubeconfig["clusters"][0]["cluster"]["server"] =
        json!(format!("https://127.0.0.1:{}", testbed::free_port()));
    let path = folder.path().join("kubeconfig");
    fs::write(&path, kubeconfig.to_string()).unwrap();
    let run = clinic.doctor_as(&path, &[]);
    assert_eq!(run.status, 2, "{}", run.stdout);
    assert!(run.stderr.contains("/version"), "{}", run.stderr);
}
