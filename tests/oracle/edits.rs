//! The tables of edits: where, and what is put there.
//!
//! `C/` begins a path inside some container of any kind, `*` is some item of a list, `~1` is a slash in a key, a
//! trailing `+` puts the value into the list instead of replacing it; `!remove` and `!repeat` are changes too.

mod hostile;

use serde_json::{Value as Json, json};

pub(crate) use hostile::hostile;

/// Paths, each with the values that are put there.
pub(crate) type Table = Vec<(&'static str, Vec<Json>)>;

/// What the policy allows, on its own or together with its neighbours.
pub(crate) fn sound() -> Table {
    let mut table = sound_pod();
    table.extend(sound_containers());
    table
}

fn sound_pod() -> Table {
    vec![
        ("metadata/labels/tier", vec![json!("batch"), json!("")]),
        ("metadata/annotations/example.com~1note", vec![json!("hello"), json!("")]),
        ("metadata/annotations/dev.gvisor.spec.mount.workspace.type", vec![json!("tmpfs"), json!("bind")]),
        (
            "metadata/annotations/dev.gvisor.spec.mount.workspace.share",
            vec![json!("container"), json!("pod")],
        ),
        ("metadata/annotations/dev.gvisor.spec.mount.tmp.options", vec![json!("rw,rprivate"), json!("rw")]),
        ("metadata/generateName", vec![json!("x-")]),
        ("metadata/finalizers", vec![json!(["example.com/x"])]),
        (
            "metadata/ownerReferences",
            vec![
                json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1", "controller": true}]),
                json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "2", "controller": true}]),
            ],
        ),
        ("spec/restartPolicy", vec![json!("Never"), json!("!remove")]),
        ("spec/activeDeadlineSeconds", vec![json!(1), json!(3599), json!(3600), json!("!remove")]),
        ("spec/terminationGracePeriodSeconds", vec![json!(0), json!(1), json!(30), json!(60)]),
        ("spec/dnsPolicy", vec![json!("ClusterFirst"), json!("None"), json!("ClusterFirstWithHostNet")]),
        ("spec/dnsConfig", vec![json!({"nameservers": ["192.0.2.1"], "searches": ["x"]})]),
        ("spec/enableServiceLinks", vec![json!(true), json!(false)]),
        ("spec/hostAliases", vec![json!([{"ip": "192.0.2.1", "hostnames": ["a"]}])]),
        ("spec/hostUsers", vec![json!(false), json!(true)]),
        ("spec/hostNetwork", vec![json!(false)]),
        ("spec/hostname", vec![json!("h")]),
        ("spec/subdomain", vec![json!("s")]),
        ("spec/setHostnameAsFQDN", vec![json!(true)]),
        ("spec/imagePullSecrets", vec![json!([{"name": "pull"}])]),
        ("spec/nodeSelector", vec![json!({"kubernetes.io/arch": "amd64"})]),
        ("spec/overhead", vec![json!({}), json!({"cpu": "0"})]),
        ("spec/os", vec![json!({"name": "linux"})]),
        ("spec/preemptionPolicy", vec![json!("Never")]),
        ("spec/priority", vec![json!(0)]),
        ("spec/readinessGates", vec![json!([{"conditionType": "example.com/ready"}])]),
        ("spec/runtimeClassName", vec![json!("gvisor"), json!("!remove")]),
        ("spec/schedulerName", vec![json!("default-scheduler")]),
        ("spec/schedulingGates", vec![json!([{"name": "example.com/wait"}])]),
        ("spec/serviceAccountName", vec![json!("default"), json!("workflow-runner"), json!("!remove")]),
        ("spec/serviceAccount", vec![json!("workflow-runner")]),
        ("spec/automountServiceAccountToken", vec![json!(false), json!("!remove")]),
        ("spec/shareProcessNamespace", vec![json!(false)]),
        ("spec/resources", vec![json!({}), json!({"limits": {"cpu": "2", "memory": "4Gi"}})]),
        ("spec/tolerations", vec![json!([]), json!("!repeat"), json!("!remove")]),
        (
            "spec/tolerations+",
            vec![
                json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}),
                json!({"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}),
                json!({"key": "sandbox.gke.io/runtime", "value": "gvisor", "effect": "NoSchedule"}),
            ],
        ),
        (
            "spec/topologySpreadConstraints",
            vec![
                json!([{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"app": "workflow-runner"}}}]),
            ],
        ),
        (
            "spec/affinity",
            vec![
                json!({}),
                json!(null),
                json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}}]}}),
                json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}]}}),
                json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                    {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]},
                    {"matchExpressions": [{"key": "zone", "operator": "Exists"}]},
                    {},
                ]}}}),
            ],
        ),
        ("spec/securityContext", vec![json!({}), json!(null), json!("!remove")]),
        ("spec/securityContext/fsGroupChangePolicy", vec![json!("OnRootMismatch")]),
        ("spec/securityContext/supplementalGroups", vec![json!([]), json!([1000]), json!([1000, 1000])]),
        ("spec/securityContext/supplementalGroupsPolicy", vec![json!("Strict"), json!("Merge")]),
        ("spec/securityContext/appArmorProfile", vec![json!({"type": "RuntimeDefault"})]),
        ("spec/securityContext/seLinuxOptions", vec![json!({}), json!({"level": ""})]),
        ("spec/securityContext/sysctls", vec![json!([])]),
        ("spec/volumes", vec![json!([]), json!("!remove")]),
        (
            "spec/volumes+",
            vec![
                json!({"name": "cache", "emptyDir": {"sizeLimit": "500Mi"}}),
                json!({"name": "memory", "emptyDir": {"sizeLimit": "64Mi", "medium": "Memory"}}),
                json!({"name": "bare", "emptyDir": {}}),
                token_volume(),
            ],
        ),
        (
            "spec/volumes/*/emptyDir/sizeLimit",
            vec![json!("1Gi"), json!("1"), json!("0.5Gi"), json!("!remove")],
        ),
        ("spec/volumes/*/emptyDir/medium", vec![json!(""), json!("Memory")]),
    ]
}

