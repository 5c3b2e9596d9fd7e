//! For each rule: edits of a sound Pod that violate it and no other, and edits that go as far as it allows.
//!
//! The notation is that of [`crate::places`].

use serde_json::{Value as Json, json};

use crate::{generator, oracle, places::Table};

/// The policy that a room stands under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Under {
    Default,
    /// Names the registry, the Secrets, and more volume types.
    Named,
    /// Wants images pinned, and no Secret in the environment.
    Sealed,
}

impl Under {
    pub(crate) fn settings(self) -> Json {
        match self {
            Self::Default => json!({}),
            Self::Named => json!({
                "images": {"allowedPrefixes": ["registry.example.com"]},
                "secrets": {"allowedNames": ["s", "t"]},
                "volumes": {"allowed": ["emptyDir", "configMap", "secret"]},
            }),
            Self::Sealed => json!({"images": {"requireDigest": true}, "secrets": {"environment": false}}),
        }
    }

    pub(crate) fn policy(self) -> oracle::Policy {
        match self {
            Self::Default => oracle::DEFAULT,
            Self::Named => oracle::Policy {
                image_prefixes: &["registry.example.com"],
                secrets: &["s", "t"],
                volume_types: &["emptyDir", "configMap", "secret"],
                ..oracle::DEFAULT
            },
            Self::Sealed => {
                oracle::Policy { wants_digest: true, secrets_in_environment: false, ..oracle::DEFAULT }
            }
        }
    }

    /// A Pod that violates nothing.
    pub(crate) fn base(self) -> Json {
        let mut pod = generator::complete();
        if self == Self::Sealed {
            pod["spec"]["containers"][0]["image"] = json!(pinned());
        }
        pod
    }
}

fn pinned() -> String {
    format!("registry.example.com/runner:1@sha256:{}", "0a".repeat(32))
}

pub(crate) struct Room {
    pub(crate) rule: &'static str,
    pub(crate) under: Under,
    pub(crate) violating: Table,
    pub(crate) edge: Table,
}

fn room(rule: &'static str, violating: Table, edge: Table) -> Room {
    Room { rule, under: Under::Default, violating, edge }
}

/// Rules that more than one policy is needed for stand here more than once.
pub(crate) fn all() -> Vec<Room> {
    let mut rooms = of_metadata();
    rooms.extend(of_placement());
    rooms.extend(of_identity_and_lifecycle());
    rooms.extend(of_users());
    rooms.extend(of_privileges());
    rooms.extend(of_confinement());
    rooms.extend(of_isolation());
    rooms.extend(of_volumes());
    rooms.extend(of_mounts());
    rooms.extend(of_resources());
    rooms.extend(of_other_policies());
    rooms
}

