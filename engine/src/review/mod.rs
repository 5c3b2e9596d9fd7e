//! The way of one admission review: bytes in, bytes and a record out. No socket, no clock, no cluster.

pub mod annotations;
mod answer;
mod audit_record;
mod record;
mod request;

use crate::{
    json::{Value, is_changed},
    pod::metadata_mut,
    policy::{Mode, Policy, PolicySet},
    rules::{self, Filled},
    verdict::{Violation, Violations},
};

pub use answer::Answer;
pub use audit_record::{
    AuditOwner, AuditRecord, AuditViolation, MAX_LINE_BYTES, MAX_TEXT_CHARS, Origin, rules,
};
pub use record::Record;
pub use request::{NotAReview, Operation, Request, RequestInfo};

/// The annotation that names the policy a Pod was filled by.
pub const POLICY_ANNOTATION: &str = "sandgate.dev/policy";
/// The annotation with the hash of that policy's content.
pub const HASH_ANNOTATION: &str = "sandgate.dev/policy-hash";

/// Which webhook is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /mutate`: fills, then judges.
    Mutate,
    /// `POST /validate`: judges the final object.
    Validate,
}

impl Endpoint {
    /// All endpoints.
    pub const ALL: [Self; 2] = [Self::Mutate, Self::Validate];

    /// The word in records and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mutate => "mutate",
            Self::Validate => "validate",
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Admitted, perhaps filled.
    Admitted,
    /// Refused.
    Denied,
    /// Admitted with warnings, where enforcing would have refused (mode warn).
    Warned,
    /// Admitted, where enforcing would have refused (mode audit).
    WouldDeny,
    /// Admitted, whatever it violates: the policy exempts the user or one of the groups.
    Exempt,
    /// Allowed: no policy covers the namespace, so the webhook's selector and the policies disagree.
    NoPolicy,
    /// Allowed: nothing that a rule judges (DELETE, CONNECT, another resource).
    NotJudged,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Admitted,
        Self::Denied,
        Self::Warned,
        Self::WouldDeny,
        Self::Exempt,
        Self::NoPolicy,
        Self::NotJudged,
    ];

    /// Returns the outcome of a word in records, if it is one.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }

    /// The word in records and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Denied => "denied",
            Self::Warned => "warned",
            Self::WouldDeny => "would-deny",
            Self::Exempt => "exempt",
            Self::NoPolicy => "no-policy",
            Self::NotJudged => "not-judged",
        }
    }
}

/// Judges one review.
///
/// # Errors
/// When `body` is no `AdmissionReview` of a version we speak. A review whose Pod cannot be read is no error: it is
/// refused, with the reason.
pub fn answer<'a>(
    policies: &'a PolicySet,
    endpoint: Endpoint,
    body: &'a [u8],
) -> Result<Answer<'a>, NotAReview> {
    let mut request = Request::read(body)?;
    let decision = decide(policies, endpoint, &mut request);
    let Request { info, object, .. } = request;
    Ok(Answer::of(Record::new(decision, endpoint, info, object)))
}

/// What the rules found, and what they did.
#[derive(Debug, Default)]
pub struct Findings {
    /// What violates the policy.
    pub violations: Violations,
    /// What was filled, by rule.
    pub filled: Vec<Filled>,
    /// Of an update: what the stored Pod violates already, which is not held against the update.
    pub forgiven: Vec<Violation>,
}

impl From<Violations> for Findings {
    fn from(violations: Violations) -> Self {
        Self { violations, ..Self::default() }
    }
}

