//! Words and amounts that mean something to a Pod: values for fields that are filled at random.

pub(crate) static INTEGERS: &[i64] =
    &[0, 1, -1, 30, 60, 61, 80, 420, 999, 1000, 1000, 1001, 3600, 3601, 65_535, 2_147_483_647];

pub(crate) static QUANTITIES: &[&str] =
    &["0", "1", "2", "500m", "100m", "2001m", "64Mi", "1Gi", "4Gi", "5Gi", "10Gi", "1Ti", "-1", "1e3", ".5"];

/// What may stand in the string field `name`, or in the list of strings `name`.
pub(crate) fn strings(name: &str) -> &'static [&'static str] {
    match name {
        "kind" => &["Pod", "Job", "ReplicaSet", "Shared"],
        "apiVersion" => &["v1", "batch/v1", "apps/v1"],
        "restartPolicy" => &["Always", "OnFailure", "Never", "RestartContainer"],
        "dnsPolicy" => &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
        "procMount" => &["Default", "Unmasked"],
        "type" => &["RuntimeDefault", "Unconfined", "Localhost", "spc_t", "Directory"],
        "mountPropagation" => &["None", "HostToContainer", "Bidirectional"],
        "recursiveReadOnly" => &["Disabled", "Enabled"],
        "medium" => &["", "Memory", "HugePages"],
        "operator" => &["In", "NotIn", "Exists", "DoesNotExist", "Equal", "Gt"],
        "effect" => &["NoSchedule", "NoExecute", "PreferNoSchedule"],
        "key" => &["workload-type", "sandbox.gke.io/runtime", "node.kubernetes.io/not-ready", "app", "x"],
        "value" | "values" => &["workflow-runner", "gvisor", "0", ""],
        "host" => &["", "169.254.169.254", "localhost"],
        "hostIP" | "ip" | "nameservers" => &["", "0.0.0.0", "192.0.2.1"],
        "mountPath" => &["/workspace", "/workspace/x", "/tmp/x", "/etc", "/tmp/../etc", "/"],
        "subPath" | "subPathExpr" => &["", "a", "a/b", "../x", "/x", "$(A)"],
        "name" => &["main", "tmp", "workspace", "extra", "linux", "windows", "x", "default"],
        "volumeName" | "targetContainerName" | "containerName" => &["main", "tmp", "workspace"],
        "runtimeClassName" => &["gvisor", "runc", ""],
        "schedulerName" => &["default-scheduler", "other"],
        "serviceAccountName" | "serviceAccount" => &["workflow-runner", "default", "admin", ""],
        "add" | "drop" => &["ALL", "NET_ADMIN", "SYS_PTRACE"],
        "image" | "reference" => &["registry.example.com/runner:1", "x"],
        "imagePullPolicy" | "pullPolicy" => &["Always", "IfNotPresent", "Never"],
        "terminationMessagePath" => &["/dev/termination-log", "/etc/passwd", ""],
        "terminationMessagePolicy" => &["File", "FallbackToLogsOnError"],
        "nodeName" => &["node-1", ""],
        "priorityClassName" => &["", "system-node-critical"],
        "creationTimestamp" | "deletionTimestamp" => &["2026-01-01T00:00:00Z"],
        "resource" => &["limits.cpu", "requests.memory", "limits.ephemeral-storage"],
        "resourceName" => &["cpu", "memory"],
        "fieldPath" => &["metadata.name", "metadata.annotations['x']", "status.hostIP", "spec.nodeName"],
        "fsGroupChangePolicy" => &["Always", "OnRootMismatch"],
        "supplementalGroupsPolicy" => &["Merge", "Strict"],
        "finalizers" => &["example.com/x", "foregroundDeletion"],
        "action" => &["Restart"],
        _ => &["x", "", "default", "ALL", "Always", "true", "0", "1000", "../x", "/", "Unconfined", "*"],
    }
}

/// The keys that mean something in the map `name`.
pub(crate) fn keys(name: &str) -> &'static [&'static str] {
    match name {
        "limits" | "requests" | "overhead" => {
            &["cpu", "memory", "ephemeral-storage", "nvidia.com/gpu", "hugepages-2Mi"]
        }
        "annotations" => &[
            "example.com/note",
            "dev.gvisor.spec.mount.tmp.type",
            "dev.gvisor.host-uds",
            "kubernetes.io/config.mirror",
            "container.apparmor.security.beta.kubernetes.io/main",
            "seccomp.security.alpha.kubernetes.io/pod",
            "sandgate.dev/policy",
            "sandgate.dev/filled-resources",
        ],
        "labels" => &["app", "tier"],
        "nodeSelector" => &["workload-type", "kubernetes.io/arch"],
        _ => &["app", "x"],
    }
}
