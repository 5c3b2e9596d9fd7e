//! Checks of labels, accounts, lifecycle, placement and security.

use super::{
    super::{
        pattern::ANYTHING,
        security::Capabilities,
        spec::{Annotations, Labels, Lifecycle, Placement, ServiceAccount, Spec, Token},
        values::{Bound, IdRange, NodeOperator, NodeRequirement, OnExcess, Toleration, TolerationOperator},
    },
    Problems, check_exact_names, is_dns_subdomain, is_label_key, is_label_value,
};

/// The prefix of the annotations that reconfigure gVisor.
const GVISOR_PREFIX: &str = "dev.gvisor.";
/// Beginning and end of the only key of gVisor that a policy can admit: one volume is shared in the Pod.
const FORCED_SHARING: (&str, &str) = ("dev.gvisor.empty-dir.", ".force-shared");
/// The only capability that a container may add without root; Pod Security's restricted profile allows it too.
const HARMLESS_CAPABILITY: &str = "NET_BIND_SERVICE";
/// The shortest lifetime of a token that the API server issues, in seconds.
const MIN_TOKEN_SECONDS: u32 = 600;
/// Audiences of API servers: a token for one of them is a token for the API server.
const API_AUDIENCES: [&str; 8] = [
    "api",
    "kubernetes",
    "kubernetes.default",
    "https://kubernetes",
    "https://container.googleapis.com/",
    "https://oidc.eks.",
    "https://oidc-eks.",
    "https://rancher",
];
/// The sysctls that Kubernetes calls safe: they are of the Pod's own kernel namespaces.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

pub(super) fn check(spec: &Spec, findings: &mut Problems) {
    check_metadata(&spec.labels, &spec.annotations, findings);
    let classes = &spec.runtime_class;
    check_exact_names("runtimeClass.allowed", &classes.allowed, findings);
    if !classes.allowed.contains(&classes.default) {
        let problem = format!(
            "{:?} is not one of runtimeClass.allowed {:?}: a Pod that is filled would be denied",
            classes.default, classes.allowed
        );
        findings.add("runtimeClass.default", problem);
    }
    check_account(&spec.service_account, findings);
    check_lifecycle(&spec.lifecycle, findings);
    check_placement(&spec.placement, findings);
    check_security(spec, findings);
}

fn check_metadata(labels: &Labels, annotations: &Annotations, findings: &mut Problems) {
    for (key, value) in &labels.required {
        if !is_label_key(key) || !is_label_value(value) {
            findings.add("labels.required", format!("{key}={value} is no valid label"));
        } else if labels.forbidden.allows(key) {
            findings.add("labels.required", format!("{key:?} is forbidden by labels.forbidden too"));
        }
    }
    for (index, key) in labels.forbidden.iter().enumerate() {
        if key.is_anything() {
            findings.add(
                format!("labels.forbidden[{index}]"),
                "forbids every label: name the keys that are meant",
            );
        }
    }
    for (index, key) in annotations.forbidden.iter().enumerate() {
        if key.is_anything() {
            let problem = "forbids every annotation, those of this program too: name the keys that are meant";
            findings.add(format!("annotations.forbidden[{index}]"), problem);
        }
    }
    for (index, key) in annotations.allowed.iter().enumerate() {
        let is_of_gvisor = key.as_str().starts_with(GVISOR_PREFIX);
        if is_of_gvisor
            && !(key.as_str().starts_with(FORCED_SHARING.0) && key.as_str().ends_with(FORCED_SHARING.1))
        {
            let problem = format!(
                "{:?} opens nothing: of the keys of gVisor a policy can admit {}VOLUME{} only, others reconfigure the \
                 sandbox",
                key.as_str(),
                FORCED_SHARING.0,
                FORCED_SHARING.1
            );
            findings.add(format!("annotations.allowed[{index}]"), problem);
        }
    }
}

fn check_account(account: &ServiceAccount, findings: &mut Problems) {
    if let Some(default) = &account.default {
        if !is_dns_subdomain(default) {
            findings.add("serviceAccount.default", format!("{default:?} is no name of a service account"));
        } else if !account.allowed.allows(default) {
            let problem =
                format!("{default:?} is not in serviceAccount.allowed: a Pod that is filled would be denied");
            findings.add("serviceAccount.default", problem);
        }
    }
    if account.allowed.is_empty() {
        findings.add("serviceAccount.allowed", "is empty, so every Pod would be denied: name the accounts");
    }
    for (index, Token { audience, max_expiration_seconds }) in account.tokens.iter().enumerate() {
        let path = format!("serviceAccount.tokens[{index}]");
        if account.allowed.allows_anything() {
            let problem = "stands beside serviceAccount.allowed [\"*\"], which would give every account's cloud role to \
                           every Pod: name the accounts";
            findings.add(&path, problem);
        }
        if *max_expiration_seconds < MIN_TOKEN_SECONDS {
            let problem =
                format!("{max_expiration_seconds} is below the shortest lifetime of {MIN_TOKEN_SECONDS} s");
            findings.add(format!("{path}.maxExpirationSeconds"), problem);
        }
        if account.tokens[..index].iter().any(|other| other.audience == *audience) {
            findings.add(format!("{path}.audience"), "is repeated: remove one");
        }
        if let Some(problem) = wrong_audience(audience) {
            findings.add(format!("{path}.audience"), format!("{audience:?} {problem}"));
        }
    }
}

