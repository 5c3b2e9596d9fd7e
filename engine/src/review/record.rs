//! One verdict, with everything that is reported of it.

use std::cell::OnceCell;

use super::{
    AuditRecord, Decision, Endpoint, Findings, LeveledViolations, Operation, Origin, Outcome,
    request::RequestInfo,
};
use crate::{
    json::{Object, Value, is_changed},
    path::FieldPath,
    pod::{self, changed_path_texts, changed_paths},
    policy::{Mode, Policy},
    violations::Violation,
};

/// One verdict, with everything that is reported of it.
#[derive(Debug)]
pub struct Record<'a> {
    /// The verdict on the request.
    pub outcome: Outcome,
    /// The endpoint that was called.
    pub endpoint: Endpoint,
    /// The request, without its object.
    pub request: RequestInfo<'a>,
    /// The policy that was applied.
    pub policy: Option<&'a Policy>,
    /// The object of the request, filled as it goes out.
    pub object: Value<'a>,
    /// The violations that the policy found.
    pub findings: Findings<'a>,
    /// The violations of the candidate policy. They count in no verdict.
    pub candidate: LeveledViolations,
    /// [`Self::filled_paths`], once it was asked for.
    filled: OnceCell<Vec<FieldPath>>,
    /// [`Self::message`], once it was asked for.
    message: OnceCell<String>,
}

impl<'a> Record<'a> {
    pub(super) fn new(
        decision: Decision<'a>,
        endpoint: Endpoint,
        request: RequestInfo<'a>,
        object: Value<'a>,
    ) -> Self {
        let Decision { outcome, policy, findings, candidate } = decision;
        let (filled, message) = (OnceCell::new(), OnceCell::new());
        Self { outcome, endpoint, request, policy, object, findings, candidate, filled, message }
    }

    /// Returns the policy's mode.
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        self.policy.map(Policy::mode)
    }

    /// Returns the name of the profile that was chosen; `None` if no profile of the policy matches.
    #[must_use]
    pub fn profile(&self) -> Option<&'a str> {
        let name = self.findings.profile.map(|profile| profile.name.as_str());
        name.filter(|name| !name.is_empty())
    }

    /// Returns what violates the policy, at every level.
    #[must_use]
    pub fn violations(&self) -> &LeveledViolations {
        &self.findings.violations
    }

    /// Returns what kubectl shows of the violations: those of the highest level, and, if the request is denied, where
    /// their rules are explained and the policy's help.
    #[must_use]
    pub fn message(&self) -> &str {
        self.message.get_or_init(|| {
            let violations = self.violations().of_highest();
            let Some(policy) = self.policy else { return violations.lines().join("\n") };
            let mut message = violations.message(&policy.name);
            if self.outcome != Outcome::Denied {
                return message;
            }
            let help = policy.header.help.trim_end();
            for line in [violations.explanation().as_deref().unwrap_or_default(), help] {
                if !line.is_empty() {
                    message.push('\n');
                    message.push_str(line);
                }
            }
            message
        })
    }

    /// Returns true if what was filled goes out as a patch.
    #[must_use]
    pub fn is_patched(&self) -> bool {
        let is_admitted = matches!(self.outcome, Outcome::Admitted | Outcome::Warned | Outcome::WouldDeny);
        self.endpoint == Endpoint::Mutate
            && self.request.operation == Operation::Create
            && is_admitted
            && is_changed(&self.object)
    }

    /// Returns the paths of the fields that were filled, or would be if every rule were enforced.
    #[must_use]
    pub fn filled_paths(&self) -> &[FieldPath] {
        self.filled.get_or_init(|| changed_paths(self.filled_object()))
    }

    /// Returns [`Self::filled_paths`] as they are written.
    pub(super) fn filled_texts(&self) -> Vec<String> {
        changed_path_texts(self.filled_object())
    }

    /// Returns the object as it would be if every rule were enforced.
    fn filled_object(&self) -> &Value<'a> {
        self.findings.simulated.as_ref().unwrap_or(&self.object)
    }

    /// Returns true if a stored Pod violates an enforced rule: it was created before the policy, or past it. Only the
    /// validating endpoint reports it, or each would count twice.
    #[must_use]
    pub fn is_escape(&self) -> bool {
        self.findings.is_escape
            && self.endpoint == Endpoint::Validate
            && self.outcome != Outcome::Exempt
            && !self.request.dry_run
            && self.request.caller.is_believed()
    }

    /// Returns the Pod's own uid; empty if it has none yet.
    #[must_use]
    pub fn pod_uid(&self) -> &str {
        text(pod::metadata(&self.object), "uid")
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

    /// Returns true if the verdict is part of the audit trail: something was evaluated, or should have been.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.outcome != Outcome::NotEvaluated
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

fn joined_rules(violations: &LeveledViolations) -> String {
    let mut rules: Vec<&str> = Vec::new();
    for Violation { rule, .. } in violations {
        if !rules.contains(&rule.id) {
            rules.push(rule.id);
        }
    }
    rules.join(",")
}

fn text<'o>(object: &'o Object, key: &str) -> &'o str {
    object.str(key).unwrap_or_default()
}
