//! The privileges of a container beyond its user id.

use super::{Group, Rule};
use crate::{
    json::{Object, Value},
    pod::{Container, ContainerKind, Pod, each_container_mut},
    policy::{Profile, Spec},
    text::quote,
    violations::{Reporter, show},
};

/// Fills the security context of each app and init container; `fill` returns how many fields it set.
fn fill_of_containers<'a>(
    profile: &'a Profile,
    pod: &mut Value<'a>,
    fill: impl Fn(&mut Object<'a>, &'a Spec) -> usize,
) -> usize {
    let mut filled = 0;
    each_container_mut(pod, profile, |_, container, spec| {
        filled += container.object_mut("securityContext").map_or(0, |security| fill(security, spec));
    });
    filled
}

/// Reports each container whose `securityContext.field` is not `wanted`.
fn check_of_containers(pod: &Pod, field: &str, wanted: bool, out: &mut Reporter) {
    for container in &pod.containers {
        let found = container.security.get(field);
        if found.and_then(Value::as_bool) != Some(wanted) {
            let security = container.at("securityContext");
            out.report(
                security.child(field),
                show(found),
                wanted,
                remedy(container, &format!("set it to {wanted}")),
            );
        }
    }
}

/// An ephemeral container arrives by an update, which fills nothing.
fn remedy(container: &Container, what: &str) -> String {
    match container.kind {
        ContainerKind::Ephemeral => what.into(),
        _ => format!("{what} or leave it out on create"),
    }
}

pub(super) static PRIVILEGED: Rule = Rule {
    id: "privileged",
    group: Group::Privileges,
    title: "No container is privileged.",
    why: "A privileged container has every capability and every device of its node.",
    references: &["Pod Security Standards, Baseline: Privileged Containers"],
    setting: "",
    fill: None,
    check: check_privileged,
};

fn check_privileged(_: &Spec, pod: &Pod, out: &mut Reporter) {
    for container in &pod.containers {
        let found = container.security.get("privileged");
        if found.is_some_and(|value| value.as_bool() != Some(false)) {
            out.report(
                container.at("securityContext").child("privileged"),
                show(found),
                "false or unset",
                "remove privileged",
            );
        }
    }
}

pub(super) static PRIVILEGE_ESCALATION: Rule = Rule {
    id: "privilege-escalation",
    group: Group::Privileges,
    title: "allowPrivilegeEscalation is false.",
    why: "allowPrivilegeEscalation: false sets no_new_privs, so that a process cannot gain privileges from setuid \
          programs. It is filled if unset.",
    references: &["Pod Security Standards, Restricted: Privilege Escalation"],
    setting: "",
    fill: Some(|profile, pod| {
        fill_of_containers(profile, pod, |security, _| {
            security.set_default("allowPrivilegeEscalation", false).into()
        })
    }),
    check: |_, pod, out| check_of_containers(pod, "allowPrivilegeEscalation", false, out),
};

pub(super) static READ_ONLY_ROOT: Rule = Rule {
    id: "read-only-root",
    group: Group::Privileges,
    title: "The root file system is read-only.",
    why: "A program of the image cannot be replaced, and only the writable paths count against the disk limit. It \
          is filled if unset.",
    references: &["https://kubernetes.io/docs/tasks/configure-pod-container/security-context/"],
    setting: "spec.security.readOnlyRootFilesystem",
    fill: Some(fill_read_only_root),
    check: check_read_only_root,
};

const READ_ONLY: &str = "readOnlyRootFilesystem";

fn fill_read_only_root<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    fill_of_containers(profile, pod, |security, spec| {
        (spec.security.read_only_root_filesystem && security.set_default(READ_ONLY, true)).into()
    })
}

fn check_read_only_root(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    if spec.security.read_only_root_filesystem {
        check_of_containers(pod, READ_ONLY, true, out);
    }
}

pub(super) static CAPABILITIES: Rule = Rule {
    id: "capabilities",
    group: Group::Privileges,
    title: "Every container drops the policy's capabilities and adds only allowed ones.",
    why: "A container runtime grants more than a dozen capabilities by default. Capabilities that are missing in \
          drop are filled; an added capability that the policy does not allow is denied. Names are compared as \
          written.",
    references: &["Pod Security Standards, Restricted: Capabilities"],
    setting: "spec.security.capabilities",
    fill: Some(fill_capabilities),
    check: check_capabilities,
};

fn fill_capabilities<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    fill_of_containers(profile, pod, |security, spec| {
        let wanted = &spec.security.capabilities.drop;
        if wanted.is_empty() {
            return 0;
        }
        let Some(drop) =
            security.object_mut("capabilities").and_then(|capabilities| capabilities.list_mut("drop"))
        else {
            return 0;
        };
        let mut filled = 0;
        for name in wanted {
            if !drop.iter().any(|(_, dropped)| dropped.as_str() == Some(name)) {
                drop.push(name.as_str());
                filled += 1;
            }
        }
        filled
    })
}

