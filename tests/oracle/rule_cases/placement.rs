//! Where a Pod may run, and whom it keeps away.

use serde_json::{Value as Json, json};

use super::{RuleCase, rule_case};

pub(super) fn rule_cases() -> Vec<RuleCase> {
    let term = |values: Json| json!({"matchExpressions": [{"key": "workload-type", "operator": "In", "values": values}]});
    let terms = |terms: Json| json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}});
    let good = term(json!(["workflow-runner"]));
    let zone = json!({"key": "zone", "operator": "Exists"});
    vec![
        rule_case(
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
        rule_case(
            "tolerations",
            vec![(
                "spec/tolerations+",
                vec![
                    json!({"operator": "Exists"}),
                    json!({"key": "sandbox.gke.io/runtime", "operator": "Exists"}),
                    json!({"key": "sandbox.gke.io/runtime", "operator": "Equal", "value": "gvisor"}),
                    json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}),
                    json!({"key": "node.kubernetes.io/disk-pressure", "operator": "Exists", "effect": "NoSchedule"}),
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
        rule_case(
            "node-name",
            vec![("spec/nodeName", vec![json!("node-1"), json!(" ")])],
            vec![("spec/nodeName", vec![json!(""), json!(null)])],
        ),
        rule_case(
            "scheduler",
            vec![("spec/schedulerName", vec![json!("other"), json!("Default-Scheduler")])],
            vec![("spec/schedulerName", vec![json!("default-scheduler"), json!(null)])],
        ),
        rule_case(
            "priority-class",
            vec![("spec/priorityClassName", vec![json!("system-node-critical"), json!(" ")])],
            vec![("spec/priorityClassName", vec![json!(""), json!(null)])],
        ),
        anti_affinity(),
    ]
}

fn anti_affinity() -> RuleCase {
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
    rule_case(
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
