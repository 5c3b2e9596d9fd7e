//! What each rule of [`crate::rules::ALL`] denies, in CEL: one subject a file, with the names of the rules' own files.

pub(super) mod accounts;
mod images;
mod isolation;
mod lifecycle;
mod metadata;
mod mounts;
pub(super) mod placement;
mod privileges;
mod resources;
mod runtime;
mod schema;
mod secrets;
mod users;
mod volumes;

use crate::cel::{Keys, Statement};

/// Returns what a rule denies under the keys of one profile.
type Checks = fn(Keys) -> Vec<Statement>;

/// Returns the checks of the rule `id`; `None` if the rule cannot be stated in CEL.
pub(super) fn checks(id: &str, keys: Keys) -> Option<Vec<Statement>> {
    let (_, checks) = CHECKS.iter().find(|(known, _)| *known == id)?;
    Some(checks(keys))
}

/// Every rule that can be stated in CEL, in the order of [`crate::rules::ALL`].
const CHECKS: [(&str, Checks); 54] = [
    ("pod-schema", schema::pod_schema),
    ("labels", metadata::labels),
    ("annotations", metadata::annotations),
    ("mirror-pod", metadata::mirror_pod),
    ("runtime-class", runtime::runtime_class),
    ("gvisor-annotations", runtime::gvisor_annotations),
    ("node-affinity", placement::node_affinity),
    ("tolerations", placement::tolerations),
    ("node-name", placement::node_name),
    ("scheduler", placement::scheduler),
    ("priority-class", placement::priority_class),
    ("pod-anti-affinity", placement::pod_anti_affinity),
    ("service-account", accounts::service_account),
    ("token-volumes", accounts::token_volumes),
    ("restart-policy", lifecycle::restart_policy),
    ("container-restart-rules", lifecycle::container_restart_rules),
    ("active-deadline", lifecycle::active_deadline),
    ("grace-period", lifecycle::grace_period),
    ("host-users", users::host_users),
    ("run-as-non-root", users::run_as_non_root),
    ("run-as-user", users::run_as_user),
    ("run-as-group", users::run_as_group),
    ("fs-group", users::fs_group),
    ("supplemental-groups", users::supplemental_groups),
    ("privileged", privileges::privileged),
    ("privilege-escalation", privileges::privilege_escalation),
    ("capabilities", privileges::capabilities),
    ("read-only-root", privileges::read_only_root),
    ("seccomp", privileges::seccomp),
    ("apparmor", privileges::apparmor),
    ("selinux", privileges::selinux),
    ("proc-mount", privileges::proc_mount),
    ("sysctls", privileges::sysctls),
    ("windows", privileges::windows),
    ("host-namespaces", isolation::host_namespaces),
    ("shared-process-namespace", isolation::shared_process_namespace),
    ("host-ports", isolation::host_ports),
    ("probe-hosts", isolation::probe_hosts),
    ("dns-policy", isolation::dns_policy),
    ("termination-message-path", isolation::termination_message_path),
    ("volume-types", volumes::volume_types),
    ("empty-dir", volumes::empty_dir),
    ("writable-paths", mounts::writable_paths),
    ("sub-paths", mounts::sub_paths),
    ("volume-devices", mounts::volume_devices),
    ("mount-propagation", mounts::mount_propagation),
    ("secrets", secrets::secrets),
    ("file-key-ref", secrets::file_key_ref),
    // Nothing is denied: the rule only fills.
    ("env", |_| Vec::new()),
    ("resource-kinds", resources::resource_kinds),
    ("resource-claims", resources::resource_claims),
    ("resource-limits", resources::resource_limits),
    ("pod-budget", resources::pod_budget),
    ("images", images::images),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_stated_in_the_order_of_the_engine() {
        let stated: Vec<&str> = CHECKS.iter().map(|(id, _)| *id).collect();
        let rules: Vec<&str> = crate::rules::ALL.iter().map(|rule| rule.id).collect();
        assert_eq!(stated, rules);
    }
}
