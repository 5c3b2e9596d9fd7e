//! Kernel mechanisms that confine a process: seccomp, `AppArmor`, `SELinux`, /proc, sysctls; and Windows, which has none.

use std::{cell::LazyCell, fmt};

use super::{
    Group, Rule,
    helpers::{AnyOf, SECURITY_CONTEXT},
    inherited::{cel_inherited, check_inherited, fill_of_pod},
    injected::is_filled_by_openshift,
};
use crate::{
    cel::{self, Keys, Statement},
    json::{Object, Value},
    path::{ANNOTATIONS, LazyPath, SPEC},
    pod::Pod,
    policy::{Profile, Spec},
    violations::{Reporter, show},
};

/// Calls `check` with `field` of the security contexts of the Pod and of its containers where it is set, and its path.
fn each_security_context(pod: &Pod, field: &str, mut check: impl FnMut(LazyPath, &Value)) {
    if let Some(value) = pod.security.get(field) {
        check(SECURITY_CONTEXT.child(field), value);
    }
    for container in &pod.containers {
        if let Some(value) = container.security.get(field) {
            check(container.at("securityContext").child(field), value);
        }
    }
}

/// Reports annotations under one of `prefixes` whose value is not one of `admitted`.
fn check_annotations(pod: &Pod, prefixes: &[&str], admitted: &[&str], out: &mut Reporter) {
    for (key, value) in
        pod.annotations.iter().filter(|(key, _)| prefixes.iter().any(|prefix| key.starts_with(prefix)))
    {
        if !value.as_str().is_some_and(|value| admitted.contains(&value)) {
            out.report(
                ANNOTATIONS.key(key),
                show(Some(value)),
                "absent",
                "remove the annotation, use the securityContext field",
            );
        }
    }
}

pub(super) static SECCOMP: Rule = Rule {
    id: "seccomp",
    group: Group::Confinement,
    title: "Every container runs under an allowed seccomp profile.",
    why: "Seccomp limits the system calls that reach the kernel. The policy's first profile is filled for the Pod \
          if none is set. The legacy annotations, which old clusters obey, must not contradict it.",
    references: &[
        "Pod Security Standards, Baseline: Seccomp",
        "Pod Security Standards, Restricted: Seccomp",
        "CIS Kubernetes Benchmark 1.12, 5.6.2: Ensure that the seccomp profile is set to docker/default in your Pod definitions",
        "NSA/CISA Kubernetes Hardening Guide 1.2, Hardening container environments",
        "NIST SP 800-190, 4.4.3: Insecure container runtime configurations",
        "Kubescape, C-0055: Linux hardening",
        "https://kubernetes.io/docs/tutorials/security/seccomp/",
    ],
    setting: "spec.security.seccompProfiles",
    fill: Some(fill_seccomp),
    check: check_seccomp,
    cel: Some(cel_seccomp),
};

fn fill_seccomp<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let Some(first) = profile.spec.security.seccomp_profiles.first() else { return 0 };
    let object = match first.split_once('/') {
        Some((kind, file)) => Object::from([("type", kind), ("localhostProfile", file)]),
        None => Object::from([("type", first.as_str())]),
    };
    fill_of_pod(pod, "seccompProfile", object).into()
}

fn check_seccomp(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let allowed = &spec.security.seccomp_profiles;
    // No exception can set the key: what holds for the Pod holds for every container.
    let fits = |_: &Spec, profile: Option<&Value>| {
        profile.and_then(Value::as_object).is_some_and(|profile| is_allowed(profile, allowed))
    };
    check_inherited(pod, "seccompProfile", fits, |path, found, _, _| {
        let remedy = fmt::from_fn(|f| {
            if let Some(first) = allowed.first() {
                write!(f, "set it to {} or ", profile_text(first))?;
            }
            f.write_str("leave it out on create (policy key security.seccompProfiles)")
        });
        out.report(path, show(found), AnyOf(allowed), remedy);
    });
    let prefixes =
        ["seccomp.security.alpha.kubernetes.io/", "container.seccomp.security.alpha.kubernetes.io/"];
    check_annotations(pod, &prefixes, &["runtime/default"], out);
}

/// The profile as it is written in a Pod.
fn profile_text(profile: &str) -> String {
    match profile.split_once('/') {
        Some((kind, file)) => format!("{{type: {kind}, localhostProfile: {file:?}}}"),
        None => format!("{{type: {profile}}}"),
    }
}

