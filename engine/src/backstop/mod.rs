//! The backstop: a policy set as `ValidatingAdmissionPolicies`, which the API server evaluates itself, also when no webhook
//! answers.
//!
//! Each rule is stated a second time, in CEL, beside its check. The test on a real API server (`tests/oracle/backstop`) holds
//! both statements against each other. What cannot be stated is rejected with the reason, never left out.

mod fills;
mod guard;
mod manifests;
mod objects;
mod scope;
mod view;

use std::fmt;

use serde_json::Value as Json;

pub use fills::{FILLS_MINOR, fills};
pub use guard::{Guarded, guard};
pub use manifests::{
    MANIFESTS_MINOR, ManifestFolders, admission_configuration, manifests, webhook_manifests,
};
pub use objects::RELEASE_LABEL;

use self::objects::Part;
use crate::policy::{Level, PolicySet};

/// The settings of [`render`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The minor version of Kubernetes 1 that the objects are for.
    pub kubernetes_minor: u32,
    /// The namespace that sandgate itself runs in, which neither a selector nor `"*"` means.
    pub release_namespace: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { kubernetes_minor: OLDEST_MINOR, release_namespace: String::new() }
    }
}

/// `ValidatingAdmissionPolicy` is v1 since Kubernetes 1.30.
const OLDEST_MINOR: u32 = 30;
/// The API server takes no longer expression (`cel-go`, code points).
const MAX_EXPRESSION_CHARS: usize = 100_000;
/// An object must fit into a request of the API server and a value of etcd.
const MAX_OBJECT_BYTES: usize = 1_000_000;
/// The longest name of an object.
const MAX_NAME_CHARS: usize = 253;

/// The reason why something of a policy cannot be stated in CEL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The name of the policy.
    pub policy: String,
    /// The id of the rule, if one rule alone is concerned.
    pub rule: Option<&'static str>,
    /// The reason, and what to do.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { policy, rule, reason } = self;
        write!(f, "policy {policy:?}")?;
        if let Some(rule) = rule {
            write!(f, ", rule {rule}")?;
        }
        write!(f, ": {reason}")
    }
}

/// Returns the `ValidatingAdmissionPolicies` and bindings of all policies, each policy before its binding.
///
/// # Errors
/// Returns everything that cannot be stated in CEL, or not in this version of Kubernetes.
pub fn render(set: &PolicySet, settings: &Settings) -> Result<Vec<Json>, Vec<Refusal>> {
    let mut objects: Vec<Json> = Vec::new();
    let mut refusals = Vec::new();
    for policy in set.policies() {
        let mut refuse = |rule, reason: String| {
            refusals.push(Refusal { policy: policy.name.clone(), rule, reason });
        };
        if settings.kubernetes_minor < OLDEST_MINOR {
            let reason = format!(
                "Kubernetes 1.{} has no ValidatingAdmissionPolicy of version v1: use 1.{OLDEST_MINOR} or newer",
                settings.kubernetes_minor
            );
            refuse(None, reason);
            continue;
        }
        for rule in crate::rules::ALL {
            if policy.level_of(rule.id) != Level::Off && rule.cel.is_none() {
                refuse(
                    Some(rule.id),
                    "the rule has no statement in CEL: set it to off to go without it".into(),
                );
            }
        }
        let scopes = scope::scopes(policy, set, &settings.release_namespace);
        for scope in &scopes {
            for level in [Level::Enforce, Level::Warn, Level::Audit] {
                for of_bindings in [false, true] {
                    let release_namespace = &settings.release_namespace;
                    let part = Part { policy, scope, release_namespace, level, of_bindings };
                    let Some(rendered) = part.render() else { continue };
                    if let Some(reason) = unfit(&part.name(), &rendered[0]) {
                        refuse(None, reason);
                        continue;
                    }
                    if objects
                        .iter()
                        .any(|known| known["metadata"]["name"] == rendered[0]["metadata"]["name"])
                    {
                        let name = part.name();
                        refuse(
                            None,
                            format!("another policy has an object {name:?} too: rename one of them"),
                        );
                    }
                    objects.extend(rendered);
                }
            }
        }
    }
    if refusals.is_empty() { Ok(objects) } else { Err(refusals) }
}

/// Returns why the API server would not store an admission policy.
fn unfit(name: &str, policy: &Json) -> Option<String> {
    if name.len() > MAX_NAME_CHARS {
        return Some(format!(
            "the name {name:?} is longer than {MAX_NAME_CHARS} characters: rename the policy"
        ));
    }
    let variables = policy["spec"]["variables"].as_array()?;
    let longest =
        variables.iter().max_by_key(|variable| variable["expression"].as_str().map_or(0, str::len))?;
    let length = longest["expression"].as_str().map_or(0, str::len);
    if length > MAX_EXPRESSION_CHARS {
        return Some(format!(
            "the expression {} has {length} characters, the API server takes {MAX_EXPRESSION_CHARS}: use fewer or shorter \
             lists and exceptions",
            longest["name"]
        ));
    }
    let length = policy.to_string().len();
    (length > MAX_OBJECT_BYTES).then(|| {
        format!("the policy has {length} bytes, at most {MAX_OBJECT_BYTES} can be stored: split it into several policies")
    })
}

#[cfg(test)]
mod tests;
