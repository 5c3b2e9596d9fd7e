//! What a Pod may use up: of each container, and as a whole.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use super::{Faults, Kind, Placed, Subject, is_within, must, word};
use crate::{patterns::is_one_of, policy::Amount, quantity::Nanos};

type Amounts = BTreeMap<String, Quantity>;

/// The resources that every container has.
const COMMON: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

pub(super) fn check(subject: &Subject, faults: &mut Faults) {
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
