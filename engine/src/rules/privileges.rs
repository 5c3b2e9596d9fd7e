//! The privileges of a container beyond its user id.

use std::fmt;

use super::{Group, Rule, injected::remedy};
use crate::{
    cel::{self, Keys, Statement},
    json::{Object, Value},
    pod::{Container, ContainerKind, Pod, each_container_mut},
    policy::{Capabilities, Profile, Spec},
    violations::{Reporter, show},
};

/// Calls `fill` for each app and init container with the keys that hold for it, and returns how many fields were set.
fn fill_of_containers<'a>(
    profile: &'a Profile,
    pod: &mut Value<'a>,
    fill: impl Fn(&mut Object<'a>, &'a Spec) -> usize,
) -> usize {
    let mut filled = 0;
    each_container_mut(pod, profile, |_, container, spec| filled += fill(container, spec));
    filled
}

fn fill_security(container: &mut Object, field: &'static str, value: bool) -> usize {
    container.object_mut("securityContext").is_some_and(|security| security.set_default(field, value)).into()
}

/// Reports that `securityContext.field` of a container is not `wanted`; `key` is the end of the remedy.
fn check_of_container(container: &Container, field: &str, wanted: bool, key: &str, out: &mut Reporter) {
    let found = container.security.get(field);
    if found.and_then(Value::as_bool) == Some(wanted) {
        return;
    }
    let own = format_args!("set it to {wanted}{}{key}", or_leave_out(container));
    let path = container.at("securityContext");
    out.report(path.child(field), show(found), wanted, remedy(Some(container), own));
}

/// An ephemeral container arrives by an update, which fills nothing.
fn or_leave_out(container: &Container) -> &'static str {
    if container.kind == ContainerKind::Ephemeral { "" } else { " or leave it out on create" }
}

pub(super) static PRIVILEGED: Rule = Rule {
    id: "privileged",
    group: Group::Privileges,
    title: "No container is privileged.",
    why: "A privileged container has every capability and every device of its node.",
    references: &[
        "Pod Security Standards, Baseline: Privileged Containers",
        "CIS Kubernetes Benchmark 1.12, 5.2.2: Minimize the admission of privileged containers",
        "NSA/CISA Kubernetes Hardening Guide 1.2, Pod security enforcement",
        "NIST SP 800-190, 4.4.3: Insecure container runtime configurations",
        "Kubescape, C-0057: Privileged container",
    ],
    setting: "",
    fill: None,
    check: check_privileged,
    cel: Some(cel_privileged),
};

fn check_privileged(_: &Spec, pod: &Pod, out: &mut Reporter) {
    for container in &pod.containers {
        let found = container.security.get("privileged");
        if found.is_some_and(|value| value.as_bool() != Some(false)) {
            out.report(
                container.at("securityContext").child("privileged"),
                show(found),
                "false or unset",
                remedy(Some(container), "remove privileged"),
            );
        }
    }
}

fn cel_privileged(_: Keys) -> Vec<Statement> {
    let field = "c.o.?securityContext.?privileged";
    vec![Statement::container(format!("{field}.orValue(false)"), "securityContext.privileged", "'true'")]
}

pub(super) static PRIVILEGE_ESCALATION: Rule = Rule {
    id: "privilege-escalation",
    group: Group::Privileges,
    title: "allowPrivilegeEscalation is false.",
    why: "allowPrivilegeEscalation: false sets no_new_privs, so that a process cannot gain privileges from setuid \
          programs. It is filled if unset.",
    references: &[
        "Pod Security Standards, Restricted: Privilege Escalation",
        "CIS Kubernetes Benchmark 1.12, 5.2.6: Minimize the admission of containers with allowPrivilegeEscalation",
        "NSA/CISA Kubernetes Hardening Guide 1.2, Pod security enforcement",
        "NIST SP 800-190, 4.4.3: Insecure container runtime configurations",
        "Kubescape, C-0016: Allow privilege escalation",
    ],
    setting: "",
    fill: Some(fill_privilege_escalation),
    check: check_privilege_escalation,
    cel: Some(cel_privilege_escalation),
};

