//! What a check finds, and what there is to do.

use serde::{Serialize, Serializer};

use super::reader::Unread;

/// How much depends on a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Nothing depends on it
    Info,
    /// An inconvenience
    Low,
    /// A second line of defence is missing
    Medium,
    /// Pods are less isolated than the policy says, or sandgate may stop answering
    High,
    /// Pods run outside of the sandbox, or do not run
    Critical,
}

impl Severity {
    /// Returns the word in reports.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// The part of the report that a check belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    /// The ten demands of the specification.
    Boxes,
    /// The control plane and the nodes.
    Cluster,
    /// The namespaces of Pods.
    Namespaces,
    /// What calls sandgate.
    Webhooks,
    /// The Pods of sandgate.
    Sandgate,
    /// Who may change what the checks depend on.
    Rights,
}

impl Section {
    /// Returns the heading.
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::Boxes => "The ten boxes",
            Self::Cluster => "Cluster",
            Self::Namespaces => "Namespaces",
            Self::Webhooks => "Webhooks",
            Self::Sandgate => "Sandgate",
            Self::Rights => "Rights",
        }
    }
}

/// The name of a check, and how much depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Check {
    /// The name, which is the same in every report.
    pub(super) id: &'static str,
    /// The severity if the check fails.
    pub(super) severity: Severity,
    /// The part of the report.
    pub(super) section: Section,
}

impl Check {
    pub(super) const fn new(section: Section, severity: Severity, id: &'static str) -> Self {
        Self { id, severity, section }
    }

    /// Returns the finding of this check with what came out.
    pub(super) fn finding(self, answer: Answer<'_>) -> Finding {
        let verdict = answer.unwrap_or_else(Unread::verdict);
        let Verdict { outcome, what, action, severity } = verdict;
        let severity = severity.unwrap_or(self.severity);
        let Self { id, section, .. } = self;
        Finding { id, section, severity, outcome, namespace: None, what, action, is_accepted: false }
    }
}

/// Whether a check holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Ok,
    Fail,
    Unknown,
}

/// What comes out of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    /// The state that was found.
    pub(super) what: String,
    /// What there is to do; empty if nothing.
    pub(super) action: String,
    /// The severity, if it is not that of the check.
    severity: Option<Severity>,
}

impl Verdict {
    pub(super) fn ok(what: impl Into<String>) -> Self {
        Self { outcome: Outcome::Ok, what: what.into(), action: String::new(), severity: None }
    }

    pub(super) fn fail(what: impl Into<String>, action: impl Into<String>) -> Self {
        Self { outcome: Outcome::Fail, what: what.into(), action: action.into(), severity: None }
    }

    pub(super) fn unknown(what: impl Into<String>, action: impl Into<String>) -> Self {
        Self { outcome: Outcome::Unknown, what: what.into(), action: action.into(), severity: None }
    }

    /// Returns the same verdict with another severity.
    pub(super) fn of_severity(self, severity: Severity) -> Self {
        Self { severity: Some(severity), ..self }
    }

    /// Returns the same verdict with a text in front.
    pub(super) fn about(self, subject: &str) -> Self {
        Self { what: format!("{subject}: {}", self.what), ..self }
    }
}

/// The verdict of a check, or what it would have had to read.
pub(super) type Answer<'f> = Result<Verdict, &'f Unread>;

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    pub(super) id: &'static str,
    #[serde(serialize_with = "heading")]
    pub(super) section: Section,
    pub(super) severity: Severity,
    pub(super) outcome: Outcome,
    /// The namespace that was checked; none for a check of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
    pub(super) what: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) action: String,
    /// True if `--accept` names the check.
    #[serde(rename = "accepted")]
    pub(super) is_accepted: bool,
}

impl Finding {
    /// Returns the same finding, of a namespace.
    pub(super) fn of_namespace(self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self }
    }

    /// Returns true if the finding makes the command fail.
    pub(super) fn counts(&self, from: Severity) -> bool {
        self.outcome == Outcome::Fail && self.severity >= from && !self.is_accepted
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn heading<S: Serializer>(section: &Section, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(section.heading())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failure_of_enough_severity_that_is_not_accepted_counts() {
        let check = Check::new(Section::Cluster, Severity::High, "x");
        let mut finding = check.finding(Ok(Verdict::fail("w", "a")));
        assert!(finding.counts(Severity::High) && !finding.counts(Severity::Critical));
        finding.is_accepted = true;
        assert!(!finding.counts(Severity::High));
        for verdict in [Verdict::ok("w"), Verdict::unknown("w", "a")] {
            assert!(!check.finding(Ok(verdict)).counts(Severity::Info));
        }
        let lowered = check.finding(Ok(Verdict::fail("w", "a").of_severity(Severity::Low)));
        assert!(!lowered.counts(Severity::High));
    }
}
