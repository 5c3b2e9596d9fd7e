//! The search for parts that look like a Pod in an object of an unknown kind.

use crate::json::Value;

/// Kinds of Kubernetes that hold descriptions of objects or plain texts, and make no Pods.
const HARMLESS: [&str; 4] = ["CustomResourceDefinition", "ConfigMap", "Secret", "AdmissionReview"];

/// Returns the paths of what looks like a Pod template, the spec of a Pod, or a container; at most [`MAX_PATHS`].
pub(super) fn suspects(object: &Value) -> Vec<String> {
    let kind = object.as_object().and_then(|object| object.str("kind")).unwrap_or_default();
    let mut paths = Vec::new();
    if !HARMLESS.contains(&kind) {
        search(object, "", &mut paths);
    }
    paths.retain(|path| !path.is_empty());
    paths
}

/// More paths than this are no help.
const MAX_PATHS: usize = 8;

fn search(value: &Value, path: &str, paths: &mut Vec<String>) {
    if paths.len() >= MAX_PATHS {
        return;
    }
    match value {
        Value::Object(members) => {
            let has_image = |item: &Value| item.as_object().is_some_and(|item| item.str("image").is_some());
            if members.list("containers").any(|(_, item)| has_image(item)) || is_container(value) {
                // The template around a spec carries the labels; an object's own spec has none around it.
                let template = path.strip_suffix(".spec").unwrap_or(path).to_string();
                if !paths.contains(&template) {
                    paths.push(template);
                }
                return;
            }
            let members = members.iter().filter(|(key, _)| *key != "status");
            members.for_each(|(key, child)| search(child, &join(path, key), paths));
        }
        Value::List(items) => items.iter().for_each(|(_, item)| search(item, &join(path, "[*]"), paths)),
        _ => {}
    }
}

/// Joins a pattern of a path and one more step of it, which is `[*]` or a field.
fn join(path: &str, step: &str) -> String {
    match step {
        step if path.is_empty() => step.into(),
        step if step.starts_with('[') => format!("{path}{step}"),
        step => format!("{path}.{step}"),
    }
}

/// A container names an image, and something that only a container has.
fn is_container(value: &Value) -> bool {
    const FIELDS: [&str; 5] = ["command", "args", "script", "env", "securityContext"];
    value.as_object().is_some_and(|members| {
        members.str("image").is_some() && FIELDS.iter().any(|field| members.get(field).is_some())
    })
}
