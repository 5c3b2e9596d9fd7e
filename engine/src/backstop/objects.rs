//! `ValidatingAdmissionPolicies` and their bindings.
//!
//! One policy has one validation: of several denials the API server shows a random one only. The condition `fine` walks
//! each list once and makes no text, so a Pod without violations pays for nothing else. The size bound comes before
//! everything: CEL over a large Pod would hold a processor of the API server for seconds.

use serde_json::{Value as Json, json};

use super::{scope::Scope, view};
use crate::{
    cel::{self, Keys, Over, Statement, selected},
    policy::{Level, Policy},
    review::{HASH_ANNOTATION, POLICY_ANNOTATION},
    rules::{
        Cel,
        bounds::{
            BOUNDED_LISTS, MAX_CONTAINERS, MAX_METADATA, MAX_MOUNTS, MAX_TOLERATIONS, MAX_VARIABLES,
            MAX_VOLUMES,
        },
    },
};

/// The label with the namespace of the release that an object of the backstop belongs to.
pub const RELEASE_LABEL: &str = "sandgate.dev/release-namespace";

/// The objects of one policy for one scope and one level.
pub(super) struct Part<'p> {
    pub(super) policy: &'p Policy,
    pub(super) scope: &'p Scope,
    /// The namespace of the release, which distinguishes its objects from those of another one.
    pub(super) release_namespace: &'p str,
    pub(super) level: Level,
    /// True for the objects that are about Bindings, false for those about Pods.
    pub(super) of_bindings: bool,
}

/// One variable of a policy.
struct Variable {
    name: String,
    expression: String,
}

impl Variable {
    fn new(name: impl Into<String>, expression: impl Into<String>) -> Self {
        Self { name: name.into(), expression: expression.into() }
    }
}

