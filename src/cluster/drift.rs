//! Drift: how a webhook configuration differs from what the chart rendered.
//!
//! The chart writes a digest of each field of each webhook into an annotation of the configuration. Anyone who edits a
//! selector, a match condition, the failure policy or the timeout leaves the annotation as it is, and so the edit shows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The annotation with the digests: an object of webhook names, each with an object of fields and digests.
const ANNOTATION: &str = "sandgate.dev/rendered";

/// How many hex digits a digest has.
const DIGEST_DIGITS: usize = 16;

type Rendered = BTreeMap<String, BTreeMap<String, String>>;

/// Returns a sentence for each difference; none if the chart wrote no digests.
#[must_use]
pub fn of(object: &Value) -> Vec<String> {
    let Some(annotation) = object["metadata"]["annotations"][ANNOTATION].as_str() else { return Vec::new() };
    let rendered: Rendered = match serde_json::from_str(annotation) {
        Ok(rendered) => rendered,
        Err(error) => {
            return vec![format!(
                "the annotation {ANNOTATION} is no JSON object of webhooks, fields and digests: {error}"
            )];
        }
    };
    let webhooks = object["webhooks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let stored: BTreeMap<&str, &Value> =
        webhooks.iter().map(|webhook| (webhook["name"].as_str().unwrap_or_default(), webhook)).collect();
    let names: BTreeSet<&str> = rendered.keys().map(String::as_str).chain(stored.keys().copied()).collect();
    let differences = names.into_iter().flat_map(|name| match (rendered.get(name), stored.get(name)) {
        (None, _) => vec![format!("{name} is a webhook that the chart did not render")],
        (_, None) => vec![format!("{name} was rendered by the chart and is missing")],
        (Some(fields), Some(webhook)) => differing(name, fields, webhook),
    });
    differences.collect()
}

fn differing(name: &str, fields: &BTreeMap<String, String>, webhook: &Value) -> Vec<String> {
    let differing = fields.iter().filter(|(field, wanted)| digest(&value(webhook, field)) != **wanted);
    differing.map(|(field, _)| format!("{name} has another {field} than the chart rendered")).collect()
}

/// A field as the chart renders it: without the bundle that sandgate writes, and with the API server's defaults.
fn value(webhook: &Value, field: &str) -> Value {
    let mut value = webhook[field].clone();
    match field {
        "clientConfig" => {
            if let Some(client_config) = value.as_object_mut() {
                client_config.remove("caBundle");
            }
        }
        "objectSelector" | "namespaceSelector" if value.is_null() => value = json!({}),
        "matchConditions" if value.is_null() => value = json!([]),
        _ => {}
    }
    value
}

/// The first digits of the SHA-256 of compact JSON with sorted keys, as Helm's `toRawJson | sha256sum | trunc 16`.
fn digest(value: &Value) -> String {
    let hash: [u8; 32] = Sha256::digest(sorted(value).to_string()).into();
    let mut digest = crate::certs::ca::Fingerprint(hash).to_string();
    digest.truncate(DIGEST_DIGITS);
    digest
}

/// The same value with sorted keys, whatever order the map of the JSON crate keeps.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            entries.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [&str; 9] = [
        "admissionReviewVersions",
        "clientConfig",
        "failurePolicy",
        "matchConditions",
        "matchPolicy",
        "namespaceSelector",
        "objectSelector",
        "sideEffects",
        "timeoutSeconds",
    ];

    fn webhook() -> Value {
        json!({
            "name": "validate.sandgate.dev",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "sandgate", "namespace": "s", "path": "/validate", "port": 443}},
            "failurePolicy": "Fail",
            "matchPolicy": "Equivalent",
            "namespaceSelector": {"matchLabels": {"a": "b"}},
            "sideEffects": "NoneOnDryRun",
            "timeoutSeconds": 10,
        })
    }

    fn configuration() -> Value {
        let webhook = webhook();
        let fields = FIELDS.map(|field| (field.to_owned(), json!(digest(&value(&webhook, field)))));
        let rendered = json!({"validate.sandgate.dev": Value::Object(fields.into_iter().collect())});
        json!({
            "metadata": {"annotations": {ANNOTATION: rendered.to_string()}},
            "webhooks": [webhook],
        })
    }

    #[test]
    fn a_digest_is_that_of_helm() {
        // printf '{"matchLabels":{"a":"b"}}' | sha256sum | cut -c-16
        assert_eq!(digest(&json!({"matchLabels": {"a": "b"}})), "6f70607811c3daf7");
        // printf '[{"expression":"a > b && c","name":"x"}]' | sha256sum | cut -c-16
        assert_eq!(digest(&json!([{"name": "x", "expression": "a > b && c"}])), "26ab8d33541578fd");
    }

    #[test]
    fn what_sandgate_and_the_api_server_write_is_no_drift() {
        let mut object = configuration();
        assert_eq!(of(&object), Vec::<String>::new());
        object["webhooks"][0]["clientConfig"]["caBundle"] = json!("x");
        object["webhooks"][0]["objectSelector"] = json!({});
        object["webhooks"][0]["rules"] = json!([{}]);
        assert_eq!(of(&object), Vec::<String>::new());
    }

    #[test]
    fn each_field_that_was_changed_is_named() {
        for (field, changed) in [
            ("admissionReviewVersions", json!(["v1", "v1beta1"])),
            ("clientConfig", json!({"url": "https://example.com"})),
            ("failurePolicy", json!("Ignore")),
            ("matchConditions", json!([{"name": "x", "expression": "false"}])),
            ("matchPolicy", json!("Exact")),
            ("namespaceSelector", json!({"matchLabels": {"a": "c"}})),
            ("objectSelector", json!({"matchLabels": {"a": "c"}})),
            ("sideEffects", json!("None")),
            ("timeoutSeconds", json!(1)),
        ] {
            let mut object = configuration();
            object["webhooks"][0][field] = changed;
            assert_eq!(
                of(&object),
                [format!("validate.sandgate.dev has another {field} than the chart rendered")]
            );
        }
    }

    #[test]
    fn a_webhook_that_is_missing_or_one_too_many_is_named() {
        let mut object = configuration();
        object["webhooks"][0]["name"] = json!("other");
        let lines = of(&object).join("\n");
        assert_eq!(
            lines,
            "other is a webhook that the chart did not render\n\
             validate.sandgate.dev was rendered by the chart and is missing"
        );
    }

    #[test]
    fn without_digests_nothing_is_compared_and_an_unreadable_annotation_is_named() {
        assert_eq!(of(&json!({"webhooks": [webhook()]})), Vec::<String>::new());
        let object = json!({"metadata": {"annotations": {ANNOTATION: "[]"}}});
        assert!(of(&object)[0].contains("is no JSON object"));
    }
}
