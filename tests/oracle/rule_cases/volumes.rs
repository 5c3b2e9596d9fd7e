//! Volumes and where they are mounted.

use serde_json::{Value as Json, json};

use super::{RuleCase, rule_case};

pub(super) fn of_volumes() -> Vec<RuleCase> {
    let named = |name: &str, size: &str| json!({"name": name, "emptyDir": {"sizeLimit": size}});
    let in_memory =
        |size: &str| json!({"name": "memory", "emptyDir": {"sizeLimit": size, "medium": "Memory"}});
    let volume = |kind: &str, source: Json| json!({"name": "extra", kind: source});
    vec![
        rule_case(
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
        rule_case(
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
                        in_memory("1Gi"),
                        in_memory("1073741824"),
                    ],
                ),
                ("spec/volumes/*/emptyDir/sizeLimit", vec![json!("1Gi"), json!("1"), json!("!remove")]),
            ],
        ),
    ]
}

pub(super) fn of_mounts() -> Vec<RuleCase> {
    let mount = |path: &str| json!({"name": "tmp", "mountPath": path});
    let with = |key: &str, value: &str| json!({"name": "tmp", "mountPath": "/tmp/x", key: value});
    vec![
        rule_case(
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
        rule_case(
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
        rule_case(
            "volume-devices",
            vec![("C/volumeDevices", vec![json!([{"name": "workspace", "devicePath": "/dev/x"}])])],
            vec![("C/volumeDevices", vec![json!([]), json!(null)])],
        ),
        rule_case(
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
        rule_case(
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
