//! The user and groups that processes run as, and where root is allowed.

use std::fmt;

use super::{
    Group, Rule,
    helpers::SECURITY_CONTEXT,
    inherited::{check_inherited, fill_inherited, fill_of_pod},
};
use crate::{
    json::{Object, Value},
    path::SPEC,
    pod::{self, Pod, spec_mut},
    policy::{IdRange, Profile, Spec, SupplementalGroupsPolicy},
    violations::{Reporter, show},
};

/// What of a Pod decides where root is allowed.
#[derive(Clone, Copy)]
struct RootFacts<'p> {
    /// The runtime class of the Pod, if the policy allows it.
    runtime_class: Option<&'p str>,
    has_user_namespace: bool,
}

impl<'p> RootFacts<'p> {
    fn of(profile: &'p Profile, pod: &Object) -> Self {
        let class = pod.str("runtimeClassName");
        let allowed = profile.spec.runtime_class.allowed.iter().map(String::as_str);
        Self {
            runtime_class: allowed.into_iter().find(|allowed| Some(*allowed) == class),
            has_user_namespace: pod.bool("hostUsers") == Some(false),
        }
    }

    /// Returns true if a container with these keys may run as user id 0 in the Pod.
    fn allow_root(self, spec: &Spec) -> bool {
        let root = &spec.security.root;
        root.runtime_classes.iter().any(|class| Some(class.as_str()) == self.runtime_class)
            && (!root.user_namespace || self.has_user_namespace)
    }
}

pub(super) static HOST_USERS: Rule = Rule {
    id: "host-users",
    group: Group::Users,
    title: "The Pod has a user namespace of its own if the policy demands one.",
    why: "With hostUsers: false the ids of the Pod are ids without rights on the node, root included. A policy can \
          demand it of nodes that have user namespaces; it is then filled if unset.",
    references: &["https://kubernetes.io/docs/concepts/workloads/pods/user-namespaces/"],
    setting: "spec.security.hostUsers",
    fill: Some(fill_host_users),
    check: check_host_users,
};

fn fill_host_users<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    if profile.spec.security.host_users != Some(false) {
        return 0;
    }
    spec_mut(pod).is_some_and(|pod| pod.set_default("hostUsers", false)).into()
}

fn check_host_users(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let found = pod.spec.get("hostUsers");
    if spec.security.host_users == Some(false) && found.and_then(Value::as_bool) != Some(false) {
        let remedy = "set it to false or leave it out on create (policy key security.hostUsers)";
        out.report(SPEC.child("hostUsers"), show(found), false, remedy);
    }
}

pub(super) static RUN_AS_NON_ROOT: Rule = Rule {
    id: "run-as-non-root",
    group: Group::Users,
    title: "No container runs as root unless the policy allows root under the Pod's runtime class.",
    why: "With runAsNonRoot the kubelet does not start a container whose image would run as uid 0. It is filled for \
          the Pod; a container that sets false is denied. Where security.root allows root, the field is neither \
          filled nor demanded. hostUsers: false alone does not relax this rule.",
    references: &[
        "Pod Security Standards, Restricted: Running as Non-root",
        "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/",
    ],
    setting: "spec.security.root",
    fill: Some(fill_run_as_non_root),
    check: check_run_as_non_root,
};

const RUN_AS_NON_ROOT_FIELD: &str = "runAsNonRoot";

fn is_non_root(facts: RootFacts, spec: &Spec, value: Option<&Value>) -> bool {
    value.and_then(Value::as_bool) == Some(true) || facts.allow_root(spec)
}

fn fill_run_as_non_root<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let facts = RootFacts::of(profile, pod::spec(pod));
    let wanted = |spec: &Spec| (!facts.allow_root(spec)).then_some(true);
    fill_inherited(profile, pod, RUN_AS_NON_ROOT_FIELD, wanted, |spec, value| is_non_root(facts, spec, value))
}

