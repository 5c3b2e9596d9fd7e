//! Users, privileges, confinement and isolation.

use serde_json::json;

use super::{RuleCase, rule_case};

pub(super) fn of_users() -> Vec<RuleCase> {
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

pub(super) fn of_privileges() -> Vec<RuleCase> {
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

pub(super) fn of_confinement() -> Vec<RuleCase> {
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

pub(super) fn of_isolation() -> Vec<RuleCase> {
    vec![
        rule_case(
            "host-namespaces",
            vec![
                ("spec/hostNetwork", vec![json!(true)]),
                ("spec/hostPID", vec![json!(true)]),
                ("spec/hostIPC", vec![json!(true)]),
            ],
            vec![("spec/hostNetwork", vec![json!(false)]), ("spec/hostPID", vec![json!(null)])],
        ),
        rule_case(
            "shared-process-namespace",
            vec![("spec/shareProcessNamespace", vec![json!(true)])],
            vec![("spec/shareProcessNamespace", vec![json!(false), json!(null)])],
        ),
        rule_case(
            "host-ports",
            vec![("C/ports", vec![json!([{"containerPort": 80}, {"containerPort": 81, "hostPort": 1}])])],
            vec![("C/ports", vec![json!([{"containerPort": 65_535, "hostPort": 0, "hostIP": "0.0.0.0"}])])],
        ),
        rule_case(
            "probe-hosts",
            vec![
                ("C/livenessProbe", vec![json!({"httpGet": {"port": 80, "host": "169.254.169.254"}})]),
                ("C/readinessProbe", vec![json!({"tcpSocket": {"port": 80, "host": "127.0.0.1"}})]),
                ("C/startupProbe", vec![json!({"httpGet": {"port": 80, "host": " "}})]),
                ("C/lifecycle", vec![json!({"preStop": {"httpGet": {"port": 80, "host": "x"}}})]),
                ("C/lifecycle", vec![json!({"postStart": {"tcpSocket": {"port": 80, "host": "::1"}}})]),
            ],
            vec![
                ("C/readinessProbe", vec![json!({"tcpSocket": {"port": 80, "host": ""}})]),
                ("C/livenessProbe", vec![json!({"httpGet": {"port": "http", "host": ""}})]),
                ("C/lifecycle", vec![json!({"preStop": {"httpGet": {"port": 80, "host": null}}})]),
            ],
        ),
        rule_case(
            "dns-policy",
            vec![("spec/dnsPolicy", vec![json!("Default"), json!("clusterFirst")])],
            vec![("spec/dnsPolicy", vec![json!("None"), json!("ClusterFirstWithHostNet"), json!(null)])],
        ),
        rule_case(
            "termination-message-path",
            vec![("C/terminationMessagePath", vec![json!("/etc/passwd"), json!("/dev/termination-log/")])],
            vec![("C/terminationMessagePath", vec![json!("/dev/termination-log"), json!(""), json!(null)])],
        ),
    ]
}
