//! The apply configuration: everything of a Pod that is a scalar, a map, or a list of things with names.
//!
//! Only what is unset is named, so nothing that a person wrote is overwritten.

use super::resources;
use crate::{
    cel,
    policy::{FilledVolume, Policy, RestartPolicyValue, Spec},
    review::{HASH_ANNOTATION, POLICY_ANNOTATION},
};

const CONTROLLER: &str = "object.metadata.?ownerReferences.orValue([]).exists(w, w.?controller.orValue(false) && \
                          !(w.kind == 'Job' && w.apiVersion == 'batch/v1'))";

pub(super) fn configuration(policy: &Policy) -> String {
    let spec = &policy.base().spec;
    let mut fields = of_pod(spec);
    fields.push(format!("securityContext: {}", pod_security(spec)));
    if !spec.volumes.filled.is_empty() {
        fields.push(format!("volumes: {}", volumes(spec)));
    }
    for list in ["containers", "initContainers"] {
        fields.push(format!("{list}: {}", containers(spec, list)));
    }
    format!("Object{{metadata: {}, spec: Object.spec{{{}}}}}", metadata(policy, spec), fields.join(", "))
}

/// Returns an optional entry: `value` if `is_unset` holds.
fn where_unset(key: &str, is_unset: &str, value: &str) -> String {
    format!("?{key}: {is_unset} ? optional.of({value}) : optional.none()")
}

/// Returns an optional entry for a field of `object` that may be unset.
fn unset(object: &str, field: &str, value: &str) -> String {
    where_unset(field, &format!("!{object}.?{field}.hasValue()"), value)
}

fn metadata(policy: &Policy, spec: &Spec) -> String {
    let labels = spec.labels.required.iter().map(|(key, value)| {
        let key = cel::text(key);
        let is_unset = format!("!object.metadata.?labels[?{key}].hasValue()");
        where_unset(&key, &is_unset, &cel::text(value))
    });
    let labels: Vec<String> = labels.collect();
    let annotations = [(POLICY_ANNOTATION, &policy.name), (HASH_ANNOTATION, &policy.hash)];
    let annotations = annotations.map(|(key, value)| format!("{}: {}", cel::text(key), cel::text(value)));
    let labels =
        if labels.is_empty() { String::new() } else { format!("labels: {{{}}}, ", labels.join(", ")) };
    format!("Object.metadata{{{labels}annotations: {{{}}}}}", annotations.join(", "))
}

fn of_pod(spec: &Spec) -> Vec<String> {
    const POD: &str = "object.spec";
    let mut fields = vec![unset(POD, "runtimeClassName", &cel::text(&spec.runtime_class.default))];
    if let Some(account) = spec.service_account.default.as_ref().filter(|name| *name != "default") {
        let name = "(object.spec.?serviceAccountName.orValue('') != '' ? object.spec.serviceAccountName : \
                    object.spec.?serviceAccount.orValue(''))";
        fields.push(where_unset(
            "serviceAccountName",
            &format!("{name} in ['', 'default']"),
            &cel::text(account),
        ));
    }
    if !spec.service_account.automount_token {
        fields.push(unset(POD, "automountServiceAccountToken", "false"));
    }
    let restart = &spec.lifecycle.restart_policy;
    if !restart.allowed.contains(&RestartPolicyValue::Always) {
        let is_default =
            format!("(!({CONTROLLER}) && object.spec.?restartPolicy.orValue('Always') == 'Always')");
        fields.push(where_unset("restartPolicy", &is_default, &cel::text(restart.default.as_str())));
    }
    if let Some(seconds) = spec.lifecycle.active_deadline_seconds.default {
        fields.push(unset(POD, "activeDeadlineSeconds", &seconds.to_string()));
    }
    if let Some(max) = spec.lifecycle.termination_grace_period_seconds.max.filter(|max| *max < 30) {
        let is_default = "object.spec.?terminationGracePeriodSeconds.orValue(30) == 30";
        fields.push(where_unset("terminationGracePeriodSeconds", is_default, &max.to_string()));
    }
    if spec.security.host_users == Some(false) {
        fields.push(unset(POD, "hostUsers", "false"));
    }
    let schedulers = &spec.placement.scheduler_names;
    let first = schedulers.iter().find(|name| name.is_literal());
    if let Some(first) = first.filter(|_| !schedulers.allows("default-scheduler")) {
        let is_default = "object.spec.?schedulerName.orValue('default-scheduler') == 'default-scheduler'";
        fields.push(where_unset("schedulerName", is_default, &cel::text(first.as_str())));
    }
    fields
}

