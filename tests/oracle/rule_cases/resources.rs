//! Requests, limits and the Pod's budget.

use serde_json::json;

use super::{RuleCase, hardened, rule_case};

pub(super) fn rule_cases() -> Vec<RuleCase> {
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
        rule_case(
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
        rule_case(
            "resource-claims",
            vec![
                ("spec/resourceClaims", vec![json!([{"name": "gpu", "resourceClaimName": "x"}])]),
                ("C/resources/claims", vec![json!([{"name": "gpu"}])]),
                ("spec/resources/claims", vec![json!([{"name": "gpu"}])]),
            ],
            vec![("spec/resourceClaims", vec![json!([])]), ("C/resources/claims", vec![json!([])])],
        ),
        rule_case(
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
        rule_case(
            "pod-budget",
            vec![
                ("spec/containers", vec![halves("1001m", "2Gi"), halves("1", "2147483649")]),
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
                ("spec/overhead", vec![json!({"cpu": "0"}), json!({"cpu": "1m"}), json!({"memory": "1Ti"})]),
                (
                    "spec/resources",
                    vec![json!({"limits": {"cpu": "2"}}), json!({"requests": {"memory": "4Gi"}})],
                ),
                ("spec/initContainers+", vec![init("2", "4Gi")]),
            ],
        ),
    ]
}
