//! The webhook configurations: what they publish and match, and what is applied to them.
//!
//! The chart leaves `rules` and `caBundle` to us. What a webhook is to match stands in an annotation; without rules it
//! matches nothing, so no request waits for a sandgate that does not answer yet.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    api::{MANAGER, Target},
    drift,
};
use crate::certs::{
    ca,
    plan::{self, Configuration, Kind, Publish, Rules},
};

/// The annotation with the rules: an object of webhook names and lists of rules.
const ANNOTATION: &str = "sandgate.dev/rules";

const GROUP: &str = "admissionregistration.k8s.io";

pub(super) fn target(kind: Kind, name: &str) -> Target<'_> {
    let resource = match kind {
        Kind::Mutating => "mutatingwebhookconfigurations",
        Kind::Validating => "validatingwebhookconfigurations",
    };
    Target { group: GROUP, resource, namespace: None, name }
}

/// A configuration as it was read.
#[derive(Debug)]
pub(super) struct Registered {
    /// What the planner sees of it.
    pub(super) seen: Configuration,
    /// What must be corrected.
    pub(super) problem: Option<String>,
    /// How it differs from what the chart rendered, a sentence for each difference.
    pub(super) drift: Vec<String>,
    /// Who changed it last, of all but sandgate.
    pub(super) last_manager: Option<String>,
    /// Whether it has this owner: the UIDs of its owners.
    owners: Vec<Value>,
    uid: Value,
    version: Value,
    /// What the API server records of field ownership, without what earlier versions of sandgate applied.
    managed_fields: Vec<Value>,
    webhooks: Vec<Named>,
}

#[derive(Debug)]
struct Named {
    name: String,
    rules: Value,
    /// The content of the annotation, if there is one.
    wanted: Option<Value>,
}

