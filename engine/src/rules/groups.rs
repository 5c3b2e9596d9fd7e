//! The groups that processes run as and that own volumes.

use std::fmt;

use super::{
    Group, Rule,
    helpers::SECURITY_CONTEXT,
    inherited::{cel_inherited, check_inherited, fill_inherited, fill_of_pod},
    injected::{is_filled_by_openshift, remedy},
    users::{cel_in_range, id_remedy},
};
use crate::{
    cel::{self, Keys, Statement},
    json::Value,
    pod::Pod,
    policy::{Profile, Spec, SupplementalGroupsPolicy},
    violations::{Reporter, show},
};

pub(super) static RUN_AS_GROUP: Rule = Rule {
    id: "run-as-group",
    group: Group::Users,
    title: "Every container runs as an allowed group id.",
    why: "Without runAsGroup the primary group is the image's, often root's. The policy's default is filled for the \
          Pod if unset. Without a default the group must be written, unless group 0 is in the range.",
    references: &[
        "NSA/CISA Kubernetes Hardening Guide 1.2, Non-root containers and rootless container engines",
        "NIST SP 800-190, 4.4.3: Insecure container runtime configurations",
        "Kubescape, C-0013: Non-root containers",
        "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/",
    ],
    setting: "spec.security.runAsGroup",
    fill: Some(fill_run_as_group),
    check: check_run_as_group,
    cel: Some(cel_run_as_group),
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

fn cel_run_as_group(keys: Keys) -> Vec<Statement> {
    let fits = |spec: &Spec, value: &str| {
        let range = spec.security.run_as_group;
        let unset = range.default.is_none() && range.contains(0);
        format!("({value}.hasValue() ? {} : {unset})", cel_in_range(range, &format!("{value}.orValue(-1)")))
    };
    cel_inherited(keys, "runAsGroup", fits, cel::shown_value)
}

pub(super) static FS_GROUP: Rule = Rule {
    id: "fs-group",
    group: Group::Users,
    title: "Volumes belong to an allowed group.",
    why: "The kubelet changes the group of volumes to fsGroup; without it the writable paths belong to root and the \
          Pod cannot write to them. The policy's default is filled if unset; without a default it may stay unset.",
    references: &[
        "NIST SP 800-190, 4.4.3: Insecure container runtime configurations",
        "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/",
    ],
    setting: "spec.security.fsGroup",
    fill: Some(fill_fs_group),
    check: check_fs_group,
    cel: Some(cel_fs_group),
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

fn cel_fs_group(keys: Keys) -> Vec<Statement> {
    let range = keys.spec.security.fs_group;
    let field = "v.o.?spec.?securityContext.?fsGroup";
    let fits = format!(
        "({field}.hasValue() ? {} : {})",
        cel_in_range(range, &format!("{field}.orValue(-1)")),
        range.default.is_none()
    );
    vec![Statement::pod(cel::not(&fits), "spec.securityContext.fsGroup", &cel::shown_value(field))]
}

pub(super) static SUPPLEMENTAL_GROUPS: Rule = Rule {
    id: "supplemental-groups",
    group: Group::Users,
    title: "supplementalGroups are in the fsGroup range, and supplementalGroupsPolicy is the policy's.",
    why: "A supplemental group such as 0 or docker's opens files and sockets that the user may not open. The image's \
          /etc/group adds such groups too unless supplementalGroupsPolicy is Strict, which a policy can demand; it \
          is then filled if unset.",
    references: &[
        "NIST SP 800-190, 4.4.3: Insecure container runtime configurations",
        "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/",
    ],
    setting: "spec.security.supplementalGroupsPolicy",
    fill: Some(fill_supplemental_groups_policy),
    check: check_supplemental_groups,
    cel: Some(cel_supplemental_groups),
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

fn cel_supplemental_groups(keys: Keys) -> Vec<Statement> {
    let range = keys.spec.security.fs_group;
    let groups = "v.o.?spec.?securityContext.?supplementalGroups.orValue([])";
    let misfit = format!("!{}", cel_in_range(range, "g"));
    let mut checks = vec![Statement::pod(
        format!("{groups}.exists(g, {misfit})"),
        "spec.securityContext.supplementalGroups",
        &format!("{groups}.filter(g, {misfit}).map(g, string(g)).join(', ')"),
    )];
    if let Some(SupplementalGroupsPolicy::Strict) = keys.spec.security.supplemental_groups_policy {
        let field = "v.o.?spec.?securityContext.?supplementalGroupsPolicy";
        let path = "spec.securityContext.supplementalGroupsPolicy";
        checks.push(Statement::pod(format!("{field}.orValue('') != 'Strict'"), path, &cel::shown(field)));
    }
    checks
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;

    const POD_GROUP: &str = "run-as-group spec.securityContext.runAsGroup";

    const NONE: [&str; 0] = [];

    fn security(pod: &mut Json) -> &mut Json {
        &mut pod["spec"]["securityContext"]
    }

    #[test]
    fn group_may_be_the_images_if_group_0_is_allowed() {
        let from = |min: u32| {
            spec(&format!("{{security: {{runAsGroup: {{default: null, min: {min}, max: 1000}}}}}}"))
        };
        assert_eq!(violations_once_filled(&from(0), |_| {}), NONE);
        assert_eq!(
            violations_once_filled(&from(0), |pod| security(pod)["runAsGroup"] = json!(1001)),
            [POD_GROUP]
        );
        assert_eq!(violations_once_filled(&from(1), |_| {}), [POD_GROUP]);
    }

    #[test]
    fn group_with_a_default_is_to_be_set() {
        let spec = spec("{security: {runAsGroup: {default: 0, min: 0, max: 0}}}");
        let mut pod = complete_pod();
        without(security(&mut pod), "runAsGroup");
        assert_eq!(violations_of(&spec, &pod), [POD_GROUP]);
        assert_eq!(violations_of(&spec, &filled_by(&spec, &pod)), NONE);
    }

    #[test]
    fn fs_group_without_a_default_stays_unset_or_in_the_range() {
        let spec = spec("{security: {fsGroup: {default: null, min: 100, max: 200}}}");
        let path = "fs-group spec.securityContext.fsGroup";
        assert_eq!(violations_once_filled(&spec, |_| {}), NONE);
        assert_eq!(violations_once_filled(&spec, |pod| security(pod)["fsGroup"] = json!(200)), NONE);
        for group in [json!(0), json!(201), json!(-1)] {
            assert_eq!(violations_once_filled(&spec, |pod| security(pod)["fsGroup"] = group), [path]);
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
        assert_eq!(violations_once_filled(&strict, |_| {}), NONE);
        assert_eq!(violations_of(&strict, &complete_pod()), [path]);
        rejects_under(&strict, path, |pod| security(pod)["supplementalGroupsPolicy"] = json!("Merge"));
        accepts_under(&strict, |pod| security(pod)["supplementalGroupsPolicy"] = json!("Strict"));
        for value in [json!("Merge"), json!("Strict"), json!(null)] {
            accepts(|pod| security(pod)["supplementalGroupsPolicy"] = value);
        }
    }
}
