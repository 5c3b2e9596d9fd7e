//! What a policy may not say: a default above its own maximum, a fill that its own check refuses.

use super::{
    Amounts, Capabilities, EVERY_OTHER, IdRange, Images, Lifecycle, NodeOperator, NodeRequirement, Placement,
    Resource, Resources, RuntimeClass, Security, ServiceAccount, Spec, Toleration, TolerationOperator,
    Volumes,
};
use crate::pod::schema;

/// Path and problem of each contradiction.
type Problems = Vec<(String, String)>;

pub(super) fn contradictions(name: &str, spec: &Spec) -> Problems {
    let Spec {
        namespaces,
        mode: _,
        labels,
        runtime_class,
        service_account,
        lifecycle,
        placement,
        security,
        volumes,
        secrets: _,
        resources,
        images,
        exempt: _,
        warnings: _,
    } = spec;
    let mut problems = Problems::new();
    if !is_qualified_value(name) || name.is_empty() {
        say(
            &mut problems,
            "metadata.name",
            format!("{name:?} must be 1 to 63 letters, digits, '-', '_' or '.'"),
        );
    }
    if namespaces.is_empty() {
        say(
            &mut problems,
            "spec.namespaces",
            "must name at least one namespace, or the policy holds nowhere",
        );
    }
    for (index, namespace) in namespaces.iter().enumerate() {
        let path = format!("spec.namespaces[{index}]");
        if !is_dns_label(namespace) && namespace != EVERY_OTHER {
            say(
                &mut problems,
                &path,
                format!(
                    "{namespace:?} cannot be the name of a namespace; {EVERY_OTHER:?} is every one that no other \
                     policy names, and there are no other patterns"
                ),
            );
        }
        if namespaces[..index].contains(namespace) {
            say(&mut problems, &path, format!("{namespace:?} is named twice"));
        }
    }
    for (key, value) in labels {
        if !is_qualified_name(key) || !is_qualified_value(value) {
            say(&mut problems, "spec.labels", format!("{key}={value} is no valid label"));
        }
    }
    runtime_class_problems(runtime_class, &mut problems);
    service_account_problems(service_account, &mut problems);
    lifecycle_problems(lifecycle, &mut problems);
    placement_problems(placement, &mut problems);
    security_problems(security, &mut problems);
    volume_problems(volumes, &mut problems);
    resource_problems(resources, &mut problems);
    image_problems(images, &mut problems);
    problems
}

fn say(problems: &mut Problems, path: &str, problem: impl Into<String>) {
    problems.push((path.into(), problem.into()));
}

fn runtime_class_problems(RuntimeClass { default, allowed }: &RuntimeClass, problems: &mut Problems) {
    if !allowed.contains(default) {
        let problem = format!(
            "{default:?} is not one of spec.runtimeClass.allowed {allowed:?}; the fill would be refused"
        );
        say(problems, "spec.runtimeClass.default", problem);
    }
}

fn service_account_problems(
    ServiceAccount { name, automount_token: _ }: &ServiceAccount,
    problems: &mut Problems,
) {
    if name.is_empty() {
        say(problems, "spec.serviceAccount.name", "must name a service account");
    }
}

fn lifecycle_problems(lifecycle: &Lifecycle, problems: &mut Problems) {
    let Lifecycle {
        restart_policy: _,
        active_deadline_seconds: deadline,
        termination_grace_period_seconds: _,
    } = lifecycle;
    if deadline.default > deadline.max {
        let problem = format!("{} is above its own max {}", deadline.default, deadline.max);
        say(problems, "spec.lifecycle.activeDeadlineSeconds.default", problem);
    }
    if deadline.default == 0 {
        say(problems, "spec.lifecycle.activeDeadlineSeconds.default", "must be at least 1 second");
    }
}

fn placement_problems(placement: &Placement, problems: &mut Problems) {
    let Placement { node_affinity, tolerations, schedulers, priority_classes: _ } = placement;
    for (index, NodeRequirement { key, operator, values }) in node_affinity.iter().enumerate() {
        let path = format!("spec.placement.nodeAffinity[{index}]");
        if !is_qualified_name(key) {
            say(problems, &format!("{path}.key"), format!("{key:?} is no valid node label"));
        }
        let wanted = match operator {
            NodeOperator::In | NodeOperator::NotIn if values.is_empty() => "needs at least one value",
            NodeOperator::Exists | NodeOperator::DoesNotExist if !values.is_empty() => "takes no values",
            NodeOperator::Gt | NodeOperator::Lt if values.len() != 1 => "takes exactly one value",
            _ => continue,
        };
        say(problems, &format!("{path}.values"), format!("operator {} {wanted}", operator.as_str()));
    }
    for (index, toleration) in tolerations.iter().enumerate() {
        let Toleration { key, operator, value, effect: _ } = toleration;
        let path = format!("spec.placement.tolerations[{index}]");
        if key.is_empty() {
            say(
                problems,
                &format!("{path}.key"),
                "must name a taint; an empty key would tolerate every node",
            );
        }
        if *operator == TolerationOperator::Exists && !value.is_empty() {
            say(problems, &format!("{path}.value"), "must be empty where the operator is Exists");
        }
    }
    if schedulers.is_empty() {
        say(
            problems,
            "spec.placement.schedulers",
            "must name at least one scheduler, or every Pod is refused",
        );
    }
}

