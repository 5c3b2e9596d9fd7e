//! The resources of the Pod as a whole.

use super::{
    Group, Rule,
    helpers::{amount, overhead},
};
use crate::{
    json::Object,
    path::{LazyPath, SPEC},
    pod::{ContainerKind, Pod, Quantity},
    policy::{Resource, Spec},
    violations::{Reporter, show},
};

pub(super) static RESOURCE_KINDS: Rule = Rule {
    id: "resource-kinds",
    group: Group::Resources,
    title: "The Pod requests cpu, memory and ephemeral-storage only.",
    why: "Extended resources are devices of the node, and huge pages are outside every limit that is checked here.",
    references: &["https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/"],
    setting: "",
    fill: None,
    check: check_resource_kinds,
};

fn check_resource_kinds(_: &Spec, pod: &Pod, out: &mut Reporter) {
    let known = |name: &str| Resource::ALL.into_iter().any(|resource| resource.as_str() == name);
    for (path, resources) in all_resources(pod) {
        for kind in ["requests", "limits"] {
            for (name, value) in resources.object(kind).into_iter().flat_map(Object::iter) {
                if !known(name) {
                    out.report(
                        path.child(kind).key(name),
                        show(Some(value)),
                        "absent",
                        "remove this resource",
                    );
                }
            }
        }
    }
}

static OVERHEAD: LazyPath<'static> = SPEC.child("overhead");
static RESOURCES: LazyPath<'static> = SPEC.child("resources");

/// Returns `resources` of the Pod and of each container, with its path.
fn all_resources<'p, 'a>(pod: &'p Pod<'p, 'a>) -> impl Iterator<Item = (LazyPath<'p>, &'p Object<'a>)> {
    let of_pod = pod.spec.object("resources").map(|resources| (RESOURCES, resources));
    let of_containers = pod.containers.iter().filter_map(|container| {
        let resources = container.object.object("resources")?;
        Some((container.at("resources"), resources))
    });
    of_pod.into_iter().chain(of_containers)
}

pub(super) static RESOURCE_CLAIMS: Rule = Rule {
    id: "resource-claims",
    group: Group::Resources,
    title: "The Pod claims no devices.",
    why: "A resource claim (dynamic resource allocation) gives a device of the node to the Pod.",
    references: &["https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/"],
    setting: "",
    fill: None,
    check: check_resource_claims,
};

fn check_resource_claims(_: &Spec, pod: &Pod, out: &mut Reporter) {
    if pod.spec.list("resourceClaims").next().is_some() {
        let found = show(pod.spec.get("resourceClaims"));
        out.report(SPEC.child("resourceClaims"), found, "unset", "remove resourceClaims");
    }
    for (path, resources) in all_resources(pod) {
        if resources.list("claims").next().is_some() {
            out.report(path.child("claims"), show(resources.get("claims")), "unset", "remove claims");
        }
    }
}

pub(super) static POD_BUDGET: Rule = Rule {
    id: "pod-budget",
    group: Group::Resources,
    title: "The Pod as a whole stays within its budget.",
    why: "Inside one gVisor sandbox only the Pod's limits are enforced, so the total is limited: the app containers \
          and sidecars together, or an init container with the sidecars before it if that is more, plus the \
          overhead of the runtime class. spec.resources is limited too.",
    references: &[
        "https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/",
        "https://kubernetes.io/docs/concepts/scheduling-eviction/pod-overhead/",
    ],
    setting: "spec.resources.pod.limits",
    fill: None,
    check: check_pod_budget,
};

fn check_pod_budget(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    for resource in Resource::ALL {
        let name = resource.as_str();
        let budget = spec.resources.pod.limits.of(resource);
        let total = effective_total(pod, resource);
        if total > budget.value && overhead(pod.spec, resource) >= budget.value {
            // No limit of a container, however low, would help: a limit of 0 is none.
            let found = pod.spec.object("overhead").and_then(|overhead| overhead.get(name));
            let remedy = "leave the overhead to the runtime class";
            out.report(
                OVERHEAD.key(name),
                show(found),
                format_args!("less than {budget}, the Pod's budget"),
                remedy,
            );
        } else if total > budget.value {
            let wanted = format!("at most {budget} {name} for the Pod");
            out.report(
                SPEC.child("containers"),
                format_args!("{total} {name} in total"),
                wanted,
                "lower the containers' limits and requests",
            );
        }
        check_overhead(pod, name, out);
        for kind in ["requests", "limits"] {
            let Some(found) =
                pod.spec.object("resources").and_then(|r| r.object(kind)).and_then(|r| r.get(name))
            else {
                continue;
            };
            let fits =
                amount(Some(found)).is_some_and(|found| found > Quantity::ZERO && found <= budget.value);
            if !fits {
                out.report(
                    RESOURCES.child(kind).key(name),
                    show(Some(found)),
                    format_args!("more than 0, at most {budget}"),
                    format_args!("set it to at most {budget} or remove spec.resources"),
                );
            }
        }
    }
}

/// Reports an overhead that cannot be read, which the total ignores, or is below zero, which would raise the budget.
fn check_overhead(pod: &Pod, name: &str, out: &mut Reporter) {
    let Some(found) = pod.spec.object("overhead").and_then(|overhead| overhead.get(name)) else { return };
    if amount(Some(found)).is_none_or(|overhead| overhead < Quantity::ZERO) {
        out.report(
            OVERHEAD.key(name),
            show(Some(found)),
            "a quantity of 0 or more",
            "leave the overhead to the runtime class",
        );
    }
}

