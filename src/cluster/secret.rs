//! The Secret with the CAs.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::api::Target;
use crate::certs::{
    authority::{self, Authority},
    plan::Secret,
};

/// The key in the Secret's data.
const KEY: &str = "authorities.json";

/// The type of the Secret: what deletes Secrets by type, or mounts them, leaves this one alone.
const TYPE: &str = "sandgate.dev/ca";

pub(super) fn target<'t>(namespace: &'t str, name: &'t str) -> Target<'t> {
    Target { group: "", resource: "secrets", namespace: Some(namespace), name }
}

/// What the Secret holds.
pub(super) fn read(object: Option<&Value>) -> Secret {
    let Some(object) = object else { return Secret::Absent };
    let Some(encoded) = object["data"][KEY].as_str() else {
        return Secret::Corrupt(format!("it has no key {KEY}"));
    };
    let decoded = STANDARD.decode(encoded).map_err(|_| "no base64".to_string());
    match decoded.and_then(|text| authority::read(&text)) {
        Ok(authorities) => Secret::Holds(authorities),
        Err(problem) => Secret::Corrupt(format!("{KEY}: {problem}")),
    }
}

/// A new Secret.
pub(super) fn new(namespace: &str, name: &str, authorities: &[Authority]) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": "sandgate", "app.kubernetes.io/managed-by": "sandgate"},
        },
        "type": TYPE,
        "data": data(authorities),
    })
}

/// The Secret that was read, with other content and all its metadata; it names the version that it replaces.
pub(super) fn replaced(object: &Value, authorities: &[Authority]) -> Value {
    let mut object = object.clone();
    object["data"] = data(authorities);
    object
}

fn data(authorities: &[Authority]) -> Value {
    json!({KEY: STANDARD.encode(authority::write(authorities))})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::authority::State;

    #[test]
    fn what_is_written_is_read_back() {
        let authorities = [Authority::mint(State::Active, 1_800_000_000, 1000).unwrap()];
        let object = new("sandgate-system", "sandgate-ca", &authorities);
        assert_eq!(read(Some(&object)), Secret::Holds(authorities.to_vec()));
        let mut stored = object.clone();
        stored["metadata"]["resourceVersion"] = json!("7");
        stored["data"] = Value::Null;
        let replaced = replaced(&stored, &authorities);
        assert_eq!(
            (&replaced["data"], &replaced["metadata"]["resourceVersion"]),
            (&object["data"], &json!("7"))
        );
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        assert_eq!(read(None), Secret::Absent);
        for (object, wanted) in [
            (json!({}), "no key authorities.json"),
            (json!({"data": {KEY: "%"}}), "no base64"),
            (json!({"data": {KEY: STANDARD.encode("hello")}}), "not the JSON of a list"),
        ] {
            let Secret::Corrupt(problem) = read(Some(&object)) else { panic!("{object}") };
            assert!(problem.contains(wanted), "{problem}");
        }
    }
}