impl Part<'_> {
    /// Returns the name of both objects.
    pub(super) fn name(&self) -> String {
        let level = if self.level == self.policy.mode().into() {
            String::new()
        } else {
            format!(".{}", self.level.as_str())
        };
        let of_bindings = if self.of_bindings { ".binding" } else { "" };
        format!("sandgate-{}{}{level}{of_bindings}", self.policy.name, self.scope.suffix)
    }

    /// Returns the policy and its binding; `None` if no rule is at this level.
    pub(super) fn render(&self) -> Option<[Json; 2]> {
        self.has_checks().then(|| [self.admission_policy(), self.binding()])
    }

    /// Returns true if something is checked at the level; a Binding only has labels and annotations.
    fn has_checks(&self) -> bool {
        let is_relevant =
            |check: &Statement| check.condition != "false" && (check.of_metadata || !self.of_bindings);
        self.level == self.policy.mode().into()
            || self.rules().iter().any(|(_, checks)| checks.iter().flatten().any(is_relevant))
    }

    fn metadata(&self) -> Json {
        metadata(self.policy, &self.name(), self.release_namespace)
    }

    fn binding(&self) -> Json {
        let actions = match self.level {
            Level::Enforce => json!(["Deny", "Audit"]),
            Level::Warn => json!(["Warn", "Audit"]),
            Level::Audit | Level::Off => json!(["Audit"]),
        };
        let selector = json!({"matchExpressions": self.scope.requirements});
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": self.metadata(),
            "spec": {
                "policyName": self.name(),
                "validationActions": actions,
                "matchResources": {"namespaceSelector": selector},
            },
        })
    }

    fn admission_policy(&self) -> Json {
        let variables = if self.of_bindings { self.of_binding() } else { self.of_pod() };
        let variables: Vec<Json> = variables
            .into_iter()
            .map(|Variable { name, expression }| json!({"name": name, "expression": expression}))
            .collect();
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": self.metadata(),
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"matchPolicy": "Equivalent", "resourceRules": self.resource_rules()},
                "matchConditions": self.match_conditions(),
                "variables": variables,
                "validations": [{
                    "expression": "variables.fine || variables.violations.size() == 0",
                    "reason": "Forbidden",
                    "message": format!("policy {:?}: the violations are too long to show", self.policy.name),
                    "messageExpression": self.message(),
                }],
            },
        })
    }

    fn resource_rules(&self) -> Json {
        if self.of_bindings {
            return json!([resource_rule(&["CREATE"], &["pods/binding", "bindings"])]);
        }
        json!([
            resource_rule(&["CREATE", "UPDATE"], &["pods"]),
            resource_rule(&["UPDATE"], &["pods/ephemeralcontainers", "pods/resize", "pods/status"]),
        ])
    }

    fn match_conditions(&self) -> Vec<Json> {
        let changes = "request.operation != 'UPDATE' || \
                       (request.subResource != 'status' && object.?spec != oldObject.?spec) || \
                       object.metadata.?labels != oldObject.metadata.?labels || \
                       object.metadata.?annotations != oldObject.metadata.?annotations || \
                       object.metadata.?ownerReferences != oldObject.metadata.?ownerReferences";
        let carries = "object.?metadata.?labels.orValue({}).size() > 0 || \
                       object.?metadata.?annotations.orValue({}).size() > 0";
        let (name, expression) = if self.of_bindings {
            ("carries-metadata", carries)
        } else {
            ("changes-what-rules-read", changes)
        };
        let mut conditions = scope_and_exemptions(self.policy, self.scope);
        conditions.push(json!({"name": name, "expression": expression}));
        conditions
    }

    /// Returns the ids of the rules at the level, each with the checks of every profile.
    fn rules(&self) -> Vec<(&'static str, Vec<Vec<Statement>>)> {
        let at_level = crate::rules::ALL.iter().filter(|rule| self.policy.level_of(rule.id) == self.level);
        let stated = at_level.filter_map(|rule| Some((rule.id, rule.cel?)));
        let of_profiles =
            |cel: Cel| self.policy.all_profiles().map(|profile| cel(Keys::of(profile))).collect();
        stated.map(|(id, cel)| (id, of_profiles(cel))).collect()
    }

    fn of_pod(&self) -> Vec<Variable> {
        let rules = self.rules();
        let mut variables = vec![
            Variable::new("all", format!("dyn({})", view::containers("object"))),
            Variable::new("evaluable", evaluable()),
            Variable::new("profile", view::profile(self.policy, "object")),
            Variable::new("view", view::view(self.policy, "object", "variables.profile", false)),
        ];
        let profiles = self.policy.all_profiles().count();
        for profile in 0..profiles {
            let fine = fine(rules.iter().flat_map(|(_, checks)| &checks[profile]));
            variables.push(Variable::new(
                format!("fine_{profile}"),
                format!("[dyn(variables.view)].all(v, {fine})"),
            ));
        }
        let each: Vec<String> = (0..profiles).map(|profile| format!("variables.fine_{profile}")).collect();
        let changes = if self.level == self.policy.mode().into() { provenance() } else { Vec::new() };
        let kept = cel::all(changes.iter().map(|(changed, _)| cel::not(changed)));
        variables.push(Variable::new(
            "fine",
            cel::all(["variables.evaluable".into(), kept, selected("variables.profile", &each)]),
        ));
        variables.push(Variable::new(
            "old_profile",
            format!(
                "request.operation == 'UPDATE' ? {} : -1",
                parenthesized(&view::profile(self.policy, "oldObject"))
            ),
        ));
        // An update is held against what the Pod violated before, unless it moves the Pod to another profile.
        variables.push(Variable::new(
            "views",
            format!(
                "variables.old_profile == variables.profile ? [dyn(variables.view), dyn({})] : [dyn(variables.view)]",
                view::view(self.policy, "oldObject", "variables.old_profile", false)
            ),
        ));
        let mut new: Vec<String> =
            changes.iter().map(|(changed, text)| format!("{changed} ? [{text}] : []")).collect();
        for (id, checks) in &rules {
            let of_profile: Vec<String> = checks.iter().map(|checks| texts(id, checks)).collect();
            if of_profile.iter().all(|texts| texts == "[]") {
                continue;
            }
            let name = format!("r_{}", id.replace('-', "_"));
            let expression = format!("variables.views.map(v, {})", selected("v.p", &of_profile));
            new.push(format!(
                "variables.{name}[0].filter(x, variables.{name}.size() == 1 || !(x in variables.{name}[1]))"
            ));
            variables.push(Variable::new(name, expression));
        }
        let too_large = format!(
            "pod-schema: the Pod is too large: at most {MAX_CONTAINERS} containers, {MAX_VOLUMES} volumes, \
             {MAX_VARIABLES} environment variables, {MAX_MOUNTS} mounts"
        );
        variables.push(Variable::new(
            "violations",
            format!("!variables.evaluable ? [{}] : {}", cel::text(&too_large), cel::concatenated(&new)),
        ));
        variables
    }

    /// A Binding's labels and annotations go over those of the Pod, whose profile is not known: what one profile denies
    /// is denied, and so is a label that a profile is chosen by.
    fn of_binding(&self) -> Vec<Variable> {
        let bare = "{'o': dyn({}), 'p': dyn(0), 'binding': dyn(true), 'all': dyn([]), 'ann': dyn({}), 'labels': dyn({}), \
                    'vols': dyn([])}";
        let view = view::view(self.policy, "object", "0", true);
        let mut texts: Vec<String> = Vec::new();
        for (id, checks) in self.rules() {
            for check in checks.iter().flatten().filter(|check| check.of_metadata) {
                let text = check.texts(id);
                if !texts.contains(&text) {
                    texts.push(text);
                }
            }
        }
        if self.level == self.policy.mode().into() {
            let own =
                Statement::annotation(format!("k in {}", cel::list([POLICY_ANNOTATION, HASH_ANNOTATION])));
            texts.push(own.texts("provenance"));
        }
        let choosing = self.policy.profiles().iter().filter_map(|profile| profile.matcher.labels.as_ref());
        let choosing: Vec<&String> = choosing.flat_map(|labels| labels.keys()).collect();
        if !choosing.is_empty() && self.policy.level_of("labels") == self.level {
            texts.push(Statement::label(format!("k in {}", cel::list(choosing))).texts("labels"));
        }
        vec![
            Variable::new("views", format!("[dyn({view}), dyn({bare})]")),
            Variable::new("evaluable", metadata_bound()),
            Variable::new("found", format!("variables.views.map(v, {})", cel::concatenated(&texts))),
            Variable::new(
                "violations",
                "!variables.evaluable ? ['annotations: the Binding has more than 500 labels or annotations'] : \
                 variables.found[0].filter(x, !(x in variables.found[1]))",
            ),
            Variable::new("fine", "variables.violations.size() == 0"),
        ]
    }

    /// Returns the message, at most 5 KiB: the API server shows the static one instead of a longer one.
    fn message(&self) -> String {
        let opening = cel::text(&format!("policy {:?} (backstop), ", self.policy.name));
        let help = self.policy.header.help.replace(['\n', '\r'], " ");
        let ending: String = if help.is_empty() { String::new() } else { format!(". {help}") };
        let ending = cel::text(&ending.chars().take(300).collect::<String>());
        let listed = |most: usize| {
            format!(
                "variables.violations.map(x, x.size() > {most} ? x.substring(0, {most}) + '…' : x).join('; ')"
            )
        };
        let (long, short) = (listed(400), listed(50));
        format!(
            "variables.fine ? '' : {opening} + string(variables.violations.size()) + ' violations: ' + \
             [{long}].map(l, bytes(l).size() <= 3600 ? l : \
             [{short}].map(s, bytes(s).size() <= 3600 ? s : s.substring(0, 880) + '…')[0])[0] + {ending}"
        )
    }
}

