//! The fields of a Pod as the Kubernetes API declares them, with the kind of value each takes.
//!
//! Written from the OpenAPI documents of Kubernetes 1.36 and 1.37 (`api/openapi-spec/v3/api__v1_openapi.json`), less
//! the fields that `docs/pod-fields.md` calls unknown. Tests hold this table against that document, and that document
//! against running API servers. A field that is not in this table is one that no rule checks.

use crate::json::is_same;

/// The versions of Kubernetes whose Pod API the table holds.
pub const VERSIONS: &str = "1.36 and 1.37";

/// The fields of these versions that the table leaves out on purpose, each with its type: a Pod that has one is denied.
/// `docs/pod-fields.md` has the reasons.
pub const DENIED_ON_PURPOSE: [(&str, &str); 12] = [
    ("ClusterTrustBundleProjection", "user"),
    ("ConfigMapVolumeSource", "defaultUser"),
    ("DownwardAPIVolumeFile", "user"),
    ("DownwardAPIVolumeSource", "defaultUser"),
    ("KeyToPath", "user"),
    ("PodCertificateProjection", "user"),
    ("PodSpec", "evictionResponders"),
    ("PodSpec", "schedulingGroup"),
    ("ProjectedVolumeSource", "defaultUser"),
    ("SecretVolumeSource", "defaultUser"),
    ("ServiceAccountTokenProjection", "user"),
    ("VolumeMount", "bindMountOptions"),
];

/// The type of value that a field takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A value that is a string.
    String,
    /// A value that is a whole number.
    Integer,
    /// The value `true` or `false`.
    Boolean,
    /// A `resource.Quantity`: a string or a number.
    Quantity,
    /// A value of the type `intstr.IntOrString`.
    IntOrString,
    /// Any value; no rule checks what it contains.
    Any,
    /// A list of values of one kind.
    List(&'static Kind),
    /// An object with free keys and values of one kind.
    Map(&'static Kind),
    /// An object with the fields of `Type`.
    Object(&'static Type),
}

/// An API type: its name in `core/v1` and its fields.
#[derive(Debug)]
pub struct Type {
    /// The Go type's name.
    pub name: &'static str,
    /// Each field with its kind.
    pub fields: &'static [(&'static str, Kind)],
}

impl Type {
    /// The kind of the field `name`, if this type has it.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<Kind> {
        self.fields.iter().find(|(field, _)| is_same(field, name)).map(|(_, kind)| *kind)
    }
}

use Kind::{Any, Boolean, IntOrString, Integer, List, Map, Object, Quantity, String};

/// The type of a Pod.
pub static POD: Type = Type {
    name: "Pod",
    fields: &[
        ("apiVersion", String),
        ("kind", String),
        ("metadata", Object(&OBJECT_META)),
        ("spec", Object(&POD_SPEC)),
        ("status", Any),
    ],
};

static POD_SPEC: Type = Type {
    name: "PodSpec",
    fields: &[
        ("activeDeadlineSeconds", Integer),
        ("affinity", Object(&AFFINITY)),
        ("automountServiceAccountToken", Boolean),
        ("containers", List(&Object(&CONTAINER))),
        ("dnsConfig", Object(&POD_DNS_CONFIG)),
        ("dnsPolicy", String),
        ("enableServiceLinks", Boolean),
        ("ephemeralContainers", List(&Object(&EPHEMERAL_CONTAINER))),
        ("hostAliases", List(&Object(&HOST_ALIAS))),
        ("hostIPC", Boolean),
        ("hostNetwork", Boolean),
        ("hostPID", Boolean),
        ("hostUsers", Boolean),
        ("hostname", String),
        ("hostnameOverride", String),
        ("imagePullSecrets", List(&Object(&LOCAL_OBJECT_REFERENCE))),
        ("initContainers", List(&Object(&CONTAINER))),
        ("nodeName", String),
        ("nodeSelector", Map(&String)),
        ("os", Object(&POD_OS)),
        ("overhead", Map(&Quantity)),
        ("preemptionPolicy", String),
        ("priority", Integer),
        ("priorityClassName", String),
        ("readinessGates", List(&Object(&POD_READINESS_GATE))),
        ("resourceClaims", List(&Object(&POD_RESOURCE_CLAIM))),
        ("resources", Object(&RESOURCE_REQUIREMENTS)),
        ("restartPolicy", String),
        ("runtimeClassName", String),
        ("schedulerName", String),
        ("schedulingGates", List(&Object(&POD_SCHEDULING_GATE))),
        ("securityContext", Object(&POD_SECURITY_CONTEXT)),
        ("serviceAccount", String),
        ("serviceAccountName", String),
        ("setHostnameAsFQDN", Boolean),
        ("shareProcessNamespace", Boolean),
        ("subdomain", String),
        ("terminationGracePeriodSeconds", Integer),
        ("tolerations", List(&Object(&TOLERATION))),
        ("topologySpreadConstraints", List(&Object(&TOPOLOGY_SPREAD_CONSTRAINT))),
        ("volumes", List(&Object(&VOLUME))),
    ],
};

