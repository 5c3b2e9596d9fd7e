//! One document of a policy file: the keys around [`Spec`], and the JSON schema of it all.

use std::collections::BTreeMap;

use schemars::{
    JsonSchema, Schema,
    transform::{Transform, transform_subschemas},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Policy, Profile,
    merge::{CONTAINER_KEYS, join},
    pattern::{Names, Pattern},
    profile::{ContainerMatch, PodMatch},
    select::LabelSelector,
    spec::Spec,
};

/// The version of the format that this build reads.
pub const API_VERSION: &str = "sandgate.dev/v1beta1";
/// The kind of a document.
pub const KIND: &str = "SandboxPolicy";

/// The effect of the policy's verdicts on requests.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing is changed or denied; violations are recorded.
    Audit,
    /// Nothing is denied; violations are warned of and recorded.
    Warn,
    /// Pods with violations are denied.
    #[default]
    Enforce,
}

impl Mode {
    /// All modes, from the weakest to the strictest.
    pub const ALL: [Self; 3] = [Self::Audit, Self::Warn, Self::Enforce];

    /// Returns the word of the policy file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Warn => "warn",
            Self::Audit => "audit",
        }
    }
}

/// The condition under which the policy fills unset fields of a Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    /// In the mode enforce only.
    #[default]
    Auto,
    /// In every mode; in warn and audit only Pods that violate nothing afterwards.
    Always,
    /// Never: the policy only validates.
    Never,
}

/// The effect of the violations of one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The rule is not checked.
    Off,
    /// Violations are recorded only.
    Audit,
    /// Violations are warned of and recorded.
    Warn,
    /// Pods with violations are denied.
    Enforce,
}

impl Level {
    /// Returns the word of the policy file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Audit => "audit",
            Self::Warn => "warn",
            Self::Enforce => "enforce",
        }
    }
}

impl From<Mode> for Level {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Audit => Self::Audit,
            Mode::Warn => Self::Warn,
            Mode::Enforce => Self::Enforce,
        }
    }
}

/// The action of the webhook for workload templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Templates {
    /// The webhook does nothing.
    Off,
    /// It warns of what the Pods would be denied for.
    #[default]
    Warn,
    /// It fills the template and warns.
    Fill,
}

/// The users and groups that are exempt. Every use is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Exempt {
    /// The names of users, as the API server authenticates them, without patterns.
    pub users: Vec<String>,
    /// The names of groups, without patterns.
    pub groups: Vec<String>,
}

/// The warnings that people get whose Pods are admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Warnings {
    /// True shows a person who creates a Pod what was filled. Service accounts and controllers never get this warning.
    pub filled: bool,
}

impl Default for Warnings {
    fn default() -> Self {
        Self { filled: true }
    }
}

/// The keys of a policy that concern the policy as a whole, not the look of Pods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Header {
    /// The policy that this one extends: `preset/NAME` or the name of a policy of the set. Namespaces, mode, rules,
    /// candidate and exempt are not inherited.
    pub extends: String,
    /// The namespaces by name, by pattern (`ci-*`), or `"*"` for every one that no other policy is for.
    pub namespaces: Names,
    /// The namespaces by their labels, instead of `namespaces`.
    pub namespace_selector: Option<LabelSelector>,
    /// The effect of the policy's verdicts on requests.
    pub mode: Mode,
    /// The condition under which the policy fills unset fields of a Pod.
    pub fill: Fill,
    /// The effect of the violations of single rules, by rule id. Floor rules cannot be lowered below the mode.
    pub rules: BTreeMap<String, Level>,
    /// The name of a policy without namespaces that is evaluated beside this one and only recorded.
    pub candidate: String,
    /// The users and groups that are exempt from the policy.
    pub exempt: Exempt,
    /// The text that ends every denial, such as where to ask.
    pub help: String,
    /// The warnings that people get whose Pods are admitted.
    pub warnings: Warnings,
    /// The action of the webhook for workload templates.
    pub templates: Templates,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            extends: String::new(),
            namespaces: Names::known(&["workflows"]),
            namespace_selector: None,
            mode: Mode::default(),
            fill: Fill::default(),
            rules: BTreeMap::new(),
            candidate: String::new(),
            exempt: Exempt::default(),
            help: String::new(),
            warnings: Warnings::default(),
            templates: Templates::default(),
        }
    }
}

impl Header {
    /// Returns the namespaces that are patterns, without `"*"`.
    pub fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.namespaces.iter().filter(|name| !name.is_literal() && !name.is_anything())
    }

    /// Returns true if the policy is for no namespace.
    #[must_use]
    pub fn is_for_no_namespace(&self) -> bool {
        self.namespaces.is_empty() && self.namespace_selector.is_none()
    }
}

/// A document of a policy file, for the schema.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "camelCase", rename = "SandboxPolicy")]
#[expect(dead_code, reason = "its fields are the schema")]
struct Document {
    /// The version of the format, `sandgate.dev/v1beta1`.
    #[schemars(extend("const" = API_VERSION))]
    api_version: String,
    /// The kind of the document, `SandboxPolicy`.
    #[schemars(extend("const" = KIND))]
    kind: String,
    /// The metadata that name the policy.
    metadata: Metadata,
    /// The demands of the policy; an empty spec is the full sandbox.
    #[schemars(default)]
    spec: Option<DocumentSpec>,
}

