//! Edits that violate the policy, and near misses.

use serde_json::{Value as Json, json};

use super::Table;

/// Violations and near misses.
pub(crate) fn hostile() -> Table {
    let mut table = hostile_metadata();
    table.extend(hostile_placement());
    table.extend(hostile_pod());
    table.extend(hostile_volumes());
    table.extend(hostile_security());
    table.extend(hostile_containers());
    table.extend(hostile_resources());
    table
}

fn hostile_metadata() -> Table {
    let filled = |text: &str| json!(text);
    vec![
        (
            "metadata/labels/app",
            vec![
                json!("Workflow-runner"),
                json!("workflow-runner "),
                json!("w\u{43e}rkflow-runner"),
                json!(""),
            ],
        ),
        ("metadata/annotations/kubernetes.io~1config.mirror", vec![json!("x"), json!("")]),
        ("metadata/annotations/kubernetes.io~1config.source", vec![json!("file")]),
        (
            "metadata/annotations/seccomp.security.alpha.kubernetes.io~1pod",
            vec![json!("unconfined"), json!("runtime/default"), json!("localhost/x"), json!("")],
        ),
        (
            "metadata/annotations/container.seccomp.security.alpha.kubernetes.io~1main",
            vec![json!("unconfined"), json!("docker/default")],
        ),
        (
            "metadata/annotations/container.apparmor.security.beta.kubernetes.io~1main",
            vec![json!("unconfined"), json!("runtime/default"), json!("localhost/x"), json!("")],
        ),
        ("metadata/annotations/dev.gvisor.spec.rootfs.source", vec![json!("/")]),
        ("metadata/annotations/dev.gvisor.host-uds", vec![json!("all")]),
        ("metadata/annotations/dev.gvisor.flag.debug", vec![json!("true")]),
        ("metadata/annotations/Dev.gvisor.host-uds", vec![json!("all")]),
        ("metadata/annotations/dev.gvisor.", vec![json!("")]),
        ("metadata/annotations/dev.gvisor.spec.mount.workspace.source", vec![json!("/etc")]),
        (
            "metadata/annotations/dev.gvisor.spec.mount.workspace.type",
            vec![json!("proc"), json!("Tmpfs"), json!("gofer")],
        ),
        (
            "metadata/annotations/dev.gvisor.spec.mount.workspace.options",
            vec![json!("rw,rshared"), json!("rw, exec"), json!("suid,dev")],
        ),
        ("metadata/annotations/dev.gvisor.spec.mount.workspace.share", vec![json!("shared"), json!("Pod")]),
        ("metadata/annotations/dev.gvisor.spec.mount.nothere.type", vec![json!("tmpfs"), json!("bind")]),
        (
            "metadata/annotations/sandgate.dev~1policy",
            vec![json!("other"), json!("workflow-runner"), json!("")],
        ),
        ("metadata/annotations/sandgate.dev~1policy-hash", vec![json!("0")]),
        (
            "metadata/annotations/sandgate.dev~1filled-resources",
            vec![
                filled("main"),
                filled("{}"),
                filled("[\"main\"]"),
                filled("{\"main\":{\"cpu\":\"64\"}}"),
                filled("main:limits.cpu=64"),
            ],
        ),
        (
            "metadata/ownerReferences",
            vec![
                json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": "j", "uid": "1", "controller": true}]),
                json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1", "controller": false}]),
                json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1"}]),
                json!([{"apiVersion": "evil.example.com/v1", "kind": "Job", "name": "j", "uid": "1", "controller": true}]),
                json!([
                    {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1", "controller": false},
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "2", "controller": true},
                ]),
                json!([
                    {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1", "controller": true},
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "2", "controller": true},
                ]),
            ],
        ),
    ]
}

