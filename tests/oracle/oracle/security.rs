//! Users, privileges and confinement.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, PodSecurityContext, SELinuxOptions, SeccompProfile, SecurityContext,
    WindowsSecurityContextOptions,
};
use serde::Deserialize;
use serde_json::json;

use super::{Faults, Placed, Section, Subject, must, word};
use crate::{
    policy::Keys,
    rule_cases::{RuleCase, rule_case},
};

/// The keys, the property and its cases.
pub(super) const SECTION: Section = Section {
    defaults: DEFAULTS,
    drawn: DRAWN,
    check,
    cases: rule_cases,
    cases_under_policies: CASES_UNDER_POLICIES,
};

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Security {
    pub(crate) run_as_user: Ids,
    pub(crate) run_as_group: Ids,
    pub(crate) fs_group: Ids,
    pub(crate) supplemental_groups_policy: Option<String>,
    pub(crate) root: Root,
    pub(crate) host_users: Option<bool>,
    pub(crate) seccomp_profiles: Vec<String>,
    pub(crate) capabilities: Capabilities,
    pub(crate) read_only_root_filesystem: bool,
    pub(crate) se_linux_level: bool,
    pub(crate) sysctls: Vec<String>,
    pub(crate) share_process_namespace: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Ids {
    pub(crate) default: Option<i64>,
    pub(crate) min: i64,
    pub(crate) max: i64,
}

impl Ids {
    pub(crate) fn contain(&self, id: i64) -> bool {
        self.min <= id && id <= self.max
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Root {
    pub(crate) runtime_classes: Vec<String>,
    pub(crate) user_namespace: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Capabilities {
    pub(crate) drop: Vec<String>,
    pub(crate) add: Vec<String>,
    pub(crate) allowed_add: Vec<String>,
}

/// The default of each key, as the documentation of the policy file has it.
const DEFAULTS: &str = r"
security:
  runAsUser: {default: 1000, min: 1000, max: 1000}
  runAsGroup: {default: 1000, min: 1000, max: 1000}
  fsGroup: {default: 1000, min: 1000, max: 1000}
  supplementalGroupsPolicy: null
  root: {runtimeClasses: [], userNamespace: false}
  hostUsers: null
  seccompProfiles: [RuntimeDefault]
  capabilities: {drop: [ALL], add: [], allowedAdd: []}
  readOnlyRootFilesystem: true
  seLinuxLevel: false
  sysctls: []
  shareProcessNamespace: false
";

/// The values of each key that generated policies draw from.
const DRAWN: &str = r"
security.runAsUser: [{default: 2000, min: 1000, max: 3000}, {default: null}, {default: null, min: 1, max: 2147483647}, {min: 500, max: 1000}]
security.runAsGroup: [{default: 0, min: 0, max: 1000}, {default: null, min: 0}, {default: null, min: 100, max: 2000}, {default: 2000, min: 2000, max: 2000}]
security.fsGroup: [{default: null}, {default: 0, min: 0, max: 0}, {default: 123, min: 100, max: 2000}]
security.supplementalGroupsPolicy: [Strict, null]
security.root: [{runtimeClasses: [gvisor]}, {runtimeClasses: [gvisor], userNamespace: true}, {runtimeClasses: [gvisor-gpu]}]
security.hostUsers: [false, null]
security.seccompProfiles: [[RuntimeDefault, Localhost/x], [Localhost/x], [Localhost/a/b.json, RuntimeDefault]]
security.capabilities:
- {allowedAdd: [NET_BIND_SERVICE]}
- {drop: [NET_RAW, MKNOD], allowedAdd: [NET_BIND_SERVICE]}
- {drop: []}
security:
- {root: {runtimeClasses: [gvisor]}, runAsUser: {default: null}, capabilities: {add: [CHOWN, SETUID]}}
- {root: {runtimeClasses: [gvisor]}, capabilities: {allowedAdd: [NET_BIND_SERVICE, CHOWN]}, readOnlyRootFilesystem: false}
security.readOnlyRootFilesystem: [false]
security.seLinuxLevel: [true]
security.sysctls: [[net.ipv4.ip_unprivileged_port_start], [net.ipv4.ping_group_range, kernel.shm_rmid_forced]]
security.shareProcessNamespace: [true]
";

fn check(subject: &Subject, faults: &mut Faults) {
    let none = PodSecurityContext::default();
    let context = subject.spec.security_context.as_ref().unwrap_or(&none);
    check_pod(subject, context, faults);
    let users = Users { subject, context };
    for placed in subject.containers {
        let none = SecurityContext::default();
        let own = placed.container.security_context.as_ref().unwrap_or(&none);
        users.check(placed, own, faults);
        check_privileges(placed, own, faults);
    }
    users.check_what_is_not_inherited(faults);
}

fn check_pod(subject: &Subject, context: &PodSecurityContext, faults: &mut Faults) {
    let security = &subject.keys.security;
    let group = context.fs_group;
    let fits = group.map_or(security.fs_group.default.is_none(), |group| security.fs_group.contain(group));
    must(fits, "fsGroup", faults);
    let mut groups = context.supplemental_groups.iter().flatten();
    must(groups.all(|group| security.fs_group.contain(*group)), "supplemental group", faults);
    if let Some(wanted) = &security.supplemental_groups_policy {
        must(context.supplemental_groups_policy.as_ref() == Some(wanted), "supplementalGroupsPolicy", faults);
    }
    if let Some(wanted) = security.host_users {
        must(subject.spec.host_users == Some(wanted), "hostUsers", faults);
    }
    must(is_default_apparmor(context.app_armor_profile.as_ref()), "Pod's AppArmor", faults);
    must(is_no_label(context.se_linux_options.as_ref(), subject.keys), "Pod's SELinux", faults);
    let mut sysctls = context.sysctls.iter().flatten();
    must(sysctls.all(|sysctl| security.sysctls.contains(&sysctl.name)), "sysctl", faults);
    must(is_not_windows(context.windows_options.as_ref()), "Pod's Windows options", faults);
    let os = subject.spec.os.as_ref().map_or("", |os| &os.name);
    must(matches!(os, "" | "linux"), "operating system", faults);
    let shares = subject.spec.share_process_namespace == Some(true);
    must(!shares || security.share_process_namespace, "shared process namespace", faults);
}

/// What containers inherit from their Pod; what a container sets goes before it.
struct Users<'u> {
    subject: &'u Subject<'u>,
    context: &'u PodSecurityContext,
}

impl Users<'_> {
    fn may_be_root(&self, keys: &Keys) -> bool {
        let root = &keys.security.root;
        let class = word(self.subject.spec.runtime_class_name.as_ref());
        root.runtime_classes.iter().any(|allowed| allowed == class)
            && (!root.user_namespace || self.subject.spec.host_users == Some(false))
    }

    fn is_user(&self, keys: &Keys, user: Option<i64>) -> bool {
        let range = &keys.security.run_as_user;
        let has_all_but_root = range.min <= 1 && range.max >= i64::from(i32::MAX);
        match user {
            Some(0) => range.contain(0) || self.may_be_root(keys),
            Some(user) => range.contain(user),
            None => has_all_but_root || self.may_be_root(keys),
        }
    }

    fn is_non_root(&self, keys: &Keys, value: Option<bool>) -> bool {
        value == Some(true) || self.may_be_root(keys)
    }

    fn check(&self, placed: &Placed, own: &SecurityContext, faults: &mut Faults) {
        let (pod, keys) = (self.context, placed.keys);
        let non_root = own.run_as_non_root.or(pod.run_as_non_root);
        placed.must(self.is_non_root(keys, non_root), "runAsNonRoot", faults);
        placed.must(self.is_user(keys, own.run_as_user.or(pod.run_as_user)), "user", faults);
        placed.must(is_group(keys, own.run_as_group.or(pod.run_as_group)), "group", faults);
        let seccomp = own.seccomp_profile.as_ref().or(pod.seccomp_profile.as_ref());
        placed.must(is_seccomp(self.subject.keys, seccomp), "seccomp", faults);
    }

    /// What no container inherits would hold for one that is added to the running Pod.
    fn check_what_is_not_inherited(&self, faults: &mut Faults) {
        let (pod, keys) = (self.context, self.subject.keys);
        let inherit = |sets: fn(&SecurityContext) -> bool| {
            let contexts =
                self.subject.containers.iter().map(|placed| placed.container.security_context.as_ref());
            contexts.into_iter().any(|own| !own.is_some_and(sets))
        };
        let fits = pod.run_as_non_root.is_none()
            || inherit(|own| own.run_as_non_root.is_some())
            || self.is_non_root(keys, pod.run_as_non_root);
        must(fits, "Pod's runAsNonRoot", faults);
        let fits = pod.run_as_user.is_none()
            || inherit(|own| own.run_as_user.is_some())
            || self.is_user(keys, pod.run_as_user);
        must(fits, "Pod's user", faults);
        let fits = pod.run_as_group.is_none()
            || inherit(|own| own.run_as_group.is_some())
            || is_group(keys, pod.run_as_group);
        must(fits, "Pod's group", faults);
        let fits = pod.seccomp_profile.is_none() || is_seccomp(keys, pod.seccomp_profile.as_ref());
        must(fits, "Pod's seccomp", faults);
    }
}

/// Without one the group is the image's: root's, as far as is known.
fn is_group(keys: &Keys, group: Option<i64>) -> bool {
    let range = &keys.security.run_as_group;
    group.map_or(range.default.is_none() && range.contain(0), |group| range.contain(group))
}

fn is_seccomp(keys: &Keys, profile: Option<&SeccompProfile>) -> bool {
    let written = profile.map(|profile| match &profile.localhost_profile {
        Some(file) => format!("{}/{file}", profile.type_),
        None => profile.type_.clone(),
    });
    written.is_some_and(|written| keys.security.seccomp_profiles.contains(&written))
}

fn is_default_apparmor(profile: Option<&AppArmorProfile>) -> bool {
    profile.is_none_or(|profile| profile.type_ == "RuntimeDefault")
}

fn is_no_label(options: Option<&SELinuxOptions>, keys: &Keys) -> bool {
    options.is_none_or(|SELinuxOptions { level, role, type_, user }| {
        let is_unset = |part: &Option<String>| word(part.as_ref()).is_empty();
        [role, type_, user].into_iter().all(is_unset) && (keys.security.se_linux_level || is_unset(level))
    })
}

fn is_not_windows(options: Option<&WindowsSecurityContextOptions>) -> bool {
    options.is_none_or(|options| *options == WindowsSecurityContextOptions::default())
}

fn check_privileges(placed: &Placed, own: &SecurityContext, faults: &mut Faults) {
    let security = &placed.keys.security;
    placed.must(own.privileged != Some(true), "privileged", faults);
    placed.must(own.allow_privilege_escalation == Some(false), "privilege escalation", faults);
    let capabilities = own.capabilities.clone().unwrap_or_default();
    let drops = |name: &str| capabilities.drop.iter().flatten().any(|dropped| dropped == name);
    let drops_all = security.capabilities.drop.iter().all(|name| drops("ALL") || drops(name));
    placed.must(drops_all, "capabilities not dropped", faults);
    let may_add = |name: &String| {
        security.capabilities.add.contains(name) || security.capabilities.allowed_add.contains(name)
    };
    placed.must(capabilities.add.iter().flatten().all(may_add), "capability added", faults);
    let is_read_only = own.read_only_root_filesystem == Some(true);
    placed.must(is_read_only || !security.read_only_root_filesystem, "root file system", faults);
    placed.must(matches!(word(own.proc_mount.as_ref()), "" | "Default"), "procMount", faults);
    placed.must(is_default_apparmor(own.app_armor_profile.as_ref()), "AppArmor", faults);
    placed.must(is_no_label(own.se_linux_options.as_ref(), placed.keys), "SELinux", faults);
    placed.must(is_not_windows(own.windows_options.as_ref()), "Windows options", faults);
}

fn rule_cases() -> Vec<RuleCase> {
    [of_users(), of_privileges(), of_confinement()].into_iter().flatten().collect()
}

fn of_users() -> Vec<RuleCase> {
    let ids = || vec![json!(0), json!(999), json!(1001), json!(-1), json!(4_294_968_296_u64)];
    let set = || vec![json!(1000), json!(null), json!("!remove")];
    vec![
        rule_case(
            "run-as-non-root",
            vec![
                ("spec/securityContext/runAsNonRoot", vec![json!(false), json!(null)]),
                ("C/securityContext/runAsNonRoot", vec![json!(false)]),
            ],
            vec![
                ("spec/securityContext/runAsNonRoot", vec![json!(true), json!("!remove")]),
                ("C/securityContext/runAsNonRoot", vec![json!(true)]),
            ],
        ),
        rule_case(
            "run-as-user",
            vec![("spec/securityContext/runAsUser", ids()), ("C/securityContext/runAsUser", ids())],
            vec![
                ("spec/securityContext/runAsUser", set()),
                ("C/securityContext/runAsUser", vec![json!(1000)]),
            ],
        ),
        rule_case(
            "run-as-group",
            vec![("spec/securityContext/runAsGroup", ids()), ("C/securityContext/runAsGroup", ids())],
            vec![
                ("spec/securityContext/runAsGroup", set()),
                ("C/securityContext/runAsGroup", vec![json!(1000)]),
            ],
        ),
        rule_case(
            "fs-group",
            vec![("spec/securityContext/fsGroup", ids())],
            vec![("spec/securityContext/fsGroup", set())],
        ),
        rule_case(
            "supplemental-groups",
            vec![("spec/securityContext/supplementalGroups", vec![json!([0]), json!([1000, 1001])])],
            vec![(
                "spec/securityContext/supplementalGroups",
                vec![json!([1000]), json!([1000, 1000]), json!([])],
            )],
        ),
    ]
}

fn of_privileges() -> Vec<RuleCase> {
    vec![
        rule_case(
            "privileged",
            vec![("C/securityContext/privileged", vec![json!(true)])],
            vec![("C/securityContext/privileged", vec![json!(false), json!(null)])],
        ),
        rule_case(
            "privilege-escalation",
            vec![("C/securityContext/allowPrivilegeEscalation", vec![json!(true), json!(null)])],
            vec![
                ("C/securityContext/allowPrivilegeEscalation", vec![json!(false)]),
                ("spec/containers/*/securityContext/allowPrivilegeEscalation", vec![json!("!remove")]),
            ],
        ),
        rule_case(
            "capabilities",
            vec![(
                "C/securityContext/capabilities",
                vec![
                    json!({"drop": ["all"]}),
                    json!({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}),
                    json!({"drop": ["ALL"], "add": [""]}),
                    json!({"drop": ["\u{410}LL"]}),
                ],
            )],
            vec![
                (
                    "C/securityContext/capabilities",
                    vec![json!({"drop": ["ALL"], "add": []}), json!({"drop": ["NET_RAW", "ALL", "ALL"]})],
                ),
                ("spec/containers/*/securityContext/capabilities", vec![json!({}), json!("!remove")]),
            ],
        ),
        rule_case(
            "read-only-root",
            vec![("C/securityContext/readOnlyRootFilesystem", vec![json!(false), json!(null)])],
            vec![
                ("C/securityContext/readOnlyRootFilesystem", vec![json!(true)]),
                ("spec/containers/*/securityContext/readOnlyRootFilesystem", vec![json!("!remove")]),
            ],
        ),
    ]
}

fn of_confinement() -> Vec<RuleCase> {
    let default = || json!({"type": "RuntimeDefault"});
    let others = || {
        vec![
            json!({"type": "Unconfined"}),
            json!({"type": "Localhost", "localhostProfile": "x"}),
            json!({"type": "runtimeDefault"}),
            json!({}),
        ]
    };
    vec![
        rule_case(
            "seccomp",
            vec![
                ("spec/securityContext/seccompProfile", others()),
                ("C/securityContext/seccompProfile", others()),
                ("metadata/annotations/seccomp.security.alpha.kubernetes.io~1pod", vec![json!("unconfined")]),
                (
                    "metadata/annotations/container.seccomp.security.alpha.kubernetes.io~1main",
                    vec![json!("localhost/x")],
                ),
            ],
            vec![
                ("spec/securityContext/seccompProfile", vec![default(), json!("!remove")]),
                ("C/securityContext/seccompProfile", vec![default()]),
                (
                    "metadata/annotations/container.seccomp.security.alpha.kubernetes.io~1main",
                    vec![json!("runtime/default")],
                ),
            ],
        ),
        rule_case(
            "apparmor",
            vec![
                ("spec/securityContext/appArmorProfile", others()),
                ("C/securityContext/appArmorProfile", others()),
                (
                    "metadata/annotations/container.apparmor.security.beta.kubernetes.io~1main",
                    vec![json!("unconfined"), json!("localhost/x")],
                ),
            ],
            vec![
                ("spec/securityContext/appArmorProfile", vec![default()]),
                ("C/securityContext/appArmorProfile", vec![default()]),
                (
                    "metadata/annotations/container.apparmor.security.beta.kubernetes.io~1main",
                    vec![json!("runtime/default")],
                ),
            ],
        ),
        rule_case(
            "selinux",
            vec![
                ("spec/securityContext/seLinuxOptions", vec![json!({"type": "spc_t"}), json!({"user": " "})]),
                ("C/securityContext/seLinuxOptions", vec![json!({"level": "s0:c1"})]),
            ],
            vec![
                ("spec/securityContext/seLinuxOptions", vec![json!({}), json!({"level": ""})]),
                ("C/securityContext/seLinuxOptions", vec![json!({"type": ""})]),
            ],
        ),
        rule_case(
            "proc-mount",
            vec![("C/securityContext/procMount", vec![json!("Unmasked"), json!("default")])],
            vec![("C/securityContext/procMount", vec![json!("Default"), json!(null)])],
        ),
        rule_case(
            "sysctls",
            vec![("spec/securityContext/sysctls", vec![json!([{"name": "kernel.msgmax", "value": "1"}])])],
            vec![("spec/securityContext/sysctls", vec![json!([]), json!(null)])],
        ),
        rule_case(
            "windows",
            vec![
                ("spec/os", vec![json!({"name": "windows"}), json!({"name": "Linux"})]),
                ("spec/securityContext/windowsOptions", vec![json!({"hostProcess": true}), json!({})]),
                ("C/securityContext/windowsOptions", vec![json!({"runAsUserName": "x"})]),
            ],
            vec![
                ("spec/os", vec![json!({"name": "linux"}), json!({})]),
                ("C/securityContext/windowsOptions", vec![json!(null)]),
            ],
        ),
    ]
}

/// Cases under policies that open or close something.
const CASES_UNDER_POLICIES: &str = r#"
- rule: host-users
  spec: {security: {hostUsers: false}}
  violating:
    spec/hostUsers: [true]
  boundary:
    spec/hostUsers: [false, "!remove"]
- rule: run-as-user
  spec: {security: {runAsUser: {default: 1000, min: 500, max: 2000}}}
  violating:
    spec/securityContext/runAsUser: [499, 2001, 0]
    C/securityContext/runAsUser: [499, 2001, 0]
  boundary:
    spec/securityContext/runAsUser: [500, 2000]
    C/securityContext/runAsUser: [500, 2000]
- rule: run-as-user
  spec: {security: {root: {runtimeClasses: [gvisor], userNamespace: true}}}
  violating:
    C/securityContext/runAsUser: [0]
  boundary:
    spec/hostUsers: [false]
- rule: run-as-non-root
  spec: {security: {root: {runtimeClasses: [gvisor], userNamespace: true}}}
  violating:
    spec/securityContext/runAsNonRoot: [false]
  boundary:
    spec/hostUsers: [false]
- rule: run-as-group
  spec: {security: {runAsGroup: {default: 0, min: 0, max: 1000}}}
  violating:
    spec/securityContext/runAsGroup: [1001]
  boundary:
    spec/securityContext/runAsGroup: [0, 1000, "!remove"]
- rule: fs-group
  spec: {security: {fsGroup: {default: null, min: 100, max: 2000}}}
  violating:
    spec/securityContext/fsGroup: [99, 2001]
  boundary:
    spec/securityContext/fsGroup: [100, 2000, "!remove"]
- rule: supplemental-groups
  spec: {security: {supplementalGroupsPolicy: Strict}}
  violating:
    spec/securityContext/supplementalGroupsPolicy: [Merge]
  boundary:
    spec/securityContext/supplementalGroupsPolicy: [Strict, "!remove"]
- rule: capabilities
  spec: {security: {root: {runtimeClasses: [gvisor]}, capabilities: {drop: [NET_RAW, MKNOD], add: [CHOWN], allowedAdd: [NET_BIND_SERVICE]}}}
  violating:
    C/securityContext/capabilities: [{drop: [ALL], add: [SYS_ADMIN]}, {drop: [ALL], add: [ALL]}, {drop: [ALL], add: [CAP_CHOWN]}]
  boundary:
    C/securityContext/capabilities: [{drop: [NET_RAW, MKNOD], add: [CHOWN, NET_BIND_SERVICE]}, {drop: [ALL], add: []}]
- rule: seccomp
  spec: {security: {seccompProfiles: [RuntimeDefault, Localhost/a/b.json]}}
  violating:
    C/securityContext/seccompProfile: [{type: Localhost, localhostProfile: a}, {type: Unconfined}, {type: Localhost, localhostProfile: A/b.json}]
  boundary:
    C/securityContext/seccompProfile: [{type: Localhost, localhostProfile: a/b.json}]
- rule: selinux
  spec: {security: {seLinuxLevel: true}}
  violating:
    C/securityContext/seLinuxOptions: [{level: "s0:c1", type: spc_t}, {user: x}, {role: x}]
  boundary:
    C/securityContext/seLinuxOptions: [{level: "s0:c1"}]
- rule: sysctls
  spec: {security: {sysctls: [net.ipv4.ip_unprivileged_port_start]}}
  violating:
    spec/securityContext/sysctls: [[{name: kernel.shm_rmid_forced, value: "1"}], [{name: net.ipv4.ip_unprivileged_port_start, value: "0"}, {name: kernel.msgmax, value: "1"}]]
  boundary:
    spec/securityContext/sysctls: [[{name: net.ipv4.ip_unprivileged_port_start, value: "0"}]]
- rule: shared-process-namespace
  spec: {security: {shareProcessNamespace: false}}
  violating:
    spec/shareProcessNamespace: [true]
  boundary:
    spec/shareProcessNamespace: [false]
"#;
