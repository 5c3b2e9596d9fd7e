//! The state of a stored Pod under a policy: whether it conforms as it runs, and whether it would be admitted anew.
//!
//! A stored Pod is checked like the final object of a create, without [`rules::ONLY_ON_CREATE`]: the scheduler sets what
//! that rule denies. Annotations in which the agents of a network record their work are no violation either: an update
//! of `pods/status` may write them.

use crate::{
    json::{Object, Value},
    path::{LazyPath, Step},
    pod::{controller, metadata, spec},
    policy::{Level, PodMatch, Policy, Profile},
    review::{Defaults, HASH_ANNOTATION, evaluate, with_facts},
    rules,
    violations::{Report, Sink, Violations},
};

/// The class of a stored Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The Pod violates nothing.
    Conforms,
    /// The Pod violates the policy that it was filled by.
    Violates,
    /// The Pod violates the policy, and was filled by another policy, or by another content of this one.
    OtherPolicy,
    /// The Pod violates the policy and names none: it is older than the webhook, or was stored without it.
    Older,
    /// The Pod has ended; it is not checked.
    Ended,
    /// The Pod mirrors a file of its node, where no webhook is asked; it is not checked.
    Static,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 6] =
        [Self::Conforms, Self::Violates, Self::OtherPolicy, Self::Older, Self::Ended, Self::Static];

    /// Returns the word in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conforms => "conforms",
            Self::Violates => "violates",
            Self::OtherPolicy => "other-policy",
            Self::Older => "older",
            Self::Ended => "ended",
            Self::Static => "static",
        }
    }

    /// Returns true if a Pod of this class violates the policy.
    #[must_use]
    pub fn is_finding(self) -> bool {
        matches!(self, Self::Violates | Self::OtherPolicy | Self::Older)
    }
}

/// What a scan finds in one Pod.
#[derive(Debug)]
pub struct Scanned {
    /// The class of the Pod.
    pub class: Class,
    /// The violations of the Pod as it runs.
    pub violations: Violations,
    /// The violations that would be left if the same Pod were created anew, and filled. Empty if it would be admitted.
    pub remaining: Violations,
}

/// Classifies a stored Pod. `phase` is the `status.phase` of the Pod, which the tree of a Pod does not have.
#[must_use]
pub fn classify(policy: &Policy, pod: &Value, phase: Option<&str>) -> Scanned {
    let unchecked =
        |class| Scanned { class, violations: Violations::default(), remaining: Violations::default() };
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return unchecked(Class::Ended);
    }
    if is_static(pod) {
        return unchecked(Class::Static);
    }
    let profile = with_facts(pod, None, |facts| policy.profile_for(facts));
    let violations = check(policy, profile, pod);
    if violations.is_empty() || conforms_for_a_user(policy, pod) {
        return unchecked(Class::Conforms);
    }
    let class = match annotation(pod, HASH_ANNOTATION) {
        Some(hash) if hash == policy.hash => Class::Violates,
        Some(_) => Class::OtherPolicy,
        None => Class::Older,
    };
    let mut anew = pod.clone();
    let findings = evaluate(policy, &mut anew, None, Defaults::Fill);
    // In the modes that fill nothing the Pod is checked as enforcing would leave it.
    let created = findings.simulated.as_ref().unwrap_or(&anew);
    Scanned { class, violations, remaining: check(policy, profile, created) }
}

/// The owner of a Pod, as people know it: the Deployment rather than its `ReplicaSet`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The kind; `Pod` for a Pod without an owner.
    pub kind: String,
    /// The name.
    pub name: String,
}

