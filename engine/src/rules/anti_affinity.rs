//! The Pods that this one keeps off its node.

use super::{Group, Rule};
use crate::{
    cel::{Keys, Statement},
    json::Value,
    path::{LazyPath, SPEC},
    pod::Pod,
    policy::Spec,
    violations::{Reporter, show},
};

pub(super) static POD_ANTI_AFFINITY: Rule = Rule {
    id: "pod-anti-affinity",
    group: Group::Placement,
    title: "Required pod anti-affinity is limited to the own namespace and hostname topology.",
    why: "A required anti-affinity works in both directions: while the Pod runs, the scheduler keeps every Pod that \
          it selects out of its topology domain. Over a zone, or over other namespaces, one sandbox would keep out \
          the workloads of others and the daemons of nodes. A preferred anti-affinity keeps no Pod out.",
    references: &[
        "https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity",
    ],
    setting: "",
    fill: None,
    check: check_pod_anti_affinity,
    cel: Some(cel_pod_anti_affinity),
};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
static AFFINITY: LazyPath<'static> = SPEC.child("affinity");
static ANTI_AFFINITY: LazyPath<'static> = AFFINITY.child("podAntiAffinity");
static TERMS: LazyPath<'static> = ANTI_AFFINITY.child(REQUIRED);
const NODE: &str = "kubernetes.io/hostname";

fn check_pod_anti_affinity(_: &Spec, pod: &Pod, out: &mut Reporter) {
    let anti_affinity = pod.spec.object("affinity").and_then(|affinity| affinity.object("podAntiAffinity"));
    for (index, term) in anti_affinity.into_iter().flat_map(|affinity| affinity.objects(REQUIRED)) {
        let at = TERMS.index(index);
        let topology = term.get("topologyKey");
        if topology.and_then(Value::as_str) != Some(NODE) {
            out.report(at.child("topologyKey"), show(topology), NODE, "set it, or prefer instead of require");
        }
        if term.list("namespaces").next().is_some() {
            out.report(at.child("namespaces"), show(term.get("namespaces")), "unset", "remove namespaces");
        }
        // An empty selector selects every namespace.
        if let Some(selector) = term.get("namespaceSelector") {
            out.report(
                at.child("namespaceSelector"),
                show(Some(selector)),
                "unset",
                "remove namespaceSelector",
            );
        }
    }
}

fn cel_pod_anti_affinity(_: Keys) -> Vec<Statement> {
    let terms =
        "v.o.?spec.?affinity.?podAntiAffinity.?requiredDuringSchedulingIgnoredDuringExecution.orValue([])";
    let is_wide = "t.?topologyKey.orValue('') != 'kubernetes.io/hostname' || \
                   t.?namespaces.orValue([]).size() > 0 || t.?namespaceSelector.hasValue()";
    let found = format!(
        "'beyond the node or the namespace, topologyKey ' + \
         strings.quote({terms}.filter(t, {is_wide}).map(t, t.?topologyKey.orValue('unset')).join(', '))"
    );
    let condition = format!("{terms}.exists(t, {is_wide})");
    vec![Statement::pod(condition, "spec.affinity.podAntiAffinity", &found)]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;

    fn anti_affinity(pod: &mut Json, kind: &str, terms: &Json) {
        pod["spec"]["affinity"]["podAntiAffinity"] = json!({kind: terms});
    }

    fn keep_away(pod: &mut Json, term: &Json) {
        anti_affinity(pod, "requiredDuringSchedulingIgnoredDuringExecution", &json!([term]));
    }

    const TERM: &str =
        "pod-anti-affinity spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]";

    #[test]
    fn anti_affinity_within_a_node_is_admitted() {
        let like = json!({"matchLabels": {"app": "workflow-runner"}});
        let term = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": like, "namespaces": []});
        accepts(|pod| keep_away(pod, &term));
    }

    #[test]
    fn anti_affinity_to_other_namespaces_is_denied() {
        for (field, value) in [("namespaces", json!(["kube-system"])), ("namespaceSelector", json!({}))] {
            let term = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {}, field: value});
            rejects(&format!("{TERM}.{field}"), |pod| keep_away(pod, &term));
        }
    }

    #[test]
    fn anti_affinity_over_a_zone_is_denied() {
        for term in [json!({"topologyKey": "topology.kubernetes.io/zone", "labelSelector": {}}), json!({})] {
            rejects(&format!("{TERM}.topologyKey"), |pod| keep_away(pod, &term));
        }
    }

    #[test]
    fn preferred_anti_affinity_is_admitted() {
        let term = json!({"topologyKey": "topology.kubernetes.io/zone", "namespaceSelector": {}});
        let preferred = json!([{"weight": 1, "podAffinityTerm": term}]);
        accepts(|pod| anti_affinity(pod, "preferredDuringSchedulingIgnoredDuringExecution", &preferred));
    }
}
