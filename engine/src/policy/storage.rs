//! The keys `volumes` and `resources`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    compare::Nature,
    paths::{ExactPath, PathPatterns, touches_system_path},
    pattern::Names,
    security::NamedObjects,
    spec::Spec,
    values::{Amount, Amounts},
};

/// The volumes that Pods may use and the paths that containers may write to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Volumes {
    /// The `emptyDir` volumes that are filled into every container with a read-only root file system and no mount at
    /// the path. Containers may set this key.
    pub filled: Vec<FilledVolume>,
    /// The paths where volumes of the Pod's own may be mounted writable besides those of `filled`. Containers may set
    /// this key.
    pub writable_paths: PathPatterns,
    /// The values that `terminationMessagePath` may have besides the API default. Containers may set this key.
    pub termination_message_paths: Vec<ExactPath>,
    /// The bounds of `emptyDir` volumes.
    pub empty_dir: EmptyDir,
    /// The `ConfigMaps` that may be mounted.
    pub config_map: NamedObjects,
    /// True lets Pods mount `downwardAPI` volumes.
    #[serde(rename = "downwardAPI")]
    pub downward_api: bool,
    /// True lets Pods mount image volumes of the images that `images` allows.
    pub image: bool,
    /// The `PersistentVolumeClaims` that may be mounted.
    pub persistent_volume_claim: NamedObjects,
    /// The bounds of generic ephemeral volumes.
    pub ephemeral: Ephemeral,
    /// The CSI drivers whose inline volumes may be mounted, each with its attributes.
    pub csi: Vec<CsiDriver>,
    /// The projected sources that may be used besides Secrets, `ConfigMaps`, `downwardAPI` and tokens.
    pub projected: Projected,
}

impl Volumes {
    /// The keys, each with the way in which two of its values compare.
    pub(super) const KEYS: &[(&str, Nature)] = &[
        ("volumes.filled", Nature::Allows),
        ("volumes.writablePaths", Nature::Allows),
        ("volumes.terminationMessagePaths", Nature::Allows),
        ("volumes.emptyDir.maxSize", Nature::AtMost),
        ("volumes.emptyDir.maxMemory", Nature::AtMost),
        ("volumes.configMap.names", Nature::Allows),
        ("volumes.downwardAPI", Nature::WeakIf(true)),
        ("volumes.image", Nature::WeakIf(true)),
        ("volumes.persistentVolumeClaim.names", Nature::Allows),
        ("volumes.ephemeral.storageClasses", Nature::Allows),
        ("volumes.ephemeral.maxSize", Nature::AtMost),
        ("volumes.csi", Nature::Allows),
        ("volumes.projected.clusterTrustBundles", Nature::Allows),
        ("volumes.projected.podCertificateSigners", Nature::Allows),
    ];
}

impl Default for Volumes {
    fn default() -> Self {
        let filled = |name: &str, path: &str, size| FilledVolume {
            name: name.into(),
            mount_path: ExactPath::known(path),
            size_limit: Amount::known(size),
            shared: false,
        };
        Self {
            filled: vec![filled("workspace", "/workspace", "10Gi"), filled("tmp", "/tmp", "1Gi")],
            writable_paths: PathPatterns::default(),
            termination_message_paths: Vec::new(),
            empty_dir: EmptyDir::default(),
            config_map: NamedObjects::default(),
            downward_api: false,
            image: false,
            persistent_volume_claim: NamedObjects::default(),
            ephemeral: Ephemeral::default(),
            csi: Vec::new(),
            projected: Projected::default(),
        }
    }
}

/// An `emptyDir` volume that is filled into containers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FilledVolume {
    /// The name of the volume.
    pub name: String,
    /// The path where the volume is mounted.
    pub mount_path: ExactPath,
    /// The size of the volume.
    pub size_limit: Amount,
    /// True gives all containers of the Pod the same volume; false gives each container one that no other reaches.
    #[serde(default)]
    pub shared: bool,
}

/// The bounds of `emptyDir` volumes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct EmptyDir {
    /// The largest size of an `emptyDir` volume on disk.
    pub max_size: Amount,
    /// The largest size of an `emptyDir` volume in memory.
    pub max_memory: Amount,
}

impl Default for EmptyDir {
    fn default() -> Self {
        Self { max_size: Amount::known("10Gi"), max_memory: Amount::known("1Gi") }
    }
}

/// The bounds of generic ephemeral volumes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Ephemeral {
    /// The storage classes that a volume may come from; without one there are no such volumes.
    pub storage_classes: Names,
    /// The largest size of a volume.
    pub max_size: Amount,
}

impl Default for Ephemeral {
    fn default() -> Self {
        Self { storage_classes: Names::default(), max_size: Amount::known("10Gi") }
    }
}

