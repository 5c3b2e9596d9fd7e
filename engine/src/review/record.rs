//! What the audit trail and the metrics know of one verdict.

use std::{borrow::Cow, cell::OnceCell, io};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::{Endpoint, Findings, Operation, Outcome, request::RequestInfo};
use crate::{
    json::{Object, Value},
    path::FieldPath,
    pod::{self, changed_paths},
    policy::{Mode, Policy},
    text::{escape, is_unsafe_for_display},
    violations::{Violation, Violations},
};

/// One verdict, with all that is recorded of it.
#[derive(Debug)]
pub struct Record<'a> {
    /// What became of the request.
    pub outcome: Outcome,
    /// Which webhook was asked.
    pub endpoint: Endpoint,
    /// What the request says about itself.
    pub request: RequestInfo<'a>,
    /// The policy that was applied.
    pub policy: Option<&'a Policy>,
    /// The Pod, filled if it was to be filled.
    pub object: Value<'a>,
    /// What the rules found.
    pub findings: Findings,
    /// [`Self::filled_paths`], once somebody has asked.
    pub(super) filled: OnceCell<Vec<FieldPath>>,
    /// [`Self::message`], once it is asked for.
    pub(super) message: OnceCell<String>,
}

impl Record<'_> {
    /// The policy's mode.
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        self.policy.map(|policy| policy.mode())
    }

    /// What violates the policy.
    #[must_use]
    pub fn violations(&self) -> &Violations {
        &self.findings.violations
    }

    /// Returns the message of a denial. The answer and the Event have the same one, so it is written once.
    #[must_use]
    pub fn message(&self) -> &str {
        let policy = self.policy.map_or("", |policy| &policy.name);
        self.message.get_or_init(|| self.violations().message(policy))
    }

    /// Whether what was filled goes out, as a patch. Only where the whole object is right: half a repair can make an
    /// object that the API server refuses with an error of its own, which hides ours.
    #[must_use]
    pub fn is_patched(&self) -> bool {
        self.endpoint == Endpoint::Mutate
            && self.request.operation == Operation::Create
            && self.outcome == Outcome::Admitted
            && self.mode() != Some(Mode::Audit)
    }

    /// Where something was filled, in the notation of Kubernetes. The answer and the audit line both tell.
    #[must_use]
    pub fn filled_paths(&self) -> &[FieldPath] {
        self.filled.get_or_init(|| changed_paths(&self.object))
    }

    /// Whether a Pod was seen that is stored and runs on although an enforced policy would refuse it now: it came
    /// before the policy, or past it. Only the validating side says so, or each would count twice.
    #[must_use]
    pub fn is_escape(&self) -> bool {
        !self.findings.forgiven.is_empty()
            && self.endpoint == Endpoint::Validate
            && self.mode() == Some(Mode::Enforce)
            && !self.request.dry_run
            && self.request.caller.is_believed()
    }

    /// The Pod's own uid; empty where it has none yet.
    #[must_use]
    pub fn pod_uid(&self) -> &str {
        text(pod::metadata(&self.object), "uid")
    }

    /// The ids of the violated rules, each once, joined by commas.
    #[must_use]
    pub fn rules(&self) -> String {
        joined_rules(self.violations())
    }

    /// The ids of the rules that the stored Pod violates, each once, joined by commas.
    #[must_use]
    pub fn forgiven_rules(&self) -> String {
        joined_rules(&self.findings.forgiven)
    }

    /// Appends the audit line, with its newline: no environment values, no secrets, no whole objects.
    /// `time` is RFC 3339. Nothing is written for a request that is not evaluated.
    pub fn write_line(&self, out: &mut Vec<u8>, time: &str, duration_micros: u64) {
        let Some(policy) = self.policy else { return };
        let (metadata, spec) = (pod::metadata(&self.object), pod::spec(&self.object));
        let request = &self.request;
        let line = Line {
            time,
            verdict: self.outcome.as_str(),
            endpoint: self.endpoint.as_str(),
            uid: &request.uid,
            dry_run: request.dry_run,
            operation: request.operation.as_str(),
            resource: &request.resource,
            subresource: &request.subresource,
            namespace: &request.namespace,
            name: if request.name.is_empty() { text(metadata, "name") } else { &request.name },
            generate_name: text(metadata, "generateName"),
            owner: pod::controller(metadata)
                .map(|owner| Owner { kind: text(owner, "kind"), name: text(owner, "name") }),
            user: &request.user,
            groups: request.groups.iter().map(|group| &**group).collect(),
            service_account: text(spec, "serviceAccountName"),
            policy: &policy.name,
            policy_hash: &policy.hash,
            mode: policy.mode().as_str(),
            filled: if self.outcome == Outcome::Denied { &[] } else { self.filled_paths() },
            violations: self
                .violations()
                .iter()
                .map(|violation| LineViolation {
                    rule: violation.rule.id,
                    path: &violation.path,
                    found: &violation.found,
                    wanted: &violation.wanted,
                })
                .collect(),
            images: pod::containers(&self.object)
                .filter_map(|container| container.str("image"))
                .map(short)
                .collect(),
            duration_micros,
        };
        let mut writer = Serializer::with_formatter(&mut *out, EscapeDeceptive);
        line.serialize(&mut writer).expect("writing JSON to memory cannot fail");
        out.push(b'\n');
    }
}

fn joined_rules<'v>(violations: impl IntoIterator<Item = &'v Violation>) -> String {
    let mut rules: Vec<&str> = violations.into_iter().map(|violation| violation.rule.id).collect();
    rules.dedup();
    rules.join(",")
}

/// Escapes what `serde_json` leaves as it is and a terminal obeys: the trail is read by people, too.
struct EscapeDeceptive;

impl Formatter for EscapeDeceptive {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        // Nearly everything is; serde_json itself has escaped what stands before a space.
        if text.bytes().all(|byte| byte < 0x7f) {
            return out.write_all(text.as_bytes());
        }
        out.write_all(escape(text, is_unsafe_for_display).as_bytes())
    }
}

fn text<'o>(object: &'o Object, key: &str) -> &'o str {
    object.str(key).unwrap_or_default()
}

/// A hostile image name of megabytes must not fill the audit trail.
fn short(text: &str) -> Cow<'_, str> {
    const LONGEST: usize = 512;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'r> {
    time: &'r str,
    verdict: &'r str,
    endpoint: &'r str,
    uid: &'r str,
    dry_run: bool,
    operation: &'r str,
    resource: &'r str,
    subresource: &'r str,
    namespace: &'r str,
    name: &'r str,
    generate_name: &'r str,
    owner: Option<Owner<'r>>,
    user: &'r str,
    groups: Vec<&'r str>,
    service_account: &'r str,
    policy: &'r str,
    policy_hash: &'r str,
    mode: &'r str,
    filled: &'r [FieldPath],
    violations: Vec<LineViolation<'r>>,
    images: Vec<Cow<'r, str>>,
    duration_micros: u64,
}

#[derive(Serialize)]
struct Owner<'r> {
    kind: &'r str,
    name: &'r str,
}

#[derive(Serialize)]
struct LineViolation<'r> {
    rule: &'r str,
    path: &'r FieldPath,
    found: &'r str,
    wanted: &'r str,
}
