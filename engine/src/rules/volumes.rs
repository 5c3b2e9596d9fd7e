//! Volumes, mounts, and the paths that the sandbox can write to.

use super::{
    Group, Rule,
    helpers::{VOLUMES, amount},
    projected::{check_projected, is_api_volume},
};
use crate::{
    json::{Object, Value},
    pod::{Container, Pod, Quantity, each_container_mut, spec_mut},
    policy::{Amount, FilledVolume, Profile, Spec},
    text::quote,
    violations::{Reporter, show},
};

pub(super) static VOLUME_TYPES: Rule = Rule {
    id: "volume-types",
    group: Group::Volumes,
    title: "Every volume is of an allowed type.",
    why: "A hostPath is the node's disk, a Secret or a projected volume may be a credential, a CSI driver runs on \
          the node. Only the listed types are allowed, so a type that is newer than this build is denied.",
    references: &["Pod Security Standards, Restricted: Volume Types", "CVE-2024-10220"],
    setting: "spec.volumes.allowed",
    fill: None,
    check: check_volume_types,
};

fn check_volume_types(_: &Spec, pod: &Pod, out: &mut Reporter) {
    let allowed = ["emptyDir"];
    for (index, volume) in pod.spec.objects("volumes") {
        if let Some(projected) = volume.object("projected") {
            check_projected(pod, volume, projected, &VOLUMES.index(index).child("projected"), out);
        }
        for (kind, _) in sources(volume).filter(|(kind, _)| *kind != "projected" && !allowed.contains(kind)) {
            let (wanted, remedy) = (allowed.join(" or "), "remove this volume or use an allowed type");
            let volume = VOLUMES.index(index);
            out.report(volume.child(kind), format_args!("a {kind} volume"), wanted, remedy);
        }
    }
}

/// Returns the members of a volume that name its source.
fn sources<'v, 'a>(volume: &'v Object<'a>) -> impl Iterator<Item = (&'v str, &'v Value<'a>)> {
    volume.iter().filter(|(key, _)| *key != "name")
}

pub(super) static EMPTY_DIR: Rule = Rule {
    id: "empty-dir",
    group: Group::Volumes,
    title: "Every emptyDir has a size limit and is on disk or in memory.",
    why: "An emptyDir without a limit, or with 0, can fill the node's disk. The limit is filled if unset: the \
          policy's for its own volumes, the Pod's budget for others. Huge pages are denied.",
    references: &["https://kubernetes.io/docs/concepts/storage/volumes/#emptydir"],
    setting: "spec.volumes.filled",
    fill: Some(fill_empty_dir),
    check: check_empty_dir,
};

fn fill_empty_dir<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let spec = &profile.spec;
    let Some(Value::List(volumes)) = spec_mut(pod).and_then(|pod| pod.get_mut("volumes")) else { return 0 };
    let mut filled = 0;
    for (_, volume) in volumes.iter_mut() {
        let Some(volume) = volume.as_object_mut() else { continue };
        if !is_empty_dir(volume) {
            continue;
        }
        let in_memory = volume.object("emptyDir").and_then(|dir| dir.str("medium")) == Some("Memory");
        let limit = size_ceiling(spec, volume.str("name"), in_memory);
        let dir = volume.object_mut("emptyDir");
        filled += usize::from(dir.is_some_and(|dir| dir.set_default("sizeLimit", limit.text.as_str())));
    }
    filled
}

/// A volume without any source is an emptyDir: the API server defaults it so.
fn is_empty_dir(volume: &Object) -> bool {
    volume.get("emptyDir").is_some() || sources(volume).next().is_none()
}

fn size_ceiling<'s>(spec: &'s Spec, name: Option<&str>, in_memory: bool) -> &'s Amount {
    let budget = &spec.resources.pod.limits;
    let writable = spec.volumes.filled.iter().find(|writable| Some(writable.name.as_str()) == name);
    match writable {
        Some(writable) if !in_memory || writable.size_limit.value < budget.memory.value => {
            &writable.size_limit
        }
        _ if in_memory => &budget.memory,
        _ => &budget.ephemeral_storage,
    }
}