fn is_allowed(profile: &Object, allowed: &[String]) -> bool {
    let kind = profile.str("type").unwrap_or_default();
    let file = profile.str("localhostProfile");
    allowed.iter().any(|allowed| match allowed.split_once('/') {
        Some((allowed_kind, allowed_file)) => kind == allowed_kind && file == Some(allowed_file),
        None => kind == allowed && file.is_none(),
    })
}

/// Returns the check of annotations under one of `prefixes` whose value is not `admitted`.
fn cel_legacy_annotations(prefixes: &[&str], admitted: &str) -> Statement {
    let prefixes = cel::any(prefixes.iter().map(|prefix| format!("k.startsWith({})", cel::text(prefix))));
    Statement::annotation(format!("{prefixes} && v.ann[k] != {}", cel::text(admitted)))
}

fn cel_seccomp(keys: Keys) -> Vec<Statement> {
    let allowed = &keys.spec.security.seccomp_profiles;
    let fits = |_: &Spec, value: &str| {
        cel::any(allowed.iter().map(|allowed| {
            let (kind, file) = allowed.split_once('/').unwrap_or((allowed, ""));
            format!(
                "({value}.?type.orValue('') == {} && {value}.?localhostProfile.orValue('') == {})",
                cel::text(kind),
                cel::text(file)
            )
        }))
    };
    let shown = |value: &str| {
        format!("strings.quote({value}.?type.orValue('unset') + ' ' + {value}.?localhostProfile.orValue(''))")
    };
    let mut checks = cel_inherited(keys, "seccompProfile", fits, shown);
    let prefixes =
        ["seccomp.security.alpha.kubernetes.io/", "container.seccomp.security.alpha.kubernetes.io/"];
    checks.push(cel_legacy_annotations(&prefixes, "runtime/default"));
    checks
}

pub(super) static APPARMOR: Rule = Rule {
    id: "apparmor",
    group: Group::Confinement,
    title: "Every container keeps the runtime's AppArmor profile.",
    why: "Unconfined switches AppArmor off and Localhost names any profile of the node. The API server copies the \
          legacy annotation into the field after this webhook has seen the Pod, so both are checked.",
    references: &[
        "Pod Security Standards, Baseline: AppArmor",
        "CIS Kubernetes Benchmark 1.12, 5.6.3: Apply SecurityContext to your Pods and Containers",
        "NSA/CISA Kubernetes Hardening Guide 1.2, Hardening container environments",
        "NIST SP 800-190, 4.4.3: Insecure container runtime configurations",
        "Kubescape, C-0055: Linux hardening",
    ],
    setting: "",
    fill: None,
    check: check_apparmor,
    cel: Some(cel_apparmor),
};

fn check_apparmor(_: &Spec, pod: &Pod, out: &mut Reporter) {
    each_security_context(pod, "appArmorProfile", |path, profile| {
        let kind = profile.as_object().and_then(|profile| profile.get("type"));
        if kind.and_then(Value::as_str) != Some("RuntimeDefault") {
            out.report(path.child("type"), show(kind), "RuntimeDefault", "remove appArmorProfile");
        }
    });
    check_annotations(pod, &["container.apparmor.security.beta.kubernetes.io/"], &["runtime/default"], out);
}

/// Returns the checks of a field of the security contexts of the Pod and of each container where it is set. `denied`
/// returns the condition for the optional value.
fn cel_each_security_context(
    field: &str,
    denied: impl Fn(&str) -> String,
    shown: impl Fn(&str) -> String,
) -> [Statement; 2] {
    let (of_pod, own) =
        (format!("v.o.?spec.?securityContext.?{field}"), format!("c.o.?securityContext.?{field}"));
    let condition = |value: &str| format!("{value}.hasValue() && {}", denied(value));
    [
        Statement::pod(condition(&of_pod), &format!("spec.securityContext.{field}"), &shown(&of_pod)),
        Statement::container(condition(&own), &format!("securityContext.{field}"), &shown(&own)),
    ]
}

fn cel_apparmor(_: Keys) -> Vec<Statement> {
    let denied = |value: &str| format!("{value}.?type.orValue('') != 'RuntimeDefault'");
    let shown = |value: &str| cel::shown(&format!("{value}.?type"));
    let mut checks = cel_each_security_context("appArmorProfile", denied, shown).to_vec();
    checks.push(cel_legacy_annotations(
        &["container.apparmor.security.beta.kubernetes.io/"],
        "runtime/default",
    ));
    checks
}

