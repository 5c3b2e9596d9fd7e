//! The policy file, field by field. The defaults are the full sandbox.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::pod::Quantity;

/// One document of a policy file.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SandboxPolicy {
    /// The version of this format.
    pub api_version: ApiVersion,
    /// The kind of document.
    pub kind: Kind,
    /// The policy's name.
    pub metadata: Metadata,
    /// What the Pods must look like; what is left out is the full sandbox.
    #[serde(default)]
    pub spec: Spec,
}

/// The versions of the format that this build reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The first version.
    #[serde(rename = "sandgate.dev/v1alpha1")]
    V1Alpha1,
}

/// The kinds of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// A policy for the Pods of some namespaces.
    SandboxPolicy,
}

/// What names the policy.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// The name, as it stands in messages, audit records and the annotation `sandgate.dev/policy`.
    pub name: String,
}

/// What the policy does with its verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Fill what is open and refuse what still violates the policy.
    #[default]
    Enforce,
    /// Fill what is open and admit the rest with warnings.
    Warn,
    /// Touch nothing, only record.
    Audit,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 3] = [Self::Enforce, Self::Warn, Self::Audit];

    /// The word the policy file uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Warn => "warn",
            Self::Audit => "audit",
        }
    }
}

/// What the Pods of the policy's namespaces must look like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Spec {
    /// The namespaces, by name. `*` is every one that reaches the webhook and that no other policy names.
    pub namespaces: Vec<String>,
    /// What to do with a verdict.
    pub mode: Mode,
    /// Labels every Pod carries; filled where absent.
    pub labels: BTreeMap<String, String>,
    /// The runtime class.
    pub runtime_class: RuntimeClass,
    /// The service account.
    pub service_account: ServiceAccount,
    /// Restarts, deadlines and grace periods.
    pub lifecycle: Lifecycle,
    /// Where the Pods may be scheduled.
    pub placement: Placement,
    /// Users, privileges and confinement.
    pub security: Security,
    /// Volume types and writable paths.
    pub volumes: Volumes,
    /// Secrets in environment variables.
    pub secrets: Secrets,
    /// Requests and limits.
    pub resources: Resources,
    /// Where images may come from.
    pub images: Images,
    /// Who is not judged. Break-glass: every use is recorded.
    pub exempt: Exempt,
    /// What people are told whose Pods are admitted.
    pub warnings: Warnings,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            namespaces: strings(&["workflows"]),
            mode: Mode::Enforce,
            labels: BTreeMap::from([("app".into(), "workflow-runner".into())]),
            runtime_class: RuntimeClass::default(),
            service_account: ServiceAccount::default(),
            lifecycle: Lifecycle::default(),
            placement: Placement::default(),
            security: Security::default(),
            volumes: Volumes::default(),
            secrets: Secrets::default(),
            resources: Resources::default(),
            images: Images::default(),
            exempt: Exempt::default(),
            warnings: Warnings::default(),
        }
    }
}

/// `spec.runtimeClassName`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeClass {
    /// Filled where unset.
    pub default: String,
    /// The classes a Pod may name.
    pub allowed: Vec<String>,
}

impl Default for RuntimeClass {
    fn default() -> Self {
        Self { default: "gvisor".into(), allowed: strings(&["gvisor"]) }
    }
}

/// The identity of the Pods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ServiceAccount {
    /// The service account every Pod runs as; filled where unset or `default`.
    pub name: String,
    /// Whether Pods may have a service account token.
    pub automount_token: bool,
}

impl Default for ServiceAccount {
    fn default() -> Self {
        Self { name: "workflow-runner".into(), automount_token: false }
    }
}

/// Restarts, deadlines and grace periods.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Lifecycle {
    /// `spec.restartPolicy`.
    pub restart_policy: RestartPolicy,
    /// `spec.activeDeadlineSeconds`, in seconds.
    pub active_deadline_seconds: Deadline,
    /// `terminationGracePeriodSeconds` of Pods and probes, in seconds.
    pub termination_grace_period_seconds: GracePeriod,
}