/// Returns the metadata of an object of a policy.
pub(super) fn metadata(policy: &Policy, name: &str, release_namespace: &str) -> Json {
    json!({
        "name": name,
        "labels": {
            "app.kubernetes.io/part-of": "sandgate",
            "app.kubernetes.io/managed-by": "sandgate",
            "app.kubernetes.io/component": "backstop",
            RELEASE_LABEL: release_namespace,
        },
        "annotations": {POLICY_ANNOTATION: policy.name, HASH_ANNOTATION: policy.hash},
    })
}

/// Returns a rule for resources of the core group.
pub(super) fn resource_rule(operations: &[&str], resources: &[&str]) -> Json {
    json!({
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": operations,
        "resources": resources,
        "scope": "Namespaced",
    })
}

/// Returns the conditions on the namespace and the user of a request.
pub(super) fn scope_and_exemptions(policy: &Policy, scope: &Scope) -> Vec<Json> {
    let exempt = &policy.header.exempt;
    let user = format!("!(request.userInfo.?username.orValue('') in {})", cel::list(&exempt.users));
    let group =
        format!("!request.userInfo.?groups.orValue([]).exists(g, g in {})", cel::list(&exempt.groups));
    let conditions = [
        scope.condition.clone().map(|condition| ("in-namespaces", condition)),
        (!exempt.users.is_empty()).then_some(("not-exempt-user", user)),
        (!exempt.groups.is_empty()).then_some(("not-exempt-group", group)),
    ];
    let conditions = conditions.into_iter().flatten();
    conditions.map(|(name, expression)| json!({"name": name, "expression": expression})).collect()
}

