//! The nodes that the Pod may run on, and the scheduler that chooses one.

use std::fmt;

use super::{Group, Rule};
use crate::{
    json::{Object, Value},
    path::{LazyPath, SPEC},
    pod::{Pod, spec_mut},
    policy::{
        NodeOperator, NodeRequirement, Pattern, Placement, Profile, Spec, TaintEffect, Toleration,
        TolerationOperator,
    },
    text::quote,
    violations::{Reporter, show},
};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
static AFFINITY: LazyPath<'static> = SPEC.child("affinity");
static NODE_AFFINITY_PATH: LazyPath<'static> = AFFINITY.child("nodeAffinity");
static REQUIRED_PATH: LazyPath<'static> = NODE_AFFINITY_PATH.child(REQUIRED);
static TERMS: LazyPath<'static> = REQUIRED_PATH.child("nodeSelectorTerms");
static TOLERATIONS_PATH: LazyPath<'static> = SPEC.child("tolerations");

pub(super) static NODE_AFFINITY: Rule = Rule {
    id: "node-affinity",
    group: Group::Placement,
    title: "The Pod can only be scheduled to the policy's nodes.",
    why: "Node selector terms are alternatives: one term without the requirement lets the Pod run on any node. So \
          the requirement is filled into every term, also into one that only has matchFields. An empty term matches \
          no node and is not changed.",
    references: &["https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#node-affinity"],
    setting: "spec.placement.nodeAffinity",
    fill: Some(fill_node_affinity),
    check: check_node_affinity,
};

fn fill_node_affinity<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let spec = &profile.spec;
    let requirements = &spec.placement.node_affinity;
    if requirements.is_empty() {
        return 0;
    }
    let terms = spec_mut(pod)
        .and_then(|pod| pod.object_mut("affinity"))
        .and_then(|affinity| affinity.object_mut("nodeAffinity"))
        .and_then(|affinity| affinity.object_mut(REQUIRED))
        .and_then(|required| required.list_mut("nodeSelectorTerms"));
    let Some(terms) = terms else { return 0 };
    if terms.is_empty() {
        let all: Value = requirements.iter().map(requirement).collect();
        terms.push(Object::from([("matchExpressions", all)]));
        return requirements.len();
    }
    let mut filled = 0;
    for (_, term) in terms.iter_mut() {
        let Some(term) = term.as_object_mut().filter(|term| !is_empty_term(term)) else { continue };
        let missing: Vec<_> = requirements.iter().filter(|wanted| !demands(term, wanted)).collect();
        if missing.is_empty() {
            continue;
        }
        let Some(expressions) = term.list_mut("matchExpressions") else { continue };
        filled += missing.len();
        for wanted in missing {
            expressions.push(requirement(wanted));
        }
    }
    filled
}

fn requirement(wanted: &NodeRequirement) -> Object<'_> {
    let NodeRequirement { key, operator, values } = wanted;
    let mut object = Object::from([("key", key.as_str()), ("operator", operator.as_str())]);
    if !values.is_empty() {
        object.set("values", values.iter().map(String::as_str).collect::<Value>());
    }
    object
}

fn check_node_affinity(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let required = pod.spec.object("affinity").and_then(|affinity| affinity.object("nodeAffinity"));
    let terms = required
        .and_then(|affinity| affinity.object(REQUIRED))
        .and_then(|required| required.get("nodeSelectorTerms"));
    for wanted in &spec.placement.node_affinity {
        let Some(terms) = terms.and_then(Value::as_list).filter(|terms| !terms.is_empty()) else {
            out.report(
                TERMS,
                show(terms),
                format_args!("a term with {}", describe(wanted)),
                "leave the affinity out on create (policy key placement.nodeAffinity)",
            );
            continue;
        };
        for (index, term) in terms.iter() {
            let fits = term.as_object().is_some_and(|term| is_empty_term(term) || demands(term, wanted));
            if !fits {
                let text = describe(wanted);
                let found = format!("without {text}");
                out.report(
                    TERMS.index(index),
                    found,
                    format_args!("with {text}"),
                    format_args!(
                        "add {} to its matchExpressions (policy key placement.nodeAffinity)",
                        requirement_text(wanted)
                    ),
                );
            }
        }
    }
}

fn describe(wanted: &NodeRequirement) -> String {
    let NodeRequirement { key, operator, values } = wanted;
    format!("{key} {} [{}]", operator.as_str(), values.join(","))
}

