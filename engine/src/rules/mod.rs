//! The rules: what each fills and checks, the same in CEL, why, and its tests.
//!
//! A new rule is a [`Rule`] in the file of its subject, and a line in [`ALL`].

mod anti_affinity;
pub(crate) mod bounds;
mod confinement;
mod empty_dir;
mod env;
mod filled_resources;
mod filled_volumes;
mod frameworks;
mod groups;
mod helpers;
mod images;
mod inherited;
mod injected;
mod isolation;
mod lifecycle;
mod metadata;
mod mounts;
pub(crate) mod placement;
mod privileges;
pub(crate) mod projected;
mod resource_fill;
mod resource_limits;
mod resources;
mod root;
mod runtime;
mod schema;
mod secrets;
mod service_account;
mod token_volumes;
pub(crate) mod tolerations;
mod users;
mod volume_sources;
mod volume_types;
mod writable_paths;

use std::hash::{Hash, Hasher};

use crate::{
    cel::{Keys, Statement},
    json::Value,
    pod::{self, Pod},
    policy::{self, LoadErrors, PolicySet, Profile, Source, Spec},
    violations::{Reporter, Sink, Violations},
};

pub use self::frameworks::Framework;

/// One property that the policy demands of a Pod. Two rules are equal if their ids are.
#[derive(Debug)]
pub struct Rule {
    /// The id, as messages, metrics and audit records have it.
    pub id: &'static str,
    /// The subject that the rule belongs to.
    pub group: Group,
    /// The property that must hold, in one sentence.
    pub title: &'static str,
    /// The reason for it, and what is done about a Pod that leaves it open.
    pub why: &'static str,
    /// Controls of a [`Framework`], CVEs and pages of Kubernetes or gVisor that the rule rests on.
    pub references: &'static [&'static str],
    /// The field of the policy that sets it; empty if no field does.
    pub setting: &'static str,
    /// Fills what the Pod leaves open; never overwrites what a person wrote.
    pub fill: Option<Fill>,
    /// Reports what contradicts the policy.
    pub check: Check,
    /// States in CEL what contradicts the policy; None if no statement of its own can say it.
    pub(crate) cel: Option<Cel>,
}

/// The subject of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names describe them")]
pub enum Group {
    Schema,
    Metadata,
    Runtime,
    Placement,
    ServiceAccount,
    Lifecycle,
    Users,
    Privileges,
    Confinement,
    Isolation,
    Volumes,
    Secrets,
    Resources,
    Images,
}

impl Group {
    /// Every group, in the order of [`ALL`].
    pub const ALL: [Self; 14] = [
        Self::Schema,
        Self::Metadata,
        Self::Runtime,
        Self::Placement,
        Self::ServiceAccount,
        Self::Lifecycle,
        Self::Users,
        Self::Privileges,
        Self::Confinement,
        Self::Isolation,
        Self::Volumes,
        Self::Secrets,
        Self::Resources,
        Self::Images,
    ];

    /// Returns the name of the group, as a heading has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schema => "Pod schema",
            Self::Metadata => "Labels and annotations",
            Self::Runtime => "Runtime class",
            Self::Placement => "Placement",
            Self::ServiceAccount => "Service account",
            Self::Lifecycle => "Lifecycle",
            Self::Users => "Users and groups",
            Self::Privileges => "Privileges",
            Self::Confinement => "Confinement",
            Self::Isolation => "Isolation",
            Self::Volumes => "Volumes",
            Self::Secrets => "Secrets and environment",
            Self::Resources => "Resources",
            Self::Images => "Images",
        }
    }

    /// Returns the rules of the group, in the order of [`ALL`].
    pub fn rules(self) -> impl Iterator<Item = &'static Rule> {
        ALL.iter().copied().filter(move |rule| rule.group == self)
    }
}

/// Changes a Pod in place, where the tree marks each change, and returns how many fields it set.
pub type Fill = for<'a> fn(&'a Profile, &mut Value<'a>) -> usize;

/// Reports each violation of one rule in a Pod.
pub type Check = fn(&Spec, &Pod, &mut Reporter);

/// Returns what a rule denies under the keys of one profile.
pub(crate) type Cel = fn(Keys) -> Vec<Statement>;

