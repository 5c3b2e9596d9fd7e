//! Violations, and how they are told to people.

use std::fmt::{self, Write};

use crate::{hash::short_hash, json::Value, text::visible};

/// One property of the policy that a Pod does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule's id.
    pub rule: &'static str,
    /// The field, in the notation of Kubernetes: `spec.containers[1].securityContext.runAsUser`.
    pub path: String,
    /// What stands there.
    pub found: String,
    /// What would be right.
    pub wanted: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { rule, path, found, wanted, remedy } = self;
        write!(f, "{path} is {found}, must be {wanted}: {remedy} ({rule})")
    }
}

/// The violations of one Pod, in the order of the rules.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Violations {
    list: Vec<Violation>,
    omitted: usize,
    rule: &'static str,
}

impl Violations {
    /// As many are kept; a hostile Pod of a hundred thousand containers must not cost memory without bound.
    pub const MOST: usize = 1000;

    /// Names the rule that the next reports belong to.
    pub(crate) fn begin(&mut self, rule: &'static str) {
        self.rule = rule;
    }

    /// Adds a violation of the rule that is being checked. Whatever a Pod puts into its texts cannot forge a line.
    pub fn report(
        &mut self,
        path: impl Into<String>,
        found: impl fmt::Display,
        wanted: impl fmt::Display,
        remedy: impl fmt::Display,
    ) {
        if self.list.len() == Self::MOST {
            self.omitted += 1;
            return;
        }
        self.list.push(Violation {
            rule: self.rule,
            path: visible(&path.into()),
            found: visible(&found.to_string()),
            wanted: visible(&wanted.to_string()),
            remedy: visible(&remedy.to_string()),
        });
    }

    /// Leaves only those that `old` does not have too, and gives the others.
    pub fn retain_new(&mut self, old: &Self) -> Vec<Violation> {
        let known = |violation: &Violation| {
            let Violation { rule, path, found, .. } = violation;
            old.list.iter().any(|other| other.rule == *rule && other.path == *path && other.found == *found)
        };
        // What was not kept cannot be compared; it counts only where the old object had fewer.
        self.omitted = self.omitted.saturating_sub(old.omitted);
        self.list.extract_if(.., |violation| known(violation)).collect()
    }

    /// All that were kept.
    pub fn iter(&self) -> std::slice::Iter<'_, Violation> {
        self.list.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.omitted == 0
    }

    /// How many there are, those beyond [`Self::MOST`] included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len() + self.omitted
    }

    /// What kubectl shows: every violation with rule, path, found, wanted and remedy. Those that differ only
    /// in the index of the container or item share a line.
    #[must_use]
    pub fn message(&self, policy: &str) -> String {
        let lines = self.lines();
        if let [line] = lines.as_slice() {
            return format!("policy {policy:?}: {line}");
        }
        let mut message = format!("policy {policy:?}: {} violations", self.len());
        for (index, line) in lines.iter().enumerate() {
            if message.len() + line.len() > LONGEST_MESSAGE {
                let rest = lines.len() - index;
                let _ = write!(message, "\n- and {rest} more; `sandgate check` lists them all");
                return message;
            }
            let _ = write!(message, "\n- {line}");
        }
        if self.omitted > 0 {
            let _ = write!(message, "\n- and {} more, too many to keep", self.omitted);
        }
        message
    }

    /// One line for each violation, or for each group that differs only in an index.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut groups: Vec<(Violation, Vec<&str>)> = Vec::new();
        for violation in &self.list {
            let (before, index, after) = around_first_index(&violation.path);
            let key = Violation { path: format!("{before}[]{after}"), ..violation.clone() };
            match groups.iter_mut().find(|(group, _)| *group == key) {
                Some((_, indices)) if !index.is_empty() => indices.push(index),
                _ => groups.push((key, vec![index])),
            }
        }
        let joined = groups.into_iter().map(|(group, indices)| {
            let path = match indices.join(",").as_str() {
                "" => group.path.replacen("[]", "", 1),
                indices => group.path.replacen("[]", &format!("[{indices}]"), 1),
            };
            Violation { path, ..group }.to_string()
        });
        joined.collect()
    }
}

