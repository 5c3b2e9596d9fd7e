//! What is read of an object of a file besides its Pods.

use std::collections::BTreeMap;

use sandgate_engine::{
    text::sanitize,
    yaml::{Node, Value},
};

/// Returns the object as JSON.
pub(super) fn to_json(node: &Node) -> String {
    serde_json::to_string(node).expect("writing JSON to memory cannot fail")
}

/// Returns the object as JSON with its version and kind, which the items of a typed list need not name.
pub(super) fn to_typed_json(node: &Node, api_version: &str, kind: &str) -> String {
    let mut json = to_json(node);
    for (key, value) in [("kind", kind), ("apiVersion", api_version)] {
        if node.get(key).is_none() && matches!(&node.value, Value::Map(members) if !members.is_empty()) {
            json.insert_str(1, &format!("{}:{},", serde_json::json!(key), serde_json::json!(value)));
        }
    }
    json
}

/// Returns the labels that are texts.
pub(super) fn labels_of(node: &Node) -> BTreeMap<String, String> {
    let labels = node.get("metadata").and_then(|metadata| metadata.get("labels"));
    let Some(Value::Map(members)) = labels.map(|labels| &labels.value) else { return BTreeMap::new() };
    let text = |(key, node): &(String, Node)| match &node.value {
        Value::String(value) => Some((key.clone(), value.clone())),
        _ => None,
    };
    members.iter().filter_map(text).collect()
}

/// Returns the name; for a generated one its prefix and `*`.
pub(super) fn name_of(node: &Node) -> String {
    let metadata = node.get("metadata");
    let text = |key| metadata.and_then(|metadata| metadata.str(key)).filter(|text| !text.is_empty());
    let generated = || text("generateName").map(|prefix| format!("{prefix}*"));
    let name = text("name").map(str::to_string).or_else(generated);
    name.map_or_else(|| "(no name)".into(), |name| sanitize(&name))
}
