//! The default policy, said once more: over typed Pods, from the documents and the Kubernetes API alone. A few of its
//! settings, those that the default leaves open, may be given.
//!
//! It shares no code with the engine, so that it shares none of its blind spots. It judges a Pod as it would be
//! stored, and knows nothing of filling.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Affinity, AppArmorProfile, Container, EmptyDirVolumeSource, EphemeralContainer, LifecycleHandler,
        NodeSelectorTerm, Pod, PodSecurityContext, PodSpec, Probe, ResourceRequirements, SELinuxOptions,
        SeccompProfile, SecurityContext, Toleration, Volume, VolumeMount, WindowsSecurityContextOptions,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use serde_json::Value as Json;

use crate::quantity::Nanos;

/// Every resource that may be asked for, and its ceiling, for a container and for the Pod.
const CEILINGS: [(&str, &str); 3] = [("cpu", "2"), ("memory", "4Gi"), ("ephemeral-storage", "10Gi")];
const THE_ID: i64 = 1000;

type Faults = Vec<String>;
type Amounts = BTreeMap<String, Quantity>;

/// What a policy may say beyond the default.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// How an image must begin, up to a boundary; anyhow where empty.
    pub(crate) image_prefixes: &'static [&'static str],
    pub(crate) wants_digest: bool,
    /// The Secrets that may be read; any where empty.
    pub(crate) secrets: &'static [&'static str],
    pub(crate) secrets_in_environment: bool,
    pub(crate) volume_types: &'static [&'static str],
}

pub(crate) const DEFAULT: Policy = Policy {
    image_prefixes: &[],
    wants_digest: false,
    secrets: &[],
    secrets_in_environment: true,
    volume_types: &["emptyDir"],
};

/// Says everything that is wrong with `pod` under the default policy.
pub(crate) fn judge(pod: &Pod) -> Faults {
    judge_under(&DEFAULT, pod)
}

/// Says everything that is wrong with `pod`.
pub(crate) fn judge_under(policy: &Policy, pod: &Pod) -> Faults {
    let mut faults = Faults::new();
    let none = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&none);
    let containers = every_container(spec);
    judge_metadata(&pod.metadata, spec, &mut faults);
    judge_identity(spec, &mut faults);
    judge_placement(spec, &mut faults);
    judge_lifecycle(&pod.metadata, spec, &mut faults);
    judge_isolation(spec, &mut faults);
    judge_pod_security(spec.security_context.as_ref(), &mut faults);
    for volume in spec.volumes.iter().flatten() {
        judge_volume(policy, volume, &mut faults);
    }
    for container in &containers {
        let mut own = Faults::new();
        judge_container(container, spec, &mut own);
        judge_image(policy, word(container.container.image.as_ref()), &mut own);
        judge_environment(policy, &container.container, &mut own);
        faults.extend(own.into_iter().map(|fault| format!("{fault} in {}", container.place)));
    }
    judge_budget(spec, &containers, &mut faults);
    faults
}

fn must(holds: bool, fault: &str, faults: &mut Faults) {
    if !holds {
        faults.push(fault.to_string());
    }
}

/// An empty string means the same as none throughout the API.
fn word(text: Option<&String>) -> &str {
    text.map_or("", String::as_str)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    App,
    Init,
    Sidecar,
    Ephemeral,
}

struct Placed {
    place: String,
    kind: Kind,
    container: Container,
}

fn every_container(spec: &PodSpec) -> Vec<Placed> {
    let init = |container: &Container| match word(container.restart_policy.as_ref()) {
        "Always" => Kind::Sidecar,
        _ => Kind::Init,
    };
    let mut all = Vec::new();
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        let place = format!("initContainers[{index}]");
        all.push(Placed { place, kind: init(container), container: container.clone() });
    }
    for (index, container) in spec.containers.iter().enumerate() {
        let place = format!("containers[{index}]");
        all.push(Placed { place, kind: Kind::App, container: container.clone() });
    }
    for (index, container) in spec.ephemeral_containers.iter().flatten().enumerate() {
        let place = format!("ephemeralContainers[{index}]");
        all.push(Placed { place, kind: Kind::Ephemeral, container: as_container(container) });
    }
    all
}

