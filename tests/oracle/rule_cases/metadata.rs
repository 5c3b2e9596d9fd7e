//! The Pod's shape, its labels and annotations, and its runtime class.

use serde_json::json;

use super::{RuleCase, rule_case};

pub(super) fn rule_cases() -> Vec<RuleCase> {
    vec![
        rule_case(
            "pod-schema",
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
        rule_case(
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
        rule_case(
            "mirror-pod",
            vec![("metadata/annotations/kubernetes.io~1config.mirror", vec![json!("x"), json!("")])],
            vec![
                ("metadata/annotations/kubernetes.io~1config.source", vec![json!("file")]),
                ("metadata/annotations/kubernetes.io~1config.mirrors", vec![json!("x")]),
                ("metadata/annotations/Kubernetes.io~1config.mirror", vec![json!("x")]),
            ],
        ),
        rule_case(
            "runtime-class",
            vec![(
                "spec/runtimeClassName",
                vec![json!("runc"), json!("gVisor"), json!("gvisor "), json!("")],
            )],
            vec![("spec/runtimeClassName", vec![json!("gvisor"), json!(null), json!("!remove")])],
        ),
        rule_case(
            "gvisor-annotations",
            vec![
                ("metadata/annotations/dev.gvisor.host-uds", vec![json!("all"), json!("")]),
                (
                    "metadata/annotations/dev.gvisor.spec.mount.workspace.type",
                    vec![json!("Tmpfs"), json!("Bind")],
                ),
                ("metadata/annotations/dev.gvisor.spec.mount.workspace.options", vec![json!("rw,rshared")]),
                ("metadata/annotations/dev.gvisor.spec.mount.workspace.source", vec![json!("/etc")]),
                ("metadata/annotations/dev.gvisor.spec.mount.nothere.type", vec![json!("bind")]),
            ],
            vec![
                (
                    "metadata/annotations/dev.gvisor.spec.mount.workspace.type",
                    vec![json!("bind"), json!("tmpfs")],
                ),
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