fn check_empty_dir(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    for (index, volume) in pod.spec.objects("volumes").filter(|(_, volume)| is_empty_dir(volume)) {
        let dir = volume.object("emptyDir");
        let path = VOLUMES.index(index);
        let path = path.child("emptyDir");
        let medium = dir.and_then(|dir| dir.str("medium")).unwrap_or_default();
        if !matches!(medium, "" | "Memory") {
            out.report(path.child("medium"), quote(medium), "unset or Memory", "remove medium");
        }
        let ceiling = size_ceiling(spec, volume.str("name"), medium == "Memory");
        let limit = dir.and_then(|dir| dir.get("sizeLimit"));
        let fits = amount(limit).is_some_and(|limit| limit > Quantity::ZERO && limit <= ceiling.value);
        if !fits {
            out.report(
                path.child("sizeLimit"),
                show(limit),
                format_args!("more than 0, at most {ceiling}"),
                format_args!("set it to at most {ceiling} or leave it out on create"),
            );
        }
    }
}

pub(super) static WRITABLE_PATHS: Rule = Rule {
    id: "writable-paths",
    group: Group::Volumes,
    title: "Containers write to the policy's paths and nowhere else.",
    why: "With a read-only root a program still needs writable paths: every container gets the policy's volumes, \
          except at paths where it mounts one itself. A writable mount at another path is denied; a read-only one \
          may be at any path.",
    references: &["https://kubernetes.io/docs/concepts/storage/volumes/"],
    setting: "spec.volumes.filled",
    fill: Some(fill_writable_paths),
    check: check_writable_paths,
};

fn fill_writable_paths<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let spec = &profile.spec;
    let mut filled = 0;
    for writable in &spec.volumes.filled {
        let mut mounts = 0;
        each_container_mut(pod, profile, |_, container, _| mounts += usize::from(mount(container, writable)));
        if mounts > 0 {
            filled += mounts + usize::from(add_volume(pod, writable));
        }
    }
    filled
}

/// Mounts `writable` unless the container has a mount there; returns whether it did.
fn mount<'a>(container: &mut Object<'a>, writable: &'a FilledVolume) -> bool {
    let taken = container.objects("volumeMounts").any(|(_, mount)| {
        mount.str("mountPath").and_then(normal_path).as_deref() == Some(writable.mount_path.as_str())
    });
    let Some(mounts) = (!taken).then(|| container.list_mut("volumeMounts")).flatten() else { return false };
    mounts
        .push(Object::from([("name", writable.name.as_str()), ("mountPath", writable.mount_path.as_str())]));
    true
}

/// Adds the volume of `writable` unless there is one of its name; returns whether it did.
fn add_volume<'a>(pod: &mut Value<'a>, writable: &'a FilledVolume) -> bool {
    let Some(volumes) = spec_mut(pod).and_then(|pod| pod.list_mut("volumes")) else { return false };
    let named =
        |volume: &Value| volume.as_object().and_then(|volume| volume.str("name")) == Some(&writable.name);
    if volumes.iter().any(|(_, volume)| named(volume)) {
        return false;
    }
    let dir = Object::from([("sizeLimit", writable.size_limit.text.as_str())]);
    let mut volume = Object::from([("name", writable.name.as_str())]);
    volume.set("emptyDir", dir);
    volumes.push(volume);
    true
}

fn check_writable_paths(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let paths: Vec<&str> = spec.volumes.filled.iter().map(|writable| writable.mount_path.as_str()).collect();
    for container in &pod.containers {
        for (index, mount) in mounts(container) {
            let path = mount.get("mountPath");
            let normal = path.and_then(Value::as_str).and_then(normal_path);
            let read_only = mount.bool("readOnly") == Some(true) || is_token_mount(spec, pod, mount);
            let fits = normal
                .as_deref()
                .is_some_and(|path| read_only || paths.iter().any(|root| lies_in(path, root)));
            if !fits {
                let wanted = match normal {
                    None => "an absolute path without '..'".to_string(),
                    Some(_) if paths.is_empty() => "readOnly: true".into(),
                    Some(_) => format!("in {}, or readOnly: true", paths.join(" or ")),
                };
                // A path with .. is denied read-only too.
                let remedy = match (&normal, paths.first()) {
                    (None, Some(root)) => format!("mount it in {root}"),
                    (None, None) => "write the path without '..'".into(),
                    (Some(_), None) => "mount it read-only".into(),
                    (Some(_), Some(_)) => "mount it there or read-only".into(),
                };
                out.report(
                    container.at("volumeMounts").index(index).child("mountPath"),
                    show(path),
                    wanted,
                    remedy,
                );
            }
        }
    }
}