fn security_problems(security: &Security, problems: &mut Problems) {
    let Security { run_as_user, run_as_group, fs_group, seccomp, capabilities, read_only_root_filesystem: _ } =
        security;
    for (field, IdRange { default, min, max }) in
        [("runAsUser", run_as_user), ("runAsGroup", run_as_group), ("fsGroup", fs_group)]
    {
        let path = format!("spec.security.{field}");
        if min > max {
            say(problems, &format!("{path}.min"), format!("{min} is above its own max {max}"));
        } else if !(min..=max).contains(&default) {
            say(
                problems,
                &format!("{path}.default"),
                format!("{default} lies outside its own range {min} to {max}"),
            );
        }
        if *max > i32::MAX.unsigned_abs() {
            say(
                problems,
                &format!("{path}.max"),
                format!("{max} is above 2147483647, the highest id Kubernetes takes"),
            );
        }
    }
    if run_as_user.min == 0 {
        say(
            problems,
            "spec.security.runAsUser.min",
            "0 is root; the rule run-as-non-root refuses it. Use 1 or more",
        );
    }
    if seccomp.is_empty() {
        say(problems, "spec.security.seccomp", "must name at least one profile, or every Pod is refused");
    }
    for (index, profile) in seccomp.iter().enumerate() {
        if profile != "RuntimeDefault" && profile.strip_prefix("Localhost/").is_none_or(str::is_empty) {
            let problem = format!("{profile:?} must be RuntimeDefault or Localhost/<profile>");
            say(problems, &format!("spec.security.seccomp[{index}]"), problem);
        }
    }
    let Capabilities { drop, allowed_add } = capabilities;
    for (field, names) in [("drop", drop), ("allowedAdd", allowed_add)] {
        for (index, name) in names.iter().enumerate() {
            if name.starts_with("CAP_") || name.chars().any(|c| !c.is_ascii_uppercase() && c != '_') {
                let problem =
                    format!("{name:?} must be written as Kubernetes does: NET_BIND_SERVICE, without CAP_");
                say(problems, &format!("spec.security.capabilities.{field}[{index}]"), problem);
            }
        }
    }
    if allowed_add.iter().any(|name| name == "ALL") {
        say(
            problems,
            "spec.security.capabilities.allowedAdd",
            "ALL would give every capability; name the ones you need",
        );
    }
}

fn volume_problems(Volumes { allowed, writable }: &Volumes, problems: &mut Problems) {
    for (index, kind) in allowed.iter().enumerate() {
        if schema::volume_type(kind).is_none() {
            let problem =
                format!("{kind:?} is no volume type; use the field's name, such as emptyDir or configMap");
            say(problems, &format!("spec.volumes.allowed[{index}]"), problem);
        }
    }
    if !writable.is_empty() && !allowed.iter().any(|kind| kind == "emptyDir") {
        say(problems, "spec.volumes.allowed", "must contain emptyDir, which spec.volumes.writable fills in");
    }
    for (index, volume) in writable.iter().enumerate() {
        let path = format!("spec.volumes.writable[{index}]");
        if !is_dns_label(&volume.name) {
            say(
                problems,
                &format!("{path}.name"),
                format!("{:?} cannot be the name of a volume", volume.name),
            );
        }
        if !is_plain_path(&volume.path) {
            let problem = format!(
                "{:?} must be an absolute path below /, without '..', '//', ':' or a slash at its end",
                volume.path
            );
            say(problems, &format!("{path}.path"), problem);
        }
        let earlier = &writable[..index];
        if earlier.iter().any(|other| other.name == volume.name || other.path == volume.path) {
            say(problems, &path, "repeats a name or a path of an earlier entry");
        }
    }
}

fn resource_problems(Resources { container, pod }: &Resources, problems: &mut Problems) {
    let higher = |low: &Amounts, high: &Amounts| {
        Resource::ALL
            .into_iter()
            .filter(|resource| low.of(*resource).value > high.of(*resource).value)
            .collect::<Vec<_>>()
    };
    for resource in higher(&container.requests, &container.limits) {
        let (name, request, limit) =
            (resource.as_str(), container.requests.of(resource), container.limits.of(resource));
        let problem =
            format!("{request} is above the limit {limit} of spec.resources.container.limits.{name}");
        say(problems, &format!("spec.resources.container.requests.{name}"), problem);
    }
    for resource in higher(&container.limits, &pod.limits) {
        let (name, limit, budget) =
            (resource.as_str(), container.limits.of(resource), pod.limits.of(resource));
        let problem =
            format!("{limit} is above the whole Pod's budget {budget} of spec.resources.pod.limits.{name}");
        say(problems, &format!("spec.resources.container.limits.{name}"), problem);
    }
}

fn image_problems(Images { allowed_prefixes, require_digest: _ }: &Images, problems: &mut Problems) {
    for (index, prefix) in allowed_prefixes.iter().enumerate() {
        if prefix.is_empty() {
            say(
                problems,
                &format!("spec.images.allowedPrefixes[{index}]"),
                "an empty prefix allows every image",
            );
        }
    }
}

fn is_dns_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len())
        && text.chars().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_qualified_name(key: &str) -> bool {
    let name = match key.split_once('/') {
        Some((prefix, name)) if prefix.split('.').all(is_dns_label) => name,
        Some(_) => return false,
        None => key,
    };
    !name.is_empty() && is_qualified_value(name)
}

fn is_qualified_value(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    text.len() <= 63
        && text.chars().all(inner)
        && (text.is_empty() || (text.starts_with(edge) && text.ends_with(edge)))
}

fn is_plain_path(path: &str) -> bool {
    let Some(below) = path.strip_prefix('/') else { return false };
    !path.contains(':') && below.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}
