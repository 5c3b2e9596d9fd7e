//! Writing the answer to a review.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::{Outcome, Record, annotations::AuditAnnotations};
use crate::{json::write_patch, pod::Pod, verdict::Violations};

/// An answer ready for the wire.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The `AdmissionReview` as JSON.
    pub body: Vec<u8>,
    /// What to record of it.
    pub record: Record<'a>,
}

impl<'a> Answer<'a> {
    pub(super) fn of(record: Record<'a>) -> Self {
        Self { body: write(&record), record }
    }
}

fn write(record: &Record) -> Vec<u8> {
    let denied = record.outcome == Outcome::Denied;
    let review = Review {
        kind: "AdmissionReview",
        api_version: &record.request.api_version,
        response: Response {
            uid: &record.request.uid,
            allowed: !denied,
            status: denied.then(|| Status::of(record)),
            audit_annotations: AuditAnnotations::of(record),
            warnings: match record.outcome {
                Outcome::Warned => would_be(record.violations()),
                _ => filled(record).into_iter().collect(),
            },
        },
    };
    let patch = if record.is_patched() { write_patch(&record.object) } else { Vec::new() };
    let mut answer = Vec::with_capacity(512 + patch.len() * 4 / 3);
    serde_json::to_writer(&mut answer, &review).expect("writing JSON to memory cannot fail");
    if !patch.is_empty() {
        append_patch(&mut answer, &patch);
    }
    answer
}

/// Adds the patch at the end of the response, which stands at the end of the answer. In Base64 there is nothing to
/// escape, so it need not go through the serializer, which would look at each byte.
fn append_patch(answer: &mut Vec<u8>, patch: &[u8]) {
    const ENDS: &[u8] = b"}}";
    answer.truncate(answer.len() - ENDS.len());
    answer.extend_from_slice(br#","patchType":"JSONPatch","patch":""#);
    answer.extend_from_slice(STANDARD.encode(patch).as_bytes());
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
/// All but the patch: see [`append_patch`].
struct Response<'r> {
    uid: &'r str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_annotations: Option<AuditAnnotations<'r>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// A `meta/v1` `Status` that refuses.
#[derive(Serialize)]
struct Status {
    code: u16,
    reason: &'static str,
    message: String,
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

impl Status {
    fn of(record: &Record) -> Self {
        const MOST_CAUSES: usize = 50;
        let policy = record.policy.map_or("", |policy| &policy.name);
        let causes = record.violations().iter().take(MOST_CAUSES).map(|violation| Cause {
            reason: violation.rule,
            message: violation.to_string(),
            field: violation.path.clone(),
        });
        let message = record.violations().message(policy);
        Self { code: 403, reason: "Forbidden", message, details: Details { causes: causes.collect() } }
    }
}

/// One short line for a person about what was filled: two fields of the Pod itself, the sandbox before all, and
/// how many there are besides. It has only words of the Pod API and the policy's name in it.
fn filled(record: &Record) -> Option<String> {
    const NAMED: usize = 2;
    let policy = record.policy.filter(|policy| policy.spec.warnings.filled)?;
    if !record.is_patched() || !is_interactive(record) {
        return None;
    }
    let paths = record.filled_paths();
    let fields = paths.iter().filter_map(|path| path.strip_prefix("spec."));
    let mut of_pod: Vec<&str> = fields.filter(|field| !field.contains('[')).collect();
    of_pod.sort_by_key(|field| *field != "runtimeClassName");
    let named = &of_pod[..of_pod.len().min(NAMED)];
    let what = match (named, paths.len() - named.len()) {
        (_, 0) if named.is_empty() => return None,
        ([], more) => format!("{more} fields"),
        (_, 0) => named.join(" and "),
        (_, more) => format!("{} and {more} more", named.join(", ")),
    };
    Some(format!("sandgate: filled {what} for policy {}", policy.name))
}

/// Whether a person will see the answer: neither a service account nor a controller has made the Pod.
fn is_interactive(record: &Record) -> bool {
    let is_account = record.request.user.starts_with("system:serviceaccount:");
    !is_account && Pod::of(&record.object).controller().is_none()
}

/// What enforcing would refuse. The API server cuts a warning after 256 runes and all of them after 4096.
fn would_be(violations: &Violations) -> Vec<String> {
    const LONGEST: usize = 256;
    const ALL: usize = 4096;
    let mut warnings = Vec::new();
    let mut room = ALL - LONGEST;
    let lines = violations.lines();
    for (index, line) in lines.iter().enumerate() {
        let warning: String = format!("sandgate would refuse this: {line}").chars().take(LONGEST).collect();
        let length = warning.chars().count();
        if length > room {
            warnings.push(format!("sandgate would refuse this for {} more reasons", lines.len() - index));
            break;
        }
        room -= length;
        warnings.push(warning);
    }
    warnings
}
