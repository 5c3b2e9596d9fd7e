//! The openings of a policy beyond the full sandbox, and who can reach them.

use std::fmt;

use serde::Serialize;

use super::{
    Exception, Mode, Policy, Profile, Spec,
    compare::{Direction, KeyChange, spec_changes},
};

/// An opening of a policy beyond the full sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Opened {
    /// All openings: those of the policy as a whole, then those of each profile and its exceptions.
    pub openings: Vec<Opening>,
    /// The profile with the most dangerous openings that every creator of Pods can reach; empty for the policy's own
    /// keys.
    pub weakest_profile: String,
    /// The openings that a Pod of that profile has together, its exceptions included.
    pub weakest: Vec<Opening>,
}

/// One thing that a policy lets through beyond the full sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Opening {
    /// The profile; empty for the policy's own keys.
    pub profile: String,
    /// The exception; empty for the keys of Pods.
    pub exception: String,
    /// The key of the policy, such as `security.root.runtimeClasses`.
    pub key: String,
    /// The value that the key lets through.
    pub value: String,
    /// The Pods or containers that can reach it.
    pub reach: Reach,
}

/// The Pods or containers that can reach an opening.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Reach {
    /// Every creator of Pods in the namespace, by what the Pod itself contains (empty: by nothing in particular).
    EveryCreator(String),
    /// Only these users or groups, which the API server authenticates.
    Users(String),
}

impl Opening {
    /// Returns how dangerous the opening is beside others. What only authenticated users or certain images reach weighs
    /// half.
    #[must_use]
    pub fn weight(&self) -> u32 {
        let is_narrow = !self.exception.is_empty() || matches!(self.reach, Reach::Users(_));
        weight(&self.key) * if is_narrow { 1 } else { 2 }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::EveryCreator(by) if by.is_empty() => f.write_str("every creator of Pods"),
            Self::EveryCreator(by) => write!(f, "every creator of Pods, by {by}"),
            Self::Users(users) => write!(f, "{users}, as the API server authenticates them"),
        }
    }
}

/// Returns what a policy lets through beyond the full sandbox.
#[must_use]
pub fn opened(policy: &Policy) -> Opened {
    let sandbox = Spec::default();
    let mut openings = of_whole(policy);
    let mut weakest: Option<(u32, &Profile, Vec<Opening>)> = None;
    let base = openings_of(policy.base(), &sandbox);
    for profile in policy.all_profiles() {
        let all = openings_of(profile, &sandbox);
        let weight = all.iter().map(|opening| weight(&opening.key)).sum();
        let reachable = matches!(reach_of(profile), Reach::EveryCreator(_));
        if reachable && weakest.as_ref().is_none_or(|(heaviest, ..)| weight > *heaviest) {
            weakest = Some((weight, profile, all.clone()));
        }
        // What a profile inherits is listed once, for the policy.
        let inherited = |opening: &Opening| {
            !profile.name.is_empty()
                && base.iter().any(|other| {
                    (&other.exception, &other.key, &other.value)
                        == (&opening.exception, &opening.key, &opening.value)
                })
        };
        openings.extend(all.into_iter().filter(|opening| !inherited(opening)));
    }
    let (weakest_profile, weakest) =
        weakest.map_or_else(Default::default, |(_, profile, openings)| (profile.name.clone(), openings));
    Opened { openings, weakest_profile, weakest }
}

/// Returns the openings of the policy as a whole: a mode or rules that do not deny, and exemptions.
fn of_whole(policy: &Policy) -> Vec<Opening> {
    let opening = |key: &str, value: &str, reach: Reach| Opening {
        profile: String::new(),
        exception: String::new(),
        key: key.into(),
        value: value.into(),
        reach,
    };
    let everybody = || Reach::EveryCreator(String::new());
    let header = &policy.header;
    let mode = (header.mode != Mode::Enforce).then(|| opening("mode", header.mode.as_str(), everybody()));
    let lowered = |(rule, level): (&String, &super::Level)| {
        let level = (*level < super::Level::Enforce).then_some(level)?;
        Some(opening(&format!("rules.{rule}"), level.as_str(), everybody()))
    };
    let exempt =
        [("exempt.users", "user", &header.exempt.users), ("exempt.groups", "group", &header.exempt.groups)];
    let exempt = exempt.into_iter().flat_map(|(key, kind, names)| {
        names.iter().map(move |name| opening(key, name, Reach::Users(format!("{kind} {name}"))))
    });
    mode.into_iter().chain(header.rules.iter().filter_map(lowered)).chain(exempt).collect()
}

