//! Requests and limits of each container: filled from the Pod's budget, capped one by one.
//!
//! What is filled is remembered in the annotation [`FILLED`]. When another webhook adds a sidecar between the two
//! rounds of admission, what was filled may be lowered to make room; what a person wrote may not. The annotation can
//! be forged, but only ever lets an amount be lowered.

use super::{
    Group, Rule,
    helpers::{MAX_CONTAINERS, amount, overhead},
};
use crate::{
    json::{Object, Value, value_from_str},
    pod::{Container, ContainerKind, Grain, Pod, Quantity, each_container_mut, metadata_mut, spec_mut},
    policy::{Amounts, Profile, Resource, Spec},
    violations::{Reporter, show},
};

/// The annotation that remembers what was filled: container → `limits`/`requests` → resource → amount.
pub(super) const FILLED: &str = "sandgate.dev/filled-resources";

pub(super) static RESOURCE_LIMITS: Rule = Rule {
    id: "resource-limits",
    group: Group::Resources,
    title: "Every container has limits, none above the policy's.",
    why: "A container without a limit can use the whole node, and a limit of 0 is no limit. Containers without \
          limits share equally what the Pod's budget leaves; requests are filled and never exceed the limit. \
          Ephemeral containers cannot have resources and run within the Pod's.",
    references: &["https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/"],
    setting: "spec.resources.container",
    fill: Some(fill_resource_limits),
    check: check_resource_limits,
};

fn check_resource_limits(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let ceilings = &spec.resources.container.limits;
    for container in pod.containers.iter().filter(|container| container.kind != ContainerKind::Ephemeral) {
        let resources = container.object.object("resources");
        let of = |kind: &str| resources.and_then(|resources| resources.object(kind));
        for resource in Resource::ALL {
            let (name, ceiling) = (resource.as_str(), ceilings.of(resource));
            let fits = |value: Option<&Value>| {
                amount(value).is_some_and(|a| a > Quantity::ZERO && a <= ceiling.value)
            };
            let limit = of("limits").and_then(|limits| limits.get(name));
            if !fits(limit) {
                let resources = container.at("resources");
                let limits = resources.child("limits");
                let remedy = match limit {
                    None => "set a limit: the Pod's budget is used up by the other containers".into(),
                    Some(_) => format!("set it to at most {ceiling} or leave it out on create"),
                };
                out.report(
                    limits.key(name),
                    show(limit),
                    format_args!("more than 0, at most {ceiling}"),
                    remedy,
                );
            }
            let request = of("requests").and_then(|requests| requests.get(name));
            let request_fits = amount(request).is_some_and(|a| !a.is_negative() && a <= ceiling.value);
            if request.is_some() && !request_fits {
                out.report(
                    container.at("resources").child("requests").key(name),
                    show(request),
                    format_args!("0 or more, at most {ceiling}"),
                    format_args!("set it to at most {ceiling} or leave it out on create"),
                );
            }
        }
    }
}

fn fill_resource_limits<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let spec = &profile.spec;
    let earlier = FilledResources::of(pod);
    if earlier.entries.is_empty() && Pod::of(pod, profile).containers.iter().all(has_all_amounts) {
        return 0;
    }
    let mut demands = demands(profile, pod, &earlier);
    let Some(pod_spec) = spec_mut(pod) else { return 0 };
    for resource in Resource::ALL {
        let budget = spec.resources.pod.limits.of(resource).value.minus(overhead(pod_spec, resource));
        let own = of_pod(pod_spec, "limits", resource);
        let budget = own.map_or(budget, |own| own.min(budget));
        distribute(&mut demands, resource, budget, spec.resources.container.limits.of(resource).value);
        if let Some(most) = of_pod(pod_spec, "requests", resource) {
            distribute_requests(&mut demands, resource, most);
        }
    }
    let mut filled = earlier;
    let mut next = demands.iter();
    each_container_mut(pod, profile, |_, container, _| {
        if let Some(demand) = next.next() {
            write(demand, container, &spec.resources.container.requests, &mut filled);
        }
    });
    filled.remember(pod);
    filled.changed
}

/// Returns what the Pod sets for its containers together. The API server rejects containers that exceed it.
fn of_pod(pod_spec: &Object, kind: &str, resource: Resource) -> Option<Quantity> {
    let amounts = pod_spec.object("resources").and_then(|resources| resources.object(kind));
    amount(amounts.and_then(|amounts| amounts.get(resource.as_str())))
}

