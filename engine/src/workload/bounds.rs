//! The bounds within which the Pods of an object are put together while a request waits.
//!
//! The Pods of Argo, Tekton and Spark each have a copy of what the whole object shares, so that a small object can make
//! many large Pods.

use super::{
    build::at,
    kinds::{Templates, WorkloadKind},
    template::expand,
};
use crate::json::Value;

/// The most Pod templates of one object.
const MAX_TEMPLATES: usize = 100;

/// The most memory that the Pods of one object take as text, in bytes. It is that of the largest object that etcd takes,
/// with a copy of it for each role of a Spark application.
const MAX_COPIED_BYTES: usize = 4 << 20;

/// Returns true if the Pods of an object are few and small enough to be put together for a review.
#[must_use]
pub fn is_within_bounds(object: &Value) -> bool {
    let Some(kind) = WorkloadKind::of(object) else { return true };
    let templates = match &kind.templates {
        Templates::Whole | Templates::Reference(..) => 1,
        Templates::At(paths) => paths.iter().map(|path| expand(object, path.path).len()).sum(),
        Templates::Tekton(paths) => paths.iter().map(|path| expand(object, path).len()).sum(),
        Templates::Argo(path) => {
            let spec = at(object, path).and_then(Value::as_object);
            spec.map_or(0, |spec| spec.list("templates").count())
        }
        Templates::Spark(_) => 2,
    };
    let copies = if kind.is_composed() { templates } else { 1 };
    templates <= MAX_TEMPLATES && copies.saturating_mul(bytes(object)) <= MAX_COPIED_BYTES
}

/// Returns about how many bytes a value takes as JSON.
fn bytes(value: &Value) -> usize {
    const PUNCTUATION: usize = 4;
    PUNCTUATION
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 4,
            Value::String(text) => text.len(),
            Value::List(items) => items.iter().map(|(_, item)| bytes(item)).sum(),
            Value::Object(members) => members.iter().map(|(key, member)| key.len() + bytes(member)).sum(),
        }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::json::value_from_str;

    fn is_within(object: &Json) -> bool {
        is_within_bounds(&value_from_str(&object.to_string()).unwrap())
    }

    fn workflow(templates: usize, bytes: usize) -> Json {
        let template = json!({"name": "t", "container": {"image": "i"}});
        let volumes = json!([{"name": "x".repeat(bytes), "emptyDir": {}}]);
        let spec = json!({"templates": vec![template; templates], "volumes": volumes});
        json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "spec": spec})
    }

    #[test]
    fn many_templates_are_out_of_bounds() {
        assert!(is_within(&workflow(MAX_TEMPLATES, 1)));
        assert!(!is_within(&workflow(MAX_TEMPLATES + 1, 1)));
        let job = json!({"template": {"spec": {"template": {"spec": {"containers": []}}}}});
        let job_set = |jobs| {
            json!({"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet",
                   "spec": {"replicatedJobs": vec![job.clone(); jobs]}})
        };
        assert!(is_within(&job_set(MAX_TEMPLATES)));
        assert!(!is_within(&job_set(MAX_TEMPLATES + 1)));
    }

    #[test]
    fn copies_of_what_templates_share_are_bounded() {
        assert!(is_within(&workflow(10, 100_000)));
        assert!(!is_within(&workflow(100, 100_000)));
    }
}