static VOLUME: Type = Type {
    name: "Volume",
    fields: &[
        ("awsElasticBlockStore", Object(&AWS_ELASTIC_BLOCK_STORE_VOLUME_SOURCE)),
        ("azureDisk", Object(&AZURE_DISK_VOLUME_SOURCE)),
        ("azureFile", Object(&AZURE_FILE_VOLUME_SOURCE)),
        ("cephfs", Object(&CEPH_FS_VOLUME_SOURCE)),
        ("cinder", Object(&CINDER_VOLUME_SOURCE)),
        ("configMap", Object(&CONFIG_MAP_VOLUME_SOURCE)),
        ("csi", Object(&CSI_VOLUME_SOURCE)),
        ("downwardAPI", Object(&DOWNWARD_API_VOLUME_SOURCE)),
        ("emptyDir", Object(&EMPTY_DIR_VOLUME_SOURCE)),
        ("ephemeral", Object(&EPHEMERAL_VOLUME_SOURCE)),
        ("fc", Object(&FC_VOLUME_SOURCE)),
        ("flexVolume", Object(&FLEX_VOLUME_SOURCE)),
        ("flocker", Object(&FLOCKER_VOLUME_SOURCE)),
        ("gcePersistentDisk", Object(&GCE_PERSISTENT_DISK_VOLUME_SOURCE)),
        ("gitRepo", Object(&GIT_REPO_VOLUME_SOURCE)),
        ("glusterfs", Object(&GLUSTERFS_VOLUME_SOURCE)),
        ("hostPath", Object(&HOST_PATH_VOLUME_SOURCE)),
        ("image", Object(&IMAGE_VOLUME_SOURCE)),
        ("iscsi", Object(&ISCSI_VOLUME_SOURCE)),
        ("name", String),
        ("nfs", Object(&NFS_VOLUME_SOURCE)),
        ("persistentVolumeClaim", Object(&PERSISTENT_VOLUME_CLAIM_VOLUME_SOURCE)),
        ("photonPersistentDisk", Object(&PHOTON_PERSISTENT_DISK_VOLUME_SOURCE)),
        ("portworxVolume", Object(&PORTWORX_VOLUME_SOURCE)),
        ("projected", Object(&PROJECTED_VOLUME_SOURCE)),
        ("quobyte", Object(&QUOBYTE_VOLUME_SOURCE)),
        ("rbd", Object(&RBD_VOLUME_SOURCE)),
        ("scaleIO", Object(&SCALE_IO_VOLUME_SOURCE)),
        ("secret", Object(&SECRET_VOLUME_SOURCE)),
        ("storageos", Object(&STORAGE_OS_VOLUME_SOURCE)),
        ("vsphereVolume", Object(&VSPHERE_VIRTUAL_DISK_VOLUME_SOURCE)),
    ],
};

static VSPHERE_VIRTUAL_DISK_VOLUME_SOURCE: Type = Type {
    name: "VsphereVirtualDiskVolumeSource",
    fields: &[
        ("fsType", String),
        ("storagePolicyID", String),
        ("storagePolicyName", String),
        ("volumePath", String),
    ],
};

static STORAGE_OS_VOLUME_SOURCE: Type = Type {
    name: "StorageOSVolumeSource",
    fields: &[
        ("fsType", String),
        ("readOnly", Boolean),
        ("secretRef", Object(&LOCAL_OBJECT_REFERENCE)),
        ("volumeName", String),
        ("volumeNamespace", String),
    ],
};

static SECRET_VOLUME_SOURCE: Type = Type {
    name: "SecretVolumeSource",
    fields: &[
        ("defaultMode", Integer),
        ("items", List(&Object(&KEY_TO_PATH))),
        ("optional", Boolean),
        ("secretName", String),
    ],
};

static SCALE_IO_VOLUME_SOURCE: Type = Type {
    name: "ScaleIOVolumeSource",
    fields: &[
        ("fsType", String),
        ("gateway", String),
        ("protectionDomain", String),
        ("readOnly", Boolean),
        ("secretRef", Object(&LOCAL_OBJECT_REFERENCE)),
        ("sslEnabled", Boolean),
        ("storageMode", String),
        ("storagePool", String),
        ("system", String),
        ("volumeName", String),
    ],
};

static RBD_VOLUME_SOURCE: Type = Type {
    name: "RBDVolumeSource",
    fields: &[
        ("fsType", String),
        ("image", String),
        ("keyring", String),
        ("monitors", List(&String)),
        ("pool", String),
        ("readOnly", Boolean),
        ("secretRef", Object(&LOCAL_OBJECT_REFERENCE)),
        ("user", String),
    ],
};

