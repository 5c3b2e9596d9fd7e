//! Where a Pod runs, as what, and whom it keeps away.

use k8s_openapi::api::core::v1::{Affinity, NodeSelectorTerm, Toleration};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{Faults, Section, Subject, must, word};
use crate::{
    patterns::is_one_of,
    rule_cases::{RuleCase, rule_case},
};

/// The keys, the property and its cases.
pub(super) const SECTION: Section = Section {
    defaults: DEFAULTS,
    drawn: DRAWN,
    check,
    cases: rule_cases,
    cases_under_policies: CASES_UNDER_POLICIES,
};

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RuntimeClass {
    pub(crate) default: String,
    pub(crate) allowed: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Placement {
    pub(crate) node_affinity: Vec<Requirement>,
    pub(crate) tolerations: Vec<AllowedToleration>,
    pub(crate) allowed_tolerations: Vec<AllowedToleration>,
    pub(crate) scheduler_names: Vec<String>,
    pub(crate) priority_class_names: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Requirement {
    pub(crate) key: String,
    pub(crate) operator: String,
    #[serde(default)]
    pub(crate) values: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AllowedToleration {
    pub(crate) key: String,
    #[serde(default = "equal")]
    pub(crate) operator: String,
    #[serde(default)]
    pub(crate) value: String,
    #[serde(default)]
    pub(crate) effect: Option<String>,
}

fn equal() -> String {
    "Equal".into()
}

/// The default of each key, as the documentation of the policy file has it.
const DEFAULTS: &str = r"
runtimeClass: {default: gvisor, allowed: [gvisor]}
placement:
  nodeAffinity: [{key: workload-type, operator: In, values: [workflow-runner]}]
  tolerations: [{key: sandbox.gke.io/runtime, operator: Equal, value: gvisor, effect: NoSchedule}]
  allowedTolerations: []
  schedulerNames: [default-scheduler]
  priorityClassNames: []
";

/// The values of each key that generated policies draw from.
const DRAWN: &str = r#"
runtimeClass:
- {default: gvisor, allowed: [gvisor]}
- {default: gvisor, allowed: [gvisor, gvisor-gpu]}
- {default: gvisor-gpu, allowed: [gvisor-gpu]}
- {allowed: [gvisor, kata]}
placement.nodeAffinity:
- []
- [{key: workload-type, operator: In, values: [workflow-runner, other]}]
- [{key: zone, operator: Exists}, {key: workload-type, operator: NotIn, values: [other]}]
- [{key: cpus, operator: Gt, values: ["4"]}]
placement.tolerations:
- []
- [{key: x, operator: Exists}]
- [{key: sandbox.gke.io/runtime, operator: Equal, value: gvisor, effect: NoSchedule}, {key: x, value: a}]
placement.allowedTolerations:
- [{key: nvidia.com/gpu, operator: Exists}]
- [{key: x, value: a, effect: NoSchedule}, {key: spot, operator: Exists, effect: NoSchedule}]
placement.schedulerNames: [[default-scheduler, volcano], [volcano], ["*"]]
placement.priorityClassNames: [[low], ["batch-*"]]
"#;

fn check(subject: &Subject, faults: &mut Faults) {
    let (spec, keys) = (subject.spec, subject.keys);
    let class = word(spec.runtime_class_name.as_ref());
    must(keys.runtime_class.allowed.iter().any(|allowed| allowed == class), "runtime class", faults);
    must(word(spec.node_name.as_ref()).is_empty(), "node name", faults);
    let or = |text: Option<&String>, unset: &str| match word(text) {
        "" => unset.to_owned(),
        text => text.to_owned(),
    };
    let scheduler = or(spec.scheduler_name.as_ref(), "default-scheduler");
    must(is_one_of(&keys.placement.scheduler_names, &scheduler), "scheduler", faults);
    let priority = word(spec.priority_class_name.as_ref());
    let may_have = priority.is_empty() || is_one_of(&keys.placement.priority_class_names, priority);
    must(may_have, "priority class", faults);
    for wanted in &keys.placement.node_affinity {
        must(demands(spec.affinity.as_ref(), wanted), "node affinity", faults);
    }
    must(keeps_no_others_away(spec.affinity.as_ref()), "anti-affinity", faults);
    check_tolerations(&keys.placement, spec.tolerations.as_deref().unwrap_or_default(), faults);
}

/// A required anti-affinity also holds against the Pods that it selects, wherever the topology reaches.
fn keeps_no_others_away(affinity: Option<&Affinity>) -> bool {
    let anti = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let required = anti.and_then(|anti| anti.required_during_scheduling_ignored_during_execution.as_ref());
    required.into_iter().flatten().all(|term| {
        term.topology_key == "kubernetes.io/hostname"
            && term.namespaces.iter().flatten().next().is_none()
            && term.namespace_selector.is_none()
    })
}

/// The terms are alternatives: each that can match must demand what the policy demands.
fn demands(affinity: Option<&Affinity>, wanted: &Requirement) -> bool {
    let node = affinity.and_then(|affinity| affinity.node_affinity.as_ref());
    let required = node.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_some_and(|required| {
        let terms = &required.node_selector_terms;
        !terms.is_empty() && terms.iter().all(|term| matches_nothing(term) || term_demands(term, wanted))
    })
}

fn matches_nothing(term: &NodeSelectorTerm) -> bool {
    term.match_expressions.iter().flatten().chain(term.match_fields.iter().flatten()).next().is_none()
}

fn term_demands(term: &NodeSelectorTerm, wanted: &Requirement) -> bool {
    term.match_expressions.iter().flatten().any(|found| {
        let values = found.values.as_deref().unwrap_or_default();
        found.key == wanted.key
            && found.operator == wanted.operator
            && match wanted.operator.as_str() {
                "In" => !values.is_empty() && values.iter().all(|value| wanted.values.contains(value)),
                "NotIn" => wanted.values.iter().all(|value| values.contains(value)),
                _ => values == wanted.values,
            }
    })
}

fn check_tolerations(keys: &Placement, tolerations: &[Toleration], faults: &mut Faults) {
    for wanted in &keys.tolerations {
        let has_it = tolerations.iter().any(|found| is_equal(found, wanted));
        must(has_it, "toleration missing", faults);
    }
    let allowed = keys.tolerations.iter().chain(&keys.allowed_tolerations);
    for found in tolerations {
        let is_covered = allowed.clone().any(|wanted| tolerates_no_more(found, wanted));
        must(is_covered || is_added_by_the_api_server(found), "toleration not allowed", faults);
    }
}

fn operator(found: &Toleration) -> &str {
    match word(found.operator.as_ref()) {
        "" => "Equal",
        operator => operator,
    }
}

fn is_equal(found: &Toleration, wanted: &AllowedToleration) -> bool {
    word(found.key.as_ref()) == wanted.key
        && operator(found) == wanted.operator
        && word(found.value.as_ref()) == wanted.value
        && word(found.effect.as_ref()) == wanted.effect.as_deref().unwrap_or_default()
        && found.toleration_seconds.is_none()
}

fn tolerates_no_more(found: &Toleration, wanted: &AllowedToleration) -> bool {
    let same_value = operator(found) == "Equal" && word(found.value.as_ref()) == wanted.value;
    word(found.key.as_ref()) == wanted.key
        && (wanted.operator == "Exists" || same_value)
        && wanted.effect.as_ref().is_none_or(|effect| word(found.effect.as_ref()) == effect)
}

/// What the API server adds to every Pod, OpenShift's last; the seconds are a flag of it.
fn is_added_by_the_api_server(found: &Toleration) -> bool {
    let has_seconds = found.toleration_seconds.is_some();
    let effect = word(found.effect.as_ref());
    operator(found) == "Exists"
        && match word(found.key.as_ref()) {
            "node.kubernetes.io/not-ready" | "node.kubernetes.io/unreachable" => {
                effect == "NoExecute" && has_seconds
            }
            "node.kubernetes.io/memory-pressure" => effect == "NoSchedule" && !has_seconds,
            _ => false,
        }
}

fn rule_cases() -> Vec<RuleCase> {
    let term = |values: Json| json!({"matchExpressions": [{"key": "workload-type", "operator": "In", "values": values}]});
    let terms = |terms: Json| json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}});
    let good = term(json!(["workflow-runner"]));
    let zone = json!({"key": "zone", "operator": "Exists"});
    vec![
        rule_case(
            "runtime-class",
            vec![(
                "spec/runtimeClassName",
                vec![json!("runc"), json!("gVisor"), json!("gvisor "), json!("")],
            )],
            vec![("spec/runtimeClassName", vec![json!("gvisor"), json!(null), json!("!remove")])],
        ),
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

/// Cases under policies that open or close something.
const CASES_UNDER_POLICIES: &str = r#"
- rule: tolerations
  spec: {placement: {allowedTolerations: [{key: x, value: a, effect: NoSchedule}, {key: spot, operator: Exists}]}}
  violating:
    spec/tolerations+: [{key: x, operator: Exists}, {key: x, value: a}, {key: x, value: b, effect: NoSchedule}, {operator: Exists}, {key: spots, operator: Exists}]
  boundary:
    spec/tolerations+: [{key: x, value: a, effect: NoSchedule}, {key: spot, operator: Exists}, {key: spot, value: "1", effect: NoExecute, tolerationSeconds: 5}]
- rule: node-affinity
  spec: {placement: {nodeAffinity: [{key: zone, operator: Exists}]}}
  base: {/spec/affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: Exists}]}]}}}}
  violating:
    spec/affinity: [{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: Exists}]}, {matchExpressions: [{key: zone, operator: DoesNotExist}]}]}}}]
  boundary:
    spec/affinity: [{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: Exists}, {key: a, operator: Exists}]}]}}}]
- rule: scheduler
  spec: {placement: {schedulerNames: [volcano]}}
  base: {/spec/schedulerName: volcano}
  violating:
    spec/schedulerName: [kueue, Volcano]
  boundary:
    spec/schedulerName: [volcano, default-scheduler, "!remove"]
- rule: priority-class
  spec: {placement: {priorityClassNames: ["batch-*"]}}
  violating:
    spec/priorityClassName: [system-node-critical, batch]
  boundary:
    spec/priorityClassName: [batch-low, ""]
- rule: runtime-class
  spec: {runtimeClass: {default: gvisor, allowed: [gvisor, gvisor-gpu]}}
  violating:
    spec/runtimeClassName: [runc, "gvisor-*", gvisor-gp]
  boundary:
    spec/runtimeClassName: [gvisor-gpu, gvisor, "!remove"]
"#;