/// As the API server's `ServiceAccount` admission adds it.
pub(crate) fn token_volume() -> Json {
    json!({"name": "kube-api-access-abcde", "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}

fn sound_containers() -> Table {
    vec![
        ("C/command", vec![json!(["sh"]), json!([])]),
        ("C/args", vec![json!(["-c", "true"])]),
        ("C/workingDir", vec![json!("/workspace"), json!("/")]),
        ("C/imagePullPolicy", vec![json!("Always")]),
        ("C/stdin", vec![json!(true)]),
        ("C/tty", vec![json!(true)]),
        (
            "C/env",
            vec![
                json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),
                json!([{"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
                json!([{"name": "F", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
                json!([{"name": "R", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}}]),
            ],
        ),
        (
            "C/envFrom",
            vec![json!([{"configMapRef": {"name": "c"}, "prefix": "P_"}, {"secretRef": {"name": "s"}}])],
        ),
        (
            "C/ports",
            vec![json!([{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 81, "hostPort": 0}])],
        ),
        (
            "C/livenessProbe",
            vec![
                json!({"httpGet": {"port": "http", "path": "/", "httpHeaders": [{"name": "Host", "value": "x"}]}}),
                json!({"grpc": {"port": 1, "service": "s"}, "terminationGracePeriodSeconds": 60}),
                json!({"exec": {"command": ["true"]}, "periodSeconds": 5}),
            ],
        ),
        ("C/readinessProbe", vec![json!({"tcpSocket": {"port": 80, "host": ""}})]),
        ("C/startupProbe", vec![json!({"httpGet": {"port": 80, "scheme": "HTTPS", "host": ""}})]),
        (
            "C/lifecycle",
            vec![json!({"preStop": {"sleep": {"seconds": 1}}, "postStart": {"exec": {"command": ["true"]}}})],
        ),
        ("C/lifecycle/stopSignal", vec![json!("SIGTERM")]),
        ("C/resizePolicy", vec![json!([{"resourceName": "cpu", "restartPolicy": "NotRequired"}])]),
        ("C/resources", vec![json!({}), json!(null), json!("!remove")]),
        (
            "C/resources/limits/cpu",
            vec![json!("100m"), json!("0.5"), json!("5e2m"), json!("1"), json!("!remove")],
        ),
        ("C/resources/limits/memory", vec![json!("64Mi"), json!("1e9"), json!("1G"), json!("!remove")]),
        ("C/resources/limits/ephemeral-storage", vec![json!("1Gi"), json!("1073741824"), json!("!remove")]),
        ("C/resources/requests/cpu", vec![json!("0"), json!("1m"), json!("!remove")]),
        ("C/resources/requests/memory", vec![json!("1Mi"), json!("!remove")]),
        ("C/securityContext", vec![json!({}), json!("!remove")]),
        ("C/securityContext/runAsUser", vec![json!(1000)]),
        ("C/securityContext/runAsGroup", vec![json!(1000)]),
        ("C/securityContext/runAsNonRoot", vec![json!(true)]),
        ("C/securityContext/privileged", vec![json!(false)]),
        ("C/securityContext/seccompProfile", vec![json!({"type": "RuntimeDefault"})]),
        ("C/securityContext/appArmorProfile", vec![json!({"type": "RuntimeDefault"})]),
        ("C/securityContext/procMount", vec![json!("Default")]),
        (
            "C/securityContext/capabilities",
            vec![json!({"drop": ["ALL"], "add": []}), json!({"drop": ["NET_RAW", "ALL"]})],
        ),
        ("C/terminationMessagePath", vec![json!("/dev/termination-log")]),
        ("C/terminationMessagePolicy", vec![json!("FallbackToLogsOnError")]),
        (
            "C/volumeMounts+",
            vec![
                json!({"name": "tmp", "mountPath": "/data", "readOnly": true}),
                json!({"name": "workspace", "mountPath": "/workspace/x/", "subPath": "a/b"}),
                json!({"name": "tmp", "mountPath": "//tmp/./y", "subPathExpr": "$(A)"}),
                json!({"name": "cache", "mountPath": "/tmp/cache", "mountPropagation": "None"}),
                json!({"name": "kube-api-access-abcde", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true}),
            ],
        ),
        ("C/volumeMounts/*/mountPropagation", vec![json!("HostToContainer"), json!("None")]),
        ("C/volumeMounts/*/recursiveReadOnly", vec![json!("Disabled")]),
    ]
}