static QUOBYTE_VOLUME_SOURCE: Type = Type {
    name: "QuobyteVolumeSource",
    fields: &[
        ("group", String),
        ("readOnly", Boolean),
        ("registry", String),
        ("tenant", String),
        ("user", String),
        ("volume", String),
    ],
};

static PROJECTED_VOLUME_SOURCE: Type = Type {
    name: "ProjectedVolumeSource",
    fields: &[("defaultMode", Integer), ("sources", List(&Object(&VOLUME_PROJECTION)))],
};

static VOLUME_PROJECTION: Type = Type {
    name: "VolumeProjection",
    fields: &[
        ("clusterTrustBundle", Object(&CLUSTER_TRUST_BUNDLE_PROJECTION)),
        ("configMap", Object(&CONFIG_MAP_PROJECTION)),
        ("downwardAPI", Object(&DOWNWARD_API_PROJECTION)),
        ("podCertificate", Object(&POD_CERTIFICATE_PROJECTION)),
        ("secret", Object(&SECRET_PROJECTION)),
        ("serviceAccountToken", Object(&SERVICE_ACCOUNT_TOKEN_PROJECTION)),
    ],
};

static SERVICE_ACCOUNT_TOKEN_PROJECTION: Type = Type {
    name: "ServiceAccountTokenProjection",
    fields: &[("audience", String), ("expirationSeconds", Integer), ("path", String)],
};

static SECRET_PROJECTION: Type = Type {
    name: "SecretProjection",
    fields: &[("items", List(&Object(&KEY_TO_PATH))), ("name", String), ("optional", Boolean)],
};

static POD_CERTIFICATE_PROJECTION: Type = Type {
    name: "PodCertificateProjection",
    fields: &[
        ("certificateChainPath", String),
        ("credentialBundlePath", String),
        ("keyPath", String),
        ("keyType", String),
        ("maxExpirationSeconds", Integer),
        ("signerName", String),
        ("userAnnotations", Map(&String)),
    ],
};

static DOWNWARD_API_PROJECTION: Type =
    Type { name: "DownwardAPIProjection", fields: &[("items", List(&Object(&DOWNWARD_API_VOLUME_FILE)))] };

static CONFIG_MAP_PROJECTION: Type = Type {
    name: "ConfigMapProjection",
    fields: &[("items", List(&Object(&KEY_TO_PATH))), ("name", String), ("optional", Boolean)],
};

static CLUSTER_TRUST_BUNDLE_PROJECTION: Type = Type {
    name: "ClusterTrustBundleProjection",
    fields: &[
        ("labelSelector", Object(&LABEL_SELECTOR)),
        ("name", String),
        ("optional", Boolean),
        ("path", String),
        ("signerName", String),
    ],
};

static PORTWORX_VOLUME_SOURCE: Type = Type {
    name: "PortworxVolumeSource",
    fields: &[("fsType", String), ("readOnly", Boolean), ("volumeID", String)],
};

static PHOTON_PERSISTENT_DISK_VOLUME_SOURCE: Type =
    Type { name: "PhotonPersistentDiskVolumeSource", fields: &[("fsType", String), ("pdID", String)] };

static PERSISTENT_VOLUME_CLAIM_VOLUME_SOURCE: Type = Type {
    name: "PersistentVolumeClaimVolumeSource",
    fields: &[("claimName", String), ("readOnly", Boolean)],
};

static NFS_VOLUME_SOURCE: Type =
    Type { name: "NFSVolumeSource", fields: &[("path", String), ("readOnly", Boolean), ("server", String)] };

static ISCSI_VOLUME_SOURCE: Type = Type {
    name: "ISCSIVolumeSource",
    fields: &[
        ("chapAuthDiscovery", Boolean),
        ("chapAuthSession", Boolean),
        ("fsType", String),
        ("initiatorName", String),
        ("iqn", String),
        ("iscsiInterface", String),
        ("lun", Integer),
        ("portals", List(&String)),
        ("readOnly", Boolean),
        ("secretRef", Object(&LOCAL_OBJECT_REFERENCE)),
        ("targetPortal", String),
    ],
};

static IMAGE_VOLUME_SOURCE: Type =
    Type { name: "ImageVolumeSource", fields: &[("pullPolicy", String), ("reference", String)] };

static HOST_PATH_VOLUME_SOURCE: Type =
    Type { name: "HostPathVolumeSource", fields: &[("path", String), ("type", String)] };

static GLUSTERFS_VOLUME_SOURCE: Type = Type {
    name: "GlusterfsVolumeSource",
    fields: &[("endpoints", String), ("path", String), ("readOnly", Boolean)],
};

static GIT_REPO_VOLUME_SOURCE: Type = Type {
    name: "GitRepoVolumeSource",
    fields: &[("directory", String), ("repository", String), ("revision", String)],
};