fn of_metadata() -> Vec<Room> {
    vec![
        room(
            "pod-shape",
            vec![
                ("spec/newField", vec![json!(true), json!({})]),
                ("spec/Containers", vec![json!([])]),
                ("C/stdin", vec![json!("true"), json!(1)]),
                ("C/command", vec![json!("sh"), json!([null])]),
                ("spec/hostAliases", vec![json!("x"), json!([null])]),
                ("spec/containers/*/ports", vec![json!([{"containerPort": 80.5}])]),
                ("spec/containers/*/livenessProbe", vec![json!({"periodSeconds": u64::MAX})]),
                ("spec/priority", vec![json!(i64::MAX.unsigned_abs() + 1)]),
                ("metadata/annotations/example.com~1note", vec![json!(1), json!([])]),
                ("metadata/finalizers", vec![json!([1])]),
                ("spec/schedulingGroup", vec![json!({"podGroupName": "g"})]),
            ],
            vec![
                ("spec/newField", vec![json!(null)]),
                ("spec/priority", vec![json!(i32::MAX)]),
                ("status", vec![json!({"phase": "Pending"})]),
                ("C/ports", vec![json!([{"containerPort": 65_535, "name": "http", "protocol": "SCTP"}])]),
                ("metadata/managedFields", vec![json!([])]),
            ],
        ),
        room(
            "labels",
            vec![(
                "metadata/labels/app",
                vec![json!("Workflow-runner"), json!(""), json!("w\u{43e}rkflow-runner")],
            )],
            vec![
                ("metadata/labels/App", vec![json!("other")]),
                ("metadata/labels/app", vec![json!("workflow-runner"), json!("!remove")]),
            ],
        ),
        room(
            "mirror-pod",
            vec![("metadata/annotations/kubernetes.io~1config.mirror", vec![json!("x"), json!("")])],
            vec![
                ("metadata/annotations/kubernetes.io~1config.source", vec![json!("file")]),
                ("metadata/annotations/kubernetes.io~1config.mirrors", vec![json!("x")]),
                ("metadata/annotations/Kubernetes.io~1config.mirror", vec![json!("x")]),
            ],
        ),
        room(
            "runtime-class",
            vec![(
                "spec/runtimeClassName",
                vec![json!("runc"), json!("gVisor"), json!("gvisor "), json!("")],
            )],
            vec![("spec/runtimeClassName", vec![json!("gvisor"), json!(null), json!("!remove")])],
        ),
        room(
            "gvisor-annotations",
            vec![
                ("metadata/annotations/dev.gvisor.host-uds", vec![json!("all"), json!("")]),
                (
                    "metadata/annotations/dev.gvisor.spec.mount.workspace.type",
                    vec![json!("tmpfs"), json!("Bind")],
                ),
                ("metadata/annotations/dev.gvisor.spec.mount.workspace.options", vec![json!("rw,rshared")]),
                ("metadata/annotations/dev.gvisor.spec.mount.workspace.source", vec![json!("/etc")]),
                ("metadata/annotations/dev.gvisor.spec.mount.nothere.type", vec![json!("bind")]),
            ],
            vec![
                ("metadata/annotations/dev.gvisor.spec.mount.workspace.type", vec![json!("bind")]),
                (
                    "metadata/annotations/dev.gvisor.spec.mount.tmp.share",
                    vec![json!("pod"), json!("container")],
                ),
                ("metadata/annotations/dev.gvisor.spec.mount.tmp.options", vec![json!("ro,rprivate")]),
                ("metadata/annotations/dev.gvisor", vec![json!("x")]),
                ("metadata/annotations/x.dev.gvisor.host-uds", vec![json!("all")]),
            ],
        ),
    ]
}

fn of_placement() -> Vec<Room> {
    let term = |values: Json| json!({"matchExpressions": [{"key": "workload-type", "operator": "In", "values": values}]});
    let terms = |terms: Json| json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}});
    let good = term(json!(["workflow-runner"]));
    let zone = json!({"key": "zone", "operator": "Exists"});
    vec![
        room(
            "node-affinity",
            vec![(
                "spec/affinity",
                vec![
                    json!({}),
                    terms(json!([])),
                    terms(json!([good, term(json!(["other"]))])),
                    terms(json!([term(json!(["workflow-runner", "other"]))])),
                    terms(
                        json!([good, {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]),
                    ),
                ],
            )],
            vec![(
                "spec/affinity",
                vec![
                    terms(json!([good, {}])),
                    terms(json!([good, good])),
                    terms(json!([term(json!(["workflow-runner", "workflow-runner"]))])),
                    terms(json!([{"matchExpressions": [zone, good["matchExpressions"][0]]}])),
                ],
            )],
        ),
        room(
            "tolerations",
            vec![(
                "spec/tolerations+",
                vec![
                    json!({"operator": "Exists"}),
                    json!({"key": "sandbox.gke.io/runtime", "operator": "Exists"}),
                    json!({"key": "sandbox.gke.io/runtime", "operator": "Equal", "value": "gvisor"}),
                    json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}),
                    json!({"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}),
                ],
            )],
            vec![
                ("spec/tolerations", vec![json!("!repeat")]),
                (
                    "spec/tolerations+",
                    vec![
                        json!({"key": "sandbox.gke.io/runtime", "value": "gvisor", "effect": "NoSchedule"}),
                        json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}),
                        json!({"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}),
                    ],
                ),
            ],
        ),
        room(
            "node-name",
            vec![("spec/nodeName", vec![json!("node-1"), json!(" ")])],
            vec![("spec/nodeName", vec![json!(""), json!(null)])],
        ),
        room(
            "scheduler",
            vec![("spec/schedulerName", vec![json!("other"), json!("Default-Scheduler")])],
            vec![("spec/schedulerName", vec![json!("default-scheduler"), json!(null)])],
        ),
        room(
            "priority-class",
            vec![("spec/priorityClassName", vec![json!("system-node-critical"), json!(" ")])],
            vec![("spec/priorityClassName", vec![json!(""), json!(null)])],
        ),
        anti_affinity(),
    ]
}

