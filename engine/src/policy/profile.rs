//! Profiles and exceptions: which keys hold for a Pod and for a container of it. All is resolved when the policy is
//! loaded; choosing allocates nothing.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    images::ImagePatterns,
    pattern::{Names, Pattern},
    spec::Spec,
};
use crate::json::Text;
use crate::pod::{ContainerKind, image::ImageReference};

/// The account that the API server fills into a Pod that names none.
const API_DEFAULT_ACCOUNT: &str = "default";

/// The keys that hold for some Pods of the policy's namespaces.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Profile {
    /// The name of the profile; empty for the policy's own keys.
    pub name: String,
    /// The Pods that the profile is for; the policy's own keys are for all that no profile matches.
    pub matcher: PodMatch,
    /// The keys of the Pod, and of its containers that no exception matches.
    pub spec: Spec,
    /// The exceptions for single containers, in the order in which they are tried.
    pub exceptions: Vec<Exception>,
}

impl Profile {
    /// Returns a profile with these keys for every Pod and every container.
    #[must_use]
    pub fn of_spec(spec: Spec) -> Self {
        Self { name: String::new(), matcher: PodMatch::default(), spec, exceptions: Vec::new() }
    }

    /// Returns the keys that hold for a container: those of the first exception that matches it, else the Pod's. An
    /// ephemeral container never gets an exception, since anybody who may debug the Pod chooses its image.
    #[must_use]
    pub fn spec_for(&self, container: &ContainerFacts) -> &Spec {
        self.exception_for(container).map_or(&self.spec, |exception| &exception.spec)
    }

    /// Returns the first exception that matches a container.
    #[must_use]
    pub fn exception_for(&self, container: &ContainerFacts) -> Option<&Exception> {
        self.exceptions.iter().find(|exception| exception.matcher.matches(container))
    }
}

/// The keys that hold for single containers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exception {
    /// The name of the exception.
    pub name: String,
    /// The containers that the exception is for.
    pub matcher: ContainerMatch,
    /// The keys of these containers.
    pub spec: Spec,
}

/// The Pods that a profile is for. Within a list one entry must match, and every key that is set must match.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct PodMatch {
    /// The users that create the Pod, as the API server authenticates them. Only a CREATE matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Names>,
    /// The groups of the user that creates the Pod, as the API server authenticates them. Only a CREATE matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Names>,
    /// The controllers that own the Pod, as `KIND.GROUP`, such as `Job.batch`. Every creator can claim one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owners: Option<Vec<OwnerKind>>,
    /// The service accounts of the Pod. Every creator can name one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_accounts: Option<Names>,
    /// The labels of the Pod, each with a value in which `*` is any text. Every creator can set one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, Pattern>>,
    /// The runtime classes of the Pod. Every creator can name one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_classes: Option<Names>,
    /// The extended resources of which the Pod asks for one. Every creator can ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extended_resources: Option<Vec<String>>,
}

impl PodMatch {
    /// Returns true if the match has no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns true if the API server's word is needed to match: no creator can choose it.
    #[must_use]
    pub fn needs_creator(&self) -> bool {
        self.users.is_some() || self.groups.is_some()
    }

    /// Returns true if the Pod matches; what it leaves unset counts as the default of `base`.
    #[must_use]
    pub fn matches(&self, pod: &PodFacts, base: &Spec) -> bool {
        let Self { users, groups, owners, service_accounts, labels, runtime_classes, extended_resources } =
            self;
        let creator = pod.creator.as_ref();
        users.as_ref().is_none_or(|users| creator.is_some_and(|creator| users.allows(creator.user)))
            && groups.as_ref().is_none_or(|groups| {
                creator.is_some_and(|creator| creator.groups.iter().any(|group| groups.allows(group)))
            })
            && owners.as_ref().is_none_or(|owners| {
                pod.owner.as_ref().is_some_and(|owner| owners.iter().any(|kind| kind.is(owner)))
            })
            && service_accounts.as_ref().is_none_or(|names| names.allows(effective_account(pod, base)))
            && labels.as_ref().is_none_or(|labels| {
                labels.iter().all(|(key, pattern)| match (pod.label)(key) {
                    Some(value) => pattern.matches(value),
                    None => base.labels.required.get(key).is_some_and(|value| pattern.matches(value)),
                })
            })
            && runtime_classes.as_ref().is_none_or(|names| {
                names.allows(set(pod.runtime_class).unwrap_or(&base.runtime_class.default))
            })
            && extended_resources.as_ref().is_none_or(|names| names.iter().any(|name| (pod.asks_for)(name)))
    }

    /// Returns true if this match provably matches every Pod that `other` matches.
    #[must_use]
    pub(super) fn covers(&self, other: &Self) -> bool {
        let names = |wide: &Option<Names>, narrow: &Option<Names>| match (wide, narrow) {
            (None, _) => true,
            (Some(wide), Some(narrow)) => wide.cover(narrow),
            (Some(_), None) => false,
        };
        let contains = |wide: &Option<Vec<String>>, narrow: &Option<Vec<String>>| match (wide, narrow) {
            (None, _) => true,
            (Some(wide), Some(narrow)) => narrow.iter().all(|name| wide.contains(name)),
            (Some(_), None) => false,
        };
        let owners = match (&self.owners, &other.owners) {
            (None, _) => true,
            (Some(wide), Some(narrow)) => narrow.iter().all(|owner| wide.contains(owner)),
            (Some(_), None) => false,
        };
        let labels = match (&self.labels, &other.labels) {
            (None, _) => true,
            (Some(wide), Some(narrow)) => {
                wide.iter().all(|(key, pattern)| narrow.get(key).is_some_and(|other| pattern.covers(other)))
            }
            (Some(_), None) => false,
        };
        owners
            && labels
            && names(&self.users, &other.users)
            && names(&self.groups, &other.groups)
            && names(&self.service_accounts, &other.service_accounts)
            && names(&self.runtime_classes, &other.runtime_classes)
            && contains(&self.extended_resources, &other.extended_resources)
    }
}

