//! The fields that the API server adds to a Pod of a RuntimeClass.

use super::build::{Fields, at, child, text};
use crate::json::{List, Object, Value};

/// A RuntimeClass: its name, and what the API server copies from it into each Pod that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeClass {
    /// The name of the RuntimeClass.
    pub name: String,
    /// The members below as JSON.
    text: String,
}

/// The fields that are copied into the Pod.
struct Additions<'t> {
    overhead: Option<Value<'t>>,
    node_selector: Option<Value<'t>>,
    tolerations: Vec<Value<'t>>,
}

impl RuntimeClass {
    /// Reads a `RuntimeClass` of `node.k8s.io/v1`.
    ///
    /// # Errors
    /// Returns what the object is instead, or that it has no name.
    pub fn read(object: &Value) -> Result<Self, String> {
        let text = |path| at(object, path).and_then(Value::as_str);
        let (version, kind) = (text("apiVersion").unwrap_or("unset"), text("kind").unwrap_or("unset"));
        if (version, kind) != ("node.k8s.io/v1", "RuntimeClass") {
            return Err(format!("it is {kind} of {version}, must be RuntimeClass of node.k8s.io/v1"));
        }
        let name = text("metadata.name").ok_or("the RuntimeClass has no metadata.name; add one")?;
        let text = serde_json::to_string(object).map_err(|error| error.to_string())?;
        Ok(Self { name: name.into(), text })
    }

    fn additions(&self) -> Additions<'_> {
        let object = crate::json::value_from_str(&self.text).unwrap_or(Value::Null);
        let tolerations = at(&object, "scheduling.tolerations").and_then(Value::as_list);
        let tolerations = tolerations.into_iter().flat_map(List::iter);
        Additions {
            overhead: at(&object, "overhead.podFixed").cloned(),
            node_selector: at(&object, "scheduling.nodeSelector").cloned(),
            tolerations: tolerations.map(|(_, item)| item.clone()).collect(),
        }
    }

    /// Returns the Pod, as JSON, with the overhead, the node selector and the tolerations of the class.
    #[must_use]
    pub fn add_to(&self, pod: &Value) -> String {
        let Additions { overhead, node_selector, tolerations } = self.additions();
        let pod = &serde_json::to_string(pod).unwrap_or_default();
        let pod = &crate::json::value_from_str(pod).unwrap_or(Value::Null);
        let mut fields = Fields::of(Some(pod));
        let mut spec = Fields::of(child(pod, "spec"));
        spec.set_default("runtimeClassName", text(&self.name));
        if let Some(overhead) = overhead {
            spec.set_default("overhead", overhead);
        }
        if let Some(selector) = &node_selector {
            let mut merged = Fields::of(child(pod, "spec").and_then(|spec| child(spec, "nodeSelector")));
            for (key, value) in selector.as_object().into_iter().flat_map(Object::iter) {
                merged.set_default(key, value.clone());
            }
            spec.retain(|key| key != "nodeSelector");
            spec.set_default("nodeSelector", merged.into_value());
        }
        let present: Vec<Value> = match child(pod, "spec").and_then(|spec| child(spec, "tolerations")) {
            Some(Value::List(list)) => list.iter().map(|(_, item)| item.clone()).collect(),
            _ => Vec::new(),
        };
        for toleration in tolerations.into_iter().filter(|toleration| !present.contains(toleration)) {
            spec.push("tolerations", toleration);
        }
        fields.retain(|key| key != "spec");
        fields.set_default("spec", spec.into_value());
        serde_json::to_string(&fields.into_value()).unwrap_or_default()
    }
}
