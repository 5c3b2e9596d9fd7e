//! What in an object of an unknown kind looks like a Pod.

use super::location::join;
use crate::json::Value;

/// Kinds of Kubernetes that hold descriptions of objects or plain texts, and make no Pods.
const HARMLESS: [&str; 4] = ["CustomResourceDefinition", "ConfigMap", "Secret", "AdmissionReview"];

/// Returns the path of the first thing that looks like a Pod template, the spec of a Pod, or a container.
pub(super) fn suspect(object: &Value) -> Option<String> {
    let kind = object.as_object().and_then(|object| object.str("kind")).unwrap_or_default();
    if HARMLESS.contains(&kind) {
        return None;
    }
    search(object).filter(|path| !path.is_empty())
}

fn search(value: &Value) -> Option<String> {
    match value {
        Value::Object(members) => {
            let has_image = |item: &Value| item.as_object().is_some_and(|item| item.str("image").is_some());
            if members.list("containers").any(|(_, item)| has_image(item)) || is_container(value) {
                return Some(String::new());
            }
            members.iter().find_map(|(key, child)| {
                if key == "status" {
                    return None;
                }
                let rest = search(child)?;
                // The template around a spec carries the labels.
                let is_template = key == "spec" && rest.is_empty() && members.get("kind").is_none();
                Some(if is_template { rest } else { join(key, &rest) })
            })
        }
        Value::List(items) => items.iter().find_map(|(_, item)| search(item)).map(|rest| join("[*]", &rest)),
        _ => None,
    }
}

/// A container names an image, and something that only a container has.
fn is_container(value: &Value) -> bool {
    const FIELDS: [&str; 5] = ["command", "args", "script", "env", "securityContext"];
    value.as_object().is_some_and(|members| {
        members.str("image").is_some() && FIELDS.iter().any(|field| members.get(field).is_some())
    })
}