impl Rule {
    /// Adds the violations of this rule in `pod` to `violations`.
    pub fn check_into(&'static self, pod: &Pod, violations: &mut Violations) {
        (self.check)(&pod.profile.spec, pod, &mut Reporter::new(self, violations));
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Rule {}

impl Hash for Rule {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

/// The number of fields that one rule filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled {
    /// The rule that is violated.
    pub rule: &'static Rule,
    /// The number of fields that it set.
    pub fields: usize,
}

/// Every rule, in the order in which they fill and report.
///
/// Orders that matter (a test holds each of them):
///
/// - `pod-schema` reports first: it explains why other rules see nothing in a value of the wrong type.
/// - `runtime-class` and `host-users` fill before `run-as-non-root` and `run-as-user`: whether a container
///   may run as root depends on both.
/// - `token-volumes` fills before `empty-dir` and `writable-paths`, which look at the volumes and mounts that it
///   leaves.
/// - `empty-dir` fills before `writable-paths`, which adds volumes that have their limit already.
/// - `env` fills after `writable-paths`: HOME is not filled on a volume that containers share, so it looks at their
///   mounts.
/// - `resource-limits` fills last: its annotation is for the containers as every other rule leaves them.
pub static ALL: &[&Rule] = &[
    &schema::POD_SCHEMA,
    &metadata::LABELS,
    &metadata::FORBIDDEN_ANNOTATIONS,
    &metadata::MIRROR_POD,
    &runtime::RUNTIME_CLASS,
    &runtime::GVISOR_ANNOTATIONS,
    &placement::NODE_AFFINITY,
    &tolerations::TOLERATIONS,
    &placement::NODE_NAME,
    &placement::SCHEDULER,
    &placement::PRIORITY_CLASS,
    &anti_affinity::POD_ANTI_AFFINITY,
    &service_account::SERVICE_ACCOUNT,
    &token_volumes::TOKEN_VOLUMES,
    &lifecycle::RESTART_POLICY,
    &lifecycle::CONTAINER_RESTART_RULES,
    &lifecycle::ACTIVE_DEADLINE,
    &lifecycle::GRACE_PERIOD,
    &root::HOST_USERS,
    &root::RUN_AS_NON_ROOT,
    &users::RUN_AS_USER,
    &groups::RUN_AS_GROUP,
    &groups::FS_GROUP,
    &groups::SUPPLEMENTAL_GROUPS,
    &privileges::PRIVILEGED,
    &privileges::PRIVILEGE_ESCALATION,
    &privileges::CAPABILITIES,
    &privileges::READ_ONLY_ROOT,
    &confinement::SECCOMP,
    &confinement::APPARMOR,
    &confinement::SELINUX,
    &confinement::PROC_MOUNT,
    &confinement::SYSCTLS,
    &confinement::WINDOWS,
    &isolation::HOST_NAMESPACES,
    &isolation::SHARED_PROCESS_NAMESPACE,
    &isolation::HOST_PORTS,
    &isolation::PROBE_HOSTS,
    &isolation::DNS_POLICY,
    &isolation::TERMINATION_MESSAGE_PATH,
    &volume_types::VOLUME_TYPES,
    &empty_dir::EMPTY_DIR,
    &writable_paths::WRITABLE_PATHS,
    &mounts::SUB_PATHS,
    &mounts::VOLUME_DEVICES,
    &mounts::MOUNT_PROPAGATION,
    &secrets::SECRETS,
    &secrets::FILE_KEY_REF,
    &env::ENV,
    &resources::RESOURCE_KINDS,
    &resources::RESOURCE_CLAIMS,
    &resource_limits::RESOURCE_LIMITS,
    &resources::POD_BUDGET,
    &images::IMAGES,
];

/// The rule that reports a Pod that cannot be read.
pub static POD_SCHEMA: &Rule = &schema::POD_SCHEMA;

/// Reports the fields of a Pod's metadata that no rule knows: they are recorded, and deny nothing.
pub(crate) fn report_unknown_metadata(pod: &Value, sink: &mut dyn Sink) {
    schema::report_unknown_metadata(pod, sink);
}

/// The rule that every running Pod violates: the scheduler sets later what it denies on create.
pub static ONLY_ON_CREATE: &Rule = &placement::NODE_NAME;

/// The rule that the agents of a network break when they record their work in a running Pod: Multus, Calico and
/// OVN-Kubernetes write their annotations by an update of `pods/status`, which authors of Pods have no right to.
pub static WRITTEN_WITH_STATUS: &Rule = &metadata::FORBIDDEN_ANNOTATIONS;

/// The rule about the size of volumes, and not about what is in them.
pub(crate) static SIZE_OF_VOLUMES: &Rule = &empty_dir::EMPTY_DIR;

impl PolicySet {
    /// Reads the policies of `sources`. This stands beside the rules, since a policy names them by their ids.
    ///
    /// # Errors
    /// Returns all that is wrong with them, each with file, line and path.
    pub fn from_sources(sources: &[Source]) -> Result<Self, LoadErrors> {
        let ids: Vec<&str> = ALL.iter().map(|rule| rule.id).collect();
        policy::load(sources, &ids)
    }
}

/// Returns the rule with this id.
#[must_use]
pub fn by_id(id: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.id == id)
}

/// Returns the address of the page of the rule with this id, in a book at `book`.
#[must_use]
pub fn page(book: &str, id: &str) -> String {
    format!("{book}/docs/rules/{id}.html")
}

/// Fills what `pod` leaves open, and returns what each rule filled. A Pod of too many containers is left alone: it is
/// denied anyway, and filling it would make a small request large.
pub fn fill<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> Vec<Filled> {
    fill_some(profile, pod, |_| true)
}

/// Fills as [`fill`] does, but only by the rules for which `is_wanted` holds.
pub(crate) fn fill_some<'a>(
    profile: &'a Profile,
    pod: &mut Value<'a>,
    is_wanted: impl Fn(&Rule) -> bool,
) -> Vec<Filled> {
    if pod::containers(pod).take(bounds::MAX_CONTAINERS + 1).count() > bounds::MAX_CONTAINERS {
        return Vec::new();
    }
    let fills = ALL.iter().filter(|rule| is_wanted(rule)).filter_map(|rule| Some((*rule, rule.fill?)));
    let filled = fills.map(|(rule, fill)| Filled { rule, fields: fill(profile, pod) });
    filled.filter(|filled| filled.fields > 0).collect()
}

