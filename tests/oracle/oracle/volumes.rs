//! What volumes hold, and where containers write.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    CSIVolumeSource, EmptyDirVolumeSource, EphemeralVolumeSource, Volume, VolumeMount, VolumeProjection,
};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{Faults, Placed, Section, Subject, is_within, must, tokens::is_api_volume, word};
use crate::{
    patterns::{covers, is_of_the_system, is_one_of, parts},
    policy::Amount,
    policy::Keys,
    rule_cases::{RuleCase, rule_case},
};

/// The keys, the property and its cases.
pub(super) const SECTION: Section = Section {
    defaults: DEFAULTS,
    drawn: DRAWN,
    check,
    cases: rule_cases,
    cases_under_policies: CASES_UNDER_POLICIES,
};

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Volumes {
    pub(crate) filled: Vec<FilledVolume>,
    pub(crate) writable_paths: Vec<String>,
    pub(crate) termination_message_paths: Vec<String>,
    pub(crate) empty_dir: EmptyDir,
    pub(crate) config_map: Named,
    #[serde(rename = "downwardAPI")]
    pub(crate) downward_api: bool,
    pub(crate) image: bool,
    pub(crate) persistent_volume_claim: Named,
    pub(crate) ephemeral: Ephemeral,
    pub(crate) csi: Vec<Csi>,
    pub(crate) projected: Projected,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FilledVolume {
    pub(crate) mount_path: String,
    #[serde(default)]
    pub(crate) shared: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EmptyDir {
    pub(crate) max_size: Amount,
    pub(crate) max_memory: Amount,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Named {
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ephemeral {
    pub(crate) storage_classes: Vec<String>,
    pub(crate) max_size: Amount,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Csi {
    pub(crate) driver: String,
    #[serde(default)]
    pub(crate) attributes: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Projected {
    pub(crate) cluster_trust_bundles: Vec<String>,
    pub(crate) pod_certificate_signers: Vec<String>,
}

/// The default of each key, as the documentation of the policy file has it.
const DEFAULTS: &str = r"
volumes:
  filled:
  - {name: workspace, mountPath: /workspace, sizeLimit: 10Gi, shared: false}
  - {name: tmp, mountPath: /tmp, sizeLimit: 1Gi, shared: false}
  writablePaths: []
  terminationMessagePaths: []
  emptyDir: {maxSize: 10Gi, maxMemory: 1Gi}
  configMap: {names: []}
  downwardAPI: false
  image: false
  persistentVolumeClaim: {names: []}
  ephemeral: {storageClasses: [], maxSize: 10Gi}
  csi: []
  projected: {clusterTrustBundles: [], podCertificateSigners: []}
";

/// The values of each key that generated policies draw from.
const DRAWN: &str = r#"
volumes.filled:
- []
- [{name: tmp, mountPath: /tmp, sizeLimit: 1Gi}]
- [{name: shared, mountPath: /shared, sizeLimit: 2Gi, shared: true}, {name: workspace, mountPath: /workspace, sizeLimit: 1Gi}]
- [{name: cache, mountPath: /cache/deep, sizeLimit: 64Mi}, {name: tmp, mountPath: /tmp, sizeLimit: 1Gi, shared: true}]
volumes.writablePaths: [["*"], [/data], [/var/run/argo, /argo], ["/scripts-*", "/home/*"], [/dev/shm, /etc/istio/proxy], [/var/run/secrets/workload-spiffe-uds]]
volumes.terminationMessagePaths: [[/tekton/termination], [/tmp/end, /dev/shm]]
volumes.emptyDir: [{maxMemory: 64Mi}, {maxSize: 20Gi, maxMemory: 4Gi}]
volumes:
- {emptyDir: {maxSize: 1Gi}, filled: [{name: tmp, mountPath: /tmp, sizeLimit: 1Gi}]}
volumes.configMap.names: [["*"], [c], ["istio-ca-*", kube-root-ca.crt]]
volumes.downwardAPI: [true]
volumes.image: [true]
volumes.persistentVolumeClaim.names: [["*"], ["pvc-*"], [data]]
volumes.ephemeral: [{storageClasses: [standard]}, {storageClasses: ["*"], maxSize: 1Gi}, {storageClasses: ["fast-*", standard], maxSize: 100Gi}]
volumes.csi:
- [{driver: secrets-store.csi.k8s.io, attributes: {secretProviderClass: ["app-*"]}}]
- [{driver: csi.spiffe.io}, {driver: nfs.csi.k8s.io, attributes: {server: [nfs.example.com], share: ["*"]}}]
volumes.projected:
- {clusterTrustBundles: ["*"]}
- {clusterTrustBundles: [bundle, example.com/signer], podCertificateSigners: [example.com/signer]}
"#;

fn check(subject: &Subject, faults: &mut Faults) {
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

fn rule_cases() -> Vec<RuleCase> {
    [of_volumes(), of_mounts()].into_iter().flatten().collect()
}

fn of_volumes() -> Vec<RuleCase> {
    let named = |name: &str, size: &str| json!({"name": name, "emptyDir": {"sizeLimit": size}});
    let in_memory =
        |size: &str| json!({"name": "memory", "emptyDir": {"sizeLimit": size, "medium": "Memory"}});
    let volume = |kind: &str, source: Json| json!({"name": "extra", kind: source});
    vec![
        rule_case(
            "volume-types",
            vec![(
                "spec/volumes+",
                vec![
                    volume("hostPath", json!({"path": "/"})),
                    volume("secret", json!({"secretName": "s"})),
                    volume("configMap", json!({"name": "c"})),
                    volume("persistentVolumeClaim", json!({"claimName": "c"})),
                    volume("csi", json!({"driver": "x"})),
                    volume("image", json!({"reference": "x"})),
                    volume("nfs", json!({})),
                    json!({"name": "extra", "emptyDir": {"sizeLimit": "1Gi"}, "hostPath": {"path": "/"}}),
                ],
            )],
            vec![(
                "spec/volumes+",
                vec![json!({"name": "extra"}), json!({"name": "extra", "emptyDir": {}, "hostPath": null})],
            )],
        ),
        rule_case(
            "empty-dir",
            vec![
                (
                    "spec/volumes+",
                    vec![
                        named("cache", "10737418241"),
                        named("cache", "10.0000000001Gi"),
                        named("cache", "0"),
                        named("cache", "-1"),
                        named("cache", "1E"),
                        in_memory("4294967297"),
                        json!({"name": "huge", "emptyDir": {"sizeLimit": "1Gi", "medium": "HugePages-2Mi"}}),
                    ],
                ),
                ("spec/volumes/*/emptyDir/sizeLimit", vec![json!("11Gi"), json!("0Ki")]),
            ],
            vec![
                (
                    "spec/volumes+",
                    vec![
                        named("cache", "10Gi"),
                        named("cache", "10737418240"),
                        named("cache", "1n"),
                        in_memory("1Gi"),
                        in_memory("1073741824"),
                    ],
                ),
                ("spec/volumes/*/emptyDir/sizeLimit", vec![json!("1Gi"), json!("1"), json!("!remove")]),
            ],
        ),
    ]
}

fn of_mounts() -> Vec<RuleCase> {
    let mount = |path: &str| json!({"name": "tmp", "mountPath": path});
    let with = |key: &str, value: &str| json!({"name": "tmp", "mountPath": "/tmp/x", key: value});
    vec![
        rule_case(
            "writable-paths",
            vec![(
                "C/volumeMounts+",
                vec![
                    mount("/"),
                    mount("/etc"),
                    mount("/workspaces"),
                    mount("//workspace/../etc"),
                    mount("/tmp/.."),
                    mount("workspace/x"),
                    mount("/Tmp/x"),
                    json!({"name": "tmp", "mountPath": "/data/../x", "readOnly": true}),
                ],
            )],
            vec![(
                "C/volumeMounts+",
                vec![
                    mount("/tmp/x"),
                    mount("/workspace/x/"),
                    mount("//tmp/./y"),
                    mount("/tmp/..x"),
                    json!({"name": "tmp", "mountPath": "/data", "readOnly": true}),
                ],
            )],
        ),
        rule_case(
            "sub-paths",
            vec![(
                "C/volumeMounts+",
                vec![
                    with("subPath", "../x"),
                    with("subPath", "a/.."),
                    with("subPath", "/etc"),
                    with("subPathExpr", "$(A)/../x"),
                    with("subPathExpr", "/$(A)"),
                ],
            )],
            vec![(
                "C/volumeMounts+",
                vec![
                    with("subPath", "a..b"),
                    with("subPath", "..."),
                    with("subPath", ""),
                    with("subPathExpr", "$(A)/b"),
                ],
            )],
        ),
        rule_case(
            "mount-propagation",
            vec![(
                "C/volumeMounts+",
                vec![with("mountPropagation", "Bidirectional"), with("mountPropagation", "none")],
            )],
            vec![(
                "C/volumeMounts+",
                vec![with("mountPropagation", "HostToContainer"), with("mountPropagation", "None")],
            )],
        ),
    ]
}

/// Cases under policies that open or close something.
const CASES_UNDER_POLICIES: &str = r#"
- rule: volume-types
  spec: {volumes: {configMap: {names: [c, "app-*"]}, downwardAPI: true, persistentVolumeClaim: {names: ["pvc-*"]}}}
  violating:
    spec/volumes+: [{name: extra, hostPath: {path: /}}, {name: extra, configMap: {name: d}}, {name: extra, configMap: {}}, {name: extra, persistentVolumeClaim: {claimName: payroll}}, {name: extra, image: {reference: x}}, {name: extra, secret: {secretName: s}}, {name: extra, nfs: {server: x, path: /}}]
  boundary:
    spec/volumes+: [{name: extra, configMap: {name: c}}, {name: extra, configMap: {name: app-}}, {name: extra, downwardAPI: {}}, {name: extra, persistentVolumeClaim: {claimName: pvc-1}}, {name: extra, projected: {sources: [{configMap: {name: c}}, {downwardAPI: {}}]}}]
- rule: volume-types
  spec: {volumes: {ephemeral: {storageClasses: [standard], maxSize: 2Gi}}}
  violating:
    spec/volumes+:
    - {name: extra, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], storageClassName: standard, resources: {requests: {storage: 2049Mi}}}}}}
    - {name: extra, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}}
    - {name: extra, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteMany], storageClassName: standard, resources: {requests: {storage: 1Gi}}}}}}
    - {name: extra, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], storageClassName: standard, volumeName: theirs, resources: {requests: {storage: 1Gi}}}}}}
    - {name: extra, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], storageClassName: standard, resources: {requests: {storage: 1Gi}}, dataSource: {kind: PersistentVolumeClaim, name: payroll}}}}}
  boundary:
    spec/volumes+:
    - {name: extra, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], storageClassName: standard, resources: {requests: {storage: 2Gi}}}}}}
    - {name: extra, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOncePod], storageClassName: standard, volumeMode: Filesystem, resources: {requests: {storage: 1}}}}}}
