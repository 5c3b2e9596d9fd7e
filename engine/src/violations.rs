//! Violations of a policy: how rules report them, how an update is compared, and how they are written for people.

use std::{
    collections::{HashMap, HashSet},
    fmt::{self, Write},
    hash::{BuildHasher, Hash, Hasher, RandomState},
};

use crate::{
    json::Value,
    path::{FieldPath, IndexGroup, LazyPath},
    rules::{self, Rule},
    text::{cut, quote, sanitize, shorten},
};

/// One property of the policy that a Pod does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule that is violated.
    pub rule: &'static Rule,
    /// The path of the field.
    pub path: FieldPath,
    /// The value of the field, as it is shown.
    pub found: String,
    /// The values that the policy allows.
    pub wanted: String,
    /// The action that the author of the Pod can take.
    pub remedy: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.path)?;
        self.write_after_path(f)
    }
}

impl Violation {
    fn write_after_path(&self, f: &mut impl Write) -> fmt::Result {
        let Self { rule, path: _, found, wanted, remedy } = self;
        write!(f, " is {found}, must be {wanted}: {remedy} ({})", rule.id)
    }
}

/// Receives what one rule reports.
pub struct Reporter<'s> {
    rule: &'static Rule,
    sink: &'s mut dyn Sink,
}

/// The finding of a rule on one field, before a message is made of it.
pub(crate) struct Report<'r> {
    pub(crate) rule: &'static Rule,
    pub(crate) path: LazyPath<'r>,
    found: &'r dyn fmt::Display,
    wanted: &'r dyn fmt::Display,
    remedy: &'r dyn fmt::Display,
}

impl<'r> Report<'r> {
    /// Returns the path of the field.
    pub(crate) fn path(&self) -> LazyPath<'r> {
        self.path
    }
}

/// Takes the reports of all rules.
pub(crate) trait Sink {
    /// Takes the next report.
    fn take(&mut self, report: &Report);
}

impl<'s> Reporter<'s> {
    /// Returns the reporter of `rule`, which adds to `sink`.
    pub(crate) fn new(rule: &'static Rule, sink: &'s mut dyn Sink) -> Self {
        Self { rule, sink }
    }

    /// Reports that the field at `path` violates the rule.
    pub fn report(
        &mut self,
        path: LazyPath,
        found: impl fmt::Display,
        wanted: impl fmt::Display,
        remedy: impl fmt::Display,
    ) {
        let report = Report { rule: self.rule, path, found: &found, wanted: &wanted, remedy: &remedy };
        self.sink.take(&report);
    }
}

impl From<&Report<'_>> for Violation {
    /// Makes the texts, so that nothing that a Pod puts into them can forge a line or is longer than it helps.
    fn from(report: &Report) -> Self {
        let text = |part: &dyn fmt::Display| sanitize(&cut(&part.to_string(), MAX_PART_CHARS));
        Self {
            rule: report.rule,
            path: report.path.into(),
            found: text(report.found),
            wanted: text(report.wanted),
            remedy: text(report.remedy),
        }
    }
}

/// The violations of one Pod, in the order of the rules.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Violations {
    list: Vec<Violation>,
    omitted: usize,
}

impl Sink for Violations {
    fn take(&mut self, report: &Report) {
        if self.list.len() == Self::MAX_KEPT {
            self.omitted += 1;
            return;
        }
        self.list.push(report.into());
    }
}

impl Violations {
    /// So many violations are kept; further ones are counted, so that a hostile Pod costs no memory without bound.
    pub const MAX_KEPT: usize = 1000;

