//! The warnings that a person gets whose object makes Pods: one short line for each violation.

use super::{TemplateReview, fill::Filled};
use crate::{
    policy::Level,
    review::{LeveledViolations, RequestInfo},
};

/// The most lines of an answer, without the last one that has the number of the others.
const MAX_LINES: usize = 10;

/// The most characters of a line. The API server cuts lines after 256.
const MAX_LINE_CHARS: usize = 250;

/// The most violations of a Pod that lines are made of. The others are counted.
pub(super) const MAX_RELOCATED: usize = 100;

/// The line for a person whose object is too large to be reviewed.
pub(super) const TOO_LARGE: &str =
    "sandgate: too large to review its Pod templates; run sandgate check on the manifest";

/// Returns the warnings of an answer, for a person.
pub(super) fn of(review: &TemplateReview, filled: &[Filled]) -> Vec<String> {
    if !is_person(review.info) {
        return Vec::new();
    }
    let mut lines = Vec::new();
    let mut more = 0;
    for (level, prefix) in
        [(Level::Enforce, "sandgate will deny its Pods: "), (Level::Warn, "sandgate would deny its Pods: ")]
    {
        for violations in review.violations.iter().map(|violations| of_level(violations, level)) {
            let texts = violations.lines();
            let kept: usize = violations.iter().count();
            more += violations.len() - kept;
            for text in texts {
                let line = cut(format!("{prefix}{text}"));
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
    }
    more += lines.len().saturating_sub(MAX_LINES);
    lines.truncate(MAX_LINES);
    if more > 0 {
        lines.push(format!("sandgate: and {more} more: run sandgate check"));
    }
    if review.policy.header.warnings.filled {
        lines.extend(
            filled
                .iter()
                .map(|filled| of_filled(filled, &review.policy.name))
                .take(MAX_LINES - lines.len().min(MAX_LINES)),
        );
    }
    lines
}

fn of_level(violations: &LeveledViolations, level: Level) -> &crate::violations::Violations {
    if level == Level::Enforce { &violations.enforce } else { &violations.warn }
}

fn of_filled(filled: &Filled, policy: &str) -> String {
    let Filled { template, count } = filled;
    let fields = if *count == 1 { "field" } else { "fields" };
    let place = template.as_ref().map_or_else(|| "its Pods' spec".to_owned(), ToString::to_string);
    cut(format!("sandgate: filled {count} {fields} in {place} for policy {policy}"))
}

/// Returns true if a person will see the answer. The names of the components of Kubernetes, of its nodes and of service
/// accounts begin with `system:`; so does that of the administrator of some distributions.
pub(super) fn is_person(info: &RequestInfo) -> bool {
    const ADMINISTRATOR: &str = "system:admin";
    !info.user.starts_with("system:") || &*info.user == ADMINISTRATOR
}

fn cut(line: String) -> String {
    if line.chars().count() <= MAX_LINE_CHARS {
        return line;
    }
    line.chars().take(MAX_LINE_CHARS - 1).chain(['…']).collect()
}
