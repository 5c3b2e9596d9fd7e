//! Writing the answer to a review of templates, which always allows.

use super::{TemplateResult, warnings};
use crate::{
    json::{Value, write_patch},
    review::{RequestInfo, Response},
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

impl TemplateAnswer {
    /// Returns the answer with the changes of `object` as its patch.
    pub(super) fn new(
        info: &RequestInfo,
        result: TemplateResult,
        warnings: Vec<String>,
        object: &Value,
        filled: usize,
    ) -> Self {
        let body = Response::allowed(&info.uid, warnings).write(&info.api_version, &write_patch(object));
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