/// The two types have the same fields but for the target's name.
fn as_container(container: &EphemeralContainer) -> Container {
    serde_json::to_value(container).and_then(serde_json::from_value).unwrap()
}

fn judge_metadata(metadata: &ObjectMeta, spec: &PodSpec, faults: &mut Faults) {
    let app = metadata.labels.as_ref().and_then(|labels| labels.get("app"));
    must(word(app) == "workflow-runner", "label app", faults);
    for (key, value) in metadata.annotations.iter().flatten() {
        judge_annotation(key, value, spec, faults);
    }
}

fn judge_annotation(key: &str, value: &str, spec: &PodSpec, faults: &mut Faults) {
    let is_seccomp = key == "seccomp.security.alpha.kubernetes.io/pod"
        || key.starts_with("container.seccomp.security.alpha.kubernetes.io/");
    must(!is_seccomp || value == "runtime/default", "seccomp annotation", faults);
    let is_apparmor = key.starts_with("container.apparmor.security.beta.kubernetes.io/");
    must(!is_apparmor || matches!(value, "" | "runtime/default"), "AppArmor annotation", faults);
    must(key != "kubernetes.io/config.mirror", "mirror annotation", faults);
    must(!key.starts_with("dev.gvisor.") || is_mount_hint(key, value, spec), "gVisor annotation", faults);
}

/// What GKE adds itself for a Pod's emptyDir volumes.
fn is_mount_hint(key: &str, value: &str, spec: &PodSpec) -> bool {
    let Some((volume, property)) =
        key.strip_prefix("dev.gvisor.spec.mount.").and_then(|hint| hint.rsplit_once('.'))
    else {
        return false;
    };
    let mut volumes = spec.volumes.iter().flatten().filter(|known| known.name == volume);
    let Some(empty_dir) = volumes.find_map(|volume| volume.empty_dir.as_ref()) else { return false };
    let in_memory = word(empty_dir.medium.as_ref()) == "Memory";
    let options = ["ro", "rw", "private", "rprivate", "noexec", "nosuid", "nodev", "noatime", ""];
    match property {
        // A hint of tmpfs would move a volume on disk into memory that no limit of its own bounds.
        "type" => value == if in_memory { "tmpfs" } else { "bind" },
        "share" => matches!(value, "container" | "pod"),
        "options" => value.split(',').all(|option| options.contains(&option)),
        _ => false,
    }
}

fn judge_identity(spec: &PodSpec, faults: &mut Faults) {
    must(word(spec.runtime_class_name.as_ref()) == "gvisor", "runtime class", faults);
    must(word(spec.service_account_name.as_ref()) == "workflow-runner", "service account", faults);
    // The name goes before its alias; "default" is what the API server writes beside a name that is not set.
    let alias = word(spec.service_account.as_ref());
    must(matches!(alias, "" | "default" | "workflow-runner"), "service account alias", faults);
    must(spec.automount_service_account_token == Some(false), "automount", faults);
}

fn judge_placement(spec: &PodSpec, faults: &mut Faults) {
    must(word(spec.node_name.as_ref()).is_empty(), "node name", faults);
    must(matches!(word(spec.scheduler_name.as_ref()), "" | "default-scheduler"), "scheduler", faults);
    must(word(spec.priority_class_name.as_ref()).is_empty(), "priority class", faults);
    must(has_node_affinity(spec.affinity.as_ref()), "node affinity", faults);
    must(keeps_nobody_else_away(spec.affinity.as_ref()), "anti-affinity", faults);
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    must(tolerations.iter().any(is_sandbox_toleration), "toleration missing", faults);
    let known = |toleration| is_sandbox_toleration(toleration) || is_default_toleration(toleration);
    must(tolerations.iter().all(known), "toleration not allowed", faults);
}

/// A required anti-affinity also holds against the Pods that it selects, wherever the topology reaches.
fn keeps_nobody_else_away(affinity: Option<&Affinity>) -> bool {
    let anti = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let required = anti.and_then(|anti| anti.required_during_scheduling_ignored_during_execution.as_ref());
    required.into_iter().flatten().all(|term| {
        term.topology_key == "kubernetes.io/hostname"
            && term.namespaces.iter().flatten().next().is_none()
            && term.namespace_selector.is_none()
    })
}

