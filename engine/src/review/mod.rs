//! One admission review, from its bytes to the bytes of the answer and a record. No socket, no clock, no cluster.

pub mod annotations;
mod answer;
mod audit_line;
mod audit_record;
mod changes;
mod debug_mounts;
mod evaluate;
mod head;
mod levels;
mod outcome;
mod provenance;
mod record;
mod request;
mod warnings;

use crate::{
    json::Value,
    path::{LazyPath, METADATA},
    policy::{Creator, Level, Policy, PolicySet},
    rules::{Group, Rule},
    text::quote,
    violations::Reporter,
};

pub use answer::Answer;
pub(crate) use answer::Response;
pub use audit_record::{
    AuditClamped, AuditOwner, AuditRecord, AuditViolation, MAX_LINE_BYTES, MAX_TEXT_CHARS, Origin, rules,
};
pub use changes::Clamped;
pub(crate) use evaluate::with_facts;
pub use evaluate::{Defaults, Findings, evaluate};
pub use head::{Head, MAX_HEAD_BYTES};
pub use levels::LeveledViolations;
pub use outcome::{Endpoint, Outcome, UnknownWord, WithoutPolicy};
pub use provenance::{HASH_ANNOTATION, POLICY_ANNOTATION, PROVENANCE};
pub use record::Record;
pub use request::{Caller, Operation, Request, RequestInfo, ReviewError, Unread};

use evaluate::{Part, evaluate_binding, evaluate_update, not_evaluated, report_unread};

/// Answers reviews by the policies in force.
#[derive(Debug, Clone, Copy)]
pub struct Evaluator<'a> {
    /// The policies in force.
    pub policies: &'a PolicySet,
    /// The policy that the path of the call names (`/mutate/NAME`). It holds in namespaces that it selects by their
    /// labels, which a review does not show.
    pub path_policy: Option<&'a str>,
    /// The answer for a namespace without a policy.
    pub without_policy: WithoutPolicy,
    /// The proof that the sender is an API server.
    pub caller: Caller,
}

