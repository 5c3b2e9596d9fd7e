//! What a Pod may use up: of each container, and as a whole.

use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use super::{Faults, Kind, Placed, Section, Subject, is_within, must, word};
use crate::{
    patterns::is_one_of,
    policy::Amount,
    quantity::Nanos,
    rule_cases::{RuleCase, hardened, rule_case},
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
#[serde(rename_all = "camelCase")]
pub(crate) struct Resources {
    pub(crate) container: Limits,
    pub(crate) pod: Limits,
    pub(crate) extended: BTreeMap<String, Extended>,
    pub(crate) resource_claim_templates: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Limits {
    pub(crate) limits: BTreeMap<String, Amount>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Extended {
    pub(crate) max: u32,
    pub(crate) runtime_classes: Vec<String>,
}

/// The default of each key, as the documentation of the policy file has it.
const DEFAULTS: &str = r#"
resources:
  container: {requests: {cpu: 500m, memory: 1Gi, ephemeral-storage: 1Gi}, limits: {cpu: "2", memory: 4Gi, ephemeral-storage: 10Gi}}
  pod: {requests: {cpu: 500m, memory: 1Gi}, limits: {cpu: "2", memory: 4Gi, ephemeral-storage: 10Gi}}
  fillAt: container
  extended: {}
  resourceClaimTemplates: []
"#;

/// The values of each key that generated policies draw from.
const DRAWN: &str = r#"
resources.container: [{limits: {cpu: "1", memory: 2Gi, ephemeral-storage: 5Gi}}, {requests: {cpu: 100m, memory: 64Mi, ephemeral-storage: 64Mi}}]
resources.pod: [{limits: {cpu: "8", memory: 33Gi, ephemeral-storage: 20Gi}}, {limits: {cpu: "4", memory: 8Gi}}, {requests: {cpu: "1", memory: 2Gi}}]
resources:
- {container: {limits: {cpu: "8", memory: 32Gi}, requests: {cpu: 100m}}, pod: {limits: {cpu: "8", memory: 33Gi, ephemeral-storage: 20Gi}}}
resources.fillAt: [pod, container]
resources.extended:
- {nvidia.com/gpu: {max: 1, runtimeClasses: [gvisor]}}
- {nvidia.com/gpu: {max: 2, runtimeClasses: [gvisor-gpu]}, example.com/fpga: {max: 1, runtimeClasses: [gvisor]}}
resources.resourceClaimTemplates: [[single-gpu], ["*"]]
"#;

type Amounts = BTreeMap<String, Quantity>;

/// The resources that every container has.
const COMMON: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

fn check(subject: &Subject, faults: &mut Faults) {
    let resources = &subject.keys.resources;
    for placed in subject.containers {
        let own = placed.container.resources.clone().unwrap_or_default();
        check_kinds(subject, placed, &own, faults);
        // The API server denies resources of an ephemeral container.
        if placed.kind != Kind::Ephemeral {
            check_container(subject, placed, &own, faults);
        }
    }
    check_pod(subject, faults);
    for (name, extended) in &resources.extended {
        let most = |container: &Container| {
            let own = container.resources.clone().unwrap_or_default();
            amount_of(name, own.limits.as_ref()).max(amount_of(name, own.requests.as_ref()))
        };
        let total = peak(subject.containers, most);
        must(Some(total) <= Nanos::read(&extended.max.to_string()), &format!("total of {name}"), faults);
    }
    check_claims(subject, faults);
}

fn amounts(resources: &ResourceRequirements) -> impl Iterator<Item = (&String, &Quantity)> {
    resources.limits.iter().flatten().chain(resources.requests.iter().flatten())
}

/// Devices are named by the policy, each with the runtime classes that it is for.
fn check_kinds(subject: &Subject, placed: &Placed, own: &ResourceRequirements, faults: &mut Faults) {
    let class = word(subject.spec.runtime_class_name.as_ref());
    for (name, amount) in amounts(own).filter(|(name, _)| !COMMON.contains(&name.as_str())) {
        let known = subject.keys.resources.extended.get(name).filter(|_| placed.kind != Kind::Ephemeral);
        let is_allowed = known.is_some_and(|known| known.runtime_classes.iter().any(|known| known == class));
        let is_readable = Nanos::read(&amount.0).is_some_and(|amount| amount >= Nanos(0));
        placed.must(is_allowed && is_readable, "resource of unknown kind", faults);
    }
}

fn check_container(subject: &Subject, placed: &Placed, own: &ResourceRequirements, faults: &mut Faults) {
    for name in COMMON {
        let most = ceiling(&subject.keys.resources.container.limits, name);
        let limit = own.limits.as_ref().and_then(|limits| limits.get(name));
        // A limit of the whole Pod leaves its containers open.
        let is_open = limit.is_none() && limit_of_pod(subject, name).is_some();
        let fits = limit.is_some_and(|limit| is_within(&limit.0, most));
        placed.must(is_open || fits, &format!("{name} limit"), faults);
        if let Some(request) = own.requests.as_ref().and_then(|requests| requests.get(name)) {
            let amount = Nanos::read(&request.0).filter(|amount| *amount >= Nanos(0));
            let fits = amount.is_some() && amount <= Nanos::read(most);
            placed.must(fits, &format!("{name} request"), faults);
        }
    }
}

fn ceiling<'l>(limits: &'l BTreeMap<String, Amount>, name: &str) -> &'l str {
    &limits[name].0
}

/// The API server knows two resources of a whole Pod.
fn limit_of_pod<'s>(subject: &'s Subject, name: &str) -> Option<&'s Quantity> {
    let limits = subject.spec.resources.as_ref().and_then(|resources| resources.limits.as_ref())?;
    limits.get(name).filter(|_| name != "ephemeral-storage")
}