/// The requirement as it is written in a Pod.
fn requirement_text(NodeRequirement { key, operator, values }: &NodeRequirement) -> String {
    let values = if values.is_empty() { String::new() } else { format!(", values: {}", words(values)) };
    format!("{{key: {key}, operator: {}{values}}}", operator.as_str())
}

/// A list of strings as YAML has it on one line; quoted, since `true` and `1` are values too.
fn words(values: &[String]) -> String {
    serde_json::to_string(values).unwrap_or_default()
}

/// An empty term matches no node (`core/v1` `NodeSelectorTerm`).
fn is_empty_term(term: &Object) -> bool {
    let none = |key| term.get(key).is_none_or(|list| list.as_list().is_some_and(crate::json::List::is_empty));
    none("matchExpressions") && none("matchFields")
}

/// Returns true if a term has the requirement, or a stricter one of the same key.
fn demands(term: &Object, wanted: &NodeRequirement) -> bool {
    term.objects("matchExpressions").any(|(_, expression)| {
        let same = expression.str("key") == Some(&wanted.key)
            && expression.str("operator") == Some(wanted.operator.as_str());
        let found = || expression.list("values").map(|(_, value)| value.as_str());
        let known =
            |value: Option<&str>| value.is_some_and(|value| wanted.values.iter().any(|other| other == value));
        let all = || wanted.values.iter().all(|wanted| found().any(|value| value == Some(wanted)));
        same && match wanted.operator {
            NodeOperator::In => found().next().is_some() && found().all(known),
            NodeOperator::NotIn => all(),
            _ => found().all(known) && all(),
        }
    })
}

pub(super) static TOLERATIONS: Rule = Rule {
    id: "tolerations",
    group: Group::Placement,
    title: "The Pod tolerates the policy's taints and none that the policy does not allow.",
    why: "Taints keep Pods off nodes that are not for them. The policy's tolerations are filled in. Besides them a \
          Pod may have those that the policy allows, each that tolerates less, and the three that the API server adds \
          itself: not-ready and unreachable, and memory-pressure on OpenShift.",
    references: &["https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/"],
    setting: "spec.placement.allowedTolerations",
    fill: Some(fill_tolerations),
    check: check_tolerations,
};

fn fill_tolerations<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let spec = &profile.spec;
    if spec.placement.tolerations.is_empty() {
        return 0;
    }
    let Some(tolerations) = spec_mut(pod).and_then(|pod| pod.list_mut("tolerations")) else { return 0 };
    let mut filled = 0;
    for wanted in &spec.placement.tolerations {
        let stands =
            tolerations.iter().any(|(_, item)| item.as_object().is_some_and(|item| equal(item, wanted)));
        if !stands {
            tolerations.push(toleration(wanted));
            filled += 1;
        }
    }
    filled
}

fn toleration(wanted: &Toleration) -> Object<'_> {
    let Toleration { key, operator, value, effect } = wanted;
    let mut object = Object::from([("key", key.as_str()), ("operator", operator.as_str())]);
    if !value.is_empty() {
        object.set("value", value.as_str());
    }
    if let Some(effect) = effect {
        object.set("effect", effect.as_str());
    }
    object
}

fn check_tolerations(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let Placement { tolerations: required, allowed_tolerations: allowed, .. } = &spec.placement;
    for (index, item) in pod.spec.list("tolerations") {
        let admitted = item.as_object().is_some_and(|item| {
            is_api_default(item) || required.iter().chain(allowed).any(|wanted| covers(wanted, item))
        });
        if !admitted {
            let found = item.as_object().map_or_else(|| show(Some(item)), summary);
            let remedy = ForeignToleration { runtime_class: pod.spec.str("runtimeClassName") };
            out.report(TOLERATIONS_PATH.index(index), found, AllowedTolerations(&spec.placement), remedy);
        }
    }
    for wanted in required {
        if !pod.spec.objects("tolerations").any(|(_, item)| equal(item, wanted)) {
            let text = format_args!("with {}", describe_toleration(wanted));
            let remedy = format_args!("add {} (policy key placement.tolerations)", toleration_text(wanted));
            out.report(TOLERATIONS_PATH, "without it", text, remedy);
        }
    }
}

/// What can be done about a toleration that the policy does not allow. The author of the Pod often did not write it.
struct ForeignToleration<'p> {
    runtime_class: Option<&'p str>,
}