static GCE_PERSISTENT_DISK_VOLUME_SOURCE: Type = Type {
    name: "GCEPersistentDiskVolumeSource",
    fields: &[("fsType", String), ("partition", Integer), ("pdName", String), ("readOnly", Boolean)],
};

static FLOCKER_VOLUME_SOURCE: Type =
    Type { name: "FlockerVolumeSource", fields: &[("datasetName", String), ("datasetUUID", String)] };

static FLEX_VOLUME_SOURCE: Type = Type {
    name: "FlexVolumeSource",
    fields: &[
        ("driver", String),
        ("fsType", String),
        ("options", Map(&String)),
        ("readOnly", Boolean),
        ("secretRef", Object(&LOCAL_OBJECT_REFERENCE)),
    ],
};

static FC_VOLUME_SOURCE: Type = Type {
    name: "FCVolumeSource",
    fields: &[
        ("fsType", String),
        ("lun", Integer),
        ("readOnly", Boolean),
        ("targetWWNs", List(&String)),
        ("wwids", List(&String)),
    ],
};

static EPHEMERAL_VOLUME_SOURCE: Type = Type {
    name: "EphemeralVolumeSource",
    fields: &[("volumeClaimTemplate", Object(&PERSISTENT_VOLUME_CLAIM_TEMPLATE))],
};

static PERSISTENT_VOLUME_CLAIM_TEMPLATE: Type = Type {
    name: "PersistentVolumeClaimTemplate",
    fields: &[("metadata", Object(&OBJECT_META)), ("spec", Object(&PERSISTENT_VOLUME_CLAIM_SPEC))],
};

static PERSISTENT_VOLUME_CLAIM_SPEC: Type = Type {
    name: "PersistentVolumeClaimSpec",
    fields: &[
        ("accessModes", List(&String)),
        ("dataSource", Object(&TYPED_LOCAL_OBJECT_REFERENCE)),
        ("dataSourceRef", Object(&TYPED_OBJECT_REFERENCE)),
        ("resources", Object(&VOLUME_RESOURCE_REQUIREMENTS)),
        ("selector", Object(&LABEL_SELECTOR)),
        ("storageClassName", String),
        ("volumeAttributesClassName", String),
        ("volumeMode", String),
        ("volumeName", String),
    ],
};

static VOLUME_RESOURCE_REQUIREMENTS: Type = Type {
    name: "VolumeResourceRequirements",
    fields: &[("limits", Map(&Quantity)), ("requests", Map(&Quantity))],
};

static TYPED_OBJECT_REFERENCE: Type = Type {
    name: "TypedObjectReference",
    fields: &[("apiGroup", String), ("kind", String), ("name", String), ("namespace", String)],
};

static TYPED_LOCAL_OBJECT_REFERENCE: Type = Type {
    name: "TypedLocalObjectReference",
    fields: &[("apiGroup", String), ("kind", String), ("name", String)],
};

static EMPTY_DIR_VOLUME_SOURCE: Type = Type {
    name: "EmptyDirVolumeSource",
    fields: &[("medium", String), ("mode", Integer), ("sizeLimit", Quantity)],
};

static DOWNWARD_API_VOLUME_SOURCE: Type = Type {
    name: "DownwardAPIVolumeSource",
    fields: &[("defaultMode", Integer), ("items", List(&Object(&DOWNWARD_API_VOLUME_FILE)))],
};

static DOWNWARD_API_VOLUME_FILE: Type = Type {
    name: "DownwardAPIVolumeFile",
    fields: &[
        ("fieldRef", Object(&OBJECT_FIELD_SELECTOR)),
        ("mode", Integer),
        ("path", String),
        ("resourceFieldRef", Object(&RESOURCE_FIELD_SELECTOR)),
    ],
};

static CSI_VOLUME_SOURCE: Type = Type {
    name: "CSIVolumeSource",
    fields: &[
        ("driver", String),
        ("fsType", String),
        ("nodePublishSecretRef", Object(&LOCAL_OBJECT_REFERENCE)),
        ("readOnly", Boolean),
        ("volumeAttributes", Map(&String)),
    ],
};

static CONFIG_MAP_VOLUME_SOURCE: Type = Type {
    name: "ConfigMapVolumeSource",
    fields: &[
        ("defaultMode", Integer),
        ("items", List(&Object(&KEY_TO_PATH))),
        ("name", String),
        ("optional", Boolean),
    ],
};

static KEY_TO_PATH: Type =
    Type { name: "KeyToPath", fields: &[("key", String), ("mode", Integer), ("path", String)] };

static CINDER_VOLUME_SOURCE: Type = Type {
    name: "CinderVolumeSource",
    fields: &[
        ("fsType", String),
        ("readOnly", Boolean),
        ("secretRef", Object(&LOCAL_OBJECT_REFERENCE)),
        ("volumeID", String),
    ],
};