pub(super) static SELINUX: Rule = Rule {
    id: "selinux",
    group: Group::Confinement,
    title: "No SELinux label is set, except a level where the policy allows it.",
    why: "A type such as spc_t, a user or a role removes the confinement. The runtime chooses the label; the Pod must \
          not. OpenShift gives the Pods of each project a level of their own, which a policy can allow.",
    references: &[
        "Pod Security Standards, Baseline: SELinux",
        "CIS Kubernetes Benchmark 1.12, 5.6.3: Apply SecurityContext to your Pods and Containers",
        "NSA/CISA Kubernetes Hardening Guide 1.2, Hardening container environments",
        "NIST SP 800-190, 4.4.3: Insecure container runtime configurations",
        "Kubescape, C-0055: Linux hardening",
    ],
    setting: "spec.security.seLinuxLevel",
    fill: None,
    check: check_selinux,
    cel: Some(cel_selinux),
};

fn check_selinux(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let is_filled_by_openshift = LazyCell::new(|| is_filled_by_openshift(pod));
    each_security_context(pod, "seLinuxOptions", |path, options| {
        for (key, value) in options.as_object().into_iter().flat_map(Object::iter) {
            let is_level = key == "level";
            if value.as_str() == Some("") || (is_level && spec.security.se_linux_level) {
                continue;
            }
            let remedy = match (is_level, *is_filled_by_openshift) {
                (true, true) => "OpenShift sets it: allow it (policy key security.seLinuxLevel)",
                (true, false) => "remove the level (policy key security.seLinuxLevel)",
                (false, _) => "remove it from seLinuxOptions",
            };
            out.report(path.child(key), show(Some(value)), "unset", remedy);
        }
    });
}

fn cel_selinux(keys: Keys) -> Vec<Statement> {
    let level = if keys.spec.security.se_linux_level { " && f != 'level'" } else { "" };
    let set = move |value: &str| format!("dyn({value}.value()).filter(f, {value}.value()[f] != ''{level})");
    let denied = move |value: &str| format!("{}.size() > 0", set(value));
    let shown = move |value: &str| {
        format!("{}.map(f, f + '=' + strings.quote({value}.value()[f])).join(', ')", set(value))
    };
    cel_each_security_context("seLinuxOptions", denied, shown).to_vec()
}

pub(super) static PROC_MOUNT: Rule = Rule {
    id: "proc-mount",
    group: Group::Confinement,
    title: "procMount is Default.",
    why: "procMount: Unmasked shows the parts of /proc that the runtime hides.",
    references: &[
        "Pod Security Standards, Baseline: /proc Mount Type",
        "NIST SP 800-190, 4.4.3: Insecure container runtime configurations",
    ],
    setting: "",
    fill: None,
    check: check_proc_mount,
    cel: Some(cel_proc_mount),
};

fn check_proc_mount(_: &Spec, pod: &Pod, out: &mut Reporter) {
    each_security_context(pod, "procMount", |path, value| {
        if value.as_str() != Some("Default") {
            out.report(path, show(Some(value)), "Default or unset", "remove procMount");
        }
    });
}

fn cel_proc_mount(_: Keys) -> Vec<Statement> {
    cel_each_security_context("procMount", |value| format!("{value}.value() != 'Default'"), cel::shown)
        .to_vec()
}

pub(super) static SYSCTLS: Rule = Rule {
    id: "sysctls",
    group: Group::Confinement,
    title: "Only allowed sysctls are set.",
    why: "Sysctls change the kernel under the Pod, some of them for other Pods of the node too. A policy can allow \
          those that Kubernetes calls safe. Names are compared as written.",
    references: &[
        "Pod Security Standards, Baseline: Sysctls",
        "NIST SP 800-190, 4.4.3: Insecure container runtime configurations",
        "https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/",
    ],
    setting: "spec.security.sysctls",
    fill: None,
    check: check_sysctls,
    cel: Some(cel_sysctls),
};

fn check_sysctls(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let allowed = &spec.security.sysctls;
    for (index, sysctl) in pod.security.list("sysctls") {
        let name = sysctl.as_object().and_then(|sysctl| sysctl.get("name"));
        if name.and_then(Value::as_str).is_some_and(|name| allowed.iter().any(|allowed| allowed == name)) {
            continue;
        }
        let sysctls = SECURITY_CONTEXT.child("sysctls");
        let wanted = fmt::from_fn(|f| {
            if allowed.is_empty() { f.write_str("absent") } else { write!(f, "{}", AnyOf(allowed)) }
        });
        let remedy = "remove this sysctl (policy key security.sysctls)";
        out.report(sysctls.index(index), show(name), wanted, remedy);
    }
}

