//! The lines of the trail as types: what readers of it may rely on.

use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};

use super::{chain::SCHEMA, notice::Notice};
use sandgate_engine::review::Outcome;

/// A line of sandgate's audit trail.
#[derive(Debug, JsonSchema)]
#[serde(untagged)]
pub enum Line {
    /// What became of a request.
    Verdict(Box<Verdict>),
    /// What the trail says of itself.
    Notice(NoticeLine),
}

/// What became of a request. All fields are always there, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// When, by RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub time: String,
    /// What became of it.
    #[schemars(extend("enum" = Outcome::ALL.map(Outcome::as_str)))]
    pub verdict: String,
    /// Which webhook was asked: mutate or validate.
    pub endpoint: String,
    /// Of the request; the API server makes one for each call of a webhook.
    pub uid: String,
    /// Whether nothing would have been stored in any case.
    pub dry_run: bool,
    /// CREATE or UPDATE.
    pub operation: String,
    /// What was to be stored.
    pub resource: String,
    /// A part of it, such as resize; else empty.
    pub subresource: String,
    /// Where.
    pub namespace: String,
    /// Empty where the API server makes the name of `generateName`.
    pub name: String,
    /// What the name begins with.
    pub generate_name: String,
    /// The controller that it belongs to.
    pub owner: Option<Owner>,
    /// Who asked.
    pub user: String,
    /// Of the user.
    pub groups: Vec<String>,
    /// What the Pod runs as.
    pub service_account: String,
    /// The policy that was applied.
    pub policy: String,
    /// Of its content.
    pub policy_hash: String,
    /// enforce, warn or audit.
    pub mode: String,
    /// The paths of the fields that were filled in, or would be.
    pub filled: Vec<String>,
    /// What violates the policy.
    pub violations: Vec<Violation>,
    /// Of all containers.
    pub images: Vec<String>,
    /// How long the decision took.
    pub duration_micros: u64,
    /// Ties the line to the one before.
    #[serde(flatten)]
    pub seal: Option<SealFields>,
}

/// A controller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Owner {
    /// Such as Job.
    pub kind: String,
    /// In the namespace of the Pod.
    pub name: String,
}

/// Something that violates the policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Violation {
    /// The rule's id.
    pub rule: String,
    /// Where.
    pub path: String,
    /// What stands there.
    pub found: String,
    /// What should.
    pub wanted: String,
}

/// The trail on itself.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct NoticeLine {
    /// When, by RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub time: String,
    /// What is said.
    #[serde(flatten)]
    pub notice: Notice,
    /// Ties the line to the one before.
    #[serde(flatten)]
    pub seal: SealFields,
}

/// The end of each line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SealFields {
    /// The version of the fields.
    pub schema: u32,
    /// The number of the line in its chain, from 1.
    pub seq: u64,
    /// The hash of the line before; zeros in the first one.
    #[schemars(extend("pattern" = "^[0-9a-f]{64}$"))]
    pub previous: String,
    /// The SHA-256 of this line's bytes in front of `,"hash":`.
    #[schemars(extend("pattern" = "^[0-9a-f]{64}$"))]
    pub hash: String,
}

impl Line {
    /// Reads a line, also one that was written before lines were chained.
    ///
    /// # Errors
    /// When it is none.
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
    let mut schema = schema_for!(Line);
    schema.insert("title".into(), format!("sandgate audit line, version {SCHEMA}").into());
    schema
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
        let answer = answer(&policies, Endpoint::Mutate, review).unwrap();
        answer.record.write_line(&mut record, "2026-11-24T12:00:00Z", 30);
        Link::default().seal(&record, &mut line);
        line
    }

    #[test]
    fn what_is_written_is_what_the_types_say_field_by_field_and_in_order() {
        let line = String::from_utf8(line()).unwrap();
        let Line::Verdict(verdict) = Line::read(line.as_bytes()).unwrap() else { panic!("{line}") };
        // Reading drops nothing and makes up nothing.
        assert_eq!(serde_json::to_string(&verdict).unwrap(), line.trim_end());
        assert_eq!((&*verdict.user, &*verdict.owner.unwrap().name, &*verdict.images[0]), ("alice", "j", "i"));
        assert!(verdict.violations.iter().any(|violation| violation.rule == "host-namespaces"));
    }

    #[test]
    fn each_written_field_is_in_the_schema_and_required() {
        let schema = serde_json::to_value(json_schema()).unwrap();
        let defined = &schema["$defs"]["Verdict"];
        let seal = &schema["$defs"]["SealFields"];
        let line: serde_json::Value = serde_json::from_slice(&line()).unwrap();
        for key in line.as_object().unwrap().keys() {
            let is_there = [defined, seal].iter().any(|part| part["properties"].get(key).is_some());
            assert!(is_there, "{key}\n{schema:#}");
        }
        assert!(defined["required"].as_array().unwrap().contains(&"policyHash".into()));
    }

    #[test]
    fn a_line_from_before_there_were_chains_is_read() {
        let mut line: serde_json::Value = serde_json::from_slice(&line()).unwrap();
        for key in ["schema", "seq", "previous", "hash"] {
            line.as_object_mut().unwrap().remove(key);
        }
        let line = Line::read(line.to_string().as_bytes()).unwrap();
        assert!(matches!(line, Line::Verdict(verdict) if verdict.seal.is_none()));
    }
}