fn anti_affinity() -> Room {
    const PLACE: &str = "spec/affinity/podAntiAffinity";
    let required = |terms: Json| json!({"requiredDuringSchedulingIgnoredDuringExecution": terms});
    let away =
        |topology: &str| json!({"topologyKey": topology, "labelSelector": {"matchLabels": {"app": "x"}}});
    let away_with = |field: &str, value: Json| {
        let mut term = away("kubernetes.io/hostname");
        term[field] = value;
        term
    };
    let preferred = json!({"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 100, "podAffinityTerm": away("topology.kubernetes.io/zone")},
    ]});
    room(
        "pod-anti-affinity",
        vec![(
            PLACE,
            vec![
                required(json!([away("topology.kubernetes.io/zone")])),
                required(json!([away("Kubernetes.io/hostname")])),
                required(json!([away_with("namespaces", json!(["kube-system"]))])),
                required(json!([away_with("namespaceSelector", json!({}))])),
                required(json!([away("kubernetes.io/hostname"), away("")])),
            ],
        )],
        vec![(
            PLACE,
            vec![
                required(json!([away("kubernetes.io/hostname")])),
                required(json!([away_with("namespaces", json!([]))])),
                required(json!([])),
                preferred,
            ],
        )],
    )
}

fn of_identity_and_lifecycle() -> Vec<Room> {
    let sidecar = json!({
        "name": "proxy", "image": "registry.example.com/proxy:1", "restartPolicy": "Always",
        "securityContext": hardened(), "resources": tiny(),
    });
    let mut beside_a_sidecar = generator::complete()["spec"].take();
    beside_a_sidecar["containers"][0]["resources"] = tiny();
    beside_a_sidecar["initContainers"] = json!([sidecar]);
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1", "controller": true});
    let metadata = json!({
        "name": "of-a-job", "namespace": "workflows", "labels": {"app": "workflow-runner"}, "ownerReferences": [job],
    });
    vec![
        room(
            "service-account",
            vec![
                (
                    "spec/serviceAccountName",
                    vec![json!("admin"), json!("Workflow-runner"), json!("default ")],
                ),
                ("spec/serviceAccount", vec![json!("admin")]),
            ],
            vec![
                ("spec/serviceAccountName", vec![json!("default"), json!(""), json!("!remove")]),
                ("spec/serviceAccount", vec![json!("workflow-runner"), json!("default"), json!("")]),
            ],
        ),
        room(
            "token-volumes",
            vec![("spec/automountServiceAccountToken", vec![json!(true), json!(null)])],
            vec![
                ("spec/automountServiceAccountToken", vec![json!(false), json!("!remove")]),
                ("spec/volumes+", vec![crate::places::token_volume()]),
            ],
        ),
        room(
            "restart-policy",
            vec![(
                "spec/restartPolicy",
                vec![json!("OnFailure"), json!("never"), json!(""), json!("Always")],
            )],
            vec![
                ("spec/restartPolicy", vec![json!("!remove"), json!("Always"), json!("Never")]),
                ("metadata", vec![metadata]),
            ],
        ),
        room(
            "container-restart-rules",
            vec![
                (
                    "spec/containers/*/restartPolicy",
                    vec![json!("Always"), json!("OnFailure"), json!("never")],
                ),
                (
                    "C/restartPolicyRules",
                    vec![json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}])],
                ),
            ],
            vec![
                ("spec/containers/*/restartPolicy", vec![json!("Never"), json!(null)]),
                ("C/restartPolicyRules", vec![json!([])]),
                ("spec", vec![beside_a_sidecar]),
            ],
        ),
        room(
            "active-deadline",
            vec![(
                "spec/activeDeadlineSeconds",
                vec![json!(0), json!(-1), json!(3601), json!(4_294_967_297_u64)],
            )],
            vec![("spec/activeDeadlineSeconds", vec![json!(1), json!(3600), json!("!remove")])],
        ),
        room(
            "grace-period",
            vec![
                ("spec/terminationGracePeriodSeconds", vec![json!(61), json!(-1), json!(4_294_967_297_u64)]),
                (
                    "C/livenessProbe",
                    vec![json!({"exec": {"command": ["true"]}, "terminationGracePeriodSeconds": 61})],
                ),
            ],
            vec![
                ("spec/terminationGracePeriodSeconds", vec![json!(0), json!(60)]),
                (
                    "C/livenessProbe",
                    vec![json!({"exec": {"command": ["true"]}, "terminationGracePeriodSeconds": 60})],
                ),
            ],
        ),
    ]
}

