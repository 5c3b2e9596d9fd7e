//! What volumes hold, and where containers write.

use k8s_openapi::api::core::v1::{
    CSIVolumeSource, EmptyDirVolumeSource, EphemeralVolumeSource, Volume, VolumeMount, VolumeProjection,
};
use serde_json::Value as Json;

use super::{Faults, Placed, Subject, is_within, must, tokens::is_api_volume, word};
use crate::{
    patterns::{covers, is_of_the_system, is_one_of, parts},
    policy::{Keys, Volumes},
};

pub(super) fn check(subject: &Subject, faults: &mut Faults) {
    for volume in subject.spec.volumes.iter().flatten() {
        check_types(subject, volume, faults);
    }
    for (number, placed) in subject.containers.iter().enumerate() {
        for mount in placed.container.volume_mounts.iter().flatten() {
            check_mount(subject, number, placed, mount, faults);
        }
    }
}

/// A volume of several sources, which the API server denies, must be right in each of them.
fn check_types(subject: &Subject, volume: &Volume, faults: &mut Faults) {
    let Json::Object(fields) = serde_json::to_value(volume).unwrap() else { unreachable!() };
    must(fields.len() > 1, "volume without a source", faults);
    let volumes = &subject.keys.volumes;
    for kind in fields.keys().filter(|key| *key != "name") {
        let fits = match kind.as_str() {
            // The names of Secrets are checked with who mounts them.
            "emptyDir" | "secret" => true,
            "configMap" => {
                volume.config_map.as_ref().is_some_and(|map| is_one_of(&volumes.config_map.names, &map.name))
            }
            "downwardAPI" => volumes.downward_api,
            "image" => volumes.image,
            "persistentVolumeClaim" => volume
                .persistent_volume_claim
                .as_ref()
                .is_some_and(|claim| is_one_of(&volumes.persistent_volume_claim.names, &claim.claim_name)),
            "ephemeral" => volume.ephemeral.as_ref().is_some_and(|claim| is_allowed_claim(volumes, claim)),
            "csi" => volume.csi.as_ref().is_some_and(|csi| is_allowed_driver(volumes, csi)),
            "projected" => {
                let sources: Vec<_> =
                    volume.projected.iter().flat_map(|all| all.sources.iter().flatten()).collect();
                is_api_volume(&sources) || sources.iter().all(|source| is_allowed_source(volumes, source))
            }
            _ => false,
        };
        must(fits, &format!("{kind} volume"), faults);
    }
    if let Some(empty_dir) = &volume.empty_dir {
        check_empty_dir(volumes, empty_dir, faults);
    }
}

fn check_empty_dir(volumes: &Volumes, empty_dir: &EmptyDirVolumeSource, faults: &mut Faults) {
    let medium = word(empty_dir.medium.as_ref());
    must(matches!(medium, "" | "Memory"), "emptyDir medium", faults);
    let most = if medium == "Memory" { &volumes.empty_dir.max_memory } else { &volumes.empty_dir.max_size };
    let has_size = empty_dir.size_limit.as_ref().is_some_and(|size| is_within(&size.0, &most.0));
    must(has_size, "emptyDir size", faults);
}

/// Tokens, certificates and Secrets are checked elsewhere.
fn is_allowed_source(volumes: &Volumes, source: &VolumeProjection) -> bool {
    let is_map = |name: &str| is_one_of(&volumes.config_map.names, name);
    source.config_map.as_ref().is_none_or(|map| is_map(&map.name))
        && (source.downward_api.is_none() || volumes.downward_api)
}

/// A claim that the API server makes for the Pod must begin empty, on a class that is meant, for this Pod alone.
fn is_allowed_claim(volumes: &Volumes, ephemeral: &EphemeralVolumeSource) -> bool {
    let Some(template) = &ephemeral.volume_claim_template else { return false };
    let claim = &template.spec;
    let annotations = template.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref());
    let names_class = annotations
        .is_some_and(|annotations| annotations.contains_key("volume.beta.kubernetes.io/storage-class"));
    let begins_empty = claim.data_source.is_none()
        && claim.data_source_ref.is_none()
        && claim.selector.is_none()
        && claim.volume_name.is_none()
        && claim.volume_attributes_class_name.is_none();
    let modes = claim.access_modes.as_deref().unwrap_or_default();
    let is_of_one_pod = !modes.is_empty()
        && modes.iter().all(|mode| matches!(mode.as_str(), "ReadWriteOnce" | "ReadWriteOncePod"));
    let size =
        claim.resources.as_ref().and_then(|all| all.requests.as_ref()).and_then(|all| all.get("storage"));
    let bound = &volumes.ephemeral;
    !names_class
        && begins_empty
        && is_of_one_pod
        && is_one_of(&bound.storage_classes, word(claim.storage_class_name.as_ref()))
        && matches!(word(claim.volume_mode.as_ref()), "" | "Filesystem")
        && size.is_some_and(|size| is_within(&size.0, &bound.max_size.0))
}

fn is_allowed_driver(volumes: &Volumes, csi: &CSIVolumeSource) -> bool {
    let attributes = csi.volume_attributes.clone().unwrap_or_default();
    volumes.csi.iter().filter(|entry| entry.driver == csi.driver).any(|entry| {
        attributes
            .iter()
            .all(|(key, value)| entry.attributes.get(key).is_some_and(|allowed| is_one_of(allowed, value)))
    })
}

fn check_mount(subject: &Subject, number: usize, placed: &Placed, mount: &VolumeMount, faults: &mut Faults) {
    let propagation = word(mount.mount_propagation.as_ref());
    placed.must(matches!(propagation, "" | "None" | "HostToContainer"), "mount propagation", faults);
    for path in [&mount.sub_path, &mount.sub_path_expr].into_iter().flatten() {
        placed.must(!path.split('/').any(|part| part == "..") && !path.starts_with('/'), "sub-path", faults);
    }
    let Some(path) = parts(&mount.mount_path) else {
        return placed.must(false, "mount path", faults);
    };
    let volumes: Vec<&Volume> =
        subject.spec.volumes.iter().flatten().filter(|volume| volume.name == mount.name).collect();
    let is_read_only_by_nature = !volumes.is_empty() && volumes.iter().all(|volume| is_never_written(volume));
    if is_read_only_by_nature || may_write(placed.keys, &path) {
        return;
    }
    if mount.read_only != Some(true) {
        return placed.must(false, "writable mount", faults);
    }
    // What the code of an exception runs must not be what another container writes.
    let is_excepted = !std::ptr::eq(placed.keys, subject.keys);
    let is_written = volumes.is_empty()
        || volumes.iter().any(|volume| volume.empty_dir.is_none() && volume.ephemeral.is_none())
        || subject.mounts_of(&mount.name).any(|(other, _, _, read_only)| other != number && !read_only);
    placed.must(!(is_excepted && is_of_the_system(&path) && is_written), "mount over a system path", faults);
}

/// The kubelet mounts these read-only, whatever the mount asks for.
fn is_never_written(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
        || volume.image.is_some()
}

fn may_write(keys: &Keys, path: &[&str]) -> bool {
    let volumes = &keys.volumes;
    let is_filled = volumes.filled.iter().any(|filled| {
        let filled = parts(&filled.mount_path).unwrap_or_default();
        filled.len() <= path.len() && filled == path[..filled.len()]
    });
    is_filled
        || volumes.writable_paths.iter().any(|entry| covers(entry, path))
        || (!keys.security.read_only_root_filesystem && covers("*", path))
}