/// Most Pods that set anything set all; nothing demands to be reckoned for them.
fn has_all_amounts(container: &Container) -> bool {
    let Some(resources) = container.object.object("resources") else { return false };
    let is_full =
        |amounts: &Object| Resource::ALL.into_iter().all(|resource| amounts.get(resource.as_str()).is_some());
    ["limits", "requests"].into_iter().all(|kind| resources.object(kind).is_some_and(is_full))
}

/// The amounts that one container has and lacks, for each of [`Resource::ALL`].
struct ContainerDemand {
    name: String,
    kind: ContainerKind,
    slots: [ResourceSlot; 3],
}

/// One resource of one container.
#[derive(Clone, Copy, Default)]
struct ResourceSlot {
    /// The limit and the request as they stand; `None` where absent or unreadable.
    limit: Option<Quantity>,
    request: Option<Quantity>,
    /// True if it may be set: it is absent, or an earlier round filled it.
    open_limit: bool,
    open_request: bool,
    /// The limit to set.
    share: Option<Quantity>,
    /// The amount that the request of the Pod leaves for this one, if the Pod has a request.
    most_request: Option<Quantity>,
}

impl ResourceSlot {
    /// Returns the least limit: a request that a person wrote.
    fn minimum(&self) -> Quantity {
        self.request.filter(|_| !self.open_request).unwrap_or_default()
    }
}

impl ContainerDemand {
    fn is_met(&self) -> bool {
        self.slots.iter().all(|slot| !slot.open_limit && !slot.open_request)
    }
}

fn demands<'a>(profile: &'a Profile, pod: &mut Value<'a>, earlier: &FilledResources) -> Vec<ContainerDemand> {
    let mut demands = Vec::new();
    each_container_mut(pod, profile, |kind, container, _| {
        let name = container.str("name").unwrap_or_default().to_owned();
        let slots = Resource::ALL.map(|resource| {
            let read = |kind: &str| {
                let amounts = container.object("resources").and_then(|resources| resources.object(kind));
                let found = amounts.and_then(|amounts| amounts.get(resource.as_str()));
                let remembered = earlier.get(&name, kind, resource);
                let ours = remembered.is_some() && found.and_then(Value::as_str) == remembered;
                (amount(found), found.is_none() || ours)
            };
            let ((limit, open_limit), (request, open_request)) = (read("limits"), read("requests"));
            ResourceSlot { limit, request, open_limit, open_request, share: None, most_request: None }
        });
        demands.push(ContainerDemand { name, kind, slots });
    });
    demands
}

/// Returns what shares of `resource` are rounded to.
fn grain(resource: Resource) -> Grain {
    if resource == Resource::Cpu { Grain::Millicore } else { Grain::Mebibyte }
}

/// Gives each open limit of `resource` its share of `budget`.
fn distribute(demands: &mut [ContainerDemand], resource: Resource, budget: Quantity, ceiling: Quantity) {
    let at = resource as usize;
    let runs = |demand: &ContainerDemand| demand.kind != ContainerKind::Init;
    let fixed = demands.iter().filter(|demand| runs(demand) && !demand.slots[at].open_limit);
    let mut left = fixed.fold(budget, |left, demand| left.minus(demand.slots[at].limit.unwrap_or_default()));

    // The largest wish first: a container that requests more than an equal share takes it from what the others share.
    let mut open: Vec<usize> =
        (0..demands.len()).filter(|i| runs(&demands[*i]) && demands[*i].slots[at].open_limit).collect();
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
                concurrent = concurrent.plus(slot.share.or(slot.limit).unwrap_or_default())
            }
            ContainerKind::Init if slot.open_limit => {
                slot.share = Some(budget.minus(concurrent).min(ceiling).max(slot.minimum().min(ceiling)));
            }
            _ => {}
        }
    }
}

/// Gives each open request of `resource` its share of what the Pod requests, if only nothing.
fn distribute_requests(demands: &mut [ContainerDemand], resource: Resource, most: Quantity) {
    let at = resource as usize;
    let running =
        || demands.iter().filter(|demand| demand.kind != ContainerKind::Init).map(|demand| demand.slots[at]);
    let left = running().fold(most, |left, slot| left.minus(slot.minimum()));
    let recipients = running().filter(|slot| slot.open_request).count();
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
            concurrent = concurrent.plus(if slot.open_request { equal } else { slot.minimum() });
        }
    }
}