fn mounts<'c, 'a>(
    container: &Container<'c, 'a>,
) -> impl Iterator<Item = (usize, &'c Object<'a>)> + use<'c, 'a> {
    container.object.objects("volumeMounts")
}

/// If the policy allows the token, its mount comes from the API server.
fn is_token_mount(spec: &Spec, pod: &Pod, mount: &Object) -> bool {
    spec.service_account.automount_token
        && pod
            .spec
            .objects("volumes")
            .any(|(_, volume)| volume.get("name") == mount.get("name") && is_api_volume(volume))
}

/// An absolute path without empty and `.` parts; `None` where it is relative or has a `..`.
fn normal_path(path: &str) -> Option<String> {
    let below = path.strip_prefix('/')?;
    let mut normal = String::with_capacity(path.len());
    for part in below.split('/') {
        match part {
            "" | "." => {}
            ".." => return None,
            part => normal.extend(["/", part]),
        }
    }
    Some(normal)
}

fn lies_in(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(super) static SUB_PATHS: Rule = Rule {
    id: "sub-paths",
    group: Group::Volumes,
    title: "A sub-path stays inside its volume.",
    why: "The kubelet resolves subPath and subPathExpr on the node. Paths that climb with .. or begin at the root \
          have been used to escape volumes.",
    references: &["CVE-2017-1002101", "CVE-2021-25741"],
    setting: "",
    fill: None,
    check: check_sub_paths,
};

fn check_sub_paths(_: &Spec, pod: &Pod, out: &mut Reporter) {
    for container in &pod.containers {
        for (index, mount) in mounts(container) {
            for field in ["subPath", "subPathExpr"] {
                let Some(path) = mount.str(field) else { continue };
                if path.starts_with('/') || path.split('/').any(|part| part == "..") {
                    out.report(
                        container.at("volumeMounts").index(index).child(field),
                        quote(path),
                        "a relative path without '..'",
                        "name a folder of the volume",
                    );
                }
            }
        }
    }
}

pub(super) static VOLUME_DEVICES: Rule = Rule {
    id: "volume-devices",
    group: Group::Volumes,
    title: "No container gets a block device.",
    why: "A raw device bypasses the file system and its limits.",
    references: &["https://kubernetes.io/docs/concepts/storage/persistent-volumes/#raw-block-volume-support"],
    setting: "",
    fill: None,
    check: check_volume_devices,
};

fn check_volume_devices(_: &Spec, pod: &Pod, out: &mut Reporter) {
    for container in &pod.containers {
        for (index, device) in container.object.list("volumeDevices") {
            let name = device.as_object().and_then(|device| device.get("name"));
            out.report(
                container.at("volumeDevices").index(index),
                show(name),
                "absent",
                "remove this device",
            );
        }
    }
}

pub(super) static MOUNT_PROPAGATION: Rule = Rule {
    id: "mount-propagation",
    group: Group::Volumes,
    title: "No mount propagation to the host.",
    why: "With Bidirectional the mounts that the container makes appear on the node.",
    references: &["https://kubernetes.io/docs/concepts/storage/volumes/#mount-propagation"],
    setting: "",
    fill: None,
    check: check_mount_propagation,
};

fn check_mount_propagation(_: &Spec, pod: &Pod, out: &mut Reporter) {
    for container in &pod.containers {
        for (index, mount) in mounts(container) {
            let found = mount.get("mountPropagation");
            if found.is_some_and(|value| !matches!(value.as_str(), Some("None" | "HostToContainer"))) {
                let mounts = container.at("volumeMounts");
                out.report(
                    mounts.index(index).child("mountPropagation"),
                    show(found),
                    "None or unset",
                    "remove mountPropagation",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;
    use crate::pod::schema::volume_types;

    fn add(pod: &mut Json, volume: Json) {
        pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
    }

    fn mount_at(pod: &mut Json, mount: Json) {
        pod["spec"]["containers"][0]["volumeMounts"].as_array_mut().unwrap().push(mount);
    }

    #[test]
    fn the_name_of_an_unknown_type_cannot_forge_a_line() {
        let mut pod = complete_pod();
        pod["spec"]["volumes"][0] = json!({"name": "workspace", "x\rverdict: admitted\u{9b}2J": {}});
        let tree = pod.to_string();
        let violations = crate::rules::check(
            &crate::policy::Profile::default(),
            &crate::json::pod_from_str(&tree).unwrap(),
        );
        let message = violations.message("p");
        assert!(message.contains("is a x\u{fffd}verdict: admitted\u{fffd}2J volume"), "{message}");
    }

    #[test]
    fn every_volume_type_but_the_allowed_is_refused() {
        for kind in volume_types().filter(|kind| *kind != "emptyDir") {
            rejects(&format!("volume-types spec.volumes[2].{kind}"), |pod| {
                add(pod, json!({"name": "x", kind: {}}))
            });
        }
    }

    #[test]
    fn a_policy_may_allow_more_types() {
        let spec = spec("{volumes: {configMap: {names: [c]}}}");
        accepts_under(&spec, |pod| add(pod, json!({"name": "x", "configMap": {"name": "c"}})));
    }

    #[test]
    fn an_allowed_type_beside_another_hides_nothing() {
        rejects("volume-types spec.volumes[2].hostPath", |pod| {
            add(pod, json!({"name": "x", "emptyDir": {"sizeLimit": "1Gi"}, "hostPath": {"path": "/"}}));
        });
    }

    #[test]
    fn size_limits_are_filled() {
        let pod = fills("empty-dir spec.volumes[1].emptyDir.sizeLimit", |pod| {
            pod["spec"]["volumes"][1]["emptyDir"] = json!({})
        });
        assert_eq!(pod["spec"]["volumes"][1]["emptyDir"]["sizeLimit"], "1Gi");
        let pod = fills("empty-dir spec.volumes[2].emptyDir.sizeLimit", |pod| {
            add(pod, json!({"name": "x", "emptyDir": {}}))
        });
        assert_eq!(pod["spec"]["volumes"][2]["emptyDir"]["sizeLimit"], "10Gi");
        let memory = json!({"name": "x", "emptyDir": {"medium": "Memory"}});
        let pod = fills("empty-dir spec.volumes[2].emptyDir.sizeLimit", |pod| add(pod, memory));
        assert_eq!(pod["spec"]["volumes"][2]["emptyDir"]["sizeLimit"], "4Gi");
    }

    #[test]
    fn a_volume_without_a_source_is_an_empty_dir() {
        let mut pod = complete_pod();
        add(&mut pod, json!({"name": "x"}));
        assert_eq!(
            filled(&pod)["spec"]["volumes"][2],
            json!({"name": "x", "emptyDir": {"sizeLimit": "10Gi"}})
        );
    }

    #[test]
    fn sizes_without_bound_are_refused() {
        for size in [
            json!("0"),
            json!("-1"),
            json!("10737418241"),
            json!("11Gi"),
            json!("x"),
            json!("1e999999999"),
            json!(0),
        ] {
            rejects("empty-dir spec.volumes[0].emptyDir.sizeLimit", |pod| {
                pod["spec"]["volumes"][0]["emptyDir"]["sizeLimit"] = size
            });
        }
        for size in [json!("10Gi"), json!("10737418240"), json!(1024), json!("1n")] {
            accepts(|pod| pod["spec"]["volumes"][0]["emptyDir"]["sizeLimit"] = size);
        }
        rejects("empty-dir spec.volumes[1].emptyDir.sizeLimit", |pod| {
            pod["spec"]["volumes"][1]["emptyDir"]["sizeLimit"] = json!("2Gi")
        });
    }

    #[test]
    fn a_wrong_medium_hides_no_wrong_size() {
        let mut pod = complete_pod();
        add(&mut pod, json!({"name": "x", "emptyDir": {"medium": "HugePages-2Mi", "sizeLimit": "1Ti"}}));
        let both = ["medium", "sizeLimit"].map(|field| format!("empty-dir spec.volumes[2].emptyDir.{field}"));
        assert_eq!(violations(&pod), both);
    }

    #[test]
    fn memory_is_bounded_by_the_memory_budget() {
        rejects("empty-dir spec.volumes[2].emptyDir.sizeLimit", |pod| {
            add(pod, json!({"name": "x", "emptyDir": {"medium": "Memory", "sizeLimit": "5Gi"}}));
        });
        rejects("empty-dir spec.volumes[0].emptyDir.sizeLimit", |pod| {
            pod["spec"]["volumes"][0]["emptyDir"] = json!({"medium": "Memory", "sizeLimit": "10Gi"});
        });
        rejects("empty-dir spec.volumes[2].emptyDir.medium", |pod| {
            add(pod, json!({"name": "x", "emptyDir": {"medium": "HugePages-2Mi", "sizeLimit": "1Gi"}}));
        });
    }

    #[test]
    fn every_container_gets_the_writable_paths() {
        let mut pod = complete_pod_of_three();
        without(&mut pod["spec"], "volumes");
        for list in ["containers", "initContainers"] {
            for container in pod["spec"][list].as_array_mut().unwrap() {
                without(container, "volumeMounts");
            }
        }
        assert_eq!(filled(&pod), complete_pod_of_three());
    }

    #[test]
    fn a_mount_of_ones_own_stays() {
        accepts(|pod| {
            pod["spec"]["volumes"][0]["name"] = json!("mine");
            pod["spec"]["containers"][0]["volumeMounts"][0] =
                json!({"name": "mine", "mountPath": "/workspace/"});
        });
    }

    #[test]
    fn a_writable_mount_elsewhere_is_refused_however_it_is_spelled() {
        for path in [
            "/etc",
            "/",
            "/workspaces",
            "//workspace/../etc",
            "/workspace/..",
            "/tmp/../workspace",
            "workspace",
            "",
            "/Workspace",
            "/workspace/./../x",
        ] {
            rejects("writable-paths spec.containers[0].volumeMounts[2].mountPath", |pod| {
                mount_at(pod, json!({"name": "tmp", "mountPath": path}))
            });
        }
        for path in ["/workspace/cache", "//tmp//x/", "/tmp/./y"] {
            accepts(|pod| mount_at(pod, json!({"name": "tmp", "mountPath": path})));
        }
    }

    #[test]
    fn a_read_only_mount_may_be_anywhere_but_not_climb() {
        accepts(|pod| mount_at(pod, json!({"name": "tmp", "mountPath": "/data", "readOnly": true})));
        rejects("writable-paths spec.containers[0].volumeMounts[2].mountPath", |pod| {
            mount_at(pod, json!({"name": "tmp", "mountPath": "/data/../etc", "readOnly": true}));
        });
    }

    #[test]
    fn sub_paths_do_not_climb() {
        for (field, path) in [("subPath", "../x"), ("subPath", "/x"), ("subPathExpr", "$(A)/../..")] {
            rejects(&format!("sub-paths spec.containers[0].volumeMounts[0].{field}"), |pod| {
                pod["spec"]["containers"][0]["volumeMounts"][0][field] = json!(path);
            });
        }
        accepts(|pod| pod["spec"]["containers"][0]["volumeMounts"][0]["subPath"] = json!("a/..b"));
    }

    #[test]
    fn block_devices_are_refused() {
        rejects("volume-devices spec.containers[0].volumeDevices[0]", |pod| {
            pod["spec"]["containers"][0]["volumeDevices"] = json!([{"name": "d", "devicePath": "/dev/xvda"}]);
        });
    }

    #[test]
    fn mounts_do_not_reach_the_node() {
        rejects("mount-propagation spec.containers[0].volumeMounts[0].mountPropagation", |pod| {
            pod["spec"]["containers"][0]["volumeMounts"][0]["mountPropagation"] = json!("Bidirectional");
        });
        accepts(|pod| pod["spec"]["containers"][0]["volumeMounts"][0]["mountPropagation"] = json!("None"));
    }
}