/// `spec.restartPolicy`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RestartPolicy {
    /// Filled where it is unset or the API default `Always`.
    pub default: RestartPolicyValue,
    /// What a Job's Pods may have besides the default.
    pub allowed_for_jobs: Vec<RestartPolicyValue>,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { default: RestartPolicyValue::Never, allowed_for_jobs: vec![RestartPolicyValue::OnFailure] }
    }
}

/// The values of `spec.restartPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestartPolicyValue {
    /// Restart whatever the exit status.
    Always,
    /// Restart after a failure.
    OnFailure,
    /// Never restart.
    Never,
}

impl RestartPolicyValue {
    /// The word the Pod API uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::OnFailure => "OnFailure",
            Self::Never => "Never",
        }
    }
}

/// A value in seconds with a ceiling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Deadline {
    /// Filled where unset.
    pub default: u32,
    /// The most a Pod may ask for.
    pub max: u32,
}

impl Default for Deadline {
    fn default() -> Self {
        Self { default: 3600, max: 3600 }
    }
}

/// The ceiling of grace periods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GracePeriod {
    /// The most a Pod may ask for.
    pub max: u32,
}

impl Default for GracePeriod {
    fn default() -> Self {
        Self { max: 60 }
    }
}

/// Where the Pods may be scheduled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Placement {
    /// Put into every term of the required node affinity.
    pub node_affinity: Vec<NodeRequirement>,
    /// Filled where absent; with the API server's own two, the only ones a Pod may have.
    pub tolerations: Vec<Toleration>,
    /// The schedulers a Pod may name.
    pub schedulers: Vec<String>,
    /// The priority classes a Pod may name.
    pub priority_classes: Vec<String>,
}

impl Default for Placement {
    fn default() -> Self {
        Self {
            node_affinity: vec![NodeRequirement {
                key: "workload-type".into(),
                operator: NodeOperator::In,
                values: strings(&["workflow-runner"]),
            }],
            tolerations: vec![Toleration {
                key: "sandbox.gke.io/runtime".into(),
                operator: TolerationOperator::Equal,
                value: "gvisor".into(),
                effect: Some(TaintEffect::NoSchedule),
            }],
            schedulers: strings(&["default-scheduler"]),
            priority_classes: Vec::new(),
        }
    }
}

/// A `core/v1` `NodeSelectorRequirement`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeRequirement {
    /// The node label.
    pub key: String,
    /// How it is compared.
    pub operator: NodeOperator,
    /// What it is compared with.
    #[serde(default)]
    pub values: Vec<String>,
}

/// The operators of a node selector requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the words of the Kubernetes API")]
pub enum NodeOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
}

impl NodeOperator {
    /// The word the Pod API uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::In => "In",
            Self::NotIn => "NotIn",
            Self::Exists => "Exists",
            Self::DoesNotExist => "DoesNotExist",
            Self::Gt => "Gt",
            Self::Lt => "Lt",
        }
    }
}

/// A `core/v1` `Toleration`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Toleration {
    /// The taint's key.
    pub key: String,
    /// How the taint's value is compared.
    #[serde(default)]
    pub operator: TolerationOperator,
    /// The taint's value, for `Equal`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// The taint's effect; every effect where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
}

/// The operators of a toleration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the words of the Kubernetes API")]
pub enum TolerationOperator {
    #[default]
    Equal,
    Exists,
}

impl TolerationOperator {
    /// The word the Pod API uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "Equal",
            Self::Exists => "Exists",
        }
    }
}

/// The effects of a taint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the words of the Kubernetes API")]
pub enum TaintEffect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

