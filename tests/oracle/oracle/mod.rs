//! The policy, stated a second time: over typed Pods, from the documents and the Kubernetes API alone.
//!
//! It shares no code with the engine, so that it shares none of its blind spots. It checks a Pod as it would be
//! stored, and knows nothing of filling.

pub(crate) mod images;
pub(crate) mod isolation;
pub(crate) mod lifecycle;
pub(crate) mod metadata;
pub(crate) mod placement;
pub(crate) mod resources;
pub(crate) mod secrets;
pub(crate) mod security;
pub(crate) mod tokens;
pub(crate) mod volumes;

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};

use crate::{
    policy::{Creator, DEFAULT, Keys, Policy, Profile},
    quantity::Nanos,
    rule_cases::RuleCase,
};

pub(crate) type Faults = Vec<String>;

/// What the oracle has of one subject: the keys of a policy, the property that they state, and its cases.
pub(crate) struct Section {
    /// The default of each key, a YAML mapping.
    pub(crate) defaults: &'static str,
    /// The values that generated policies draw from, a YAML mapping by key. The tables of Pods have what these values
    /// open and just not.
    pub(crate) drawn: &'static str,
    /// Adds everything that is wrong with a Pod.
    check: fn(&Subject, &mut Faults),
    /// The cases of the default policy.
    pub(crate) cases: fn() -> Vec<RuleCase>,
    /// Cases of other policies, a YAML list of [`crate::rule_cases::Written`].
    pub(crate) cases_under_policies: &'static str,
}

/// Every subject.
pub(crate) const SECTIONS: [Section; 10] = [
    metadata::SECTION,
    placement::SECTION,
    lifecycle::SECTION,
    security::SECTION,
    isolation::SECTION,
    tokens::SECTION,
    volumes::SECTION,
    secrets::SECTION,
    resources::SECTION,
    images::SECTION,
];

/// Returns everything that is wrong with `pod` under the default policy.
pub(crate) fn faults(pod: &Pod) -> Faults {
    faults_under(&DEFAULT, pod, None)
}

/// Returns everything that is wrong with `pod`.
pub(crate) fn faults_under(policy: &Policy, pod: &Pod, creator: Option<Creator>) -> Faults {
    faults_of_profile(policy.profile_of(pod, creator), pod)
}

/// Returns everything that is wrong with `pod` under a profile.
pub(crate) fn faults_of_profile(profile: &Profile, pod: &Pod) -> Faults {
    let mut faults = Faults::new();
    let none = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&none);
    let containers = every_container(profile, spec);
    let subject = Subject { pod, spec, keys: &profile.keys, containers: &containers };
    for section in &SECTIONS {
        (section.check)(&subject, &mut faults);
    }
    faults
}

/// A Pod with the keys that hold for it and for each of its containers.
struct Subject<'s> {
    pod: &'s Pod,
    spec: &'s PodSpec,
    keys: &'s Keys,
    containers: &'s [Placed<'s>],
}

impl Subject<'_> {
    /// The containers that mount the volume `name`, each with the place of its mount and whether it is read-only.
    fn mounts_of<'m>(
        &'m self,
        name: &'m str,
    ) -> impl Iterator<Item = (usize, &'m Placed<'m>, &'m str, bool)> {
        self.containers.iter().enumerate().flat_map(move |(number, placed)| {
            let mounts = placed.container.volume_mounts.iter().flatten();
            mounts
                .filter(move |mount| mount.name == name)
                .map(move |mount| (number, placed, mount.mount_path.as_str(), mount.read_only == Some(true)))
        })
    }
}

fn must(holds: bool, fault: &str, faults: &mut Faults) {
    if !holds {
        faults.push(fault.to_string());
    }
}

/// An empty string means the same as none throughout the API.
fn word(text: Option<&String>) -> &str {
    text.map_or("", String::as_str)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    App,
    Init,
    Sidecar,
    Ephemeral,
}

impl Kind {
    /// As the exceptions of a policy name it.
    fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Init => "init",
            Self::Sidecar => "sidecar",
            Self::Ephemeral => "ephemeral",
        }
    }
}

struct Placed<'k> {
    place: String,
    kind: Kind,
    container: Container,
    keys: &'k Keys,
}

impl Placed<'_> {
    fn must(&self, holds: bool, fault: &str, faults: &mut Faults) {
        if !holds {
            faults.push(format!("{fault} in {}", self.place));
        }
    }
}

fn every_container<'k>(profile: &'k Profile, spec: &PodSpec) -> Vec<Placed<'k>> {
    let init = |container: &Container| match word(container.restart_policy.as_ref()) {
        "Always" => Kind::Sidecar,
        _ => Kind::Init,
    };
    let placed = |list: &str, index: usize, kind: Kind, container: Container| Placed {
        place: format!("{list}[{index}]"),
        kind,
        keys: profile.keys_of(kind.name(), &container),
        container,
    };
    let mut all = Vec::new();
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        all.push(placed("initContainers", index, init(container), container.clone()));
    }
    for (index, container) in spec.containers.iter().enumerate() {
        all.push(placed("containers", index, Kind::App, container.clone()));
    }
    for (index, container) in spec.ephemeral_containers.iter().flatten().enumerate() {
        all.push(placed("ephemeralContainers", index, Kind::Ephemeral, as_container(container)));
    }
    all
}

/// The two types have the same fields but for the target's name.
fn as_container(container: &EphemeralContainer) -> Container {
    serde_json::to_value(container).and_then(serde_json::from_value).unwrap()
}

/// Above zero and not above `most`.
fn is_within(amount: &str, most: &str) -> bool {
    Nanos::read(amount).is_some_and(|amount| amount > Nanos(0) && Some(amount) <= Nanos::read(most))
}