fn effective_account<'r, 'f: 'r>(pod: &PodFacts<'f>, base: &'r Spec) -> &'r str {
    let written = set(pod.service_account).filter(|name| *name != API_DEFAULT_ACCOUNT);
    written.or(base.service_account.default.as_deref()).unwrap_or(API_DEFAULT_ACCOUNT)
}

/// Returns the text unless it is empty, which the Pod API reads as unset.
fn set(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// A kind of controller, written `KIND.GROUP`, or `KIND` in the core group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct OwnerKind(String);

impl OwnerKind {
    /// Returns the kind as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is(&self, owner: &Owner) -> bool {
        let (kind, group) = self.0.split_once('.').unwrap_or((&self.0, ""));
        kind == owner.kind && group == owner.group
    }
}

impl TryFrom<String> for OwnerKind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let kind = text.split('.').next().unwrap_or_default();
        let valid = kind.starts_with(|c: char| c.is_ascii_uppercase())
            && kind.chars().all(|c| c.is_ascii_alphanumeric())
            && text.split('.').skip(1).all(|label| {
                !label.is_empty()
                    && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            });
        if valid { Ok(Self(text)) } else { Err(format!("{text:?} must be KIND.GROUP, such as Job.batch")) }
    }
}

impl From<OwnerKind> for String {
    fn from(owner: OwnerKind) -> Self {
        owner.0
    }
}

/// The containers that an exception is for. Each of the three keys must match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainerMatch {
    /// The images of the containers, each with registry and repository.
    pub images: ImagePatterns,
    /// The names of the containers.
    #[serde(default = "any_name")]
    pub names: Names,
    /// The kinds of the containers; all but ephemeral ones by default.
    #[serde(default = "all_kinds")]
    pub kinds: Vec<Kind>,
}

impl ContainerMatch {
    /// Returns true if this match provably matches every container that `other` matches.
    #[must_use]
    pub(super) fn covers(&self, other: &Self) -> bool {
        other.images.iter().all(|image| self.images.iter().any(|own| own == image))
            && self.names.cover(&other.names)
            && other.kinds.iter().all(|kind| self.kinds.contains(kind))
    }

    fn matches(&self, container: &ContainerFacts) -> bool {
        let kind = match container.kind {
            ContainerKind::App => Kind::App,
            ContainerKind::Init => Kind::Init,
            ContainerKind::Sidecar => Kind::Sidecar,
            ContainerKind::Ephemeral => return false,
        };
        self.kinds.contains(&kind)
            && self.names.allows(container.name)
            && container.image.as_ref().is_some_and(|image| self.images.allow(image))
    }
}

/// The kinds of container that an exception can be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An init container that runs to its end.
    Init,
    /// An init container with `restartPolicy: Always`.
    Sidecar,
    /// A container of `spec.containers`.
    App,
}

fn any_name() -> Names {
    Names::known(&["*"])
}

fn all_kinds() -> Vec<Kind> {
    vec![Kind::Init, Kind::Sidecar, Kind::App]
}

/// The fields of a Pod by which a profile is chosen.
#[derive(Clone, Copy)]
pub struct PodFacts<'f> {
    /// The user that creates the Pod; `None` for every operation but CREATE, and where the user is unknown.
    pub creator: Option<Creator<'f>>,
    /// The controller that owns the Pod.
    pub owner: Option<Owner<'f>>,
    /// The value of `spec.serviceAccountName`.
    pub service_account: Option<&'f str>,
    /// The value of `spec.runtimeClassName`.
    pub runtime_class: Option<&'f str>,
    /// Returns the value of a label.
    pub label: &'f dyn Fn(&str) -> Option<&'f str>,
    /// Returns true if the Pod or a container of it asks for an extended resource.
    pub asks_for: &'f dyn Fn(&str) -> bool,
}

/// The user that creates a Pod, as the API server authenticates it.
#[derive(Debug, Clone, Copy)]
pub struct Creator<'f> {
    /// The name of the user.
    pub user: &'f str,
    /// The groups of the user.
    pub groups: &'f [Text<'f>],
}

/// The controller that owns a Pod.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'f> {
    /// The kind, such as `Job`.
    pub kind: &'f str,
    /// The API group, such as `batch`; empty for the core group.
    pub group: &'f str,
}

impl<'f> Owner<'f> {
    /// Returns the owner of an owner reference's `kind` and `apiVersion`.
    #[must_use]
    pub fn new(kind: &'f str, api_version: &'f str) -> Self {
        Self { kind, group: api_version.split_once('/').map_or("", |(group, _)| group) }
    }
}

/// The fields of a container by which an exception is chosen.
#[derive(Debug, Clone, Copy)]
pub struct ContainerFacts<'f> {
    /// The image, or `None` if its reference cannot be read.
    pub image: Option<ImageReference<'f>>,
    /// The name of the container.
    pub name: &'f str,
    /// The kind of the container.
    pub kind: ContainerKind,
}