const ESCALATION: &str = "allowPrivilegeEscalation";

fn fill_privilege_escalation<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    fill_of_containers(profile, pod, |container, _| fill_security(container, ESCALATION, false))
}

fn check_privilege_escalation(_: &Spec, pod: &Pod, out: &mut Reporter) {
    for container in &pod.containers {
        check_of_container(container, ESCALATION, false, "", out);
    }
}

fn cel_privilege_escalation(_: Keys) -> Vec<Statement> {
    let field = "c.o.?securityContext.?allowPrivilegeEscalation";
    let path = "securityContext.allowPrivilegeEscalation";
    vec![Statement::container(format!("{field}.orValue(true)"), path, &cel::shown_value(field))]
}

pub(super) static READ_ONLY_ROOT: Rule = Rule {
    id: "read-only-root",
    group: Group::Privileges,
    title: "The root file system is read-only unless the policy leaves it to the Pod.",
    why: "A program of the image cannot be replaced, and only the writable paths count against the disk limit. It \
          is filled if unset.",
    references: &[
        "NSA/CISA Kubernetes Hardening Guide 1.2, Immutable container file systems",
        "NIST SP 800-190, 4.4.4: App vulnerabilities",
        "Kubescape, C-0017: Immutable container filesystem",
        "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/",
    ],
    setting: "spec.security.readOnlyRootFilesystem",
    fill: Some(fill_read_only_root),
    check: check_read_only_root,
    cel: Some(cel_read_only_root),
};

const READ_ONLY: &str = "readOnlyRootFilesystem";

fn fill_read_only_root<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    fill_of_containers(profile, pod, |container, spec| {
        if !spec.security.read_only_root_filesystem {
            return 0;
        }
        fill_security(container, READ_ONLY, true)
    })
}

fn check_read_only_root(_: &Spec, pod: &Pod, out: &mut Reporter) {
    let demanded = |container: &&Container| container.spec.security.read_only_root_filesystem;
    for container in pod.containers.iter().filter(demanded) {
        let key = " (policy key security.readOnlyRootFilesystem)";
        check_of_container(container, READ_ONLY, true, key, out);
    }
}

fn cel_read_only_root(keys: Keys) -> Vec<Statement> {
    let is_demanded = keys.of_container(|spec| spec.security.read_only_root_filesystem.to_string());
    let field = "c.o.?securityContext.?readOnlyRootFilesystem";
    let condition = cel::all([is_demanded, format!("{field}.orValue(false) != true")]);
    vec![Statement::container(condition, "securityContext.readOnlyRootFilesystem", &cel::shown_value(field))]
}

pub(super) static CAPABILITIES: Rule = Rule {
    id: "capabilities",
    group: Group::Privileges,
    title: "Every container drops the policy's capabilities and adds only allowed ones.",
    why: "A container runtime grants more than a dozen capabilities by default. Capabilities that are missing in \
          drop are filled, and those of the policy's add where a container adds none. An added capability that the \
          policy does not allow is denied. Names are compared as written.",
    references: &[
        "Pod Security Standards, Baseline: Capabilities",
        "Pod Security Standards, Restricted: Capabilities",
        "CIS Kubernetes Benchmark 1.12, 5.2.8: Minimize the admission of containers with the NET_RAW capability",
        "CIS Kubernetes Benchmark 1.12, 5.2.9: Minimize the admission of containers with capabilities assigned",
        "NSA/CISA Kubernetes Hardening Guide 1.2, Pod security enforcement",
        "NIST SP 800-190, 4.4.3: Insecure container runtime configurations",
        "Kubescape, C-0046: Insecure capabilities",
    ],
    setting: "spec.security.capabilities",
    fill: Some(fill_capabilities),
    check: check_capabilities,
    cel: Some(cel_capabilities),
};

const CAPABILITIES_FIELD: &str = "capabilities";
/// The name that stands for every capability.
const ALL_CAPABILITIES: &str = "ALL";

