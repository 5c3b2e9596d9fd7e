//! The rules, each in its room: what it fills, what it checks, why, and its tests.
//!
//! A new rule is a `Rule` in the file where a reader would look for it, and a line in [`ALL`].

mod anti_affinity;
mod confinement;
mod identity;
mod images;
mod isolation;
mod lifecycle;
mod metadata;
mod placement;
mod privileges;
mod resource_limits;
mod resources;
mod runtime;
mod secrets;
mod shape;
mod users;
mod volumes;

use std::fmt;

use crate::{
    json::Value,
    pod::Pod,
    policy::Spec,
    verdict::{Violations, show},
};

/// One property of the policy.
#[derive(Debug)]
pub struct Rule {
    /// Its id, as it stands in messages, metrics and audit records.
    pub id: &'static str,
    /// What must hold, in one line.
    pub title: &'static str,
    /// Why, and what is done about a Pod that leaves it open.
    pub why: &'static str,
    /// The part of the policy that sets it; empty where it is not to be set.
    pub setting: &'static str,
    /// Fills what the Pod leaves open; never overwrites what a person wrote.
    pub fill: Option<Fill>,
    /// Reports what contradicts the policy.
    pub check: Check,
}

/// Changes a Pod in place, where the tree remembers what was changed; says how many fields it set.
pub type Fill = for<'a> fn(&'a Spec, &mut Value<'a>) -> usize;

/// What one rule filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled {
    /// The rule's place in [`ALL`].
    pub rule: usize,
    /// How many fields it set.
    pub fields: usize,
}

/// Looks at a Pod and reports violations.
pub type Check = fn(&Spec, &Pod, &mut Violations);

/// Every rule, in the order in which they fill and report.
pub static ALL: &[&Rule] = &[
    &shape::POD_SHAPE,
    &metadata::LABELS,
    &metadata::MIRROR_POD,
    &runtime::RUNTIME_CLASS,
    &runtime::GVISOR_ANNOTATIONS,
    &placement::NODE_AFFINITY,
    &placement::TOLERATIONS,
    &placement::NODE_NAME,
    &placement::SCHEDULER,
    &placement::PRIORITY_CLASS,
    &anti_affinity::POD_ANTI_AFFINITY,
    &identity::SERVICE_ACCOUNT,
    &identity::TOKEN_VOLUMES,
    &lifecycle::RESTART_POLICY,
    &lifecycle::CONTAINER_RESTART_RULES,
    &lifecycle::ACTIVE_DEADLINE,
    &lifecycle::GRACE_PERIOD,
    &users::RUN_AS_NON_ROOT,
    &users::RUN_AS_USER,
    &users::RUN_AS_GROUP,
    &users::FS_GROUP,
    &users::SUPPLEMENTAL_GROUPS,
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
    &volumes::VOLUME_TYPES,
    &volumes::EMPTY_DIR,
    &volumes::WRITABLE_PATHS,
    &volumes::SUB_PATHS,
    &volumes::VOLUME_DEVICES,
    &volumes::MOUNT_PROPAGATION,
    &secrets::SECRETS,
    &secrets::FILE_KEY_REF,
    &resources::RESOURCE_KINDS,
    &resources::RESOURCE_CLAIMS,
    &resource_limits::RESOURCE_LIMITS,
    &resources::POD_BUDGET,
    &images::IMAGES,
];

/// What it forbids on create, the scheduler does later: every Pod that runs violates it.
pub static ONLY_ON_CREATE: &Rule = &placement::NODE_NAME;

/// The rule with this id.
#[must_use]
pub fn by_id(id: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.id == id)
}

