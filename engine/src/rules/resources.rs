//! The resources of the Pod as a whole: kinds, claims and the budget.

use super::{
    Group, Rule,
    helpers::{amount, cel_effective_total, effective_total},
    runtime::CEL_CLASS,
    volume_types::OneOf,
};
use crate::{
    cel::{self, Keys, Statement, patterns},
    json::{Object, Value},
    path::{LazyPath, SPEC},
    pod::{Container, ContainerKind, Pod, Quantity},
    policy::{Amount, ExtendedResource, Resource, Spec},
    violations::{Reporter, show},
};

pub(super) static RESOURCE_KINDS: Rule = Rule {
    id: "resource-kinds",
    group: Group::Resources,
    title: "The Pod requests cpu, memory, ephemeral-storage and the policy's extended resources only.",
    why: "Extended resources are devices of the node: each allowed one has a maximum for the whole Pod and the runtime \
          classes that it may be used with. Huge pages are outside every limit that is checked here.",
    references: &["https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/"],
    setting: "spec.resources.extended",
    fill: None,
    check: check_resource_kinds,
    cel: Some(cel_resource_kinds),
};

static CONTAINERS: LazyPath<'static> = SPEC.child("containers");
static RESOURCE_CLAIMS_PATH: LazyPath<'static> = SPEC.child("resourceClaims");
static RESOURCES: LazyPath<'static> = SPEC.child("resources");

/// The two amounts of a resource.
const KINDS: [&str; 2] = ["requests", "limits"];

fn check_resource_kinds(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let class = pod.spec.str("runtimeClassName").unwrap_or_default();
    if let Some(resources) = pod.spec.object("resources") {
        // The Pod as a whole can have no devices.
        for (kind, name, value) in other_amounts(resources) {
            out.report(RESOURCES.child(kind).key(name), show(Some(value)), "absent", "remove this resource");
        }
    }
    for container in &pod.containers {
        let Some(resources) = container.object.object("resources") else { continue };
        for (kind, name, value) in other_amounts(resources) {
            let resources = container.at("resources");
            let amounts = resources.child(kind);
            check_extended(
                spec.resources.extended.get(name),
                class,
                container,
                amounts.key(name),
                value,
                out,
            );
        }
    }
    for (name, extended) in &spec.resources.extended {
        let total = effective_total(pod.containers.iter().map(|c| (c.kind, most_of(c, name))));
        if total > Quantity::from(extended.max) {
            let wanted = format_args!("at most {} {name} for the Pod", extended.max);
            let remedy = format_args!("ask for less (policy key resources.extended[{name}].max)");
            out.report(CONTAINERS, format_args!("{total} {name} in total"), wanted, remedy);
        }
    }
}

/// Returns the amounts of other resources than those that every container has, with the field they are in.
fn other_amounts<'r, 'a>(
    resources: &'r Object<'a>,
) -> impl Iterator<Item = (&'static str, &'r str, &'r Value<'a>)> {
    let is_other = |name: &str| Resource::ALL.into_iter().all(|resource| resource.as_str() != name);
    KINDS.into_iter().flat_map(move |kind| {
        let amounts = resources.object(kind).into_iter().flat_map(Object::iter);
        amounts.filter(move |(name, _)| is_other(name)).map(move |(name, value)| (kind, name, value))
    })
}

fn check_extended(
    extended: Option<&ExtendedResource>,
    class: &str,
    container: &Container,
    path: LazyPath,
    value: &Value,
    out: &mut Reporter,
) {
    let Some(extended) = extended.filter(|_| container.kind != ContainerKind::Ephemeral) else {
        out.report(path, show(Some(value)), "absent", "remove this resource (policy key resources.extended)");
        return;
    };
    if !extended.runtime_classes.iter().any(|allowed| allowed == class) {
        let classes = extended.runtime_classes.join(" or ");
        let wanted = format_args!("absent unless runtimeClassName is {classes}");
        let remedy = "use this runtime class (policy key resources.extended)";
        out.report(path, show(Some(value)), wanted, remedy);
    } else if amount(Some(value)).is_none_or(Quantity::is_negative) {
        let wanted = format_args!("0 to {}", extended.max);
        let remedy = "write a number (policy key resources.extended)";
        out.report(path, show(Some(value)), wanted, remedy);
    }
}

