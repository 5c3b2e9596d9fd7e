//! Policies: what the pods of a set of namespaces must look like.

/// What a policy does with its verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Fill and refuse.
    Enforce,
    /// Fill, and admit with warnings.
    Warn,
    /// Touch nothing, only record.
    Audit,
}

impl Mode {
    /// The word the policy file uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Warn => "warn",
            Self::Audit => "audit",
        }
    }
}

/// One text a policy is read from: a file, or the built-in one.
#[derive(Debug, Clone)]
pub struct Source {
    /// What errors call it: the path as the user gave it.
    pub name: String,
    /// The YAML text, one or more documents.
    pub text: String,
}

/// Every policy in force, by namespace.
#[derive(Debug)]
pub struct PolicySet {}

impl PolicySet {
    /// The policy that holds when no file is given.
    #[must_use]
    pub fn builtin() -> Self {
        Self {}
    }

    /// Reads the policies of `sources`.
    ///
    /// # Errors
    /// All that is wrong with them, each with file, line and path.
    pub fn from_sources(_sources: &[Source]) -> Result<Self, LoadErrors> {
        Ok(Self {})
    }

    /// A short hash of the content of all policies.
    #[must_use]
    pub fn hash(&self) -> &str {
        ""
    }

    /// The names of the policies.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }
}

/// What is wrong with a set of policy files; `Display` prints one problem a line.
#[derive(Debug, thiserror::Error)]
#[error("not loaded")]
pub struct LoadErrors {}
