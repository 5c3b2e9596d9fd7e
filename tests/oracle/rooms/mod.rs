//! For each rule: edits of a sound Pod that violate it and no other, and edits that go as far as it allows.
//!
//! The notation is that of [`crate::places`].

mod lifecycle;
mod metadata;
mod other_policies;
mod placement;
mod resources;
mod security;
mod volumes;

use serde_json::{Value as Json, json};

use crate::{generator, oracle, places::Table};

/// The policy that a room stands under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Under {
    Default,
    /// Names the registry, the Secrets, and more volume types.
    Named,
    /// Wants images pinned, and no Secret in the environment.
    Sealed,
}

impl Under {
    pub(crate) fn settings(self) -> Json {
        match self {
            Self::Default => json!({}),
            Self::Named => json!({
                "images": {"allowedPrefixes": ["registry.example.com"]},
                "secrets": {"allowedNames": ["s", "t"]},
                "volumes": {"allowed": ["emptyDir", "configMap", "secret"]},
            }),
            Self::Sealed => json!({"images": {"requireDigest": true}, "secrets": {"environment": false}}),
        }
    }

    pub(crate) fn policy(self) -> oracle::Policy {
        match self {
            Self::Default => oracle::DEFAULT,
            Self::Named => oracle::Policy {
                image_prefixes: &["registry.example.com"],
                secrets: &["s", "t"],
                volume_types: &["emptyDir", "configMap", "secret"],
                ..oracle::DEFAULT
            },
            Self::Sealed => {
                oracle::Policy { wants_digest: true, secrets_in_environment: false, ..oracle::DEFAULT }
            }
        }
    }

    /// A Pod that violates nothing.
    pub(crate) fn base(self) -> Json {
        let mut pod = generator::complete();
        if self == Self::Sealed {
            pod["spec"]["containers"][0]["image"] = json!(pinned());
        }
        pod
    }
}

fn pinned() -> String {
    format!("registry.example.com/runner:1@sha256:{}", "0a".repeat(32))
}

pub(crate) struct Room {
    pub(crate) rule: &'static str,
    pub(crate) under: Under,
    pub(crate) violating: Table,
    pub(crate) edge: Table,
}

fn room(rule: &'static str, violating: Table, edge: Table) -> Room {
    Room { rule, under: Under::Default, violating, edge }
}

/// Rules that more than one policy is needed for stand here more than once.
pub(crate) fn all() -> Vec<Room> {
    let mut rooms = metadata::rooms();
    rooms.extend(placement::rooms());
    rooms.extend(lifecycle::rooms());
    rooms.extend(security::of_users());
    rooms.extend(security::of_privileges());
    rooms.extend(security::of_confinement());
    rooms.extend(security::of_isolation());
    rooms.extend(volumes::of_volumes());
    rooms.extend(volumes::of_mounts());
    rooms.extend(resources::rooms());
    rooms.extend(other_policies::rooms());
    rooms
}

fn hardened() -> Json {
    json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}})
}

fn tiny() -> Json {
    let amounts = json!({"cpu": "1m", "memory": "1Mi", "ephemeral-storage": "1Mi"});
    json!({"limits": amounts, "requests": amounts})
}
