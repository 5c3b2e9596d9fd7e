//! Rules that the default policy has no setting for, under policies that have one.

use serde_json::json;

use super::{PolicyVariant, RuleCase};

/// Rules that the default policy leaves open.
pub(super) fn rule_cases() -> Vec<RuleCase> {
    let from_secret =
        |name: &str| json!([{"name": "S", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}]);
    let all_of = |name: &str| json!([{"prefix": "P_"}, {"secretRef": {"name": name}}]);
    let file = |name: &str| json!({"name": "extra", "secret": {"secretName": name}});
    let image = |text: &str| json!(text);
    vec![
        RuleCase {
            rule: "images",
            variant: PolicyVariant::Named,
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
            boundary: vec![(
                "spec/containers/*/image",
                vec![
                    image("registry.example.com"),
                    image("registry.example.com:5000/x"),
                    image("registry.example.com/x@sha256:0"),
                ],
            )],
        },
        RuleCase {
            rule: "images",
            variant: PolicyVariant::Sealed,
            violating: vec![(
                "spec/containers/*/image",
                vec![
                    image("registry.example.com/runner:1"),
                    json!(format!("x@sha256:{}", "0".repeat(63))),
                    json!(format!("x@sha256:{}g", "0".repeat(63))),
                    json!(format!("x@sha512:{}", "0".repeat(64))),
                ],
            )],
            boundary: vec![("spec/containers/*/image", vec![json!(format!("x@sha256:{}", "F".repeat(64)))])],
        },
        RuleCase {
            rule: "secrets",
            variant: PolicyVariant::Named,
            violating: vec![
                ("C/env", vec![from_secret("u"), from_secret("S"), from_secret("")]),
                ("C/envFrom", vec![all_of("u"), all_of("s ")]),
                ("spec/volumes+", vec![file("u"), json!({"name": "extra", "secret": {}})]),
            ],
            boundary: vec![
                ("C/env", vec![from_secret("s"), from_secret("t")]),
                ("C/envFrom", vec![all_of("t")]),
                ("spec/volumes+", vec![file("s")]),
            ],
        },
        RuleCase {
            rule: "secrets",
            variant: PolicyVariant::Sealed,
            violating: vec![("C/env", vec![from_secret("s")]), ("C/envFrom", vec![all_of("s")])],
            boundary: vec![
                (
                    "C/env",
                    vec![json!([{"name": "M", "valueFrom": {"configMapKeyRef": {"name": "s", "key": "k"}}}])],
                ),
                ("C/envFrom", vec![json!([{"configMapRef": {"name": "s"}}])]),
            ],
        },
        RuleCase {
            rule: "volume-types",
            variant: PolicyVariant::Named,
            violating: vec![(
                "spec/volumes+",
                vec![
                    json!({"name": "extra", "hostPath": {"path": "/"}}),
                    json!({"name": "extra", "downwardAPI": {}}),
                ],
            )],
            boundary: vec![(
                "spec/volumes+",
                vec![json!({"name": "extra", "configMap": {"name": "c"}}), file("t")],
            )],
        },
    ]
}
