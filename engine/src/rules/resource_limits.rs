//! The requests and limits of each container, each with a ceiling of its own.

use super::{
    Group, Rule,
    helpers::{amount, of_pod},
    resource_fill::fill_resource_limits,
    resources::cel_has_limit_of_pod,
};
use crate::{
    cel::{self, Keys, Statement, patterns},
    json::Value,
    pod::{ContainerKind, Pod, Quantity},
    policy::{Resource, Spec},
    violations::{Reporter, show},
};

pub(super) static RESOURCE_LIMITS: Rule = Rule {
    id: "resource-limits",
    group: Group::Resources,
    title: "Every container has limits, none above the policy's.",
    why: "A container without a limit can use the whole node, and a limit of 0 is no limit. Containers without \
          limits share equally what the Pod's budget leaves; requests are filled, share the Pod's request and never \
          exceed the limit. Where the Pod has a limit of its own, its containers share that one and need none. \
          Ephemeral containers cannot have resources and run within the Pod's.",
    references: &[
        "NSA/CISA Kubernetes Hardening Guide 1.2, Resource policies",
        "Kubescape, C-0268: Ensure CPU requests are set",
        "Kubescape, C-0269: Ensure memory requests are set",
        "Kubescape, C-0270: Ensure CPU limits are set",
        "Kubescape, C-0271: Ensure memory limits are set",
        "Kubescape, C-0303: Agent Sandbox resource ceilings",
        "Kubescape, C-0311: agent-sandbox-container-limits",
        "https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/",
    ],
    setting: "spec.resources.container",
    fill: Some(fill_resource_limits),
    check: check_resource_limits,
    cel: Some(cel_resource_limits),
};

fn check_resource_limits(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let ceilings = &spec.resources.container.limits;
    for container in pod.containers.iter().filter(|container| container.kind != ContainerKind::Ephemeral) {
        let resources = container.object.object("resources");
        let of = |kind: &str, name: &str| resources.and_then(|all| all.object(kind)?.get(name));
        for resource in Resource::ALL {
            let (name, ceiling) = (resource.as_str(), ceilings.of(resource));
            let limit = of("limits", name);
            let is_shared = limit.is_none() && of_pod(pod.spec, "limits", resource).is_some();
            if !is_shared && !fits(limit, ceiling.value) {
                let action = match limit {
                    None => "set a limit: the other containers use up the Pod's budget".to_owned(),
                    Some(_) => format!("set it to at most {ceiling} or leave it out on create"),
                };
                let resources = container.at("resources");
                let limits = resources.child("limits");
                out.report(
                    limits.key(name),
                    show(limit),
                    format_args!("more than 0, at most {ceiling}"),
                    format_args!("{action} (policy key {})", if limit.is_none() { POD_KEY } else { KEY }),
                );
            }
            let request = of("requests", name);
            let request_fits = amount(request).is_some_and(|a| !a.is_negative() && a <= ceiling.value);
            if request.is_some() && !request_fits {
                out.report(
                    container.at("resources").child("requests").key(name),
                    show(request),
                    format_args!("0 or more, at most {ceiling}"),
                    format_args!("set it to at most {ceiling} or leave it out on create (policy key {KEY})"),
                );
            }
        }
    }
}

const KEY: &str = "resources.container.limits";
const POD_KEY: &str = "resources.pod.limits";

fn fits(value: Option<&Value>, ceiling: Quantity) -> bool {
    amount(value).is_some_and(|amount| amount > Quantity::ZERO && amount <= ceiling)
}

fn cel_resource_limits(keys: Keys) -> Vec<Statement> {
    let mut checks = Vec::new();
    for resource in Resource::ALL {
        let (name, ceiling) = (resource.as_str(), keys.spec.resources.container.limits.of(resource));
        let of = |kind: &str| format!("c.o.?resources.?{kind}[?'{name}']");
        let (limit, request) = (of("limits"), of("requests"));
        let is_shared = format!("(!{limit}.hasValue() && {})", cel_has_limit_of_pod(resource));
        let condition = cel::all([
            "c.k != 'ephemeral'".into(),
            cel::not(&cel::any([
                if resource == Resource::EphemeralStorage { "false".into() } else { is_shared },
                patterns::is_within(&limit, ceiling),
            ])),
        ]);
        checks.push(Statement::container(
            condition,
            &format!("resources.limits[{name}]"),
            &format!("string({limit}.orValue('unset'))"),
        ));
        let misfit = format!(
            "c.k != 'ephemeral' && {request}.hasValue() && (quantity({request}.value()).isLessThan(quantity('0')) || \
             quantity({request}.value()).isGreaterThan(quantity({})))",
            cel::text(&ceiling.text)
        );
        checks.push(Statement::container(
            misfit,
            &format!("resources.requests[{name}]"),
            &format!("string({request}.orValue('unset'))"),
        ));
    }
    checks
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::*;

    fn amounts(cpu: &str, memory: &str, disk: &str) -> serde_json::Value {
        json!({"cpu": cpu, "memory": memory, "ephemeral-storage": disk})
    }

    #[test]
    fn limit_above_the_ceiling_is_denied() {
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
    fn limit_that_is_no_quantity_is_denied() {
        for value in
            [json!("0"), json!(0), json!("-1"), json!("lots"), json!(""), json!("1e999999999"), json!("0e9")]
        {
            rejects("resource-limits spec.containers[0].resources.limits[cpu]", |pod| {
                pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] = value;
            });
        }
    }

    #[test]
    fn request_beyond_the_ceiling_is_denied() {
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

    #[test]
    fn missing_limit_is_denied_unless_the_pod_has_one() {
        let limit = |name: &str| format!("resource-limits spec.containers[0].resources.limits[{name}]");
        let mut pod = complete_pod();
        for name in ["cpu", "memory", "ephemeral-storage"] {
            pod["spec"]["containers"][0]["resources"]["limits"][name] = json!(null);
        }
        assert_eq!(violations(&pod), ["cpu", "memory", "ephemeral-storage"].map(limit));
        pod["spec"]["resources"] =
            json!({"limits": {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "10Gi"}});
        assert_eq!(violations(&pod), [limit("ephemeral-storage")]);
        pod["spec"]["resources"]["limits"]["cpu"] = json!(null);
        assert_eq!(violations(&pod), [limit("cpu"), limit("ephemeral-storage")]);
    }

    #[test]
    fn limit_of_a_container_keeps_its_ceiling_beside_one_of_the_pod() {
        rejects("resource-limits spec.containers[0].resources.limits[cpu]", |pod| {
            pod["spec"]["resources"] = json!({"limits": {"cpu": "2"}});
            pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] = json!("2001m");
        });
    }
}
