//! What the engine is known to do wrong, each with the smallest Pod that shows it.
//!
//! The properties leave these Pods out. A test here fails as soon as one of them is right, so that none stays longer.

use std::collections::BTreeSet;

use sandgate_engine::{policy::PolicySet, review::Endpoint};
use serde_json::{Value as Json, json};

use crate::apiserver::create;

/// Returns true if a container mounts a volume that the Pod does not have. The fill may then add one of that name, whole,
/// which is also cut into folders for other containers.
pub(crate) fn mounts_an_undeclared_volume(pod: &Json) -> bool {
    let names: BTreeSet<&str> =
        list(&pod["spec"]["volumes"]).filter_map(|volume| volume["name"].as_str()).collect();
    containers(pod).any(|container| {
        list(&container["volumeMounts"])
            .any(|mount| mount["name"].as_str().is_none_or(|name| !names.contains(name)))
    })
}

/// Returns true if the memory of an earlier fill is there. A request that was raised since, above its limit, is lowered
/// to the limit, and in the next round to its share.
pub(crate) fn remembers_fills(pod: &Json) -> bool {
    pod["metadata"]["annotations"].get("sandgate.dev/filled-resources").is_some()
}

/// Returns true if two containers have one name, or none: the API server refuses such a Pod.
pub(crate) fn has_no_distinct_names(pod: &Json) -> bool {
    let mut seen = BTreeSet::new();
    containers(pod).any(|container| container["name"].as_str().is_none_or(|name| !seen.insert(name)))
}

fn list(value: &Json) -> impl Iterator<Item = &Json> {
    value.as_array().into_iter().flatten()
}

fn containers(pod: &Json) -> impl Iterator<Item = &Json> {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    lists.into_iter().flat_map(|name| list(&pod["spec"][name]))
}

#[test]
fn filled_volume_is_reached_by_a_mount_that_named_it_before() {
    let image = "registry.example.com/runner:1";
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "user", "image": image, "volumeMounts": [{"name": "tmp", "mountPath": "/tmp/all"}]},
        {"name": "sidecar", "image": image},
    ]}});
    let reply = create(&PolicySet::builtin(), Endpoint::Mutate, &pod);
    let of_sidecar =
        list(&reply.pod["spec"]["containers"][1]["volumeMounts"]).find(|mount| mount["name"] == "tmp");
    assert!(
        reply.allowed && of_sidecar.is_some(),
        "it is right now: take mounts_an_undeclared_volume out of the properties"
    );
}

#[test]
fn raised_request_is_lowered_in_two_rounds() {
    let image = "registry.example.com/runner:1";
    let policies = PolicySet::builtin();
    let bare = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "a", "image": image}, {"name": "b", "image": image},
    ]}});
    let mut raised = create(&policies, Endpoint::Mutate, &bare).pod;
    raised["spec"]["containers"][0]["resources"]["requests"]["memory"] = json!("4G");
    let once = create(&policies, Endpoint::Mutate, &raised).pod;
    let twice = create(&policies, Endpoint::Mutate, &once);
    assert!(twice.patches, "it is right now: take remembers_fills out of the properties");
}
