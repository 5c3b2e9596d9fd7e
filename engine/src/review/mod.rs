//! One admission review, from its bytes to the bytes of the answer and a record. No socket, no clock, no cluster.

pub mod annotations;
mod answer;
mod head;
mod record;
mod request;

use std::{cell::OnceCell, str::FromStr};

use crate::{
    json::{Object, Value, is_changed},
    path::LazyPath,
    pod::{self, metadata_mut},
    policy::{Creator, Mode, Owner, PodFacts, Policy, PolicySet, Profile},
    rules::{self, Filled},
    text::quote,
    violations::{Reporter, Violation, Violations},
};

pub use answer::Answer;
pub use head::{Head, MAX_HEAD_BYTES};
pub use record::Record;
pub use request::{Operation, Request, RequestInfo, ReviewError};

/// The annotation that names the policy a Pod was filled by.
pub const POLICY_ANNOTATION: &str = "sandgate.dev/policy";
/// The annotation with the hash of that policy's content.
pub const HASH_ANNOTATION: &str = "sandgate.dev/policy-hash";

/// The endpoint that a webhook calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /mutate`: fills defaults, then checks the object.
    Mutate,
    /// `POST /validate`: checks the final object.
    Validate,
}

/// A text that is none of the words of a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not one of: {1}")]
pub struct UnknownWord(String, String);

impl UnknownWord {
    fn new(text: &str, words: impl IntoIterator<Item = &'static str>) -> Self {
        Self(quote(text), words.into_iter().collect::<Vec<_>>().join(", "))
    }
}

impl FromStr for Endpoint {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|endpoint| endpoint.as_str() == text);
        found.ok_or_else(|| UnknownWord::new(text, Self::ALL.map(Self::as_str)))
    }
}

impl FromStr for Outcome {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|outcome| outcome.as_str() == text);
        found.ok_or_else(|| UnknownWord::new(text, Self::ALL.map(Self::as_str)))
    }
}

impl Endpoint {
    /// Both endpoints.
    pub const ALL: [Self; 2] = [Self::Mutate, Self::Validate];

    /// Returns the word in records and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mutate => "mutate",
            Self::Validate => "validate",
        }
    }
}

/// The verdict on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The request is admitted, with defaults filled if the Pod left fields open.
    Admitted,
    /// The request is denied.
    Denied,
    /// The request is admitted with warnings: mode enforce would have denied it (mode warn).
    Warned,
    /// The request is admitted: mode enforce would have denied it (mode audit).
    WouldDeny,
    /// The request is admitted without a check: the policy exempts the user or one of the groups.
    Exempt,
    /// The request is allowed: no policy covers the namespace, so the webhook's selector and the policies disagree.
    NoPolicy,
    /// The request is allowed: no rule checks it (DELETE, CONNECT, another resource).
    NotJudged,
}

impl Outcome {
    /// Every verdict.
    pub const ALL: [Self; 7] = [
        Self::Admitted,
        Self::Denied,
        Self::Warned,
        Self::WouldDeny,
        Self::Exempt,
        Self::NoPolicy,
        Self::NotJudged,
    ];

    /// Returns the word in records and metrics.
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

/// Evaluates one review and writes the answer.
///
/// # Errors
/// Fails if `body` is not an `AdmissionReview` of a supported version. A review whose Pod cannot be read is not an
/// error: it is denied, with the reason.
pub fn answer<'a>(
    policies: &'a PolicySet,
    endpoint: Endpoint,
    body: &'a [u8],
) -> Result<Answer<'a>, ReviewError> {
    let mut request = Request::read(body)?;
    let (outcome, policy, findings) = decide(policies, endpoint, &mut request);
    let Request { info, object, .. } = request;
    Ok(Answer::of(Record {
        outcome,
        endpoint,
        request: info,
        policy,
        object,
        findings,
        filled: OnceCell::new(),
        message: OnceCell::new(),
    }))
}

