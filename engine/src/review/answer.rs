//! Writing the answer to a review.

use std::borrow::Cow;

use serde::Serialize;

use super::{Outcome, Record, annotations, warnings};
use crate::json::{ObjectWriter, write_base64, write_json, write_patch, write_string};

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
        warnings: warnings::of(record).into_iter().map(Cow::from).collect(),
    };
    let patch = if record.is_patched() { write_patch(&record.object) } else { Vec::new() };
    response.write(&record.request.api_version, &patch)
}

/// The response of an `AdmissionReview`, without its patch.
pub(crate) struct Response<'r> {
    uid: &'r str,
    allowed: bool,
    status: Option<Status<'r>>,
    /// In the order of their keys.
    audit_annotations: Vec<(&'static str, Cow<'r, str>)>,
    warnings: Vec<Cow<'r, str>>,
}

impl<'r> Response<'r> {
    /// Returns the response that allows a request.
    pub(crate) fn allowed(uid: &'r str, warnings: Vec<String>) -> Self {
        let warnings = warnings.into_iter().map(Cow::from).collect();
        Self { uid, allowed: true, status: None, audit_annotations: Vec::new(), warnings }
    }

    /// Returns the `AdmissionReview` with this response as JSON. What is empty is left out.
    pub(crate) fn write(self, api_version: &str, patch: &[u8]) -> Vec<u8> {
        let mut answer = Vec::with_capacity(ENVELOPE_BYTES + patch.len() * 4 / 3);
        let mut review = ObjectWriter::new(&mut answer, write_string);
        review.text("kind", "AdmissionReview");
        review.text("apiVersion", api_version);
        self.write_response(patch, review.key("response"));
        review.end();
        answer
    }

    fn write_response(self, patch: &[u8], out: &mut Vec<u8>) {
        let Self { uid, allowed, status, audit_annotations, warnings } = self;
        let mut response = ObjectWriter::new(out, write_string);
        response.text("uid", uid);
        response.bool("allowed", allowed);
        if let Some(status) = status {
            write_json(&status, response.key("status"));
        }
        if !audit_annotations.is_empty() {
            let mut annotations = ObjectWriter::new(response.key("auditAnnotations"), write_string);
            for (key, value) in &audit_annotations {
                annotations.text(key, value);
            }
            annotations.end();
        }
        if !warnings.is_empty() {
            response.texts("warnings", &warnings);
        }
        if !patch.is_empty() {
            response.text("patchType", "JSONPatch");
            write_base64(patch, response.key("patch"));
        }
        response.end();
    }
}

/// Returns what the API server writes to its own audit log; nothing if no policy applied.
fn audit_annotations<'r>(record: &'r Record) -> Vec<(&'static str, Cow<'r, str>)> {
    let Some(policy) = record.policy else { return Vec::new() };
    let rules = record.rules();
    let rules = (!rules.is_empty()).then_some((annotations::RULES, rules.into()));
    let mut annotations = vec![
        (annotations::POLICY, Cow::from(&policy.name)),
        (annotations::POLICY_HASH, Cow::from(&policy.hash)),
    ];
    annotations.extend(rules);
    annotations.push((annotations::VERDICT, record.outcome.as_str().into()));
    annotations
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