    /// Returns the violations that are kept.
    pub fn iter(&self) -> std::slice::Iter<'_, Violation> {
        self.list.iter()
    }

    /// Returns whether there is no violation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.omitted == 0
    }

    /// Returns the number of violations, those beyond [`Self::MAX_KEPT`] included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len() + self.omitted
    }

    /// Returns what kubectl shows: each violation with its path, value, allowed values, remedy and rule. Violations
    /// that differ only in the index of a container or an item share a line.
    #[must_use]
    pub fn message(&self, policy: &str) -> String {
        let lines = self.lines();
        if let [line] = lines.as_slice() {
            return format!("policy {policy:?}: {line}");
        }
        let mut message = format!("policy {policy:?}: {} violations", self.len());
        for (index, line) in lines.iter().enumerate() {
            if message.len() + line.len() > MAX_MESSAGE_BYTES {
                let rest = lines.len() - index;
                let _ = write!(message, "\n- and {rest} more; `sandgate check` lists them all");
                return message;
            }
            let _ = write!(message, "\n- {line}");
        }
        if self.omitted > 0 {
            let _ = write!(message, "\n- and {} more that are not listed", self.omitted);
        }
        message
    }

    /// Returns the line that ends the message of a denial: what changes the manifest, and where the violated rules are explained. `None` if none of
    /// them is a rule of the policy, which has no explanation.
    #[must_use]
    pub fn explanation(&self) -> Option<String> {
        self.explanation_in(BOOK)
    }

    /// Returns [`Self::explanation`] for a book at this address, or for the command line if it is empty.
    fn explanation_in(&self, book: &str) -> Option<String> {
        let is_explained = |violation: &&Violation| rules::by_id(violation.rule.id).is_some();
        let first = self.list.iter().find(is_explained)?.rule.id;
        let is_only = self.list.iter().filter(is_explained).all(|violation| violation.rule.id == first);
        let book = book.trim_end_matches('/');
        let place = match (book.is_empty(), is_only) {
            (true, true) => format!("sandgate explain {first}"),
            (true, false) => "sandgate explain RULE".into(),
            (false, true) => rules::page(book, first),
            (false, false) => format!("{book}/docs/rules.html"),
        };
        let of = if is_only { "The rule" } else { "Each rule" };
        Some(format!("To fix: sandgate fix FILE. {of}: {place}"))
    }

    /// Returns the first `max` of the violations that `place` finds a path for, each with that path.
    #[must_use]
    pub(crate) fn relocated(&self, max: usize, place: impl Fn(&FieldPath) -> Option<FieldPath>) -> Self {
        let mut relocated = Self::default();
        for violation in &self.list {
            let Some(path) = place(&violation.path) else { continue };
            if relocated.list.len() == max {
                relocated.omitted += 1;
                continue;
            }
            relocated.list.push(Violation { path, ..violation.clone() });
        }
        relocated.omitted += self.omitted;
        relocated
    }

    /// Returns one line for each violation, or for each group of violations that differ only in an index.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<Line> = Vec::new();
        let mut positions = HashMap::new();
        for violation in &self.list {
            let Some((group, index)) = violation.path.split_at_index() else {
                lines.push(Line { violation, group: None, indices: Vec::new() });
                continue;
            };
            let Violation { rule, path: _, found, wanted, remedy } = violation;
            let position = *positions.entry((rule.id, group, found, wanted, remedy)).or_insert(lines.len());
            match lines.get_mut(position) {
                Some(line) => line.indices.push(index),
                None => lines.push(Line { violation, group: Some(group), indices: vec![index] }),
            }
        }
        lines.iter().map(ToString::to_string).collect()
    }
}

/// One line of a message: a violation, or several that differ in an index.
struct Line<'v> {
    violation: &'v Violation,
    group: Option<IndexGroup<'v>>,
    indices: Vec<usize>,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Some(group) = self.group else { return self.violation.fmt(f) };
        group.write(&self.indices, f)?;
        self.violation.write_after_path(f)
    }
}

