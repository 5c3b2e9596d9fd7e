//! The objects of the backstop in the API server: written after each policy load, removed with their policy, compared.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
};

use serde_json::Value;

use super::api::{Api, ApiError, Target};
use sandgate_engine::{backstop::RELEASE_LABEL, review::HASH_ANNOTATION};

/// The labels of every object of the backstop, of whatever release.
const SELECTOR: &str = "app.kubernetes.io/managed-by=sandgate,app.kubernetes.io/component=backstop";
const GROUP: &str = "admissionregistration.k8s.io";
const POLICIES: &str = "validatingadmissionpolicies";
const BINDINGS: &str = "validatingadmissionpolicybindings";
const FILLS: &str = "mutatingadmissionpolicies";
const FILL_BINDINGS: &str = "mutatingadmissionpolicybindings";

/// The stored objects of the backstop of one release.
pub struct Backstop {
    api: Api,
    release_namespace: String,
    /// A random number of this process.
    turn: usize,
}

/// The work of one reconciliation.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// The names of policies and bindings that were written.
    pub written: Vec<String>,
    /// The names of those that were removed, since no policy has them any more.
    pub removed: Vec<String>,
    /// The names of bindings that were removed while their policy is there: the backstop is switched off.
    pub switched_off: Vec<String>,
}

/// A difference between an object as it should be and as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The kind and the name of the object.
    pub object: String,
    /// The difference.
    pub problem: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.problem)
    }
}

impl Backstop {
    /// Returns the backstop of a release in the API server behind `api`. Objects of other releases are left alone.
    #[must_use]
    pub fn new(api: Api, release_namespace: String) -> Self {
        let turn = usize::from(RandomState::new().hash_one(()).to_le_bytes()[0]);
        Self { api, release_namespace, turn }
    }

    /// Makes the stored objects those of `wanted`.
    ///
    /// A binding is written before its policy. So a policy without its binding is one whose binding was removed, which
    /// is how the backstop is switched off in an emergency: the binding is not written again until the policy is removed
    /// too.
    ///
    /// # Errors
    /// Returns the first request that fails. What is written stays; the next reconciliation goes on.
    pub async fn reconcile(&self, wanted: &[Value]) -> Result<Reconciled, ApiError> {
        let mut done = Reconciled::default();
        let policies = self.list(POLICIES).await?;
        let bindings = self.list(BINDINGS).await?;
        for [policy, binding] in pairs_from(self.turn, wanted) {
            let name = name_of(policy);
            if is_kept(named(&policies, name), policy) && is_kept(named(&bindings, name), binding) {
                continue;
            }
            // Another replica may have written them since. The CEL of a policy costs the API server seconds.
            let old_policy = self.api.get(target(POLICIES, name)).await?.is;
            let old_binding = self.api.get(target(BINDINGS, name)).await?.is;
            if old_policy.is_some() && old_binding.is_none() {
                done.switched_off.push(name.to_owned());
            } else if !is_kept(old_binding.as_ref(), binding) {
                self.write(BINDINGS, binding, old_binding.as_ref()).await?;
                done.written.push(format!("{BINDINGS}/{name}"));
            }
            if !is_kept(old_policy.as_ref(), policy) {
                self.write(POLICIES, policy, old_policy.as_ref()).await?;
                done.written.push(format!("{POLICIES}/{name}"));
            }
        }
        for (resource, list) in [(BINDINGS, bindings), (POLICIES, policies)] {
            let is_wanted = |name: &str| wanted.iter().any(|object| name_of(object) == name);
            for name in list.iter().map(name_of).filter(|name| !is_wanted(name)) {
                self.api.delete(target(resource, name)).await?;
                done.removed.push(format!("{resource}/{name}"));
            }
        }
        Ok(done)
    }

