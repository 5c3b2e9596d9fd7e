//! Pods that try to get out of the sandbox. None of them is ever stored.

use std::{collections::BTreeSet, fs, path::Path};

use sandgate_engine::rules::ALL;
use serde_json::{Value, json};

use crate::{
    examples::{complete_pod, plain_pod},
    sandbox::Sandbox,
};
use testbed::{Denial, Version};

/// One way out: what it is called, the rule that closes it, and how a pod takes it.
pub(crate) type Attempt = (&'static str, &'static str, fn(&mut Value));

#[tokio::test]
async fn no_hostile_pod_is_stored_and_each_denial_names_the_rule() {
    let sandbox = Sandbox::new().await;
    make_what_they_refer_to(&sandbox).await;
    let mut stray = Vec::new();
    for base in [plain_pod, complete_pod] {
        for (name, rule, change) in attempts() {
            let answer = attempt(&sandbox, base, change).await;
            let named = answer.as_ref().is_err_and(|denial| denial.names(rule));
            if !named {
                stray.push(describe(name, rule, answer));
            }
        }
    }
    assert!(stray.is_empty(), "{}", stray.join("\n"));
    assert_eq!(sandbox.pods().await, Vec::<Value>::new());
}

/// What fills is not what validates: the validating webhook alone must stop them too.
#[tokio::test]
async fn no_hostile_pod_passes_the_validating_webhook_alone() {
    let sandbox = Sandbox::validating_only().await;
    make_what_they_refer_to(&sandbox).await;
    let mut stray = Vec::new();
    for (name, rule, change) in attempts() {
        let answer = attempt(&sandbox, complete_pod, change).await;
        if !answer.as_ref().is_err_and(|denial| is_stopped_by_validate(denial, rule)) {
            stray.push(describe(name, rule, answer));
        }
    }
    assert!(stray.is_empty(), "{}", stray.join("\n"));
    assert_eq!(sandbox.pods().await, Vec::<Value>::new());
}

/// Every rule has a Pod in `examples/denied`; some have a policy there that denies it.
#[tokio::test]
async fn no_pod_of_the_examples_is_stored_and_each_denial_names_the_rule() {
    let (of_default_policy, of_other_policies): (Vec<_>, Vec<_>) = examples()
        .into_iter()
        .filter(|example| is_kept(example.rule))
        .partition(|example| example.settings == json!({}));
    let sandbox = Sandbox::new().await;
    let mut stray = stray_examples(&sandbox, &of_default_policy, Denial::names).await;
    for example in of_other_policies {
        let sandbox = Sandbox::with(&json!({}), &example.settings).await;
        stray.extend(stray_examples(&sandbox, &[example], Denial::names).await);
    }
    let validating = Sandbox::validating_only().await;
    stray.extend(stray_examples(&validating, &of_default_policy, is_stopped_by_validate).await);
    assert!(stray.is_empty(), "{}", stray.join("\n"));
}

/// Rules that no Pod violates at the API server: variables and affinities are filled, and the API server drops what the
/// Pod API does not have.
const NOT_ATTEMPTED: [&str; 3] = ["env", "node-affinity", "pod-schema"];

#[test]
fn every_rule_is_attempted() {
    let attempted: BTreeSet<&str> = examples().iter().map(|example| example.rule).collect();
    let rules = ALL.iter().map(|rule| rule.id).filter(|rule| !NOT_ATTEMPTED.contains(rule));
    let forgotten: Vec<&str> = rules.filter(|rule| !attempted.contains(rule)).collect();
    assert!(forgotten.is_empty(), "examples/denied has no Pod that violates {forgotten:?}");
}

/// A Pod of `examples/denied`.
struct Example {
    rule: &'static str,
    pod: Value,
    /// The settings of the policy that denies it.
    settings: Value,
}

