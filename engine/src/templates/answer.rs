//! Writing the answer to a review of templates, which always allows.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::{TemplateResult, warnings};
use crate::{
    json::{Value, write_patch},
    review::RequestInfo,
};

/// An answer ready for the wire, and what is counted of it.
#[derive(Debug)]
pub struct TemplateAnswer {
    /// The `AdmissionReview` as JSON.
    pub body: Vec<u8>,
    /// The result of the review.
    pub result: TemplateResult,
    /// The number of templates that were filled.
    pub filled: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'r> {
    kind: &'static str,
    api_version: &'r str,
    response: Response<'r>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'r> {
    uid: &'r str,
    allowed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
}

impl TemplateAnswer {
    /// Returns the answer with the changes of `object` as its patch.
    pub(super) fn new(
        info: &RequestInfo,
        result: TemplateResult,
        warnings: Vec<String>,
        object: &Value,
        filled: usize,
    ) -> Self {
        let patch = write_patch(object);
        let patch = (!patch.is_empty()).then(|| STANDARD.encode(patch));
        let patch_type = patch.as_ref().map(|_| "JSONPatch");
        let response = Response { uid: &info.uid, allowed: true, warnings, patch_type, patch };
        let review = Review { kind: "AdmissionReview", api_version: &info.api_version, response };
        let body = serde_json::to_vec(&review).expect("writing JSON to memory cannot fail");
        Self { body, result, filled }
    }

    pub(super) fn skipped(info: &RequestInfo) -> Self {
        Self::new(info, TemplateResult::Skipped, Vec::new(), &Value::Null, 0)
    }

    pub(super) fn unread(info: &RequestInfo) -> Self {
        Self::new(info, TemplateResult::Unread, Vec::new(), &Value::Null, 0)
    }

    pub(super) fn too_large(info: &RequestInfo) -> Self {
        let warnings = warnings::is_person(info).then(|| warnings::TOO_LARGE.into());
        Self::new(info, TemplateResult::Unread, warnings.into_iter().collect(), &Value::Null, 0)
    }
}