fn hostile_placement() -> Table {
    let term = |values: Json| json!({"matchExpressions": [{"key": "workload-type", "operator": "In", "values": values}]});
    let terms = |terms: Json| json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}});
    let good = term(json!(["workflow-runner"]));
    vec![
        (
            "spec/runtimeClassName",
            vec![json!("runc"), json!("gVisor"), json!("gvisor "), json!("gvis\u{f8}r"), json!("")],
        ),
        ("spec/nodeName", vec![json!("node-1"), json!(" "), json!("")]),
        ("spec/schedulerName", vec![json!("other"), json!("Default-Scheduler"), json!("")]),
        ("spec/priorityClassName", vec![json!("system-node-critical"), json!("")]),
        ("spec/priority", vec![json!(2_000_001_000)]),
        (
            "spec/tolerations+",
            vec![
                json!({"operator": "Exists"}),
                json!({"operator": "Exists", "effect": "NoSchedule"}),
                json!({"key": "", "operator": "Exists"}),
                json!({"key": "sandbox.gke.io/runtime", "operator": "Exists"}),
                json!({"key": "sandbox.gke.io/runtime", "operator": "Equal", "value": "gvisor"}),
                json!({"key": "sandbox.gke.io/runtime", "operator": "Equal", "value": "gvisor", "effect": "NoExecute"}),
                json!({"key": "sandbox.gke.io/runtime", "operator": "equal", "value": "gvisor", "effect": "NoSchedule"}),
                json!({"key": "sandbox.gke.io/runtime", "operator": "Equal", "value": "gvisor", "effect": "NoSchedule", "tolerationSeconds": 5}),
                json!({"key": "sandbox.gke.io/runtime", "operator": "Gt", "value": "gvisor", "effect": "NoSchedule"}),
                json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists"}),
                json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}),
                json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoSchedule"}),
                json!({"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 86400}),
                json!({"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "value": "x", "tolerationSeconds": 300}),
                json!({"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}),
            ],
        ),
        (
            "spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms+",
            vec![
                good.clone(),
                term(json!(["other"])),
                term(json!([])),
                term(json!(["workflow-runner", ""])),
                json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}),
                json!({"matchExpressions": [{"key": "Workload-type", "operator": "In", "values": ["workflow-runner"]}]}),
                json!({"matchExpressions": [{"key": "workload-type", "operator": "in", "values": ["workflow-runner"]}]}),
                json!({}),
            ],
        ),
        (
            "spec/affinity",
            vec![
                terms(json!([])),
                terms(json!([{}])),
                terms(json!([good, {}])),
                terms(json!([good, {"matchExpressions": [], "matchFields": []}])),
                terms(
                    json!([good, {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]),
                ),
                terms(json!([good, {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}])),
                terms(json!([term(json!(["workflow-runner", "other"]))])),
                terms(json!([term(json!(["Workflow-runner"]))])),
                terms(json!([term(json!(["workflow-runner", "workflow-runner"]))])),
                terms(
                    json!([{"matchExpressions": [{"key": "workload-type", "operator": "NotIn", "values": ["workflow-runner"]}]}]),
                ),
                terms(json!([{"matchExpressions": [{"key": "workload-type", "operator": "Exists"}]}])),
                terms(
                    json!([{"matchFields": [{"key": "workload-type", "operator": "In", "values": ["workflow-runner"]}]}]),
                ),
                terms(json!([good, good])),
                terms(json!([good, null])),
            ],
        ),
    ]
}

fn hostile_pod() -> Table {
    vec![
        ("spec/serviceAccountName", vec![json!("admin"), json!("Workflow-runner"), json!("")]),
        ("spec/serviceAccount", vec![json!("admin"), json!("default"), json!("")]),
        ("spec/automountServiceAccountToken", vec![json!(true), json!(null)]),
        ("spec/restartPolicy", vec![json!("Always"), json!("OnFailure"), json!("never"), json!("")]),
        (
            "spec/activeDeadlineSeconds",
            vec![json!(0), json!(-1), json!(3601), json!(4_294_967_297_u64), json!("3600"), json!(null)],
        ),
        ("spec/terminationGracePeriodSeconds", vec![json!(61), json!(-1), json!(4_294_967_297_u64)]),
        ("spec/dnsPolicy", vec![json!("Default"), json!("default"), json!("")]),
        ("spec/hostNetwork", vec![json!(true)]),
        ("spec/hostPID", vec![json!(true), json!("false")]),
        ("spec/hostIPC", vec![json!(true)]),
        ("spec/shareProcessNamespace", vec![json!(true)]),
        ("spec/os", vec![json!({"name": "windows"}), json!({"name": "Linux"}), json!({})]),
        ("spec/resourceClaims", vec![json!([{"name": "gpu", "resourceClaimName": "x"}]), json!([])]),
        ("spec/ephemeralContainers+", vec![json!({"name": "e", "image": "x"})]),
        (
            "spec/initContainers+",
            vec![
                json!({"name": "i", "image": "x", "restartPolicy": "OnFailure"}),
                json!({"name": "i", "image": "x", "restartPolicy": "Always", "resources": {"limits": {"cpu": "1m", "memory": "1Mi", "ephemeral-storage": "1Mi"}}}),
                json!({"name": "i", "image": "x", "securityContext": {"runAsUser": 0}}),
            ],
        ),
        ("spec/newField", vec![json!(true), json!(null)]),
        (
            "spec/containers+",
            vec![
                json!({"name": "late", "image": "x"}),
                json!({"name": "late", "image": "x", "resources": {"limits": {"cpu": "1m", "memory": "1Mi", "ephemeral-storage": "1Mi"}}}),
            ],
        ),
        ("spec/containers", vec![json!("!repeat"), json!([])]),
        ("spec/hostnameOverride", vec![json!("x")]),
        ("spec/evictionResponders", vec![json!([{"name": "example.com/x", "priority": 1}])]),
        ("spec/schedulingGroup", vec![json!({"podGroupName": "g"})]),
    ]
}

fn hostile_volumes() -> Table {
    let volume = |kind: &str, source: Json| json!({"name": "extra", kind: source});
    vec![
        (
            "spec/volumes+",
            vec![
                json!({"name": "extra"}),
                json!({"name": "extra", "emptyDir": {"sizeLimit": "1Gi"}, "hostPath": {"path": "/"}}),
                json!({"name": "extra", "emptyDir": null}),
                json!({"name": "kube-api-access-x", "hostPath": {"path": "/"}}),
                json!({"name": "kube-api-access-x", "projected": {"sources": [{"serviceAccountToken": {"path": "token", "audience": "x"}}]}}),
                volume("hostPath", json!({"path": "/"})),
                volume("hostPath", json!({})),
                volume("hostPath", json!(null)),
                volume("secret", json!({"secretName": "s"})),
                volume("configMap", json!({"name": "c"})),
                volume(
                    "projected",
                    json!({"sources": [{"clusterTrustBundle": {"path": "x"}}, {"podCertificate": {"signerName": "x/y", "keyType": "ED25519"}}]}),
                ),
                volume("downwardAPI", json!({"items": []})),
                volume("csi", json!({"driver": "x"})),
                volume(
                    "ephemeral",
                    json!({"volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": "1Gi"}}}}}),
                ),
                volume("persistentVolumeClaim", json!({"claimName": "c"})),
                volume("image", json!({"reference": "x"})),
                volume("nfs", json!({"server": "s", "path": "/"})),
                volume("iscsi", json!({"targetPortal": "t", "iqn": "i", "lun": 0})),
                volume("awsElasticBlockStore", json!({"volumeID": "v"})),
                volume("azureDisk", json!({"diskName": "d", "diskURI": "u"})),
                volume("azureFile", json!({"secretName": "s", "shareName": "n"})),
                volume("cephfs", json!({"monitors": ["m"]})),
                volume("cinder", json!({"volumeID": "v"})),
                volume("fc", json!({"lun": 1})),
                volume("flexVolume", json!({"driver": "d"})),
                volume("flocker", json!({"datasetName": "d"})),
                volume("gcePersistentDisk", json!({"pdName": "p"})),
                volume("gitRepo", json!({"repository": "r"})),
                volume("glusterfs", json!({"endpoints": "e", "path": "p"})),
                volume("photonPersistentDisk", json!({"pdID": "p"})),
                volume("portworxVolume", json!({"volumeID": "v"})),
                volume("quobyte", json!({"registry": "r", "volume": "v"})),
                volume("rbd", json!({"monitors": ["m"], "image": "i"})),
                volume("scaleIO", json!({"gateway": "g", "system": "s", "secretRef": {"name": "s"}})),
                volume("storageos", json!({"volumeName": "v"})),
                volume("vsphereVolume", json!({"volumePath": "v"})),
                volume("quantumDisk", json!({"id": 1})),
            ],
        ),
        ("spec/volumes", vec![json!("!repeat")]),
        (
            "spec/volumes/*/emptyDir/sizeLimit",
            vec![
                json!("10Gi"),
                json!("10737418241"),
                json!("1073741825"),
                json!("11Gi"),
                json!("1Ei"),
                json!("1E"),
                json!("0"),
                json!("-1"),
                json!(""),
                json!("1e30"),
                json!("4097Mi"),
                json!("1Gi "),
                json!("1n"),
                json!("18446744073709551617"),
                json!(1024),
                json!("0Ki"),
                json!("10.0000000001Gi"),
            ],
        ),
        (
            "spec/volumes/*/emptyDir/medium",
            vec![json!("HugePages"), json!("HugePages-2Mi"), json!("memory"), json!(" ")],
        ),
        ("spec/volumes/*/emptyDir/mode", vec![json!(511)]),
        ("spec/volumes/*/emptyDir", vec![json!({"sizeLimit": "4097Mi", "medium": "Memory"}), json!(null)]),
        ("spec/volumes/*/name", vec![json!("Tmp"), json!("tmp"), json!("workspace"), json!("")]),
    ]
}