fn of_users() -> Vec<Room> {
    let ids = || vec![json!(0), json!(999), json!(1001), json!(-1), json!(4_294_968_296_u64)];
    let set = || vec![json!(1000), json!(null), json!("!remove")];
    vec![
        room(
            "run-as-non-root",
            vec![
                ("spec/securityContext/runAsNonRoot", vec![json!(false), json!(null)]),
                ("C/securityContext/runAsNonRoot", vec![json!(false)]),
            ],
            vec![
                ("spec/securityContext/runAsNonRoot", vec![json!(true), json!("!remove")]),
                ("C/securityContext/runAsNonRoot", vec![json!(true)]),
            ],
        ),
        room(
            "run-as-user",
            vec![("spec/securityContext/runAsUser", ids()), ("C/securityContext/runAsUser", ids())],
            vec![
                ("spec/securityContext/runAsUser", set()),
                ("C/securityContext/runAsUser", vec![json!(1000)]),
            ],
        ),
        room(
            "run-as-group",
            vec![("spec/securityContext/runAsGroup", ids()), ("C/securityContext/runAsGroup", ids())],
            vec![
                ("spec/securityContext/runAsGroup", set()),
                ("C/securityContext/runAsGroup", vec![json!(1000)]),
            ],
        ),
        room(
            "fs-group",
            vec![("spec/securityContext/fsGroup", ids())],
            vec![("spec/securityContext/fsGroup", set())],
        ),
        room(
            "supplemental-groups",
            vec![("spec/securityContext/supplementalGroups", vec![json!([0]), json!([1000, 1001])])],
            vec![(
                "spec/securityContext/supplementalGroups",
                vec![json!([1000]), json!([1000, 1000]), json!([])],
            )],
        ),
    ]
}

fn hardened() -> Json {
    json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}})
}

fn tiny() -> Json {
    let amounts = json!({"cpu": "1m", "memory": "1Mi", "ephemeral-storage": "1Mi"});
    json!({"limits": amounts, "requests": amounts})
}

fn of_privileges() -> Vec<Room> {
    vec![
        room(
            "privileged",
            vec![("C/securityContext/privileged", vec![json!(true)])],
            vec![("C/securityContext/privileged", vec![json!(false), json!(null)])],
        ),
        room(
            "privilege-escalation",
            vec![("C/securityContext/allowPrivilegeEscalation", vec![json!(true), json!(null)])],
            vec![
                ("C/securityContext/allowPrivilegeEscalation", vec![json!(false)]),
                ("spec/containers/*/securityContext/allowPrivilegeEscalation", vec![json!("!remove")]),
            ],
        ),
        room(
            "capabilities",
            vec![(
                "C/securityContext/capabilities",
                vec![
                    json!({"drop": ["all"]}),
                    json!({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}),
                    json!({"drop": ["ALL"], "add": [""]}),
                    json!({"drop": ["\u{410}LL"]}),
                ],
            )],
            vec![
                (
                    "C/securityContext/capabilities",
                    vec![json!({"drop": ["ALL"], "add": []}), json!({"drop": ["NET_RAW", "ALL", "ALL"]})],
                ),
                ("spec/containers/*/securityContext/capabilities", vec![json!({}), json!("!remove")]),
            ],
        ),
        room(
            "read-only-root",
            vec![("C/securityContext/readOnlyRootFilesystem", vec![json!(false), json!(null)])],
            vec![
                ("C/securityContext/readOnlyRootFilesystem", vec![json!(true)]),
                ("spec/containers/*/securityContext/readOnlyRootFilesystem", vec![json!("!remove")]),
            ],
        ),
    ]
}