/// Returns the changes of sandgate's own annotations by an update, each with its text.
fn provenance() -> Vec<(String, String)> {
    let keys = [POLICY_ANNOTATION, HASH_ANNOTATION];
    let change = |key: &str| {
        let literal = cel::text(key);
        let condition = format!(
            "(request.operation == 'UPDATE' && object.metadata.?annotations[?{literal}] != \
             oldObject.metadata.?annotations[?{literal}])"
        );
        (condition, cel::text(&format!("provenance: metadata.annotations[{key}] is changed")))
    };
    keys.into_iter().map(change).collect()
}

fn parenthesized(expression: &str) -> String {
    format!("({expression})")
}

/// Returns the list of the texts of all violations of one rule under one profile, in the view `v`.
fn texts(rule: &str, checks: &[Statement]) -> String {
    let lists: Vec<String> =
        checks.iter().filter(|check| check.condition != "false").map(|check| check.texts(rule)).collect();
    cel::concatenated(&lists)
}

/// Returns the condition that no check is violated: each list is walked once.
fn fine<'c>(checks: impl Iterator<Item = &'c Statement>) -> String {
    let checks: Vec<&Statement> = checks.collect();
    cel::all(Over::ALL.into_iter().map(|over| {
        let of_list = checks.iter().filter(|check| check.over == over);
        let all = cel::all(of_list.map(|check| cel::not(&check.condition)));
        match over.list() {
            Some((variable, list)) if all != "true" => format!("{list}.all({variable}, {all})"),
            _ => all,
        }
    }))
}

/// The bounds of the engine on the size of a Pod.
pub(super) fn evaluable() -> String {
    let sums = BOUNDED_LISTS
        .map(|(list, _, max)| format!("variables.all.map(c, c.?{list}.orValue([]).size()).sum() <= {max}"));
    cel::all(
        [
            format!("variables.all.size() <= {MAX_CONTAINERS}"),
            format!("object.?spec.?volumes.orValue([]).size() <= {MAX_VOLUMES}"),
            format!("object.?spec.?tolerations.orValue([]).size() <= {MAX_TOLERATIONS}"),
            metadata_bound(),
        ]
        .into_iter()
        .chain(sums),
    )
}

fn metadata_bound() -> String {
    let of = |map: &str| format!("object.?metadata.?{map}.orValue({{}}).size() <= {MAX_METADATA}");
    format!("{} && {}", of("annotations"), of("labels"))
}
