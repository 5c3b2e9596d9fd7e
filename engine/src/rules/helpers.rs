//! Helpers that several rules use.

use std::fmt;

use crate::{
    json::{Object, Value},
    path::{LazyPath, SPEC},
    pod::{Pod, Quantity},
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

/// Returns what the runtime class adds to the Pod whose spec is `pod`.
pub(super) fn overhead(pod: &Object, resource: Resource) -> Quantity {
    let overhead = pod.object("overhead").and_then(|overhead| overhead.get(resource.as_str()));
    amount(overhead).unwrap_or_default()
}
