//! The fill of requests and limits: each container gets a share of the Pod's budget, or the Pod gets it as a whole.
//!
//! Filled amounts are remembered ([`FilledResources`]). When another webhook adds a sidecar between the two rounds of
//! admission, or raises what was filled, as a vertical autoscaler does, it is lowered to what the budget leaves.

use super::{
    filled_resources::{AmountKind, FilledResources, POD},
    helpers::{amount, effective_total, of_pod},
};
use crate::{
    json::{Object, Value},
    pod::{ContainerKind, Grain, Quantity, each_container_mut, spec, spec_mut},
    policy::{Amount, FillAt, Profile, Resource, Resources},
};

/// Fills the requests and limits that a Pod leaves open; returns how many amounts it set.
pub(super) fn fill_resource_limits<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let resources = &profile.spec.resources;
    let earlier = FilledResources::of(pod);
    if earlier.is_empty() && is_complete(profile, pod) {
        return 0;
    }
    let mut demands = demands(profile, pod, &earlier);
    let Some(pod_spec) = spec_mut(pod) else { return 0 };
    let mut filled = earlier;
    if resources.fill_at == FillAt::Pod {
        fill_pod(resources, &demands, pod_spec, &mut filled);
    }
    for resource in Resource::ALL {
        if of_pod(pod_spec, "limits", resource).is_some() {
            // The containers share the limit of the Pod.
            for demand in &mut demands {
                demand.slots[resource as usize].leave_alone();
            }
            continue;
        }
        let budget = resources.pod.limits.of(resource).value;
        distribute(&mut demands, resource, budget, resources.container.limits.of(resource).value);
        let own = amount(of_pod(pod_spec, "requests", resource));
        if let Some(most) = own.or_else(|| pod_request(resources, resource).map(|request| request.value)) {
            distribute_requests(&mut demands, resource, most);
        }
    }
    let mut next = demands.iter();
    each_container_mut(pod, profile, |_, container, _| {
        if let Some(demand) = next.next() {
            write(demand, container, resources, &mut filled);
        }
    });
    filled.remember(pod);
    filled.changed
}

/// Returns the request that the policy fills for the Pod as a whole. Disk has no such request.
fn pod_request(resources: &Resources, resource: Resource) -> Option<&Amount> {
    match resource {
        Resource::Cpu => Some(&resources.pod.requests.cpu),
        Resource::Memory => Some(&resources.pod.requests.memory),
        Resource::EphemeralStorage => None,
    }
}

/// Returns true if no container lacks an amount. Most Pods that set anything set all: nothing is computed for them.
fn is_complete<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> bool {
    let shares = Resource::ALL.map(|resource| of_pod(spec(pod), "limits", resource).is_some());
    let mut is_complete = true;
    each_container_mut(pod, profile, |_, container, _| {
        let resources = container.object("resources");
        let has = |kind: &str, resource: Resource| {
            resources.and_then(|all| all.object(kind)?.get(resource.as_str())).is_some()
        };
        is_complete &= Resource::ALL.into_iter().all(|resource| {
            shares[resource as usize] || (has("limits", resource) && has("requests", resource))
        });
    });
    is_complete
}

/// Fills cpu and memory of the Pod as a whole, where it has none and a container lacks one. The API server rejects
/// containers that request more than their Pod, so the request is no less than theirs; one that an earlier round filled
/// follows them.
fn fill_pod<'a>(
    resources: &'a Resources,
    demands: &[ContainerDemand],
    pod_spec: &mut Object<'a>,
    filled: &mut FilledResources,
) {
    for resource in [Resource::Cpu, Resource::Memory] {
        let name = resource.as_str();
        let slots = || demands.iter().map(|demand| (demand.kind, demand.slots[resource as usize]));
        let is_lacking = slots().any(|(_, slot)| slot.limit.is_none() || slot.request.is_none());
        let Some(policy) = pod_request(resources, resource).filter(|_| is_lacking) else { continue };
        let budget = resources.pod.limits.of(resource);
        let limit = match of_pod(pod_spec, "limits", resource) {
            None => Some(budget.value),
            written => amount(written),
        };
        let total = effective_total(slots().map(|(kind, slot)| (kind, slot.request.unwrap_or_default())));
        let Some(limit) = limit.filter(|limit| total <= *limit) else { continue };
        let request = policy.value.max(total).min(limit);

        let written = of_pod(pod_spec, "requests", resource);
        let remembered = filled.get(POD, AmountKind::Requests, resource);
        let is_open = origin(written, remembered) == AmountOrigin::Open && amount(written) != Some(request);
        let Some(own) = pod_spec.object_mut("resources") else { continue };
        if own.object_mut("limits").is_some_and(|limits| limits.set_default(name, budget.text.as_str())) {
            filled.put(POD, AmountKind::Limits, resource, &budget.text);
        }
        if let Some(requests) = own.object_mut("requests").filter(|_| is_open) {
            let text = if request == policy.value { policy.text.clone() } else { request.to_string() };
            filled.put(POD, AmountKind::Requests, resource, &text);
            requests.set(name, text);
        }
    }
}