impl TaintEffect {
    /// The word the Pod API uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

/// Users, privileges and confinement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Security {
    /// The user id of every container.
    pub run_as_user: IdRange,
    /// The primary group id of every container.
    pub run_as_group: IdRange,
    /// The group that owns volumes; supplemental groups keep to the same range.
    pub fs_group: IdRange,
    /// Seccomp profiles: `RuntimeDefault` or `Localhost/<profile>`; the first is filled where none is set.
    pub seccomp: Vec<String>,
    /// Linux capabilities.
    pub capabilities: Capabilities,
    /// Whether every container has a read-only root file system.
    pub read_only_root_filesystem: bool,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            run_as_user: IdRange::default(),
            run_as_group: IdRange::default(),
            fs_group: IdRange::default(),
            seccomp: strings(&["RuntimeDefault"]),
            capabilities: Capabilities::default(),
            read_only_root_filesystem: true,
        }
    }
}

/// A range of user or group ids, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IdRange {
    /// Filled where unset.
    pub default: u32,
    /// The lowest allowed.
    pub min: u32,
    /// The highest allowed.
    pub max: u32,
}

impl Default for IdRange {
    fn default() -> Self {
        Self { default: 1000, min: 1000, max: 1000 }
    }
}

impl IdRange {
    /// Whether `id` lies in the range.
    #[must_use]
    pub fn contains(&self, id: i64) -> bool {
        (i64::from(self.min)..=i64::from(self.max)).contains(&id)
    }
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.min == self.max {
            write!(f, "{}", self.min)
        } else {
            write!(f, "{} to {}", self.min, self.max)
        }
    }
}

/// Linux capabilities, without the prefix `CAP_`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Capabilities {
    /// What every container drops.
    pub drop: Vec<String>,
    /// What a container may add.
    pub allowed_add: Vec<String>,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { drop: strings(&["ALL"]), allowed_add: Vec::new() }
    }
}

/// Volume types and writable paths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Volumes {
    /// The volume types a Pod may use, by the name of their field.
    pub allowed: Vec<String>,
    /// The only paths a container can write to; filled where absent.
    pub writable: Vec<Writable>,
}

impl Default for Volumes {
    fn default() -> Self {
        let writable = |name: &str, path: &str, size| Writable {
            name: name.into(),
            path: path.into(),
            size_limit: Amount::known(size),
        };
        Self {
            allowed: strings(&["emptyDir"]),
            writable: vec![writable("workspace", "/workspace", "10Gi"), writable("tmp", "/tmp", "1Gi")],
        }
    }
}

/// An emptyDir that every container gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Writable {
    /// The volume's name.
    pub name: String,
    /// Where it is mounted.
    pub path: String,
    /// Its size, and the ceiling of a volume of this name.
    pub size_limit: Amount,
}

/// Secrets in environment variables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Secrets {
    /// Whether `secretKeyRef` and `secretRef` may be used at all.
    pub environment: bool,
    /// The Secrets that may be named; any where empty.
    pub allowed_names: Vec<String>,
}

impl Default for Secrets {
    fn default() -> Self {
        Self { environment: true, allowed_names: Vec::new() }
    }
}

/// Requests and limits.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// Each container: filled where unset; the limits are also its ceiling.
    pub container: ContainerResources,
    /// The ceiling of the Pod's effective total, RuntimeClass overhead included.
    pub pod: PodResources,
}

/// What a container gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ContainerResources {
    /// Filled where unset, never above the limit.
    #[serde(deserialize_with = "requests")]
    pub requests: Amounts,
    /// Filled where unset, as far as the Pod's budget reaches; the ceiling of every container.
    #[serde(deserialize_with = "limits")]
    pub limits: Amounts,
}

impl Default for ContainerResources {
    fn default() -> Self {
        Self { requests: Amounts::default_requests(), limits: Amounts::default_limits() }
    }
}

/// The Pod's budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PodResources {
    /// The ceiling of the Pod's effective total.
    #[serde(deserialize_with = "limits")]
    pub limits: Amounts,
}

impl Default for PodResources {
    fn default() -> Self {
        Self { limits: Amounts::default_limits() }
    }
}