static CEPH_FS_VOLUME_SOURCE: Type = Type {
    name: "CephFSVolumeSource",
    fields: &[
        ("monitors", List(&String)),
        ("path", String),
        ("readOnly", Boolean),
        ("secretFile", String),
        ("secretRef", Object(&LOCAL_OBJECT_REFERENCE)),
        ("user", String),
    ],
};

static AZURE_FILE_VOLUME_SOURCE: Type = Type {
    name: "AzureFileVolumeSource",
    fields: &[("readOnly", Boolean), ("secretName", String), ("shareName", String)],
};

static AZURE_DISK_VOLUME_SOURCE: Type = Type {
    name: "AzureDiskVolumeSource",
    fields: &[
        ("cachingMode", String),
        ("diskName", String),
        ("diskURI", String),
        ("fsType", String),
        ("kind", String),
        ("readOnly", Boolean),
    ],
};

static AWS_ELASTIC_BLOCK_STORE_VOLUME_SOURCE: Type = Type {
    name: "AWSElasticBlockStoreVolumeSource",
    fields: &[("fsType", String), ("partition", Integer), ("readOnly", Boolean), ("volumeID", String)],
};

static TOPOLOGY_SPREAD_CONSTRAINT: Type = Type {
    name: "TopologySpreadConstraint",
    fields: &[
        ("labelSelector", Object(&LABEL_SELECTOR)),
        ("matchLabelKeys", List(&String)),
        ("maxSkew", Integer),
        ("minDomains", Integer),
        ("nodeAffinityPolicy", String),
        ("nodeTaintsPolicy", String),
        ("topologyKey", String),
        ("whenUnsatisfiable", String),
    ],
};

static TOLERATION: Type = Type {
    name: "Toleration",
    fields: &[
        ("effect", String),
        ("key", String),
        ("operator", String),
        ("tolerationSeconds", Integer),
        ("value", String),
    ],
};

static POD_SECURITY_CONTEXT: Type = Type {
    name: "PodSecurityContext",
    fields: &[
        ("appArmorProfile", Object(&APP_ARMOR_PROFILE)),
        ("fsGroup", Integer),
        ("fsGroupChangePolicy", String),
        ("runAsGroup", Integer),
        ("runAsNonRoot", Boolean),
        ("runAsUser", Integer),
        ("seLinuxChangePolicy", String),
        ("seLinuxOptions", Object(&SE_LINUX_OPTIONS)),
        ("seccompProfile", Object(&SECCOMP_PROFILE)),
        ("supplementalGroups", List(&Integer)),
        ("supplementalGroupsPolicy", String),
        ("sysctls", List(&Object(&SYSCTL))),
        ("windowsOptions", Object(&WINDOWS_SECURITY_CONTEXT_OPTIONS)),
    ],
};

static SYSCTL: Type = Type { name: "Sysctl", fields: &[("name", String), ("value", String)] };

static POD_SCHEDULING_GATE: Type = Type { name: "PodSchedulingGate", fields: &[("name", String)] };

static POD_RESOURCE_CLAIM: Type = Type {
    name: "PodResourceClaim",
    fields: &[("name", String), ("resourceClaimName", String), ("resourceClaimTemplateName", String)],
};

static POD_READINESS_GATE: Type = Type { name: "PodReadinessGate", fields: &[("conditionType", String)] };

static POD_OS: Type = Type { name: "PodOS", fields: &[("name", String)] };

static LOCAL_OBJECT_REFERENCE: Type = Type { name: "LocalObjectReference", fields: &[("name", String)] };

static HOST_ALIAS: Type = Type { name: "HostAlias", fields: &[("hostnames", List(&String)), ("ip", String)] };

static EPHEMERAL_CONTAINER: Type = Type {
    name: "EphemeralContainer",
    fields: &[
        ("args", List(&String)),
        ("command", List(&String)),
        ("env", List(&Object(&ENV_VAR))),
        ("envFrom", List(&Object(&ENV_FROM_SOURCE))),
        ("image", String),
        ("imagePullPolicy", String),
        ("lifecycle", Object(&LIFECYCLE)),
        ("livenessProbe", Object(&PROBE)),
        ("name", String),
        ("ports", List(&Object(&CONTAINER_PORT))),
        ("readinessProbe", Object(&PROBE)),
        ("resizePolicy", List(&Object(&CONTAINER_RESIZE_POLICY))),
        ("resources", Object(&RESOURCE_REQUIREMENTS)),
        ("restartPolicy", String),
        ("restartPolicyRules", List(&Object(&CONTAINER_RESTART_RULE))),
        ("securityContext", Object(&SECURITY_CONTEXT)),
        ("startupProbe", Object(&PROBE)),
        ("stdin", Boolean),
        ("stdinOnce", Boolean),
        ("targetContainerName", String),
        ("terminationMessagePath", String),
        ("terminationMessagePolicy", String),
        ("tty", Boolean),
        ("volumeDevices", List(&Object(&VOLUME_DEVICE))),
        ("volumeMounts", List(&Object(&VOLUME_MOUNT))),
        ("workingDir", String),
    ],
};