fn of_confinement() -> Vec<Room> {
    let default = || json!({"type": "RuntimeDefault"});
    let others = || {
        vec![
            json!({"type": "Unconfined"}),
            json!({"type": "Localhost", "localhostProfile": "x"}),
            json!({"type": "runtimeDefault"}),
            json!({}),
        ]
    };
    vec![
        room(
            "seccomp",
            vec![
                ("spec/securityContext/seccompProfile", others()),
                ("C/securityContext/seccompProfile", others()),
                ("metadata/annotations/seccomp.security.alpha.kubernetes.io~1pod", vec![json!("unconfined")]),
                (
                    "metadata/annotations/container.seccomp.security.alpha.kubernetes.io~1main",
                    vec![json!("localhost/x")],
                ),
            ],
            vec![
                ("spec/securityContext/seccompProfile", vec![default(), json!("!remove")]),
                ("C/securityContext/seccompProfile", vec![default()]),
                (
                    "metadata/annotations/container.seccomp.security.alpha.kubernetes.io~1main",
                    vec![json!("runtime/default")],
                ),
            ],
        ),
        room(
            "apparmor",
            vec![
                ("spec/securityContext/appArmorProfile", others()),
                ("C/securityContext/appArmorProfile", others()),
                (
                    "metadata/annotations/container.apparmor.security.beta.kubernetes.io~1main",
                    vec![json!("unconfined"), json!("localhost/x")],
                ),
            ],
            vec![
                ("spec/securityContext/appArmorProfile", vec![default()]),
                ("C/securityContext/appArmorProfile", vec![default()]),
                (
                    "metadata/annotations/container.apparmor.security.beta.kubernetes.io~1main",
                    vec![json!("runtime/default")],
                ),
            ],
        ),
        room(
            "selinux",
            vec![
                ("spec/securityContext/seLinuxOptions", vec![json!({"type": "spc_t"}), json!({"user": " "})]),
                ("C/securityContext/seLinuxOptions", vec![json!({"level": "s0:c1"})]),
            ],
            vec![
                ("spec/securityContext/seLinuxOptions", vec![json!({}), json!({"level": ""})]),
                ("C/securityContext/seLinuxOptions", vec![json!({"type": ""})]),
            ],
        ),
        room(
            "proc-mount",
            vec![("C/securityContext/procMount", vec![json!("Unmasked"), json!("default")])],
            vec![("C/securityContext/procMount", vec![json!("Default"), json!(null)])],
        ),
        room(
            "sysctls",
            vec![("spec/securityContext/sysctls", vec![json!([{"name": "kernel.msgmax", "value": "1"}])])],
            vec![("spec/securityContext/sysctls", vec![json!([]), json!(null)])],
        ),
        room(
            "windows",
            vec![
                ("spec/os", vec![json!({"name": "windows"}), json!({"name": "Linux"})]),
                ("spec/securityContext/windowsOptions", vec![json!({"hostProcess": true}), json!({})]),
                ("C/securityContext/windowsOptions", vec![json!({"runAsUserName": "x"})]),
            ],
            vec![
                ("spec/os", vec![json!({"name": "linux"}), json!({})]),
                ("C/securityContext/windowsOptions", vec![json!(null)]),
            ],
        ),
    ]
}

fn of_isolation() -> Vec<Room> {
    vec![
        room(
            "host-namespaces",
            vec![
                ("spec/hostNetwork", vec![json!(true)]),
                ("spec/hostPID", vec![json!(true)]),
                ("spec/hostIPC", vec![json!(true)]),
            ],
            vec![("spec/hostNetwork", vec![json!(false)]), ("spec/hostPID", vec![json!(null)])],
        ),
        room(
            "shared-process-namespace",
            vec![("spec/shareProcessNamespace", vec![json!(true)])],
            vec![("spec/shareProcessNamespace", vec![json!(false), json!(null)])],
        ),
        room(
            "host-ports",
            vec![("C/ports", vec![json!([{"containerPort": 80}, {"containerPort": 81, "hostPort": 1}])])],
            vec![("C/ports", vec![json!([{"containerPort": 65_535, "hostPort": 0, "hostIP": "0.0.0.0"}])])],
        ),
        room(
            "probe-hosts",
            vec![
                ("C/livenessProbe", vec![json!({"httpGet": {"port": 80, "host": "169.254.169.254"}})]),
                ("C/readinessProbe", vec![json!({"tcpSocket": {"port": 80, "host": "127.0.0.1"}})]),
                ("C/startupProbe", vec![json!({"httpGet": {"port": 80, "host": " "}})]),
                ("C/lifecycle", vec![json!({"preStop": {"httpGet": {"port": 80, "host": "x"}}})]),
                ("C/lifecycle", vec![json!({"postStart": {"tcpSocket": {"port": 80, "host": "::1"}}})]),
            ],
            vec![
                ("C/readinessProbe", vec![json!({"tcpSocket": {"port": 80, "host": ""}})]),
                ("C/livenessProbe", vec![json!({"httpGet": {"port": "http", "host": ""}})]),
                ("C/lifecycle", vec![json!({"preStop": {"httpGet": {"port": 80, "host": null}}})]),
            ],
        ),
        room(
            "dns-policy",
            vec![("spec/dnsPolicy", vec![json!("Default"), json!("clusterFirst")])],
            vec![("spec/dnsPolicy", vec![json!("None"), json!("ClusterFirstWithHostNet"), json!(null)])],
        ),
        room(
            "termination-message-path",
            vec![("C/terminationMessagePath", vec![json!("/etc/passwd"), json!("/dev/termination-log/")])],
            vec![("C/terminationMessagePath", vec![json!("/dev/termination-log"), json!(""), json!(null)])],
        ),
    ]
}

