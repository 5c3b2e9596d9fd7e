//! The bounds on the size of a Pod, which the backstop has too: CEL over a large Pod takes seconds of the API server.

use super::helpers::VOLUMES;
use crate::{
    path::{LazyPath, METADATA, SPEC},
    pod::Pod,
    violations::Reporter,
};

/// The most containers of all kinds. A Pod of more is denied, and nothing is filled in it.
pub(crate) const MAX_CONTAINERS: usize = 100;
/// The most volumes.
pub(crate) const MAX_VOLUMES: usize = 100;
/// The most environment variables of all containers, the most entries of their `envFrom`, and the most of their ports.
pub(crate) const MAX_VARIABLES: usize = 2000;
/// The most volume mounts of all containers.
pub(crate) const MAX_MOUNTS: usize = 500;
/// The most tolerations.
pub(crate) const MAX_TOLERATIONS: usize = 200;
/// The most labels, and the most annotations.
pub(crate) const MAX_METADATA: usize = 500;

/// The lists of a container that are bounded by the sum over all containers, each with the noun of its items.
pub(crate) const BOUNDED_LISTS: [(&str, &str, usize); 4] = [
    ("env", "environment variables", MAX_VARIABLES),
    ("envFrom", "sources of environment variables", MAX_VARIABLES),
    ("ports", "ports", MAX_VARIABLES),
    ("volumeMounts", "volume mounts", MAX_MOUNTS),
];

/// Reports each bound that a Pod exceeds.
pub(super) fn check(pod: &Pod, out: &mut Reporter) {
    let containers = SPEC.child("containers");
    bound(containers, "containers", pod.containers.len(), MAX_CONTAINERS, out);
    bound(VOLUMES, "volumes", pod.spec.list("volumes").count(), MAX_VOLUMES, out);
    let tolerations = pod.spec.list("tolerations").count();
    bound(SPEC.child("tolerations"), "tolerations", tolerations, MAX_TOLERATIONS, out);
    for of in ["labels", "annotations"] {
        let count = pod.metadata.object(of).map_or(0, |map| map.iter().count());
        bound(METADATA.child(of), of, count, MAX_METADATA, out);
    }
    for (list, noun, max) in BOUNDED_LISTS {
        let count = pod.containers.iter().map(|container| container.object.list(list).count()).sum();
        bound(containers, noun, count, max, out);
    }
}

/// The text has no count: a Pod that is too large before and after an update violates nothing new.
fn bound(path: LazyPath, noun: &str, count: usize, max: usize, out: &mut Reporter) {
    if count > max {
        let (found, wanted) = (format_args!("more than {max} {noun}"), format_args!("at most {max}"));
        out.report(path, found, wanted, "split the work into several Pods");
    }
}