fn fill_capabilities<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    fill_of_containers(profile, pod, |container, spec| {
        let Capabilities { drop, add, allowed_add: _ } = &spec.security.capabilities;
        if drop.is_empty() && add.is_empty() {
            return 0;
        }
        let capabilities = container
            .object_mut("securityContext")
            .and_then(|security| security.object_mut(CAPABILITIES_FIELD));
        let Some(capabilities) = capabilities else { return 0 };
        fill_drop(capabilities, drop) + fill_add(capabilities, add)
    })
}

fn fill_drop<'a>(capabilities: &mut Object<'a>, wanted: &'a [String]) -> usize {
    let mut filled = 0;
    for name in wanted {
        if drops(capabilities, ALL_CAPABILITIES) || drops(capabilities, name) {
            continue;
        }
        let Some(list) = capabilities.list_mut("drop") else { return filled };
        list.push(name.as_str());
        filled += 1;
    }
    filled
}

/// A container that adds capabilities of its own, or explicitly none, keeps its list.
fn fill_add<'a>(capabilities: &mut Object<'a>, wanted: &'a [String]) -> usize {
    if wanted.is_empty() || capabilities.get("add").is_some() {
        return 0;
    }
    let Some(list) = capabilities.list_mut("add") else { return 0 };
    for name in wanted {
        list.push(name.as_str());
    }
    wanted.len()
}

fn drops(capabilities: &Object, name: &str) -> bool {
    capabilities.list("drop").any(|(_, dropped)| dropped.as_str() == Some(name))
}

fn check_capabilities(_: &Spec, pod: &Pod, out: &mut Reporter) {
    for container in &pod.containers {
        let capabilities = container.security.object(CAPABILITIES_FIELD);
        let security = container.at("securityContext");
        let path = security.child(CAPABILITIES_FIELD);
        let settings = &container.spec.security.capabilities;
        let drops = |name| capabilities.is_some_and(|capabilities| drops(capabilities, name));
        for wanted in &settings.drop {
            if drops(ALL_CAPABILITIES) || drops(wanted) {
                continue;
            }
            let (found, must) = (format_args!("without {wanted}"), format_args!("with {wanted}"));
            let own = format_args!(
                "add {wanted}{} (policy key security.capabilities.drop)",
                or_leave_out(container)
            );
            out.report(path.child("drop"), found, must, remedy(Some(container), own));
        }
        for (index, name) in capabilities.into_iter().flat_map(|capabilities| capabilities.list("add")) {
            if name.as_str().is_some_and(|name| settings.may_add(name)) {
                continue;
            }
            let own = match container.kind {
                ContainerKind::Ephemeral => {
                    "remove this capability or use kubectl debug --profile=restricted (policy key \
                     security.capabilities.allowedAdd)"
                }
                _ => "remove this capability (policy key security.capabilities.allowedAdd)",
            };
            let path = path.child("add");
            out.report(path.index(index), show(Some(name)), Allowed(settings), remedy(Some(container), own));
        }
    }
}

/// The capabilities that may be added, joined when they are written.
struct Allowed<'c>(&'c Capabilities);

impl fmt::Display for Allowed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let names: Vec<&str> = self.0.add.iter().chain(&self.0.allowed_add).map(String::as_str).collect();
        if names.is_empty() { f.write_str("absent") } else { write!(f, "one of {}", names.join(", ")) }
    }
}