impl Registered {
    pub(super) fn read(object: &Value) -> Self {
        let metadata = &object["metadata"];
        let annotation = metadata["annotations"][ANNOTATION].as_str();
        let (mut wanted, mut problem) = match annotation.map(wanted) {
            Some(Ok(wanted)) => (wanted, None),
            Some(Err(problem)) => (BTreeMap::new(), Some(problem)),
            None => (BTreeMap::new(), None),
        };
        let webhooks = object["webhooks"].as_array().map(Vec::as_slice).unwrap_or_default();
        let named: Vec<Named> = webhooks
            .iter()
            .map(|webhook| {
                let name = webhook["name"].as_str().unwrap_or_default().to_string();
                Named { wanted: wanted.remove(&name), name, rules: normal(&webhook["rules"]) }
            })
            .collect();
        let unknown = wanted
            .keys()
            .next()
            .map(|name| format!("the annotation {ANNOTATION} names {name}, which is no webhook of it"));
        let idle = named.iter().find(|named| named.wanted.is_none() && is_empty(&named.rules));
        let idle = idle.map(|Named { name, .. }| {
            format!("{name} has no rules and the annotation {ANNOTATION} none for it: it matches nothing")
        });
        problem = problem.or(unknown).or(idle);
        let seen = webhooks.iter().zip(&named).map(|(webhook, named)| plan::Webhook {
            bundle: bundle(&webhook["clientConfig"]["caBundle"]),
            rules: named.state(),
        });
        let managed_fields = metadata["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
        let (applied, kept): (Vec<&Value>, Vec<&Value>) =
            managed_fields.iter().partition(|entry| is_ours(entry) && entry["operation"] == "Apply");
        let is_applied = !applied.is_empty();
        let seen = Configuration { webhooks: seen.collect(), changed: changed(managed_fields), is_applied };
        let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
        Self {
            seen,
            problem,
            drift: drift::of(object),
            last_manager: last_manager(managed_fields),
            owners: owners.map(|owner| owner["uid"].clone()).collect(),
            uid: metadata["uid"].clone(),
            version: metadata["resourceVersion"].clone(),
            managed_fields: kept.into_iter().cloned().collect(),
            webhooks: named,
        }
    }

    /// Whether it has a webhook of this name.
    pub(super) fn has_webhook(&self, name: &str) -> bool {
        self.webhooks.iter().any(|webhook| webhook.name == name)
    }

    /// The names of its webhooks that match something.
    pub(super) fn armed_webhooks(&self) -> impl Iterator<Item = &str> {
        self.webhooks.iter().filter(|webhook| !is_empty(&webhook.rules)).map(|webhook| webhook.name.as_str())
    }

    /// Whether the Namespace with this UID owns it.
    pub(super) fn is_owned_by(&self, uid: &Value) -> bool {
        self.owners.contains(uid)
    }

    /// The change that makes a Namespace its owner, so that it goes when the Namespace goes. The list of owners is merged
    /// by UID.
    pub(super) fn owned_by(&self, namespace: &str, uid: &Value) -> Value {
        let owner = json!({"apiVersion": "v1", "kind": "Namespace", "name": namespace, "uid": uid});
        json!({"metadata": {"uid": self.uid, "resourceVersion": self.version, "ownerReferences": [owner]}})
    }

    /// The strategic-merge patch that publishes: only what is ours, and only to this very object at this version. Where an
    /// earlier version of sandgate has applied fields, its ownership ends with the same write.
    pub(super) fn patch(&self, Publish { bundle, arm, .. }: &Publish) -> Value {
        let bundle = STANDARD.encode(ca::write_bundle(bundle));
        let webhooks = self.webhooks.iter().map(|named| {
            let mut webhook = json!({"name": named.name, "clientConfig": {"caBundle": bundle}});
            let rules = named.wanted.as_ref().filter(|_| *arm).unwrap_or(&named.rules);
            // What is left out stays as it is.
            if !is_empty(rules) {
                webhook["rules"] = rules.clone();
            }
            webhook
        });
        let mut patch = json!({
            "metadata": {"uid": self.uid, "resourceVersion": self.version},
            "webhooks": webhooks.collect::<Vec<_>>(),
        });
        if self.seen.is_applied {
            // An empty list would mean that nothing is recorded any more.
            patch["metadata"]["managedFields"] = self.managed_fields.clone().into();
        }
        patch
    }
}

impl Named {
    fn state(&self) -> Rules {
        match &self.wanted {
            None => Rules::Right,
            Some(wanted) if *wanted == self.rules => Rules::Right,
            Some(_) if is_empty(&self.rules) => Rules::Missing,
            Some(_) => Rules::Outdated,
        }
    }
}

fn wanted(annotation: &str) -> Result<BTreeMap<String, Value>, String> {
    let wanted: BTreeMap<String, Vec<Value>> = serde_json::from_str(annotation).map_err(|error| {
        format!("the annotation {ANNOTATION} is no JSON object of webhook names and lists of rules: {error}")
    })?;
    Ok(wanted.into_iter().map(|(name, rules)| (name, normal(&Value::Array(rules)))).collect())
}

/// Rules as the API server stores them: it fills in the scope.
fn normal(rules: &Value) -> Value {
    let mut rules = rules.as_array().cloned().unwrap_or_default();
    for rule in rules.iter_mut().filter_map(Value::as_object_mut) {
        rule.entry("scope").or_insert_with(|| "*".into());
    }
    Value::Array(rules)
}

fn is_empty(rules: &Value) -> bool {
    rules.as_array().is_none_or(Vec::is_empty)
}

fn bundle(encoded: &Value) -> Vec<ca::Certificate> {
    let decoded = encoded.as_str().and_then(|encoded| STANDARD.decode(encoded).ok());
    ca::read_bundle(&decoded.unwrap_or_default())
}

fn is_ours(entry: &Value) -> bool {
    entry["manager"] == MANAGER
}

fn time(entry: &Value) -> Option<Timestamp> {
    entry["time"].as_str()?.parse().ok()
}

/// When we have changed it.
fn changed(managed_fields: &[Value]) -> Option<Timestamp> {
    let ours = managed_fields.iter().filter(|entry| is_ours(entry));
    ours.filter_map(time).max()
}

/// Who changed it last, of all but us.
fn last_manager(managed_fields: &[Value]) -> Option<String> {
    let others = managed_fields.iter().filter(|entry| !is_ours(entry));
    let last = others.max_by_key(|entry| time(entry))?;
    last["manager"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::certs::{
        self,
        ca::{Authority, State},
    };

    fn rule(resource: &str) -> Value {
        json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]})
    }

    fn configuration(annotation: &Value, webhooks: &Value) -> Value {
        json!({
            "metadata": {
                "uid": "u", "resourceVersion": "7", "annotations": {ANNOTATION: annotation.to_string()},
                "managedFields": [
                    {"manager": "helm", "operation": "Apply", "time": "2026-11-24T20:00:00Z"},
                    {"manager": "kubectl-replace", "operation": "Update", "time": "2026-11-24T20:00:01Z"},
                    {"manager": "sandgate", "operation": "Update", "time": "1970-01-01T00:01:00Z"},
                ],
            },
            "webhooks": webhooks,
        })
    }

    fn stored(rule: &Value) -> Value {
        let mut rule = rule.clone();
        rule["scope"] = json!("*");
        rule
    }

    #[test]
    fn rules_are_compared_as_the_api_server_stores_them() {
        let wanted = json!({"a": [rule("pods")], "b": [rule("pods")], "c": [rule("pods")]});
        let webhooks = json!([
            {"name": "a", "rules": [stored(&rule("pods"))]},
            {"name": "b"},
            {"name": "c", "rules": [stored(&rule("nodes"))]},
        ]);
        let Registered { seen, problem, .. } = Registered::read(&configuration(&wanted, &webhooks));
        let rules: Vec<_> = seen.webhooks.iter().map(|webhook| webhook.rules).collect();
        assert_eq!(rules, [Rules::Right, Rules::Missing, Rules::Outdated]);
        assert_eq!((seen.changed, seen.is_applied, problem), (Timestamp::from_second(60).ok(), false, None));
    }

    #[test]
    fn an_apply_of_an_earlier_version_is_dropped_with_the_next_write() {
        let mut object = configuration(&json!({"a": [rule("pods")]}), &json!([{"name": "a"}]));
        let publish = Publish { kind: Kind::Mutating, bundle: Vec::new(), arm: true };
        let patch = Registered::read(&object).patch(&publish);
        assert_eq!(patch["metadata"], json!({"uid": "u", "resourceVersion": "7"}));

        object["metadata"]["managedFields"][2]["operation"] = json!("Apply");
        let registered = Registered::read(&object);
        assert!(registered.seen.is_applied);
        assert_eq!(
            (registered.seen.changed, registered.last_manager.as_deref()),
            (Timestamp::from_second(60).ok(), Some("kubectl-replace"))
        );
        let kept: Vec<Value> = object["metadata"]["managedFields"].as_array().unwrap()[..2].to_vec();
        assert_eq!(registered.patch(&publish)["metadata"]["managedFields"], Value::Array(kept));
    }

    #[test]
    fn only_what_is_ours_is_written_and_rules_only_when_it_arms() {
        let certificate =
            Authority::mint(State::Active, certs::now(), SignedDuration::from_hours(1)).unwrap().certificate;
        let webhooks = json!([
            {"name": "a", "clientConfig": {"url": "https://x"}},
            {"name": "b", "rules": [rule("nodes")], "failurePolicy": "Fail"},
        ]);
        let registered = Registered::read(&configuration(&json!({"a": [rule("pods")]}), &webhooks));
        let encoded = STANDARD.encode(&certificate.pem);
        let kept = json!([
            {"name": "a", "clientConfig": {"caBundle": encoded}},
            {"name": "b", "clientConfig": {"caBundle": encoded}, "rules": [stored(&rule("nodes"))]},
        ]);
        let mut publish = Publish { kind: Kind::Validating, bundle: vec![certificate], arm: false };
        let patch = registered.patch(&publish);
        assert_eq!(patch["webhooks"], kept);
        assert_eq!(patch["metadata"], json!({"uid": "u", "resourceVersion": "7"}));
        publish.arm = true;
        let armed = registered.patch(&publish);
        assert_eq!(armed["webhooks"][0]["rules"], json!([stored(&rule("pods"))]));
    }

    #[test]
    fn an_annotation_that_cannot_be_followed_is_reported_and_changes_nothing() {
        let webhooks = json!([{"name": "a", "rules": [rule("pods")]}]);
        for (annotation, wanted) in [
            (json!([]), "is no JSON object"),
            (json!({"a": "pods"}), "is no JSON object"),
            (json!({"z": []}), "names z, which is no webhook"),
        ] {
            let registered = Registered::read(&configuration(&annotation, &webhooks));
            assert!(registered.problem.as_ref().unwrap().contains(wanted), "{registered:?}");
            assert_eq!(registered.seen.webhooks[0].rules, Rules::Right);
        }
        let idle = Registered::read(&configuration(&json!({}), &json!([{"name": "a"}])));
        assert!(idle.problem.unwrap().contains("matches nothing"));
    }
}