/// Returns the greater of request and limit of a resource: devices are given whole, for either.
fn most_of(container: &Container, name: &str) -> Quantity {
    let Some(resources) = container.object.object("resources") else { return Quantity::ZERO };
    let of = |kind: &str| amount(resources.object(kind)?.get(name));
    KINDS.into_iter().filter_map(of).max().unwrap_or_default().max(Quantity::ZERO)
}

const CEL_KNOWN_RESOURCES: &str = "['cpu', 'memory', 'ephemeral-storage']";

fn cel_resource_kinds(keys: Keys) -> Vec<Statement> {
    let extended = &keys.spec.resources.extended;
    let mut checks: Vec<Statement> = KINDS
        .into_iter()
        .map(|kind| {
            let amounts = format!("v.o.?spec.?resources.?{kind}.orValue({{}})");
            let found =
                format!("strings.quote({amounts}.filter(r, !(r in {CEL_KNOWN_RESOURCES})).join(', '))");
            Statement::pod(
                format!("{amounts}.exists(r, !(r in {CEL_KNOWN_RESOURCES}))"),
                &format!("spec.resources.{kind}"),
                &found,
            )
        })
        .collect();
    for kind in KINDS {
        let amounts = format!("c.o.?resources.?{kind}.orValue({{}})");
        let allowed = extended.iter().map(|(name, extended)| {
            format!(
                "(r == {} && {CEL_CLASS} in {} && !quantity({amounts}[r]).isLessThan(quantity('0')))",
                cel::text(name),
                cel::list(&extended.runtime_classes)
            )
        });
        let allowed = cel::all(["c.k != 'ephemeral'".into(), cel::any(allowed)]);
        let denied = cel::all([format!("!(r in {CEL_KNOWN_RESOURCES})"), cel::not(&allowed)]);
        checks.push(Statement::container(
            format!("{amounts}.exists(r, {denied})"),
            &format!("resources.{kind}"),
            &format!("strings.quote({amounts}.filter(r, {denied}).map(r, r + '=' + string({amounts}[r])).join(', '))"),
        ));
    }
    for (name, extended) in extended {
        let amount = |container: &str| {
            let of = |kind: &str| {
                format!(
                    "quantity({container}.o.?resources.?{kind}[?{}].orValue('0')).asApproximateFloat()",
                    cel::text(name)
                )
            };
            format!("[0.0, {}, {}].max()", of("requests"), of("limits"))
        };
        let total = cel_effective_total(amount);
        checks.push(Statement::pod(
            format!("{total} > {}.0", extended.max),
            "spec.containers",
            &format!("string({total}) + {}", cel::text(&format!(" {name} in total"))),
        ));
    }
    checks
}

pub(super) static RESOURCE_CLAIMS: Rule = Rule {
    id: "resource-claims",
    group: Group::Resources,
    title: "The Pod claims devices through the policy's ResourceClaimTemplates only.",
    why: "A resource claim (dynamic resource allocation) gives a device of the node to the Pod. A claim that exists \
          already may be another team's, so only claims that are made for the Pod from a named template are allowed.",
    references: &["https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/"],
    setting: "spec.resources.resourceClaimTemplates",
    fill: None,
    check: check_resource_claims,
    cel: Some(cel_resource_claims),
};

fn check_resource_claims(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let names = &spec.resources.resource_claim_templates;
    let remedy = "remove it (policy key resources.resourceClaimTemplates)";
    if !names.is_empty() {
        // What a container claims refers to these claims by name.
        for (index, claim) in pod.spec.list("resourceClaims") {
            check_claim(names, claim, RESOURCE_CLAIMS_PATH.index(index), out);
        }
        return;
    }
    if pod.spec.list("resourceClaims").next().is_some() {
        out.report(RESOURCE_CLAIMS_PATH, show(pod.spec.get("resourceClaims")), "unset", remedy);
    }
    let of_pod = pod.spec.object("resources").map(|resources| (RESOURCES, resources));
    let of_containers = pod.containers.iter().filter_map(|container| {
        let resources = container.object.object("resources")?;
        Some((container.at("resources"), resources))
    });
    for (path, resources) in of_pod.into_iter().chain(of_containers) {
        if resources.list("claims").next().is_some() {
            out.report(path.child("claims"), show(resources.get("claims")), "unset", remedy);
        }
    }
}