fn cel_capabilities(keys: Keys) -> Vec<Statement> {
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

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;

    const ADDED: &str = "capabilities spec.containers[0].securityContext.capabilities.add[0]";
    const DROPPED: &str = "capabilities spec.containers[0].securityContext.capabilities.drop";
    const NONE: [&str; 0] = [];

    fn security(pod: &mut Json) -> &mut Json {
        &mut pod["spec"]["containers"][0]["securityContext"]
    }

    #[test]
    fn privileged_container_is_denied() {
        rejects("privileged spec.containers[0].securityContext.privileged", |pod| {
            security(pod)["privileged"] = json!(true);
        });
        for value in [json!(false), json!(null)] {
            accepts(|pod| security(pod)["privileged"] = value);
        }
    }

    #[test]
    fn privileged_init_container_is_denied() {
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
    fn privilege_escalation_is_filled_and_denied() {
        let path = "privilege-escalation spec.containers[0].securityContext.allowPrivilegeEscalation";
        fills(path, |pod| without(security(pod), "allowPrivilegeEscalation"));
        fills(path, |pod| security(pod)["allowPrivilegeEscalation"] = json!(null));
        rejects(path, |pod| security(pod)["allowPrivilegeEscalation"] = json!(true));
    }

    #[test]
    fn writable_root_is_filled_and_denied() {
        let path = "read-only-root spec.containers[0].securityContext.readOnlyRootFilesystem";
        fills(path, |pod| without(security(pod), "readOnlyRootFilesystem"));
        fills(path, |pod| security(pod)["readOnlyRootFilesystem"] = json!(null));
        rejects(path, |pod| security(pod)["readOnlyRootFilesystem"] = json!(false));
    }

    #[test]
    fn writable_root_is_the_pods_choice_if_the_policy_allows_it() {
        let spec = spec("{security: {readOnlyRootFilesystem: false}}");
        for value in [json!(false), json!(true), json!(null)] {
            accepts_under(&spec, |pod| security(pod)["readOnlyRootFilesystem"] = value);
        }
    }

    #[test]
    fn exception_has_a_root_of_its_own() {
        let policy = policy(
            "{containers: [{name: agent, match: {images: [ghcr.io/example/agent]}, \
             spec: {security: {readOnlyRootFilesystem: false}}}]}",
        );
        let mut pod = complete_pod_of_three();
        pod["spec"]["containers"][1]["image"] = json!("ghcr.io/example/agent:1");
        for container in pod["spec"]["containers"].as_array_mut().unwrap() {
            without(&mut container["securityContext"], "readOnlyRootFilesystem");
        }
        let pod = filled_under(policy.base(), &pod);
        assert_eq!(pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"], json!(true));
        assert_eq!(pod["spec"]["containers"][1]["securityContext"]["readOnlyRootFilesystem"], json!(null));
        assert_eq!(violations_under(policy.base(), &pod), NONE);
    }

    #[test]
    fn dropped_capabilities_are_completed() {
        let mut pod = fills(DROPPED, |pod| without(security(pod), "capabilities"));
        assert_eq!(security(&mut pod)["capabilities"], json!({"drop": ["ALL"]}));
        let mut pod = fills(DROPPED, |pod| security(pod)["capabilities"]["drop"] = json!(null));
        assert_eq!(security(&mut pod)["capabilities"], json!({"drop": ["ALL"]}));
        let mut pod = fills(DROPPED, |pod| security(pod)["capabilities"]["drop"] = json!(["NET_RAW"]));
        assert_eq!(security(&mut pod)["capabilities"]["drop"], json!(["NET_RAW", "ALL"]));
    }

    #[test]
    fn dropping_all_drops_each() {
        let each = spec("{security: {capabilities: {drop: [NET_RAW, MKNOD]}}}");
        accepts_under(&each, |_| {});
        accepts_under(&each, |pod| security(pod)["capabilities"]["drop"] = json!(["MKNOD", "NET_RAW"]));
        let mut pod = complete_pod();
        security(&mut pod)["capabilities"]["drop"] = json!(["NET_RAW"]);
        assert_eq!(violations_of(&each, &pod), [DROPPED]);
        let mut pod = filled_by(&each, &pod);
        assert_eq!(security(&mut pod)["capabilities"]["drop"], json!(["NET_RAW", "MKNOD"]));
        let none = spec("{security: {capabilities: {drop: []}}}");
        accepts_under(&none, |pod| without(security(pod), "capabilities"));
    }

    #[test]
    fn added_capability_must_be_allowed_by_its_exact_name() {
        for name in ["SYS_ADMIN", "NET_BIND_SERVICE", "ALL", "sys_admin", "CAP_SYS_PTRACE", ""] {
            rejects(ADDED, |pod| security(pod)["capabilities"]["add"] = json!([name]));
        }
        let spec = spec("{security: {capabilities: {allowedAdd: [NET_BIND_SERVICE]}}}");
        accepts_under(&spec, |pod| security(pod)["capabilities"]["add"] = json!(["NET_BIND_SERVICE"]));
        for name in ["CAP_NET_BIND_SERVICE", "net_bind_service", "NET_RAW", "ALL"] {
            rejects_under(&spec, ADDED, |pod| security(pod)["capabilities"]["add"] = json!([name]));
        }
    }

    #[test]
    fn capabilities_are_added_where_a_container_adds_none() {
        let spec = spec(
            "{security: {root: {runtimeClasses: [gvisor]}, capabilities: {add: [CHOWN, FOWNER], allowedAdd: [KILL]}}}",
        );
        let add_after = |add: Json| {
            let mut pod = complete_pod();
            security(&mut pod)["capabilities"]["add"] = add;
            let mut filled = filled_by(&spec, &pod);
            assert_eq!(filled_by(&spec, &filled), filled, "filling twice is filling once");
            let violations = violations_of(&spec, &filled);
            (security(&mut filled)["capabilities"]["add"].clone(), violations)
        };
        let admitted = |add: Json| (add, Vec::<String>::new());
        assert_eq!(add_after(json!(null)), admitted(json!(["CHOWN", "FOWNER"])));
        assert_eq!(add_after(json!([])), admitted(json!([])));
        assert_eq!(add_after(json!(["KILL"])), admitted(json!(["KILL"])));
        assert_eq!(add_after(json!(["FOWNER"])), admitted(json!(["FOWNER"])));
        assert_eq!(add_after(json!(["SYS_ADMIN"])), (json!(["SYS_ADMIN"]), vec![ADDED.to_owned()]));
        let filled = filled_by(&spec, &plain_pod());
        let expected = json!({"drop": ["ALL"], "add": ["CHOWN", "FOWNER"]});
        assert_eq!(filled["spec"]["containers"][0]["securityContext"]["capabilities"], expected);
    }

    #[test]
    fn capabilities_of_an_exception_are_for_its_containers_alone() {
        let policy = policy(
            "{containers: [{name: proxy, match: {images: [ghcr.io/example/proxy]}, \
             spec: {security: {capabilities: {add: [NET_BIND_SERVICE]}}}}]}",
        );
        let mut pod = complete_pod_of_three();
        pod["spec"]["containers"][1]["image"] = json!("ghcr.io/example/proxy:1");
        let mut pod = filled_under(policy.base(), &pod);
        assert_eq!(security(&mut pod)["capabilities"], json!({"drop": ["ALL"]}));
        let proxy = &pod["spec"]["containers"][1]["securityContext"]["capabilities"];
        assert_eq!(*proxy, json!({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}));
        assert_eq!(violations_under(policy.base(), &pod), NONE);
        security(&mut pod)["capabilities"]["add"] = json!(["NET_BIND_SERVICE"]);
        assert_eq!(violations_under(policy.base(), &pod), [ADDED]);
    }

    #[test]
    fn ephemeral_container_gets_no_exception_and_no_advice_to_leave_fields_out() {
        let policy = policy(
            "{containers: [{name: proxy, match: {images: [ghcr.io/example/proxy]}, \
             spec: {security: {readOnlyRootFilesystem: false}}}]}",
        );
        let mut pod = complete_pod();
        let security = json!({"allowPrivilegeEscalation": false});
        pod["spec"]["ephemeralContainers"] =
            json!([{"name": "d", "image": "ghcr.io/example/proxy:1", "securityContext": security}]);
        let path = "spec.ephemeralContainers[0].securityContext";
        assert_eq!(
            violations_under(policy.base(), &pod),
            [
                format!("capabilities {path}.capabilities.drop"),
                format!("read-only-root {path}.readOnlyRootFilesystem")
            ]
        );
        let lines = lines_of(&policy.base().spec, &pod);
        assert!(lines.iter().all(|line| !line.contains("leave it out")), "{lines:?}");
    }
}