/// Fills what `pod` leaves open, and says which rules did so. A Pod of too many containers is left alone: it is refused
/// anyway, and filling it would make a small request large.
pub fn fill<'a>(spec: &'a Spec, pod: &mut Value<'a>) -> Vec<Filled> {
    if Pod::of(pod).containers.len() > shape::MOST_CONTAINERS {
        return Vec::new();
    }
    let fills = ALL.iter().enumerate().filter_map(|(rule, it)| Some((rule, it.fill?)));
    let filled = fills.map(|(rule, fill)| Filled { rule, fields: fill(spec, pod) });
    filled.filter(|filled| filled.fields > 0).collect()
}

/// Every violation of `pod`.
#[must_use]
pub fn check(spec: &Spec, pod: &Value) -> Violations {
    let pod = Pod::of(pod);
    let mut violations = Violations::default();
    for rule in ALL {
        violations.begin(rule.id);
        (rule.check)(spec, &pod, &mut violations);
    }
    violations
}

/// What a rule wants of a security context field that containers inherit from the Pod.
struct Wanted<'w> {
    field: &'static str,
    text: &'w dyn fmt::Display,
    remedy: &'w dyn fmt::Display,
}

/// Words of which any will do; joined only when somebody reads them.
struct AnyOf<'w>(&'w [String]);

impl fmt::Display for AnyOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0.join(" or "))
    }
}

/// Checks the effective value of an inherited security context field: the Pod's where a container has none.
/// Where neither has one, the Pod's is reported, once.
fn check_inherited(pod: &Pod, wanted: &Wanted, out: &mut Violations, fits: impl Fn(&Value) -> bool) {
    let Wanted { field, text, remedy } = wanted;
    let of_pod = pod.security.get(field);
    let inherits = || pod.containers.iter().any(|container| container.security.get(field).is_none());
    if of_pod.is_some_and(|value| !fits(value)) || (of_pod.is_none() && inherits()) {
        out.report(format!("spec.securityContext.{field}"), show(of_pod), text, remedy);
    }
    for container in &pod.containers {
        let own = container.security.get(field);
        if own.is_some_and(|value| !fits(value)) {
            out.report(container.at(&format!("securityContext.{field}")), show(own), text, remedy);
        }
    }
}

#[cfg(test)]
mod said;
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
    fn each_rule_says_how_many_fields_it_filled() {
        let fields = |pod: &serde_json::Value| {
            let text = pod.to_string();
            let mut tree = crate::json::pod_from_str(&text).unwrap();
            let spec = Spec::default();
            let filled = fill(&spec, &mut tree);
            filled.iter().map(|filled| (ALL[filled.rule].id, filled.fields)).collect::<Vec<_>>()
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

    /// A fill that counts wrong would tell of what it did not do.
    #[test]
    fn a_rule_that_fills_nothing_changes_nothing() {
        let spec = Spec::default();
        for pod in [plain_pod(), complete_pod(), complete_pod_of_three()] {
            let text = pod.to_string();
            for rule in ALL {
                let Some(fill) = rule.fill else { continue };
                let mut tree = crate::json::pod_from_str(&text).unwrap();
                let fields = fill(&spec, &mut tree);
                let changed = serde_json::to_string(&tree).unwrap()
                    != serde_json::to_string(&crate::json::pod_from_str(&text).unwrap()).unwrap();
                assert_eq!(fields > 0, changed, "{}", rule.id);
            }
        }
    }

    #[test]
    fn every_rule_has_an_id_of_its_own_and_says_why() {
        for (index, rule) in ALL.iter().enumerate() {
            assert!(ALL[..index].iter().all(|other| other.id != rule.id), "{} stands twice", rule.id);
            assert!(!rule.title.is_empty() && rule.why.len() > 40, "{} explains itself", rule.id);
        }
    }

    #[test]
    fn an_empty_object_is_refused_without_a_panic() {
        for text in ["null", "[]", "{}", r#"{"spec":[]}"#, r#"{"spec":{"containers":[null,1,{}]}}"#] {
            let pod = serde_json::from_str(text).unwrap();
            assert!(!violations(&filled(&pod)).is_empty(), "{text}");
        }
    }
}