/// The amounts that one container has and lacks, for each of [`Resource::ALL`].
struct ContainerDemand {
    name: String,
    kind: ContainerKind,
    slots: [ResourceSlot; 3],
}

/// The author of an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AmountOrigin {
    /// A person wrote it: it stays.
    Written,
    /// The amount is unset, or set by an earlier round of this fill: it may be set and lowered.
    Open,
    /// An earlier round of this fill set it, and another webhook raised it since: it may be lowered as far as needed.
    Raised,
}

/// One resource of one container.
#[derive(Debug, Clone, Copy)]
struct ResourceSlot {
    /// The limit and the request as they are; `None` if absent or unreadable.
    limit: Option<Quantity>,
    request: Option<Quantity>,
    limit_origin: AmountOrigin,
    request_origin: AmountOrigin,
    /// The limit to set.
    share: Option<Quantity>,
    /// The amount that the request of the Pod leaves for this one.
    most_request: Option<Quantity>,
}

impl ResourceSlot {
    fn has_open_limit(&self) -> bool {
        self.limit_origin != AmountOrigin::Written
    }

    /// Returns the least limit: a request that a person wrote.
    fn minimum(&self) -> Quantity {
        self.request.filter(|_| self.request_origin == AmountOrigin::Written).unwrap_or_default()
    }

    /// Returns the request that is not to be shared out.
    fn fixed_request(&self) -> Quantity {
        self.request.filter(|_| self.request_origin != AmountOrigin::Open).unwrap_or_default()
    }

    fn leave_alone(&mut self) {
        (self.limit_origin, self.request_origin) = (AmountOrigin::Written, AmountOrigin::Written);
    }
}

impl ContainerDemand {
    fn is_met(&self) -> bool {
        let is_written =
            |slot: &ResourceSlot| [slot.limit_origin, slot.request_origin] == [AmountOrigin::Written; 2];
        self.slots.iter().all(is_written)
    }
}

fn demands<'a>(profile: &'a Profile, pod: &mut Value<'a>, earlier: &FilledResources) -> Vec<ContainerDemand> {
    let mut demands = Vec::new();
    each_container_mut(pod, profile, |kind, container, _| {
        let name = container.str("name").unwrap_or_default().to_owned();
        let slots = Resource::ALL.map(|resource| {
            let read = |kind: AmountKind| {
                let amounts = container.object("resources").and_then(|all| all.object(kind.as_str()));
                let found = amounts.and_then(|amounts| amounts.get(resource.as_str()));
                (amount(found), origin(found, earlier.get(&name, kind, resource)))
            };
            let (limit, limit_origin) = read(AmountKind::Limits);
            let (request, request_origin) = read(AmountKind::Requests);
            ResourceSlot { limit, request, limit_origin, request_origin, share: None, most_request: None }
        });
        demands.push(ContainerDemand { name, kind, slots });
    });
    demands
}

/// Returns who wrote the amount `found`, of which an earlier round remembers that it filled `remembered`.
fn origin(found: Option<&Value>, remembered: Option<&str>) -> AmountOrigin {
    let (Some(found), Some(remembered)) = (found, remembered) else {
        return if found.is_none() { AmountOrigin::Open } else { AmountOrigin::Written };
    };
    if found.as_str() == Some(remembered) {
        return AmountOrigin::Open;
    }
    match (amount(Some(found)), Quantity::parse(remembered)) {
        (Some(found), Ok(remembered)) if found == remembered => AmountOrigin::Open,
        (Some(found), Ok(remembered)) if found > remembered => AmountOrigin::Raised,
        _ => AmountOrigin::Written,
    }
}

/// Returns what shares of `resource` are rounded to.
fn grain(resource: Resource) -> Grain {
    if resource == Resource::Cpu { Grain::Millicore } else { Grain::Mebibyte }
}