fn check_claim(names: &crate::policy::Names, claim: &Value, path: LazyPath, out: &mut Reporter) {
    let Some(claim) = claim.as_object() else { return };
    let existing = claim.get("resourceClaimName");
    if existing.is_some() {
        let remedy = "name a ResourceClaimTemplate: an existing claim may be another team's";
        out.report(path.child("resourceClaimName"), show(existing), "unset", remedy);
    }
    let template = claim.get("resourceClaimTemplateName");
    let is_allowed = template.and_then(Value::as_str).is_some_and(|name| names.allows(name));
    if !is_allowed && (template.is_some() || existing.is_none()) {
        let remedy = "name an allowed template (policy key resources.resourceClaimTemplates)";
        out.report(path.child("resourceClaimTemplateName"), show(template), OneOf(names), remedy);
    }
}

fn cel_resource_claims(keys: Keys) -> Vec<Statement> {
    let names = &keys.spec.resources.resource_claim_templates;
    let claims = "v.o.?spec.?resourceClaims.orValue([])";
    let template = "l.?resourceClaimTemplateName";
    let allowed = cel::all([
        "!l.?resourceClaimName.hasValue()".into(),
        format!("{template}.hasValue()"),
        patterns::names(names, &format!("{template}.orValue('')")),
    ]);
    let denied = cel::not(&allowed);
    let found = format!("strings.quote({claims}.filter(l, {denied}).map(l, l.name).join(', '))");
    let mut checks =
        vec![Statement::pod(format!("{claims}.exists(l, {denied})"), "spec.resourceClaims", &found)];
    if names.is_empty() {
        checks.push(Statement::pod(
            "v.o.?spec.?resources.?claims.orValue([]).size() > 0".into(),
            "spec.resources.claims",
            "'set'",
        ));
        checks.push(Statement::container(
            "c.o.?resources.?claims.orValue([]).size() > 0".into(),
            "resources.claims",
            "'set'",
        ));
    }
    checks
}

pub(super) static POD_BUDGET: Rule = Rule {
    id: "pod-budget",
    group: Group::Resources,
    title: "The Pod as a whole stays within its budget.",
    why: "Inside one gVisor sandbox only the Pod's limits are enforced, so the total is limited: the app containers \
          and sidecars together, or an init container with the sidecars before it if that is more. Where the Pod has a \
          limit of its own (spec.resources), that one counts. The overhead of the runtime class is set by the cluster \
          and not limited.",
    references: &[
        "NSA/CISA Kubernetes Hardening Guide 1.2, Resource policies",
        "Kubescape, C-0303: Agent Sandbox resource ceilings",
        "https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/",
    ],
    setting: "spec.resources.pod.limits",
    fill: None,
    check: check_pod_budget,
    cel: Some(cel_pod_budget),
};

fn check_pod_budget(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let of_pod = pod.spec.object("resources");
    for resource in Resource::ALL {
        let name = resource.as_str();
        let budget = spec.resources.pod.limits.of(resource);
        for kind in KINDS {
            let found = of_pod.and_then(|resources| resources.object(kind)?.get(name));
            let fits = |found| amount(found).is_some_and(|a| a > Quantity::ZERO && a <= budget.value);
            if found.is_some() && !fits(found) {
                out.report(
                    RESOURCES.child(kind).key(name),
                    show(found),
                    format_args!("more than 0, at most {budget}"),
                    format_args!("set it to at most {budget} (policy key resources.pod.limits)"),
                );
            }
        }
        if super::helpers::of_pod(pod.spec, "limits", resource).is_some() {
            continue;
        }
        let total = effective_total(pod.containers.iter().map(|c| (c.kind, limit_of(c, name))));
        if total > budget.value {
            out.report(
                CONTAINERS,
                format_args!("{total} {name} in total"),
                format_args!("at most {budget} {name} for the Pod"),
                "lower the containers' limits and requests (policy key resources.pod.limits)",
            );
        }
    }
}

fn limit_of(container: &Container, name: &str) -> Quantity {
    let resources = container.object.object("resources");
    amount(resources.and_then(|resources| resources.object("limits")?.get(name))).unwrap_or_default()
}