fn pod_security(spec: &Spec) -> String {
    const CONTEXT: &str = "object.spec.?securityContext";
    let security = &spec.security;
    let mut fields = vec![unset(CONTEXT, "runAsNonRoot", "true")];
    for (field, range) in [
        ("runAsUser", security.run_as_user),
        ("runAsGroup", security.run_as_group),
        ("fsGroup", security.fs_group),
    ] {
        fields.extend(range.default.map(|id| unset(CONTEXT, field, &id.to_string())));
    }
    if security.supplemental_groups_policy.is_some() {
        fields.push(unset(CONTEXT, "supplementalGroupsPolicy", "'Strict'"));
    }
    if let Some(profile) = security.seccomp_profiles.first() {
        let entries = match profile.split_once('/') {
            Some((kind, file)) => format!("type: {}, localhostProfile: {}", cel::text(kind), cel::text(file)),
            None => format!("type: {}", cel::text(profile)),
        };
        let value = format!("Object.spec.securityContext.seccompProfile{{{entries}}}");
        fields.push(unset(CONTEXT, "seccompProfile", &value));
    }
    format!("Object.spec.securityContext{{{}}}", fields.join(", "))
}

fn containers(spec: &Spec, list: &str) -> String {
    let of_type = format!("Object.spec.{list}");
    let mut security = vec![unset("c.?securityContext", "allowPrivilegeEscalation", "false")];
    if spec.security.read_only_root_filesystem {
        security.push(unset("c.?securityContext", "readOnlyRootFilesystem", "true"));
    }
    let mounts = spec.volumes.filled.iter().enumerate().map(|(number, volume)| {
        let sub_path = if volume.shared {
            String::new()
        } else {
            ", ?subPath: variables.containers.size() == 1 ? optional.none() : optional.of(c.name)".into()
        };
        format!(
            "({} && variables.volume_{number} != '' ? [{of_type}.volumeMounts{{name: variables.volume_{number}, \
             mountPath: {}{sub_path}}}] : [])",
            lacks(spec, volume),
            cel::text(volume.mount_path.as_str()),
        )
    });
    let mounts: Vec<String> = mounts.collect();
    let mounts =
        if mounts.is_empty() { String::new() } else { format!(", volumeMounts: {}", mounts.join(" + ")) };
    format!(
        "object.spec.?{list}.orValue([]).map(c, {of_type}{{name: c.name, \
         securityContext: {of_type}.securityContext{{{}}}{mounts}, \
         resources: {of_type}.resources{{limits: {}, requests: {}}}}})",
        security.join(", "),
        resources::entries("limits"),
        resources::entries("requests"),
    )
}

/// Returns the condition that the container `c` has a read-only root and no mount at the path of `volume`.
fn lacks(spec: &Spec, volume: &FilledVolume) -> String {
    let is_read_only = format!(
        "c.?securityContext.?readOnlyRootFilesystem.orValue({})",
        spec.security.read_only_root_filesystem
    );
    format!("({is_read_only} && !c.?volumeMounts.orValue([]).exists(m, {}))", is_at(volume))
}

/// Returns the condition that the mount `m` is at the path of `volume`.
fn is_at(volume: &FilledVolume) -> String {
    format!(
        "'/' + m.mountPath.split('/').filter(s, !(s in ['', '.'])).join('/') == {}",
        cel::text(volume.mount_path.as_str())
    )
}

fn volumes(spec: &Spec) -> String {
    let of_volume = spec.volumes.filled.iter().enumerate().map(|(number, volume)| {
        let name = format!("variables.volume_{number}");
        format!(
            "({name} != '' && !variables.volumes.exists(v, v.name == {name}) && variables.containers.exists(c, {}) ? \
             [Object.spec.volumes{{name: {name}, emptyDir: Object.spec.volumes.emptyDir{{sizeLimit: {}}}}}] : [])",
            lacks(spec, volume),
            cel::text(&volume.size_limit.text),
        )
    });
    of_volume.collect::<Vec<_>>().join(" + ")
}

/// Returns variables with the name under which each filled volume is mounted: that of the policy, another one if the Pod
/// has a volume of its own of that name, or none. A volume of an earlier round of admission is ours.
pub(super) fn volume_names(spec: &Spec) -> impl Iterator<Item = (String, String)> {
    spec.volumes.filled.iter().enumerate().map(|(number, volume)| {
        let sub_path = if volume.shared { "''" } else { "(variables.containers.size() == 1 ? '' : c.name)" };
        let candidate = |name: &str| {
            let name = cel::text(name);
            let is_ours = format!(
                "(v.?emptyDir.hasValue() && v.emptyDir.?medium.orValue('') == '' && \
                 v.emptyDir.?sizeLimit.hasValue() && \
                 quantity(v.emptyDir.sizeLimit).compareTo(quantity({})) == 0 && \
                 variables.containers.all(c, c.?volumeMounts.orValue([]).all(m, m.name != {name} || \
                 ({} && m.?subPath.orValue('') == {sub_path} && !m.?subPathExpr.hasValue()))))",
                cel::text(&volume.size_limit.text),
                is_at(volume),
            );
            (format!("variables.volumes.all(v, v.name != {name} || {is_ours})"), name)
        };
        let (is_first, first) = candidate(&volume.name);
        let second: String = format!("sandgate-{}", volume.name).chars().take(63).collect();
        let (is_second, second) = candidate(second.trim_end_matches('-'));
        let name = format!("{is_first} ? {first} : {is_second} ? {second} : ''");
        (format!("volume_{number}"), name)
    })
}
