//! The warnings of an answer, which kubectl shows to the person and clients write to their logs.

use super::{Clamped, Endpoint, Operation, Outcome, Record, changes::is_of_job};
use crate::{
    path::{FieldPath, SPEC, Step},
    pod::{self, changed_paths},
    policy::{Mode, Policy},
    violations::Violations,
};

/// The API server cuts a longer warning.
const MAX_WARNING_CHARS: usize = 256;
/// The API server drops the warnings that go beyond this.
const MAX_TOTAL_CHARS: usize = 4096;

/// Returns the warnings of an answer.
pub(super) fn of(record: &Record) -> Vec<String> {
    let mut warnings = WarningTexts::default();
    if matches!(record.outcome, Outcome::Denied | Outcome::Exempt) {
        return warnings.list;
    }
    if let Some(policy) = record.policy {
        for warning in of_changes(record, policy) {
            warnings.push(warning);
        }
    }
    warnings.push_all("sandgate would deny this: ", &record.violations().warn);
    warnings.list
}

/// Returns the warnings about what was filled, or in mode warn would be.
fn of_changes(record: &Record, policy: &Policy) -> Vec<String> {
    let is_filling = record.endpoint == Endpoint::Mutate && record.request.operation == Operation::Create;
    let is_patched = record.is_patched();
    if !is_filling || !(is_patched || policy.mode() == Mode::Warn) {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    let (lowered, removed) =
        if is_patched { ("lowered", "removed") } else { ("would lower", "would remove") };
    for Clamped { path, from, to } in &record.findings.clamped {
        warnings.push(format!(
            "sandgate: {lowered} {path} from {from} to {to}, the maximum of policy {}",
            policy.name
        ));
    }
    warnings.extend(deadline_of_job(record, policy).filter(|_| is_patched));
    if policy.header.warnings.filled && is_interactive(record) {
        warnings.extend(filled(record, policy, is_patched));
        if record.findings.is_token_removed {
            warnings.push(format!(
                "sandgate: {removed} the service account token for the API server (policy key serviceAccount.automountToken)"
            ));
        }
    }
    warnings
}

/// Returns the warning for a Pod of a Job that got its deadline from the policy. The Job's own deadline does not stand
/// in its Pods, so its author expects another end.
fn deadline_of_job(record: &Record, policy: &Policy) -> Option<String> {
    static DEADLINE: &str = "activeDeadlineSeconds";
    let path = FieldPath::from(SPEC.child(DEADLINE));
    if !is_of_job(&record.object) || !record.filled_paths().contains(&path) {
        return None;
    }
    let seconds = pod::spec(&record.object).i64(DEADLINE)?;
    Some(format!(
        "sandgate: this Pod ends after {seconds} s by policy {}, whatever deadline its Job has (policy key lifecycle.{DEADLINE})",
        policy.name
    ))
}

/// Returns one short line for a person about what was filled: two fields of the Pod itself, the runtime class first,
/// and the number of further fields. It has only words of the Pod API and the policy's name in it.
fn filled(record: &Record, policy: &Policy, is_patched: bool) -> Option<String> {
    const MAX_NAMED: usize = 2;
    let verb = if is_patched { "filled" } else { "would fill" };
    let of_object;
    let paths = if is_patched && record.findings.simulated.is_some() {
        of_object = changed_paths(&record.object);
        &of_object
    } else {
        record.filled_paths()
    };
    let mut of_pod: Vec<String> = paths.iter().filter_map(field_of_pod).collect();
    of_pod.sort_by_key(|field| field != "runtimeClassName");
    let named = &of_pod[..of_pod.len().min(MAX_NAMED)];
    let what = match (named, paths.len() - named.len()) {
        (_, 0) if named.is_empty() => return None,
        ([], more) => format!("{more} fields"),
        (_, 0) => named.join(" and "),
        (_, more) => format!("{} and {more} more", named.join(", ")),
    };
    Some(format!("sandgate: {verb} {what} for policy {}", policy.name))
}

/// Returns the path below `spec` if it is one of the Pod itself, and not of a container, an item or an entry of a map.
fn field_of_pod(path: &FieldPath) -> Option<String> {
    let field = path.below("spec")?;
    field.steps().all(|step| matches!(step, Step::Field(_))).then(|| field.to_string())
}

/// Returns whether a person will see the answer: neither a service account nor a controller has made the Pod.
fn is_interactive(record: &Record) -> bool {
    let is_account = record.request.user.starts_with("system:serviceaccount:");
    !is_account && pod::controller(pod::metadata(&record.object)).is_none()
}

/// Collects warnings up to what the API server takes.
#[derive(Default)]
struct WarningTexts {
    list: Vec<String>,
    chars: usize,
}

impl WarningTexts {
    /// Adds a warning; returns false if it does not fit.
    fn push(&mut self, warning: String) -> bool {
        let chars = warning.chars().count();
        let warning = if chars <= MAX_WARNING_CHARS {
            warning
        } else {
            warning.chars().take(MAX_WARNING_CHARS - 1).chain(['…']).collect()
        };
        let chars = chars.min(MAX_WARNING_CHARS);
        // The last warning has the number of those that are not shown.
        if self.chars + chars > MAX_TOTAL_CHARS - MAX_WARNING_CHARS {
            return false;
        }
        self.chars += chars;
        self.list.push(warning);
        true
    }

    fn push_all(&mut self, prefix: &str, violations: &Violations) {
        let lines = violations.lines();
        for (index, line) in lines.iter().enumerate() {
            if !self.push(format!("{prefix}{line}")) {
                self.list.push(format!("sandgate would deny this for {} more reasons", lines.len() - index));
                return;
            }
        }
    }
}