fn check_run_as_non_root(_: &Spec, pod: &Pod, out: &mut Reporter) {
    let facts = RootFacts::of(pod.profile, pod.spec);
    let fits = |spec: &Spec, value: Option<&Value>| is_non_root(facts, spec, value);
    check_inherited(pod, RUN_AS_NON_ROOT_FIELD, fits, |path, found, _| {
        out.report(
            path,
            show(found),
            true,
            "set it to true or leave it out on create (policy key security.root)",
        );
    });
}

pub(super) static RUN_AS_USER: Rule = Rule {
    id: "run-as-user",
    group: Group::Users,
    title: "Every container runs as an allowed user id.",
    why: "The user of an image is chosen by its author. The policy's default is filled for the Pod if unset; an id \
          that is set must be in the policy's range, or 0 where security.root allows root. Without a default the id \
          must be written, unless root or every other id is allowed.",
    references: &[
        "Pod Security Standards, Restricted: Running as Non-root user",
        "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/",
    ],
    setting: "spec.security.runAsUser",
    fill: Some(fill_run_as_user),
    check: check_run_as_user,
};

const RUN_AS_USER_FIELD: &str = "runAsUser";

fn is_allowed_user(facts: RootFacts, spec: &Spec, value: Option<&Value>) -> bool {
    let range = spec.security.run_as_user;
    match value {
        None => range.contains_all_but_root() || facts.allow_root(spec),
        Some(value) => {
            value.as_i64().is_some_and(|id| range.contains(id) || (id == 0 && facts.allow_root(spec)))
        }
    }
}

fn fill_run_as_user<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let facts = RootFacts::of(profile, pod::spec(pod));
    let wanted = |spec: &Spec| spec.security.run_as_user.default.map(i64::from);
    fill_inherited(profile, pod, RUN_AS_USER_FIELD, wanted, |spec, value| is_allowed_user(facts, spec, value))
}

fn check_run_as_user(_: &Spec, pod: &Pod, out: &mut Reporter) {
    let facts = RootFacts::of(pod.profile, pod.spec);
    let fits = |spec: &Spec, value: Option<&Value>| is_allowed_user(facts, spec, value);
    check_inherited(pod, RUN_AS_USER_FIELD, fits, |path, found, spec| {
        let wanted = fmt::from_fn(|f| {
            let root = if facts.allow_root(spec) { "0 or " } else { "" };
            write!(f, "{root}{}", spec.security.run_as_user)
        });
        let is_root = found.and_then(Value::as_i64) == Some(0);
        out.report(path, show(found), wanted, user_remedy(spec, is_root));
    });
}

fn user_remedy(spec: &Spec, is_root: bool) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        let (range, root) = (spec.security.run_as_user, &spec.security.root);
        write!(f, "{}", id_remedy(range))?;
        if is_root && root.is_allowed() {
            write!(f, ", or use runtimeClassName {} for root", root.runtime_classes.join(" or "))?;
            if root.user_namespace {
                f.write_str(" with hostUsers: false")?;
            }
        }
        let key = if is_root { "root" } else { "runAsUser" };
        write!(f, " (policy key security.{key})")
    })
}

/// Leaving the field out helps only if the policy has a default for it.
fn id_remedy(range: IdRange) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        write!(f, "set it to {range}")?;
        if range.default.is_some() { f.write_str(" or leave it out on create") } else { Ok(()) }
    })
}

pub(super) static RUN_AS_GROUP: Rule = Rule {
    id: "run-as-group",
    group: Group::Users,
    title: "Every container runs as an allowed group id.",
    why: "Without runAsGroup the primary group is the image's, often root's. The policy's default is filled for the \
          Pod if unset. Without a default the group must be written, unless group 0 is in the range.",
    references: &["https://kubernetes.io/docs/tasks/configure-pod-container/security-context/"],
    setting: "spec.security.runAsGroup",
    fill: Some(fill_run_as_group),
    check: check_run_as_group,
};

const RUN_AS_GROUP_FIELD: &str = "runAsGroup";