/// The terms are alternatives: each that can match must ask for the sandbox's nodes.
fn has_node_affinity(affinity: Option<&Affinity>) -> bool {
    let node = affinity.and_then(|affinity| affinity.node_affinity.as_ref());
    let required = node.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_some_and(|required| {
        let terms = &required.node_selector_terms;
        !terms.is_empty() && terms.iter().all(|term| matches_nothing(term) || asks_for_sandbox_nodes(term))
    })
}

fn matches_nothing(term: &NodeSelectorTerm) -> bool {
    term.match_expressions.iter().flatten().chain(term.match_fields.iter().flatten()).next().is_none()
}

fn asks_for_sandbox_nodes(term: &NodeSelectorTerm) -> bool {
    term.match_expressions.iter().flatten().any(|requirement| {
        let values = requirement.values.as_deref().unwrap_or_default();
        requirement.key == "workload-type"
            && requirement.operator == "In"
            && !values.is_empty()
            && values.iter().all(|value| value == "workflow-runner")
    })
}

fn is_sandbox_toleration(toleration: &Toleration) -> bool {
    word(toleration.key.as_ref()) == "sandbox.gke.io/runtime"
        && matches!(word(toleration.operator.as_ref()), "" | "Equal")
        && word(toleration.value.as_ref()) == "gvisor"
        && word(toleration.effect.as_ref()) == "NoSchedule"
}

/// What the API server adds to every Pod; the seconds are a flag of it. `Exists` takes any value.
fn is_default_toleration(toleration: &Toleration) -> bool {
    let keys = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
    keys.contains(&word(toleration.key.as_ref()))
        && word(toleration.operator.as_ref()) == "Exists"
        && word(toleration.effect.as_ref()) == "NoExecute"
        && toleration.toleration_seconds.is_some()
}

fn judge_lifecycle(metadata: &ObjectMeta, spec: &PodSpec, faults: &mut Faults) {
    let may_restart = match word(spec.restart_policy.as_ref()) {
        "Never" => true,
        "OnFailure" => is_of_a_job(metadata),
        _ => false,
    };
    must(may_restart, "restart policy", faults);
    must(spec.active_deadline_seconds.is_some_and(|s| (1..=3600).contains(&s)), "deadline", faults);
    must(is_short(spec.termination_grace_period_seconds), "grace period", faults);
}

/// The API server refuses a second controller.
fn is_of_a_job(metadata: &ObjectMeta) -> bool {
    let controller = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    controller.is_some_and(|owner| owner.kind == "Job" && owner.api_version == "batch/v1")
}

fn is_short(grace: Option<i64>) -> bool {
    grace.is_none_or(|seconds| (0..=60).contains(&seconds))
}

fn judge_isolation(spec: &PodSpec, faults: &mut Faults) {
    let host = [spec.host_ipc, spec.host_network, spec.host_pid];
    must(!host.contains(&Some(true)), "host namespace", faults);
    must(spec.share_process_namespace != Some(true), "shared process namespace", faults);
    let dns = word(spec.dns_policy.as_ref());
    must(matches!(dns, "" | "ClusterFirst" | "ClusterFirstWithHostNet" | "None"), "DNS policy", faults);
    let os = spec.os.as_ref().map_or("", |os| &os.name);
    must(matches!(os, "" | "linux"), "operating system", faults);
    must(spec.resource_claims.iter().flatten().next().is_none(), "resource claims", faults);
}

/// The Pod's own security context also holds for the sandbox's first process, whatever the containers say.
fn judge_pod_security(context: Option<&PodSecurityContext>, faults: &mut Faults) {
    let none = PodSecurityContext::default();
    let context = context.unwrap_or(&none);
    must(context.run_as_non_root != Some(false), "Pod's runAsNonRoot", faults);
    must(context.run_as_user.is_none_or(|id| id == THE_ID), "Pod's user", faults);
    must(context.run_as_group.is_none_or(|id| id == THE_ID), "Pod's group", faults);
    must(context.fs_group == Some(THE_ID), "fsGroup", faults);
    must(context.supplemental_groups.iter().flatten().all(|id| *id == THE_ID), "supplemental group", faults);
    must(context.seccomp_profile.as_ref().is_none_or(is_default_seccomp), "Pod's seccomp", faults);
    must(is_default_apparmor(context.app_armor_profile.as_ref()), "Pod's AppArmor", faults);
    must(is_no_label(context.se_linux_options.as_ref()), "Pod's SELinux", faults);
    must(context.sysctls.iter().flatten().next().is_none(), "sysctl", faults);
    must(is_not_windows(context.windows_options.as_ref()), "Pod's Windows options", faults);
}