/// The effective total: what runs side by side, or one init container beside the sidecars before it. The overhead of
/// the runtime class is not limited: no Pod can choose it.
fn check_pod(subject: &Subject, faults: &mut Faults) {
    let budget = &subject.keys.resources.pod.limits;
    let of_pod = subject.spec.resources.clone().unwrap_or_default();
    for (name, amount) in amounts(&of_pod) {
        let fits = COMMON.contains(&name.as_str()) && is_within(&amount.0, ceiling(budget, name));
        must(fits, "Pod's resource", faults);
    }
    for name in COMMON {
        if limit_of_pod(subject, name).is_some() {
            continue;
        }
        let limit = |container: &Container| {
            amount_of(name, container.resources.as_ref().and_then(|resources| resources.limits.as_ref()))
        };
        let total = peak(subject.containers, limit);
        must(Some(total) <= Nanos::read(ceiling(budget, name)), &format!("{name} budget"), faults);
    }
}

fn peak(containers: &[Placed], amount: impl Fn(&Container) -> Nanos) -> Nanos {
    let (mut running, mut peak) = (Nanos(0), Nanos(0));
    for Placed { kind, container, .. } in containers.iter().filter(|placed| placed.kind != Kind::Ephemeral) {
        let with_it = running.saturating_add(amount(container));
        peak = peak.max(with_it);
        if *kind != Kind::Init {
            running = with_it;
        }
    }
    peak
}

fn amount_of(name: &str, amounts: Option<&Amounts>) -> Nanos {
    let amount = amounts.and_then(|amounts| amounts.get(name)).and_then(|amount| Nanos::read(&amount.0));
    amount.unwrap_or_default()
}

/// A claim must be made for the Pod from a template that the policy names; containers can only point to those.
fn check_claims(subject: &Subject, faults: &mut Faults) {
    let templates = &subject.keys.resources.resource_claim_templates;
    for claim in subject.spec.resource_claims.iter().flatten() {
        let template = claim.resource_claim_template_name.as_ref();
        let is_known = template.is_some_and(|name| is_one_of(templates, name));
        must(is_known && claim.resource_claim_name.is_none(), "resource claim", faults);
    }
    let of_pod = subject.spec.resources.iter().flat_map(|resources| resources.claims.iter().flatten());
    let of_containers = subject.containers.iter().flat_map(|placed| {
        placed.container.resources.iter().flat_map(|resources| resources.claims.iter().flatten())
    });
    let points = of_pod.chain(of_containers).next().is_some();
    must(!points || !templates.is_empty(), "claim", faults);
}

fn rule_cases() -> Vec<RuleCase> {
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

/// Cases under policies that open or close something.
const CASES_UNDER_POLICIES: &str = r#"
- rule: resource-kinds
  spec: {resources: {extended: {nvidia.com/gpu: {max: 2, runtimeClasses: [gvisor]}}}}
  violating:
    spec/containers/*/resources/limits/nvidia.com~1gpu: ["3", "-1"]
    spec/containers/*/resources/limits/amd.com~1gpu: ["1"]
    spec/containers/*/resources/limits/hugepages-2Mi: [2Mi]
  boundary:
    spec/containers/*/resources/limits/nvidia.com~1gpu: ["1", "2"]
- rule: resource-kinds
  spec: {runtimeClass: {allowed: [gvisor, gvisor-gpu]}, resources: {extended: {nvidia.com/gpu: {max: 2, runtimeClasses: [gvisor-gpu]}}}}
  violating:
    spec/containers/*/resources/limits/nvidia.com~1gpu: ["1"]
  boundary:
    spec/runtimeClassName: [gvisor-gpu]
- rule: resource-claims
  spec: {resources: {resourceClaimTemplates: ["single-*"]}}
  violating:
    spec/resourceClaims: [[{name: gpu, resourceClaimName: theirs}], [{name: gpu, resourceClaimTemplateName: all}], [{name: gpu}]]
  boundary:
    spec/resourceClaims: [[{name: gpu, resourceClaimTemplateName: single-gpu}]]
- rule: resource-limits
  spec: {resources: {container: {limits: {cpu: "1", memory: 1Gi, ephemeral-storage: 1Gi}}}}
  base:
    /spec/containers/0/resources: {limits: {cpu: "1", memory: 1Gi, ephemeral-storage: 1Gi}, requests: {cpu: "1", memory: 1Gi, ephemeral-storage: 1Gi}}
  violating:
    spec/containers/*/resources/limits/cpu: ["1001m"]
    spec/containers/*/resources/limits/memory: [1025Mi]
  boundary:
    spec/containers/*/resources/limits/cpu: ["1", "1000m"]
"#;
