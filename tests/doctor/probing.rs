//! `--probe`: the throwaway Pod, with a kubelet that the test plays. `tests/node` has one that really runs in gVisor.

use std::{path::Path, process::Stdio};

use serde_json::{Value, json};

use crate::{
    clinic::{Clinic, Findings, Run},
    played,
    rights::rights_of_the_doctor,
};

const GVISOR: &str = "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016\n";

impl Clinic {
    /// Runs the doctor with --probe. The kubelet of the first node ends the Pod, and has this log of it.
    async fn probes(&self, kubeconfig: &Path, log: &str) -> Findings {
        let port = played::kubelet(log.to_owned());
        let status = json!({"status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }});
        self.merge("/api/v1/nodes/node-1/status", &status).await;
        let mut command = self.command(kubeconfig, &["--probe", "-o", "json"]);
        let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        testbed::eventually("the doctor ends", async || {
            self.run_probe_pods().await;
            Ok(running.try_wait()?.map(drop))
        })
        .await
        .unwrap();
        let output = running.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let status = output.status.code().unwrap();
        Run { status, stdout: text(output.stdout), stderr: text(output.stderr) }.findings()
    }

    /// Does what the scheduler and the kubelet do to the throwaway Pod.
    async fn run_probe_pods(&self) {
        let pods = self.rest.get(&self.inside("/pods")).await.unwrap();
        for pod in pods["items"].as_array().unwrap() {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let is_new = pod["spec"]["nodeName"].is_null();
            if !is_new || !name.starts_with("sandgate-probe-") {
                continue;
            }
            let path = self.inside(&format!("/pods/{name}"));
            let target = json!({"apiVersion": "v1", "kind": "Node", "name": "node-1"});
            let binding = json!({"metadata": {"name": name}, "target": target});
            // The doctor may have removed the Pod meanwhile.
            if self.rest.post(&format!("{path}/binding"), &binding).await.is_ok() {
                let ended = json!({"status": {"phase": "Succeeded"}});
                let _ = self.rest.merge(&format!("{path}/status"), &ended).await;
            }
        }
    }
}

#[tokio::test]
async fn a_pod_that_sees_another_kernel_and_reaches_the_api_server() {
    let clinic = Clinic::new().await;
    let kubeconfig = clinic.bed.kubeconfig();
    let good = clinic.probes(&kubeconfig, &format!("{GVISOR}api-server=unreached after=0\n")).await;
    assert_eq!((good.outcome("probe-gvisor"), good.outcome("probe-api-server")), ("ok", "ok"));

    let other = "Linux version 6.12.0 (gcc) #1 SMP PREEMPT_DYNAMIC\napi-server=reached\n";
    let bad = clinic.probes(&kubeconfig, other).await;
    let found = bad.fails("probe-gvisor", "critical");
    assert!(found["what"].as_str().unwrap().contains("Linux version 6.12.0"), "{found:#}");
    let found = bad.fails("probe-api-server", "critical");
    assert!(found["action"].as_str().unwrap().contains("network-policy"), "{found:#}");
    let pods = clinic.rest.get(&clinic.inside("/pods")).await.unwrap();
    assert_eq!(pods["items"], json!([]), "the throwaway Pods are removed");
}

#[tokio::test]
async fn each_right_of_the_probe_that_is_missing_is_named() {
    let clinic = Clinic::new().await;
    let kubeconfig = clinic.account().await;
    let right = |resource: &str, verb: &str| -> (bool, Value) {
        (true, json!({"apiGroups": [""], "resources": [resource], "verbs": [verb]}))
    };
    let rights = rights_of_the_doctor().await;
    let own = [right("pods", "get"), right("pods/log", "get"), right("pods", "delete")];
    let log = format!("{GVISOR}api-server=unreached after=0\n");
    for missing in 0..own.len() {
        let given = own.iter().enumerate().filter(|(index, _)| *index != missing).map(|(_, right)| right);
        clinic.give(&rights.iter().chain(given).collect::<Vec<_>>()).await;
        let named = testbed::eventually("the rights hold", async || {
            let findings = clinic.probes(&kubeconfig, &log).await;
            let (_, right) = &own[missing];
            let rule = format!(
                "resources: [{}], verbs: [{}]",
                right["resources"][0].as_str().unwrap(),
                right["verbs"][0].as_str().unwrap()
            );
            // What cannot be removed is still proven.
            let (id, proven) =
                if missing == 2 { ("probe-removed", "ok") } else { ("probe-gvisor", "unknown") };
            let found = findings.0.iter().find(|finding| finding["id"] == id);
            let is_named = found.is_some_and(|found| {
                found["outcome"] == "unknown" && found["what"].as_str().unwrap().contains(&rule)
            });
            Ok((is_named && findings.outcome("probe-gvisor") == proven).then_some(()))
        })
        .await;
        assert!(named.is_ok(), "{}", own[missing].1);
    }
}
