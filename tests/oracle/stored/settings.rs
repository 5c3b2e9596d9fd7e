//! A policy with settings of its own: stricter with images and Secrets, and less strict with volumes.

use serde_json::{Value as Json, json};

pub(super) fn spec() -> Json {
    json!({
        "images": {"allowed": ["registry.example.com/runner"]},
        "secrets": {"environment": ["known"]},
        "volumes": {"configMap": {"names": ["*"]}},
    })
}