/// An amount of each of the three resources.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Amounts {
    /// Processor cores.
    pub cpu: Amount,
    /// Bytes of memory.
    pub memory: Amount,
    /// Bytes of the node's disk: writable layer, logs and emptyDir volumes.
    pub ephemeral_storage: Amount,
}

impl Amounts {
    fn default_requests() -> Self {
        Self {
            cpu: Amount::known("500m"),
            memory: Amount::known("1Gi"),
            ephemeral_storage: Amount::known("1Gi"),
        }
    }

    fn default_limits() -> Self {
        Self {
            cpu: Amount::known("2"),
            memory: Amount::known("4Gi"),
            ephemeral_storage: Amount::known("10Gi"),
        }
    }

    /// The amount of the resource that the Pod API calls `name`.
    #[must_use]
    pub fn of(&self, resource: Resource) -> &Amount {
        match resource {
            Resource::Cpu => &self.cpu,
            Resource::Memory => &self.memory,
            Resource::EphemeralStorage => &self.ephemeral_storage,
        }
    }
}

/// The resources a Pod may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Processor cores.
    Cpu,
    /// Bytes of memory.
    Memory,
    /// Bytes of the node's disk.
    EphemeralStorage,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::EphemeralStorage];

    /// The name in the Pod API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::EphemeralStorage => "ephemeral-storage",
        }
    }
}

/// Where images may come from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Images {
    /// How an image reference must begin; any where empty.
    pub allowed_prefixes: Vec<String>,
    /// Whether every image must be pinned by a digest.
    pub require_digest: bool,
}

/// Who is not judged.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Exempt {
    /// User names, as the API server authenticates them.
    pub users: Vec<String>,
    /// Group names.
    pub groups: Vec<String>,
}

/// What people are told whose Pods are admitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Warnings {
    /// Whether kubectl shows a line about what was filled, to a person who creates a Pod. Service accounts and
    /// controllers never get one.
    pub filled: bool,
}

impl Default for Warnings {
    fn default() -> Self {
        Self { filled: true }
    }
}

/// A quantity with the text it was written as.
#[derive(Debug, Clone, PartialEq)]
pub struct Amount {
    /// As written.
    pub text: String,
    /// As compared.
    pub value: Quantity,
}

impl Amount {
    fn known(text: &str) -> Self {
        Self { text: text.into(), value: Quantity::parse(text).expect("a default of this file") }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AmountVisitor;

        impl de::Visitor<'_> for AmountVisitor {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a quantity such as 500m, 2 or 10Gi")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                match Quantity::parse(text) {
                    Ok(value) if value > Quantity::ZERO => Ok(Amount { text: text.into(), value }),
                    Ok(_) => Err(E::custom(format_args!("{text:?} must be more than zero"))),
                    Err(error) => Err(E::custom(format_args!("{text:?} is {error}"))),
                }
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Amount, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Amount, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Amount, E> {
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_any(AmountVisitor)
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A Kubernetes quantity, such as 500m, 2 or 10Gi.",
            "type": ["string", "number"],
            "pattern": r"^[+]?([0-9]+\.?[0-9]*|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]+)?$",
        })
    }
}

/// What is left out of `requests` and of `limits` has different defaults, so both are read by way of this.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SomeAmounts {
    cpu: Option<Amount>,
    memory: Option<Amount>,
    ephemeral_storage: Option<Amount>,
}

fn requests<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Amounts, D::Error> {
    complete(deserializer, Amounts::default_requests())
}

fn limits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Amounts, D::Error> {
    complete(deserializer, Amounts::default_limits())
}

fn complete<'de, D: Deserializer<'de>>(deserializer: D, default: Amounts) -> Result<Amounts, D::Error> {
    let SomeAmounts { cpu, memory, ephemeral_storage } = SomeAmounts::deserialize(deserializer)?;
    Ok(Amounts {
        cpu: cpu.unwrap_or(default.cpu),
        memory: memory.unwrap_or(default.memory),
        ephemeral_storage: ephemeral_storage.unwrap_or(default.ephemeral_storage),
    })
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}
