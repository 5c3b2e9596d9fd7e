//! The way of one admission review: bytes in, bytes and a record out.

use crate::policy::{Mode, PolicySet};

/// Which webhook is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /mutate`
    Mutate,
    /// `POST /validate`
    Validate,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Admitted, perhaps filled.
    Admitted,
    /// Refused.
    Denied,
    /// Admitted with warnings (mode warn).
    Warned,
    /// Admitted, would have been refused (mode audit).
    WouldDeny,
    /// Admitted because the user or group is exempt.
    Exempt,
    /// Allowed: no policy covers the namespace.
    NoPolicy,
    /// Allowed: an operation that no rule judges (DELETE, CONNECT).
    NotJudged,
}

/// What the audit trail and the metrics know of one verdict.
#[derive(Debug)]
pub struct Record<'a> {
    /// What became of it.
    pub outcome: Outcome,
    /// Which webhook was asked.
    pub endpoint: Endpoint,
    /// `request.uid`
    pub uid: &'a str,
    /// `request.operation`
    pub operation: &'a str,
    /// The policy's name.
    pub policy: Option<&'a str>,
    /// The policy's mode.
    pub mode: Option<Mode>,
    /// Ids of the rules that are violated, one entry a violation.
    pub violated: Vec<&'static str>,
}

impl Record<'_> {
    /// Appends the audit line, with its newline. `time` is RFC 3339.
    pub fn write_line(&self, _out: &mut Vec<u8>, _time: &str, _duration_micros: u64) {}
}

/// An answer ready for the wire.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The `AdmissionReview` as JSON.
    pub body: Vec<u8>,
    /// What to record of it.
    pub record: Record<'a>,
}

/// Bytes that are no `AdmissionReview`; `Display` says why in one line.
#[derive(Debug, thiserror::Error)]
#[error("not an AdmissionReview")]
pub struct NotAReview {}

/// Judges one review.
///
/// # Errors
/// When `body` is no `AdmissionReview` of a version we speak.
pub fn answer<'a>(
    _policies: &'a PolicySet,
    _endpoint: Endpoint,
    _body: &'a [u8],
) -> Result<Answer<'a>, NotAReview> {
    Err(NotAReview {})
}
