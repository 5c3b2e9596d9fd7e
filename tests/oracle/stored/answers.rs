//! What the API server says to a create, and which part of it denies.

use std::{collections::BTreeSet, fmt};

use serde_json::Value as Json;

use crate::exhaustive::without_digits;
use testbed::Denial;

pub(super) enum Answer {
    /// The object as it is stored, or would be.
    Stored {
        pod: Json,
        /// Whether it was read back from storage.
        was_read: bool,
    },
    Denied(Denial),
}

impl Answer {
    pub(super) fn stored(&self) -> Option<&Json> {
        match self {
            Self::Stored { pod, .. } => Some(pod),
            Self::Denied(_) => None,
        }
    }

    pub(super) fn was_read(&self) -> bool {
        matches!(self, Self::Stored { was_read: true, .. })
    }

    pub(super) fn denied(&self) -> Option<(Denier, &Denial)> {
        match self {
            Self::Stored { .. } => None,
            Self::Denied(denial) => Some((Denier::of(denial), denial)),
        }
    }
}

/// Who denies a Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Denier {
    Mutate,
    Validate,
    PodSecurity,
    /// Another admission plugin of the API server.
    Plugin,
    /// The API server's own validation of the object.
    Validation,
    /// The Pod cannot be read.
    Decoding,
    /// A webhook that does not answer, a conflict, an internal error.
    Trouble,
}

impl Denier {
    fn of(Denial { code, message, .. }: &Denial) -> Self {
        match code {
            403 if message.starts_with(r#"admission webhook "mutate.sandgate.dev" denied"#) => Self::Mutate,
            403 if message.starts_with(r#"admission webhook "validate.sandgate.dev" denied"#) => {
                Self::Validate
            }
            403 if message.contains("violates PodSecurity") => Self::PodSecurity,
            403 => Self::Plugin,
            422 => Self::Validation,
            400 => Self::Decoding,
            _ => Self::Trouble,
        }
    }

    pub(super) fn is_sandgate(self) -> bool {
        matches!(self, Self::Mutate | Self::Validate)
    }
}

impl fmt::Display for Denier {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(match self {
            Self::Mutate => "sandgate, /mutate",
            Self::Validate => "sandgate, /validate",
            Self::PodSecurity => "Pod Security",
            Self::Plugin => "another admission plugin",
            Self::Validation => "API validation",
            Self::Decoding => "decoding",
            Self::Trouble => "trouble",
        })
    }
}

/// The rules that sandgate's denial names.
pub(super) fn rules(denial: &Denial) -> BTreeSet<String> {
    denial.causes.iter().map(|cause| cause.reason.clone()).collect()
}

/// Why the API server denies a Pod, short, and the same for Pods that have the same fault.
pub(super) fn reason(denial: &Denial) -> String {
    const LONGEST: usize = 110;
    let named = denial.causes.first().map(|cause| format!("{} at {}", cause.reason, cause.field));
    let reason = named.unwrap_or_else(|| {
        let message = denial.message.split_once(" is forbidden: ").map(|(_, why)| why);
        message.unwrap_or(&denial.message).to_owned()
    });
    without_digits(&reason).chars().take(LONGEST).collect()
}
