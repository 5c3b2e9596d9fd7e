//! Pods that the benchmarks of the API server create.

use serde_json::{Value, json};

/// Returns a Pod that needs no fill, with a name that the API server makes.
pub(crate) fn complete_pod() -> testbed::Result<Value> {
    let mut pod: Value = serde_saphyr::from_str(include_str!("../../examples/pods/complete.yaml"))?;
    pod["metadata"] = json!({"generateName": "complete-", "labels": pod["metadata"]["labels"]});
    Ok(pod)
}
