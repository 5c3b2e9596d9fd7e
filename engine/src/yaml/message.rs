//! Messages of the YAML reader, in terms of the file.

use std::fmt;

use serde_saphyr::{Error, UserMessageFormatter, budget::BudgetBreach};

/// Something in a text that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The line of the whole text, from 1.
    pub line: u64,
    /// The problem, without the position.
    pub problem: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for ParseError {}

const TOO_DEEP: &str = "nested too deeply";

/// Returns the message of an error of the YAML reader, without its position and without the reader's own terms.
#[must_use]
pub fn describe(error: &Error) -> String {
    let mut cause = error;
    while let Error::AliasError { error, .. } | Error::WithSnippet { error, .. } = cause {
        cause = error;
    }
    match cause {
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => TOO_DEEP.into(),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("duplicate key {key:?}"),
        Error::Budget { .. } | Error::AliasReplayLimitExceeded { .. } => "document too large".into(),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "an alias must not be inside its own anchor".into()
        }
        Error::NonFiniteFloat { .. } => "a number that is not finite; quote it if it is a text".into(),
        cause => plain(&cause.render_with_formatter(&UserMessageFormatter)),
    }
}

impl ParseError {
    pub(super) fn of_yaml(error: &Error, lines_before: u64) -> Self {
        let line = error.location().map_or(0, |location| location.line());
        Self { line: lines_before + line.max(1), problem: describe(error) }
    }

    pub(super) fn of_json(error: &serde_json::Error, lines_before: u64) -> Self {
        let line = u64::try_from(error.line()).unwrap_or(u64::MAX).max(1);
        Self { line: lines_before + line, problem: plain(&error.to_string()) }
    }
}

/// Cuts the position off a message, and replaces the reader's own terms by those of the file.
fn plain(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    match &first[..first.find(" at line ").unwrap_or(first.len())] {
        "recursion limit exceeded" => TOO_DEEP.into(),
        "expected mapping start" => "must be a mapping (key: value)".into(),
        "invalid u32" => format!("must be a whole number, 0 to {}", u32::MAX),
        "invalid boolean" => "must be true or false".into(),
        "expected sequence start" => "must be a list ([value])".into(),
        message => message.into(),
    }
}