/// Writes the shares into a container; what stands there is only ever lowered.
fn write<'a>(
    demand: &ContainerDemand,
    container: &mut Object<'a>,
    requests: &'a Amounts,
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
            set(resources, "limits", resource, limit.to_string(), demand, filled);
        }
        // Below a limit that is denied itself every request would be denied too.
        let ceiling = limit.or(slot.limit).filter(|ceiling| !ceiling.is_negative());
        let Some(ceiling) = ceiling.filter(|_| slot.open_request) else { continue };
        let wanted = requests.of(resource);
        let request = wanted.value.min(ceiling).min(slot.most_request.unwrap_or(ceiling));
        if lower(slot.request, request) {
            let text = if request == wanted.value { wanted.text.clone() } else { request.to_string() };
            set(resources, "requests", resource, text, demand, filled);
        }
    }
}

fn set(
    resources: &mut Object,
    kind: &'static str,
    resource: Resource,
    text: String,
    demand: &ContainerDemand,
    filled: &mut FilledResources,
) {
    if let Some(amounts) = resources.object_mut(kind) {
        filled.put(&demand.name, kind, resource, &text);
        amounts.set(resource.as_str(), text);
    }
}

/// The amounts that earlier rounds filled, as the annotation has them, and those that this one adds.
#[derive(Default)]
struct FilledResources {
    entries: Vec<Entry>,
    /// The number of amounts that this round set.
    changed: usize,
}

/// One amount that was filled.
struct Entry {
    container: String,
    kind: String,
    resource: String,
    text: String,
}

impl Entry {
    fn is(&self, container: &str, kind: &str, resource: &str) -> bool {
        self.container == container && self.kind == kind && self.resource == resource
    }
}

impl FilledResources {
    fn of(pod: &Value) -> Self {
        let metadata = pod.as_object().and_then(|pod| pod.object("metadata"));
        let text =
            metadata.and_then(|metadata| metadata.object("annotations")).and_then(|all| all.str(FILLED));
        let Some(Ok(Value::Object(containers))) = text.map(value_from_str) else { return Self::default() };
        let mut entries = Vec::new();
        for (container, kinds) in containers.iter() {
            for (kind, amounts) in kinds.as_object().into_iter().flat_map(Object::iter) {
                for (resource, text) in amounts.as_object().into_iter().flat_map(Object::iter) {
                    if let Some(text) = text.as_str() {
                        let [container, kind, resource, text] =
                            [container, kind, resource, text].map(str::to_owned);
                        entries.push(Entry { container, kind, resource, text });
                    }
                }
            }
        }
        // A forged annotation must not make a small Pod costly.
        entries.truncate(6 * MAX_CONTAINERS);
        Self { entries, changed: 0 }
    }

    fn get(&self, container: &str, kind: &str, resource: Resource) -> Option<&str> {
        let entry = self.entries.iter().find(|entry| entry.is(container, kind, resource.as_str()))?;
        Some(&entry.text)
    }

