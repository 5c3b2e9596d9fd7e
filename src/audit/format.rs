//! The lines of the trail as types: what readers of it may rely on.

use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{chain::SCHEMA, notice::Notice};
use sandgate_engine::review::AuditRecord;

/// A line of sandgate's audit trail.
#[derive(Debug, JsonSchema)]
#[serde(untagged)]
pub enum TrailLine {
    /// A verdict on a request.
    Verdict(Box<VerdictLine>),
    /// A notice of the trail about itself.
    Notice(NoticeLine),
}

/// A verdict in the trail. All fields of the record are always there, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerdictLine {
    /// The verdict on the request.
    #[serde(flatten)]
    pub record: AuditRecord<'static>,
    /// The fields that tie the line to the line before. Lines of the first version of sandgate have none.
    #[serde(flatten)]
    pub seal: Option<SealFields>,
}

/// A notice of the trail about itself.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct NoticeLine {
    /// The time of the notice, in UTC, by RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub time: String,
    /// The event in the trail itself.
    #[serde(flatten)]
    pub notice: Notice,
    /// The fields that tie the line to the line before.
    #[serde(flatten)]
    pub seal: SealFields,
}

/// The fields at the end of each line, which tie it to the line before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SealFields {
    /// The version of the fields of the line.
    pub schema: u32,
    /// The id of the chain that the line belongs to. Each file has a chain, and each process that writes to standard
    /// output.
    #[schemars(extend("pattern" = "^[0-9a-f]{16}$"))]
    pub chain: String,
    /// The number of the line in its chain, from 1.
    pub seq: u64,
    /// The hash of the line before; zeros in the first one.
    #[schemars(extend("pattern" = "^[0-9a-f]{64}$"))]
    pub previous: String,
    /// The SHA-256 of this line's bytes in front of `,"hash":`.
    #[schemars(extend("pattern" = "^[0-9a-f]{64}$"))]
    pub hash: String,
}

impl TrailLine {
    /// Reads a line. Fields of another version may be missing or unknown.
    ///
    /// # Errors
    /// An error if the text is no line of the trail.
    pub fn read(text: &[u8]) -> Result<Self, serde_json::Error> {
        match serde_json::from_slice(text) {
            Ok(verdict) => Ok(Self::Verdict(verdict)),
            Err(error) => serde_json::from_slice(text).map(Self::Notice).map_err(|_| error),
        }
    }
}

/// The JSON schema of the trail's lines.
#[must_use]
pub fn json_schema() -> Schema {
    let mut schema = schema_for!(TrailLine);
    // Only a line of another version may lack a field.
    if let Some(Value::Object(definitions)) = schema.get_mut("$defs") {
        definitions.values_mut().for_each(require_all);
    }
    schema.insert("title".into(), format!("sandgate audit line, version {SCHEMA}").into());
    schema
}

fn require_all(definition: &mut Value) {
    let Some(properties) = definition.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for property in properties.values_mut().filter_map(Value::as_object_mut) {
        property.remove("default");
    }
    let required = properties.keys().cloned().map(Value::String).collect();
    definition["required"] = Value::Array(required);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::Link;
    use sandgate_engine::{
        policy::PolicySet,
        review::{Endpoint, answer},
    };

    /// A line as it is written.
    fn line() -> Vec<u8> {
        let review = br#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u",
            "operation":"CREATE","namespace":"workflows","userInfo":{"username":"alice","groups":["g"]},
            "object":{"metadata":{"name":"p","ownerReferences":[{"kind":"Job","name":"j","controller":true}]},
            "spec":{"hostPID":true,"containers":[{"name":"a","image":"i"}]}}}}"#;
        let (mut record, mut line) = (Vec::new(), Vec::new());
        let policies = PolicySet::builtin();
        let answer = answer(&policies, Endpoint::Mutate, None, review).unwrap();
        answer.record.write_line(&mut record, "2026-11-24T12:00:00Z", 30);
        Link::default().seal(&record, &mut line);
        line
    }

    #[test]
    fn written_lines_match_the_types_field_by_field_and_in_order() {
        let line = String::from_utf8(line()).unwrap();
        let TrailLine::Verdict(verdict) = TrailLine::read(line.as_bytes()).unwrap() else { panic!("{line}") };
        // Reading drops nothing and makes up nothing.
        assert_eq!(serde_json::to_string(&verdict).unwrap(), line.trim_end());
        let record = verdict.record;
        assert_eq!((&*record.user, &*record.owner.unwrap().name, &*record.images[0]), ("alice", "j", "i"));
        assert!(record.violations.iter().any(|violation| violation.rule == "host-namespaces"));
    }

    #[test]
    fn each_written_field_is_in_the_schema_and_required() {
        let schema = serde_json::to_value(json_schema()).unwrap();
        let defined = &schema["$defs"]["VerdictLine"];
        let line: Value = serde_json::from_slice(&line()).unwrap();
        for key in line.as_object().unwrap().keys() {
            assert!(defined["properties"].get(key).is_some(), "{key}\n{schema:#}");
            assert!(defined["required"].as_array().unwrap().contains(&(&**key).into()), "{key}\n{schema:#}");
        }
    }

    /// Each is shown without its neighbours, so each has to be a sentence.
    #[test]
    fn each_description_of_the_schema_stands_alone() {
        let schema = serde_json::to_value(json_schema()).unwrap();
        for (name, definition) in schema["$defs"].as_object().unwrap() {
            let Some(properties) = definition["properties"].as_object() else { continue };
            for (key, property) in properties {
                let text = property["description"].as_str().unwrap_or_default();
                assert!(
                    text.split(' ').count() >= 3 && text.ends_with('.'),
                    "{name}.{key}: {text:?}\n{property:#}"
                );
            }
        }
    }

    #[test]
    fn a_line_that_lacks_fields_is_read() {
        let mut line: Value = serde_json::from_slice(&line()).unwrap();
        let fields = line.as_object_mut().unwrap();
        for key in [
            "schema",
            "chain",
            "seq",
            "previous",
            "hash",
            "cluster",
            "instance",
            "authenticated",
            "profile",
            "forgiven",
            "candidate",
        ] {
            fields.remove(key).unwrap();
        }
        for violation in fields["violations"].as_array_mut().unwrap() {
            violation.as_object_mut().unwrap().remove("remedy").unwrap();
        }
        let line = TrailLine::read(line.to_string().as_bytes()).unwrap();
        assert!(matches!(line, TrailLine::Verdict(verdict) if verdict.seal.is_none()));
    }
}
