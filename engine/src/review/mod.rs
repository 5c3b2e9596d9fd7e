//! The way of one admission review: bytes in, bytes and a record out. No socket, no clock, no cluster.

mod answer;
mod head;
mod record;
mod request;

use std::cell::OnceCell;

use crate::{
    json::{Value, is_changed},
    pod::metadata_mut,
    policy::{Mode, Policy, PolicySet},
    rules::{self, Filled},
    verdict::{Violation, Violations},
};

pub use answer::Answer;
pub use head::{Head, MAX_HEAD_BYTES};
pub use record::Record;
pub use request::{Caller, Operation, Request, RequestInfo, ReviewError, Unread};

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
    /// Admitted unjudged: the policy exempts the user or one of the groups.
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

    /// The word in records and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
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

/// What happens to a Pod in a namespace that the webhook selects and no policy covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WithoutPolicy {
    /// The Pod is denied.
    #[default]
    Deny,
    /// The Pod is admitted, with the outcome [`Outcome::NoPolicy`].
    Allow,
}

/// Answers reviews by the policies in force.
#[derive(Debug, Clone, Copy)]
pub struct Evaluator<'a> {
    /// The policies in force.
    pub policies: &'a PolicySet,
    /// What happens in a namespace without a policy.
    pub without_policy: WithoutPolicy,
    /// How the sender proved that it is an API server.
    pub caller: Caller,
}

impl<'a> Evaluator<'a> {
    /// Answers one review.
    ///
    /// # Errors
    /// If `body` is not an `AdmissionReview` of a supported version. A review whose Pod cannot be read is no error: it is
    /// denied, with the reason.
    pub fn answer(self, endpoint: Endpoint, body: &'a [u8]) -> Result<Answer<'a>, ReviewError> {
        Ok(self.answer_request(endpoint, Request::read(body)?))
    }

    /// Answers a review that could not be evaluated, by its head.
    #[must_use]
    pub fn answer_head(self, endpoint: Endpoint, head: Head<'a>, unread: Unread) -> Answer<'a> {
        self.answer_request(endpoint, Request::of_head(head, unread))
    }

    fn answer_request(self, endpoint: Endpoint, mut request: Request<'a>) -> Answer<'a> {
        let (outcome, policy, findings) = decide(self, endpoint, &mut request);
        let Request { mut info, object, .. } = request;
        info.caller = self.caller;
        Answer::of(Record {
            outcome,
            endpoint,
            request: info,
            policy,
            object,
            findings,
            filled: OnceCell::new(),
        })
    }
}

/// Answers one review by `policies`, and denies where no policy covers the namespace.
///
/// # Errors
/// As [`Evaluator::answer`].
pub fn answer<'a>(
    policies: &'a PolicySet,
    endpoint: Endpoint,
    body: &'a [u8],
) -> Result<Answer<'a>, ReviewError> {
    let evaluator = Evaluator { policies, without_policy: WithoutPolicy::Deny, caller: Caller::default() };
    evaluator.answer(endpoint, body)
}

impl Record<'_> {
    /// Returns what kubectl shows of the violations.
    #[must_use]
    pub fn message(&self) -> String {
        match self.policy {
            Some(policy) => self.violations().message(&policy.name),
            None => self.violations().lines().join("\n"),
        }
    }
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
    evaluator: Evaluator<'a>,
    endpoint: Endpoint,
    request: &mut Request<'a>,
) -> (Outcome, Option<&'a Policy>, Findings) {
    if !request.is_judged {
        return (Outcome::NotJudged, None, Findings::default());
    }
    let Some(policy) = evaluator.policies.of_namespace(&request.info.namespace) else {
        return match (evaluator.without_policy, &request.unread) {
            (WithoutPolicy::Allow, _) => (Outcome::NoPolicy, None, Findings::default()),
            (WithoutPolicy::Deny, Some(unread)) => (Outcome::Denied, None, not_evaluated(unread).into()),
            (WithoutPolicy::Deny, None) => (Outcome::Denied, None, no_policy(request).into()),
        };
    };
    if is_exempt(policy, request) {
        return (Outcome::Exempt, Some(policy), Findings::default());
    }
    let findings = match (&request.unread, request.info.operation) {
        (Some(unread), _) => not_evaluated(unread).into(),
        (None, Operation::Update) => judge_update(policy, request),
        (None, _) if request.is_binding() => judge_binding(policy, &request.object).into(),
        // Where nothing is enforced the record must say what enforcing would do, so the fill is tried there too.
        (None, _) => {
            let fills = endpoint == Endpoint::Mutate || policy.spec.mode != Mode::Enforce;
            judge(policy, &mut request.object, fills)
        }
    };
    let outcome = match policy.spec.mode {
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

fn not_evaluated(unread: &Unread) -> Violations {
    let (found, wanted, remedy) = unread.violation();
    let mut violations = Violations::default();
    violations.begin("pod-shape");
    violations.report("object", found, wanted, remedy);
    violations
}

/// The rule of a Pod in a namespace without a policy. It is not one of the policy's rules, which cannot be checked there.
pub const NAMESPACE_POLICY: &str = "namespace-policy";

fn no_policy(request: &Request) -> Violations {
    let mut violations = Violations::default();
    violations.begin(NAMESPACE_POLICY);
    violations.report(
        "metadata.namespace",
        crate::verdict::quote(&request.info.namespace),
        "a namespace with a sandbox policy",
        "a policy that was added in the last minutes may not be loaded yet: try again, or add one",
    );
    violations
}

fn is_exempt(policy: &Policy, request: &Request) -> bool {
    let exempt = &policy.spec.exempt;
    exempt.users.iter().any(|user| *user == *request.info.user)
        || request.info.groups.iter().any(|group| exempt.groups.iter().any(|exempt| *exempt == **group))
}

#[cfg(test)]
mod tests;
