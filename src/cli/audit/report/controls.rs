//! Which controls of public benchmarks a rule serves, for the page that an auditor reads.

/// The controls of some rules. CIS is the Kubernetes Benchmark 1.8, NSA/CISA the headings of the Kubernetes Hardening Guide
/// 1.2, PSS the Pod Security Standards. A rule is listed where the control asks for what the rule checks; a control can
/// ask for more.
struct Controls {
    rules: &'static [&'static str],
    controls: &'static [&'static str],
}

const CONTROLS: [Controls; 21] = [
    Controls {
        rules: &["privileged"],
        controls: &[
            "CIS 5.2.2",
            "PSS Baseline: Privileged Containers",
            "NSA/CISA: Pod security enforcement",
            "NIST 800-190 4.4.3",
        ],
    },
    Controls {
        rules: &["host-namespaces"],
        controls: &[
            "CIS 5.2.3",
            "CIS 5.2.4",
            "CIS 5.2.5",
            "PSS Baseline: Host Namespaces",
            "NSA/CISA: Pod security enforcement",
            "NIST 800-190 4.4.3",
        ],
    },
    Controls {
        rules: &["privilege-escalation"],
        controls: &[
            "CIS 5.2.6",
            "PSS Restricted: Privilege Escalation",
            "NSA/CISA: Pod security enforcement",
            "NIST 800-190 4.4.3",
        ],
    },
    Controls {
        rules: &["run-as-non-root", "run-as-user"],
        controls: &["CIS 5.2.7", "PSS Restricted: Running as Non-root", "NSA/CISA: Non-root containers"],
    },
    Controls {
        rules: &["capabilities"],
        controls: &[
            "CIS 5.2.8",
            "CIS 5.2.9",
            "CIS 5.2.10",
            "PSS Restricted: Capabilities",
            "NSA/CISA: Pod security enforcement",
            "NIST 800-190 4.4.3",
        ],
    },
    Controls { rules: &["windows"], controls: &["CIS 5.2.11", "PSS Baseline: HostProcess"] },
    Controls {
        rules: &["volume-types"],
        controls: &[
            "CIS 5.2.12",
            "PSS Baseline: HostPath Volumes",
            "PSS Restricted: Volume Types",
            "NSA/CISA: Pod security enforcement",
            "NIST 800-190 4.5.5",
        ],
    },
    Controls { rules: &["host-ports"], controls: &["CIS 5.2.13", "PSS Baseline: Host Ports"] },
    Controls { rules: &["probe-hosts"], controls: &["PSS Baseline: Host Probes / Lifecycle Hooks"] },
    Controls {
        rules: &["seccomp"],
        controls: &["CIS 5.6.2", "PSS Restricted: Seccomp", "NSA/CISA: Hardening container environments"],
    },
    Controls {
        rules: &["apparmor"],
        controls: &["PSS Baseline: AppArmor", "NSA/CISA: Hardening container environments"],
    },
    Controls {
        rules: &["selinux"],
        controls: &["PSS Baseline: SELinux", "NSA/CISA: Hardening container environments"],
    },
    Controls { rules: &["proc-mount"], controls: &["PSS Baseline: /proc Mount Type", "NIST 800-190 4.4.3"] },
    Controls { rules: &["sysctls"], controls: &["PSS Baseline: Sysctls", "NIST 800-190 4.4.3"] },
    Controls {
        rules: &["read-only-root", "writable-paths"],
        controls: &["NSA/CISA: Immutable container file systems", "NIST 800-190 4.4.4"],
    },
    Controls {
        rules: &["runtime-class", "gvisor-annotations", "host-users"],
        controls: &["NSA/CISA: Hardening container environments", "NIST 800-190 4.5.2"],
    },
    Controls { rules: &["service-account"], controls: &["CIS 5.1.5"] },
    Controls {
        rules: &["token-volumes"],
        controls: &["CIS 5.1.6", "NSA/CISA: Protecting Pod service account tokens"],
    },
    Controls {
        rules: &["resource-limits", "resource-kinds", "pod-budget"],
        controls: &["NSA/CISA: Resource policies"],
    },
    Controls { rules: &["node-affinity", "node-name", "tolerations"], controls: &["NIST 800-190 4.3.4"] },
    Controls { rules: &["images"], controls: &["CIS 5.5.1", "NIST 800-190 4.1.5"] },
];

/// Returns the controls that a rule serves.
pub(super) fn controls_of(rule: &str) -> &'static [&'static str] {
    let found = CONTROLS.iter().find(|controls| controls.rules.contains(&rule));
    found.map_or(&[], |controls| controls.controls)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandgate_engine::rules;

    #[test]
    fn every_entry_is_a_rule_and_none_is_repeated() {
        let mut named: Vec<&str> = CONTROLS.iter().flat_map(|controls| controls.rules).copied().collect();
        assert!(named.iter().all(|id| rules::by_id(id).is_some()), "{named:?}");
        let all = named.len();
        named.sort_unstable();
        named.dedup();
        assert_eq!(named.len(), all);
    }

    #[test]
    fn every_control_of_cis_5_2_that_a_policy_can_enforce_is_served() {
        for number in 2..=13 {
            let control = format!("CIS 5.2.{number}");
            assert!(CONTROLS.iter().any(|entry| entry.controls.contains(&&*control)), "{control}");
        }
    }
}
