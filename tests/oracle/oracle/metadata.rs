//! Labels and annotations.

use k8s_openapi::api::core::v1::PodSpec;

use super::{Faults, Subject, must, word};
use crate::patterns::is_one_of;

pub(super) fn check(subject: &Subject, faults: &mut Faults) {
    let keys = subject.keys;
    let labels = subject.pod.metadata.labels.clone().unwrap_or_default();
    for (key, value) in &keys.labels.required {
        must(labels.get(key) == Some(value), &format!("label {key}"), faults);
    }
    for key in labels.keys() {
        must(!is_one_of(&keys.labels.forbidden, key), "forbidden label", faults);
    }
    for (key, value) in subject.pod.metadata.annotations.iter().flatten() {
        check_annotation(subject, key, value, faults);
    }
}

fn check_annotation(subject: &Subject, key: &str, value: &str, faults: &mut Faults) {
    let annotations = &subject.keys.annotations;
    let is_our_own = key.starts_with("sandgate.dev/");
    let is_forbidden =
        is_one_of(&annotations.forbidden, key) && !is_one_of(&annotations.allowed, key) && !is_our_own;
    must(!is_forbidden, "forbidden annotation", faults);
    let is_seccomp = key == "seccomp.security.alpha.kubernetes.io/pod"
        || key.starts_with("container.seccomp.security.alpha.kubernetes.io/");
    must(!is_seccomp || value == "runtime/default", "seccomp annotation", faults);
    let is_apparmor = key.starts_with("container.apparmor.security.beta.kubernetes.io/");
    must(!is_apparmor || matches!(value, "" | "runtime/default"), "AppArmor annotation", faults);
    must(key != "kubernetes.io/config.mirror", "mirror annotation", faults);
    let is_harmless = is_mount_hint(key, value, subject.spec)
        || (is_sharing(key, value, subject.spec) && names_sharing(&annotations.allowed, key));
    must(!key.starts_with("dev.gvisor.") || is_harmless, "gVisor annotation", faults);
}

/// Whether each of the Pod's emptyDir volumes of that name is in memory; `None` if it has none that gVisor may be given
/// about.
fn medium_of(name: &str, spec: &PodSpec) -> Option<bool> {
    // gVisor opens the host's sockets to the first, and makes the second itself.
    if matches!(name, "gke-gcsfuse-tmp" | "gvisorinternaldevshm") {
        return None;
    }
    let volume = spec.volumes.iter().flatten().rfind(|volume| volume.name == name)?;
    volume.empty_dir.as_ref().map(|dir| word(dir.medium.as_ref()) == "Memory")
}

/// What gVisor's documentation has for the emptyDir volumes of a Pod, and what GKE adds for them.
fn is_mount_hint(key: &str, value: &str, spec: &PodSpec) -> bool {
    let hint = key.strip_prefix("dev.gvisor.spec.mount.").and_then(|hint| hint.rsplit_once('.'));
    let Some((volume, property)) = hint else { return false };
    let Some(in_memory) = medium_of(volume, spec) else { return false };
    let options = ["ro", "rw", "rprivate"];
    match property {
        "type" => value == "tmpfs" || (value == "bind" && !in_memory),
        "share" => matches!(value, "container" | "pod"),
        "options" => value.split(',').all(|option| options.contains(&option)),
        _ => false,
    }
}

fn is_sharing(key: &str, value: &str, spec: &PodSpec) -> bool {
    let volume =
        key.strip_prefix("dev.gvisor.empty-dir.").and_then(|rest| rest.strip_suffix(".force-shared"));
    volume.is_some_and(|volume| medium_of(volume, spec).is_some()) && matches!(value, "true" | "false")
}

/// The one order to gVisor that a policy can allow must be meant: `"*"` does not mean it.
fn names_sharing(allowed: &[String], key: &str) -> bool {
    let meant: Vec<String> =
        allowed.iter().filter(|pattern| pattern.starts_with("dev.gvisor.empty-dir.")).cloned().collect();
    is_one_of(&meant, key)
}