fn wrong_audience(audience: &str) -> Option<&'static str> {
    if audience.is_empty() || audience.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Some("must be the audience of a service, exact: a token without one is for the API server");
    }
    let is_api = |known: &str| {
        if known.starts_with("https://") {
            return audience.starts_with(known.trim_end_matches('/'));
        }
        audience == known || audience.starts_with("kubernetes.default.")
    };
    if API_AUDIENCES.iter().any(|known| is_api(known)) || audience.contains(".oic.prod-aks.azure.com") {
        return Some(
            "is an audience of API servers: the token would be one for the API server. Use automountToken",
        );
    }
    let star = audience.find('*')?;
    let path = audience.strip_prefix("spiffe://").and_then(|rest| rest.find('/'));
    let in_path = path.is_some_and(|path| path + "spiffe://".len() < star);
    (!in_path).then_some("may have '*' in the path of a spiffe:// id only")
}

fn check_lifecycle(lifecycle: &Lifecycle, findings: &mut Problems) {
    let restart = &lifecycle.restart_policy;
    if !restart.allowed.contains(&restart.default) {
        let problem = format!(
            "{} is not in lifecycle.restartPolicy.allowed: a Pod that is filled would be denied",
            restart.default.as_str()
        );
        findings.add("lifecycle.restartPolicy.default", problem);
    }
    let Bound { default, max, on_excess } = lifecycle.active_deadline_seconds;
    let path = "lifecycle.activeDeadlineSeconds";
    if let (Some(default), Some(max)) = (default, max)
        && default > max
    {
        findings.add(format!("{path}.default"), format!("{default} is above its own max {max}"));
    }
    for (key, value) in [("default", default), ("max", max)] {
        if value.is_some_and(|value| value == 0 || value > i32::MAX.unsigned_abs()) {
            findings.add(format!("{path}.{key}"), "must be 1 to 2147483647 seconds, or null");
        }
    }
    let grace = &lifecycle.termination_grace_period_seconds;
    for (path, on_excess, max) in
        [(path, on_excess, max), ("lifecycle.terminationGracePeriodSeconds", grace.on_excess, grace.max)]
    {
        if on_excess == OnExcess::Clamp && max.is_none() {
            findings.add(format!("{path}.onExcess"), "clamp needs a max to lower to");
        }
    }
    let extra = restart.allowed_for_jobs.iter().any(|value| !restart.allowed.contains(value));
    if extra && max.is_none() {
        let problem = "needs activeDeadlineSeconds.max: a Pod can claim to be a Job's, and without a deadline nothing \
                       ends its restarts. Set a max, or allowedForJobs: []";
        findings.add("lifecycle.restartPolicy.allowedForJobs", problem);
    }
}

fn check_placement(placement: &Placement, findings: &mut Problems) {
    for (index, NodeRequirement { key, operator, values }) in placement.node_affinity.iter().enumerate() {
        let path = format!("placement.nodeAffinity[{index}]");
        if !is_label_key(key) {
            findings.add(format!("{path}.key"), format!("{key:?} is no valid node label"));
        }
        let wanted = match operator {
            NodeOperator::In | NodeOperator::NotIn if values.is_empty() => "needs at least one value",
            NodeOperator::Exists | NodeOperator::DoesNotExist if !values.is_empty() => "takes no values",
            NodeOperator::Gt | NodeOperator::Lt if values.len() != 1 => "takes exactly one value",
            _ => continue,
        };
        findings.add(format!("{path}.values"), format!("the operator {} {wanted}", operator.as_str()));
    }
    for (list, tolerations) in
        [("tolerations", &placement.tolerations), ("allowedTolerations", &placement.allowed_tolerations)]
    {
        for (index, Toleration { key, operator, value, effect: _ }) in tolerations.iter().enumerate() {
            let path = format!("placement.{list}[{index}]");
            if key.is_empty() || key.contains('*') {
                findings.add(
                    format!("{path}.key"),
                    "must name one taint; an empty key would tolerate every node",
                );
            } else if key.starts_with("node-role.kubernetes.io/") {
                let problem =
                    format!("{key:?} is the taint of control planes: Pods of a sandbox have no place there");
                findings.add(format!("{path}.key"), problem);
            }
            if *operator == TolerationOperator::Exists && !value.is_empty() {
                findings.add(format!("{path}.value"), "must be empty where the operator is Exists");
            }
        }
    }
    if placement.scheduler_names.is_empty() {
        findings.add("placement.schedulerNames", "is empty, so every Pod would be denied: name a scheduler");
    }
    if placement.priority_class_names.iter().any(|name| name.matches("system-node-critical")) {
        let problem = "allows system-node-critical, which evicts the programs of the node: name the classes";
        findings.add("placement.priorityClassNames", problem);
    }
}

