//! Helpers that several rules use.

use std::fmt;

use crate::{
    json::{Object, Value},
    path::{LazyPath, SPEC},
    pod::{ContainerKind, Pod, Quantity},
    policy::Resource,
    violations::{Reporter, show},
};

/// A Pod of more containers is denied, and nothing is filled in it.
pub(super) const MAX_CONTAINERS: usize = 500;

/// `spec.securityContext` of a Pod.
pub(super) static SECURITY_CONTEXT: LazyPath<'static> = SPEC.child("securityContext");
/// `spec.volumes` of a Pod.
pub(super) static VOLUMES: LazyPath<'static> = SPEC.child("volumes");

/// The value that a rule expects of a security context field that containers inherit from the Pod.
pub(super) struct Expected<'w> {
    pub(super) field: &'static str,
    pub(super) wanted: &'w dyn fmt::Display,
    pub(super) remedy: &'w dyn fmt::Display,
}

/// Words of which each is allowed, joined when they are written.
pub(super) struct AnyOf<'w>(pub(super) &'w [String]);

impl fmt::Display for AnyOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0.join(" or "))
    }
}

/// Checks the effective value of an inherited security context field: the Pod's if a container has none.
/// If neither has one, the Pod's is reported, once.
pub(super) fn check_inherited(
    pod: &Pod,
    expected: &Expected,
    out: &mut Reporter,
    fits: impl Fn(&Value) -> bool,
) {
    let Expected { field, wanted, remedy } = expected;
    let of_pod = pod.security.get(field);
    let inherits = || pod.containers.iter().any(|container| container.security.get(field).is_none());
    if of_pod.is_some_and(|value| !fits(value)) || (of_pod.is_none() && inherits()) {
        out.report(SECURITY_CONTEXT.child(field), show(of_pod), wanted, remedy);
    }
    for container in &pod.containers {
        let own = container.security.get(field);
        if own.is_some_and(|value| !fits(value)) {
            out.report(container.at("securityContext").child(field), show(own), wanted, remedy);
        }
    }
}

/// Returns the quantity that a Pod has at `value`: a string, or a number.
pub(super) fn amount(value: Option<&Value>) -> Option<Quantity> {
    match value? {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}

/// Returns the amount that the Pod sets for its containers together, as it is written. Kubernetes knows cpu and memory
/// there, and no disk.
pub(super) fn of_pod<'p, 'a>(
    pod_spec: &'p Object<'a>,
    kind: &str,
    resource: Resource,
) -> Option<&'p Value<'a>> {
    if resource == Resource::EphemeralStorage {
        return None;
    }
    pod_spec.object("resources")?.object(kind)?.get(resource.as_str())
}

/// Returns the most of a resource that a Pod holds at one time, as the scheduler and the kubelet compute it
/// (`k8s.io/component-helpers/resource`): the greater of all that run together and each init container with the
/// sidecars before it. The overhead of the runtime class is not part of it.
pub(super) fn effective_total(containers: impl Iterator<Item = (ContainerKind, Quantity)>) -> Quantity {
    let mut running = Quantity::ZERO;
    let mut starting = Quantity::ZERO;
    for (kind, amount) in containers {
        match kind {
            ContainerKind::Init => starting = starting.max(running.plus(amount)),
            ContainerKind::App | ContainerKind::Sidecar => running = running.plus(amount),
            ContainerKind::Ephemeral => {}
        }
    }
    running.max(starting)
}

/// Returns true if the root file system of the container is read-only.
pub(super) fn has_read_only_root(container: &Object) -> bool {
    container.object("securityContext").and_then(|security| security.bool("readOnlyRootFilesystem"))
        == Some(true)
}

/// Returns whether `volume` is the one that the `ServiceAccount` admission plugin adds. Both name and content must be
/// the plugin's, since the author of a Pod may choose either.
pub(super) fn is_api_token_volume(volume: &Object) -> bool {
    let named = volume.str("name").is_some_and(|name| name.starts_with("kube-api-access-"));
    let Some(projected) = volume.object("projected") else { return false };
    let mut seen = [false; 3];
    for (_, source) in projected.list("sources") {
        let Some(source) = source.as_object() else { return false };
        let mut kinds = source.iter();
        let position = match (kinds.next(), kinds.next()) {
            (Some(("serviceAccountToken", _)), None) => 0,
            (Some(("configMap", Value::Object(map))), None)
                if map.str("name") == Some("kube-root-ca.crt") =>
            {
                1
            }
            (Some(("downwardAPI", Value::Object(api))), None) if gives_namespace_only(api) => 2,
            _ => return false,
        };
        if std::mem::replace(&mut seen[position], true) {
            return false;
        }
    }
    named && seen == [true; 3]
}

fn gives_namespace_only(api: &Object) -> bool {
    api.list("items").all(|(_, item)| {
        let field = item.as_object().and_then(|item| item.object("fieldRef"));
        field.and_then(|field| field.str("fieldPath")) == Some("metadata.namespace")
    })
}