    /// Returns what differs between the stored objects and those of `wanted`.
    ///
    /// # Errors
    /// Returns the first request that fails.
    pub async fn compare(&self, wanted: &[Value]) -> Result<Vec<Difference>, ApiError> {
        self.compare_lists(POLICIES, BINDINGS, wanted).await
    }

    /// Returns what differs between the stored `MutatingAdmissionPolicies` of the release and those of `wanted`.
    ///
    /// # Errors
    /// Returns the first request that fails.
    pub async fn compare_fills(&self, wanted: &[Value]) -> Result<Vec<Difference>, ApiError> {
        self.compare_lists(FILLS, FILL_BINDINGS, wanted).await
    }

    async fn compare_lists(
        &self,
        policies: &'static str,
        bindings: &'static str,
        wanted: &[Value],
    ) -> Result<Vec<Difference>, ApiError> {
        let policies = self.list(policies).await?;
        let bindings = self.list(bindings).await?;
        Ok(differences(&policies, &bindings, wanted))
    }

    async fn list(&self, resource: &'static str) -> Result<Vec<Value>, ApiError> {
        let selector = format!("{SELECTOR},{RELEASE_LABEL}={}", self.release_namespace);
        self.api.list(target(resource, ""), &selector).await
    }

    /// Creates an object by server-side apply, whose name the authorizer knows, or replaces the stored one: an apply would
    /// leave an action in a binding that another field manager has written.
    async fn write(
        &self,
        resource: &'static str,
        object: &Value,
        stored: Option<&Value>,
    ) -> Result<(), ApiError> {
        let target = target(resource, name_of(object));
        let Some(stored) = stored else { return self.api.apply(target, object).await };
        let mut object = object.clone();
        object["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"].clone();
        match self.api.replace(target, &object).await {
            // Another replica was faster; the next look compares again.
            Err(ApiError::Conflict(_)) => Ok(()),
            done => done,
        }
    }
}

/// Returns true if an object belongs to the backstop of the release in this namespace.
#[must_use]
pub fn is_of_backstop(object: &Value, release_namespace: &str) -> bool {
    let labels = &object["metadata"]["labels"];
    labels["app.kubernetes.io/managed-by"] == "sandgate"
        && labels["app.kubernetes.io/component"] == "backstop"
        && labels[RELEASE_LABEL] == release_namespace
}

/// Returns what differs between the stored policies and bindings of a release and the objects of `wanted`.
#[must_use]
pub fn differences(policies: &[Value], bindings: &[Value], wanted: &[Value]) -> Vec<Difference> {
    let mut differences = Vec::new();
    for [policy, binding] in pairs(wanted) {
        for (kind, object, list) in [("policy", policy, policies), ("binding", binding, bindings)] {
            let (name, filling) = (name_of(object), filling(object));
            let problem = match named(list, name) {
                None => Some("it is missing: apply what `sandgate backstop render` prints".to_owned()),
                Some(stored) => difference(stored, object),
            };
            differences.extend(
                problem.map(|problem| Difference { object: format!("{filling}{kind} {name}"), problem }),
            );
        }
    }
    let is_wanted = |stored: &&Value| wanted.iter().any(|one| name_of(one) == name_of(stored));
    for stored in policies.iter().filter(|stored| !is_wanted(stored)) {
        let object = format!("policy {}", name_of(stored));
        let problem = "no sandgate policy has it any more: delete it".into();
        differences.push(Difference { object, problem });
    }
    differences
}

/// Returns the word that tells objects that fill from those that validate.
fn filling(object: &Value) -> &'static str {
    if object["kind"].as_str().is_some_and(|kind| kind.starts_with("Mutating")) { "filling " } else { "" }
}

fn target<'t>(resource: &'static str, name: &'t str) -> Target<'t> {
    Target { group: GROUP, resource, namespace: None, name }
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Returns the object of this name.
fn named<'l>(list: &'l [Value], name: &str) -> Option<&'l Value> {
    list.iter().find(|object| name_of(object) == name)
}