static POD_DNS_CONFIG: Type = Type {
    name: "PodDNSConfig",
    fields: &[
        ("nameservers", List(&String)),
        ("options", List(&Object(&POD_DNS_CONFIG_OPTION))),
        ("searches", List(&String)),
    ],
};

static POD_DNS_CONFIG_OPTION: Type =
    Type { name: "PodDNSConfigOption", fields: &[("name", String), ("value", String)] };

static CONTAINER: Type = Type {
    name: "Container",
    fields: &[
        ("args", List(&String)),
        ("command", List(&String)),
        ("env", List(&Object(&ENV_VAR))),
        ("envFrom", List(&Object(&ENV_FROM_SOURCE))),
        ("image", String),
        ("imagePullPolicy", String),
        ("lifecycle", Object(&LIFECYCLE)),
        ("livenessProbe", Object(&PROBE)),
        ("name", String),
        ("ports", List(&Object(&CONTAINER_PORT))),
        ("readinessProbe", Object(&PROBE)),
        ("resizePolicy", List(&Object(&CONTAINER_RESIZE_POLICY))),
        ("resources", Object(&RESOURCE_REQUIREMENTS)),
        ("restartPolicy", String),
        ("restartPolicyRules", List(&Object(&CONTAINER_RESTART_RULE))),
        ("securityContext", Object(&SECURITY_CONTEXT)),
        ("startupProbe", Object(&PROBE)),
        ("stdin", Boolean),
        ("stdinOnce", Boolean),
        ("terminationMessagePath", String),
        ("terminationMessagePolicy", String),
        ("tty", Boolean),
        ("volumeDevices", List(&Object(&VOLUME_DEVICE))),
        ("volumeMounts", List(&Object(&VOLUME_MOUNT))),
        ("workingDir", String),
    ],
};

static VOLUME_MOUNT: Type = Type {
    name: "VolumeMount",
    fields: &[
        ("mountPath", String),
        ("mountPropagation", String),
        ("name", String),
        ("readOnly", Boolean),
        ("recursiveReadOnly", String),
        ("subPath", String),
        ("subPathExpr", String),
    ],
};

static VOLUME_DEVICE: Type =
    Type { name: "VolumeDevice", fields: &[("devicePath", String), ("name", String)] };

static SECURITY_CONTEXT: Type = Type {
    name: "SecurityContext",
    fields: &[
        ("allowPrivilegeEscalation", Boolean),
        ("appArmorProfile", Object(&APP_ARMOR_PROFILE)),
        ("capabilities", Object(&CAPABILITIES)),
        ("privileged", Boolean),
        ("procMount", String),
        ("readOnlyRootFilesystem", Boolean),
        ("runAsGroup", Integer),
        ("runAsNonRoot", Boolean),
        ("runAsUser", Integer),
        ("seLinuxOptions", Object(&SE_LINUX_OPTIONS)),
        ("seccompProfile", Object(&SECCOMP_PROFILE)),
        ("windowsOptions", Object(&WINDOWS_SECURITY_CONTEXT_OPTIONS)),
    ],
};

static WINDOWS_SECURITY_CONTEXT_OPTIONS: Type = Type {
    name: "WindowsSecurityContextOptions",
    fields: &[
        ("gmsaCredentialSpec", String),
        ("gmsaCredentialSpecName", String),
        ("hostProcess", Boolean),
        ("runAsUserName", String),
    ],
};

static SECCOMP_PROFILE: Type =
    Type { name: "SeccompProfile", fields: &[("localhostProfile", String), ("type", String)] };

static SE_LINUX_OPTIONS: Type = Type {
    name: "SELinuxOptions",
    fields: &[("level", String), ("role", String), ("type", String), ("user", String)],
};

static CAPABILITIES: Type =
    Type { name: "Capabilities", fields: &[("add", List(&String)), ("drop", List(&String))] };

static APP_ARMOR_PROFILE: Type =
    Type { name: "AppArmorProfile", fields: &[("localhostProfile", String), ("type", String)] };

static CONTAINER_RESTART_RULE: Type = Type {
    name: "ContainerRestartRule",
    fields: &[("action", String), ("exitCodes", Object(&CONTAINER_RESTART_RULE_ON_EXIT_CODES))],
};

static CONTAINER_RESTART_RULE_ON_EXIT_CODES: Type = Type {
    name: "ContainerRestartRuleOnExitCodes",
    fields: &[("operator", String), ("values", List(&Integer))],
};

static RESOURCE_REQUIREMENTS: Type = Type {
    name: "ResourceRequirements",
    fields: &[
        ("claims", List(&Object(&RESOURCE_CLAIM))),
        ("limits", Map(&Quantity)),
        ("requests", Map(&Quantity)),
    ],
};

static RESOURCE_CLAIM: Type =
    Type { name: "ResourceClaim", fields: &[("name", String), ("request", String)] };