fn check_capabilities(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let settings = &spec.security.capabilities;
    for container in &pod.containers {
        let capabilities = container.security.object("capabilities");
        for wanted in &settings.drop {
            let drops = |c: &Object| c.list("drop").any(|(_, name)| name.as_str() == Some(wanted));
            if !capabilities.is_some_and(drops) {
                let security = container.at("securityContext");
                let path = security.child("capabilities");
                let remedy = remedy(container, &format!("add {wanted}"));
                out.report(
                    path.child("drop"),
                    format_args!("without {wanted}"),
                    format_args!("with {wanted}"),
                    remedy,
                );
            }
        }
        for (index, name) in capabilities.into_iter().flat_map(|c| c.list("add")) {
            if !name.as_str().is_some_and(|name| settings.allowed_add.iter().any(|allowed| allowed == name)) {
                let security = container.at("securityContext");
                let path = security.child("capabilities");
                let found = name.as_str().map_or_else(|| show(Some(name)), quote);
                out.report(
                    path.child("add").index(index),
                    found,
                    allowed(&settings.allowed_add),
                    "remove this capability",
                );
            }
        }
    }
}

fn allowed(names: &[String]) -> String {
    if names.is_empty() { "absent".into() } else { format!("one of {}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;
    use crate::policy::Spec;

    fn security(pod: &mut Json) -> &mut Json {
        &mut pod["spec"]["containers"][0]["securityContext"]
    }

    #[test]
    fn a_privileged_container_is_refused() {
        rejects("privileged spec.containers[0].securityContext.privileged", |pod| {
            security(pod)["privileged"] = json!(true)
        });
        accepts(|pod| security(pod)["privileged"] = json!(false));
    }

    #[test]
    fn a_privileged_init_container_is_refused() {
        let mut pod = complete_pod_of_three();
        pod["spec"]["initContainers"][0]["securityContext"]["privileged"] = json!(true);
        assert_eq!(violations(&pod), ["privileged spec.initContainers[0].securityContext.privileged"]);
    }

    #[test]
    fn every_container_is_filled() {
        let mut pod = complete_pod_of_three();
        for list in ["containers", "initContainers"] {
            for container in pod["spec"][list].as_array_mut().unwrap() {
                without(container, "securityContext");
            }
        }
        assert_eq!(filled(&pod), complete_pod_of_three());
    }

    #[test]
    fn privilege_escalation_is_filled_and_refused() {
        let path = "privilege-escalation spec.containers[0].securityContext.allowPrivilegeEscalation";
        fills(path, |pod| without(security(pod), "allowPrivilegeEscalation"));
        rejects(path, |pod| security(pod)["allowPrivilegeEscalation"] = json!(true));
    }

    #[test]
    fn a_writable_root_is_filled_and_refused_unless_the_policy_allows_it() {
        let path = "read-only-root spec.containers[0].securityContext.readOnlyRootFilesystem";
        fills(path, |pod| without(security(pod), "readOnlyRootFilesystem"));
        rejects(path, |pod| security(pod)["readOnlyRootFilesystem"] = json!(false));
        let mut spec = Spec::default();
        spec.security.read_only_root_filesystem = false;
        accepts_under(&spec, |pod| security(pod)["readOnlyRootFilesystem"] = json!(false));
    }

    #[test]
    fn dropped_capabilities_are_completed() {
        let path = "capabilities spec.containers[0].securityContext.capabilities.drop";
        let mut pod = fills(path, |pod| without(security(pod), "capabilities"));
        assert_eq!(security(&mut pod)["capabilities"], json!({"drop": ["ALL"]}));
        let mut pod = fills(path, |pod| security(pod)["capabilities"]["drop"] = json!(["NET_RAW"]));
        assert_eq!(security(&mut pod)["capabilities"]["drop"], json!(["NET_RAW", "ALL"]));
    }

    #[test]
    fn an_added_capability_must_be_allowed_by_its_exact_name() {
        for name in ["SYS_ADMIN", "NET_BIND_SERVICE", "ALL", "sys_admin", "CAP_SYS_PTRACE", ""] {
            rejects("capabilities spec.containers[0].securityContext.capabilities.add[0]", |pod| {
                security(pod)["capabilities"]["add"] = json!([name]);
            });
        }
        let mut spec = Spec::default();
        spec.security.capabilities.allowed_add = vec!["NET_BIND_SERVICE".into()];
        accepts_under(&spec, |pod| security(pod)["capabilities"]["add"] = json!(["NET_BIND_SERVICE"]));
    }
}