fn of_volumes() -> Vec<Room> {
    let named = |name: &str, size: &str| json!({"name": name, "emptyDir": {"sizeLimit": size}});
    let in_memory =
        |size: &str| json!({"name": "memory", "emptyDir": {"sizeLimit": size, "medium": "Memory"}});
    let volume = |kind: &str, source: Json| json!({"name": "extra", kind: source});
    vec![
        room(
            "volume-types",
            vec![(
                "spec/volumes+",
                vec![
                    volume("hostPath", json!({"path": "/"})),
                    volume("secret", json!({"secretName": "s"})),
                    volume("configMap", json!({"name": "c"})),
                    volume("persistentVolumeClaim", json!({"claimName": "c"})),
                    volume("csi", json!({"driver": "x"})),
                    volume("image", json!({"reference": "x"})),
                    volume("nfs", json!({})),
                    json!({"name": "extra", "emptyDir": {"sizeLimit": "1Gi"}, "hostPath": {"path": "/"}}),
                ],
            )],
            vec![(
                "spec/volumes+",
                vec![json!({"name": "extra"}), json!({"name": "extra", "emptyDir": {}, "hostPath": null})],
            )],
        ),
        room(
            "empty-dir",
            vec![
                (
                    "spec/volumes+",
                    vec![
                        named("cache", "10737418241"),
                        named("cache", "10.0000000001Gi"),
                        named("cache", "0"),
                        named("cache", "-1"),
                        named("cache", "1E"),
                        in_memory("4294967297"),
                        json!({"name": "huge", "emptyDir": {"sizeLimit": "1Gi", "medium": "HugePages-2Mi"}}),
                    ],
                ),
                ("spec/volumes/*/emptyDir/sizeLimit", vec![json!("11Gi"), json!("0Ki")]),
            ],
            vec![
                (
                    "spec/volumes+",
                    vec![
                        named("cache", "10Gi"),
                        named("cache", "10737418240"),
                        named("cache", "1n"),
                        in_memory("4Gi"),
                        in_memory("4294967296"),
                    ],
                ),
                ("spec/volumes/*/emptyDir/sizeLimit", vec![json!("1Gi"), json!("1"), json!("!remove")]),
            ],
        ),
    ]
}