impl<'v> IntoIterator for &'v Violations {
    type Item = &'v Violation;
    type IntoIter = std::slice::Iter<'v, Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Longer messages are cut: the API server stores them in Events and Job conditions.
const LONGEST_MESSAGE: usize = 12_000;

/// Splits `spec.containers[3].image` into `spec.containers`, `3` and `.image`.
fn around_first_index(path: &str) -> (&str, &str, &str) {
    let split = || {
        let (before, rest) = path.split_once('[')?;
        let (index, after) = rest.split_once(']')?;
        index.bytes().all(|b| b.is_ascii_digit()).then_some((before, index, after))
    };
    split().unwrap_or((path, "", ""))
}

/// A value as it stands in a message: short, on one line, without control or direction characters. Two values that
/// differ are shown differently, also where they are cut: an update is judged by what is shown.
#[must_use]
pub fn show(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "unset".into(),
        Some(Value::String(text)) => quote(text),
        Some(Value::List(list)) if list.is_empty() => "an empty list".into(),
        Some(value) => {
            let text = serde_json::to_string(value).unwrap_or_else(|_| value.describe().into());
            let (shown, rest) = cut(&text);
            format!("{shown}{rest}")
        }
    }
}

/// A string in quotes, cut after 80 characters.
#[must_use]
pub fn quote(text: &str) -> String {
    let (shown, rest) = cut(text);
    format!("\"{shown}\"{rest}")
}

/// What is shown of a text, and what is said of the rest of it.
fn cut(text: &str) -> (String, String) {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        None => (visible(text), String::new()),
        Some((end, _)) => {
            let rest = format!(" ({} bytes, SHA-256 {}…)", text.len(), short_hash(text.as_bytes()));
            (format!("{}…", visible(&text[..end])), rest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations(paths: &[&str]) -> Violations {
        let mut violations = Violations::default();
        violations.begin("privileged");
        for path in paths {
            violations.report(*path, "true", "false or unset", "remove it");
        }
        violations
    }

    #[test]
    fn one_violation_is_one_line() {
        assert_eq!(
            violations(&["spec.containers[0].securityContext.privileged"]).message("p"),
            "policy \"p\": spec.containers[0].securityContext.privileged is true, must be false or unset: remove it (privileged)"
        );
    }

    #[test]
    fn forty_containers_with_one_fault_share_a_line() {
        let paths: Vec<String> =
            (0..40).map(|i| format!("spec.containers[{i}].securityContext.privileged")).collect();
        let message = violations(&paths.iter().map(String::as_str).collect::<Vec<_>>()).message("p");
        assert!(message.starts_with("policy \"p\": spec.containers[0,1,2,"), "{message}");
        assert_eq!(message.lines().count(), 1);
    }

    #[test]
    fn different_faults_are_a_list() {
        let message = violations(&["spec.hostPID", "spec.hostIPC"]).message("p");
        assert_eq!(message.lines().count(), 3);
        assert!(message.starts_with("policy \"p\": 2 violations\n- spec.hostPID is true"));
    }

    #[test]
    fn a_hostile_name_cannot_forge_a_line() {
        assert_eq!(
            quote("a\nverdict: admitted\u{202e}\u{1b}[31m"),
            "\"a\u{fffd}verdict: admitted\u{fffd}\u{fffd}[31m\""
        );
    }

    #[test]
    fn memory_is_bounded_and_the_count_is_true() {
        let paths: Vec<String> = (0..5000).map(|i| format!("spec.x{i}")).collect();
        let violations = violations(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(violations.iter().count(), Violations::MOST);
        assert_eq!(violations.len(), 5000);
        assert!(violations.message("p").len() < LONGEST_MESSAGE + 200);
    }

    #[test]
    fn a_violation_that_the_old_object_had_is_no_new_one() {
        let mut new = violations(&["spec.a", "spec.b"]);
        let old = new.retain_new(&violations(&["spec.a"]));
        assert_eq!(new.iter().map(|violation| violation.path.as_str()).collect::<Vec<_>>(), ["spec.b"]);
        assert_eq!(old.iter().map(|violation| violation.path.as_str()).collect::<Vec<_>>(), ["spec.a"]);
    }
}
