//! The runtime class, and the annotations that reach runsc.

use std::collections::HashMap;

use super::{Group, Rule, helpers::AnyOf};
use crate::{
    cel::{self, Keys, Statement, patterns},
    json::Value,
    path::{ANNOTATIONS, SPEC},
    pod::{Pod, spec_mut},
    policy::{Pattern, Profile, Spec},
    violations::{Reporter, show},
};

pub(super) static RUNTIME_CLASS: Rule = Rule {
    id: "runtime-class",
    group: Group::Runtime,
    title: "The Pod runs under an allowed runtime class.",
    why: "The runtime class is the sandbox. A Pod without one gets the default. Another class that was set \
          explicitly is denied and never rewritten: its overhead, node selector and tolerations are already merged \
          into the Pod and would remain.",
    references: &[
        "NSA/CISA Kubernetes Hardening Guide 1.2, Hardening container environments",
        "NIST SP 800-190, 4.5.2: Shared kernel",
        "NIST SP 800-190, 4.4.1: Vulnerabilities within the runtime software",
        "Kubescape, C-0297: Agent Sandbox hardened runtime class",
        "https://kubernetes.io/docs/concepts/containers/runtime-class/",
    ],
    setting: "spec.runtimeClass.allowed",
    fill: Some(fill_runtime_class),
    check: check_runtime_class,
    cel: Some(cel_runtime_class),
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
        "leave it out or name an allowed class (policy key runtimeClass.allowed)",
    );
}

pub(super) const CEL_CLASS: &str = "v.o.?spec.?runtimeClassName.orValue('')";

fn cel_runtime_class(keys: Keys) -> Vec<Statement> {
    let condition = format!("!({CEL_CLASS} in {})", cel::list(&keys.spec.runtime_class.allowed));
    vec![Statement::pod(condition, "spec.runtimeClassName", &cel::shown("v.o.?spec.?runtimeClassName"))]
}

pub(super) static GVISOR_ANNOTATIONS: Rule = Rule {
    id: "gvisor-annotations",
    group: Group::Runtime,
    title: "No annotation reconfigures gVisor.",
    why: "containerd can pass annotations with the prefix dev.gvisor. to runsc, where they open host sockets, \
          replace the root file system or switch off protections. Only the mount hints are allowed that gVisor \
          documents for emptyDir volumes and that its own admission webhook, also on GKE, adds: type, share and \
          options. A hint on gke-gcsfuse-tmp is denied: gVisor opens host sockets to that volume. annotations.allowed \
          can admit dev.gvisor.empty-dir.VOLUME.force-shared and no other key of the prefix.",
    references: &[
        "NSA/CISA Kubernetes Hardening Guide 1.2, Hardening container environments",
        "NIST SP 800-190, 4.4.3: Insecure container runtime configurations",
        "https://gvisor.dev/docs/user_guide/containerd/configuration/",
    ],
    setting: "spec.annotations.allowed",
    fill: None,
    check: check_gvisor_annotations,
    cel: Some(cel_gvisor_annotations),
};

const PREFIX: &str = "dev.gvisor.";
/// The part of a key behind [`PREFIX`] that begins a mount hint.
const MOUNT_HINT: &str = "spec.mount.";
/// The part of a key behind [`PREFIX`] that begins an order for an `emptyDir` volume.
const EMPTY_DIR: &str = "empty-dir.";
/// The volumes that gVisor treats in its own way: of the first it opens host sockets, the second is its `/dev/shm`.
const RESERVED_VOLUMES: [&str; 2] = ["gke-gcsfuse-tmp", "gvisorinternaldevshm"];

fn check_gvisor_annotations(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let mut dirs = None;
    for (key, value) in pod.annotations.iter() {
        let Some(order) = key.strip_prefix(PREFIX) else { continue };
        let dirs = dirs.get_or_insert_with(|| EmptyDirs::of(pod));
        if dirs.is_mount_hint(order, value) || (dirs.is_sharing(order, value) && is_allowed(spec, key)) {
            continue;
        }
        out.report(ANNOTATIONS.key(key), show(Some(value)), "absent", "remove the annotation");
    }
}

/// Returns true if an entry of the policy names the key as one of an `emptyDir` volume: `*` alone does not.
fn is_allowed(spec: &Spec, key: &str) -> bool {
    let mut allowed = spec.annotations.allowed.iter();
    allowed.any(|pattern| {
        let order = pattern.as_str().strip_prefix(PREFIX);
        order.is_some_and(|order| order.starts_with(EMPTY_DIR)) && pattern.matches(key)
    })
}

/// The `emptyDir` volumes of a Pod by their names, each with true if it is in memory.
struct EmptyDirs<'p>(HashMap<&'p str, bool>);

