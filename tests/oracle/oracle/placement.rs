//! Where a Pod runs, as what, and whom it keeps away.

use k8s_openapi::api::core::v1::{Affinity, NodeSelectorTerm, Toleration};

use super::{Faults, Subject, must, word};
use crate::{patterns::is_one_of, policy};

pub(super) fn check(subject: &Subject, faults: &mut Faults) {
    let (spec, keys) = (subject.spec, subject.keys);
    let class = word(spec.runtime_class_name.as_ref());
    must(keys.runtime_class.allowed.iter().any(|allowed| allowed == class), "runtime class", faults);
    must(word(spec.node_name.as_ref()).is_empty(), "node name", faults);
    let or = |text: Option<&String>, unset: &str| match word(text) {
        "" => unset.to_owned(),
        text => text.to_owned(),
    };
    let scheduler = or(spec.scheduler_name.as_ref(), "default-scheduler");
    must(is_one_of(&keys.placement.scheduler_names, &scheduler), "scheduler", faults);
    let priority = word(spec.priority_class_name.as_ref());
    let may_have = priority.is_empty() || is_one_of(&keys.placement.priority_class_names, priority);
    must(may_have, "priority class", faults);
    for wanted in &keys.placement.node_affinity {
        must(demands(spec.affinity.as_ref(), wanted), "node affinity", faults);
    }
    must(keeps_no_others_away(spec.affinity.as_ref()), "anti-affinity", faults);
    check_tolerations(&keys.placement, spec.tolerations.as_deref().unwrap_or_default(), faults);
}

/// A required anti-affinity also holds against the Pods that it selects, wherever the topology reaches.
fn keeps_no_others_away(affinity: Option<&Affinity>) -> bool {
    let anti = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let required = anti.and_then(|anti| anti.required_during_scheduling_ignored_during_execution.as_ref());
    required.into_iter().flatten().all(|term| {
        term.topology_key == "kubernetes.io/hostname"
            && term.namespaces.iter().flatten().next().is_none()
            && term.namespace_selector.is_none()
    })
}

/// The terms are alternatives: each that can match must demand what the policy demands.
fn demands(affinity: Option<&Affinity>, wanted: &policy::Requirement) -> bool {
    let node = affinity.and_then(|affinity| affinity.node_affinity.as_ref());
    let required = node.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_some_and(|required| {
        let terms = &required.node_selector_terms;
        !terms.is_empty() && terms.iter().all(|term| matches_nothing(term) || term_demands(term, wanted))
    })
}

fn matches_nothing(term: &NodeSelectorTerm) -> bool {
    term.match_expressions.iter().flatten().chain(term.match_fields.iter().flatten()).next().is_none()
}

fn term_demands(term: &NodeSelectorTerm, wanted: &policy::Requirement) -> bool {
    term.match_expressions.iter().flatten().any(|found| {
        let values = found.values.as_deref().unwrap_or_default();
        found.key == wanted.key
            && found.operator == wanted.operator
            && match wanted.operator.as_str() {
                "In" => !values.is_empty() && values.iter().all(|value| wanted.values.contains(value)),
                "NotIn" => wanted.values.iter().all(|value| values.contains(value)),
                _ => values == wanted.values,
            }
    })
}

fn check_tolerations(keys: &policy::Placement, tolerations: &[Toleration], faults: &mut Faults) {
    for wanted in &keys.tolerations {
        let has_it = tolerations.iter().any(|found| is_equal(found, wanted));
        must(has_it, "toleration missing", faults);
    }
    let allowed = keys.tolerations.iter().chain(&keys.allowed_tolerations);
    for found in tolerations {
        let is_covered = allowed.clone().any(|wanted| tolerates_no_more(found, wanted));
        must(is_covered || is_added_by_the_api_server(found), "toleration not allowed", faults);
    }
}

fn operator(found: &Toleration) -> &str {
    match word(found.operator.as_ref()) {
        "" => "Equal",
        operator => operator,
    }
}

fn is_equal(found: &Toleration, wanted: &policy::Toleration) -> bool {
    word(found.key.as_ref()) == wanted.key
        && operator(found) == wanted.operator
        && word(found.value.as_ref()) == wanted.value
        && word(found.effect.as_ref()) == wanted.effect.as_deref().unwrap_or_default()
        && found.toleration_seconds.is_none()
}

fn tolerates_no_more(found: &Toleration, wanted: &policy::Toleration) -> bool {
    let same_value = operator(found) == "Equal" && word(found.value.as_ref()) == wanted.value;
    word(found.key.as_ref()) == wanted.key
        && (wanted.operator == "Exists" || same_value)
        && wanted.effect.as_ref().is_none_or(|effect| word(found.effect.as_ref()) == effect)
}

/// What the API server adds to every Pod, OpenShift's last; the seconds are a flag of it.
fn is_added_by_the_api_server(found: &Toleration) -> bool {
    let has_seconds = found.toleration_seconds.is_some();
    let effect = word(found.effect.as_ref());
    operator(found) == "Exists"
        && match word(found.key.as_ref()) {
            "node.kubernetes.io/not-ready" | "node.kubernetes.io/unreachable" => {
                effect == "NoExecute" && has_seconds
            }
            "node.kubernetes.io/memory-pressure" => effect == "NoSchedule" && !has_seconds,
            _ => false,
        }
}
