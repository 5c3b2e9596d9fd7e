//! The user and groups that processes run as, and where root is allowed.

use std::{cell::LazyCell, fmt};

use super::{
    Group, Rule,
    helpers::SECURITY_CONTEXT,
    inherited::{check_inherited, fill_inherited, fill_of_pod},
    injected::{is_filled_by_openshift, remedy},
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
    check_inherited(pod, RUN_AS_NON_ROOT_FIELD, fits, |path, found, _, container| {
        let own = "set it to true or leave it out on create (policy key security.root)";
        out.report(path, show(found), true, remedy(container, own));
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
    let is_filled_by_openshift = LazyCell::new(|| is_filled_by_openshift(pod));
    check_inherited(pod, RUN_AS_USER_FIELD, fits, |path, found, spec, container| {
        let wanted = fmt::from_fn(|f| {
            let root = if facts.allow_root(spec) { "0 or " } else { "" };
            write!(f, "{root}{}", spec.security.run_as_user)
        });
        let is_root = found.and_then(Value::as_i64) == Some(0);
        let own = fmt::from_fn(|f| match found {
            Some(_) if !is_root && *is_filled_by_openshift => {
                f.write_str("OpenShift sets it: allow it (policy key security.runAsUser)")
            }
            _ => write!(f, "{}", user_remedy(spec, is_root)),
        });
        out.report(path, show(found), wanted, remedy(container, own));
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
    check_inherited(pod, RUN_AS_GROUP_FIELD, is_allowed_group, |path, found, spec, container| {
        let range = spec.security.run_as_group;
        let own = format_args!("{} (policy key security.runAsGroup)", id_remedy(range));
        out.report(path, show(found), range, remedy(container, own));
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
    if fits {
        return;
    }
    let remedy = fmt::from_fn(|f| {
        if found.is_some() && is_filled_by_openshift(pod) {
            f.write_str("OpenShift sets it: allow it")?;
        } else {
            write!(f, "set it to {range} or leave it out on create")?;
        }
        f.write_str(" (policy key security.fsGroup)")
    });
    out.report(SECURITY_CONTEXT.child("fsGroup"), show(found), range, remedy);
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
    use serde_json::{Value as Json, json};

    use super::super::testing::*;
    use crate::policy::{Policy, Spec};

    const POD_USER: &str = "run-as-user spec.securityContext.runAsUser";
    const POD_GROUP: &str = "run-as-group spec.securityContext.runAsGroup";
    const POD_NON_ROOT: &str = "run-as-non-root spec.securityContext.runAsNonRoot";
    const MAIN_USER: &str = "run-as-user spec.containers[0].securityContext.runAsUser";
    const NONE: [&str; 0] = [];

    fn security(pod: &mut Json) -> &mut Json {
        &mut pod["spec"]["securityContext"]
    }

    fn main_security(pod: &mut Json) -> &mut Json {
        &mut pod["spec"]["containers"][0]["securityContext"]
    }

    /// The violations of the plain Pod, changed so, after the fill of `spec`.
    fn filled_violations(spec: &Spec, change: impl FnOnce(&mut Json)) -> Vec<String> {
        let mut pod = plain_pod();
        pod["spec"]["securityContext"] = json!({});
        pod["spec"]["containers"][0]["securityContext"] = json!({});
        change(&mut pod);
        violations_of(spec, &filled_by(spec, &pod))
    }

    #[test]
    fn ids_of_the_pod_are_filled() {
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
            let path = format!("{rule} spec.securityContext.{field}");
            fills(&path, |pod| without(security(pod), field));
            fills(&path, |pod| security(pod)[field] = json!(null));
        }
    }

    #[test]
    fn root_is_denied_for_the_pod_and_for_a_container() {
        rejects(POD_NON_ROOT, |pod| security(pod)["runAsNonRoot"] = json!(false));
        rejects("run-as-non-root spec.containers[0].securityContext.runAsNonRoot", |pod| {
            main_security(pod)["runAsNonRoot"] = json!(false);
        });
        for (rule, field) in [("run-as-user", "runAsUser"), ("run-as-group", "runAsGroup")] {
            for id in [json!(0), json!(999), json!(1001), json!(-1), json!(4_294_968_296_u64)] {
                rejects(&format!("{rule} spec.securityContext.{field}"), |pod| {
                    security(pod)[field] = id.clone();
                });
                rejects(&format!("{rule} spec.containers[0].securityContext.{field}"), |pod| {
                    main_security(pod)[field] = id.clone();
                });
            }
        }
    }

    #[test]
    fn value_of_the_pod_that_no_container_inherits_is_denied() {
        rejects(POD_USER, |pod| {
            security(pod)["runAsUser"] = json!(0);
            main_security(pod)["runAsUser"] = json!(1000);
        });
        accepts(|pod| {
            without(security(pod), "runAsGroup");
            security(pod)["runAsGroup"] = json!(1000);
            main_security(pod)["runAsGroup"] = json!(1000);
        });
    }

    #[test]
    fn ephemeral_container_is_held_to_the_same_ids() {
        let mut pod = complete_pod();
        let mut debugger = pod["spec"]["containers"][0].clone();
        without(&mut debugger, "resources");
        pod["spec"]["ephemeralContainers"] = json!([debugger]);
        assert_eq!(violations(&pod), NONE);
        pod["spec"]["ephemeralContainers"][0]["securityContext"]["runAsUser"] = json!(0);
        assert_eq!(violations(&pod), ["run-as-user spec.ephemeralContainers[0].securityContext.runAsUser"]);
    }

    #[test]
    fn range_admits_its_ends_and_nothing_beyond() {
        let spec = spec(
            "{security: {runAsUser: {default: 1000, min: 1000, max: 2000}, runAsGroup: {default: 0, min: 0, max: 5}}}",
        );
        for (user, group, expected) in [
            (1000, 0, vec![]),
            (2000, 5, vec![]),
            (999, 0, vec![POD_USER]),
            (2001, 0, vec![POD_USER]),
            (1000, 6, vec![POD_GROUP]),
        ] {
            let violations = filled_violations(&spec, |pod| {
                *security(pod) = json!({"runAsUser": user, "runAsGroup": group});
            });
            assert_eq!(violations, expected, "{user}:{group}");
        }
    }

    #[test]
    fn user_without_a_default_is_to_be_written() {
        let spec = spec("{security: {runAsUser: {default: null, min: 1000, max: 2000}}}");
        assert_eq!(filled_violations(&spec, |_| {}), [POD_USER]);
        assert_eq!(filled_violations(&spec, |pod| security(pod)["runAsUser"] = json!(1500)), NONE);
        assert_eq!(filled_violations(&spec, |pod| main_security(pod)["runAsUser"] = json!(1500)), NONE);
        assert_eq!(filled_violations(&spec, |pod| security(pod)["runAsUser"] = json!(0)), [POD_USER]);
        assert_eq!(filled_by(&spec, &plain_pod())["spec"]["securityContext"]["runAsUser"], Json::Null);
    }

    #[test]
    fn user_may_be_the_images_if_every_id_but_root_is_allowed() {
        let any = spec("{security: {runAsUser: {default: null, min: 1, max: 2147483647}}}");
        assert_eq!(filled_violations(&any, |_| {}), NONE);
        assert_eq!(filled_violations(&any, |pod| main_security(pod)["runAsUser"] = json!(1)), NONE);
        assert_eq!(filled_violations(&any, |pod| main_security(pod)["runAsUser"] = json!(0)), [MAIN_USER]);
        assert_eq!(filled_by(&any, &plain_pod())["spec"]["securityContext"]["runAsNonRoot"], json!(true));
        for range in ["min: 2, max: 2147483647", "min: 1, max: 2147483646"] {
            let most = spec(&format!("{{security: {{runAsUser: {{default: null, {range}}}}}}}"));
            assert_eq!(filled_violations(&most, |_| {}), [POD_USER], "{range}");
        }
    }

    #[test]
    fn group_may_be_the_images_if_group_0_is_allowed() {
        let from = |min: u32| {
            spec(&format!("{{security: {{runAsGroup: {{default: null, min: {min}, max: 1000}}}}}}"))
        };
        assert_eq!(filled_violations(&from(0), |_| {}), NONE);
        assert_eq!(filled_violations(&from(0), |pod| security(pod)["runAsGroup"] = json!(1001)), [POD_GROUP]);
        assert_eq!(filled_violations(&from(1), |_| {}), [POD_GROUP]);
    }

    #[test]
    fn fs_group_without_a_default_stays_unset_or_in_the_range() {
        let spec = spec("{security: {fsGroup: {default: null, min: 100, max: 200}}}");
        let path = "fs-group spec.securityContext.fsGroup";
        assert_eq!(filled_violations(&spec, |_| {}), NONE);
        assert_eq!(filled_violations(&spec, |pod| security(pod)["fsGroup"] = json!(200)), NONE);
        for group in [json!(0), json!(201), json!(-1)] {
            assert_eq!(filled_violations(&spec, |pod| security(pod)["fsGroup"] = group), [path]);
        }
    }

    #[test]
    fn groups_outside_the_range_are_denied() {
        rejects("fs-group spec.securityContext.fsGroup", |pod| security(pod)["fsGroup"] = json!(0));
        rejects("supplemental-groups spec.securityContext.supplementalGroups[1]", |pod| {
            security(pod)["supplementalGroups"] = json!([1000, 0]);
        });
        accepts(|pod| security(pod)["supplementalGroups"] = json!([1000]));
    }

    #[test]
    fn strict_supplemental_groups_are_filled_and_demanded_if_the_policy_has_them() {
        let strict = spec("{security: {supplementalGroupsPolicy: Strict}}");
        let path = "supplemental-groups spec.securityContext.supplementalGroupsPolicy";
        assert_eq!(filled_violations(&strict, |_| {}), NONE);
        assert_eq!(violations_of(&strict, &complete_pod()), [path]);
        rejects_under(&strict, path, |pod| security(pod)["supplementalGroupsPolicy"] = json!("Merge"));
        accepts_under(&strict, |pod| security(pod)["supplementalGroupsPolicy"] = json!("Strict"));
        for value in [json!("Merge"), json!("Strict"), json!(null)] {
            accepts(|pod| security(pod)["supplementalGroupsPolicy"] = value);
        }
    }

    #[test]
    fn user_namespace_is_filled_and_demanded_if_the_policy_has_it() {
        let isolated = spec("{security: {hostUsers: false}}");
        assert_eq!(filled_by(&isolated, &plain_pod())["spec"]["hostUsers"], json!(false));
        assert_eq!(violations_of(&isolated, &complete_pod()), ["host-users spec.hostUsers"]);
        rejects_under(&isolated, "host-users spec.hostUsers", |pod| pod["spec"]["hostUsers"] = json!(true));
        accepts_under(&isolated, |pod| pod["spec"]["hostUsers"] = json!(false));
        for value in [json!(true), json!(false), json!(null)] {
            accepts(|pod| pod["spec"]["hostUsers"] = value);
        }
    }

    #[test]
    fn user_namespace_alone_allows_no_root() {
        let isolated = spec("{security: {hostUsers: false}}");
        assert_eq!(
            filled_violations(&isolated, |pod| main_security(pod)["runAsUser"] = json!(0)),
            [MAIN_USER]
        );
    }

    const ROOT: &str = "runAsUser: {default: null, min: 1000, max: 1000}, root: {runtimeClasses: [gvisor]}";

    #[test]
    fn root_is_allowed_under_its_runtime_class() {
        let spec = spec(&format!("{{security: {{{ROOT}}}}}"));
        let pod = filled_by(&spec, &plain_pod());
        assert_eq!(violations_of(&spec, &pod), NONE);
        for field in ["runAsNonRoot", "runAsUser"] {
            assert_eq!(pod["spec"]["securityContext"][field], Json::Null, "{field}");
        }
        for id in [0, 1000] {
            assert_eq!(
                filled_violations(&spec, |pod| main_security(pod)["runAsUser"] = json!(id)),
                NONE,
                "{id}"
            );
        }
        for value in [json!(true), json!(false), json!(null)] {
            assert_eq!(filled_violations(&spec, |pod| security(pod)["runAsNonRoot"] = value), NONE);
        }
    }

    #[test]
    fn root_changes_nothing_but_the_user() {
        let spec = spec(&format!("{{security: {{{ROOT}}}}}"));
        for id in [500, 1001] {
            let violations = filled_violations(&spec, |pod| main_security(pod)["runAsUser"] = json!(id));
            assert_eq!(violations, [MAIN_USER], "{id}");
        }
        for (path, field, value) in [
            ("run-as-group spec.containers[0].securityContext.runAsGroup", "runAsGroup", json!(0)),
            (
                "privilege-escalation spec.containers[0].securityContext.allowPrivilegeEscalation",
                "allowPrivilegeEscalation",
                json!(true),
            ),
            ("privileged spec.containers[0].securityContext.privileged", "privileged", json!(true)),
            (
                "capabilities spec.containers[0].securityContext.capabilities.add[0]",
                "capabilities",
                json!({"add": ["SYS_ADMIN"]}),
            ),
        ] {
            assert_eq!(filled_violations(&spec, |pod| main_security(pod)[field] = value), [path]);
        }
        let fs_group = "fs-group spec.securityContext.fsGroup";
        assert_eq!(filled_violations(&spec, |pod| security(pod)["fsGroup"] = json!(0)), [fs_group]);
    }

    #[test]
    fn root_is_denied_under_another_runtime_class() {
        let spec = spec(
            "{runtimeClass: {allowed: [gvisor, kata]}, security: {runAsUser: {default: null, min: 1000, max: 1000}, \
             root: {runtimeClasses: [kata]}}}",
        );
        let root_in = |class: Json| {
            filled_violations(&spec, |pod| {
                pod["spec"]["runtimeClassName"] = class;
                main_security(pod)["runAsUser"] = json!(0);
            })
        };
        assert_eq!(root_in(json!("kata")), NONE);
        assert_eq!(root_in(json!("gvisor")), [MAIN_USER]);
        assert_eq!(root_in(json!(null)), [MAIN_USER]);
        assert_eq!(filled_violations(&spec, |_| {}), [POD_USER]);
        let denied = ["runtime-class spec.runtimeClassName", MAIN_USER];
        assert_eq!(root_in(json!("runc")), denied);
    }

    #[test]
    fn root_needs_a_user_namespace_if_the_policy_demands_it() {
        let spec = spec(
            "{security: {runAsUser: {default: null, min: 1000, max: 1000}, \
             root: {runtimeClasses: [gvisor], userNamespace: true}}}",
        );
        let root_with = |host_users: Json| {
            filled_violations(&spec, |pod| {
                pod["spec"]["hostUsers"] = host_users;
                main_security(pod)["runAsUser"] = json!(0);
            })
        };
        assert_eq!(root_with(json!(false)), NONE);
        assert_eq!(root_with(json!(true)), [MAIN_USER]);
        assert_eq!(root_with(json!(null)), [MAIN_USER]);
    }

    #[test]
    fn user_namespace_that_is_filled_counts_for_root() {
        let spec = spec(
            "{security: {hostUsers: false, runAsUser: {default: null, min: 1000, max: 1000}, \
             root: {runtimeClasses: [gvisor], userNamespace: true}}}",
        );
        let pod = filled_by(&spec, &plain_pod());
        assert_eq!(violations_of(&spec, &pod), NONE);
        assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], Json::Null);
    }

    #[test]
    fn message_says_how_root_is_allowed() {
        let mut pod = complete_pod();
        main_security(&mut pod)["runAsUser"] = json!(0);
        let line = "spec.containers[0].securityContext.runAsUser is 0, must be 1000: set it to 1000 or leave it out on create";
        assert_eq!(
            lines_of(&Spec::default(), &pod),
            [format!("{line} (policy key security.root) (run-as-user)")]
        );
        let isolated = spec("{security: {root: {runtimeClasses: [gvisor], userNamespace: true}}}");
        assert_eq!(
            lines_of(&isolated, &pod),
            [format!(
                "{line}, or use runtimeClassName gvisor for root with hostUsers: false (policy key security.root) (run-as-user)"
            )]
        );
    }

    fn with_agent(security: &str) -> Policy {
        policy(&format!(
            "{{containers: [{{name: agent, match: {{images: [ghcr.io/example/agent]}}, spec: {{security: {{{security}}}}}}}]}}"
        ))
    }

    /// A Pod of `main`, the excepted `second` and `init`, without ids.
    fn pod_with_agent() -> Json {
        let mut pod = complete_pod_of_three();
        pod["spec"]["containers"][1]["image"] = json!("ghcr.io/example/agent:1");
        for field in ["runAsNonRoot", "runAsUser", "runAsGroup"] {
            without(security(&mut pod), field);
        }
        pod
    }

    /// The value of a field of the Pod, of `init`, `main` and the excepted `second`.
    fn values(pod: &Json, field: &str) -> [Json; 4] {
        ["/spec", "/spec/initContainers/0", "/spec/containers/0", "/spec/containers/1"]
            .map(|place| pod.pointer(place).unwrap()["securityContext"][field].clone())
    }

    const OTHER_USER: &str = "runAsUser: {default: 8737, min: 8737, max: 8737}";

    #[test]
    fn container_of_an_exception_gets_an_id_of_its_own() {
        let policy = with_agent(OTHER_USER);
        let pod = filled_under(policy.base(), &pod_with_agent());
        assert_eq!(values(&pod, "runAsUser"), [json!(1000), json!(null), json!(null), json!(8737)]);
        assert_eq!(values(&pod, "runAsGroup"), [json!(1000), json!(null), json!(null), json!(null)]);
        assert_eq!(violations_under(policy.base(), &pod), NONE);
        assert_eq!(filled_under(policy.base(), &pod), pod, "filling twice is filling once");
    }

    #[test]
    fn container_of_an_exception_gets_its_id_beside_one_of_the_pod() {
        let policy = with_agent(OTHER_USER);
        let mut pod = pod_with_agent();
        security(&mut pod)["runAsUser"] = json!(1000);
        let pod = filled_under(policy.base(), &pod);
        assert_eq!(values(&pod, "runAsUser"), [json!(1000), json!(null), json!(null), json!(8737)]);
        assert_eq!(violations_under(policy.base(), &pod), NONE);
    }

    #[test]
    fn id_of_the_pod_that_an_exception_allows_is_inherited() {
        let policy = with_agent("runAsUser: {default: 8737, min: 1000, max: 8737}");
        let mut pod = pod_with_agent();
        security(&mut pod)["runAsUser"] = json!(1000);
        let pod = filled_under(policy.base(), &pod);
        assert_eq!(values(&pod, "runAsUser"), [json!(1000), json!(null), json!(null), json!(null)]);
        assert_eq!(violations_under(policy.base(), &pod), NONE);
    }

    #[test]
    fn exception_holds_for_its_containers_alone() {
        let policy = with_agent(OTHER_USER);
        let violations_with = |pod_user: Json, users: [Json; 3]| {
            let mut pod = pod_with_agent();
            security(&mut pod)["runAsUser"] = pod_user;
            let places = ["/spec/initContainers/0", "/spec/containers/0", "/spec/containers/1"];
            for (place, user) in places.iter().zip(users) {
                pod.pointer_mut(place).unwrap()["securityContext"]["runAsUser"] = user;
            }
            violations_under(policy.base(), &filled_under(policy.base(), &pod))
        };
        let (own, other, open, root) = (json!(1000), json!(8737), json!(null), json!(0));
        let second = "run-as-user spec.containers[1].securityContext.runAsUser";
        assert_eq!(violations_with(open.clone(), [open.clone(), other.clone(), open.clone()]), [MAIN_USER]);
        assert_eq!(violations_with(open.clone(), [open.clone(), open.clone(), own.clone()]), [second]);
        assert_eq!(violations_with(open.clone(), [open.clone(), open.clone(), root.clone()]), [second]);
        assert_eq!(violations_with(other.clone(), [own.clone(), own.clone(), open.clone()]), NONE);
        assert_eq!(violations_with(other.clone(), [open.clone(), own.clone(), open.clone()]), [POD_USER]);
        assert_eq!(violations_with(other.clone(), [own.clone(), own.clone(), other]), [POD_USER]);
        assert_eq!(violations_with(root, [own.clone(), own, open]), [POD_USER]);
    }

    #[test]
    fn ephemeral_container_gets_no_exception() {
        let policy = with_agent(OTHER_USER);
        let mut pod = filled_under(policy.base(), &pod_with_agent());
        let mut debugger = pod["spec"]["containers"][1].clone();
        without(&mut debugger, "resources");
        pod["spec"]["ephemeralContainers"] = json!([debugger]);
        let path = "run-as-user spec.ephemeralContainers[0].securityContext.runAsUser";
        assert_eq!(violations_under(policy.base(), &pod), [path]);
    }

    #[test]
    fn root_of_an_exception_leaves_the_pod_open_and_fills_the_other_containers() {
        let policy = with_agent(ROOT);
        let pod = filled_under(policy.base(), &pod_with_agent());
        assert_eq!(values(&pod, "runAsUser"), [json!(null), json!(1000), json!(1000), json!(null)]);
        assert_eq!(values(&pod, "runAsNonRoot"), [json!(null), json!(true), json!(true), json!(null)]);
        assert_eq!(violations_under(policy.base(), &pod), NONE);
        assert_eq!(filled_under(policy.base(), &pod), pod, "filling twice is filling once");
        let mut debugged = pod.clone();
        debugged["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "ghcr.io/example/agent:1"}]);
        let violations = violations_under(policy.base(), &debugged);
        assert!(
            violations.contains(&POD_NON_ROOT.into()) && violations.contains(&POD_USER.into()),
            "{violations:?}"
        );
    }

    #[test]
    fn root_of_an_exception_holds_for_its_containers_alone() {
        let policy = with_agent(ROOT);
        let mut pod = pod_with_agent();
        pod["spec"]["containers"][1]["securityContext"]["runAsUser"] = json!(0);
        assert_eq!(violations_under(policy.base(), &filled_under(policy.base(), &pod)), NONE);
        main_security(&mut pod)["runAsUser"] = json!(0);
        assert_eq!(violations_under(policy.base(), &filled_under(policy.base(), &pod)), [MAIN_USER]);
    }

    #[test]
    fn profile_has_ids_of_its_own() {
        let policy = policy(
            "{profiles: [{name: worker, match: {labels: {role: worker}}, spec: {security: \
             {runAsUser: {default: 50000, min: 50000, max: 50000}, fsGroup: {default: 0, min: 0, max: 0}}}}]}",
        );
        let worker = &policy.profiles()[0];
        let pod = filled_under(worker, &plain_pod());
        assert_eq!(pod["spec"]["securityContext"]["runAsUser"], json!(50000));
        assert_eq!(pod["spec"]["securityContext"]["fsGroup"], json!(0));
        assert_eq!(violations_under(worker, &pod), NONE);
        let under_base = violations_under(policy.base(), &pod);
        assert_eq!(under_base, [POD_USER, "fs-group spec.securityContext.fsGroup"]);
    }
}