/// The metadata that name the policy.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "its fields are the schema")]
struct Metadata {
    /// The name that messages, records and the annotation `sandgate.dev/policy` have.
    name: String,
}

/// All keys of a policy.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "PolicySpec")]
#[expect(dead_code, reason = "its fields are the schema")]
struct DocumentSpec {
    #[schemars(flatten)]
    header: Header,
    #[schemars(flatten)]
    spec: Spec,
    #[schemars(flatten)]
    parts: Parts,
    /// The profiles, in the order in which they are tried.
    #[schemars(default)]
    profiles: Vec<ProfileDocument>,
}

/// The keys that a policy and a profile have beside those for Pods.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "its fields are the schema")]
struct Parts {
    /// The lists to append to those that are inherited, under the same keys.
    #[schemars(default)]
    add: Option<serde_json::Map<String, serde_json::Value>>,
    /// The exceptions for single containers, in the order in which they are tried.
    #[schemars(default)]
    containers: Vec<ExceptionDocument>,
}

/// Another set of keys for some Pods.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "ProfileEntry")]
#[expect(dead_code, reason = "its fields are the schema")]
struct ProfileDocument {
    /// The name that records have for the profile.
    name: String,
    /// The Pods that the profile is for.
    r#match: PodMatch,
    /// The keys that differ from the policy's.
    #[schemars(default)]
    spec: Option<ProfileKeys>,
}

/// The keys of a profile.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "ProfileSpec")]
#[expect(dead_code, reason = "its fields are the schema")]
struct ProfileKeys {
    #[schemars(flatten)]
    spec: Spec,
    #[schemars(flatten)]
    parts: Parts,
}

/// Other keys for single containers.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "ExceptionEntry")]
#[expect(dead_code, reason = "its fields are the schema")]
struct ExceptionDocument {
    /// The name that records have for the exception.
    name: String,
    /// The containers that the exception is for.
    r#match: ContainerMatch,
    /// The keys that differ from the Pod's, of those that containers may set.
    #[schemars(default)]
    spec: Option<Spec>,
}

/// Returns the JSON schema of one document of a policy file.
#[must_use]
pub fn json_schema() -> Schema {
    let mut schema = schemars::schema_for!(Document);
    OptionalWithDefault.transform(&mut schema);
    schema
}

/// Unset keys keep their default, so a mapping that has defaults for all its keys requires none of them.
struct OptionalWithDefault;

/// The properties without which an entry of a list means nothing.
const REQUIRED: [&str; 14] = [
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "match",
    "images",
    "key",
    "operator",
    "mountPath",
    "sizeLimit",
    "driver",
    "audience",
    "max",
    "runtimeClasses",
];

impl Transform for OptionalWithDefault {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(serde_json::Value::Array(required)) = schema.get_mut("required") {
            required.retain(|name| name.as_str().is_some_and(|name| REQUIRED.contains(&name)));
        }
        transform_subschemas(self, schema);
    }
}

impl Policy {
    /// Returns the policy as one document that can be read again: every key with its value, nothing left to inherit.
    #[must_use]
    pub fn document(&self) -> serde_json::Value {
        let mut spec = members(&Header { extends: String::new(), ..self.header.clone() });
        spec.remove("extends");
        spec.extend(profile_keys(self.base()));
        let profiles = self.profiles().iter().map(
            |profile| json!({"name": profile.name, "match": profile.matcher, "spec": profile_keys(profile)}),
        );
        let profiles: Vec<_> = profiles.collect();
        if !profiles.is_empty() {
            spec.insert("profiles".into(), profiles.into());
        }
        json!({"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": self.name}, "spec": spec})
    }
}

/// Returns the keys of a profile, and its exceptions if it has any.
fn profile_keys(profile: &Profile) -> Map<String, Value> {
    let mut keys = members(&profile.spec);
    let exceptions = profile.exceptions.iter().map(|exception| {
        json!({"name": exception.name, "match": exception.matcher, "spec": container_keys(&exception.spec)})
    });
    let exceptions: Vec<_> = exceptions.collect();
    if !exceptions.is_empty() {
        keys.insert("containers".into(), exceptions.into());
    }
    keys
}

fn members(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

/// Returns the keys of an exception that containers can set.
fn container_keys(spec: &Spec) -> Map<String, Value> {
    fn pick(members: Map<String, Value>, above: &str) -> Map<String, Value> {
        let picked = members.into_iter().filter_map(|(key, value)| {
            let path = join(above, &key);
            if CONTAINER_KEYS.contains(&path.as_str()) {
                return Some((key, value));
            }
            match value {
                Value::Object(below) => Some((key, pick(below, &path).into())),
                _ => None,
            }
        });
        picked
            .filter(|(_, value): &(String, Value)| value.as_object().is_none_or(|below| !below.is_empty()))
            .collect()
    }
    pick(members(spec), "")
}
