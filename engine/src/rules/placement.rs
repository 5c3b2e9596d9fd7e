//! The nodes that the Pod may run on, and the scheduler that chooses one.

use super::{Group, Rule};
use crate::{
    cel::{self, Keys, Statement, patterns},
    json::{Object, Value},
    path::{LazyPath, SPEC},
    pod::{Pod, spec_mut},
    policy::{NodeOperator, NodeRequirement, Pattern, Profile, Spec},
    text::quote,
    violations::{Reporter, show},
};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
static AFFINITY: LazyPath<'static> = SPEC.child("affinity");
static NODE_AFFINITY_PATH: LazyPath<'static> = AFFINITY.child("nodeAffinity");
static REQUIRED_PATH: LazyPath<'static> = NODE_AFFINITY_PATH.child(REQUIRED);
static TERMS: LazyPath<'static> = REQUIRED_PATH.child("nodeSelectorTerms");

pub(super) static NODE_AFFINITY: Rule = Rule {
    id: "node-affinity",
    group: Group::Placement,
    title: "The Pod can only be scheduled to the policy's nodes.",
    why: "Node selector terms are alternatives: one term without the requirement lets the Pod run on any node. So \
          the requirement is filled into every term, also into one that only has matchFields. An empty term matches \
          no node and is not changed.",
    references: &[
        "NIST SP 800-190, 4.3.4: Mixing of workload sensitivity levels",
        "https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#node-affinity",
    ],
    setting: "spec.placement.nodeAffinity",
    fill: Some(fill_node_affinity),
    check: check_node_affinity,
    cel: Some(cel_node_affinity),
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

const CEL_TERMS: &str = "v.o.?spec.?affinity.?nodeAffinity.?requiredDuringSchedulingIgnoredDuringExecution\
                     .?nodeSelectorTerms.orValue([])";

fn cel_node_affinity(keys: Keys) -> Vec<Statement> {
    keys.spec.placement.node_affinity.iter().map(cel_required_affinity).collect()
}

/// True of a term `t` that matches no node.
pub(crate) const CEL_IS_EMPTY_TERM: &str =
    "t.?matchExpressions.orValue([]).size() == 0 && t.?matchFields.orValue([]).size() == 0";

/// Returns the condition that the term `t` has the requirement, or a stricter one of the same key.
pub(crate) fn cel_demands(wanted: &NodeRequirement) -> String {
    let NodeRequirement { key, operator, values } = wanted;
    let (values, found) = (cel::list(values), "e.?values.orValue([])");
    let fits = match operator {
        NodeOperator::In => format!("{found}.size() > 0 && {found}.all(x, x in {values})"),
        NodeOperator::NotIn => format!("{values}.all(x, x in {found})"),
        _ => format!("{found}.all(x, x in {values}) && {values}.all(x, x in {found})"),
    };
    format!(
        "t.?matchExpressions.orValue([]).exists(e, e.?key.orValue('') == {} && e.?operator.orValue('') == '{}' && {fits})",
        cel::text(key),
        operator.as_str()
    )
}

fn cel_required_affinity(wanted: &NodeRequirement) -> Statement {
    let term_fits = format!("({CEL_IS_EMPTY_TERM}) || {}", cel_demands(wanted));
    let condition = format!("({CEL_TERMS}.size() == 0 || !{CEL_TERMS}.all(t, {term_fits}))");
    let found = format!(
        "({CEL_TERMS}.size() == 0 ? 'unset' : 'without {} in ' + string({CEL_TERMS}.filter(t, !({term_fits})).size()) + ' terms')",
        cel::text(&wanted.key).trim_matches('\'')
    );
    Statement::pod(condition, "spec.affinity.nodeAffinity", &found)
}

pub(super) static NODE_NAME: Rule = Rule {
    id: "node-name",
    group: Group::Placement,
    title: "The scheduler places the Pod.",
    why: "A Pod that names its node bypasses the scheduler, and with it taints and affinity.",
    references: &[
        "NIST SP 800-190, 4.3.4: Mixing of workload sensitivity levels",
        "https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodename",
    ],
    setting: "",
    fill: None,
    check: check_node_name,
    cel: Some(cel_node_name),
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

fn cel_node_name(_: Keys) -> Vec<Statement> {
    let condition = "request.operation == 'CREATE' && v.o.?spec.?nodeName.orValue('') != ''";
    vec![Statement::pod(condition.into(), "spec.nodeName", &cel::shown("v.o.?spec.?nodeName"))]
}

pub(super) static SCHEDULER: Rule = Rule {
    id: "scheduler",
    group: Group::Placement,
    title: "An allowed scheduler places the Pod.",
    why: "Another scheduler may ignore affinity and taints. The API default default-scheduler looks like an unset \
          field, so it is replaced by the policy's first scheduler if it is not allowed itself.",
    references: &[
        "NIST SP 800-190, 4.3.4: Mixing of workload sensitivity levels",
        "https://kubernetes.io/docs/tasks/extend-kubernetes/configure-multiple-schedulers/",
    ],
    setting: "spec.placement.schedulerNames",
    fill: Some(fill_scheduler),
    check: check_scheduler,
    cel: Some(cel_scheduler),
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
    let is_filled = allowed.iter().any(Pattern::is_literal);
    let action = if is_filled { "leave schedulerName out on create" } else { "name an allowed scheduler" };
    let remedy = format_args!("{action} (policy key placement.schedulerNames)");
    out.report(SPEC.child("schedulerName"), quote(found), allowed, remedy);
}

fn cel_scheduler(keys: Keys) -> Vec<Statement> {
    let found = "v.o.?spec.?schedulerName.orValue('default-scheduler')";
    let condition = cel::not(&patterns::names(&keys.spec.placement.scheduler_names, found));
    vec![Statement::pod(condition, "spec.schedulerName", &format!("strings.quote({found})"))]
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
    cel: Some(cel_priority_class),
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

fn cel_priority_class(keys: Keys) -> Vec<Statement> {
    let found = "v.o.?spec.?priorityClassName.orValue('')";
    let allowed = patterns::names(&keys.spec.placement.priority_class_names, found);
    let condition = cel::not(&cel::any([format!("{found} == ''"), allowed]));
    vec![Statement::pod(condition, "spec.priorityClassName", &format!("strings.quote({found})"))]
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