impl<'v> IntoIterator for &'v Violations {
    type Item = &'v Violation;
    type IntoIter = std::slice::Iter<'v, Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The violations of an object before an update: a fingerprint of each, without a limit on their number.
///
/// Fingerprints are 64 bits of a keyed hash. The key is random and never leaves the process, so two violations with one
/// fingerprint cannot be searched for.
#[derive(Default)]
pub(crate) struct Baseline {
    hasher: RandomState,
    fingerprints: HashSet<u64>,
}

impl Baseline {
    /// Returns the hash of rule, path and value, without making texts of them.
    fn fingerprint(&self, report: &Report) -> u64 {
        struct HashWriter<H>(H);

        impl<H: Hasher> Write for HashWriter<H> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.write(text.as_bytes());
                Ok(())
            }
        }

        let mut hasher = self.hasher.build_hasher();
        report.rule.id.hash(&mut hasher);
        report.path.steps().hash(&mut hasher);
        let mut writer = HashWriter(hasher);
        // A writer that cannot fail; the value comes last, so it needs no end mark.
        let _ = write!(writer, "{}", report.found);
        writer.0.finish()
    }
}

impl Sink for Baseline {
    fn take(&mut self, report: &Report) {
        let fingerprint = self.fingerprint(report);
        self.fingerprints.insert(fingerprint);
    }
}

/// Divides the violations of an updated object into new ones and those of the [`Baseline`].
pub(crate) struct Ratchet<'b> {
    baseline: &'b Baseline,
    new: &'b mut dyn Sink,
    old: &'b mut dyn Sink,
}

impl<'b> Ratchet<'b> {
    /// Returns a sink that compares with `baseline` and passes on to `new` what the update adds, to `old` what the
    /// object violated before.
    pub(crate) fn new(baseline: &'b Baseline, new: &'b mut dyn Sink, old: &'b mut dyn Sink) -> Self {
        Self { baseline, new, old }
    }
}

impl Sink for Ratchet<'_> {
    fn take(&mut self, report: &Report) {
        let is_old = self.baseline.fingerprints.contains(&self.baseline.fingerprint(report));
        if is_old { self.old.take(report) } else { self.new.take(report) }
    }
}

/// The address of the book, which `homepage` in Cargo.toml names. It is empty until the owner has set it.
const BOOK: &str = env!("CARGO_PKG_HOMEPAGE");

/// The most characters of the value, of the allowed values and of the remedy of a violation. A longer text is cut.
const MAX_PART_CHARS: usize = 2000;

/// A longer message is cut: the API server stores messages in Events and Job conditions.
const MAX_MESSAGE_BYTES: usize = 12_000;