static CONTAINER_RESIZE_POLICY: Type =
    Type { name: "ContainerResizePolicy", fields: &[("resourceName", String), ("restartPolicy", String)] };

static CONTAINER_PORT: Type = Type {
    name: "ContainerPort",
    fields: &[
        ("containerPort", Integer),
        ("hostIP", String),
        ("hostPort", Integer),
        ("name", String),
        ("protocol", String),
    ],
};

static PROBE: Type = Type {
    name: "Probe",
    fields: &[
        ("exec", Object(&EXEC_ACTION)),
        ("failureThreshold", Integer),
        ("grpc", Object(&GRPC_ACTION)),
        ("httpGet", Object(&HTTP_GET_ACTION)),
        ("initialDelaySeconds", Integer),
        ("periodSeconds", Integer),
        ("successThreshold", Integer),
        ("tcpSocket", Object(&TCP_SOCKET_ACTION)),
        ("terminationGracePeriodSeconds", Integer),
        ("timeoutSeconds", Integer),
    ],
};

static GRPC_ACTION: Type =
    Type { name: "GRPCAction", fields: &[("mode", String), ("port", Integer), ("service", String)] };

static LIFECYCLE: Type = Type {
    name: "Lifecycle",
    fields: &[
        ("postStart", Object(&LIFECYCLE_HANDLER)),
        ("preStop", Object(&LIFECYCLE_HANDLER)),
        ("stopSignal", String),
    ],
};

static LIFECYCLE_HANDLER: Type = Type {
    name: "LifecycleHandler",
    fields: &[
        ("exec", Object(&EXEC_ACTION)),
        ("httpGet", Object(&HTTP_GET_ACTION)),
        ("sleep", Object(&SLEEP_ACTION)),
        ("tcpSocket", Object(&TCP_SOCKET_ACTION)),
    ],
};

static TCP_SOCKET_ACTION: Type =
    Type { name: "TCPSocketAction", fields: &[("host", String), ("port", IntOrString)] };

static SLEEP_ACTION: Type = Type { name: "SleepAction", fields: &[("seconds", Integer)] };

static HTTP_GET_ACTION: Type = Type {
    name: "HTTPGetAction",
    fields: &[
        ("host", String),
        ("httpHeaders", List(&Object(&HTTP_HEADER))),
        ("path", String),
        ("port", IntOrString),
        ("protocol", String),
        ("scheme", String),
    ],
};

static HTTP_HEADER: Type = Type { name: "HTTPHeader", fields: &[("name", String), ("value", String)] };

static EXEC_ACTION: Type = Type { name: "ExecAction", fields: &[("command", List(&String))] };

static ENV_FROM_SOURCE: Type = Type {
    name: "EnvFromSource",
    fields: &[
        ("configMapRef", Object(&CONFIG_MAP_ENV_SOURCE)),
        ("prefix", String),
        ("secretRef", Object(&SECRET_ENV_SOURCE)),
    ],
};

static SECRET_ENV_SOURCE: Type =
    Type { name: "SecretEnvSource", fields: &[("name", String), ("optional", Boolean)] };

static CONFIG_MAP_ENV_SOURCE: Type =
    Type { name: "ConfigMapEnvSource", fields: &[("name", String), ("optional", Boolean)] };

static ENV_VAR: Type = Type {
    name: "EnvVar",
    fields: &[("name", String), ("value", String), ("valueFrom", Object(&ENV_VAR_SOURCE))],
};

static ENV_VAR_SOURCE: Type = Type {
    name: "EnvVarSource",
    fields: &[
        ("configMapKeyRef", Object(&CONFIG_MAP_KEY_SELECTOR)),
        ("fieldRef", Object(&OBJECT_FIELD_SELECTOR)),
        ("fileKeyRef", Object(&FILE_KEY_SELECTOR)),
        ("resourceFieldRef", Object(&RESOURCE_FIELD_SELECTOR)),
        ("secretKeyRef", Object(&SECRET_KEY_SELECTOR)),
    ],
};

static SECRET_KEY_SELECTOR: Type =
    Type { name: "SecretKeySelector", fields: &[("key", String), ("name", String), ("optional", Boolean)] };

static RESOURCE_FIELD_SELECTOR: Type = Type {
    name: "ResourceFieldSelector",
    fields: &[("containerName", String), ("divisor", Quantity), ("resource", String)],
};

static FILE_KEY_SELECTOR: Type = Type {
    name: "FileKeySelector",
    fields: &[("key", String), ("optional", Boolean), ("path", String), ("volumeName", String)],
};

static OBJECT_FIELD_SELECTOR: Type =
    Type { name: "ObjectFieldSelector", fields: &[("apiVersion", String), ("fieldPath", String)] };

static CONFIG_MAP_KEY_SELECTOR: Type = Type {
    name: "ConfigMapKeySelector",
    fields: &[("key", String), ("name", String), ("optional", Boolean)],
};