impl fmt::Display for ForeignToleration<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("remove it if you wrote it; if ")?;
        if let Some(class) = self.runtime_class {
            write!(f, "the RuntimeClass {} (scheduling.tolerations), ", quote(class))?;
        }
        f.write_str("the API server or a controller added it, the policy must allow it (policy key ")?;
        f.write_str("placement.allowedTolerations)")
    }
}

/// The tolerations that a Pod may have, for a message.
struct AllowedTolerations<'p>(&'p Placement);

impl fmt::Display for AllowedTolerations<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut all = self.0.tolerations.iter().chain(&self.0.allowed_tolerations);
        let Some(first) = all.next() else { return f.write_str("absent") };
        write!(f, "one of the policy's ({}", describe_toleration(first))?;
        all.try_for_each(|toleration| write!(f, ", {}", describe_toleration(toleration)))?;
        f.write_str(")")
    }
}

/// The toleration as `kubectl describe` shows it.
fn describe_toleration(Toleration { key, operator, value, effect }: &Toleration) -> String {
    let value = if value.is_empty() { String::new() } else { format!("={value}") };
    let effect = effect.map(|effect| format!(":{}", effect.as_str())).unwrap_or_default();
    let exists = if *operator == TolerationOperator::Exists { " Exists" } else { "" };
    format!("{key}{value}{effect}{exists}")
}

/// The toleration as it is written in a Pod.
fn toleration_text(Toleration { key, operator, value, effect }: &Toleration) -> String {
    let value = Some(value)
        .filter(|value| !value.is_empty())
        .map(|value| format!(", value: {}", serde_json::to_string(value).unwrap_or_default()));
    let effect = effect.map(|effect| format!(", effect: {}", effect.as_str()));
    let [value, effect] = [value, effect].map(Option::unwrap_or_default);
    format!("{{key: {key}, operator: {}{value}{effect}}}", operator.as_str())
}

fn summary(toleration: &Object) -> String {
    let parts = [
        toleration.str("key"),
        Some(operator(toleration)),
        toleration.str("value"),
        toleration.str("effect"),
    ];
    let parts: Vec<&str> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    quote(&parts.join(" "))
}

/// An absent operator means Equal.
fn operator<'o>(toleration: &'o Object) -> &'o str {
    toleration.str("operator").filter(|operator| !operator.is_empty()).unwrap_or("Equal")
}

/// Returns true for the two tolerations that the plugin `DefaultTolerationSeconds` adds to every Pod, and for the one that
/// `PodTolerationRestriction`, on OpenShift, adds to every Pod with requests.
fn is_api_default(toleration: &Object) -> bool {
    let has_seconds = toleration.get("tolerationSeconds").is_some();
    let is_number = toleration.i64("tolerationSeconds").is_some();
    operator(toleration) == "Exists"
        && match toleration.str("key").unwrap_or_default() {
            "node.kubernetes.io/not-ready" | "node.kubernetes.io/unreachable" => {
                effect(toleration) == Some("NoExecute") && is_number
            }
            "node.kubernetes.io/memory-pressure" => effect(toleration) == Some("NoSchedule") && !has_seconds,
            _ => false,
        }
}

fn equal(found: &Object, wanted: &Toleration) -> bool {
    found.str("key") == Some(&wanted.key)
        && operator(found) == wanted.operator.as_str()
        && found.str("value").unwrap_or_default() == wanted.value
        && effect(found) == wanted.effect.map(TaintEffect::as_str)
        && found.get("tolerationSeconds").is_none()
}

/// Returns true if `wanted` tolerates every taint that `found` does.
fn covers(wanted: &Toleration, found: &Object) -> bool {
    let value = match wanted.operator {
        TolerationOperator::Exists => true,
        TolerationOperator::Equal => {
            operator(found) == "Equal" && found.str("value").unwrap_or_default() == wanted.value
        }
    };
    let effect_fits = wanted.effect.is_none_or(|wanted| effect(found) == Some(wanted.as_str()));
    found.str("key") == Some(&wanted.key) && value && effect_fits
}

fn effect<'o>(toleration: &'o Object) -> Option<&'o str> {
    toleration.str("effect").filter(|effect| !effect.is_empty())
}

pub(super) static NODE_NAME: Rule = Rule {
    id: "node-name",
    group: Group::Placement,
    title: "The scheduler places the Pod.",
    why: "A Pod that names its node bypasses the scheduler, and with it taints and affinity.",
    references: &["https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodename"],
    setting: "",
    fill: None,
    check: check_node_name,
};