fn is_default_seccomp(profile: &SeccompProfile) -> bool {
    profile.type_ == "RuntimeDefault" && profile.localhost_profile.is_none()
}

fn is_default_apparmor(profile: Option<&AppArmorProfile>) -> bool {
    profile.is_none_or(|profile| profile.type_ == "RuntimeDefault")
}

fn is_no_label(options: Option<&SELinuxOptions>) -> bool {
    options.is_none_or(|SELinuxOptions { level, role, type_, user }| {
        [level, role, type_, user].into_iter().all(|part| word(part.as_ref()).is_empty())
    })
}

fn is_not_windows(options: Option<&WindowsSecurityContextOptions>) -> bool {
    options.is_none_or(|options| *options == WindowsSecurityContextOptions::default())
}

fn judge_volume(policy: &Policy, volume: &Volume, faults: &mut Faults) {
    let Json::Object(fields) = serde_json::to_value(volume).unwrap() else { unreachable!() };
    let sources: Vec<_> = fields.keys().filter(|key| *key != "name").collect();
    let is_of_one_type = sources.len() == 1 && policy.volume_types.contains(&sources[0].as_str());
    must(is_of_one_type, "volume type", faults);
    for name in secrets_in_files(volume) {
        must(is_readable(policy, &name), "Secret in a file", faults);
    }
    if let Some(empty_dir) = &volume.empty_dir {
        judge_empty_dir(&volume.name, empty_dir, faults);
    }
}

fn secrets_in_files(volume: &Volume) -> Vec<String> {
    let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let projected = projected.filter_map(|source| source.secret.as_ref()).map(|secret| secret.name.clone());
    let whole = volume.secret.iter().map(|secret| word(secret.secret_name.as_ref()).to_string());
    whole.chain(projected).collect()
}

fn is_readable(policy: &Policy, secret: &str) -> bool {
    policy.secrets.is_empty() || policy.secrets.contains(&secret)
}

fn judge_environment(policy: &Policy, container: &Container, faults: &mut Faults) {
    let sources = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
    let single = sources.filter_map(|source| source.secret_key_ref.as_ref()).map(|secret| &secret.name);
    let sets = container.env_from.iter().flatten().filter_map(|source| source.secret_ref.as_ref());
    for name in single.chain(sets.map(|secret| &secret.name)) {
        must(policy.secrets_in_environment && is_readable(policy, name), "Secret in the environment", faults);
    }
}

fn judge_image(policy: &Policy, image: &str, faults: &mut Faults) {
    let comes_from = |prefix: &&str| match image.split_at_checked(prefix.len()) {
        Some((start, rest)) => {
            start == *prefix
                && (prefix.ends_with('/') || matches!(rest.chars().next(), None | Some('/' | ':' | '@')))
        }
        None => false,
    };
    must(policy.image_prefixes.is_empty() || policy.image_prefixes.iter().any(comes_from), "image", faults);
    let digest = image.split("@sha256:").last().filter(|digest| *digest != image).unwrap_or_default();
    let is_digest = digest.len() == 64 && digest.chars().all(|c| c.is_ascii_hexdigit());
    must(!policy.wants_digest || is_digest, "digest", faults);
}

fn judge_empty_dir(name: &str, empty_dir: &EmptyDirVolumeSource, faults: &mut Faults) {
    let medium = word(empty_dir.medium.as_ref());
    must(matches!(medium, "" | "Memory"), "emptyDir medium", faults);
    let most = match (name, medium) {
        ("tmp", _) => "1Gi",
        (_, "Memory") => "4Gi",
        _ => "10Gi",
    };
    must(empty_dir.size_limit.as_ref().is_some_and(|size| is_within(size, most)), "emptyDir size", faults);
}

/// Above zero and not above `most`.
fn is_within(amount: &Quantity, most: &str) -> bool {
    Nanos::read(&amount.0).is_some_and(|amount| amount > Nanos(0) && Some(amount) <= Nanos::read(most))
}

