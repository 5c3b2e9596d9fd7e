//! The user and groups that processes run as.

use super::{
    Group, Rule,
    helpers::{Expected, SECURITY_CONTEXT, check_inherited},
};
use crate::{
    json::Value,
    pod::{Pod, spec_mut},
    policy::{IdRange, Spec},
    violations::{Reporter, show},
};

/// Fills a field of `spec.securityContext`, which containers inherit.
fn fill_of_pod<'a>(pod: &mut Value<'a>, field: &'static str, value: impl Into<Value<'a>>) -> usize {
    let security = spec_mut(pod).and_then(|pod| pod.object_mut("securityContext"));
    security.is_some_and(|security| security.set_default(field, value)).into()
}

/// Fills a user or group id of `spec.securityContext`, if the policy has a default for it.
fn fill_id(pod: &mut Value, field: &'static str, range: IdRange) -> usize {
    range.default.map_or(0, |id| fill_of_pod(pod, field, i64::from(id)))
}

pub(super) static RUN_AS_NON_ROOT: Rule = Rule {
    id: "run-as-non-root",
    group: Group::Users,
    title: "No container runs as root.",
    why: "With runAsNonRoot the kubelet does not start a container whose image would run as uid 0. It is filled for \
          the Pod; a container that sets false is denied. hostUsers: false does not relax this rule.",
    references: &[
        "Pod Security Standards, Restricted: Running as Non-root",
        "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/",
    ],
    setting: "",
    fill: Some(|_, pod| fill_of_pod(pod, "runAsNonRoot", true)),
    check: check_run_as_non_root,
};

fn check_run_as_non_root(_: &Spec, pod: &Pod, out: &mut Reporter) {
    let wanted = Expected { field: "runAsNonRoot", wanted: &true, remedy: &"set it to true or leave it out" };
    check_inherited(pod, &wanted, out, |value| value.as_bool() == Some(true));
}

pub(super) static RUN_AS_USER: Rule = Rule {
    id: "run-as-user",
    group: Group::Users,
    title: "Every container runs as an allowed user id.",
    why: "The user of an image is chosen by its author. The id is filled for the Pod if unset; an id that a \
          container sets must be in the policy's range.",
    references: &[
        "Pod Security Standards, Restricted: Running as Non-root user",
        "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/",
    ],
    setting: "spec.security.runAsUser",
    fill: Some(|profile, pod| fill_id(pod, "runAsUser", profile.spec.security.run_as_user)),
    check: |spec, pod, out| check_id("runAsUser", spec.security.run_as_user, pod, out),
};

pub(super) static RUN_AS_GROUP: Rule = Rule {
    id: "run-as-group",
    group: Group::Users,
    title: "Every container runs as an allowed group id.",
    why: "Without runAsGroup the primary group is the image's, often root's. It is filled for the Pod if unset.",
    references: &["https://kubernetes.io/docs/tasks/configure-pod-container/security-context/"],
    setting: "spec.security.runAsGroup",
    fill: Some(|profile, pod| fill_id(pod, "runAsGroup", profile.spec.security.run_as_group)),
    check: |spec, pod, out| check_id("runAsGroup", spec.security.run_as_group, pod, out),
};

fn check_id(field: &'static str, range: IdRange, pod: &Pod, out: &mut Reporter) {
    let remedy = format_args!("set it to {range} or leave it out");
    let wanted = Expected { field, wanted: &range, remedy: &remedy };
    check_inherited(pod, &wanted, out, |value| value.as_i64().is_some_and(|id| range.contains(id)));
}

pub(super) static FS_GROUP: Rule = Rule {
    id: "fs-group",
    group: Group::Users,
    title: "Volumes belong to an allowed group.",
    why: "The kubelet changes the group of volumes to fsGroup; without it the writable paths belong to root and the \
          Pod cannot write to them. It is filled if unset.",
    references: &["https://kubernetes.io/docs/tasks/configure-pod-container/security-context/"],
    setting: "spec.security.fsGroup",
    fill: Some(|profile, pod| fill_id(pod, "fsGroup", profile.spec.security.fs_group)),
    check: check_fs_group,
};

fn check_fs_group(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let range = spec.security.fs_group;
    let found = pod.security.get("fsGroup");
    if !found.and_then(Value::as_i64).is_some_and(|id| range.contains(id)) {
        let remedy = format!("set it to {range} or leave it out");
        out.report(SECURITY_CONTEXT.child("fsGroup"), show(found), range, remedy);
    }
}

pub(super) static SUPPLEMENTAL_GROUPS: Rule = Rule {
    id: "supplemental-groups",
    group: Group::Users,
    title: "supplementalGroups are in the fsGroup range.",
    why: "A supplemental group such as 0 or docker's opens files and sockets that the user may not open.",
    references: &["https://kubernetes.io/docs/tasks/configure-pod-container/security-context/"],
    setting: "spec.security.fsGroup",
    fill: None,
    check: check_supplemental_groups,
};

fn check_supplemental_groups(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let range = spec.security.fs_group;
    for (index, group) in pod.security.list("supplementalGroups") {
        if !group.as_i64().is_some_and(|id| range.contains(id)) {
            let groups = SECURITY_CONTEXT.child("supplementalGroups");
            out.report(groups.index(index), show(Some(group)), range, "remove this group");
        }
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
