//! The fills of a policy set as `MutatingAdmissionPolicies`, for clusters without any webhook.
//!
//! A list of the Pod API is either a map, which an apply configuration merges, or atomic, which only a JSON patch changes. The
//! mutations of one policy run in their order, each on what the one before made. What cannot be stated is rejected with the
//! reason; what is stated and cannot be filled is left to the validating side, which denies it.

mod apply;
mod lists;
mod resources;

use serde_json::{Value as Json, json};

use super::{
    Refusal, Settings,
    objects::{metadata, resource_rule},
    scope::{Scope, scopes},
    view,
};
use crate::{
    cel,
    policy::{Fill, FillAt, Mode, OnExcess, Policy, PolicySet, Spec},
    rules::bounds::{BOUNDED_LISTS, MAX_CONTAINERS, MAX_VOLUMES},
};

/// The first minor version of Kubernetes 1 with `MutatingAdmissionPolicy` of version v1.
pub const FILLS_MINOR: u32 = 36;

/// Returns the `MutatingAdmissionPolicies` and bindings of all policies that fill, each policy before its binding.
///
/// # Errors
/// Returns everything that cannot be filled in CEL, or not in this version of Kubernetes.
pub fn fills(set: &PolicySet, settings: &Settings) -> Result<Vec<Json>, Vec<Refusal>> {
    let mut objects = Vec::new();
    let mut refusals = Vec::new();
    for policy in set.policies() {
        let scopes = scopes(policy, set, &settings.release_namespace);
        if scopes.is_empty() || !is_filled(policy) {
            continue;
        }
        let reasons = obstacles(policy, settings);
        if !reasons.is_empty() {
            let refusal = |reason| Refusal { policy: policy.name.clone(), rule: None, reason };
            refusals.extend(reasons.into_iter().map(refusal));
            continue;
        }
        for scope in &scopes {
            objects.extend(pair(policy, scope, &settings.release_namespace));
        }
    }
    if refusals.is_empty() { Ok(objects) } else { Err(refusals) }
}

fn is_filled(policy: &Policy) -> bool {
    match policy.fill() {
        Fill::Never => false,
        Fill::Always => true,
        Fill::Auto => policy.mode() == Mode::Enforce,
    }
}

/// Returns why the fills of a policy cannot be stated.
fn obstacles(policy: &Policy, settings: &Settings) -> Vec<String> {
    let base = policy.base();
    let Spec { lifecycle, security, env, resources, .. } = &base.spec;
    let clamps =
        [lifecycle.active_deadline_seconds.on_excess, lifecycle.termination_grace_period_seconds.on_excess];
    let fills = crate::rules::ALL.iter().filter(|rule| rule.fill.is_some());
    let other_level =
        fills.filter(|rule| policy.level_of(rule.id) != policy.mode().into()).map(|rule| rule.id);
    let other_levels: Vec<&str> = other_level.collect();
    let old = format!(
        "Kubernetes 1.{} has no MutatingAdmissionPolicy of version v1: use 1.{FILLS_MINOR} or newer, or leave the fills out",
        settings.kubernetes_minor
    );
    let levels = format!(
        "rules that fill are at another level than the mode ({}): leave them at the mode",
        other_levels.join(", ")
    );
    let all = [
        (settings.kubernetes_minor < FILLS_MINOR, old.as_str()),
        (
            policy.mode() != Mode::Enforce,
            "a MutatingAdmissionPolicy cannot leave a Pod alone that would be denied: use fill: always with mode: enforce only",
        ),
        (!other_levels.is_empty(), levels.as_str()),
        (
            !policy.profiles().is_empty(),
            "its profiles fill Pods in different ways: use policies without profiles",
        ),
        (
            !base.exceptions.is_empty(),
            "its exceptions fill containers in different ways: use no exceptions (containers)",
        ),
        (
            !env.is_empty(),
            "environment variables are not filled in CEL: set them in the Pods, and leave env empty",
        ),
        (
            resources.fill_at == FillAt::Pod,
            "resources of the whole Pod are not filled in CEL: use resources.fillAt: container",
        ),
        (clamps.contains(&OnExcess::Clamp), "what a person wrote is not lowered in CEL: use onExcess: deny"),
        (
            security.root.is_allowed(),
            "runAsNonRoot depends on what else the Pod has: leave security.root empty",
        ),
    ];
    all.into_iter().filter(|(is_obstacle, _)| *is_obstacle).map(|(_, reason)| reason.to_owned()).collect()
}

fn pair(policy: &Policy, scope: &Scope, release_namespace: &str) -> [Json; 2] {
    let name = format!("sandgate-{}{}", policy.name, scope.suffix);
    let metadata = metadata(policy, &name, release_namespace);
    let spec = &policy.base().spec;
    let patch =
        |expression: String| json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}});
    let apply = json!({
        "patchType": "ApplyConfiguration",
        "applyConfiguration": {"expression": apply::configuration(policy)},
    });
    let atomic = spec.placement.tolerations.iter().map(lists::toleration);
    let atomic = atomic.chain(spec.placement.node_affinity.iter().map(lists::requirement));
    let atomic = atomic.chain(lists::capabilities(spec)).chain([lists::sizes(spec)]);
    let first = lists::without_token(spec).map(patch);
    let mutations: Vec<Json> = first.into_iter().chain([apply]).chain(atomic.map(patch)).collect();
    let variables: Vec<Json> = variables(spec)
        .into_iter()
        .map(|(name, expression)| json!({"name": name, "expression": expression}))
        .collect();
    let mutating = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": metadata,
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "IfNeeded",
            "matchConstraints": {
                "matchPolicy": "Equivalent",
                "resourceRules": [resource_rule(&["CREATE"], &["pods"])],
            },
            "matchConditions": match_conditions(policy, scope),
            "variables": variables,
            "mutations": mutations,
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": metadata,
        "spec": {
            "policyName": name,
            "matchResources": {"namespaceSelector": {"matchExpressions": scope.requirements}},
        },
    });
    [mutating, binding]
}

