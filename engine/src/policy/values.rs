//! The values of a policy: quantities, ranges of ids, numbers with a ceiling, and the words of the Pod API.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::pod::Quantity;

/// A range of user or group ids, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IdRange {
    /// The id that is filled where none is set; null fills nothing.
    pub default: Option<u32>,
    /// The lowest id that a Pod may set.
    pub min: u32,
    /// The highest id that a Pod may set.
    pub max: u32,
}

impl Default for IdRange {
    fn default() -> Self {
        Self { default: Some(1000), min: 1000, max: 1000 }
    }
}

impl IdRange {
    /// Returns true if `id` lies in the range.
    #[must_use]
    pub fn contains(&self, id: i64) -> bool {
        (i64::from(self.min)..=i64::from(self.max)).contains(&id)
    }

    /// Returns true if every id but 0 lies in the range, so that an unset user can only be root or allowed.
    #[must_use]
    pub fn contains_all_but_root(&self) -> bool {
        self.min <= 1 && self.max >= i32::MAX.unsigned_abs()
    }
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.min == self.max {
            return write!(f, "{}", self.min);
        }
        write!(f, "{} to {}", self.min, self.max)
    }
}

/// A number of seconds that is filled where unset and bounded. With `default: null` and a `max` a Pod must set the
/// field; with `max: null` there is no ceiling; with both null the field is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Bound {
    /// The number of seconds that is filled where the field is unset; null fills nothing.
    pub default: Option<u32>,
    /// The highest number of seconds that a Pod may set; null sets no ceiling.
    pub max: Option<u32>,
    /// The treatment of a number above `max`.
    pub on_excess: OnExcess,
}

impl Default for Bound {
    fn default() -> Self {
        Self { default: Some(3600), max: Some(3600), on_excess: OnExcess::Deny }
    }
}

/// A number of seconds that is bounded and never filled, since the API server always sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Ceiling {
    /// The highest number of seconds that a Pod may set; null sets no ceiling.
    pub max: Option<u32>,
    /// The treatment of a number above `max`.
    pub on_excess: OnExcess,
}

impl Default for Ceiling {
    fn default() -> Self {
        Self { max: Some(60), on_excess: OnExcess::Deny }
    }
}

/// The treatment of a number above its ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnExcess {
    /// The Pod is denied.
    #[default]
    Deny,
    /// The number is lowered to the ceiling, with a warning and a record.
    Clamp,
}

/// The values of `spec.restartPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestartPolicyValue {
    /// Restart whatever the exit status is.
    Always,
    /// Restart after a failure.
    OnFailure,
    /// Containers are never restarted.
    Never,
}

impl RestartPolicyValue {
    /// Returns the word of the Pod API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::OnFailure => "OnFailure",
            Self::Never => "Never",
        }
    }
}

/// A requirement of the type `core/v1` `NodeSelectorRequirement`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeRequirement {
    /// The node label that is compared.
    pub key: String,
    /// The operator that compares the label with `values`.
    pub operator: NodeOperator,
    /// The values that the label is compared with.
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
    /// Returns the word of the Pod API.
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

/// A toleration of the type `core/v1` `Toleration`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Toleration {
    /// The key of the taint.
    pub key: String,
    /// The operator that compares the value of the taint.
    #[serde(default)]
    pub operator: TolerationOperator,
    /// The value of the taint, if the operator is `Equal`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// The effect of the taint; every effect where it is absent.
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
    /// Returns the word of the Pod API.
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
    /// Returns the word of the Pod API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

/// A quantity with the text that it was written as.
#[derive(Debug, Clone, PartialEq)]
pub struct Amount {
    /// The quantity as it was written.
    pub text: String,
    /// The quantity as it is compared.
    pub value: Quantity,
}

impl Amount {
    /// Returns the quantity of `text`, which is a constant of this program.
    pub(super) fn known(text: &str) -> Self {
        Self { text: text.into(), value: Quantity::parse(text).expect("a constant of this program") }
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

/// The three resources that every container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// The amount of processor cores.
    Cpu,
    /// The amount of memory in bytes.
    Memory,
    /// Bytes of the node's disk.
    EphemeralStorage,
}

impl Resource {
    /// All three kinds of resources.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::EphemeralStorage];

    /// Returns the name in the Pod API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::EphemeralStorage => "ephemeral-storage",
        }
    }
}

/// An amount of each of the three resources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Amounts {
    /// The amount of processor cores.
    pub cpu: Amount,
    /// The amount of memory in bytes.
    pub memory: Amount,
    /// Bytes of the node's disk: writable layer, logs and emptyDir volumes.
    pub ephemeral_storage: Amount,
}

impl Amounts {
    /// Returns the amount of `resource`.
    #[must_use]
    pub fn of(&self, resource: Resource) -> &Amount {
        match resource {
            Resource::Cpu => &self.cpu,
            Resource::Memory => &self.memory,
            Resource::EphemeralStorage => &self.ephemeral_storage,
        }
    }
}