fn of_mounts() -> Vec<Room> {
    let mount = |path: &str| json!({"name": "tmp", "mountPath": path});
    let with = |key: &str, value: &str| json!({"name": "tmp", "mountPath": "/tmp/x", key: value});
    vec![
        room(
            "writable-paths",
            vec![(
                "C/volumeMounts+",
                vec![
                    mount("/"),
                    mount("/etc"),
                    mount("/workspaces"),
                    mount("//workspace/../etc"),
                    mount("/tmp/.."),
                    mount("workspace/x"),
                    mount("/Tmp/x"),
                    json!({"name": "tmp", "mountPath": "/data/../x", "readOnly": true}),
                ],
            )],
            vec![(
                "C/volumeMounts+",
                vec![
                    mount("/tmp/x"),
                    mount("/workspace/x/"),
                    mount("//tmp/./y"),
                    mount("/tmp/..x"),
                    json!({"name": "tmp", "mountPath": "/data", "readOnly": true}),
                ],
            )],
        ),
        room(
            "sub-paths",
            vec![(
                "C/volumeMounts+",
                vec![
                    with("subPath", "../x"),
                    with("subPath", "a/.."),
                    with("subPath", "/etc"),
                    with("subPathExpr", "$(A)/../x"),
                    with("subPathExpr", "/$(A)"),
                ],
            )],
            vec![(
                "C/volumeMounts+",
                vec![
                    with("subPath", "a..b"),
                    with("subPath", "..."),
                    with("subPath", ""),
                    with("subPathExpr", "$(A)/b"),
                ],
            )],
        ),
        room(
            "volume-devices",
            vec![("C/volumeDevices", vec![json!([{"name": "workspace", "devicePath": "/dev/x"}])])],
            vec![("C/volumeDevices", vec![json!([]), json!(null)])],
        ),
        room(
            "mount-propagation",
            vec![(
                "C/volumeMounts+",
                vec![with("mountPropagation", "Bidirectional"), with("mountPropagation", "none")],
            )],
            vec![(
                "C/volumeMounts+",
                vec![with("mountPropagation", "HostToContainer"), with("mountPropagation", "None")],
            )],
        ),
        room(
            "file-key-ref",
            vec![(
                "C/env",
                vec![
                    json!([{"name": "F", "valueFrom": {"fileKeyRef": {"volumeName": "tmp", "path": "p", "key": "k"}}}]),
                    json!([{"name": "A", "value": "x"}, {"name": "F", "valueFrom": {"fileKeyRef": {}}}]),
                ],
            )],
            vec![(
                "C/env",
                vec![
                    json!([{"name": "F", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
                    json!([{"name": "F", "valueFrom": {"fileKeyRef": null}}]),
                ],
            )],
        ),
    ]
}

fn of_resources() -> Vec<Room> {
    let container = |cpu: &str, memory: &str| {
        let limits = json!({"cpu": cpu, "memory": memory, "ephemeral-storage": "1Gi"});
        let requests = json!({"cpu": "1m", "memory": "1Mi", "ephemeral-storage": "1Mi"});
        json!({
            "name": "second", "image": "registry.example.com/runner:1", "securityContext": hardened(),
            "resources": {"limits": limits, "requests": requests},
        })
    };
    let halves = |cpu: &str, memory: &str| {
        let (mut first, second) = (container(cpu, memory), container("1", "2Gi"));
        first["name"] = json!("main");
        json!([first, second])
    };
    let init = |cpu: &str, memory: &str| {
        let mut init = container(cpu, memory);
        init["name"] = json!("init");
        init
    };
    vec![
        room(
            "resource-kinds",
            vec![
                ("C/resources/limits/nvidia.com~1gpu", vec![json!("1"), json!("0")]),
                ("C/resources/requests/hugepages-2Mi", vec![json!("2Mi")]),
                ("spec/resources/limits/hugepages-2Mi", vec![json!("2Mi")]),
                ("C/resources/limits/CPU", vec![json!("1")]),
            ],
            vec![
                (
                    "spec/resources",
                    vec![json!({"limits": {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "10Gi"}})],
                ),
                ("C/resources/limits/nvidia.com~1gpu", vec![json!(null)]),
            ],
        ),
        room(
            "resource-claims",
            vec![
                ("spec/resourceClaims", vec![json!([{"name": "gpu", "resourceClaimName": "x"}])]),
                ("C/resources/claims", vec![json!([{"name": "gpu"}])]),
                ("spec/resources/claims", vec![json!([{"name": "gpu"}])]),
            ],
            vec![("spec/resourceClaims", vec![json!([])]), ("C/resources/claims", vec![json!([])])],
        ),
        room(
            "resource-limits",
            vec![
                (
                    "spec/containers/*/resources/limits/cpu",
                    vec![json!("0"), json!("-1"), json!("1K"), json!("")],
                ),
                ("spec/containers/*/resources/limits/memory", vec![json!("0"), json!("\u{ff11}")]),
                (
                    "spec/containers/*/resources/requests/cpu",
                    vec![json!("2001m"), json!("2.0000000001"), json!("-1m")],
                ),
                (
                    "spec/containers/*/resources/requests/ephemeral-storage",
                    vec![json!("10737418241"), json!("1E")],
                ),
            ],
            vec![
                (
                    "spec/containers/*/resources/limits/cpu",
                    vec![json!("2"), json!("2000m"), json!(2), json!("2e0"), json!("!remove")],
                ),
                ("spec/containers/*/resources/limits/memory", vec![json!("4294967296"), json!("4096Mi")]),
                (
                    "spec/containers/*/resources/limits/ephemeral-storage",
                    vec![json!("10Gi"), json!("10737418240")],
                ),
                ("spec/containers/*/resources/requests/cpu", vec![json!("2"), json!("0"), json!("1n")]),
            ],
        ),
        room(
            "pod-budget",
            vec![
                ("spec/containers", vec![halves("1001m", "2Gi"), halves("1", "2147483649")]),
                ("spec/overhead", vec![json!({"cpu": "1m"}), json!({"memory": "1"}), json!({"cpu": "-1"})]),
                (
                    "spec/resources",
                    vec![
                        json!({"limits": {"cpu": "64"}}),
                        json!({"requests": {"memory": "4294967297"}}),
                        json!({"limits": {"cpu": "0"}}),
                    ],
                ),
            ],
            vec![
                ("spec/containers", vec![halves("1", "2Gi"), halves("1000m", "2147483648")]),
                ("spec/overhead", vec![json!({"cpu": "0"}), json!({"memory": "0Gi"})]),
                (
                    "spec/resources",
                    vec![json!({"limits": {"cpu": "2"}}), json!({"requests": {"memory": "4Gi"}})],
                ),
                ("spec/initContainers+", vec![init("2", "4Gi")]),
            ],
        ),
    ]
}

/// Rules that the default policy leaves open.
fn of_other_policies() -> Vec<Room> {
    let from_secret =
        |name: &str| json!([{"name": "S", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}]);
    let all_of = |name: &str| json!([{"prefix": "P_"}, {"secretRef": {"name": name}}]);
    let file = |name: &str| json!({"name": "extra", "secret": {"secretName": name}});
    let image = |text: &str| json!(text);
    vec![
        Room {
            rule: "images",
            under: Under::Named,
            violating: vec![(
                "spec/containers/*/image",
                vec![
                    image("evil.example.com/x"),
                    image("registry.example.com.evil/x"),
                    image("Registry.example.com/x"),
                    image("registry.example.co"),
                    image(" registry.example.com/x"),
                ],
            )],
            edge: vec![(
                "spec/containers/*/image",
                vec![
                    image("registry.example.com"),
                    image("registry.example.com:5000/x"),
                    image("registry.example.com/x@sha256:0"),
                ],
            )],
        },
        Room {
            rule: "images",
            under: Under::Sealed,
            violating: vec![(
                "spec/containers/*/image",
                vec![
                    image("registry.example.com/runner:1"),
                    json!(format!("x@sha256:{}", "0".repeat(63))),
                    json!(format!("x@sha256:{}g", "0".repeat(63))),
                    json!(format!("x@sha512:{}", "0".repeat(64))),
                ],
            )],
            edge: vec![("spec/containers/*/image", vec![json!(format!("x@sha256:{}", "F".repeat(64)))])],
        },
        Room {
            rule: "secrets",
            under: Under::Named,
            violating: vec![
                ("C/env", vec![from_secret("u"), from_secret("S"), from_secret("")]),
                ("C/envFrom", vec![all_of("u"), all_of("s ")]),
                ("spec/volumes+", vec![file("u"), json!({"name": "extra", "secret": {}})]),
            ],
            edge: vec![
                ("C/env", vec![from_secret("s"), from_secret("t")]),
                ("C/envFrom", vec![all_of("t")]),
                ("spec/volumes+", vec![file("s")]),
            ],
        },
        Room {
            rule: "secrets",
            under: Under::Sealed,
            violating: vec![("C/env", vec![from_secret("s")]), ("C/envFrom", vec![all_of("s")])],
            edge: vec![
                (
                    "C/env",
                    vec![json!([{"name": "M", "valueFrom": {"configMapKeyRef": {"name": "s", "key": "k"}}}])],
                ),
                ("C/envFrom", vec![json!([{"configMapRef": {"name": "s"}}])]),
            ],
        },
        Room {
            rule: "volume-types",
            under: Under::Named,
            violating: vec![(
                "spec/volumes+",
                vec![
                    json!({"name": "extra", "hostPath": {"path": "/"}}),
                    json!({"name": "extra", "downwardAPI": {}}),
                ],
            )],
            edge: vec![(
                "spec/volumes+",
                vec![json!({"name": "extra", "configMap": {"name": "c"}}), file("t")],
            )],
        },
    ]
}