fn match_conditions(policy: &Policy, scope: &Scope) -> Vec<Json> {
    let all = view::containers("object");
    let sums = BOUNDED_LISTS
        .map(|(list, _, max)| format!("all.map(c, c.?{list}.orValue([]).size()).sum() <= {max}"));
    let sizes = [
        format!("all.size() <= {MAX_CONTAINERS}"),
        format!("object.?spec.?volumes.orValue([]).size() <= {MAX_VOLUMES}"),
    ];
    let is_small = format!("[dyn({all})].all(all, {})", cel::all(sizes.into_iter().chain(sums)));
    // The API server rejects such a Pod by itself once it is filled, with a message that names neither policy nor rule.
    let is_fillable = format!(
        "object.?spec.?os.?name.orValue('linux') == 'linux' && !dyn({all}).exists(c, \
         c.?securityContext.?privileged.orValue(false) || \
         c.?securityContext.?allowPrivilegeEscalation.orValue(false) || \
         c.?securityContext.?capabilities.?add.orValue([]).exists(a, a in ['SYS_ADMIN', 'CAP_SYS_ADMIN']))"
    );
    let conditions = [("small-enough", is_small), ("can-be-filled", is_fillable)];
    let mut conditions: Vec<Json> = conditions
        .into_iter()
        .map(|(name, expression)| json!({"name": name, "expression": expression}))
        .collect();
    conditions.extend(super::objects::scope_and_exemptions(policy, scope));
    conditions
}

/// The variables that several mutations read. A variable that none reads costs nothing.
fn variables(spec: &Spec) -> Vec<(String, String)> {
    let own = [
        ("inits", "dyn(object.spec.?initContainers.orValue([]))".to_owned()),
        ("containers", "dyn(object.spec.?initContainers.orValue([]) + object.spec.?containers.orValue([]))".into()),
        (
            "running",
            "dyn(object.spec.?containers.orValue([])) + variables.inits.filter(c, c.?restartPolicy.orValue('') == 'Always')"
                .into(),
        ),
        ("volumes", "dyn(object.spec.?volumes.orValue([]))".into()),
    ];
    let own = own.into_iter().map(|(name, expression)| (name.to_owned(), expression));
    own.chain(apply::volume_names(spec)).chain(resources::variables(&spec.resources)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Source;

    fn rendered(spec: &str) -> Result<Vec<Json>, Vec<Refusal>> {
        let text = format!(
            "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {{name: strict}}\nspec: {spec}\n"
        );
        let set = PolicySet::from_sources(&[Source { name: "policy.yaml".into(), text }]).unwrap();
        fills(&set, &Settings { kubernetes_minor: 36, ..Settings::default() })
    }

    #[test]
    fn enforced_policy_has_one_mutating_policy_and_its_binding() {
        let objects = rendered("{namespaces: [a]}").unwrap();
        assert_eq!(objects.len(), 2);
        assert_eq!(objects[1]["spec"]["policyName"], "sandgate-strict");
    }

    #[test]
    fn policy_that_does_not_fill_has_none() {
        for spec in ["{namespaces: [a], mode: warn}", "{namespaces: [a], fill: never}"] {
            assert_eq!(rendered(spec).unwrap(), Vec::<Json>::new(), "{spec}");
        }
    }

    #[test]
    fn what_cannot_be_filled_is_an_error_with_the_reason() {
        for (spec, reason) in [
            ("{namespaces: [a], env: {HOME: /tmp}}", "environment variables"),
            ("{namespaces: [a], resources: {fillAt: pod}}", "resources of the whole Pod"),
            ("{namespaces: [a], mode: audit, fill: always}", "with mode: enforce only"),
            ("{namespaces: [a], rules: {labels: warn}}", "at another level than the mode (labels)"),
            (
                "{namespaces: [a], lifecycle: {activeDeadlineSeconds: {onExcess: clamp}}}",
                "is not lowered in CEL",
            ),
            (
                "{namespaces: [a], profiles: [{name: p, match: {users: [u]}, spec: {lifecycle: {restartPolicy: {allowed: [Never]}}}}]}",
                "its profiles fill Pods",
            ),
        ] {
            let refusals = rendered(spec).unwrap_err();
            assert!(refusals.iter().any(|refusal| refusal.reason.contains(reason)), "{spec}: {refusals:?}");
        }
        let old = fills(&PolicySet::builtin(), &Settings::default()).unwrap_err();
        assert!(old[0].reason.contains("use 1.36 or newer"), "{}", old[0]);
    }

    /// kube-apiserver 1.36.3 panics if a JSON patch has a typed object in a list (kubernetes#142181).
    #[test]
    fn no_json_patch_has_a_typed_object() {
        let objects = rendered("{namespaces: [a]}").unwrap();
        for mutation in objects[0]["spec"]["mutations"].as_array().unwrap() {
            if let Some(expression) = mutation["jsonPatch"]["expression"].as_str() {
                assert!(!expression.contains("Object"), "{expression}");
            }
        }
    }
}
