//! Pods that are known to take over a node, written anew from what they do. None of them may run here: those that a
//! cluster without a gate would store are only ever tried.

use serde_json::{Value, json};

use crate::{
    pods::pods_path,
    shared::{NAMESPACE, cluster, cluster_alone},
};
use testbed::{Rest, eventually, harness::Test};

/// The tests of this module.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new_async(known_attacks_are_denied_by_name),
        Test::new_async(steering_annotations_are_denied),
        Test::new_async(static_pod_name_gains_nothing),
        Test::new_async(ephemeral_container_with_sys_admin_is_denied),
        Test::new_async(outage_is_denied_by_fail_and_by_the_backstop_and_admitted_without_both),
    ]
}

/// The attacks: the aim of each, the Pod's spec besides its container, what its container has besides a name and an
/// image, and the rules that see it.
fn attacks() -> Vec<(&'static str, Value, Value, &'static [&'static str])> {
    let host_root = json!([{"name": "host", "hostPath": {"path": "/"}}]);
    let mounted = json!([{"name": "host", "mountPath": "/host"}]);
    vec![
        (
            "everything allowed: privileged, all of the host's namespaces and its root",
            json!({"hostNetwork": true, "hostPID": true, "hostIPC": true, "volumes": host_root}),
            json!({"securityContext": {"privileged": true}, "volumeMounts": mounted}),
            &["privileged", "host-namespaces", "volume-types"],
        ),
        (
            "privileged and the host's processes: nsenter to process 1",
            json!({"hostPID": true}),
            json!({"securityContext": {"privileged": true}, "command": ["nsenter", "-t", "1", "-a", "sh"]}),
            &["privileged", "host-namespaces"],
        ),
        (
            "privileged alone: mount the host's disk",
            json!({}),
            json!({"securityContext": {"privileged": true}}),
            &["privileged"],
        ),
        (
            "the host's root alone: write a key, a static pod or a cron job",
            json!({"volumes": host_root}),
            json!({"volumeMounts": mounted}),
            &["volume-types"],
        ),
        (
            "the host's processes alone: read their environment",
            json!({"hostPID": true}),
            json!({}),
            &["host-namespaces"],
        ),
        (
            "the host's network alone: sniff, and reach what listens on loopback",
            json!({"hostNetwork": true}),
            json!({}),
            &["host-namespaces"],
        ),
        ("the host's shared memory alone", json!({"hostIPC": true}), json!({}), &["host-namespaces"]),
        (
            "the socket of the container runtime: ask it for a privileged container",
            json!({"volumes": [{"name": "socket", "hostPath": {"path": "/var/run/docker.sock", "type": "Socket"}}]}),
            json!({"volumeMounts": [{"name": "socket", "mountPath": "/var/run/docker.sock"}]}),
            &["volume-types"],
        ),
        (
            "past the scheduler, onto a node of the control plane",
            json!({"nodeName": "control-plane"}),
            json!({}),
            &["node-name"],
        ),
        (
            "onto a node of the control plane, as its own components",
            json!({"nodeSelector": {"node-role.kubernetes.io/control-plane": ""}, "tolerations": [{"operator": "Exists"}],
                "priorityClassName": "system-node-critical"}),
            json!({}),
            &["tolerations", "priority-class"],
        ),
        (
            "another runtime: the machine's own kernel",
            json!({"runtimeClassName": "runc"}),
            json!({}),
            &["runtime-class"],
        ),
        (
            "a token of a strong service account",
            json!({"serviceAccountName": "strong", "automountServiceAccountToken": true}),
            json!({}),
            &["service-account", "token-volumes"],
        ),
        (
            "a token in another way: a projected volume",
            json!({"volumes": [{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]}),
            json!({"volumeMounts": [{"name": "token", "mountPath": "/token"}]}),
            &["token-volumes"],
        ),
        (
            "a debug container with all rights, from the start",
            json!({}),
            json!({"securityContext": {"capabilities": {"add": ["SYS_ADMIN", "SYS_PTRACE"]}}}),
            &["capabilities"],
        ),
        (
            "the host's /proc/sys by an unmasked /proc",
            json!({}),
            json!({"securityContext": {"procMount": "Unmasked"}}),
            &["proc-mount"],
        ),
    ]
}

fn pod(spec: &Value, container: &Value) -> Value {
    let mut pod = json!({"metadata": {"name": "attack"}, "spec": spec});
    let mut main = json!({"name": "main", "image": "busybox:bed"});
    main.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    pod["spec"]["containers"] = json!([main]);
    pod
}

async fn try_out(rest: &Rest, pod: &Value) -> Result<Value, testbed::Denial> {
    rest.post(&pods_path("?dryRun=All"), pod).await
}

/// Makes the service account that one of the attacks names, unless another test has.
async fn make_strong_account(rest: &Rest) {
    let accounts = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts");
    if rest.get(&format!("{accounts}/strong")).await.is_err() {
        rest.post(&accounts, &json!({"metadata": {"name": "strong"}})).await.unwrap();
    }
}

async fn known_attacks_are_denied_by_name() {
    let bed = cluster().await;
    make_strong_account(&bed.rest).await;
    for (what, spec, container, rules) in attacks() {
        let denial = try_out(&bed.rest, &pod(&spec, &container)).await.expect_err(what);
        for rule in rules {
            assert!(denial.names(rule), "{what}: {rule} is not named: {denial}");
        }
    }
}

async fn steering_annotations_are_denied() {
    let bed = cluster().await;
    for annotation in [
        "dev.gvisor.flag.network",
        "dev.gvisor.spec.mount.workspace.type",
        "dev.gvisor.internal.nvproxy",
        "kubernetes.io/config.mirror",
    ] {
        let mut pod = pod(&json!({}), &json!({}));
        pod["metadata"]["annotations"] = json!({annotation: "host"});
        let denial = try_out(&bed.rest, &pod).await.expect_err(annotation);
        assert!(denial.message.contains(annotation) || denial.message.contains("mirror"), "{denial}");
    }
}

async fn static_pod_name_gains_nothing() {
    let bed = cluster().await;
    let mut pod = pod(&json!({}), &json!({}));
    pod["metadata"]["name"] = json!("kube-apiserver-node");
    let stored = try_out(&bed.rest, &pod).await.unwrap();
    assert_eq!(stored["spec"]["runtimeClassName"], "gvisor");
}

async fn ephemeral_container_with_sys_admin_is_denied() {
    let bed = cluster().await;
    bed.create(&crate::pods::pod("target", "sleep 1000")).await;
    let attack = json!({"spec": {"ephemeralContainers": [{
        "name": "way-in", "image": "busybox:bed", "targetContainerName": "main",
        "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}},
    }]}});
    let path = pods_path("/target/ephemeralcontainers");
    let denial = bed.rest.strategic_merge(&path, &attack).await.unwrap_err();
    assert!(denial.names("capabilities"), "{denial}");
    bed.remove("target").await;
}

/// Four stages: both layers, the backstop alone, neither of them, and both again.
async fn outage_is_denied_by_fail_and_by_the_backstop_and_admitted_without_both() {
    let bed = cluster_alone().await;
    make_strong_account(&bed.rest).await;
    let admission = "/apis/admissionregistration.k8s.io/v1";
    let backstop = ["sandgate-workflow-runner", "sandgate-workflow-runner.binding"];
    let complete = eventually("the backstop is complete", async || {
        for name in backstop {
            for kind in ["validatingadmissionpolicies", "validatingadmissionpolicybindings"] {
                if bed.rest.get(&format!("{admission}/{kind}/{name}")).await.is_err() {
                    return Ok(None);
                }
            }
        }
        Ok(Some(()))
    });
    complete.await.unwrap();
    let scale = async |replicas: u32| {
        let replicas = json!({"spec": {"replicas": replicas}});
        bed.rest.merge("/apis/apps/v1/namespaces/sandgate/deployments/sandgate", &replicas).await.unwrap();
    };
    scale(0).await;
    let denied_by = async |words: &str| {
        let denied = eventually(words, async || {
            let answer = try_out(&bed.rest, &pod(&json!({}), &json!({}))).await;
            Ok(answer.err().filter(|denial| denial.message.contains(words)).map(drop))
        });
        denied.await.unwrap();
        for (what, spec, container, _) in attacks() {
            let denial = try_out(&bed.rest, &pod(&spec, &container)).await.expect_err(what);
            // The API server's own validation comes before its validating policies.
            let is_invalid = denial.message.contains("is invalid: ");
            assert!(is_invalid || denial.message.contains(words), "{what}: {denial}");
        }
    };
    denied_by("failed calling webhook").await;
    fail_open(&bed.rest).await;
    // A quota and Pod Security still stand behind: it is seen here what each layer alone does.
    let level = async |level: Value| {
        let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}});
        bed.rest.merge(&format!("/api/v1/namespaces/{NAMESPACE}"), &labels).await.unwrap();
    };
    level(Value::Null).await;
    denied_by("(backstop)").await;

    // The policies too, or a replica would take it for the emergency stop and leave it so.
    for name in backstop {
        for kind in ["validatingadmissionpolicybindings", "validatingadmissionpolicies"] {
            bed.rest.delete(&format!("{admission}/{kind}/{name}")).await.unwrap();
        }
    }
    let (_, spec, container, _) = attacks().swap_remove(0);
    let mut attack = pod(&spec, &container);
    attack["spec"]["containers"][0]["resources"] =
        json!({"limits": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"}});
    let stored = eventually("nothing denies it", async || Ok(try_out(&bed.rest, &attack).await.ok())).await;
    let metrics = bed.cluster.bed.kubectl(&["get", "--raw", "/metrics"]).await;
    level(json!("restricted")).await;
    scale(2).await;
    bed.cluster.upgrade_sandgate(&["--force-conflicts"]).await.unwrap();

    assert_eq!(stored.unwrap()["spec"]["hostPID"], true);
    // How it is noticed.
    let metrics = metrics.expect_success();
    let counts =
        metrics.lines().filter(|line| line.starts_with("apiserver_admission_webhook_fail_open_count{"));
    let counts: Vec<&str> = counts.collect();
    let is_ours = |line: &&str| line.contains(r#"name="validate.sandgate.dev""#) && !line.ends_with(" 0");
    let events = bed.cluster.bed.audit_events(NAMESPACE).unwrap();
    let events: Vec<_> = events.iter().rev().take(2).map(|event| &event["annotations"]).collect();
    assert!(counts.iter().any(is_ours), "the API server counts what it let in: {counts:?} {events:#?}");
    bed.cluster.until_validated().await.unwrap();
    let guarded = eventually("it is guarded again", async || {
        Ok(try_out(&bed.rest, &attack).await.err().filter(|denial| denial.names("privileged")))
    });
    guarded.await.unwrap();
}

/// Sets what the chart calls unsafe.
async fn fail_open(rest: &Rest) {
    for kind in ["mutating", "validating"] {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations/sandgate");
        let count = rest.get(&path).await.unwrap()["webhooks"].as_array().unwrap().len();
        let ignore = |index| json!({"op": "replace", "path": format!("/webhooks/{index}/failurePolicy"), "value": "Ignore"});
        rest.json_patch(&path, &(0..count).map(ignore).collect()).await.unwrap();
    }
}