static AFFINITY: Type = Type {
    name: "Affinity",
    fields: &[
        ("nodeAffinity", Object(&NODE_AFFINITY)),
        ("podAffinity", Object(&POD_AFFINITY)),
        ("podAntiAffinity", Object(&POD_ANTI_AFFINITY)),
    ],
};

static POD_ANTI_AFFINITY: Type = Type {
    name: "PodAntiAffinity",
    fields: &[
        ("preferredDuringSchedulingIgnoredDuringExecution", List(&Object(&WEIGHTED_POD_AFFINITY_TERM))),
        ("requiredDuringSchedulingIgnoredDuringExecution", List(&Object(&POD_AFFINITY_TERM))),
    ],
};

static POD_AFFINITY: Type = Type {
    name: "PodAffinity",
    fields: &[
        ("preferredDuringSchedulingIgnoredDuringExecution", List(&Object(&WEIGHTED_POD_AFFINITY_TERM))),
        ("requiredDuringSchedulingIgnoredDuringExecution", List(&Object(&POD_AFFINITY_TERM))),
    ],
};

static WEIGHTED_POD_AFFINITY_TERM: Type = Type {
    name: "WeightedPodAffinityTerm",
    fields: &[("podAffinityTerm", Object(&POD_AFFINITY_TERM)), ("weight", Integer)],
};

static POD_AFFINITY_TERM: Type = Type {
    name: "PodAffinityTerm",
    fields: &[
        ("labelSelector", Object(&LABEL_SELECTOR)),
        ("matchLabelKeys", List(&String)),
        ("mismatchLabelKeys", List(&String)),
        ("namespaceSelector", Object(&LABEL_SELECTOR)),
        ("namespaces", List(&String)),
        ("topologyKey", String),
    ],
};

static LABEL_SELECTOR: Type = Type {
    name: "LabelSelector",
    fields: &[
        ("matchExpressions", List(&Object(&LABEL_SELECTOR_REQUIREMENT))),
        ("matchLabels", Map(&String)),
    ],
};

static LABEL_SELECTOR_REQUIREMENT: Type = Type {
    name: "LabelSelectorRequirement",
    fields: &[("key", String), ("operator", String), ("values", List(&String))],
};

static NODE_AFFINITY: Type = Type {
    name: "NodeAffinity",
    fields: &[
        ("preferredDuringSchedulingIgnoredDuringExecution", List(&Object(&PREFERRED_SCHEDULING_TERM))),
        ("requiredDuringSchedulingIgnoredDuringExecution", Object(&NODE_SELECTOR)),
    ],
};

static NODE_SELECTOR: Type =
    Type { name: "NodeSelector", fields: &[("nodeSelectorTerms", List(&Object(&NODE_SELECTOR_TERM)))] };

static PREFERRED_SCHEDULING_TERM: Type = Type {
    name: "PreferredSchedulingTerm",
    fields: &[("preference", Object(&NODE_SELECTOR_TERM)), ("weight", Integer)],
};

static NODE_SELECTOR_TERM: Type = Type {
    name: "NodeSelectorTerm",
    fields: &[
        ("matchExpressions", List(&Object(&NODE_SELECTOR_REQUIREMENT))),
        ("matchFields", List(&Object(&NODE_SELECTOR_REQUIREMENT))),
    ],
};

static NODE_SELECTOR_REQUIREMENT: Type = Type {
    name: "NodeSelectorRequirement",
    fields: &[("key", String), ("operator", String), ("values", List(&String))],
};

static OBJECT_META: Type = Type {
    name: "ObjectMeta",
    fields: &[
        ("annotations", Map(&String)),
        ("creationTimestamp", String),
        ("deletionGracePeriodSeconds", Integer),
        ("deletionTimestamp", String),
        ("finalizers", List(&String)),
        ("generateName", String),
        ("generation", Integer),
        ("labels", Map(&String)),
        ("managedFields", Any),
        ("name", String),
        ("namespace", String),
        ("ownerReferences", List(&Object(&OWNER_REFERENCE))),
        ("resourceVersion", String),
        ("selfLink", String),
        ("uid", String),
    ],
};

static OWNER_REFERENCE: Type = Type {
    name: "OwnerReference",
    fields: &[
        ("apiVersion", String),
        ("blockOwnerDeletion", Boolean),
        ("controller", Boolean),
        ("kind", String),
        ("name", String),
        ("uid", String),
    ],
};

/// The kind of the volume type `name`, a field of `core/v1` `Volume`.
#[must_use]
pub fn volume_type(name: &str) -> Option<Kind> {
    VOLUME.field(name).filter(|_| name != "name")
}

/// Returns the name of every volume type.
pub fn volume_types() -> impl Iterator<Item = &'static str> {
    VOLUME.fields.iter().map(|(name, _)| *name).filter(|name| *name != "name")
}
