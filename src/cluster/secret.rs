//! The Secret with the CAs.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::api::Target;
use crate::certs::{
    ca::{self, Authority},
    plan::{Kind, Secret},
};

/// The key in the Secret's data.
const KEY: &str = "authorities.json";

/// The key that records which configurations were armed once: a comma-separated list. It outlives restarts, so that a
/// configuration that is replaced while no replica runs is armed again at once.
const ARMED_KEY: &str = "armed";

/// The type of the Secret: what deletes Secrets by type, or mounts them, leaves this one alone.
const TYPE: &str = "sandgate.dev/ca";

pub(super) fn target<'t>(namespace: &'t str, name: &'t str) -> Target<'t> {
    Target { group: "", resource: "secrets", namespace: Some(namespace), name }
}

/// What the Secret holds.
pub(super) fn read(object: Option<&Value>) -> Secret {
    let Some(object) = object else { return Secret::Absent };
    if is_empty(object) {
        return Secret::Absent;
    }
    let Some(encoded) = object["data"][KEY].as_str() else {
        return Secret::Corrupt(format!("it has no key {KEY}"));
    };
    let decoded = STANDARD.decode(encoded).map_err(|_| "no base64".to_string());
    match decoded.and_then(|text| ca::read(&text)) {
        Ok(authorities) => Secret::Holds(authorities),
        Err(problem) => Secret::Corrupt(format!("{KEY}: {problem}")),
    }
}

/// Returns true if the Secret was made and is not filled yet.
pub(super) fn is_empty(object: &Value) -> bool {
    object["data"].as_object().is_none_or(serde_json::Map::is_empty)
}

/// Returns which configurations the Secret records as having been armed once, in the order of [`Kind::ALL`].
#[must_use]
pub fn was_armed(object: Option<&Value>) -> [bool; 2] {
    let encoded = object.and_then(|object| object["data"][ARMED_KEY].as_str());
    let decoded = encoded.and_then(|encoded| STANDARD.decode(encoded).ok()).unwrap_or_default();
    let kinds = String::from_utf8(decoded).unwrap_or_default();
    Kind::ALL.map(|kind| kinds.split(',').any(|recorded| recorded == kind.as_str()))
}

/// A new Secret without content. Every first replica applies the same one; filling it names its version, so that of two
/// replicas one loses.
pub(super) fn empty(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": "sandgate", "app.kubernetes.io/managed-by": "sandgate"},
        },
        "type": TYPE,
    })
}

/// The Secret that was read, with other content and all its metadata; it names the version that it replaces.
pub(super) fn replaced(object: &Value, authorities: &[Authority], was_armed: [bool; 2]) -> Value {
    let armed =
        Kind::ALL.into_iter().zip(was_armed).filter(|(_, armed)| *armed).map(|(kind, _)| kind.as_str());
    let armed = armed.collect::<Vec<_>>().join(",");
    let mut object = object.clone();
    object["data"] = json!({
        KEY: STANDARD.encode(ca::write(authorities)),
        ARMED_KEY: STANDARD.encode(armed),
    });
    object
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::certs::{self, ca::State};

    #[test]
    fn what_is_written_is_read_back() {
        let authorities =
            [Authority::mint(State::Active, certs::now(), SignedDuration::from_hours(1)).unwrap()];
        let mut stored = empty("sandgate-system", "sandgate-ca");
        stored["metadata"]["resourceVersion"] = json!("7");
        for armed in [[false, false], [true, false], [false, true], [true, true]] {
            let filled = replaced(&stored, &authorities, armed);
            assert_eq!(read(Some(&filled)), Secret::Holds(authorities.to_vec()));
            assert_eq!(was_armed(Some(&filled)), armed);
            assert_eq!(filled["metadata"], stored["metadata"]);
        }
    }

    #[test]
    fn a_secret_that_an_earlier_version_wrote_records_nothing_armed() {
        let object = json!({"data": {KEY: ""}});
        assert_eq!(was_armed(Some(&object)), [false; 2]);
        assert_eq!(was_armed(None), [false; 2]);
    }

    #[test]
    fn what_cannot_be_used_is_reported() {
        assert_eq!(read(None), Secret::Absent);
        assert_eq!(read(Some(&empty("sandgate-system", "sandgate-ca"))), Secret::Absent);
        for (object, wanted) in [
            (json!({"data": {"x": ""}}), "no key authorities.json"),
            (json!({"data": {KEY: "%"}}), "no base64"),
            (json!({"data": {KEY: STANDARD.encode("hello")}}), "not the JSON of a list"),
        ] {
            let Secret::Corrupt(problem) = read(Some(&object)) else { panic!("{object}") };
            assert!(problem.contains(wanted), "{problem}");
        }
    }
}