fn examples() -> Vec<Example> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/denied");
    let read = |path: String| -> Option<Value> {
        let text = fs::read_to_string(folder.join(path)).ok()?;
        Some(serde_saphyr::from_str(&text).expect("an example is YAML"))
    };
    let example = |rule: &'static str| {
        let pod = read(format!("{rule}.yaml"))?;
        let policy = read(format!("policies/{rule}.yaml"));
        Some(Example { rule, pod, settings: policy.map_or(json!({}), |mut policy| policy["spec"].take()) })
    };
    let rules = ALL.iter().map(|rule| rule.id).filter(|rule| !NOT_ATTEMPTED.contains(rule));
    rules.filter_map(example).collect()
}

/// Returns what of the examples is stored, or denied for another reason.
async fn stray_examples(
    sandbox: &Sandbox,
    examples: &[Example],
    is_stopped: fn(&Denial, &str) -> bool,
) -> Vec<String> {
    make_what_they_refer_to(sandbox).await;
    let mut stray = Vec::new();
    for Example { rule, pod, .. } in examples {
        let mut pod = pod.clone();
        pod["metadata"]["namespace"] = json!(sandbox.namespace);
        let answer = sandbox.create(&pod).await;
        if !answer.as_ref().is_err_and(|denial| is_stopped(denial, rule)) {
            stray.push(describe(&format!("examples/denied/{rule}.yaml"), rule, answer));
        }
    }
    assert_eq!(sandbox.pods().await, Vec::<Value>::new());
    stray
}

/// A Pod that is no valid one to the API server (Windows, a sub-path that climbs) comes to no validating webhook.
fn is_stopped_by_validate(denial: &Denial, rule: &str) -> bool {
    let is_ours = denial.message.contains("\"validate.sandgate.dev\" denied the request");
    if is_ours { denial.names(rule) } else { denial.code == 422 }
}

async fn attempt(
    sandbox: &Sandbox,
    base: fn(&str) -> Value,
    change: fn(&mut Value),
) -> Result<Value, Denial> {
    let mut pod = base("hostile");
    change(&mut pod);
    sandbox.create(&pod).await
}

fn describe(name: &str, rule: &str, answer: Result<Value, Denial>) -> String {
    match answer {
        Ok(pod) => format!("{name} was stored, {rule} should have denied it: {}", pod["spec"]),
        Err(denial) => format!("{name} was denied, but not by {rule}: {denial}"),
    }
}

/// Else the API server itself denies a pod with another account before it asks anybody.
pub(crate) async fn make_what_they_refer_to(sandbox: &Sandbox) {
    let accounts = format!("/api/v1/namespaces/{}/serviceaccounts", sandbox.namespace);
    sandbox
        .rest
        .post(&accounts, &json!({"metadata": {"name": "builder"}}))
        .await
        .expect("an account is made");
}

/// The first Kubernetes 1.`minor` that keeps the fields of an attempt, or of the example of a rule. An older one drops
/// them, and what is left attempts nothing.
const KEPT_SINCE: [(&str, u8); 11] = [
    ("an unmasked /proc", 33),
    ("proc-mount", 33),
    ("a large pod", 34),
    ("pod-budget", 34),
    ("a claim of devices", 34),
    ("resource-claims", 34),
    ("a restart by rule", 35),
    ("container-restart-rules", 35),
    ("an image as a volume", 35),
    ("a file that the kubelet reads", 35),
    ("file-key-ref", 35),
];

fn is_kept(name: &str) -> bool {
    let version = Version::chosen().expect("a version");
    KEPT_SINCE.iter().all(|(dropped, minor)| *dropped != name || version.is_at_least(*minor))
}

pub(crate) fn attempts() -> Vec<Attempt> {
    [host_attempts(), identity_attempts(), privilege_attempts(), placement_attempts(), volume_attempts()]
        .into_iter()
        .chain([resource_attempts(), lifecycle_attempts(), other_container_attempts()])
        .flatten()
        .filter(|(name, _, _)| is_kept(name))
        .collect()
}