/// A CSI driver whose inline volumes may be mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CsiDriver {
    /// The name of the driver, exact.
    pub driver: String,
    /// The attributes that a volume may set, each with the values that it may have; no other attribute may be set.
    #[serde(default)]
    pub attributes: BTreeMap<String, Names>,
}

/// The projected sources that may be used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Projected {
    /// The `ClusterTrustBundles` that may be used, by name or signer.
    pub cluster_trust_bundles: Names,
    /// The signers of Pod certificates that may be used.
    pub pod_certificate_signers: Names,
}

/// The requests and limits of Pods.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Resources {
    /// The requests and limits of each container: they are filled where unset, and the limits are its ceiling.
    pub container: ContainerResources,
    /// The requests and limits of the whole Pod: the limits are the ceiling of its effective total.
    pub pod: PodResources,
    /// The level at which requests and limits are filled. Disk is always filled into containers.
    pub fill_at: FillAt,
    /// The extended resources that a Pod may ask for, by name.
    pub extended: BTreeMap<String, ExtendedResource>,
    /// The `ResourceClaimTemplates` that a Pod may name.
    pub resource_claim_templates: Names,
}

impl Resources {
    /// The keys, each with the way in which two of its values compare.
    pub(super) const KEYS: &[(&str, Nature)] = &[
        ("resources.container.requests", Nature::Fills),
        ("resources.container.limits.cpu", Nature::AtMost),
        ("resources.container.limits.memory", Nature::AtMost),
        ("resources.container.limits.ephemeral-storage", Nature::AtMost),
        ("resources.pod.requests", Nature::Fills),
        ("resources.pod.limits.cpu", Nature::AtMost),
        ("resources.pod.limits.memory", Nature::AtMost),
        ("resources.pod.limits.ephemeral-storage", Nature::AtMost),
        ("resources.fillAt", Nature::Fills),
        ("resources.extended", Nature::Allows),
        ("resources.resourceClaimTemplates", Nature::Allows),
    ];
}

/// The requests and limits of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainerResources {
    /// The requests that are filled where unset, never above the limit.
    pub requests: Amounts,
    /// The limits that are filled where unset, as far as the Pod's limits reach; the ceiling of every container.
    pub limits: Amounts,
}

impl Default for ContainerResources {
    fn default() -> Self {
        Self { requests: amounts("500m", "1Gi", "1Gi"), limits: amounts("2", "4Gi", "10Gi") }
    }
}

/// The requests and limits of a Pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PodResources {
    /// The requests that containers share where theirs are filled, and that `spec.resources` gets if `fillAt` is `pod`.
    pub requests: PodRequests,
    /// The ceiling of the Pod's effective total, without the overhead of its runtime class.
    pub limits: Amounts,
}

impl Default for PodResources {
    fn default() -> Self {
        let requests = PodRequests { cpu: Amount::known("500m"), memory: Amount::known("1Gi") };
        Self { requests, limits: amounts("2", "4Gi", "10Gi") }
    }
}

/// The resources that a Pod can request as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PodRequests {
    /// The amount of processor cores.
    pub cpu: Amount,
    /// The amount of memory in bytes.
    pub memory: Amount,
}

/// The level at which requests and limits are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FillAt {
    /// They are filled into every container.
    #[default]
    Container,
    /// Into `spec.resources` of the Pod, which Kubernetes has since 1.34.
    Pod,
}

/// An extended resource that a Pod may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExtendedResource {
    /// The most that all containers of a Pod may ask for together.
    pub max: u32,
    /// The runtime classes under which a Pod may ask for it, without patterns.
    pub runtime_classes: Vec<String>,
}

impl Spec {
    /// Returns true if a volume of the Pod's own may be mounted writable at `path` in a container whose root file
    /// system is read-only if `read_only_root` is true. Where the root may be written, every path may but the system
    /// paths.
    #[must_use]
    pub fn may_mount_writable(&self, path: &str, read_only_root: bool) -> bool {
        let filled = self
            .volumes
            .filled
            .iter()
            .any(|volume| super::paths::starts_with(path, volume.mount_path.as_str()));
        let safe = path.starts_with('/') && !path.split('/').any(|segment| segment == "..");
        safe && (filled
            || self.volumes.writable_paths.cover(path)
            || (!read_only_root && !self.security.read_only_root_filesystem && !touches_system_path(path)))
    }
}

fn amounts(cpu: &str, memory: &str, ephemeral_storage: &str) -> Amounts {
    Amounts {
        cpu: Amount::known(cpu),
        memory: Amount::known(memory),
        ephemeral_storage: Amount::known(ephemeral_storage),
    }
}