/// Returns a value as messages show it: short, on one line, without characters that are unsafe for display.
///
/// Two values that differ are shown differently, also if they are cut: an update is compared by what is shown.
#[must_use]
pub fn show(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "unset".into(),
        Some(Value::String(text)) => quote(text),
        Some(Value::List(list)) if list.is_empty() => "an empty list".into(),
        Some(value) => {
            let text = serde_json::to_string(value).unwrap_or_else(|_| value.describe().into());
            let (shown, rest) = shorten(&text);
            format!("{shown}{rest}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::SPEC;

    fn rule() -> &'static Rule {
        crate::rules::by_id("privileged").unwrap()
    }

    fn report(sink: &mut dyn Sink, path: LazyPath, found: &str) {
        Reporter::new(rule(), sink).report(path, found, "false or unset", "remove it");
    }

    fn violations(fields: &[&str]) -> Violations {
        let mut violations = Violations::default();
        for field in fields {
            report(&mut violations, SPEC.child(field), "true");
        }
        violations
    }

    #[test]
    fn one_violation_is_one_line() {
        assert_eq!(
            violations(&["hostPID"]).message("p"),
            "policy \"p\": spec.hostPID is true, must be false or unset: remove it (privileged)"
        );
    }

    #[test]
    fn forty_containers_with_one_fault_share_a_line() {
        let mut violations = Violations::default();
        let containers = SPEC.child("containers");
        for index in 0..40 {
            report(&mut violations, containers.index(index).child("privileged"), "true");
        }
        report(&mut violations, containers.index(40).child("privileged"), "1");
        let lines = violations.lines();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("spec.containers[0,1,2,3,"), "{lines:?}");
        assert!(lines[0].contains(",38,39].privileged is true, must be"), "{lines:?}");
        assert!(lines[1].starts_with("spec.containers[40].privileged is 1"), "{lines:?}");
    }

    #[test]
    fn different_faults_are_a_list() {
        let message = violations(&["hostPID", "hostIPC"]).message("p");
        assert_eq!(message.lines().count(), 3);
        assert!(message.starts_with("policy \"p\": 2 violations\n- spec.hostPID is true"));
    }

    #[test]
    fn explanation_is_the_command_until_the_book_has_an_address() {
        let mut violations = violations(&["hostPID"]);
        let ends = |violations: &Violations, book| violations.explanation_in(book).unwrap();
        let page =
            "To fix: sandgate fix FILE. The rule: https://example.com/sandgate/docs/rules/privileged.html";
        assert_eq!(ends(&violations, ""), "To fix: sandgate fix FILE. The rule: sandgate explain privileged");
        assert_eq!(ends(&violations, "https://example.com/sandgate"), page);
        assert_eq!(ends(&violations, "https://example.com/sandgate/"), page);

        let other = crate::rules::by_id("labels").unwrap();
        Reporter::new(other, &mut violations).report(SPEC.child("x"), "a", "b", "set it to b");
        assert_eq!(ends(&violations, ""), "To fix: sandgate fix FILE. Each rule: sandgate explain RULE");
        assert_eq!(
            ends(&violations, "https://example.com"),
            "To fix: sandgate fix FILE. Each rule: https://example.com/docs/rules.html"
        );
    }

    #[test]
    fn explanation_is_one_short_line_whatever_the_pod_brings() {
        for rule in crate::rules::ALL {
            let mut violations = Violations::default();
            for index in 0..2000 {
                let found = format!("{}\n{index}", "x".repeat(3000));
                Reporter::new(rule, &mut violations).report(SPEC.child("x"), found, "b", "set it to b");
            }
            let line = violations.explanation().unwrap();
            assert!(line.len() <= 80 && line.lines().count() == 1, "{line}");
        }
    }

    #[test]
    fn memory_is_bounded_and_the_count_is_true() {
        let fields: Vec<String> = (0..5000).map(|i| format!("x{i}")).collect();
        let violations = violations(&fields.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(violations.iter().count(), Violations::MAX_KEPT);
        assert_eq!(violations.len(), 5000);
        assert!(violations.message("p").len() < MAX_MESSAGE_BYTES + 200);
    }

    #[test]
    fn a_violation_of_the_baseline_is_not_new() {
        let mut baseline = Baseline::default();
        report(&mut baseline, SPEC.child("a"), "1");
        let (mut new, mut old) = (Violations::default(), Violations::default());
        let mut ratchet = Ratchet::new(&baseline, &mut new, &mut old);
        for (field, found) in [("a", "1"), ("a", "2"), ("b", "1")] {
            report(&mut ratchet, SPEC.child(field), found);
        }
        let shown = |violations: &Violations| {
            violations.iter().map(|v| format!("{}={}", v.path, v.found)).collect::<Vec<_>>()
        };
        assert_eq!(shown(&new), ["spec.a=2", "spec.b=1"]);
        assert_eq!(shown(&old), ["spec.a=1"]);
    }

    #[test]
    fn baseline_distinguishes_texts_that_are_shown_alike() {
        let mut baseline = Baseline::default();
        report(&mut baseline, SPEC.key("a\u{200b}"), "b\u{200b}");
        let (mut new, mut old) = (Violations::default(), Violations::default());
        let mut ratchet = Ratchet::new(&baseline, &mut new, &mut old);
        report(&mut ratchet, SPEC.key("a\u{202e}"), "b\u{200b}");
        report(&mut ratchet, SPEC.key("a\u{200b}"), "b\u{202e}");
        assert_eq!((new.len(), old.len()), (2, 0));
    }
}