fn check_node_name(_: &Spec, pod: &Pod, out: &mut Reporter) {
    if pod.spec.str("nodeName").is_some_and(|name| !name.is_empty()) {
        out.report(
            SPEC.child("nodeName"),
            show(pod.spec.get("nodeName")),
            "unset on create",
            "remove nodeName, the scheduler sets it",
        );
    }
}

pub(super) static SCHEDULER: Rule = Rule {
    id: "scheduler",
    group: Group::Placement,
    title: "An allowed scheduler places the Pod.",
    why: "Another scheduler may ignore affinity and taints. The API default default-scheduler looks like an unset \
          field, so it is replaced by the policy's first scheduler if it is not allowed itself.",
    references: &["https://kubernetes.io/docs/tasks/extend-kubernetes/configure-multiple-schedulers/"],
    setting: "spec.placement.schedulerNames",
    fill: Some(fill_scheduler),
    check: check_scheduler,
};

const DEFAULT_SCHEDULER: &str = "default-scheduler";

fn fill_scheduler<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let spec = &profile.spec;
    let allowed = &spec.placement.scheduler_names;
    let Some(first) = allowed.iter().find(|name| name.is_literal()) else { return 0 };
    let Some(pod) = spec_mut(pod) else { return 0 };
    let is_default = pod.get("schedulerName").is_none_or(|name| name.as_str() == Some(DEFAULT_SCHEDULER));
    if !is_default || allowed.allows(DEFAULT_SCHEDULER) {
        return 0;
    }
    pod.set("schedulerName", first.as_str());
    1
}

fn check_scheduler(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let allowed = &spec.placement.scheduler_names;
    let found = pod.spec.str("schedulerName").unwrap_or(DEFAULT_SCHEDULER);
    if allowed.allows(found) {
        return;
    }
    let action = match allowed.iter().any(Pattern::is_literal) {
        true => "leave schedulerName out on create",
        false => "name an allowed scheduler",
    };
    let remedy = format_args!("{action} (policy key placement.schedulerNames)");
    out.report(SPEC.child("schedulerName"), quote(found), allowed, remedy);
}

pub(super) static PRIORITY_CLASS: Rule = Rule {
    id: "priority-class",
    group: Group::Placement,
    title: "The Pod has no priority class, or an allowed one.",
    why: "A Pod of high priority preempts Pods of others; system-node-critical preempts nearly every Pod. If a \
          PriorityClass of the cluster is globalDefault, the API server writes it into every Pod that names none: the \
          policy must allow that class.",
    references: &["https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/"],
    setting: "spec.placement.priorityClassNames",
    fill: None,
    check: check_priority_class,
};

