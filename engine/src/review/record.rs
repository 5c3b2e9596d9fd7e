//! One verdict, with everything that is reported of it.

use std::cell::OnceCell;

use super::{AuditRecord, Endpoint, Findings, Operation, Origin, Outcome, request::RequestInfo};
use crate::{
    json::{Object, Value, changed_paths},
    pod::Pod,
    policy::{Mode, Policy},
    verdict::{Violation, Violations},
};

/// One verdict, with everything that is reported of it.
#[derive(Debug)]
pub struct Record<'a> {
    /// The verdict.
    pub outcome: Outcome,
    /// The endpoint that was called.
    pub endpoint: Endpoint,
    /// The request, without its object.
    pub request: RequestInfo<'a>,
    /// The policy that was applied.
    pub policy: Option<&'a Policy>,
    /// The object of the request, filled if it was to be filled.
    pub object: Value<'a>,
    /// What the rules found.
    pub findings: Findings,
    pub(super) authenticated: bool,
    pub(super) profile: Option<&'a str>,
    pub(super) candidate: Vec<Violation>,
    /// [`Self::filled_paths`], once it was asked for.
    filled: OnceCell<Vec<String>>,
}

impl<'a> Record<'a> {
    /// Returns the record of a verdict of an unauthenticated caller, without profile and candidate.
    pub(super) fn new(
        (outcome, policy, findings): (Outcome, Option<&'a Policy>, Findings),
        endpoint: Endpoint,
        request: RequestInfo<'a>,
        object: Value<'a>,
    ) -> Self {
        Self {
            outcome,
            endpoint,
            request,
            policy,
            object,
            findings,
            authenticated: false,
            profile: None,
            candidate: Vec::new(),
            filled: OnceCell::new(),
        }
    }

    /// Returns the policy's mode.
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        self.policy.map(|policy| policy.spec.mode)
    }

    /// Returns what violates the policy.
    #[must_use]
    pub fn violations(&self) -> &Violations {
        &self.findings.violations
    }

    /// Returns true if what was filled goes out as a patch. That takes an object without violations: half a repair can
    /// make an object that the API server denies with an error of its own, which hides ours.
    #[must_use]
    pub fn is_patched(&self) -> bool {
        self.endpoint == Endpoint::Mutate
            && self.request.operation == Operation::Create
            && self.outcome == Outcome::Admitted
            && self.mode() != Some(Mode::Audit)
    }

    /// Returns the paths of the fields that were filled, in the notation of Kubernetes.
    #[must_use]
    pub fn filled_paths(&self) -> &[String] {
        self.filled.get_or_init(|| changed_paths(&self.object))
    }

    /// Returns true if a stored Pod violates an enforced policy: it was created before the policy, or past it. Only
    /// the validating endpoint reports it, or each would count twice.
    #[must_use]
    pub fn is_escape(&self) -> bool {
        !self.findings.forgiven.is_empty()
            && self.endpoint == Endpoint::Validate
            && self.mode() == Some(Mode::Enforce)
            && self.outcome != Outcome::Exempt
            && !self.request.dry_run
    }

    /// Returns the Pod's own uid; empty if it has none yet.
    #[must_use]
    pub fn pod_uid(&self) -> &str {
        text(Pod::of(&self.object).metadata, "uid")
    }

    /// Returns the ids of the violated rules, each once, joined by commas.
    #[must_use]
    pub fn rules(&self) -> String {
        joined_rules(self.violations())
    }

    /// Returns the ids of the rules that the stored Pod violates, each once, joined by commas.
    #[must_use]
    pub fn forgiven_rules(&self) -> String {
        joined_rules(&self.findings.forgiven)
    }

    /// Notes that the caller proved to be the API server.
    pub fn set_authenticated(&mut self, is_authenticated: bool) {
        self.authenticated = is_authenticated;
    }

    /// Notes the profile of the policy that was applied.
    pub fn set_profile(&mut self, profile: &'a str) {
        self.profile = Some(profile);
    }

    /// Notes what violates the candidate policy.
    pub fn set_candidate(&mut self, violations: Vec<Violation>) {
        self.candidate = violations;
    }

    /// Returns true if the verdict is part of the audit trail: something was evaluated, or should have been.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.outcome != Outcome::NotJudged
    }

    /// Returns the audit record, every text of it cut: no environment values, no secrets, no whole objects.
    /// `time` is RFC 3339.
    #[must_use]
    pub fn audit_record<'r>(
        &'r self,
        origin: Origin<'r>,
        time: &'r str,
        duration_micros: u64,
    ) -> AuditRecord<'r> {
        AuditRecord::of(self, origin, time, duration_micros)
    }

    /// Appends the audit line of a verdict that is recorded, with its newline.
    pub fn write_line(&self, out: &mut Vec<u8>, time: &str, duration_micros: u64) {
        if self.is_recorded() {
            self.audit_record(Origin::default(), time, duration_micros).write_line(out);
        }
    }
}

fn joined_rules<'v>(violations: impl IntoIterator<Item = &'v Violation>) -> String {
    let mut rules: Vec<&str> = violations.into_iter().map(|violation| violation.rule).collect();
    rules.dedup();
    rules.join(",")
}

fn text<'o>(object: &'o Object, key: &str) -> &'o str {
    object.str(key).unwrap_or_default()
}