/// Returns the openings of a profile beyond `sandbox`, and of its exceptions beyond the profile.
fn openings_of(profile: &Profile, sandbox: &Spec) -> Vec<Opening> {
    let reach = reach_of(profile);
    let opening = |change: KeyChange, exception: &str, reach: &Reach| {
        let KeyChange { key, from: _, to, gained, direction } = change;
        let opens = direction == Direction::Weaker || gained.is_some();
        opens.then(|| Opening {
            profile: profile.name.clone(),
            exception: exception.into(),
            key: key.into(),
            value: gained.unwrap_or(to),
            reach: reach.clone(),
        })
    };
    let mut openings: Vec<Opening> = spec_changes(sandbox, &profile.spec)
        .into_iter()
        .filter_map(|change| opening(change, "", &reach))
        .collect();
    for Exception { name, matcher, spec } in &profile.exceptions {
        let images = matcher.images.iter().map(super::ImagePattern::as_str).collect::<Vec<_>>().join(", ");
        let reach = match &reach {
            Reach::EveryCreator(by) if by.is_empty() => {
                Reach::EveryCreator(format!("a container of {images}"))
            }
            Reach::EveryCreator(by) => Reach::EveryCreator(format!("{by} and a container of {images}")),
            users @ Reach::Users(_) => users.clone(),
        };
        let changes = spec_changes(&profile.spec, spec).into_iter();
        openings.extend(changes.filter_map(|change| opening(change, name, &reach)));
    }
    openings
}

fn reach_of(profile: &Profile) -> Reach {
    let matcher = &profile.matcher;
    let listed = |names: &[&str]| names.join(" or ");
    let names = |names: &super::Names| listed(&names.iter().map(super::Pattern::as_str).collect::<Vec<_>>());
    let mut by = Vec::new();
    if matcher.needs_creator() {
        by.extend(matcher.users.as_ref().map(|users| format!("user {}", names(users))));
        by.extend(matcher.groups.as_ref().map(|groups| format!("group {}", names(groups))));
        return Reach::Users(by.join(" and "));
    }
    by.extend(matcher.owners.as_ref().map(|owners| {
        format!("owner {}", listed(&owners.iter().map(super::OwnerKind::as_str).collect::<Vec<_>>()))
    }));
    by.extend(
        matcher.service_accounts.as_ref().map(|accounts| format!("service account {}", names(accounts))),
    );
    by.extend(matcher.labels.iter().flatten().map(|(key, value)| format!("label {key}={}", value.as_str())));
    by.extend(matcher.runtime_classes.as_ref().map(|classes| format!("runtime class {}", names(classes))));
    by.extend(
        matcher
            .extended_resources
            .as_ref()
            .map(|resources| format!("a request for {}", resources.join(" or "))),
    );
    Reach::EveryCreator(by.join(" and "))
}

/// Returns how dangerous an opening is beside others: what reaches beyond the Pod weighs most.
fn weight(key: &str) -> u32 {
    match key {
        "runtimeClass.allowed" | "serviceAccount.automountToken" => 8,
        "security.root.runtimeClasses"
        | "security.seccompProfiles"
        | "security.capabilities.add"
        | "security.capabilities.allowedAdd"
        | "security.capabilities.drop"
        | "serviceAccount.tokens" => 6,
        "secrets.volumes" | "volumes.persistentVolumeClaim.names" | "volumes.csi" => 4,
        "resources.extended" | "resources.resourceClaimTemplates" | "volumes.ephemeral.storageClasses" => 3,
        "security.readOnlyRootFilesystem" | "annotations.allowed" | "annotations.forbidden" => 2,
        _ => 1,
    }
}