fn decide<'a>(
    policies: &'a PolicySet,
    endpoint: Endpoint,
    request: &mut Request<'a>,
) -> (Outcome, Option<&'a Policy>, Findings) {
    if !request.is_judged {
        return (Outcome::NotJudged, None, Findings::default());
    }
    let Some(policy) = policies.of_namespace(&request.info.namespace) else {
        return (Outcome::NoPolicy, None, Findings::default());
    };
    let findings = match (&request.malformed, request.info.operation) {
        (Some(problem), _) => unreadable(problem).into(),
        (None, Operation::Update) => judge_update(policy, request),
        (None, _) if request.is_binding() => judge_binding(policy, &request.object).into(),
        // Where nothing is enforced the record must say what enforcing would do, so the fill is tried there too.
        (None, _) => {
            let fills = endpoint == Endpoint::Mutate || policy.spec.mode != Mode::Enforce;
            judge(policy, &mut request.object, fills)
        }
    };
    let outcome = match policy.spec.mode {
        // What an exempt request would have been denied for is evaluated all the same: the record has to show it.
        _ if is_exempt(policy, request) => Outcome::Exempt,
        _ if findings.violations.is_empty() => Outcome::Admitted,
        Mode::Enforce => Outcome::Denied,
        Mode::Warn => Outcome::Warned,
        Mode::Audit => Outcome::WouldDeny,
    };
    (outcome, Some(policy), findings)
}

/// Fills `pod` if asked to, and says what still violates the policy.
#[must_use]
pub fn judge<'a>(policy: &'a Policy, pod: &mut Value<'a>, fills: bool) -> Findings {
    let mut filled = Vec::new();
    if fills {
        filled = rules::fill(&policy.spec, pod);
        stamp(policy, pod);
    }
    Findings { violations: rules::check(&policy.spec, pod), filled, forgiven: Vec::new() }
}

/// A Pod that was filled says by which policy; one that says so already must say the truth.
fn stamp<'a>(policy: &'a Policy, pod: &mut Value<'a>) {
    let annotations =
        pod.as_object().and_then(|pod| pod.object("metadata")).and_then(|meta| meta.object("annotations"));
    let find = |key| annotations.and_then(|annotations| annotations.str(key));
    let marks = [(POLICY_ANNOTATION, policy.name.as_str()), (HASH_ANNOTATION, policy.hash.as_str())];
    let claims = marks.iter().any(|(key, _)| find(key).is_some());
    let is_true = marks.iter().all(|(key, value)| find(key) == Some(*value));
    if is_true || !(claims || is_changed(pod)) {
        return;
    }
    if let Some(annotations) = metadata_mut(pod).and_then(|metadata| metadata.object_mut("annotations")) {
        for (key, value) in marks {
            annotations.set(key, value);
        }
    }
}

/// An update is refused only for violations that the Pod did not have before. A Pod that is being deleted is no
/// exception: it may run on for as long as the delete allows, and its finalizers can be removed whatever it violates.
fn judge_update(policy: &Policy, request: &Request) -> Findings {
    let mut violations = rules::check(&policy.spec, &request.object);
    if violations.is_empty() || request.old_object == Value::Null {
        return violations.into();
    }
    let mut forgiven = violations.retain_new(&rules::check(&policy.spec, &request.old_object));
    forgiven.retain(|violation| violation.rule != rules::ONLY_ON_CREATE.id);
    Findings { violations, filled: Vec::new(), forgiven }
}

/// A Binding is refused for what its labels and annotations violate. It is no Pod, so all that it violates without them
/// does not count.
fn judge_binding(policy: &Policy, binding: &Value) -> Violations {
    let mut bare = binding.clone();
    if let Some(metadata) = metadata_mut(&mut bare) {
        metadata.set("labels", Value::Null);
        metadata.set("annotations", Value::Null);
    }
    let mut violations = rules::check(&policy.spec, binding);
    violations.retain_new(&rules::check(&policy.spec, &bare));
    violations
}

fn unreadable(problem: &str) -> Violations {
    let mut violations = Violations::default();
    violations.begin("pod-shape");
    violations.report("object", problem, "a Pod", "send a Pod that can be read without doubt");
    violations
}

fn is_exempt(policy: &Policy, request: &Request) -> bool {
    let exempt = &policy.spec.exempt;
    exempt.users.iter().any(|user| *user == *request.info.user)
        || request.info.groups.iter().any(|group| exempt.groups.iter().any(|exempt| *exempt == **group))
}

#[cfg(test)]
mod tests;