impl<'p> EmptyDirs<'p> {
    fn of(pod: &Pod<'p, '_>) -> Self {
        let dirs = pod.spec.objects("volumes").filter_map(|(_, volume)| {
            let name = volume.str("name").filter(|name| !RESERVED_VOLUMES.contains(name))?;
            let dir = volume.object("emptyDir");
            // The API server makes an emptyDir of a volume without a source.
            let is_empty_dir = dir.is_some() || volume.iter().all(|(key, _)| key == "name");
            let in_memory = dir.and_then(|dir| dir.str("medium")) == Some("Memory");
            is_empty_dir.then_some((name, in_memory))
        });
        Self(dirs.collect())
    }

    /// Returns true for `spec.mount.VOLUME.FIELD` of an emptyDir, with a value that gVisor's documentation or its
    /// admission webhook (`pkg/shim/v1/utils/volumes.go`) has: `tmpfs` is of the sandbox's own memory, `bind` is the
    /// volume on the node's disk.
    fn is_mount_hint(&self, order: &str, value: &Value) -> bool {
        let hint = order.strip_prefix(MOUNT_HINT).and_then(|hint| hint.rsplit_once('.'));
        let (Some((volume, field)), Some(value)) = (hint, value.as_str()) else { return false };
        let Some(&in_memory) = self.0.get(volume) else { return false };
        match field {
            "type" => value == "tmpfs" || (value == "bind" && !in_memory),
            "share" => matches!(value, "container" | "pod"),
            "options" => value.split(',').all(|option| matches!(option, "rw" | "ro" | "rprivate")),
            _ => false,
        }
    }

    /// Returns true for `empty-dir.VOLUME.force-shared` of an emptyDir.
    fn is_sharing(&self, order: &str, value: &Value) -> bool {
        let volume = order.strip_prefix(EMPTY_DIR).and_then(|rest| rest.strip_suffix(".force-shared"));
        volume.is_some_and(|volume| self.0.contains_key(volume))
            && matches!(value.as_str(), Some("true" | "false"))
    }
}

const SHARING_PREFIX: &str = "dev.gvisor.empty-dir.";

