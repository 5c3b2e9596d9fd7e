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

const CEL_INIT: &str = "v.all.filter(c, c.k == 'init')";

/// Returns the most that the containers hold at one time, in CEL, of the double that `amount` gives for a container.
pub(super) fn cel_effective_total(amount: impl Fn(&str) -> String) -> String {
    let running = format!("v.all.filter(c, c.k == 'app' || c.k == 'sidecar').map(c, {}).sum()", amount("c"));
    // An init container runs beside the sidecars before it; names are different, so their order can be looked up.
    let names = "v.o.?spec.?initContainers.orValue([]).map(i, i.name)";
    let before = format!(
        "v.all.filter(w, w.k == 'sidecar' && {names}.indexOf(w.o.name) < {names}.indexOf(c.o.name)).map(w, {}).sum()",
        amount("w")
    );
    format!("([{running}] + {CEL_INIT}.map(c, {} + {before})).max()", amount("c"))
}