- rule: volume-types
  spec: {volumes: {csi: [{driver: nfs.csi.k8s.io, attributes: {server: [nfs.example.com], share: ["/a/*"]}}]}}
  violating:
    spec/volumes+: [{name: extra, csi: {driver: smb.csi.k8s.io}}, {name: extra, csi: {driver: nfs.csi.k8s.io, volumeAttributes: {server: 10.0.0.1}}}, {name: extra, csi: {driver: nfs.csi.k8s.io, volumeAttributes: {mountOptions: x}}}, {name: extra, csi: {driver: nfs.csi.k8s.io, volumeAttributes: {share: /a/b/c}}}]
  boundary:
    spec/volumes+: [{name: extra, csi: {driver: nfs.csi.k8s.io}}, {name: extra, csi: {driver: nfs.csi.k8s.io, volumeAttributes: {server: nfs.example.com, share: /a/b}}}]
- rule: writable-paths
  spec: {volumes: {writablePaths: [/var/run/argo, "/scripts-*", /etc/istio/proxy]}}
  violating:
    C/volumeMounts+: [{name: tmp, mountPath: /var/run}, {name: tmp, mountPath: /var/run/argo-evil}, {name: tmp, mountPath: /scripts-1/../etc}, {name: tmp, mountPath: /etc/istio}, {name: tmp, mountPath: /etc/istio/proxy2}, {name: tmp, mountPath: /var/run/secrets}]
  boundary:
    C/volumeMounts+: [{name: tmp, mountPath: /var/run/argo}, {name: tmp, mountPath: //var/run/./argo/x}, {name: tmp, mountPath: /scripts-1/x}, {name: tmp, mountPath: /etc/istio/proxy/x}]
- rule: writable-paths
  spec: {volumes: {writablePaths: ["*"]}}
  violating:
    C/volumeMounts+: [{name: tmp, mountPath: /}, {name: tmp, mountPath: /etc/x}, {name: tmp, mountPath: /var}, {name: tmp, mountPath: /usr/local}, {name: tmp, mountPath: /dev/shm}, {name: tmp, mountPath: /proc}]
  boundary:
    C/volumeMounts+: [{name: tmp, mountPath: /opt}, {name: tmp, mountPath: /var/lib/x}, {name: tmp, mountPath: /home}]
- rule: empty-dir
  spec: {volumes: {emptyDir: {maxSize: 10Gi, maxMemory: 64Mi}}}
  violating:
    spec/volumes+: [{name: extra, emptyDir: {medium: Memory, sizeLimit: 65Mi}}, {name: extra, emptyDir: {sizeLimit: 11Gi}}, {name: extra, emptyDir: {sizeLimit: 0}}]
  boundary:
    spec/volumes+: [{name: extra, emptyDir: {medium: Memory, sizeLimit: 64Mi}}, {name: extra, emptyDir: {medium: Memory}}, {name: extra}]
"#;
