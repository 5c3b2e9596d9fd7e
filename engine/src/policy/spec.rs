//! The keys of a policy that profiles may set. The defaults are the full sandbox.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    compare::Nature,
    images::ImagePatterns,
    pattern::Names,
    values::{
        Bound, Ceiling, NodeRequirement, RestartPolicyValue, TaintEffect, Toleration, TolerationOperator,
    },
};

pub use super::{security::*, storage::*};

/// The demands on a Pod, or on a container of it: the keys that the policy, a profile or an exception sets, complete.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Spec {
    /// The labels that Pods must and must not carry.
    pub labels: Labels,
    /// The annotations that Pods may and must not carry.
    pub annotations: Annotations,
    /// The runtime classes that Pods may use.
    pub runtime_class: RuntimeClass,
    /// The service accounts and tokens that Pods may use.
    pub service_account: ServiceAccount,
    /// The bounds of restarts, deadlines and grace periods.
    pub lifecycle: Lifecycle,
    /// The bounds of where Pods may be scheduled.
    pub placement: Placement,
    /// The bounds of users, privileges and confinement.
    pub security: Security,
    /// The volumes that Pods may use and the paths that containers may write to.
    pub volumes: Volumes,
    /// The Secrets that Pods may use, by name.
    pub secrets: Secrets,
    /// Environment variables that are filled where a container does not set them and has no `envFrom`.
    pub env: BTreeMap<String, String>,
    /// The requests and limits that are filled, and their ceilings.
    pub resources: Resources,
    /// The images that containers and image volumes may use.
    pub images: Images,
}

impl Spec {
    /// Returns every key with the way in which two of its values compare.
    pub(super) fn keys() -> impl Iterator<Item = &'static (&'static str, Nature)> {
        let of_subjects: [&[(&str, Nature)]; 12] = [
            Labels::KEYS,
            Annotations::KEYS,
            RuntimeClass::KEYS,
            ServiceAccount::KEYS,
            Lifecycle::KEYS,
            Placement::KEYS,
            Security::KEYS,
            Volumes::KEYS,
            Secrets::KEYS,
            &[("env", Nature::Fills)],
            Resources::KEYS,
            Images::KEYS,
        ];
        of_subjects.into_iter().flatten()
    }
}

/// The labels of Pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Labels {
    /// The labels that every Pod must carry with exactly these values; they are filled where absent.
    pub required: BTreeMap<String, String>,
    /// The keys of labels that no Pod may carry.
    pub forbidden: Names,
}

impl Labels {
    /// The keys, each with the way in which two of its values compare.
    pub(super) const KEYS: &[(&str, Nature)] =
        &[("labels.required", Nature::Demands), ("labels.forbidden", Nature::Demands)];
}

impl Default for Labels {
    fn default() -> Self {
        Self {
            required: BTreeMap::from([("app".into(), "workflow-runner".into())]),
            forbidden: Names::default(),
        }
    }
}

/// The annotations of Pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Annotations {
    /// The keys that Pods may carry although `forbidden` names them.
    pub allowed: Names,
    /// The keys that no Pod may carry: other programs of the node or the cloud obey them.
    pub forbidden: Names,
}

impl Annotations {
    /// The keys, each with the way in which two of its values compare.
    pub(super) const KEYS: &[(&str, Nature)] =
        &[("annotations.allowed", Nature::Allows), ("annotations.forbidden", Nature::Demands)];
}

impl Default for Annotations {
    fn default() -> Self {
        Self {
            allowed: Names::default(),
            forbidden: Names::known(&[
                "io.katacontainers.*",
                "io.kubernetes.cri-o.*",
                "*.crio.io",
                "*.crio.io/*",
                "*.nri.io/*",
                "*.nri.containerd.io/*",
                "cdi.k8s.io/*",
                "k8s.v1.cni.cncf.io/*",
                "v1.multus-cni.io/*",
                "cni.projectcalico.org/*",
                "k8s.ovn.org/*",
                "ovn.kubernetes.io/*",
                "*.resources.beta.kubernetes.io/*",
                "iam.amazonaws.com/*",
            ]),
        }
    }
}

/// The runtime classes of Pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeClass {
    /// The class that is filled where none is set.
    pub default: String,
    /// The classes that a Pod may name, without patterns.
    pub allowed: Vec<String>,
}

impl RuntimeClass {
    /// The keys, each with the way in which two of its values compare.
    pub(super) const KEYS: &[(&str, Nature)] =
        &[("runtimeClass.default", Nature::Fills), ("runtimeClass.allowed", Nature::Allows)];
}

impl Default for RuntimeClass {
    fn default() -> Self {
        Self { default: "gvisor".into(), allowed: strings(&["gvisor"]) }
    }
}

/// The service accounts and tokens of Pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ServiceAccount {
    /// The account that is filled where none is set or it is `default`; null fills nothing.
    pub default: Option<String>,
    /// The accounts that a Pod may name.
    pub allowed: Names,
    /// True lets containers have the token of the service account for the API server. Containers may set this key.
    pub automount_token: bool,
    /// The tokens for other services that Pods may mount, by audience. Containers may set this key.
    pub tokens: Vec<Token>,
}

impl ServiceAccount {
    /// The keys, each with the way in which two of its values compare.
    pub(super) const KEYS: &[(&str, Nature)] = &[
        ("serviceAccount.default", Nature::Fills),
        ("serviceAccount.allowed", Nature::Allows),
        ("serviceAccount.automountToken", Nature::WeakIf(true)),
        ("serviceAccount.tokens", Nature::Allows),
    ];
}

impl Default for ServiceAccount {
    fn default() -> Self {
        Self {
            default: Some("workflow-runner".into()),
            allowed: Names::known(&["workflow-runner"]),
            automount_token: false,
            tokens: Vec::new(),
        }
    }
}