/// The Pod's limit as the scheduler and the kubelet reckon it (`k8s.io/component-helpers/resource`):
/// the greater of all that runs together and each init container with the sidecars before it, plus overhead.
fn effective_total(pod: &Pod, resource: Resource) -> Quantity {
    let mut running = Quantity::ZERO;
    let mut starting = Quantity::ZERO;
    for container in &pod.containers {
        let limits = container.object.object("resources").and_then(|resources| resources.object("limits"));
        let limit = amount(limits.and_then(|limits| limits.get(resource.as_str()))).unwrap_or_default();
        match container.kind {
            ContainerKind::Init => starting = starting.max(running.plus(limit)),
            ContainerKind::App | ContainerKind::Sidecar => running = running.plus(limit),
            ContainerKind::Ephemeral => {}
        }
    }
    running.max(starting).plus(overhead(pod.spec, resource))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;

    fn resources(pod: &mut Json) -> &mut Json {
        &mut pod["spec"]["containers"][0]["resources"]
    }

    #[test]
    fn other_resources_are_refused() {
        for name in ["nvidia.com/gpu", "hugepages-2Mi", "CPU"] {
            rejects(&format!("resource-kinds spec.containers[0].resources.limits[{name}]"), |pod| {
                resources(pod)["limits"][name] = json!("1");
            });
        }
        rejects("resource-kinds spec.resources.requests[hugepages-2Mi]", |pod| {
            pod["spec"]["resources"] = json!({"requests": {"hugepages-2Mi": "2Mi"}});
        });
    }

    #[test]
    fn claims_are_refused() {
        rejects("resource-claims spec.resourceClaims", |pod| {
            pod["spec"]["resourceClaims"] = json!([{"name": "gpu", "resourceClaimName": "g"}]);
        });
        rejects("resource-claims spec.containers[0].resources.claims", |pod| {
            resources(pod)["claims"] = json!([{"name": "gpu"}])
        });
    }

    #[test]
    fn containers_together_stay_within_the_budget() {
        let mut pod = complete_pod_of_three();
        assert_eq!(violations(&pod), Vec::<String>::new());
        pod["spec"]["containers"][1]["resources"]["limits"]["cpu"] = json!("1001m");
        assert_eq!(violations(&pod), ["pod-budget spec.containers"]);
    }

    #[test]
    fn an_init_container_counts_with_the_sidecars_before_it() {
        let mut pod = complete_pod_of_three();
        pod["spec"]["containers"].as_array_mut().unwrap().pop();
        let init = pod["spec"]["initContainers"][0].clone();
        let mut sidecar = init.clone();
        sidecar["name"] = json!("sidecar");
        sidecar["restartPolicy"] = json!("Always");
        pod["spec"]["initContainers"] = json!([sidecar, init]);
        assert_eq!(violations(&pod), Vec::<String>::new());
        pod["spec"]["initContainers"][1]["resources"]["limits"]["memory"] = json!("2049Mi");
        assert_eq!(violations(&pod), ["pod-budget spec.containers"]);
        pod["spec"]["initContainers"].as_array_mut().unwrap().reverse();
        assert_eq!(violations(&pod), Vec::<String>::new(), "before the sidecar starts it runs alone");
    }

    #[test]
    fn overhead_counts() {
        rejects("pod-budget spec.containers", |pod| pod["spec"]["overhead"] = json!({"memory": "64Mi"}));
        accepts(|pod| {
            pod["spec"]["overhead"] = json!({"memory": "64Mi"});
            resources(pod)["limits"]["memory"] = json!("4032Mi");
        });
    }

    #[test]
    fn an_overhead_that_cannot_be_counted_is_refused() {
        for overhead in [json!("-1"), json!("1e99"), json!("1K"), json!("")] {
            rejects("pod-budget spec.overhead[cpu]", |pod| {
                pod["spec"]["overhead"] = json!({"cpu": overhead})
            });
        }
        accepts(|pod| pod["spec"]["overhead"] = json!({"cpu": "0"}));
    }

    #[test]
    fn an_overhead_that_leaves_nothing_exceeds_nothing_by_itself() {
        let mut pod = complete_pod();
        pod["spec"]["overhead"] = json!({"cpu": "2"});
        without(&mut resources(&mut pod)["limits"], "cpu");
        assert_eq!(violations(&pod), ["resource-limits spec.containers[0].resources.limits[cpu]"]);
        assert_eq!(violations(&filled(&pod)), ["pod-budget spec.overhead[cpu]"]);
    }

    #[test]
    fn an_overhead_beyond_the_budget_is_not_blamed_on_the_containers() {
        for beyond in ["2001m", "2"] {
            rejects("pod-budget spec.overhead[cpu]", |pod| pod["spec"]["overhead"] = json!({"cpu": beyond}));
        }
    }

    #[test]
    fn resources_of_the_pod_are_capped() {
        for kind in ["limits", "requests"] {
            rejects(&format!("pod-budget spec.resources.{kind}[cpu]"), |pod| {
                pod["spec"]["resources"] = json!({kind: {"cpu": "64"}})
            });
            accepts(|pod| pod["spec"]["resources"] = json!({kind: {"cpu": "2"}}));
        }
    }
}