/// Returns each policy with its binding, in the order in which they are rendered.
fn pairs(objects: &[Value]) -> std::slice::Iter<'_, [Value; 2]> {
    objects.as_chunks().0.iter()
}

/// Returns the pairs from another one for each `turn`: so replicas that start together share the work.
fn pairs_from(turn: usize, objects: &[Value]) -> impl Iterator<Item = &[Value; 2]> {
    let all = pairs(objects).len();
    pairs(objects).cycle().skip(turn.checked_rem(all).unwrap_or_default()).take(all)
}

fn difference(stored: &Value, wanted: &Value) -> Option<String> {
    let hash = |object: &Value| object["metadata"]["annotations"][HASH_ANNOTATION].clone();
    if hash(stored) != hash(wanted) {
        let (stored, wanted) = (hash(stored), hash(wanted));
        return Some(format!("it is of another policy: its hash is {stored}, must be {wanted}"));
    }
    let actions = |object: &Value| object["spec"]["validationActions"].clone();
    if actions(stored) != actions(wanted) {
        let (stored, wanted) = (actions(stored), actions(wanted));
        return Some(format!("its validationActions are {stored}, must be {wanted}"));
    }
    (!is_current(stored, wanted)).then(|| "its content was changed, or is of another version".into())
}

/// Returns true if an object is stored as it should be.
fn is_kept(stored: Option<&Value>, wanted: &Value) -> bool {
    stored.is_some_and(|stored| is_current(stored, wanted))
}

/// Returns true if a stored object has everything that `wanted` has. The items of a list have no `apiVersion` and `kind`.
fn is_current(stored: &Value, wanted: &Value) -> bool {
    ["metadata", "spec"].into_iter().all(|part| contains(&stored[part], &wanted[part]))
}

/// Returns true if `stored` has everything that `wanted` has: the API server adds defaults. Lists must be the same length.
fn contains(stored: &Value, wanted: &Value) -> bool {
    match (stored, wanted) {
        (Value::Object(stored), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| stored.get(key).is_some_and(|stored| contains(stored, wanted)))
        }
        (Value::Array(stored), Value::Array(wanted)) => {
            stored.len() == wanted.len()
                && stored.iter().zip(wanted).all(|(stored, wanted)| contains(stored, wanted))
        }
        (stored, wanted) => stored == wanted,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_of_the_api_server_are_no_difference() {
        let wanted = json!({"kind": "A", "metadata": {"name": "a"}, "spec": {"list": [{"x": 1}]}});
        let stored =
            json!({"metadata": {"name": "a", "uid": "u"}, "spec": {"list": [{"x": 1, "y": 2}], "z": 3}});
        assert!(is_current(&stored, &wanted));
        assert_eq!(difference(&stored, &wanted), None);
    }

    #[test]
    fn each_replica_has_every_pair_once_from_another_beginning() {
        let objects: Vec<Value> = (0..6).map(Value::from).collect();
        let firsts = |turn| pairs_from(turn, &objects).map(|[policy, _]| policy.clone()).collect::<Vec<_>>();
        assert_eq!(firsts(0), [0, 2, 4]);
        assert_eq!(firsts(4), [2, 4, 0]);
        assert_eq!(pairs_from(7, &[]).count(), 0);
    }

    #[test]
    fn another_action_and_another_hash_are_named() {
        let object = |hash: &str, actions: &[&str]| {
            json!({
                "metadata": {"annotations": {"sandgate.dev/policy-hash": hash}},
                "spec": {"validationActions": actions},
            })
        };
        let wanted = object("1", &["Deny", "Audit"]);
        let problem = difference(&object("1", &["Audit"]), &wanted).unwrap();
        assert_eq!(problem, r#"its validationActions are ["Audit"], must be ["Deny","Audit"]"#);
        assert!(difference(&object("2", &["Deny", "Audit"]), &wanted).unwrap().contains("another policy"));
    }
}