/// A projected service account token for a service other than the API server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Token {
    /// The audience of the token, exact; only the path of a `spiffe://` id may contain `*`.
    pub audience: String,
    /// The longest lifetime of the token, in seconds.
    #[serde(default = "default_token_expiration")]
    pub max_expiration_seconds: u32,
}

impl Token {
    /// Returns true if a token of this audience is meant.
    #[must_use]
    pub fn is_for(&self, audience: &str) -> bool {
        super::pattern::glob(self.audience.as_bytes(), audience.as_bytes())
    }
}

/// The API server's own default lifetime of a projected token, in seconds.
fn default_token_expiration() -> u32 {
    3600
}

/// The bounds of restarts, deadlines and grace periods.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Lifecycle {
    /// The values that `spec.restartPolicy` may have.
    pub restart_policy: RestartPolicy,
    /// True lets containers have restart rules of their own. Containers may set this key.
    pub container_restart_rules: bool,
    /// The bound of `spec.activeDeadlineSeconds`, in seconds.
    pub active_deadline_seconds: Bound,
    /// The bound of `terminationGracePeriodSeconds` of Pods and probes, in seconds.
    pub termination_grace_period_seconds: Ceiling,
}

impl Lifecycle {
    /// The keys, each with the way in which two of its values compare.
    pub(super) const KEYS: &[(&str, Nature)] = &[
        ("lifecycle.restartPolicy.default", Nature::Fills),
        ("lifecycle.restartPolicy.allowed", Nature::Allows),
        ("lifecycle.restartPolicy.allowedForJobs", Nature::Allows),
        ("lifecycle.containerRestartRules", Nature::WeakIf(true)),
        ("lifecycle.activeDeadlineSeconds.default", Nature::Fills),
        ("lifecycle.activeDeadlineSeconds.max", Nature::AtMost),
        ("lifecycle.activeDeadlineSeconds.onExcess", Nature::Fills),
        ("lifecycle.terminationGracePeriodSeconds.max", Nature::AtMost),
        ("lifecycle.terminationGracePeriodSeconds.onExcess", Nature::Fills),
    ];
}

/// The values of `spec.restartPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RestartPolicy {
    /// The value that is filled where `Always` is not allowed and the Pod has that API default or none.
    pub default: RestartPolicyValue,
    /// The values that a Pod may have.
    pub allowed: Vec<RestartPolicyValue>,
    /// The values that the Pod of a Job may have besides; the Pod's deadline bounds them, since a Pod chooses its
    /// owner.
    pub allowed_for_jobs: Vec<RestartPolicyValue>,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            default: RestartPolicyValue::Never,
            allowed: vec![RestartPolicyValue::Never],
            allowed_for_jobs: vec![RestartPolicyValue::OnFailure],
        }
    }
}

/// The bounds of where Pods may be scheduled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Placement {
    /// The requirements that are filled into every term of the required node affinity.
    pub node_affinity: Vec<NodeRequirement>,
    /// The tolerations that every Pod must have; they are filled where absent.
    pub tolerations: Vec<Toleration>,
    /// The tolerations that a Pod may have besides, and every one that tolerates less.
    pub allowed_tolerations: Vec<Toleration>,
    /// The schedulers that a Pod may name.
    pub scheduler_names: Names,
    /// The priority classes that a Pod may name.
    pub priority_class_names: Names,
}

impl Placement {
    /// The keys, each with the way in which two of its values compare.
    pub(super) const KEYS: &[(&str, Nature)] = &[
        ("placement.nodeAffinity", Nature::Demands),
        ("placement.tolerations", Nature::Allows),
        ("placement.allowedTolerations", Nature::Allows),
        ("placement.schedulerNames", Nature::Allows),
        ("placement.priorityClassNames", Nature::Allows),
    ];
}

impl Default for Placement {
    fn default() -> Self {
        Self {
            node_affinity: vec![NodeRequirement {
                key: "workload-type".into(),
                operator: super::values::NodeOperator::In,
                values: strings(&["workflow-runner"]),
            }],
            tolerations: vec![Toleration {
                key: "sandbox.gke.io/runtime".into(),
                operator: TolerationOperator::Equal,
                value: "gvisor".into(),
                effect: Some(TaintEffect::NoSchedule),
            }],
            allowed_tolerations: Vec::new(),
            scheduler_names: Names::known(&["default-scheduler"]),
            priority_class_names: Names::default(),
        }
    }
}

/// The Secrets that Pods may use. The Secrets of `imagePullSecrets` are not restricted: only the kubelet reads those.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Secrets {
    /// The Secrets that environment variables may come from. Containers may set this key.
    pub environment: Names,
    /// The Secrets that may be mounted as volumes. Containers may set this key.
    pub volumes: Names,
}

impl Secrets {
    /// The keys, each with the way in which two of its values compare.
    pub(super) const KEYS: &[(&str, Nature)] =
        &[("secrets.environment", Nature::Allows), ("secrets.volumes", Nature::Allows)];
}

impl Default for Secrets {
    fn default() -> Self {
        Self { environment: Names::known(&["*"]), volumes: Names::default() }
    }
}

/// The images of containers and image volumes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Images {
    /// The images that containers and image volumes may name.
    pub allowed: ImagePatterns,
    /// True demands that every image is pinned by a digest.
    pub require_digest: bool,
}

impl Images {
    /// The keys, each with the way in which two of its values compare.
    pub(super) const KEYS: &[(&str, Nature)] =
        &[("images.allowed", Nature::Allows), ("images.requireDigest", Nature::WeakIf(false))];
}

impl Default for Images {
    fn default() -> Self {
        Self { allowed: ImagePatterns::anything(), require_digest: false }
    }
}

pub(super) fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}
