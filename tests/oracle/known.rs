//! What the engine is known to do wrong, each with the smallest Pod that shows it.
//!
//! The properties leave these Pods out. A test here fails as soon as one of them is right, so that none stays longer.

use std::collections::BTreeSet;

use sandgate_engine::{policy::PolicySet, review::Endpoint};
use serde_json::{Value as Json, json};

use crate::apiserver::create;

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