/// Returns the condition that the Pod as a whole has a limit of its own, which Kubernetes knows for cpu and memory.
pub(super) fn cel_has_limit_of_pod(resource: Resource) -> String {
    format!("v.o.?spec.?resources.?limits[?'{}'].hasValue()", resource.as_str())
}

fn cel_pod_budget(keys: Keys) -> Vec<Statement> {
    let mut checks = Vec::new();
    for resource in Resource::ALL {
        let (name, budget) = (resource.as_str(), keys.spec.resources.pod.limits.of(resource));
        for kind in KINDS {
            let amount = format!("v.o.?spec.?resources.?{kind}[?'{name}']");
            let condition = format!("{amount}.hasValue() && !{}", patterns::is_within(&amount, budget));
            let found = format!("string({amount}.orValue('unset'))");
            checks.push(Statement::pod(condition, &format!("spec.resources.{kind}[{name}]"), &found));
        }
        let total = cel_effective_total(|container| {
            format!("quantity({container}.o.?resources.?limits[?'{name}'].orValue('0')).asApproximateFloat()")
        });
        let exceeds = format!("{total} > {}", cel_ceiling(resource, budget));
        let condition = if resource == Resource::EphemeralStorage {
            exceeds
        } else {
            format!("!{} && {exceeds}", cel_has_limit_of_pod(resource))
        };
        checks.push(Statement::pod(
            condition,
            "spec.containers",
            &format!("string({total}) + ' {name} in total'"),
        ));
    }
    checks
}