fn hostile_security() -> Table {
    let ids = || {
        vec![
            json!(0),
            json!(999),
            json!(1001),
            json!(-1),
            json!(4_294_968_296_u64),
            json!("1000"),
            json!(1000.0),
        ]
    };
    vec![
        ("spec/securityContext/runAsUser", ids()),
        ("spec/securityContext/runAsGroup", ids()),
        ("spec/securityContext/fsGroup", ids()),
        ("spec/securityContext/runAsNonRoot", vec![json!(false), json!("true"), json!(null)]),
        (
            "spec/securityContext/supplementalGroups",
            vec![json!([0]), json!([1000, 0]), json!([4_294_968_296_u64])],
        ),
        ("spec/securityContext/seccompProfile", seccomp()),
        ("spec/securityContext/appArmorProfile", apparmor()),
        ("spec/securityContext/seLinuxOptions", vec![json!({"type": "spc_t"}), json!({"user": " "})]),
        ("spec/securityContext/seLinuxChangePolicy", vec![json!("Recursive")]),
        (
            "spec/securityContext/sysctls",
            vec![
                json!([{"name": "kernel.msgmax", "value": "1"}]),
                json!([{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]),
            ],
        ),
        (
            "spec/securityContext/windowsOptions",
            vec![
                json!({"hostProcess": true}),
                json!({"runAsUserName": "x"}),
                json!({"hostProcess": false}),
                json!({}),
            ],
        ),
        ("C/securityContext/runAsUser", ids()),
        ("C/securityContext/runAsGroup", ids()),
        ("C/securityContext/runAsNonRoot", vec![json!(false), json!(null)]),
        ("C/securityContext/seccompProfile", seccomp()),
        ("C/securityContext/appArmorProfile", apparmor()),
        ("C/securityContext/seLinuxOptions", vec![json!({"level": "s0:c1"}), json!({})]),
        (
            "C/securityContext/windowsOptions",
            vec![json!({"hostProcess": true}), json!({"gmsaCredentialSpec": ""})],
        ),
        ("C/securityContext/privileged", vec![json!(true), json!("false")]),
        ("C/securityContext/allowPrivilegeEscalation", vec![json!(true), json!(null)]),
        ("C/securityContext/readOnlyRootFilesystem", vec![json!(false), json!(null)]),
        ("C/securityContext/procMount", vec![json!("Unmasked"), json!("default"), json!("")]),
        (
            "C/securityContext/capabilities",
            vec![
                json!({"drop": ["all"]}),
                json!({"drop": ["NET_RAW"]}),
                json!({"drop": []}),
                json!({"drop": ["CAP_ALL"]}),
                json!({}),
                json!({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}),
                json!({"drop": ["ALL"], "add": ["ALL"]}),
                json!({"drop": ["ALL"], "add": [""]}),
                json!({"drop": [" ALL"]}),
                json!({"drop": ["ALL", "ALL"]}),
                json!({"add": ["SYS_PTRACE"]}),
                json!({"drop": ["\u{410}LL"]}),
            ],
        ),
    ]
}

fn seccomp() -> Vec<Json> {
    vec![
        json!({"type": "Unconfined"}),
        json!({"type": "Localhost", "localhostProfile": "x"}),
        json!({"type": "runtimedefault"}),
        json!({}),
        json!({"type": "RuntimeDefault", "localhostProfile": "x"}),
        json!({"type": ""}),
        json!(null),
    ]
}

fn apparmor() -> Vec<Json> {
    vec![
        json!({"type": "Unconfined"}),
        json!({"type": "Localhost", "localhostProfile": "x"}),
        json!({"type": "Runtimedefault"}),
        json!({}),
        json!({"type": ""}),
    ]
}

fn hostile_containers() -> Table {
    vec![
        (
            "C/restartPolicy",
            vec![json!("Always"), json!("OnFailure"), json!("Never"), json!("always"), json!("")],
        ),
        (
            "C/restartPolicyRules",
            vec![json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]), json!([])],
        ),
        (
            "C/ports",
            vec![
                json!([{"containerPort": 80, "hostPort": 80}]),
                json!([{"containerPort": 80}, {"containerPort": 81, "hostPort": 65_536}]),
                json!([{"containerPort": 80, "hostIP": "0.0.0.0"}]),
            ],
        ),
        (
            "C/livenessProbe",
            vec![
                json!({"httpGet": {"port": 80, "host": "169.254.169.254"}}),
                json!({"tcpSocket": {"port": 80, "host": " "}}),
            ],
        ),
        ("C/readinessProbe", vec![json!({"tcpSocket": {"port": 80, "host": "127.0.0.1"}})]),
        (
            "C/startupProbe",
            vec![
                json!({"httpGet": {"port": 80, "host": "x"}}),
                json!({"exec": {"command": ["true"]}, "terminationGracePeriodSeconds": 61}),
            ],
        ),
        ("C/livenessProbe/terminationGracePeriodSeconds", vec![json!(3600), json!(-1), json!(0), json!(60)]),
        (
            "C/lifecycle",
            vec![
                json!({"preStop": {"httpGet": {"port": 80, "host": "x"}}}),
                json!({"postStart": {"tcpSocket": {"port": 80, "host": "::1"}}}),
                json!({"preStop": {"httpGet": {"port": 1}}, "postStart": {"httpGet": {"port": 80, "host": "x"}}}),
            ],
        ),
        (
            "C/terminationMessagePath",
            vec![json!("/etc/passwd"), json!("/dev/../etc/x"), json!("/dev/termination-log/"), json!("")],
        ),
        (
            "C/env",
            vec![
                json!([{"name": "F", "valueFrom": {"fileKeyRef": {"volumeName": "tmp", "path": "p", "key": "k"}}}]),
                json!([{"name": "A", "value": "x"}, {"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "tmp", "path": "p", "key": "k", "optional": true}}}]),
            ],
        ),
        (
            "C/volumeDevices",
            vec![
                json!([{"name": "workspace", "devicePath": "/workspace/d"}]),
                json!([{"name": "tmp", "devicePath": "/dev/sda"}]),
                json!([]),
            ],
        ),
        (
            "C/volumeMounts+",
            vec![
                json!({"name": "tmp", "mountPath": "/"}),
                json!({"name": "tmp", "mountPath": "/etc"}),
                json!({"name": "tmp", "mountPath": "//workspace/../etc"}),
                json!({"name": "tmp", "mountPath": "/workspaces"}),
                json!({"name": "tmp", "mountPath": "/Workspace"}),
                json!({"name": "tmp", "mountPath": "/tmp/../tmp"}),
                json!({"name": "tmp", "mountPath": "workspace"}),
                json!({"name": "tmp", "mountPath": ""}),
                json!({"name": "tmp", "mountPath": "/tmp\u{2215}x"}),
                json!({"name": "tmp", "mountPath": "/./tmp//z"}),
                json!({"name": "tmp", "mountPath": "/data", "readOnly": true, "mountPropagation": "Bidirectional"}),
                json!({"name": "tmp", "mountPath": "/data/../etc", "readOnly": true}),
                json!({"name": "tmp", "mountPath": "/data", "readOnly": false}),
                json!({"name": "tmp", "mountPath": "/data", "readOnly": null}),
                json!({"name": "tmp", "mountPath": "/tmp\\..\\etc"}),
                json!({"name": "nothere", "mountPath": "/nothere"}),
                json!({"name": "tmp", "mountPath": "/data", "recursiveReadOnly": "Enabled"}),
            ],
        ),
        (
            "C/volumeMounts/*/subPath",
            vec![json!("../x"), json!("a/.."), json!("/etc"), json!("a..b"), json!("..."), json!("")],
        ),
        ("C/volumeMounts/*/subPathExpr", vec![json!("$(A)/../x"), json!(".."), json!("/$(A)"), json!("a/b")]),
        (
            "C/volumeMounts/*/mountPropagation",
            vec![json!("Bidirectional"), json!("bidirectional"), json!("")],
        ),
        ("C/volumeMounts/*/bindMountOptions", vec![json!(["exec"])]),
        (
            "C/volumeMounts/*/mountPath",
            vec![json!("/etc"), json!("/workspace/.."), json!("/proc"), json!("/tmp")],
        ),
        ("C/newField", vec![json!(1)]),
        ("C/image", vec![json!(""), json!("!remove"), json!("x@sha256:0")]),
        ("C/name", vec![json!("main"), json!(""), json!("Main")]),
    ]
}

fn hostile_resources() -> Table {
    let amounts = || -> Vec<Json> {
        [
            "2001m",
            "2",
            "2.0000000001",
            "2000m",
            "4294967297",
            "4294967296",
            "4Gi",
            "4Gi1",
            "4G",
            "5Gi",
            "10Gi",
            "10737418241",
            "1e3",
            "1E",
            "1E3",
            "1Ei",
            "0.5",
            "0",
            "-1",
            "",
            "1n",
            "1u",
            "0x10",
            " 1",
            "1K",
            "1ki",
            "\u{ff11}",
            "00002",
            "+1",
            ".5",
            "5.",
            "1e-3",
            "9223372036854775808",
            "1e99",
            "1e-99",
            "1e2147483648",
        ]
        .into_iter()
        .map(Json::from)
        .chain([json!(2), json!(0.5), json!(null)])
        .collect()
    };
    vec![
        ("C/resources/limits/cpu", amounts()),
        ("C/resources/limits/memory", amounts()),
        ("C/resources/limits/ephemeral-storage", amounts()),
        ("C/resources/requests/cpu", amounts()),
        ("C/resources/requests/memory", amounts()),
        ("C/resources/limits/nvidia.com~1gpu", vec![json!("1"), json!("0")]),
        ("C/resources/requests/hugepages-2Mi", vec![json!("2Mi")]),
        ("C/resources/limits/CPU", vec![json!("1")]),
        ("C/resources/claims", vec![json!([{"name": "gpu"}]), json!([])]),
        (
            "spec/overhead",
            vec![
                json!({"cpu": "250m", "memory": "120Mi"}),
                json!({"memory": "4Gi"}),
                json!({"cpu": "-1"}),
                json!({"cpu": "2001m"}),
                json!({"example.com/x": "1"}),
            ],
        ),
        ("spec/overhead/cpu", amounts()),
        (
            "spec/resources",
            vec![
                json!({"limits": {"cpu": "64"}}),
                json!({"requests": {"memory": "5Gi"}}),
                json!({"limits": {"hugepages-2Mi": "2Mi"}}),
                json!({"claims": [{"name": "x"}]}),
            ],
        ),
        ("spec/resources/limits/cpu", amounts()),
        ("spec/resources/limits/memory", amounts()),
    ]
}
