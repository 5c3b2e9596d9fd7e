//! The conditions under which root is allowed: user namespaces, and fields that keep a container from running as
//! root.

use super::{
    Group, Rule,
    inherited::{cel_inherited, check_inherited, fill_inherited},
    injected::remedy,
    runtime::CEL_CLASS,
};
use crate::{
    cel::{self, Keys, Statement},
    json::{Object, Value},
    path::SPEC,
    pod::{self, Pod, spec_mut},
    policy::{Profile, Spec},
    violations::{Reporter, show},
};

/// The fields of a Pod that decide whether root is allowed.
#[derive(Clone, Copy)]
pub(super) struct RootFacts<'p> {
    /// The runtime class of the Pod, if the policy allows it.
    runtime_class: Option<&'p str>,
    has_user_namespace: bool,
}

impl<'p> RootFacts<'p> {
    /// Returns the facts of the Pod whose spec is `pod`.
    pub(super) fn of(profile: &'p Profile, pod: &Object) -> Self {
        let class = pod.str("runtimeClassName");
        let allowed = profile.spec.runtime_class.allowed.iter().map(String::as_str);
        Self {
            runtime_class: allowed.into_iter().find(|allowed| Some(*allowed) == class),
            has_user_namespace: pod.bool("hostUsers") == Some(false),
        }
    }

    /// Returns true if a container with these keys may run as user id 0 in the Pod.
    pub(super) fn allow_root(self, spec: &Spec) -> bool {
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
    references: &[
        "NIST SP 800-190, 4.4.3: Insecure container runtime configurations",
        "https://kubernetes.io/docs/concepts/workloads/pods/user-namespaces/",
    ],
    setting: "spec.security.hostUsers",
    fill: Some(fill_host_users),
    check: check_host_users,
    cel: Some(cel_host_users),
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

/// Returns the condition that containers with these keys may run as user id 0.
pub(super) fn cel_may_be_root(keys: Keys, spec: &Spec) -> String {
    let root = &spec.security.root;
    let classes: Vec<&String> =
        root.runtime_classes.iter().filter(|class| keys.spec.runtime_class.allowed.contains(class)).collect();
    if classes.is_empty() {
        return "false".into();
    }
    let namespace = if root.user_namespace { "v.o.?spec.?hostUsers.orValue(true) == false" } else { "true" };
    cel::all([format!("{CEL_CLASS} in {}", cel::list(classes)), namespace.into()])
}

fn cel_host_users(keys: Keys) -> Vec<Statement> {
    if keys.spec.security.host_users != Some(false) {
        return Vec::new();
    }
    let field = "v.o.?spec.?hostUsers";
    vec![Statement::pod(
        format!("{field}.orValue(true) != false"),
        "spec.hostUsers",
        &cel::shown_value(field),
    )]
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
        "CIS Kubernetes Benchmark 1.12, 5.2.7: Minimize the admission of root containers",
        "NSA/CISA Kubernetes Hardening Guide 1.2, Non-root containers and rootless container engines",
        "NIST SP 800-190, 4.4.3: Insecure container runtime configurations",
        "Kubescape, C-0013: Non-root containers",
        "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/",
    ],
    setting: "spec.security.root",
    fill: Some(fill_run_as_non_root),
    check: check_run_as_non_root,
    cel: Some(cel_run_as_non_root),
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

fn cel_run_as_non_root(keys: Keys) -> Vec<Statement> {
    let fits = |spec: &Spec, value: &str| {
        cel::any([format!("{value}.orValue(false) == true"), cel_may_be_root(keys, spec)])
    };
    cel_inherited(keys, "runAsNonRoot", fits, cel::shown_value)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;
    use crate::policy::Spec;

    const POD_USER: &str = "run-as-user spec.securityContext.runAsUser";

    const MAIN_USER: &str = "run-as-user spec.containers[0].securityContext.runAsUser";

    const NONE: [&str; 0] = [];

    fn security(pod: &mut Json) -> &mut Json {
        &mut pod["spec"]["securityContext"]
    }

    fn main_security(pod: &mut Json) -> &mut Json {
        &mut pod["spec"]["containers"][0]["securityContext"]
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
            violations_once_filled(&isolated, |pod| main_security(pod)["runAsUser"] = json!(0)),
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
                violations_once_filled(&spec, |pod| main_security(pod)["runAsUser"] = json!(id)),
                NONE,
                "{id}"
            );
        }
        for value in [json!(true), json!(false), json!(null)] {
            assert_eq!(violations_once_filled(&spec, |pod| security(pod)["runAsNonRoot"] = value), NONE);
        }
    }

    #[test]
    fn root_changes_nothing_but_the_user() {
        let spec = spec(&format!("{{security: {{{ROOT}}}}}"));
        for id in [500, 1001] {
            let violations = violations_once_filled(&spec, |pod| main_security(pod)["runAsUser"] = json!(id));
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
            assert_eq!(violations_once_filled(&spec, |pod| main_security(pod)[field] = value), [path]);
        }
        let fs_group = "fs-group spec.securityContext.fsGroup";
        assert_eq!(violations_once_filled(&spec, |pod| security(pod)["fsGroup"] = json!(0)), [fs_group]);
    }

    #[test]
    fn root_is_denied_under_another_runtime_class() {
        let spec = spec(
            "{runtimeClass: {allowed: [gvisor, kata]}, security: {runAsUser: {default: null, min: 1000, max: 1000}, \
             root: {runtimeClasses: [kata]}}}",
        );
        let root_in = |class: Json| {
            violations_once_filled(&spec, |pod| {
                pod["spec"]["runtimeClassName"] = class;
                main_security(pod)["runAsUser"] = json!(0);
            })
        };
        assert_eq!(root_in(json!("kata")), NONE);
        assert_eq!(root_in(json!("gvisor")), [MAIN_USER]);
        assert_eq!(root_in(json!(null)), [MAIN_USER]);
        assert_eq!(violations_once_filled(&spec, |_| {}), [POD_USER]);
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
            violations_once_filled(&spec, |pod| {
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
    fn message_names_how_root_is_allowed() {
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
}
