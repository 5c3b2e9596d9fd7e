//! Writing the answer to a review.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::{Outcome, Record, annotations, warnings};
use crate::json::write_patch;

/// An answer ready for the wire.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The `AdmissionReview` as JSON.
    pub body: Vec<u8>,
    /// The record of the verdict.
    pub record: Record<'a>,
}

impl<'a> Answer<'a> {
    pub(super) fn of(record: Record<'a>) -> Self {
        Self { body: write(&record), record }
    }
}

/// The bytes of nearly every answer without its patch.
const ENVELOPE_BYTES: usize = 768;

fn write(record: &Record) -> Vec<u8> {
    let denied = record.outcome == Outcome::Denied;
    let response = Response {
        uid: &record.request.uid,
        allowed: !denied,
        status: denied.then(|| Status::of(record)),
        audit_annotations: audit_annotations(record),
        warnings: warnings::of(record),
    };
    let patch = if record.is_patched() { write_patch(&record.object) } else { Vec::new() };
    response.write(&record.request.api_version, &patch)
}

/// Adds the patch at the end of the response, which stands at the end of the answer. In Base64 there is nothing to
/// escape, so it need not go through the serializer, which would look at each byte.
fn append_patch(answer: &mut Vec<u8>, patch: &[u8]) {
    const ENDS: &[u8] = b"}}";
    answer.truncate(answer.len() - ENDS.len());
    answer.extend_from_slice(br#","patchType":"JSONPatch","patch":""#);
    let start = answer.len();
    answer.resize(start + patch.len().div_ceil(3) * 4, 0);
    STANDARD.encode_slice(patch, &mut answer[start..]).expect("the length is that of its Base64");
    answer.push(b'"');
    answer.extend_from_slice(ENDS);
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'r> {
    kind: &'static str,
    api_version: &'r str,
    response: Response<'r>,
}

/// The response of an `AdmissionReview`, all but its patch: see [`append_patch`].
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Response<'r> {
    uid: &'r str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_annotations: Option<BTreeMap<&'static str, Cow<'r, str>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl<'r> Response<'r> {
    /// Returns the response that allows a request.
    pub(crate) fn allowed(uid: &'r str, warnings: Vec<String>) -> Self {
        Self { uid, allowed: true, status: None, audit_annotations: None, warnings }
    }

    /// Returns the `AdmissionReview` with this response as JSON. An empty patch is left out.
    pub(crate) fn write(self, api_version: &str, patch: &[u8]) -> Vec<u8> {
        let review = Review { kind: "AdmissionReview", api_version, response: self };
        let mut answer = Vec::with_capacity(ENVELOPE_BYTES + patch.len() * 4 / 3);
        serde_json::to_writer(&mut answer, &review).expect("writing JSON to memory cannot fail");
        if !patch.is_empty() {
            append_patch(&mut answer, patch);
        }
        answer
    }
}

/// Returns what the API server writes to its own audit log; `None` if no policy applied.
fn audit_annotations<'r>(record: &'r Record) -> Option<BTreeMap<&'static str, Cow<'r, str>>> {
    let policy = record.policy?;
    let mut annotations = BTreeMap::from([
        (annotations::VERDICT, record.outcome.as_str().into()),
        (annotations::POLICY, Cow::from(&policy.name)),
        (annotations::POLICY_HASH, Cow::from(&policy.hash)),
    ]);
    let rules = record.rules();
    if !rules.is_empty() {
        annotations.insert(annotations::RULES, rules.into());
    }
    Some(annotations)
}

/// The `meta/v1` `Status` of a denial.
#[derive(Serialize)]
struct Status<'r> {
    code: u16,
    reason: &'static str,
    message: &'r str,
    details: Details,
}

#[derive(Serialize)]
struct Details {
    causes: Vec<Cause>,
}

/// A `meta/v1` `StatusCause`: the rule, what is wrong, where.
#[derive(Serialize)]
struct Cause {
    reason: &'static str,
    message: String,
    field: String,
}

impl<'r> Status<'r> {
    fn of(record: &'r Record) -> Self {
        const MAX_CAUSES: usize = 50;
        const MAX_CAUSES_BYTES: usize = 64 << 10;
        let mut bytes = 0;
        let causes = record.violations().of_highest().iter().take(MAX_CAUSES).map(|violation| Cause {
            reason: violation.rule.id,
            message: violation.to_string(),
            field: violation.path.to_string(),
        });
        let causes = causes.take_while(|cause| {
            bytes += cause.message.len() + cause.field.len();
            bytes <= MAX_CAUSES_BYTES
        });
        let message = record.message();
        Self { code: 403, reason: "Forbidden", message, details: Details { causes: causes.collect() } }
    }
}