fn check_security(spec: &Spec, findings: &mut Problems) {
    let security = &spec.security;
    let ranges = [
        ("runAsUser", &security.run_as_user),
        ("runAsGroup", &security.run_as_group),
        ("fsGroup", &security.fs_group),
    ];
    for (field, IdRange { default, min, max }) in ranges {
        let path = format!("security.{field}");
        if min > max {
            findings.add(format!("{path}.min"), format!("{min} is above its own max {max}"));
        } else if let Some(default) = default.filter(|default| !(min..=max).contains(&default)) {
            findings.add(
                format!("{path}.default"),
                format!("{default} lies outside its own range {min} to {max}"),
            );
        }
        if *max > i32::MAX.unsigned_abs() {
            let problem = format!("{max} is above 2147483647, the highest id that Kubernetes takes");
            findings.add(format!("{path}.max"), problem);
        }
    }
    if security.run_as_user.min == 0 {
        findings.add("security.runAsUser.min", "0 is root: use 1 or more, and security.root to allow root");
    }
    check_exact_names("security.root.runtimeClasses", &security.root.runtime_classes, findings);
    for (index, class) in security.root.runtime_classes.iter().enumerate() {
        if !spec.runtime_class.allowed.contains(class) {
            let problem = format!("{class:?} is not in runtimeClass.allowed: no Pod can have it");
            findings.add(format!("security.root.runtimeClasses[{index}]"), problem);
        }
    }
    if security.root.user_namespace && !security.root.is_allowed() {
        findings.add("security.root.userNamespace", "does nothing without security.root.runtimeClasses");
    }
    if security.host_users == Some(true) {
        findings.add("security.hostUsers", "must be false, which demands a user namespace, or null");
    }
    if security.seccomp_profiles.is_empty() {
        findings.add("security.seccompProfiles", "is empty, so every Pod would be denied: name a profile");
    }
    for (index, profile) in security.seccomp_profiles.iter().enumerate() {
        if profile != "RuntimeDefault" && profile.strip_prefix("Localhost/").is_none_or(str::is_empty) {
            let problem = format!("{profile:?} must be RuntimeDefault or Localhost/PROFILE");
            findings.add(format!("security.seccompProfiles[{index}]"), problem);
        }
    }
    for (index, sysctl) in security.sysctls.iter().enumerate() {
        if !SAFE_SYSCTLS.contains(&sysctl.as_str()) {
            let problem = format!("{sysctl:?} is no safe sysctl; there are {}", SAFE_SYSCTLS.join(", "));
            findings.add(format!("security.sysctls[{index}]"), problem);
        }
    }
    check_capabilities(spec, findings);
}

fn check_capabilities(spec: &Spec, findings: &mut Problems) {
    let Capabilities { drop, add, allowed_add } = &spec.security.capabilities;
    for (field, names) in [("drop", drop), ("add", add), ("allowedAdd", allowed_add)] {
        for (index, name) in names.iter().enumerate() {
            let path = format!("security.capabilities.{field}[{index}]");
            if name == ANYTHING
                || name.starts_with("CAP_")
                || name.chars().any(|c| !c.is_ascii_uppercase() && c != '_')
            {
                findings.add(
                    path,
                    format!("{name:?} must be written as Kubernetes does: NET_BIND_SERVICE, without CAP_"),
                );
            } else if field != "drop" && name == "ALL" {
                findings.add(path, "ALL would give every capability: name the ones that are needed");
            } else if field != "drop" && name != HARMLESS_CAPABILITY && !root_everywhere(spec) {
                let problem = format!(
                    "{name} is for root inside a sandbox: every class of runtimeClass.allowed must be in \
                     security.root.runtimeClasses"
                );
                findings.add(path, problem);
            }
        }
    }
}

/// Returns true if root is allowed under every runtime class that a Pod can have.
fn root_everywhere(spec: &Spec) -> bool {
    let root = &spec.security.root.runtime_classes;
    spec.runtime_class.allowed.iter().all(|class| root.contains(class))
}