fn judge_container(placed: &Placed, spec: &PodSpec, faults: &mut Faults) {
    let Placed { kind, container, .. } = placed;
    let none = SecurityContext::default();
    let own = container.security_context.as_ref().unwrap_or(&none);
    judge_user(own, spec.security_context.as_ref(), faults);
    judge_privileges(own, faults);
    judge_restart(*kind, container, faults);
    judge_reach(container, faults);
    for mount in container.volume_mounts.iter().flatten() {
        judge_mount(mount, faults);
    }
    must(container.volume_devices.iter().flatten().next().is_none(), "volume device", faults);
    // The API server refuses resources of an ephemeral container.
    if *kind != Kind::Ephemeral {
        judge_resources(container.resources.as_ref(), faults);
    }
}

/// What the container says goes before what the Pod says.
fn judge_user(own: &SecurityContext, pod: Option<&PodSecurityContext>, faults: &mut Faults) {
    let none = PodSecurityContext::default();
    let pod = pod.unwrap_or(&none);
    must(own.run_as_non_root.or(pod.run_as_non_root) == Some(true), "runAsNonRoot", faults);
    must(own.run_as_user.or(pod.run_as_user) == Some(THE_ID), "user", faults);
    must(own.run_as_group.or(pod.run_as_group) == Some(THE_ID), "group", faults);
    let seccomp = own.seccomp_profile.as_ref().or(pod.seccomp_profile.as_ref());
    must(seccomp.is_some_and(is_default_seccomp), "seccomp", faults);
}

fn judge_privileges(own: &SecurityContext, faults: &mut Faults) {
    must(own.privileged != Some(true), "privileged", faults);
    must(own.allow_privilege_escalation == Some(false), "privilege escalation", faults);
    let capabilities = own.capabilities.clone().unwrap_or_default();
    must(capabilities.drop.iter().flatten().any(|name| name == "ALL"), "capabilities not dropped", faults);
    must(capabilities.add.iter().flatten().next().is_none(), "capability added", faults);
    must(own.read_only_root_filesystem == Some(true), "root file system", faults);
    must(matches!(word(own.proc_mount.as_ref()), "" | "Default"), "procMount", faults);
    must(is_default_apparmor(own.app_armor_profile.as_ref()), "AppArmor", faults);
    must(is_no_label(own.se_linux_options.as_ref()), "SELinux", faults);
    must(is_not_windows(own.windows_options.as_ref()), "Windows options", faults);
}

fn judge_restart(kind: Kind, container: &Container, faults: &mut Faults) {
    let policy = word(container.restart_policy.as_ref());
    let may_restart = matches!(policy, "" | "Never") || (kind == Kind::Sidecar && policy == "Always");
    must(may_restart, "container's restart policy", faults);
    must(container.restart_policy_rules.iter().flatten().next().is_none(), "restart rule", faults);
}

/// What the kubelet and the environment let a container get at.
fn judge_reach(container: &Container, faults: &mut Faults) {
    let ports = container.ports.iter().flatten();
    must(ports.into_iter().all(|port| port.host_port.unwrap_or(0) == 0), "host port", faults);
    let Container { liveness_probe, readiness_probe, startup_probe, lifecycle, .. } = container;
    for probe in [liveness_probe, readiness_probe, startup_probe].into_iter().flatten() {
        must(!reaches_out(probe), "probe host", faults);
        must(is_short(probe.termination_grace_period_seconds), "probe's grace period", faults);
    }
    let hooks = lifecycle.iter().flat_map(|lifecycle| [&lifecycle.post_start, &lifecycle.pre_stop]);
    must(!hooks.flatten().any(hook_reaches_out), "hook host", faults);
    let path = word(container.termination_message_path.as_ref());
    must(matches!(path, "" | "/dev/termination-log"), "termination message path", faults);
    let mut sources = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
    must(!sources.any(|source| source.file_key_ref.is_some()), "fileKeyRef", faults);
}

fn reaches_out(probe: &Probe) -> bool {
    let http = probe.http_get.as_ref().and_then(|get| get.host.as_ref());
    let tcp = probe.tcp_socket.as_ref().and_then(|socket| socket.host.as_ref());
    !word(http).is_empty() || !word(tcp).is_empty()
}