    fn put(&mut self, container: &str, kind: &str, resource: Resource, text: &str) {
        self.changed += 1;
        let resource = resource.as_str();
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.is(container, kind, resource)) {
            text.clone_into(&mut entry.text);
            return;
        }
        let [container, kind, resource, text] = [container, kind, resource, text].map(str::to_owned);
        self.entries.push(Entry { container, kind, resource, text });
    }

    fn remember(&self, pod: &mut Value) {
        if self.changed == 0 {
            return;
        }
        let Ok(text) = serde_json::to_string(&self.as_json()) else { return };
        if let Some(annotations) = metadata_mut(pod).and_then(|metadata| metadata.object_mut("annotations")) {
            annotations.set(FILLED, text);
        }
    }

    fn as_json(&self) -> Value<'_> {
        let mut containers = Object::default();
        for Entry { container, kind, resource, text } in &self.entries {
            let amounts = containers.object_mut(container).and_then(|kinds| kinds.object_mut(kind));
            if let Some(amounts) = amounts {
                amounts.set(resource.as_str(), text.as_str());
            }
        }
        Value::Object(containers)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::{super::testing::*, FILLED};

    fn limits(pod: &Json, list: &str, index: usize) -> Json {
        pod["spec"][list][index]["resources"]["limits"].clone()
    }

    fn amounts(cpu: &str, memory: &str, disk: &str) -> Json {
        json!({"cpu": cpu, "memory": memory, "ephemeral-storage": disk})
    }

    /// A Pod of containers that set nothing but a name.
    fn bare(names: &[&str]) -> Json {
        let mut pod = plain_pod();
        pod["spec"]["containers"] = names.iter().map(|name| json!({"name": name, "image": "i"})).collect();
        pod
    }

    #[test]
    fn what_is_filled_beside_a_wrong_amount_is_not_refused_too() {
        let mut pod = bare(&["a"]);
        pod["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "-1"}});
        assert_eq!(violations(&filled(&pod)), ["resource-limits spec.containers[0].resources.limits[cpu]"]);
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "3"}});
        assert_eq!(violations(&filled(&pod)), ["resource-limits spec.containers[0].resources.requests[cpu]"]);
    }

    #[test]
    fn a_single_container_gets_the_policys_requests_and_limits() {
        let pod = filled(&bare(&["a"]));
        assert_eq!(limits(&pod, "containers", 0), amounts("2", "4Gi", "10Gi"));
        assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"], amounts("500m", "1Gi", "1Gi"));
    }

    #[test]
    fn containers_without_limits_share_equally() {
        let pod = filled(&bare(&["a", "b", "c"]));
        for index in 0..3 {
            assert_eq!(limits(&pod, "containers", index), amounts("666m", "1365Mi", "3413Mi"));
        }
        assert_eq!(violations(&pod), Vec::<String>::new());
    }

    #[test]
    fn what_a_person_wrote_stays_and_the_others_share_the_rest() {
        let mut pod = bare(&["a", "b", "c"]);
        pod["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1", "memory": "3Gi"}});
        let pod = filled(&pod);
        assert_eq!(limits(&pod, "containers", 0), amounts("1", "3Gi", "3413Mi"));
        assert_eq!(limits(&pod, "containers", 1), amounts("500m", "512Mi", "3413Mi"));
        assert_eq!(pod["spec"]["containers"][1]["resources"]["requests"], amounts("500m", "512Mi", "1Gi"));
        assert_eq!(violations(&pod), Vec::<String>::new());
    }

    #[test]
    fn a_limit_is_never_below_a_request_that_a_person_wrote() {
        let mut pod = bare(&["a", "b"]);
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"memory": "3Gi"}});
        let pod = filled(&pod);
        assert_eq!(limits(&pod, "containers", 0)["memory"], "3Gi");
        assert_eq!(limits(&pod, "containers", 1)["memory"], "1Gi");
        assert_eq!(violations(&pod), Vec::<String>::new());
    }

    #[test]
    fn requests_are_clamped_to_a_smaller_limit() {
        let mut pod = bare(&["a"]);
        pod["spec"]["containers"][0]["resources"] = json!({"limits": amounts("100m", "64Mi", "128Mi")});
        assert_eq!(
            filled(&pod)["spec"]["containers"][0]["resources"]["requests"],
            amounts("100m", "64Mi", "128Mi")
        );
    }

    #[test]
    fn an_init_container_may_use_the_whole_budget_and_beside_a_sidecar_the_rest() {
        let mut pod = bare(&["a"]);
        pod["spec"]["initContainers"] = json!([
            {"name": "first", "image": "i"},
            {"name": "sidecar", "image": "i", "restartPolicy": "Always"},
            {"name": "second", "image": "i"}
        ]);
        let pod = filled(&pod);
        assert_eq!(limits(&pod, "initContainers", 0), amounts("2", "4Gi", "10Gi"));
        assert_eq!(limits(&pod, "initContainers", 1), amounts("1", "2Gi", "5Gi"));
        assert_eq!(limits(&pod, "initContainers", 2), amounts("1", "2Gi", "5Gi"));
        assert_eq!(violations(&pod), Vec::<String>::new());
    }

    #[test]
    fn a_sidecar_that_comes_later_shares_what_was_filled() {
        let mut pod = filled(&bare(&["a"]));
        pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "late", "image": "i"}));
        let pod = filled(&pod);
        assert_eq!(limits(&pod, "containers", 0), amounts("1", "2Gi", "5Gi"));
        assert_eq!(limits(&pod, "containers", 1), amounts("1", "2Gi", "5Gi"));
        assert_eq!(violations(&pod), Vec::<String>::new());
        assert_eq!(filled(&pod), pod);
    }

    #[test]
    fn a_sidecar_with_limits_of_its_own_lowers_what_was_filled_requests_too() {
        let mut pod = filled(&bare(&["a"]));
        let late =
            json!({"name": "late", "image": "i", "resources": {"limits": amounts("1750m", "3584Mi", "1Gi")}});
        pod["spec"]["containers"].as_array_mut().unwrap().push(late);
        let pod = filled(&pod);
        assert_eq!(limits(&pod, "containers", 0), amounts("250m", "512Mi", "9Gi"));
        assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"], amounts("250m", "512Mi", "1Gi"));
        assert_eq!(violations(&pod), Vec::<String>::new());
    }

    #[test]
    fn the_overhead_of_the_runtime_class_lowers_what_was_filled() {
        let mut pod = filled(&bare(&["a"]));
        pod["spec"]["overhead"] = json!({"cpu": "100m", "memory": "64Mi"});
        let pod = filled(&pod);
        assert_eq!(limits(&pod, "containers", 0), amounts("1900m", "4032Mi", "10Gi"));
        assert_eq!(violations(&pod), Vec::<String>::new());
    }

    #[test]
    fn containers_share_what_the_pod_limits_itself_to() {
        let mut pod = bare(&["a", "b"]);
        pod["spec"]["resources"] = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        let pod = filled(&pod);
        for index in 0..2 {
            assert_eq!(limits(&pod, "containers", index), amounts("500m", "512Mi", "5Gi"));
        }
        assert_eq!(violations(&pod), Vec::<String>::new());
    }

    /// The API server takes what some containers request for the request of the Pod, and then refuses more.
    #[test]
    fn requests_stay_within_the_request_of_the_pod() {
        let mut pod = bare(&["a", "b", "c"]);
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "250m", "memory": "512Mi"}});
        pod["spec"]["initContainers"] = json!([
            {"name": "first", "image": "i"},
            {"name": "sidecar", "image": "i", "restartPolicy": "Always"},
            {"name": "second", "image": "i"}
        ]);
        pod["spec"]["resources"] =
            json!({"limits": {"cpu": "2", "memory": "4Gi"}, "requests": {"cpu": "550m", "memory": "512Mi"}});
        let pod = filled(&pod);
        let requests = |list: &str, index: usize| pod["spec"][list][index]["resources"]["requests"].clone();
        assert_eq!(requests("containers", 0), amounts("250m", "512Mi", "1Gi"));
        assert_eq!(requests("containers", 1), amounts("100m", "0", "1Gi"));
        assert_eq!(requests("containers", 2), amounts("100m", "0", "1Gi"));
        assert_eq!(requests("initContainers", 0), amounts("500m", "512Mi", "1Gi"));
        assert_eq!(requests("initContainers", 1), amounts("100m", "0", "1Gi"));
        assert_eq!(requests("initContainers", 2), amounts("450m", "512Mi", "1Gi"));
        assert_eq!(violations(&pod), Vec::<String>::new());
        assert_eq!(filled(&pod), pod);
    }

    #[test]
    fn what_a_person_wrote_is_not_lowered() {
        let mut pod = complete_pod();
        pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "late", "image": "i"}));
        let pod = filled(&pod);
        assert_eq!(limits(&pod, "containers", 0), amounts("2", "4Gi", "10Gi"));
        let found = violations(&pod);
        assert!(
            found.contains(&"resource-limits spec.containers[1].resources.limits[cpu]".to_string()),
            "{found:?}"
        );
    }

    #[test]
    fn what_a_person_wrote_over_a_fill_is_not_lowered() {
        let mut pod = filled(&bare(&["a"]));
        pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] = json!("1500m");
        pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "late", "image": "i"}));
        let pod = filled(&pod);
        assert_eq!(limits(&pod, "containers", 0), amounts("1500m", "2Gi", "5Gi"));
        assert_eq!(limits(&pod, "containers", 1), amounts("500m", "2Gi", "5Gi"));
    }

    #[test]
    fn what_a_person_wrote_for_an_init_container_is_not_lowered() {
        let mut pod = bare(&["a"]);
        let resources = json!({"limits": amounts("2", "4Gi", "10Gi")});
        pod["spec"]["initContainers"] = json!([
            {"name": "sidecar", "image": "i", "restartPolicy": "Always"},
            {"name": "init", "image": "i", "resources": resources}
        ]);
        let pod = filled(&pod);
        assert_eq!(limits(&pod, "initContainers", 1), amounts("2", "4Gi", "10Gi"));
        assert_eq!(violations(&pod), ["pod-budget spec.containers"; 3]);
    }

    #[test]
    fn where_nothing_is_left_no_limit_is_made_up() {
        let mut pod = complete_pod();
        pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "late", "image": "i"}));
        assert_eq!(limits(&filled(&pod), "containers", 1), Json::Null);
    }

    #[test]
    fn requests_alone_get_their_limits() {
        let mut pod = bare(&["a"]);
        pod["spec"]["containers"][0]["resources"] = json!({"requests": amounts("1", "1Gi", "1Gi")});
        assert_eq!(limits(&filled(&pod), "containers", 0), amounts("2", "4Gi", "10Gi"));
    }

    #[test]
    fn a_wish_for_an_equal_share_changes_no_share() {
        let mut pod = bare(&["a", "b", "c"]);
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "666m"}});
        let pod = filled(&pod);
        for index in 0..3 {
            assert_eq!(limits(&pod, "containers", index)["cpu"], "666m");
        }
    }

    #[test]
    fn shares_are_whole_numbers_that_people_read() {
        let mut pod = bare(&["a", "b", "c"]);
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1001m", "memory": "3071Mi"}});
        pod["spec"]["resources"] = json!({"requests": {"cpu": "1502m", "memory": "3584Mi"}});
        let pod = filled(&pod);
        assert_eq!(limits(&pod, "containers", 1), amounts("499m", "512Mi", "3413Mi"));
        let requests = &pod["spec"]["containers"][1]["resources"]["requests"];
        assert_eq!(*requests, amounts("250m", "256Mi", "1Gi"));
    }

    #[test]
    fn what_was_filled_is_remembered_of_every_container() {
        let names: Vec<String> = (0..100).map(|index| format!("c{index}")).collect();
        let mut pod = filled(&bare(&names.iter().map(String::as_str).collect::<Vec<_>>()));
        pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "late", "image": "i"}));
        let pod = filled(&pod);
        for index in 0..101 {
            assert_eq!(limits(&pod, "containers", index), amounts("19m", "40Mi", "101Mi"), "{index}");
        }
        assert_eq!(violations(&pod), Vec::<String>::new());
    }

    #[test]
    fn a_forged_memory_of_what_was_filled_raises_nothing() {
        let mut pod = complete_pod();
        pod["spec"]["containers"][0]["resources"]["limits"] = amounts("1", "1Gi", "1Gi");
        let forged = json!({"main": {"limits": amounts("1", "1Gi", "1Gi")}}).to_string();
        pod["metadata"]["annotations"] = json!({FILLED: forged});
        assert_eq!(filled(&pod), pod);
        for nonsense in ["", "{", "[1]", r#"{"main":{"limits":{"cpu":1}}}"#, r#"{"main":7}"#] {
            pod["metadata"]["annotations"] = json!({FILLED: nonsense});
            assert_eq!(filled(&pod), pod);
        }
    }

    #[test]
    fn a_limit_above_the_ceiling_is_refused() {
        for (name, value) in [
            ("cpu", json!("2001m")),
            ("cpu", json!(3)),
            ("memory", json!("4294967297")),
            ("ephemeral-storage", json!("1Ti")),
        ] {
            let mut pod = complete_pod();
            pod["spec"]["containers"][0]["resources"]["limits"][name] = value;
            let expected = format!("resource-limits spec.containers[0].resources.limits[{name}]");
            assert_eq!(violations(&filled(&pod)), [expected, "pod-budget spec.containers".into()]);
        }
    }

    #[test]
    fn a_limit_that_is_no_limit_is_refused() {
        for value in
            [json!("0"), json!(0), json!("-1"), json!("lots"), json!(""), json!("1e999999999"), json!("0e9")]
        {
            rejects("resource-limits spec.containers[0].resources.limits[cpu]", |pod| {
                pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] = value;
            });
        }
    }

    #[test]
    fn a_request_beyond_the_ceiling_is_refused() {
        for value in [json!("3"), json!("x"), json!("-1")] {
            rejects("resource-limits spec.containers[0].resources.requests[cpu]", |pod| {
                pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = value;
            });
        }
    }

    #[test]
    fn different_spellings_of_the_ceiling_are_admitted() {
        accepts(|pod| {
            pod["spec"]["containers"][0]["resources"]["limits"] = amounts("2000m", "4294967296", "10240Mi")
        });
    }

    #[test]
    fn an_ephemeral_container_is_not_given_resources() {
        let mut pod = complete_pod();
        let mut debugger = pod["spec"]["containers"][0].clone();
        without(&mut debugger, "resources");
        pod["spec"]["ephemeralContainers"] = json!([debugger]);
        assert_eq!(filled(&pod), pod);
        assert_eq!(violations(&pod), Vec::<String>::new());
    }
}