/// Returns the owner of a Pod. The names of a Deployment and of a `CronJob` are read off the names that their controllers
/// give: the label `pod-template-hash`, and the minute of the schedule at the end of a Job's name.
#[must_use]
pub fn owner(pod: &Value) -> Owner {
    let metadata = metadata(pod);
    let of = |kind: &str, name: &str| Owner { kind: kind.into(), name: name.into() };
    let found = controller(metadata).and_then(|owner| Some((owner.str("kind")?, owner.str("name")?)));
    let Some((kind, name)) = found else { return of("Pod", metadata.str("name").unwrap_or_default()) };
    match (kind, name.rsplit_once('-')) {
        ("ReplicaSet", Some((deployment, hash))) if label(metadata, "pod-template-hash") == Some(hash) => {
            of("Deployment", deployment)
        }
        ("Job", Some((cron_job, minute))) if is_minute(minute) => of("CronJob", cron_job),
        _ => of(kind, name),
    }
}

/// The annotations in which Calico, Multus and OVN-Kubernetes record what they gave a Pod. Those by which an author asks
/// for something, such as another network, are none of them.
const NETWORK_RECORDS: [&str; 6] = [
    "cni.projectcalico.org/containerID",
    "cni.projectcalico.org/podIP",
    "cni.projectcalico.org/podIPs",
    "k8s.ovn.org/pod-networks",
    "k8s.v1.cni.cncf.io/network-status",
    "k8s.v1.cni.cncf.io/networks-status",
];

fn is_of_network_agent(path: &LazyPath) -> bool {
    matches!(path.steps().last(), Some(Step::Key(key)) if NETWORK_RECORDS.contains(key))
}

/// Returns true for the minutes since 1970 that the controller of a `CronJob` ends the names of its Jobs with.
fn is_minute(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn label<'p>(metadata: &'p Object, key: &str) -> Option<&'p str> {
    metadata.object("labels")?.str(key)
}

fn annotation<'p>(pod: &'p Value, key: &str) -> Option<&'p str> {
    metadata(pod).object("annotations")?.str(key)
}

/// Returns true if the kubelet made the Pod for a file of its node. The annotation alone can be written by anyone who may
/// create Pods.
fn is_static(pod: &Value) -> bool {
    const MIRROR: &str = "kubernetes.io/config.mirror";
    let owner = controller(metadata(pod));
    annotation(pod, MIRROR).is_some()
        && owner
            .is_some_and(|owner| owner.str("kind") == Some("Node") && owner.str("apiVersion") == Some("v1"))
}

/// Returns true if the Pod conforms to a profile that is chosen by the user who creates it: who did is not stored.
fn conforms_for_a_user(policy: &Policy, pod: &Value) -> bool {
    let mut of_users = policy.profiles().iter().filter(|profile| profile.matcher.needs_creator());
    of_users.any(|profile| {
        let matcher = PodMatch { users: None, groups: None, ..profile.matcher.clone() };
        with_facts(pod, None, |facts| matcher.matches(facts, &policy.base().spec))
            && check(policy, profile, pod).is_empty()
    })
}

/// Returns what a stored Pod violates of the rules that are not off.
fn check(policy: &Policy, profile: &Profile, pod: &Value) -> Violations {
    let is_wired = spec(pod).str("nodeName").is_some();
    let mut stored = Stored { policy, is_wired, violations: Violations::default() };
    rules::check_into(profile, pod, &mut stored);
    stored.violations
}

/// Keeps the violations that count for a stored Pod.
struct Stored<'p> {
    policy: &'p Policy,
    /// True if the Pod is on a node, so that agents of the network had to do with it.
    is_wired: bool,
    violations: Violations,
}

impl Stored<'_> {
    fn counts(&self, report: &Report) -> bool {
        let Report { rule, path, .. } = report;
        *rule != rules::ONLY_ON_CREATE
            && self.policy.level_of(rule.id) != Level::Off
            && !(self.is_wired && *rule == rules::WRITTEN_WITH_STATUS && is_of_network_agent(path))
    }
}

impl Sink for Stored<'_> {
    fn take(&mut self, report: &Report) {
        if self.counts(report) {
            self.violations.take(report);
        }
    }
}

#[cfg(test)]
mod tests;