/// An unset group is the one that the image gives its user, which is 0 unless the image has an entry for it.
fn is_allowed_group(spec: &Spec, value: Option<&Value>) -> bool {
    let range = spec.security.run_as_group;
    match value {
        None => range.default.is_none() && range.contains(0),
        Some(value) => value.as_i64().is_some_and(|id| range.contains(id)),
    }
}

fn fill_run_as_group<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let wanted = |spec: &Spec| spec.security.run_as_group.default.map(i64::from);
    fill_inherited(profile, pod, RUN_AS_GROUP_FIELD, wanted, is_allowed_group)
}

fn check_run_as_group(_: &Spec, pod: &Pod, out: &mut Reporter) {
    check_inherited(pod, RUN_AS_GROUP_FIELD, is_allowed_group, |path, found, spec| {
        let range = spec.security.run_as_group;
        let remedy = format_args!("{} (policy key security.runAsGroup)", id_remedy(range));
        out.report(path, show(found), range, remedy);
    });
}

pub(super) static FS_GROUP: Rule = Rule {
    id: "fs-group",
    group: Group::Users,
    title: "Volumes belong to an allowed group.",
    why: "The kubelet changes the group of volumes to fsGroup; without it the writable paths belong to root and the \
          Pod cannot write to them. The policy's default is filled if unset; without a default it may stay unset.",
    references: &["https://kubernetes.io/docs/tasks/configure-pod-container/security-context/"],
    setting: "spec.security.fsGroup",
    fill: Some(fill_fs_group),
    check: check_fs_group,
};

fn fill_fs_group<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let default = profile.spec.security.fs_group.default;
    default.is_some_and(|id| fill_of_pod(pod, "fsGroup", i64::from(id))).into()
}

fn check_fs_group(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let range = spec.security.fs_group;
    let found = pod.security.get("fsGroup");
    let fits = match found {
        None => range.default.is_none(),
        Some(value) => value.as_i64().is_some_and(|id| range.contains(id)),
    };
    if !fits {
        let remedy =
            format_args!("set it to {range} or leave it out on create (policy key security.fsGroup)");
        out.report(SECURITY_CONTEXT.child("fsGroup"), show(found), range, remedy);
    }
}

pub(super) static SUPPLEMENTAL_GROUPS: Rule = Rule {
    id: "supplemental-groups",
    group: Group::Users,
    title: "supplementalGroups are in the fsGroup range, and supplementalGroupsPolicy is the policy's.",
    why: "A supplemental group such as 0 or docker's opens files and sockets that the user may not open. The image's \
          /etc/group adds such groups too unless supplementalGroupsPolicy is Strict, which a policy can demand; it \
          is then filled if unset.",
    references: &["https://kubernetes.io/docs/tasks/configure-pod-container/security-context/"],
    setting: "spec.security.supplementalGroupsPolicy",
    fill: Some(fill_supplemental_groups_policy),
    check: check_supplemental_groups,
};

const GROUPS_POLICY: &str = "supplementalGroupsPolicy";

fn fill_supplemental_groups_policy<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let policy = profile.spec.security.supplemental_groups_policy;
    policy.is_some_and(|policy| fill_of_pod(pod, GROUPS_POLICY, policy_text(policy))).into()
}

fn check_supplemental_groups(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let range = spec.security.fs_group;
    for (index, group) in pod.security.list("supplementalGroups") {
        if !group.as_i64().is_some_and(|id| range.contains(id)) {
            let groups = SECURITY_CONTEXT.child("supplementalGroups");
            let remedy = "remove this group (policy key security.fsGroup)";
            out.report(groups.index(index), show(Some(group)), range, remedy);
        }
    }
    let Some(wanted) = spec.security.supplemental_groups_policy.map(policy_text) else { return };
    let found = pod.security.get(GROUPS_POLICY);
    if found.and_then(Value::as_str) != Some(wanted) {
        let remedy = format_args!(
            "set it to {wanted} or leave it out on create (policy key security.supplementalGroupsPolicy)"
        );
        out.report(SECURITY_CONTEXT.child(GROUPS_POLICY), show(found), wanted, remedy);
    }
}

