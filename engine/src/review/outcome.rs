//! The words of a verdict: the endpoint that gives it, and what becomes of the request.

use std::str::FromStr;

use crate::text::quote;

/// The endpoint that a webhook calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /mutate`: fills defaults, then checks the object.
    Mutate,
    /// `POST /validate`: checks the final object.
    Validate,
}

/// A text that is not one of the words of a type.
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
        Self::from_word(text).ok_or_else(|| UnknownWord::new(text, Self::ALL.map(Self::as_str)))
    }
}

impl Endpoint {
    /// All endpoints, in order of admission.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The request is admitted, with defaults filled if the Pod left fields open.
    Admitted,
    /// The request is denied.
    Denied,
    /// The request is admitted with warnings: it violates rules at the level warn, and none at the level enforce.
    Warned,
    /// The request is admitted: it violates rules at the level audit, and none above it.
    WouldDeny,
    /// The request is admitted, whatever it violates: the policy exempts the user or one of the groups.
    Exempt,
    /// The request is allowed: no policy covers the namespace, and the server is set to admit there.
    NoPolicy,
    /// The request is allowed: no rule checks it (DELETE, CONNECT, another resource).
    NotEvaluated,
}

impl Outcome {
    /// All verdicts, as records and metrics list them.
    pub const ALL: [Self; 7] = [
        Self::Admitted,
        Self::Denied,
        Self::Warned,
        Self::WouldDeny,
        Self::Exempt,
        Self::NoPolicy,
        Self::NotEvaluated,
    ];

    /// Returns the outcome of a word in records, if it is one.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }

    /// Returns the word in records and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Denied => "denied",
            Self::Warned => "warned",
            Self::WouldDeny => "would-deny",
            Self::Exempt => "exempt",
            Self::NoPolicy => "no-policy",
            Self::NotEvaluated => "not-evaluated",
        }
    }
}

/// The answer for a Pod in a namespace that the webhook selects and no policy covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WithoutPolicy {
    /// The Pod is denied.
    #[default]
    Deny,
    /// The Pod is admitted, with the outcome [`Outcome::NoPolicy`].
    Allow,
}
