//! The runtime class, and the annotations that reach runsc.

use super::{Group, Rule, helpers::AnyOf};
use crate::{
    json::Value,
    path::{ANNOTATIONS, SPEC},
    pod::{Pod, spec_mut},
    policy::{Profile, Spec},
    violations::{Reporter, show},
};

pub(super) static RUNTIME_CLASS: Rule = Rule {
    id: "runtime-class",
    group: Group::Runtime,
    title: "The Pod runs under an allowed runtime class.",
    why: "The runtime class is the sandbox. A Pod without one gets the default. Another class that was set \
          explicitly is denied and never rewritten: its overhead, node selector and tolerations are already merged \
          into the Pod and would remain.",
    references: &["https://kubernetes.io/docs/concepts/containers/runtime-class/"],
    setting: "spec.runtimeClass",
    fill: Some(fill_runtime_class),
    check: check_runtime_class,
};

fn fill_runtime_class<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let spec = &profile.spec;
    let Some(pod) = spec_mut(pod) else { return 0 };
    pod.set_default("runtimeClassName", spec.runtime_class.default.as_str()).into()
}

fn check_runtime_class(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let found = pod.spec.str("runtimeClassName");
    let allowed = &spec.runtime_class.allowed;
    if found.is_some_and(|name| allowed.iter().any(|class| class == name)) {
        return;
    }
    let found = show(pod.spec.get("runtimeClassName"));
    out.report(
        SPEC.child("runtimeClassName"),
        found,
        AnyOf(allowed),
        "leave it out or name an allowed class",
    );
}

pub(super) static GVISOR_ANNOTATIONS: Rule = Rule {
    id: "gvisor-annotations",
    group: Group::Runtime,
    title: "No annotation reconfigures gVisor.",
    why: "containerd can pass annotations with the prefix dev.gvisor. to runsc, where they open host sockets, \
          replace the root file system or switch off protections. Only the mount hints are allowed that gVisor's \
          own admission webhook, also on GKE, adds for emptyDir volumes: type, share and options, with the values \
          that it uses.",
    references: &["https://gvisor.dev/docs/user_guide/containerd/configuration/"],
    setting: "",
    fill: None,
    check: check_gvisor_annotations,
};

const PREFIX: &str = "dev.gvisor.";

fn check_gvisor_annotations(_: &Spec, pod: &Pod, out: &mut Reporter) {
    for (key, value) in pod.annotations.iter() {
        let Some(setting) = key.strip_prefix(PREFIX) else { continue };
        if !is_mount_hint(pod, setting, value) {
            out.report(ANNOTATIONS.key(key), show(Some(value)), "absent", "remove the annotation");
        }
    }
}

/// `spec.mount.<volume>.<field>` of an emptyDir, as `pkg/shim/v1/utils/volumes.go` of gVisor expects it of its
/// admission webhook: the type follows the medium, the volume is shared in the Pod or not at all.
fn is_mount_hint(pod: &Pod, setting: &str, value: &Value) -> bool {
    let hint = setting.strip_prefix("spec.mount.").and_then(|hint| hint.rsplit_once('.'));
    let (Some((volume, field)), Some(value)) = (hint, value.as_str()) else { return false };
    let mut volumes = pod.spec.objects("volumes").map(|(_, volume)| volume);
    let Some(dir) = volumes.find(|v| v.str("name") == Some(volume)).and_then(|v| v.object("emptyDir")) else {
        return false;
    };
    match field {
        "type" => value == if dir.str("medium") == Some("Memory") { "tmpfs" } else { "bind" },
        "share" => matches!(value, "container" | "pod"),
        "options" => value.split(',').all(|option| matches!(option, "rw" | "ro" | "rprivate")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::*;
    use crate::policy::Spec;

    #[test]
    fn a_pod_without_a_runtime_class_gets_the_default() {
        let pod =
            fills("runtime-class spec.runtimeClassName", |pod| without(&mut pod["spec"], "runtimeClassName"));
        assert_eq!(pod["spec"]["runtimeClassName"], "gvisor");
    }

    #[test]
    fn another_runtime_class_is_refused() {
        for class in ["runc", "gVisor", "gvisor ", "", "gvisor\u{200b}"] {
            rejects("runtime-class spec.runtimeClassName", |pod| {
                pod["spec"]["runtimeClassName"] = json!(class)
            });
        }
    }

    #[test]
    fn every_allowed_class_is_admitted() {
        let mut spec = Spec::default();
        spec.runtime_class.allowed.push("kata".into());
        accepts_under(&spec, |pod| pod["spec"]["runtimeClassName"] = json!("kata"));
    }

    #[test]
    fn annotations_for_runsc_are_refused() {
        rejects("gvisor-annotations metadata.annotations[dev.gvisor.spec.rootfs.source]", |pod| {
            pod["metadata"]["annotations"] = json!({"dev.gvisor.spec.rootfs.source": "/"});
        });
        accepts(|pod| pod["metadata"]["annotations"] = json!({"example.com/dev.gvisor.x": "1"}));
    }

    #[test]
    fn the_mount_hints_of_gvisors_own_webhook_are_admitted_and_nothing_near_them() {
        let hint = |field: &str| format!("dev.gvisor.spec.mount.workspace.{field}");
        accepts(|pod| {
            let hints = json!({hint("type"): "bind", hint("share"): "pod", hint("options"): "rw,rprivate"});
            pod["metadata"]["annotations"] = hints;
        });
        for (key, value) in [
            (hint("type"), "tmpfs"),
            (hint("share"), "shared"),
            (hint("options"), "rw,exec"),
            (hint("options"), ""),
            (hint("source"), "/"),
            ("dev.gvisor.spec.mount.other.type".to_string(), "bind"),
            ("dev.gvisor.spec.mount.type".to_string(), "bind"),
        ] {
            rejects(&format!("gvisor-annotations metadata.annotations[{key}]"), |pod| {
                pod["metadata"]["annotations"] = json!({key.as_str(): value});
            });
        }
    }
}
