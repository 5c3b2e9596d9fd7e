//! The mounts of volumes: sub-paths, block devices and mount propagation.

use super::{Group, Rule};
use crate::{
    cel::{Keys, Statement},
    pod::Pod,
    policy::Spec,
    text::quote,
    violations::{Reporter, show},
};

pub(super) static SUB_PATHS: Rule = Rule {
    id: "sub-paths",
    group: Group::Volumes,
    title: "A sub-path stays inside its volume.",
    why: "The kubelet resolves subPath and subPathExpr on the node. Paths that climb with .. or begin at the root \
          have been used to escape volumes.",
    references: &[
        "NIST SP 800-190, 4.5.5: Host OS file system tampering",
        "Kubescape, C-0058: CVE-2021-25741 - Using symlink for arbitrary host file system access",
        "CVE-2017-1002101",
        "CVE-2021-25741",
    ],
    setting: "",
    fill: None,
    check: check_sub_paths,
    cel: Some(cel_sub_paths),
};

fn check_sub_paths(_: &Spec, pod: &Pod, out: &mut Reporter) {
    for container in &pod.containers {
        for (index, mount) in container.object.objects("volumeMounts") {
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

const CEL_MOUNTS: &str = "c.o.?volumeMounts.orValue([])";

/// Returns the check of the mounts `m` of each container for which `denied` holds.
pub(super) fn cel_of_mounts(denied: &str, shown: &str) -> Statement {
    Statement::container(
        format!("{CEL_MOUNTS}.exists(m, {denied})"),
        "volumeMounts",
        &format!("strings.quote({CEL_MOUNTS}.filter(m, {denied}).map(m, {shown}).join(', '))"),
    )
}

fn cel_sub_paths(_: Keys) -> Vec<Statement> {
    let climbs = |field: &str| {
        format!("m.?{field}.orValue('').startsWith('/') || '..' in m.?{field}.orValue('').split('/')")
    };
    let denied = format!("({} || {})", climbs("subPath"), climbs("subPathExpr"));
    vec![cel_of_mounts(&denied, "m.?subPath.orValue('') + ' ' + m.?subPathExpr.orValue('')")]
}

pub(super) static VOLUME_DEVICES: Rule = Rule {
    id: "volume-devices",
    group: Group::Volumes,
    title: "No container gets a block device.",
    why: "A raw device bypasses the file system and its limits.",
    references: &[
        "NIST SP 800-190, 4.5.5: Host OS file system tampering",
        "https://kubernetes.io/docs/concepts/storage/persistent-volumes/#raw-block-volume-support",
    ],
    setting: "",
    fill: None,
    check: check_volume_devices,
    cel: Some(cel_volume_devices),
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

fn cel_volume_devices(_: Keys) -> Vec<Statement> {
    let devices = "c.o.?volumeDevices.orValue([])";
    let found = format!("strings.quote({devices}.map(m, m.?name.orValue('')).join(', '))");
    vec![Statement::container(format!("{devices}.size() > 0"), "volumeDevices", &found)]
}

pub(super) static MOUNT_PROPAGATION: Rule = Rule {
    id: "mount-propagation",
    group: Group::Volumes,
    title: "No mount propagation to the host.",
    why: "With Bidirectional the mounts that the container makes appear on the node.",
    references: &[
        "NIST SP 800-190, 4.5.5: Host OS file system tampering",
        "https://kubernetes.io/docs/concepts/storage/volumes/#mount-propagation",
    ],
    setting: "",
    fill: None,
    check: check_mount_propagation,
    cel: Some(cel_mount_propagation),
};

fn check_mount_propagation(_: &Spec, pod: &Pod, out: &mut Reporter) {
    for container in &pod.containers {
        for (index, mount) in container.object.objects("volumeMounts") {
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

fn cel_mount_propagation(_: Keys) -> Vec<Statement> {
    let denied = "!(m.?mountPropagation.orValue('None') in ['None', 'HostToContainer'])";
    vec![cel_of_mounts(denied, "m.mountPath + ' ' + m.?mountPropagation.orValue('')")]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::*;

    #[test]
    fn sub_path_that_climbs_is_denied() {
        for (field, path) in [("subPath", "../x"), ("subPath", "/x"), ("subPathExpr", "$(A)/../..")] {
            rejects(&format!("sub-paths spec.containers[0].volumeMounts[0].{field}"), |pod| {
                pod["spec"]["containers"][0]["volumeMounts"][0][field] = json!(path);
            });
        }
        accepts(|pod| pod["spec"]["containers"][0]["volumeMounts"][0]["subPath"] = json!("a/..b"));
    }

    #[test]
    fn block_device_is_denied() {
        rejects("volume-devices spec.containers[0].volumeDevices[0]", |pod| {
            pod["spec"]["containers"][0]["volumeDevices"] = json!([{"name": "d", "devicePath": "/dev/xvda"}]);
        });
    }

    #[test]
    fn mount_that_reaches_the_node_is_denied() {
        rejects("mount-propagation spec.containers[0].volumeMounts[0].mountPropagation", |pod| {
            pod["spec"]["containers"][0]["volumeMounts"][0]["mountPropagation"] = json!("Bidirectional");
        });
        accepts(|pod| pod["spec"]["containers"][0]["volumeMounts"][0]["mountPropagation"] = json!("None"));
    }
}