fn hook_reaches_out(hook: &LifecycleHandler) -> bool {
    let http = hook.http_get.as_ref().and_then(|get| get.host.as_ref());
    let tcp = hook.tcp_socket.as_ref().and_then(|socket| socket.host.as_ref());
    !word(http).is_empty() || !word(tcp).is_empty()
}

fn judge_mount(mount: &VolumeMount, faults: &mut Faults) {
    let parts: Vec<&str> = mount.mount_path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    must(!parts.contains(&".."), "mount path", faults);
    let is_writable_place = matches!(parts.first(), Some(&("workspace" | "tmp")));
    must(mount.read_only == Some(true) || is_writable_place, "writable mount", faults);
    let propagation = word(mount.mount_propagation.as_ref());
    must(matches!(propagation, "" | "None" | "HostToContainer"), "mount propagation", faults);
    for path in [&mount.sub_path, &mount.sub_path_expr].into_iter().flatten() {
        must(!path.split('/').any(|part| part == "..") && !path.starts_with('/'), "sub-path", faults);
    }
}

fn judge_resources(resources: Option<&ResourceRequirements>, faults: &mut Faults) {
    let none = ResourceRequirements::default();
    let resources = resources.unwrap_or(&none);
    must(resources.claims.iter().flatten().next().is_none(), "claim", faults);
    for (name, most) in CEILINGS {
        let limit = resources.limits.as_ref().and_then(|limits| limits.get(name));
        must(limit.is_some_and(|limit| is_within(limit, most)), &format!("{name} limit"), faults);
    }
    judge_amounts(resources.limits.as_ref(), "limit", faults);
    judge_amounts(resources.requests.as_ref(), "request", faults);
}

/// Of known kinds, readable, not negative, not above the ceiling.
fn judge_amounts(amounts: Option<&Amounts>, what: &str, faults: &mut Faults) {
    for (name, amount) in amounts.into_iter().flatten() {
        let Some((_, most)) = CEILINGS.iter().find(|(known, _)| known == name) else {
            faults.push(format!("{what} of unknown kind"));
            continue;
        };
        let amount = Nanos::read(&amount.0);
        let fits = amount.is_some_and(|amount| amount >= Nanos(0)) && amount <= Nanos::read(most);
        must(fits, &format!("{name} {what} amount"), faults);
    }
}

/// The effective total: what runs side by side, or one init container beside the sidecars before it, and the
/// overhead on top. Limits at Pod level are bound by themselves.
fn judge_budget(spec: &PodSpec, containers: &[Placed], faults: &mut Faults) {
    let resources = spec.resources.clone().unwrap_or_default();
    judge_amounts(resources.limits.as_ref(), "Pod limit", faults);
    judge_amounts(resources.requests.as_ref(), "Pod request", faults);
    // Overhead of other kinds is the RuntimeClass's: the API server refuses what a user makes up.
    let overhead = spec.overhead.clone().map(|mut overhead| {
        overhead.retain(|name, _| CEILINGS.iter().any(|(known, _)| known == name));
        overhead
    });
    judge_amounts(overhead.as_ref(), "overhead", faults);
    must(resources.claims.iter().flatten().next().is_none(), "Pod claim", faults);
    for (name, most) in CEILINGS {
        let overhead = amount_of(name, spec.overhead.as_ref());
        let total = peak(name, containers).saturating_add(overhead);
        must(Some(total) <= Nanos::read(most), &format!("{name} budget"), faults);
    }
}

fn peak(name: &str, containers: &[Placed]) -> Nanos {
    let (mut running, mut peak) = (Nanos(0), Nanos(0));
    for Placed { kind, container, .. } in containers.iter().filter(|placed| placed.kind != Kind::Ephemeral) {
        let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        let with_it = running.saturating_add(amount_of(name, limits));
        peak = peak.max(with_it);
        if *kind != Kind::Init {
            running = with_it;
        }
    }
    peak
}

fn amount_of(name: &str, amounts: Option<&Amounts>) -> Nanos {
    amounts
        .and_then(|amounts| amounts.get(name))
        .and_then(|amount| Nanos::read(&amount.0))
        .unwrap_or_default()
}