impl<'a> Evaluator<'a> {
    /// Answers one review with a decision.
    ///
    /// # Errors
    /// Returns an error if `body` is not an `AdmissionReview` of a supported version. A review whose Pod cannot be read
    /// is no error: it is denied, with the reason.
    pub fn answer(self, endpoint: Endpoint, body: &'a [u8]) -> Result<Answer<'a>, ReviewError> {
        Ok(self.answer_request(endpoint, Request::read(body)?))
    }

    /// Answers a review that could not be evaluated, by its head.
    #[must_use]
    pub fn answer_head(self, endpoint: Endpoint, head: Head<'a>, unread: Unread) -> Answer<'a> {
        self.answer_request(endpoint, Request::of_head(head, unread))
    }

    fn answer_request(self, endpoint: Endpoint, mut request: Request<'a>) -> Answer<'a> {
        let decision = self.decide(endpoint, &mut request);
        let Request { mut info, object, .. } = request;
        info.caller = self.caller;
        Answer::of(Record::new(decision, endpoint, info, object))
    }

    fn decide(self, endpoint: Endpoint, request: &mut Request<'a>) -> Decision<'a> {
        if !request.is_evaluated {
            return Decision::of(Outcome::NotEvaluated);
        }
        let Some(policy) = self.policies.for_namespace(&request.info.namespace, self.path_policy) else {
            return self.decide_without_policy(request);
        };
        let candidate = self.policies.candidate_of(policy);
        let candidate = candidate.and_then(|candidate| evaluate_candidate(candidate, endpoint, request));
        let findings = match (&request.unread, request.info.operation) {
            (Some(_), _) => not_evaluated(policy, request),
            (None, Operation::Update) => {
                evaluate_update(policy, &request.object, &request.old_object, Part::of(request))
            }
            (None, _) if request.is_binding() => evaluate_binding(policy, &request.object),
            (None, _) => {
                let defaults = if endpoint == Endpoint::Mutate { Defaults::Fill } else { Defaults::Skip };
                evaluate(policy, &mut request.object, Some(creator(&request.info)), defaults)
            }
        };
        let outcome = match findings.violations.highest() {
            // An exempt request is evaluated all the same: the record shows what it would have been denied for.
            _ if policy.exempts(&creator(&request.info)) => Outcome::Exempt,
            Some(Level::Enforce) => Outcome::Denied,
            Some(Level::Warn) => Outcome::Warned,
            Some(Level::Audit) => Outcome::WouldDeny,
            Some(Level::Off) | None => Outcome::Admitted,
        };
        Decision { outcome, policy: Some(policy), findings, candidate: candidate.unwrap_or_default() }
    }

    fn decide_without_policy(self, request: &Request) -> Decision<'a> {
        if self.without_policy == WithoutPolicy::Allow {
            return Decision::of(Outcome::NoPolicy);
        }
        let mut decision = Decision::of(Outcome::Denied);
        let violations = &mut decision.findings.violations.enforce;
        if let Some(unread) = &request.unread {
            report_unread(unread, violations);
            return decision;
        }
        let found = quote(&request.info.namespace);
        let remedy = match self.path_policy {
            Some(name) => format!("policy {} may not be loaded yet: try again, or add it", quote(name)),
            None => {
                "a policy that was added in the last minutes may not be loaded yet: try again, or add one"
                    .into()
            }
        };
        let wanted = "a namespace with a sandbox policy";
        Reporter::new(&NAMESPACE_POLICY, violations).report(NAMESPACE_PATH, found, wanted, remedy);
        decision
    }
}

/// Answers one review by `policies`, and denies where no policy covers the namespace. `path_policy` is the policy that
/// the path of the call names, if it names one.
///
/// # Errors
/// Returns the errors of [`Evaluator::answer`].
pub fn answer<'a>(
    policies: &'a PolicySet,
    endpoint: Endpoint,
    path_policy: Option<&'a str>,
    body: &'a [u8],
) -> Result<Answer<'a>, ReviewError> {
    let (without_policy, caller) = (WithoutPolicy::Deny, Caller::default());
    Evaluator { policies, path_policy, without_policy, caller }.answer(endpoint, body)
}

/// The rule of a Pod in a namespace without a policy. It is not one of the policy's rules, which cannot be checked
/// there.
pub static NAMESPACE_POLICY: Rule = Rule {
    id: "namespace-policy",
    group: Group::Metadata,
    title: "The namespace of the Pod has a policy.",
    why: "The webhook selects the namespace, so its Pods are to be sandboxed, and without a policy nothing states how. \
          Admitting them would leave a gap while a new policy is being loaded.",
    references: &[
        "https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/",
    ],
    setting: "spec.namespaces",
    fill: None,
    check: |_, _, _| {},
    cel: None,
};

static NAMESPACE_PATH: LazyPath<'static> = METADATA.child("namespace");

/// The decision on a request.
#[derive(Debug)]
struct Decision<'a> {
    outcome: Outcome,
    policy: Option<&'a Policy>,
    findings: Findings<'a>,
    candidate: LeveledViolations,
}

impl Decision<'_> {
    fn of(outcome: Outcome) -> Self {
        Self { outcome, policy: None, findings: Findings::default(), candidate: LeveledViolations::default() }
    }
}

/// Evaluates what came under a policy that is only recorded: a create where it can still be filled, an update where it
/// is final. Returns `None` if the candidate has nothing to evaluate there.
fn evaluate_candidate<'a>(
    candidate: &'a Policy,
    endpoint: Endpoint,
    request: &Request<'a>,
) -> Option<LeveledViolations> {
    if request.unread.is_some() || request.is_binding() || candidate.exempts(&creator(&request.info)) {
        return None;
    }
    let findings = match (request.info.operation, endpoint) {
        (Operation::Create, Endpoint::Mutate) => {
            let mut pod: Value = request.object.clone();
            evaluate(candidate, &mut pod, Some(creator(&request.info)), Defaults::Fill)
        }
        (Operation::Update, Endpoint::Validate) => {
            evaluate_update(candidate, &request.object, &request.old_object, Part::of(request))
        }
        _ => return None,
    };
    Some(findings.violations)
}

/// Returns the user that a request comes from.
fn creator<'r>(info: &'r RequestInfo) -> Creator<'r> {
    Creator { user: &info.user, groups: &info.groups }
}

#[cfg(test)]
mod tests;