/// Returns every violation of `pod`.
#[must_use]
pub fn check(profile: &Profile, pod: &Value) -> Violations {
    let mut violations = Violations::default();
    check_into(profile, pod, &mut violations);
    violations
}

/// Reports every violation of `pod` to `sink`.
pub(crate) fn check_into(profile: &Profile, pod: &Value, sink: &mut dyn Sink) {
    let pod = Pod::of(pod, profile);
    for rule in ALL {
        (rule.check)(&profile.spec, &pod, &mut Reporter::new(rule, sink));
    }
}

#[cfg(test)]
mod message_tests;
#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use super::{testing::*, *};

    #[test]
    fn the_complete_pod_needs_nothing() {
        assert_eq!(violations(&complete_pod()), Vec::<String>::new());
        assert_eq!(filled(&complete_pod()), complete_pod());
    }

    #[test]
    fn the_plain_pod_violates_nothing_once_it_is_filled() {
        assert_eq!(violations(&filled(&plain_pod())), Vec::<String>::new());
    }

    #[test]
    fn filling_twice_is_filling_once() {
        let once = filled(&plain_pod());
        assert_eq!(filled(&once), once);
    }

    #[test]
    fn each_rule_reports_how_many_fields_it_filled() {
        let fields = |pod: &serde_json::Value| {
            let text = pod.to_string();
            let mut tree = crate::json::pod_from_str(&text).unwrap();
            let profile = Profile::default();
            let filled = fill(&profile, &mut tree);
            filled.iter().map(|filled| (filled.rule.id, filled.fields)).collect::<Vec<_>>()
        };
        let of_plain = [
            ("labels", 1),
            ("runtime-class", 1),
            ("node-affinity", 1),
            ("tolerations", 1),
            ("service-account", 1),
            ("token-volumes", 1),
            ("restart-policy", 1),
            ("active-deadline", 1),
            ("run-as-non-root", 1),
            ("run-as-user", 1),
            ("run-as-group", 1),
            ("fs-group", 1),
            ("privilege-escalation", 1),
            ("capabilities", 1),
            ("read-only-root", 1),
            ("seccomp", 1),
            ("writable-paths", 4),
            ("resource-limits", 6),
        ];
        assert_eq!(fields(&plain_pod()), of_plain);
        assert_eq!(fields(&complete_pod()), []);
        let mut pod = complete_pod_of_three();
        for container in pod["spec"]["containers"].as_array_mut().unwrap() {
            without(&mut container["securityContext"], "readOnlyRootFilesystem");
        }
        assert_eq!(fields(&pod), [("read-only-root", 2)]);
    }

    /// A fill that counts wrong would report what it did not do.
    #[test]
    fn a_rule_that_fills_nothing_changes_nothing() {
        let profile = Profile::default();
        for pod in [plain_pod(), complete_pod(), complete_pod_of_three()] {
            let text = pod.to_string();
            for rule in ALL {
                let Some(fill) = rule.fill else { continue };
                let mut tree = crate::json::pod_from_str(&text).unwrap();
                let fields = fill(&profile, &mut tree);
                let changed = serde_json::to_string(&tree).unwrap()
                    != serde_json::to_string(&crate::json::pod_from_str(&text).unwrap()).unwrap();
                assert_eq!(fields > 0, changed, "{}", rule.id);
            }
        }
    }

    #[test]
    fn rules_stand_in_an_order_that_their_fills_and_reports_need() {
        let position = |id: &str| ALL.iter().position(|rule| rule.id == id).unwrap();
        for (first, second) in [
            ("runtime-class", "run-as-non-root"),
            ("runtime-class", "run-as-user"),
            ("host-users", "run-as-non-root"),
            ("host-users", "run-as-user"),
            ("writable-paths", "env"),
            ("env", "resource-limits"),
            ("token-volumes", "empty-dir"),
            ("token-volumes", "writable-paths"),
            ("empty-dir", "writable-paths"),
        ] {
            assert!(position(first) < position(second), "{first} comes before {second}");
        }
        assert_eq!(ALL[0].id, "pod-schema");
        assert_eq!(ALL.iter().rfind(|rule| rule.fill.is_some()).unwrap().id, "resource-limits");
    }

    #[test]
    fn every_rule_has_an_id_of_its_own_and_a_reason() {
        for (index, rule) in ALL.iter().enumerate() {
            assert!(ALL[..index].iter().all(|other| other.id != rule.id), "{} stands twice", rule.id);
            assert!(rule.title.ends_with('.') && rule.why.len() > 40, "{} explains itself", rule.id);
        }
    }

    #[test]
    fn every_floor_rule_is_a_rule() {
        let unknown: Vec<&str> = policy::FLOOR_RULES.into_iter().filter(|id| by_id(id).is_none()).collect();
        assert!(unknown.is_empty(), "no rules: {unknown:?}");
    }

    /// A policy that has a rule without a statement cannot have a backstop.
    #[test]
    fn every_rule_is_stated_in_cel() {
        let unstated: Vec<&str> = ALL.iter().filter(|rule| rule.cel.is_none()).map(|rule| rule.id).collect();
        assert!(unstated.is_empty(), "rules without a statement in CEL: {unstated:?}");
    }

    #[test]
    fn every_rule_has_references() {
        let is_known = |reference: &str| {
            Framework::ALL.iter().any(|framework| framework.control(reference).is_some())
                || reference.starts_with("CVE-")
                || reference.starts_with("https://")
        };
        for rule in ALL {
            assert!(!rule.references.is_empty(), "{} has a reference", rule.id);
            assert!(rule.references.iter().copied().all(is_known), "{}: {:?}", rule.id, rule.references);
        }
    }

    #[test]
    fn every_group_has_rules_and_none_is_left_out() {
        assert!(Group::ALL.iter().all(|group| group.rules().next().is_some()));
        assert_eq!(Group::ALL.iter().map(|group| group.rules().count()).sum::<usize>(), ALL.len());
    }

    #[test]
    fn empty_object_is_denied_without_a_panic() {
        for text in ["null", "[]", "{}", r#"{"spec":[]}"#, r#"{"spec":{"containers":[null,1,{}]}}"#] {
            let pod = serde_json::from_str(text).unwrap();
            assert!(!violations(&filled(&pod)).is_empty(), "{text}");
        }
    }
}