fn check_priority_class(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let Some(found) = pod.spec.str("priorityClassName").filter(|name| !name.is_empty()) else { return };
    let allowed = &spec.placement.priority_class_names;
    if allowed.allows(found) {
        return;
    }
    let wanted = if allowed.is_empty() { "unset".into() } else { format!("unset or {allowed}") };
    let remedy = "remove it if you wrote it; if it is the cluster's globalDefault class, the policy must allow it (policy \
                  key placement.priorityClassNames)";
    out.report(SPEC.child("priorityClassName"), quote(found), wanted, remedy);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::{super::testing::*, *};

    const AFFINITY: &str = "node-affinity spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";

    fn terms(pod: &mut Json) -> &mut Json {
        &mut pod["spec"]["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    }

    fn ours() -> Json {
        json!({"key": "workload-type", "operator": "In", "values": ["workflow-runner"]})
    }

    #[test]
    fn a_pod_without_affinity_gets_the_requirement() {
        let mut pod = fills(AFFINITY, |pod| without(&mut pod["spec"], "affinity"));
        assert_eq!(*terms(&mut pod), json!([{"matchExpressions": [ours()]}]));
    }

    #[test]
    fn every_alternative_gets_the_requirement() {
        let other = json!({"key": "zone", "operator": "In", "values": ["a"]});
        let field = json!({"key": "metadata.name", "operator": "In", "values": ["n1"]});
        let mut pod = fills(&format!("{AFFINITY}[1]"), |pod| {
            *terms(pod) = json!([{"matchExpressions": [ours()]}, {"matchExpressions": [other]}]);
        });
        assert_eq!(terms(&mut pod)[1]["matchExpressions"], json!([other, ours()]));
        let mut pod = fills(&format!("{AFFINITY}[0]"), |pod| *terms(pod) = json!([{"matchFields": [field]}]));
        assert_eq!(*terms(&mut pod), json!([{"matchFields": [field], "matchExpressions": [ours()]}]));
    }

    #[test]
    fn an_empty_term_matches_nothing_and_stays() {
        accepts(|pod| *terms(pod) = json!([{"matchExpressions": [ours()]}, {}]));
    }

    #[test]
    fn a_near_miss_of_the_requirement_does_not_count() {
        for (operator, values) in [
            ("NotIn", json!(["workflow-runner"])),
            ("In", json!(["workflow-runner", "web"])),
            ("In", json!([])),
            ("Exists", json!([])),
        ] {
            fills(&format!("{AFFINITY}[0]"), |pod| {
                *terms(pod) = json!([{"matchExpressions": [{"key": "workload-type", "operator": operator, "values": values}]}]);
            });
        }
    }

    #[test]
    fn only_preferred_affinity_is_not_enough() {
        fills(AFFINITY, |pod| {
            pod["spec"]["affinity"] =
                json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}});
        });
    }

    #[test]
    fn the_toleration_is_filled_once_whatever_its_spelling() {
        let pod = fills("tolerations spec.tolerations", |pod| pod["spec"]["tolerations"] = json!([]));
        assert_eq!(pod["spec"]["tolerations"], complete_pod()["spec"]["tolerations"]);
        accepts(|pod| without(&mut pod["spec"]["tolerations"][0], "operator"));
    }

    #[test]
    fn the_api_servers_own_tolerations_are_admitted() {
        accepts(|pod| {
            let list = pod["spec"]["tolerations"].as_array_mut().unwrap();
            for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
                list.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
            }
        });
    }

    #[test]
    fn every_other_toleration_is_denied() {
        for other in [
            json!({"operator": "Exists"}),
            json!({"key": "", "operator": "Exists"}),
            json!({"key": "sandbox.gke.io/runtime", "operator": "Exists"}),
            json!({"key": "sandbox.gke.io/runtime", "operator": "Equal", "value": "gvisor"}),
            json!({"key": "sandbox.gke.io/runtime", "value": "gvisor", "effect": "NoExecute"}),
            json!({"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}),
            json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists"}),
            json!({"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"}),
            json!({"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoExecute"}),
            json!({"key": "node.kubernetes.io/disk-pressure", "operator": "Exists", "effect": "NoSchedule"}),
            json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}),
        ] {
            rejects("tolerations spec.tolerations[1]", |pod| {
                pod["spec"]["tolerations"].as_array_mut().unwrap().push(other);
            });
        }
    }

    #[test]
    fn pod_that_names_its_node_is_denied() {
        rejects("node-name spec.nodeName", |pod| pod["spec"]["nodeName"] = json!("node-1"));
        accepts(|pod| pod["spec"]["nodeName"] = json!(""));
    }

    #[test]
    fn another_scheduler_is_denied() {
        rejects("scheduler spec.schedulerName", |pod| pod["spec"]["schedulerName"] = json!("mine"));
        accepts(|pod| pod["spec"]["schedulerName"] = json!("default-scheduler"));
    }

    #[test]
    fn the_default_scheduler_gives_way_to_the_policys() {
        let spec = spec("{placement: {schedulerNames: [sandboxes]}}");
        let mut pod = complete_pod();
        pod["spec"]["schedulerName"] = json!("default-scheduler");
        assert_eq!(filled_by(&spec, &pod)["spec"]["schedulerName"], "sandboxes");
    }

    #[test]
    fn a_priority_class_must_be_allowed() {
        rejects("priority-class spec.priorityClassName", |pod| {
            pod["spec"]["priorityClassName"] = json!("system-node-critical")
        });
        let spec = spec("{placement: {priorityClassNames: [batch]}}");
        accepts_under(&spec, |pod| pod["spec"]["priorityClassName"] = json!("batch"));
    }

    #[test]
    fn toleration_that_openshift_adds_is_admitted() {
        accepts(|pod| {
            let added = json!({"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"});
            pod["spec"]["tolerations"].as_array_mut().unwrap().push(added);
        });
    }

    /// An entry with `Exists` covers every value, and one without an effect covers every effect.
    #[test]
    fn allowed_toleration_covers_what_tolerates_less() {
        let any = spec("{placement: {allowedTolerations: [{key: gpu, operator: Exists}]}}");
        let one = spec("{placement: {allowedTolerations: [{key: gpu, value: a, effect: NoSchedule}]}}");
        for (toleration, by_any, by_one) in [
            (json!({"key": "gpu", "operator": "Exists"}), true, false),
            (json!({"key": "gpu", "value": "a", "effect": "NoSchedule"}), true, true),
            (json!({"key": "gpu", "operator": "Equal", "value": "a", "effect": "NoSchedule"}), true, true),
            (json!({"key": "gpu", "operator": "", "value": "a", "effect": "NoSchedule"}), true, true),
            (json!({"key": "gpu", "value": "a"}), true, false),
            (json!({"key": "gpu", "value": "a", "effect": ""}), true, false),
            (json!({"key": "gpu", "value": "b", "effect": "NoSchedule"}), true, false),
            (json!({"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}), true, false),
            (json!({"key": "gpu", "value": "a", "effect": "NoExecute", "tolerationSeconds": 5}), true, false),
            (json!({"key": "gpu", "operator": "Gt", "value": "1", "effect": "NoSchedule"}), true, false),
            (json!({"key": "gpus", "operator": "Exists"}), false, false),
            (json!({"operator": "Exists"}), false, false),
            (json!({"key": null, "operator": "Exists"}), false, false),
        ] {
            for (spec, admitted) in [(&any, by_any), (&one, by_one)] {
                let add = |pod: &mut Json| {
                    pod["spec"]["tolerations"].as_array_mut().unwrap().push(toleration.clone());
                };
                match admitted {
                    true => accepts_under(spec, add),
                    false => rejects_under(spec, "tolerations spec.tolerations[1]", add),
                }
            }
        }
    }

    #[test]
    fn allowed_toleration_is_not_filled() {
        let spec = spec("{placement: {tolerations: [], allowedTolerations: [{key: gpu, operator: Exists}]}}");
        assert!(filled_by(&spec, &plain_pod())["spec"].get("tolerations").is_none());
    }

    #[test]
    fn required_toleration_that_ends_early_does_not_count() {
        let spec = spec("{placement: {tolerations: [{key: k, operator: Exists, effect: NoExecute}]}}");
        let mut pod = complete_pod();
        pod["spec"]["tolerations"] =
            json!([{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}]);
        assert_eq!(violations_of(&spec, &pod), ["tolerations spec.tolerations"]);
        let filled = filled_by(&spec, &pod);
        assert_eq!(
            filled["spec"]["tolerations"][1],
            json!({"key": "k", "operator": "Exists", "effect": "NoExecute"})
        );
    }

    #[test]
    fn denied_toleration_names_the_runtime_class_and_the_key_of_the_policy() {
        let mut pod = complete_pod();
        pod["spec"]["tolerations"].as_array_mut().unwrap().push(json!({"key": "x", "operator": "Exists"}));
        let spec = spec("{placement: {allowedTolerations: [{key: gpu, operator: Exists}]}}");
        assert_eq!(
            lines_of(&spec, &pod),
            [
                "spec.tolerations[1] is \"x Exists\", must be one of the policy's (sandbox.gke.io/runtime=gvisor:NoSchedule, gpu Exists): remove it if you wrote it; if the RuntimeClass \"gvisor\" (scheduling.tolerations), the API server or a controller added it, the policy must allow it (policy key placement.allowedTolerations) (tolerations)"
            ]
        );
    }

    #[test]
    fn schedulers_and_priority_classes_are_names_with_patterns() {
        let spec =
            spec("{placement: {schedulerNames: [default-scheduler, team-*], priorityClassNames: [batch-*]}}");
        accepts_under(&spec, |pod| pod["spec"]["schedulerName"] = json!("team-a"));
        accepts_under(&spec, |pod| pod["spec"]["priorityClassName"] = json!("batch-low"));
        accepts_under(&spec, |pod| pod["spec"]["priorityClassName"] = json!(""));
        rejects_under(&spec, "scheduler spec.schedulerName", |pod| {
            pod["spec"]["schedulerName"] = json!("team")
        });
        rejects_under(&spec, "priority-class spec.priorityClassName", |pod| {
            pod["spec"]["priorityClassName"] = json!("batch");
        });
        let only_patterns = super::super::testing::spec("{placement: {schedulerNames: [team-*]}}");
        rejects_under(&only_patterns, "scheduler spec.schedulerName", |_| {});
    }
}