/// Gives each open limit of `resource` its share of `budget`.
fn distribute(demands: &mut [ContainerDemand], resource: Resource, budget: Quantity, ceiling: Quantity) {
    let at = resource as usize;
    let runs = |demand: &ContainerDemand| demand.kind != ContainerKind::Init;
    let fixed = demands.iter().filter(|demand| runs(demand) && !demand.slots[at].has_open_limit());
    let mut left = fixed.fold(budget, |left, demand| left.minus(demand.slots[at].limit.unwrap_or_default()));

    // The largest wish first: a container that requests more than an equal share takes it from what the others share.
    let mut open: Vec<usize> =
        (0..demands.len()).filter(|i| runs(&demands[*i]) && demands[*i].slots[at].has_open_limit()).collect();
    open.sort_by_key(|i| std::cmp::Reverse(demands[*i].slots[at].minimum()));
    let mut recipients = open.len();
    let mut equal = left.share(recipients, grain(resource));
    for index in open {
        let slot = &mut demands[index].slots[at];
        let minimum = slot.minimum();
        if minimum > equal {
            left = left.minus(minimum);
            recipients -= 1;
            equal = left.share(recipients, grain(resource));
        }
        // A request above the ceiling is denied itself; a limit that follows it would only be a second fault.
        slot.share = Some(equal.min(ceiling).max(minimum.min(ceiling)));
    }

    // An init container runs alone but for the sidecars started before it.
    let mut concurrent = Quantity::ZERO;
    for demand in demands {
        let slot = &mut demand.slots[at];
        match demand.kind {
            ContainerKind::Sidecar => {
                concurrent = concurrent.plus(slot.share.or(slot.limit).unwrap_or_default());
            }
            ContainerKind::Init if slot.has_open_limit() => {
                slot.share = Some(budget.minus(concurrent).min(ceiling).max(slot.minimum().min(ceiling)));
            }
            _ => {}
        }
    }
}

/// Gives each open request of `resource` its share of `most`, what the Pod requests, if only nothing.
fn distribute_requests(demands: &mut [ContainerDemand], resource: Resource, most: Quantity) {
    let at = resource as usize;
    let running =
        || demands.iter().filter(|demand| demand.kind != ContainerKind::Init).map(|demand| demand.slots[at]);
    let left = running().fold(most, |left, slot| left.minus(slot.fixed_request()));
    let recipients = running().filter(|slot| slot.request_origin == AmountOrigin::Open).count();
    let equal = left.share(recipients, grain(resource));
    let mut concurrent = Quantity::ZERO;
    for ContainerDemand { kind, slots, .. } in demands {
        let slot = &mut slots[at];
        if *kind == ContainerKind::Init {
            slot.most_request = Some(most.minus(concurrent));
            continue;
        }
        slot.most_request = Some(equal);
        if *kind == ContainerKind::Sidecar {
            let is_open = slot.request_origin == AmountOrigin::Open;
            concurrent = concurrent.plus(if is_open { equal } else { slot.fixed_request() });
        }
    }
}

/// Writes the shares into a container; what stands there is only ever lowered.
fn write<'a>(
    demand: &ContainerDemand,
    container: &mut Object<'a>,
    policy: &'a Resources,
    filled: &mut FilledResources,
) {
    if demand.is_met() {
        return;
    }
    let Some(resources) = container.object_mut("resources") else { return };
    for (slot, resource) in demand.slots.iter().zip(Resource::ALL) {
        let lower = |found: Option<Quantity>, wanted: Quantity| found.is_none_or(|found| wanted < found);
        let limit = slot.share.filter(|share| *share > Quantity::ZERO && lower(slot.limit, *share));
        if let Some(limit) = limit {
            set(resources, AmountKind::Limits, resource, limit.to_string(), demand, filled);
        }
        // Below a limit that is denied itself every request would be denied too.
        let Some(ceiling) = limit.or(slot.limit).filter(|ceiling| !ceiling.is_negative()) else { continue };
        let wanted = policy.container.requests.of(resource);
        let request = match slot.request_origin {
            AmountOrigin::Written => continue,
            AmountOrigin::Open => wanted.value.min(ceiling).min(slot.most_request.unwrap_or(ceiling)),
            AmountOrigin::Raised => ceiling,
        };
        if lower(slot.request, request) {
            let text = if request == wanted.value { wanted.text.clone() } else { request.to_string() };
            if slot.request_origin == AmountOrigin::Raised {
                // The memory of the first fill stays, so that the next round still sees a raised request.
                if let Some(requests) = resources.object_mut(AmountKind::Requests.as_str()) {
                    requests.set(resource.as_str(), text);
                }
                continue;
            }
            set(resources, AmountKind::Requests, resource, text, demand, filled);
        }
    }
}

fn set(
    resources: &mut Object,
    kind: AmountKind,
    resource: Resource,
    text: String,
    demand: &ContainerDemand,
    filled: &mut FilledResources,
) {
    if let Some(amounts) = resources.object_mut(kind.as_str()) {
        filled.put(&demand.name, kind, resource, &text);
        amounts.set(resource.as_str(), text);
    }
}

#[cfg(test)]
mod tests;
