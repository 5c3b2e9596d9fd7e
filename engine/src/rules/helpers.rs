//! Helpers that several rules use.

use std::fmt;

use crate::{
    json::{Object, Value},
    path::{LazyPath, SPEC},
    pod::{ContainerKind, Quantity},
    policy::Resource,
};

/// `spec.securityContext` of a Pod.
pub(super) static SECURITY_CONTEXT: LazyPath<'static> = SPEC.child("securityContext");
/// `spec.volumes` of a Pod.
pub(super) static VOLUMES: LazyPath<'static> = SPEC.child("volumes");

/// Words of which each is allowed, joined when they are written.
pub(super) struct AnyOf<'w>(pub(super) &'w [String]);

impl fmt::Display for AnyOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0.join(" or "))
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