fn cel_sysctls(keys: Keys) -> Vec<Statement> {
    let list = "v.o.?spec.?securityContext.?sysctls.orValue([])";
    let foreign = format!("!(s.?name.orValue('') in {})", cel::list(&keys.spec.security.sysctls));
    let found = format!("strings.quote({list}.filter(s, {foreign}).map(s, s.?name.orValue('')).join(', '))");
    vec![Statement::pod(format!("{list}.exists(s, {foreign})"), "spec.securityContext.sysctls", &found)]
}

pub(super) static WINDOWS: Rule = Rule {
    id: "windows",
    group: Group::Confinement,
    title: "The Pod is a Linux Pod.",
    why: "gVisor does not run on Windows, and in a Windows Pod the Linux settings that are filled here are errors.",
    references: &[
        "Pod Security Standards, Baseline: HostProcess",
        "CIS Kubernetes Benchmark 1.12, 5.2.10: Minimize the admission of Windows HostProcess containers",
        "Kubescape, C-0202: Minimize the admission of Windows HostProcess Containers",
    ],
    setting: "",
    fill: None,
    check: check_windows,
    cel: Some(cel_windows),
};

fn check_windows(_: &Spec, pod: &Pod, out: &mut Reporter) {
    let os = pod.spec.object("os").and_then(|os| os.get("name"));
    if os.is_some_and(|name| name.as_str() != Some("linux")) {
        out.report(SPEC.child("os").child("name"), show(os), "linux or unset", "remove os");
    }
    each_security_context(pod, "windowsOptions", |path, options| {
        out.report(path, show(Some(options)), "unset", "remove windowsOptions");
    });
}