/// Only the mount hints that gVisor documents for an emptyDir of the Pod are allowed.
fn cel_gvisor_annotations(keys: Keys) -> Vec<Statement> {
    let is_empty_dir = "!(d.name in ['gke-gcsfuse-tmp', 'gvisorinternaldevshm']) && \
                        (d.?emptyDir.hasValue() || dyn(d).all(f, f == 'name'))";
    let hint = "(k == 'dev.gvisor.spec.mount.' + d.name + '.type' && \
                (v.ann[k] == 'tmpfs' || (v.ann[k] == 'bind' && d.?emptyDir.?medium.orValue('') != 'Memory'))) || \
                (k == 'dev.gvisor.spec.mount.' + d.name + '.share' && v.ann[k] in ['container', 'pod']) || \
                (k == 'dev.gvisor.spec.mount.' + d.name + '.options' && \
                v.ann[k].split(',').all(option, option in ['rw', 'ro', 'rprivate']))";
    let named = keys.spec.annotations.allowed.iter().map(Pattern::as_str);
    let named: Vec<&str> = named.filter(|pattern| pattern.starts_with(SHARING_PREFIX)).collect();
    let is_allowed = patterns::globs_match(named.into_iter(), "k");
    let sharing = cel::all([
        is_allowed,
        "k == 'dev.gvisor.empty-dir.' + d.name + '.force-shared'".into(),
        "v.ann[k] in ['true', 'false']".into(),
    ]);
    let order = cel::any([format!("({hint})"), sharing]);
    vec![Statement::annotation(format!(
        "k.startsWith('dev.gvisor.') && !v.vols.exists(d, {is_empty_dir} && {order})"
    ))]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;
    use crate::policy::Spec;

    #[test]
    fn a_pod_without_a_runtime_class_gets_the_default() {
        let pod =
            fills("runtime-class spec.runtimeClassName", |pod| without(&mut pod["spec"], "runtimeClassName"));
        assert_eq!(pod["spec"]["runtimeClassName"], "gvisor");
    }

    #[test]
    fn another_runtime_class_is_denied() {
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
    fn annotations_for_runsc_are_denied() {
        rejects("gvisor-annotations metadata.annotations[dev.gvisor.spec.rootfs.source]", |pod| {
            pod["metadata"]["annotations"] = json!({"dev.gvisor.spec.rootfs.source": "/"});
        });
        accepts(|pod| pod["metadata"]["annotations"] = json!({"example.com/dev.gvisor.x": "1"}));
    }

    #[test]
    fn mount_hints_of_gvisors_own_webhook_are_admitted_and_nothing_near_them() {
        let hint = |field: &str| format!("dev.gvisor.spec.mount.workspace.{field}");
        accepts(|pod| {
            let hints = json!({hint("type"): "bind", hint("share"): "pod", hint("options"): "rw,rprivate"});
            pod["metadata"]["annotations"] = hints;
        });
        for (key, value) in [
            (hint("type"), "shared"),
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

    fn hinted(volume: &Json, annotations: Json) -> impl FnOnce(&mut Json) {
        let volume = volume.clone();
        move |pod| {
            pod["metadata"]["annotations"] = annotations;
            pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
        }
    }

    /// The example of gVisor's documentation: inotify works on a tmpfs of the sandbox.
    #[test]
    fn documented_tmpfs_hint_of_an_empty_dir_is_admitted() {
        let hints = |kind: &str| json!({"dev.gvisor.spec.mount.shared.share": "pod", "dev.gvisor.spec.mount.shared.type": kind, "dev.gvisor.spec.mount.shared.options": "rw,rprivate"});
        accepts(hinted(&json!({"name": "shared", "emptyDir": {"sizeLimit": "1Gi"}}), hints("tmpfs")));
        let in_memory = json!({"name": "shared", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}});
        accepts(hinted(&in_memory, hints("tmpfs")));
        rejects(
            "gvisor-annotations metadata.annotations[dev.gvisor.spec.mount.shared.type]",
            hinted(&in_memory, hints("bind")),
        );
    }

    #[test]
    fn hint_on_a_volume_that_gvisor_treats_in_its_own_way_is_denied() {
        for name in super::RESERVED_VOLUMES {
            let key = format!("dev.gvisor.spec.mount.{name}.type");
            rejects(
                &format!("gvisor-annotations metadata.annotations[{key}]"),
                hinted(
                    &json!({"name": name, "emptyDir": {"sizeLimit": "1Gi"}}),
                    json!({key.as_str(): "bind"}),
                ),
            );
        }
    }

    #[test]
    fn policy_opens_forced_sharing_of_an_empty_dir_and_nothing_else_of_gvisor() {
        let shared = "dev.gvisor.empty-dir.workspace.force-shared";
        let annotated = |key: &str, value: &str| {
            let annotations = json!({key: value});
            move |pod: &mut Json| pod["metadata"]["annotations"] = annotations
        };
        let opened = spec("{annotations: {allowed: ['dev.gvisor.empty-dir.*.force-shared']}}");
        accepts_under(&opened, annotated(shared, "true"));
        for (key, value) in [
            ("dev.gvisor.empty-dir.other.force-shared", "true"),
            ("dev.gvisor.empty-dir.workspace.source", "true"),
            (shared, "/"),
        ] {
            let expected = format!("gvisor-annotations metadata.annotations[{key}]");
            rejects_under(&opened, &expected, annotated(key, value));
        }
        rejects(&format!("gvisor-annotations metadata.annotations[{shared}]"), annotated(shared, "true"));
        // An entry that is wider than one kind of volume opens nothing.
        let mut wide = Spec::default();
        wide.annotations.allowed = serde_json::from_value(json!(["*", "dev.gvisor.*"])).unwrap();
        for key in [shared, "dev.gvisor.flag.host-uds", "dev.gvisor.spec.rootfs.source"] {
            let expected = format!("gvisor-annotations metadata.annotations[{key}]");
            rejects_under(&wide, &expected, annotated(key, "true"));
        }
    }

    /// The volumes are indexed once: the time of many hints on many volumes is not their product. A Pod of this size took
    /// minutes in a debug build when each hint searched the volumes.
    #[test]
    fn many_hints_on_many_volumes_are_checked() {
        let count = 20_000;
        let mut pod = complete_pod();
        let volumes = (0..count).map(|i| json!({"name": format!("v{i}"), "emptyDir": {"sizeLimit": "1Gi"}}));
        pod["spec"]["volumes"].as_array_mut().unwrap().extend(volumes);
        let last = count - 1;
        let hints = (0..count).map(|i| (format!("dev.gvisor.spec.mount.v{last}.t{i}"), json!("")));
        pod["metadata"]["annotations"] = Json::Object(hints.collect());
        let text = pod.to_string();
        let tree = crate::json::pod_from_str(&text).unwrap();
        let profile = crate::policy::Profile::default();
        let pod = crate::pod::Pod::of(&tree, &profile);
        let mut violations = crate::violations::Violations::default();
        super::GVISOR_ANNOTATIONS.check_into(&pod, &mut violations);
        assert_eq!(violations.len(), count);
    }
}