/// The violations and the filled defaults of one object.
#[derive(Debug, Default)]
pub struct Findings {
    /// The violations of the policy.
    pub violations: Violations,
    /// The rules that filled defaults, with the number of fields.
    pub filled: Vec<Filled>,
    /// The violations that the stored Pod had before an update; they do not count against the update.
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
    let Some(policy) = policies.for_namespace(&request.info.namespace, None) else {
        return (Outcome::NoPolicy, None, Findings::default());
    };
    if policy.exempts(&creator(&request.info)) {
        return (Outcome::Exempt, Some(policy), Findings::default());
    }
    let findings = match (&request.malformed, request.info.operation) {
        (Some(problem), _) => unreadable(problem).into(),
        (None, Operation::Update) => evaluate_update(policy, request),
        (None, _) if request.is_binding() => evaluate_binding(policy, &request.object).into(),
        // If nothing is enforced the record states what enforcing would do, so defaults are filled there too.
        (None, _) => {
            let is_filled = endpoint == Endpoint::Mutate || policy.mode() != Mode::Enforce;
            let defaults = if is_filled { Defaults::Fill } else { Defaults::Skip };
            evaluate(policy, &mut request.object, Some(creator(&request.info)), defaults)
        }
    };
    let outcome = match policy.mode() {
        _ if findings.violations.is_empty() => Outcome::Admitted,
        Mode::Enforce => Outcome::Denied,
        Mode::Warn => Outcome::Warned,
        Mode::Audit => Outcome::WouldDeny,
    };
    (outcome, Some(policy), findings)
}

/// Returns the user that a request comes from.
fn creator<'r>(info: &'r RequestInfo) -> Creator<'r> {
    Creator { user: &info.user, groups: &info.groups }
}

/// Selects whether the policy's defaults are filled before a Pod is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defaults {
    /// Fields that the Pod leaves open are filled, as the mutating webhook does.
    Fill,
    /// The Pod is checked as it is, as the validating webhook does.
    Skip,
}

/// Fills `pod` if `defaults` demands it, and returns what violates the policy after that. Only a Pod that is being created
/// has a `creator`.
#[must_use]
pub fn evaluate<'a>(
    policy: &'a Policy,
    pod: &mut Value<'a>,
    creator: Option<Creator>,
    defaults: Defaults,
) -> Findings {
    let mut filled = Vec::new();
    let profile = profile_of(policy, pod, creator);
    if defaults == Defaults::Fill {
        filled = rules::fill(profile, pod);
        stamp(policy, pod);
    }
    Findings { violations: rules::check(profile, pod), filled, forgiven: Vec::new() }
}

/// Returns the keys of the policy that hold for a Pod.
fn profile_of<'p>(policy: &'p Policy, pod: &Value, creator: Option<Creator>) -> &'p Profile {
    let (metadata, spec) = (pod::metadata(pod), pod::spec(pod));
    let owner = pod::controller(metadata)
        .and_then(|owner| Some(Owner::new(owner.str("kind")?, owner.str("apiVersion")?)));
    let labels = metadata.object("labels");
    let service_account =
        ["serviceAccountName", "serviceAccount"].into_iter().find_map(|field| spec.str(field));
    policy.profile_for(&PodFacts {
        creator,
        owner,
        service_account,
        runtime_class: spec.str("runtimeClassName"),
        label: &|key| labels.and_then(|labels| labels.str(key)),
        asks_for: &|resource| {
            let asks = |object: &Object| {
                let resources = object.object("resources");
                ["limits", "requests"].into_iter().any(|kind| {
                    resources
                        .and_then(|resources| resources.object(kind))
                        .is_some_and(|amounts| amounts.get(resource).is_some())
                })
            };
            asks(spec) || pod::containers(pod).any(asks)
        },
    })
}

/// Names the policy in a Pod that was filled, and corrects a Pod that names another one.
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

/// An update is denied only for violations that the Pod did not have before. A Pod that is being deleted is no
/// exception: it may run on for as long as the delete allows, and its finalizers can be removed whatever it violates.
fn evaluate_update(policy: &Policy, request: &Request) -> Findings {
    let profile = profile_of(policy, &request.object, None);
    let violations = rules::check(profile, &request.object);
    if violations.is_empty() || request.old_object == Value::Null {
        return violations.into();
    }
    let rules::Update { new, mut old } = rules::check_update(profile, &request.object, &request.old_object);
    old.retain(|violation| violation.rule != rules::ONLY_ON_CREATE);
    Findings { violations: new, filled: Vec::new(), forgiven: old }
}

/// A Binding is denied for what its labels and annotations violate. It is not a Pod, so what it violates without them
/// does not count.
fn evaluate_binding(policy: &Policy, binding: &Value) -> Violations {
    let mut bare = binding.clone();
    if let Some(metadata) = metadata_mut(&mut bare) {
        metadata.set("labels", Value::Null);
        metadata.set("annotations", Value::Null);
    }
    rules::check_update(policy.base(), binding, &bare).new
}

fn not_evaluated(unread: &Unread) -> Violations {
    let (found, wanted, remedy) = unread.violation();
    let mut violations = Violations::default();
    Reporter::new(rules::POD_SCHEMA, &mut violations).report(
        LazyPath::root("object"),
        problem,
        "a Pod",
        "send a Pod that can be read without doubt",
    );
    violations
}

#[cfg(test)]
mod tests;