fn cel_windows(_: Keys) -> Vec<Statement> {
    let os = "v.o.?spec.?os.?name";
    let mut checks =
        vec![Statement::pod(format!("{os}.orValue('linux') != 'linux'"), "spec.os.name", &cel::shown(os))];
    checks.extend(cel_each_security_context("windowsOptions", |_| "true".into(), |_| "'set'".into()));
    checks
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;

    /// The same fault in the Pod's security context and in a container's.
    fn rejects_everywhere(rule: &str, field: &str, below: &str, value: &Json) {
        rejects(&format!("{rule} spec.securityContext.{field}{below}"), |pod| {
            pod["spec"]["securityContext"][field] = value.clone()
        });
        rejects_in_container(rule, field, below, value);
    }

    fn rejects_in_container(rule: &str, field: &str, below: &str, value: &Json) {
        rejects(&format!("{rule} spec.containers[0].securityContext.{field}{below}"), |pod| {
            pod["spec"]["containers"][0]["securityContext"][field] = value.clone();
        });
    }

    fn annotated(rule: &str, key: &str, value: &str) {
        rejects(&format!("{rule} metadata.annotations[{key}]"), |pod| {
            pod["metadata"]["annotations"] = json!({key: value})
        });
    }

    #[test]
    fn seccomp_is_filled_and_every_other_profile_denied() {
        let pod = fills("seccomp spec.securityContext.seccompProfile", |pod| {
            without(&mut pod["spec"]["securityContext"], "seccompProfile")
        });
        assert_eq!(pod["spec"]["securityContext"]["seccompProfile"], json!({"type": "RuntimeDefault"}));
        for profile in [
            json!({"type": "Unconfined"}),
            json!({"type": "Localhost", "localhostProfile": "x.json"}),
            json!({}),
            json!({"type": "runtimedefault"}),
        ] {
            rejects_everywhere("seccomp", "seccompProfile", "", &profile);
        }
    }

    #[test]
    fn a_policy_may_name_a_profile_on_the_node() {
        let spec = spec("{security: {seccompProfiles: [Localhost/strict.json, RuntimeDefault]}}");
        let pod = filled_by(&spec, &plain_pod());
        assert_eq!(
            pod["spec"]["securityContext"]["seccompProfile"],
            json!({"type": "Localhost", "localhostProfile": "strict.json"})
        );
        assert_eq!(violations_of(&spec, &pod), Vec::<String>::new());
        rejects_under(&spec, "seccomp spec.securityContext.seccompProfile", |pod| {
            pod["spec"]["securityContext"]["seccompProfile"] =
                json!({"type": "Localhost", "localhostProfile": "lax.json"});
        });
        for profile in
            [json!({"type": "RuntimeDefault"}), json!({"type": "RuntimeDefault", "localhostProfile": null})]
        {
            accepts_under(&spec, |pod| pod["spec"]["securityContext"]["seccompProfile"] = profile);
        }
    }

    #[test]
    fn legacy_annotations_cannot_loosen_anything() {
        annotated("seccomp", "seccomp.security.alpha.kubernetes.io/pod", "unconfined");
        annotated("seccomp", "container.seccomp.security.alpha.kubernetes.io/main", "unconfined");
        annotated("apparmor", "container.apparmor.security.beta.kubernetes.io/main", "unconfined");
        annotated("apparmor", "container.apparmor.security.beta.kubernetes.io/main", "localhost/lax");
        accepts(|pod| {
            pod["metadata"]["annotations"] =
                json!({"container.apparmor.security.beta.kubernetes.io/main": "runtime/default"})
        });
    }

    #[test]
    fn apparmor_stays_the_runtimes() {
        for kind in ["Unconfined", "Localhost", ""] {
            rejects_everywhere("apparmor", "appArmorProfile", ".type", &json!({"type": kind}));
        }
        accepts(|pod| pod["spec"]["securityContext"]["appArmorProfile"] = json!({"type": "RuntimeDefault"}));
    }

    #[test]
    fn selinux_label_is_denied() {
        for key in ["type", "user", "role", "level"] {
            rejects_everywhere("selinux", "seLinuxOptions", &format!(".{key}"), &json!({key: "spc_t"}));
        }
        for value in [json!({}), json!(null), json!({"type": "", "level": null})] {
            accepts(|pod| pod["spec"]["securityContext"]["seLinuxOptions"] = value);
        }
    }

    #[test]
    fn selinux_level_is_allowed_by_its_key_and_nothing_else_of_the_label() {
        let spec = spec("{security: {seLinuxLevel: true}}");
        let level = json!({"level": "s0:c25,c10"});
        accepts_under(&spec, |pod| {
            pod["spec"]["securityContext"]["seLinuxOptions"] = level.clone();
            pod["spec"]["containers"][0]["securityContext"]["seLinuxOptions"] = level;
        });
        for key in ["type", "user", "role"] {
            let options = json!({"level": "s0:c25,c10", key: "spc_t"});
            rejects_under(&spec, &format!("selinux spec.securityContext.seLinuxOptions.{key}"), |pod| {
                pod["spec"]["securityContext"]["seLinuxOptions"] = options.clone();
            });
            rejects_under(
                &spec,
                &format!("selinux spec.containers[0].securityContext.seLinuxOptions.{key}"),
                |pod| pod["spec"]["containers"][0]["securityContext"]["seLinuxOptions"] = options,
            );
        }
    }

    #[test]
    fn unmasked_proc_is_denied() {
        rejects_in_container("proc-mount", "procMount", "", &json!("Unmasked"));
        accepts(|pod| pod["spec"]["containers"][0]["securityContext"]["procMount"] = json!("Default"));
    }

    #[test]
    fn sysctl_is_denied_unless_the_policy_names_it() {
        let path = "sysctls spec.securityContext.sysctls[0]";
        let set = |pod: &mut Json, name: &str| {
            pod["spec"]["securityContext"]["sysctls"] = json!([{"name": name, "value": "0"}]);
        };
        rejects(path, |pod| set(pod, "net.ipv4.ip_unprivileged_port_start"));
        let one = spec("{security: {sysctls: [net.ipv4.ip_unprivileged_port_start]}}");
        accepts_under(&one, |pod| set(pod, "net.ipv4.ip_unprivileged_port_start"));
        for name in [
            "net.ipv4.ping_group_range",
            "kernel.msgmax",
            "net/ipv4/ip_unprivileged_port_start",
            "net.ipv4.ip_unprivileged_port_start ",
            "",
        ] {
            rejects_under(&one, path, |pod| set(pod, name));
        }
        rejects_under(&one, path, |pod| pod["spec"]["securityContext"]["sysctls"] = json!([{"value": "0"}]));
    }

    #[test]
    fn windows_pod_is_denied() {
        rejects("windows spec.os.name", |pod| pod["spec"]["os"] = json!({"name": "windows"}));
        accepts(|pod| pod["spec"]["os"] = json!({"name": "linux"}));
        rejects_everywhere("windows", "windowsOptions", "", &json!({"hostProcess": true}));
    }
}
