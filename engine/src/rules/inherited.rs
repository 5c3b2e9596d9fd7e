//! Fields of a security context that containers inherit from the Pod, unless an exception wants another value for them.

use std::ptr;

use super::helpers::SECURITY_CONTEXT;
use crate::{
    json::{Object, Value},
    path::LazyPath,
    pod::{self, Container, Pod, each_container_mut, spec_mut},
    policy::{Profile, Spec},
};

/// Checks the effective value of a field: a container's own, or else the Pod's. `fits` gets the keys of the container and
/// the value, `None` if it is unset. `report` gets what does not fit: the Pod's value once, however many containers
/// inherit it, and each container's own, with that container.
pub(super) fn check_inherited(
    pod: &Pod,
    field: &str,
    fits: impl Fn(&Spec, Option<&Value>) -> bool,
    mut report: impl FnMut(LazyPath, Option<&Value>, &Spec, Option<&Container>),
) {
    let of_pod = pod.security.get(field);
    let mut is_inherited = false;
    let mut misfit = None;
    for container in pod.containers.iter().filter(|container| container.security.get(field).is_none()) {
        is_inherited = true;
        if !fits(container.spec, of_pod) {
            misfit = Some(container.spec);
            break;
        }
    }
    // A value that no container inherits would hold for one that is added to the running Pod.
    if !is_inherited && of_pod.is_some() && !fits(&pod.profile.spec, of_pod) {
        misfit = Some(&pod.profile.spec);
    }
    if let Some(spec) = misfit {
        report(SECURITY_CONTEXT.child(field), of_pod, spec, None);
    }
    for container in &pod.containers {
        let own = container.security.get(field);
        if own.is_some() && !fits(container.spec, own) {
            report(container.at("securityContext").child(field), own, container.spec, Some(container));
        }
    }
}

/// Fills a field where it is unset, and returns how many fields it set. The Pod gets the value, and containers inherit it.
/// A container gets a value of its own if its exception wants another one, or if what it would inherit does not fit. If a
/// container is to be left open, the Pod is left open and every other container gets its own value.
pub(super) fn fill_inherited<'a, V>(
    profile: &'a Profile,
    pod: &mut Value<'a>,
    field: &'static str,
    wanted: impl Fn(&'a Spec) -> Option<V>,
    fits: impl Fn(&Spec, Option<&Value>) -> bool,
) -> usize
where
    V: Copy + PartialEq + Into<Value<'a>>,
{
    let for_pod = wanted(&profile.spec);
    if profile.exceptions.is_empty() {
        return for_pod.is_some_and(|value| fill_of_pod(pod, field, value)).into();
    }
    let written = pod::spec(pod).object("securityContext").and_then(|security| security.get(field)).cloned();
    let for_pod = for_pod.filter(|_| written.is_none() && !is_left_open(profile, pod, field, &wanted));
    let mut filled = usize::from(for_pod.is_some_and(|value| fill_of_pod(pod, field, value)));
    each_container_mut(pod, profile, |_, container, spec| {
        let inherits_well = match &written {
            Some(written) => ptr::eq(spec, &raw const profile.spec) || fits(spec, Some(written)),
            None => wanted(spec) == for_pod,
        };
        if inherits_well || has_own(container, field) {
            return;
        }
        let Some(value) = wanted(spec) else { return };
        let security = container.object_mut("securityContext");
        filled += usize::from(security.is_some_and(|security| security.set_default(field, value)));
    });
    filled
}

/// Fills a field of `spec.securityContext`, and returns true if it was unset.
pub(super) fn fill_of_pod<'a>(pod: &mut Value<'a>, field: &'static str, value: impl Into<Value<'a>>) -> bool {
    let security = spec_mut(pod).and_then(|pod| pod.object_mut("securityContext"));
    security.is_some_and(|security| security.set_default(field, value))
}

/// Returns true if a container without a value of its own is to have none.
fn is_left_open<'a, V>(
    profile: &'a Profile,
    pod: &mut Value<'a>,
    field: &str,
    wanted: impl Fn(&'a Spec) -> Option<V>,
) -> bool {
    let mut found = false;
    each_container_mut(pod, profile, |_, container, spec| {
        found = found || (!has_own(container, field) && wanted(spec).is_none());
    });
    found
}

fn has_own(container: &Object, field: &str) -> bool {
    container.object("securityContext").is_some_and(|security| security.get(field).is_some())
}