/// Returns the word of the Pod API.
fn policy_text(policy: SupplementalGroupsPolicy) -> &'static str {
    match policy {
        SupplementalGroupsPolicy::Strict => "Strict",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::*;
    use crate::policy::{IdRange, Spec};

    #[test]
    fn the_pods_ids_are_filled() {
        let pod = filled(&plain_pod());
        for (field, value) in [
            ("runAsNonRoot", json!(true)),
            ("runAsUser", json!(1000)),
            ("runAsGroup", json!(1000)),
            ("fsGroup", json!(1000)),
        ] {
            assert_eq!(pod["spec"]["securityContext"][field], value, "{field}");
        }
    }

    #[test]
    fn what_is_unset_is_reported_for_the_pod_once() {
        for (rule, field) in [
            ("run-as-non-root", "runAsNonRoot"),
            ("run-as-user", "runAsUser"),
            ("run-as-group", "runAsGroup"),
            ("fs-group", "fsGroup"),
        ] {
            fills(&format!("{rule} spec.securityContext.{field}"), |pod| {
                without(&mut pod["spec"]["securityContext"], field)
            });
        }
    }

    #[test]
    fn root_is_refused_for_the_pod_and_for_a_container() {
        rejects("run-as-non-root spec.securityContext.runAsNonRoot", |pod| {
            pod["spec"]["securityContext"]["runAsNonRoot"] = json!(false)
        });
        rejects("run-as-non-root spec.containers[0].securityContext.runAsNonRoot", |pod| {
            pod["spec"]["containers"][0]["securityContext"]["runAsNonRoot"] = json!(false);
        });
        for (rule, field) in [("run-as-user", "runAsUser"), ("run-as-group", "runAsGroup")] {
            for id in [json!(0), json!(999), json!(1001), json!(-1), json!(4_294_968_296_u64)] {
                rejects(&format!("{rule} spec.securityContext.{field}"), |pod| {
                    pod["spec"]["securityContext"][field] = id.clone()
                });
                rejects(&format!("{rule} spec.containers[0].securityContext.{field}"), |pod| {
                    pod["spec"]["containers"][0]["securityContext"][field] = id.clone();
                });
            }
        }
    }

    #[test]
    fn an_ephemeral_container_is_held_to_the_same_ids() {
        let mut pod = complete_pod();
        let mut debugger = pod["spec"]["containers"][0].clone();
        without(&mut debugger, "resources");
        pod["spec"]["ephemeralContainers"] = json!([debugger]);
        assert_eq!(violations(&pod), Vec::<String>::new());
        pod["spec"]["ephemeralContainers"][0]["securityContext"]["runAsUser"] = json!(0);
        assert_eq!(violations(&pod), ["run-as-user spec.ephemeralContainers[0].securityContext.runAsUser"]);
    }

    #[test]
    fn a_range_admits_its_ends_and_nothing_beyond() {
        let mut spec = Spec::default();
        spec.security.run_as_user = IdRange { default: Some(1000), min: 1000, max: 2000 };
        accepts_under(&spec, |pod| pod["spec"]["securityContext"]["runAsUser"] = json!(2000));
        rejects_under(&spec, "run-as-user spec.securityContext.runAsUser", |pod| {
            pod["spec"]["securityContext"]["runAsUser"] = json!(2001)
        });
    }

    #[test]
    fn groups_outside_the_range_are_refused() {
        rejects("fs-group spec.securityContext.fsGroup", |pod| {
            pod["spec"]["securityContext"]["fsGroup"] = json!(0)
        });
        rejects("supplemental-groups spec.securityContext.supplementalGroups[1]", |pod| {
            pod["spec"]["securityContext"]["supplementalGroups"] = json!([1000, 0]);
        });
        accepts(|pod| pod["spec"]["securityContext"]["supplementalGroups"] = json!([1000]));
    }
}
