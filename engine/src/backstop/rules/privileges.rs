//! Privileges of containers, and the kernel mechanisms that confine them.

use super::{metadata::legacy_annotations, users::inherited};
use crate::{
    cel::{self, Keys, Statement},
    policy::Spec,
};

pub(super) fn privileged(_: Keys) -> Vec<Statement> {
    let field = "c.o.?securityContext.?privileged";
    vec![Statement::container(format!("{field}.orValue(false)"), "securityContext.privileged", "'true'")]
}

pub(super) fn privilege_escalation(_: Keys) -> Vec<Statement> {
    let field = "c.o.?securityContext.?allowPrivilegeEscalation";
    let path = "securityContext.allowPrivilegeEscalation";
    vec![Statement::container(format!("{field}.orValue(true)"), path, &cel::shown_value(field))]
}

pub(super) fn read_only_root(keys: Keys) -> Vec<Statement> {
    let is_demanded = keys.of_container(|spec| spec.security.read_only_root_filesystem.to_string());
    let field = "c.o.?securityContext.?readOnlyRootFilesystem";
    let condition = cel::all([is_demanded, format!("{field}.orValue(false) != true")]);
    vec![Statement::container(condition, "securityContext.readOnlyRootFilesystem", &cel::shown_value(field))]
}

pub(super) fn capabilities(keys: Keys) -> Vec<Statement> {
    let dropped = "c.o.?securityContext.?capabilities.?drop.orValue([])";
    let lacks = keys.of_container(|spec| {
        let wanted = &spec.security.capabilities.drop;
        if wanted.is_empty() {
            return "false".into();
        }
        format!("!('ALL' in {dropped}) && !{}.all(n, n in {dropped})", cel::list(wanted))
    });
    let added = "c.o.?securityContext.?capabilities.?add.orValue([])";
    let foreign = keys.of_container(|spec| {
        let settings = &spec.security.capabilities;
        format!("!(n in {})", cel::list(settings.add.iter().chain(&settings.allowed_add)))
    });
    vec![
        Statement::container(
            lacks,
            "securityContext.capabilities.drop",
            &format!("strings.quote({dropped}.join(', '))"),
        ),
        Statement::container(
            format!("{added}.exists(n, {foreign})"),
            "securityContext.capabilities.add",
            &format!("{added}.filter(n, {foreign}).map(n, strings.quote(n)).join(', ')"),
        ),
    ]
}

pub(super) fn seccomp(keys: Keys) -> Vec<Statement> {
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
    let mut checks = inherited(keys, "seccompProfile", fits, shown);
    let prefixes =
        ["seccomp.security.alpha.kubernetes.io/", "container.seccomp.security.alpha.kubernetes.io/"];
    checks.push(legacy_annotations(&prefixes, "runtime/default"));
    checks
}

/// Returns the checks of a field of the security contexts of the Pod and of each container where it is set. `denied`
/// returns the condition for the optional value.
fn each_security_context(
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

pub(super) fn apparmor(_: Keys) -> Vec<Statement> {
    let denied = |value: &str| format!("{value}.?type.orValue('') != 'RuntimeDefault'");
    let shown = |value: &str| cel::shown(&format!("{value}.?type"));
    let mut checks = each_security_context("appArmorProfile", denied, shown).to_vec();
    checks.push(legacy_annotations(&["container.apparmor.security.beta.kubernetes.io/"], "runtime/default"));
    checks
}

pub(super) fn selinux(keys: Keys) -> Vec<Statement> {
    let level = if keys.spec.security.se_linux_level { " && f != 'level'" } else { "" };
    let set = move |value: &str| format!("dyn({value}.value()).filter(f, {value}.value()[f] != ''{level})");
    let denied = move |value: &str| format!("{}.size() > 0", set(value));
    let shown = move |value: &str| {
        format!("{}.map(f, f + '=' + strings.quote({value}.value()[f])).join(', ')", set(value))
    };
    each_security_context("seLinuxOptions", denied, shown).to_vec()
}

pub(super) fn proc_mount(_: Keys) -> Vec<Statement> {
    each_security_context("procMount", |value| format!("{value}.value() != 'Default'"), cel::shown).to_vec()
}

pub(super) fn sysctls(keys: Keys) -> Vec<Statement> {
    let list = "v.o.?spec.?securityContext.?sysctls.orValue([])";
    let foreign = format!("!(s.?name.orValue('') in {})", cel::list(&keys.spec.security.sysctls));
    let found = format!("strings.quote({list}.filter(s, {foreign}).map(s, s.?name.orValue('')).join(', '))");
    vec![Statement::pod(format!("{list}.exists(s, {foreign})"), "spec.securityContext.sysctls", &found)]
}

pub(super) fn windows(_: Keys) -> Vec<Statement> {
    let os = "v.o.?spec.?os.?name";
    let mut checks =
        vec![Statement::pod(format!("{os}.orValue('linux') != 'linux'"), "spec.os.name", &cel::shown(os))];
    checks.extend(each_security_context("windowsOptions", |_| "true".into(), |_| "'set'".into()));
    checks
}