fn host_attempts() -> Vec<Attempt> {
    vec![
        ("the host's network", "host-namespaces", |pod| pod["spec"]["hostNetwork"] = json!(true)),
        ("the host's processes", "host-namespaces", |pod| pod["spec"]["hostPID"] = json!(true)),
        ("the host's IPC", "host-namespaces", |pod| pod["spec"]["hostIPC"] = json!(true)),
        ("a shared process namespace", "shared-process-namespace", |pod| {
            pod["spec"]["shareProcessNamespace"] = json!(true);
        }),
        ("a host port", "host-ports", |pod| {
            main(pod)["ports"] = json!([{"containerPort": 80, "hostPort": 80}]);
        }),
        ("the node's resolver", "dns-policy", |pod| pod["spec"]["dnsPolicy"] = json!("Default")),
        ("a probe of the metadata server", "probe-hosts", |pod| {
            main(pod)["livenessProbe"] = json!({"httpGet": {"host": "169.254.169.254", "port": 80}});
        }),
        ("a hook to another host", "probe-hosts", |pod| {
            main(pod)["lifecycle"] = json!({"preStop": {"httpGet": {"host": "10.0.0.1", "port": 80}}});
        }),
        ("a sysctl", "sysctls", |pod| {
            security(pod, json!({"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}));
        }),
        ("Windows", "windows", |pod| pod["spec"]["os"] = json!({"name": "windows"})),
        ("a Windows user", "windows", |pod| {
            security(pod, json!({"windowsOptions": {"runAsUserName": "Administrator"}}));
        }),
        ("a Windows host process", "windows", |pod| {
            security(pod, json!({"windowsOptions": {"hostProcess": true}}));
        }),
    ]
}

fn identity_attempts() -> Vec<Attempt> {
    vec![
        ("another service account", "service-account", |pod| {
            pod["spec"]["serviceAccountName"] = json!("builder");
        }),
        ("another account by the old alias", "service-account", |pod| {
            without_account(pod);
            pod["spec"]["serviceAccount"] = json!("builder");
        }),
        ("an automatic token", "token-volumes", |pod| {
            pod["spec"]["automountServiceAccountToken"] = json!(true);
        }),
        ("a projected token", "token-volumes", |pod| {
            add_volume(pod, json!({"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}));
        }),
        ("a token in disguise", "token-volumes", |pod| {
            let volumes = list(&mut pod["spec"], "volumes");
            volumes.push(json!({"name": "kube-api-access-x", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token"}}, {"secret": {"name": "s"}}
            ]}}));
        }),
        ("a mirror of a static pod", "mirror-pod", |pod| {
            // The API server denies mirror pods with an account by itself.
            without_account(pod);
            pod["spec"]["nodeName"] = json!("node-1");
            pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        }),
        ("another value of the label", "labels", |pod| pod["metadata"]["labels"] = json!({"app": "web"})),
    ]
}

fn privilege_attempts() -> Vec<Attempt> {
    vec![
        ("privileged", "privileged", |pod| {
            main_security(pod, json!({"privileged": true, "allowPrivilegeEscalation": null}));
        }),
        ("privilege escalation", "privilege-escalation", |pod| {
            main_security(pod, json!({"allowPrivilegeEscalation": true}));
        }),
        ("SYS_ADMIN", "capabilities", |pod| {
            main_security(pod, json!({"capabilities": {"add": ["SYS_ADMIN"]}}));
        }),
        ("all capabilities", "capabilities", |pod| {
            main_security(pod, json!({"capabilities": {"drop": ["ALL"], "add": ["ALL"]}}));
        }),
        ("a writable root", "read-only-root", |pod| {
            main_security(pod, json!({"readOnlyRootFilesystem": false}));
        }),
        ("an unmasked /proc", "proc-mount", |pod| {
            pod["spec"]["hostUsers"] = json!(false);
            main_security(pod, json!({"procMount": "Unmasked"}));
        }),
        ("root, for the pod", "run-as-user", |pod| security(pod, json!({"runAsUser": 0}))),
        ("root, for a container", "run-as-user", |pod| main_security(pod, json!({"runAsUser": 0}))),
        ("perhaps root", "run-as-non-root", |pod| main_security(pod, json!({"runAsNonRoot": false}))),
        ("perhaps root, in a user namespace", "run-as-non-root", |pod| {
            pod["spec"]["hostUsers"] = json!(false);
            main_security(pod, json!({"runAsNonRoot": false}));
        }),
        ("the root group", "run-as-group", |pod| main_security(pod, json!({"runAsGroup": 0}))),
        ("files of the root group", "fs-group", |pod| security(pod, json!({"fsGroup": 0}))),
        ("one more group", "supplemental-groups", |pod| security(pod, json!({"supplementalGroups": [0]}))),
        ("no seccomp, for the pod", "seccomp", |pod| {
            security(pod, json!({"seccompProfile": {"type": "Unconfined"}}));
        }),
        ("no seccomp, for a container", "seccomp", |pod| {
            main_security(pod, json!({"seccompProfile": {"type": "Unconfined"}}));
        }),
        ("no AppArmor", "apparmor", |pod| {
            main_security(pod, json!({"appArmorProfile": {"type": "Unconfined"}}));
        }),
        ("no AppArmor, the old way", "apparmor", |pod| {
            let key = "container.apparmor.security.beta.kubernetes.io/main";
            pod["metadata"]["annotations"] = json!({key: "unconfined"});
        }),
        ("another SELinux type", "selinux", |pod| {
            main_security(pod, json!({"seLinuxOptions": {"type": "spc_t"}}));
        }),
    ]
}

fn placement_attempts() -> Vec<Attempt> {
    vec![
        ("another runtime class", "runtime-class", |pod| pod["spec"]["runtimeClassName"] = json!("runc")),
        ("an order to runsc", "gvisor-annotations", |pod| {
            pod["metadata"]["annotations"] = json!({"dev.gvisor.flag.host-uds": "all"});
        }),
        ("an order to another runtime", "annotations", |pod| {
            pod["metadata"]["annotations"] =
                json!({"io.katacontainers.config.hypervisor.machine_type": "q35"});
        }),
        ("a node of its choice", "node-name", |pod| pod["spec"]["nodeName"] = json!("node-1")),
        ("a toleration of everything", "tolerations", |pod| {
            list(&mut pod["spec"], "tolerations").push(json!({"operator": "Exists"}));
        }),
        ("a toleration of the control plane", "tolerations", |pod| {
            let taint = "node-role.kubernetes.io/control-plane";
            list(&mut pod["spec"], "tolerations")
                .push(json!({"key": taint, "operator": "Exists", "effect": "NoSchedule"}));
        }),
        ("another scheduler", "scheduler", |pod| pod["spec"]["schedulerName"] = json!("mine")),
        ("a critical priority", "priority-class", |pod| {
            pod["spec"]["priorityClassName"] = json!("system-node-critical");
        }),
        ("a zone without anybody else", "pod-anti-affinity", |pod| {
            let everybody = json!({"topologyKey": "topology.kubernetes.io/zone", "labelSelector": {}});
            pod["spec"]["affinity"]["podAntiAffinity"] =
                json!({"requiredDuringSchedulingIgnoredDuringExecution": [everybody]});
        }),
    ]
}

fn volume_attempts() -> Vec<Attempt> {
    vec![
        ("the host's disk", "volume-types", |pod| add_volume(pod, json!({"hostPath": {"path": "/"}}))),
        ("the host's disk in place of the token", "volume-types", |pod| {
            list(&mut pod["spec"], "volumes")
                .push(json!({"name": "kube-api-access-x", "hostPath": {"path": "/"}}));
        }),
        ("a secret in files", "volume-types", |pod| add_volume(pod, json!({"secret": {"secretName": "s"}}))),
        ("a config map in files", "volume-types", |pod| add_volume(pod, json!({"configMap": {"name": "c"}}))),
        ("a claim", "volume-types", |pod| {
            add_volume(pod, json!({"persistentVolumeClaim": {"claimName": "c"}}));
        }),
        ("a CSI driver", "volume-types", |pod| add_volume(pod, json!({"csi": {"driver": "d.example.com"}}))),
        ("NFS", "volume-types", |pod| add_volume(pod, json!({"nfs": {"server": "10.0.0.1", "path": "/"}}))),
        ("an image as a volume", "volume-types", |pod| {
            add_volume(pod, json!({"image": {"reference": "x:1"}}));
        }),
        ("a disk without bound", "empty-dir", |pod| {
            add_volume(pod, json!({"emptyDir": {"sizeLimit": "1Ti"}}));
        }),
        ("memory without bound", "empty-dir", |pod| {
            add_volume(pod, json!({"emptyDir": {"medium": "Memory", "sizeLimit": "64Gi"}}));
        }),
        ("a writable /etc", "writable-paths", |pod| mount(pod, json!({"mountPath": "/etc"}))),
        ("a path that climbs", "writable-paths", |pod| mount(pod, json!({"mountPath": "/workspace/../etc"}))),
        ("a sub-path that climbs", "sub-paths", |pod| {
            mount(pod, json!({"mountPath": "/tmp/x", "subPath": "../.."}));
        }),
        ("an expanded sub-path that climbs", "sub-paths", |pod| {
            mount(pod, json!({"mountPath": "/tmp/x", "subPathExpr": "$(HOME)/../.."}));
        }),
        ("a mount on the host", "mount-propagation", |pod| {
            main_security(pod, json!({"privileged": true, "allowPrivilegeEscalation": null}));
            mount(pod, json!({"mountPath": "/tmp/x", "mountPropagation": "Bidirectional"}));
        }),
        ("a block device", "volume-devices", |pod| {
            add_volume(pod, json!({"persistentVolumeClaim": {"claimName": "c"}}));
            main(pod)["volumeDevices"] = json!([{"name": "extra", "devicePath": "/dev/sda"}]);
        }),
        ("a file that the kubelet reads", "file-key-ref", |pod| {
            add_volume(pod, json!({"emptyDir": {"sizeLimit": "1Mi"}}));
            let file = json!({"volumeName": "extra", "path": "env", "key": "K"});
            main(pod)["env"] = json!([{"name": "K", "valueFrom": {"fileKeyRef": file}}]);
        }),
        ("a termination log elsewhere", "termination-message-path", |pod| {
            main(pod)["terminationMessagePath"] = json!("/etc/passwd");
        }),
    ]
}

fn resource_attempts() -> Vec<Attempt> {
    vec![
        ("64 processors", "resource-limits", |pod| resources(pod, json!({"limits": {"cpu": "64"}}))),
        ("much memory in small units", "resource-limits", |pod| {
            resources(pod, json!({"limits": {"memory": "9999999999999m"}}));
        }),
        ("a large request", "resource-limits", |pod| {
            resources(pod, json!({"requests": {"memory": "1Ti"}, "limits": {"memory": "1Ti"}}));
        }),
        ("64 processors that the annotation claims we filled", "resource-limits", |pod| {
            resources(pod, json!({"limits": {"cpu": "64"}}));
            let filled = json!({"main": {"limits": {"cpu": "128"}}}).to_string();
            pod["metadata"]["annotations"] = json!({"sandgate.dev/filled-resources": filled});
        }),
        ("a graphics card", "resource-kinds", |pod| {
            resources(pod, json!({"limits": {"nvidia.com/gpu": "1"}}));
        }),
        ("huge pages", "resource-kinds", |pod| {
            resources(pod, json!({"limits": {"hugepages-2Mi": "2Mi", "cpu": "1", "memory": "1Gi"}}));
        }),
        ("a large pod", "pod-budget", |pod| pod["spec"]["resources"] = json!({"limits": {"cpu": "64"}})),
        ("a claim of devices", "resource-claims", |pod| {
            pod["spec"]["resourceClaims"] = json!([{"name": "gpu", "resourceClaimName": "gpu"}]);
        }),
    ]
}

fn lifecycle_attempts() -> Vec<Attempt> {
    vec![
        ("a day", "active-deadline", |pod| pod["spec"]["activeDeadlineSeconds"] = json!(86_400)),
        ("a long grace period", "grace-period", |pod| {
            pod["spec"]["terminationGracePeriodSeconds"] = json!(3_600);
        }),
        ("a restart of the pod", "restart-policy", |pod| pod["spec"]["restartPolicy"] = json!("OnFailure")),
        ("a restart of the container", "container-restart-rules", |pod| {
            main(pod)["restartPolicy"] = json!("Always");
        }),
        ("a restart by rule", "container-restart-rules", |pod| {
            let rule = json!({"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}});
            merge(main(pod), json!({"restartPolicy": "Never", "restartPolicyRules": [rule]}));
        }),
    ]
}

/// The same in a container that is easily overlooked.
fn other_container_attempts() -> Vec<Attempt> {
    vec![
        ("a privileged init container", "privileged", |pod| {
            let container = json!({"name": "init", "image": "x", "securityContext": {"privileged": true}});
            pod["spec"]["initContainers"] = json!([container]);
        }),
        ("a sidecar with SYS_ADMIN", "capabilities", |pod| {
            let add = json!({"capabilities": {"add": ["SYS_ADMIN"]}});
            let container =
                json!({"name": "proxy", "image": "x", "restartPolicy": "Always", "securityContext": add});
            pod["spec"]["initContainers"] = json!([container]);
        }),
        ("a second container as root", "run-as-user", |pod| {
            list(&mut pod["spec"], "containers")
                .push(json!({"name": "second", "image": "x", "securityContext": {"runAsUser": 0}}));
        }),
    ]
}

pub(crate) fn main(pod: &mut Value) -> &mut Value {
    &mut pod["spec"]["containers"][0]
}

/// Sets fields of the pod's security context.
fn security(pod: &mut Value, fields: Value) {
    merge(&mut pod["spec"]["securityContext"], fields);
}

/// Sets fields of the container's security context.
fn main_security(pod: &mut Value, fields: Value) {
    merge(&mut main(pod)["securityContext"], fields);
}

fn resources(pod: &mut Value, fields: Value) {
    merge(&mut main(pod)["resources"], fields);
}

/// Sets what `fields` sets and leaves the rest, as a merge patch does.
pub(crate) fn merge(value: &mut Value, fields: Value) {
    match fields {
        Value::Object(fields) => fields.into_iter().for_each(|(key, field)| merge(&mut value[&key], field)),
        field => *value = field,
    }
}

/// A volume called `extra`.
fn add_volume(pod: &mut Value, mut volume: Value) {
    volume["name"] = json!("extra");
    list(&mut pod["spec"], "volumes").push(volume);
}

/// A mount of a harmless volume called `space`.
fn mount(pod: &mut Value, mut mount: Value) {
    list(&mut pod["spec"], "volumes").push(json!({"name": "space", "emptyDir": {"sizeLimit": "1Mi"}}));
    mount["name"] = json!("space");
    list(main(pod), "volumeMounts").push(mount);
}

pub(crate) fn list<'o>(object: &'o mut Value, key: &str) -> &'o mut Vec<Value> {
    let list = &mut object[key];
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut().expect("a list")
}

fn without_account(pod: &mut Value) {
    pod["spec"].as_object_mut().expect("an object").remove("serviceAccountName");
}