fn cel_ceiling(resource: Resource, budget: &Amount) -> String {
    let budget = format!("quantity({}).asApproximateFloat()", cel::text(&budget.text));
    // Thousandths of a core have no exact double.
    if resource == Resource::Cpu { format!("{budget} + 0.000000001") } else { budget }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;
    use crate::policy::Spec;

    fn resources(pod: &mut Json) -> &mut Json {
        &mut pod["spec"]["containers"][0]["resources"]
    }

    #[test]
    fn other_resources_are_denied() {
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
    fn claims_are_denied() {
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
    fn overhead_of_the_runtime_class_is_not_limited() {
        for overhead in [json!({"cpu": "50m", "memory": "64Mi"}), json!({"cpu": "64"}), json!({"cpu": "-1"})]
        {
            accepts(|pod| pod["spec"]["overhead"] = overhead);
        }
    }

    #[test]
    fn limit_of_the_pod_counts_instead_of_the_sum_of_its_containers() {
        let mut pod = complete_pod_of_three();
        pod["spec"]["containers"][1]["resources"]["limits"]["cpu"] = json!("2");
        pod["spec"]["resources"] = json!({"limits": {"cpu": "2"}});
        assert_eq!(violations(&pod), Vec::<String>::new());
        pod["spec"]["resources"] = json!({"limits": {"cpu": "3"}});
        assert_eq!(violations(&pod), ["pod-budget spec.resources.limits[cpu]"]);
        pod["spec"]["resources"] = json!({"limits": {"memory": "4Gi"}});
        assert_eq!(violations(&pod), ["pod-budget spec.containers"]);
    }

    #[test]
    fn limit_of_the_pod_that_is_none_is_denied() {
        for value in [json!("0"), json!("-1"), json!("x")] {
            rejects("pod-budget spec.resources.limits[cpu]", |pod| {
                pod["spec"]["resources"] = json!({"limits": {"cpu": value}})
            });
        }
        accepts(|pod| pod["spec"]["resources"] = json!({"limits": {"cpu": null}, "requests": null}));
    }

    fn gpu() -> Spec {
        spec(
            "{runtimeClass: {allowed: [gvisor, gvisor-gpu]}, \
             resources: {extended: {nvidia.com/gpu: {max: 2, runtimeClasses: [gvisor-gpu]}}}}",
        )
    }

    fn ask(pod: &mut Json, list: &str, index: usize, count: Json) {
        let resources = &mut pod["spec"][list][index]["resources"];
        resources["limits"]["nvidia.com/gpu"] = count.clone();
        resources["requests"]["nvidia.com/gpu"] = count;
    }

    #[test]
    fn extended_resource_is_admitted_up_to_its_maximum() {
        for count in [json!("1"), json!(2), json!("0"), json!(null)] {
            accepts_under(&gpu(), |pod| {
                pod["spec"]["runtimeClassName"] = json!("gvisor-gpu");
                ask(pod, "containers", 0, count);
            });
        }
        rejects_under(&gpu(), "resource-kinds spec.containers", |pod| {
            pod["spec"]["runtimeClassName"] = json!("gvisor-gpu");
            ask(pod, "containers", 0, json!("3"));
        });
    }

    #[test]
    fn maximum_of_an_extended_resource_is_of_the_whole_pod() {
        let kinds = |pod: &Json| {
            let found = violations_of(&gpu(), pod);
            found.into_iter().filter(|line| line.starts_with("resource-kinds ")).collect::<Vec<_>>()
        };
        let mut pod = complete_pod_of_three();
        pod["spec"]["runtimeClassName"] = json!("gvisor-gpu");
        // Init containers run first and give their devices back.
        for (list, index) in [("containers", 0), ("containers", 1), ("initContainers", 0)] {
            ask(&mut pod, list, index, json!("1"));
        }
        assert_eq!(kinds(&pod), Vec::<String>::new());
        ask(&mut pod, "containers", 1, json!("2"));
        assert_eq!(kinds(&pod), ["resource-kinds spec.containers"]);
        ask(&mut pod, "containers", 1, json!("1"));
        pod["spec"]["initContainers"][0]["restartPolicy"] = json!("Always");
        assert_eq!(kinds(&pod), ["resource-kinds spec.containers"]);
    }

    #[test]
    fn extended_resource_under_another_class_is_denied() {
        let limits = "resource-kinds spec.containers[0].resources.limits[nvidia.com/gpu]";
        rejects_under(&gpu(), limits, |pod| {
            pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = json!("1");
        });
    }

    #[test]
    fn extended_resource_in_a_wrong_amount_or_place_is_denied() {
        let limits = "resource-kinds spec.containers[0].resources.limits[nvidia.com/gpu]";
        for count in [json!("-1"), json!("x")] {
            rejects_under(&gpu(), limits, |pod| {
                pod["spec"]["runtimeClassName"] = json!("gvisor-gpu");
                pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = count;
            });
        }
        rejects_under(&gpu(), "resource-kinds spec.resources.limits[nvidia.com/gpu]", |pod| {
            pod["spec"]["runtimeClassName"] = json!("gvisor-gpu");
            pod["spec"]["resources"] = json!({"limits": {"nvidia.com/gpu": "1"}});
        });
        let ephemeral = "resource-kinds spec.ephemeralContainers[0].resources.limits[nvidia.com/gpu]";
        let mut pod = complete_pod();
        pod["spec"]["runtimeClassName"] = json!("gvisor-gpu");
        let mut debugger = pod["spec"]["containers"][0].clone();
        debugger["name"] = json!("debugger");
        debugger["resources"] = json!({"limits": {"nvidia.com/gpu": "1"}});
        pod["spec"]["ephemeralContainers"] = json!([debugger]);
        assert_eq!(violations_of(&gpu(), &pod), [ephemeral]);
    }

    #[test]
    fn claim_from_an_allowed_template_is_admitted() {
        let open = spec("{resources: {resourceClaimTemplates: [single-gpu]}}");
        let claims = |claim: Json| {
            move |pod: &mut Json| {
                pod["spec"]["resourceClaims"] = json!([claim]);
                resources(pod)["claims"] = json!([{"name": "gpu"}]);
            }
        };
        accepts_under(&open, claims(json!({"name": "gpu", "resourceClaimTemplateName": "single-gpu"})));
        accepts_under(
            &open,
            claims(
                json!({"name": "gpu", "resourceClaimName": null, "resourceClaimTemplateName": "single-gpu"}),
            ),
        );
        for (claim, field) in [
            (json!({"resourceClaimTemplateName": "other"}), "resourceClaimTemplateName"),
            (json!({}), "resourceClaimTemplateName"),
            (json!({"resourceClaimName": "of-another-team"}), "resourceClaimName"),
            (
                json!({"resourceClaimName": "x", "resourceClaimTemplateName": "single-gpu"}),
                "resourceClaimName",
            ),
        ] {
            let mut claim = claim;
            claim["name"] = json!("gpu");
            rejects_under(&open, &format!("resource-claims spec.resourceClaims[0].{field}"), claims(claim));
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
