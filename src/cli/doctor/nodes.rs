//! The nodes that Pods may run on, and the runtime classes that they run in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    facts::{ClusterCheck, Facts},
    finding::{Answer, Check, Section, Severity, Verdict},
    reader::{has, is_ready, items, name, some},
};
use sandgate_engine::policy::{
    NodeOperator, NodeRequirement, Policy, PolicySet, Toleration, TolerationOperator,
};

pub(super) const CHECKS: &[ClusterCheck] = &[
    (Check::new(Section::Boxes, Severity::Critical, "runtime-class"), runtime_class),
    (Check::new(Section::Boxes, Severity::High, "runtime-handler"), runtime_handler),
    (Check::new(Section::Boxes, Severity::Critical, "node-labels"), node_labels),
    (Check::new(Section::Boxes, Severity::High, "node-taints"), node_taints),
    (Check::new(Section::Cluster, Severity::Critical, "node-ready"), node_ready),
    (Check::new(Section::Cluster, Severity::High, "network-plugin"), network_plugin),
];

/// The beginnings of the names that nodes give to the handlers of gVisor.
const GVISOR_HANDLERS: [&str; 2] = ["runsc", "gvisor"];

/// Daemon sets of network plugins that enforce network policies, by a part of their names.
const NETWORK_PLUGINS: [&str; 10] = [
    "calico",
    "canal",
    "cilium",
    "antrea",
    "kube-router",
    "ovnkube",
    "azure-npm",
    "anetd",
    "weave",
    "aws-node",
];

fn runtime_class(facts: &Facts) -> Answer<'_> {
    let (policies, classes) = (facts.policies.as_ref()?, facts.runtime_classes.as_ref()?);
    let handlers = handlers(classes);
    let wanted = wanted_classes(policies);
    for class in &wanted {
        match handlers.get(class) {
            None => {
                return Ok(Verdict::fail(
                    format!("there is no RuntimeClass {class}"),
                    format!(
                        "create it with the handler runsc (chart: runtimeClass.create=true, runtimeClass.name={class})"
                    ),
                ));
            }
            Some(handler) if !is_gvisor(handler) => {
                return Ok(Verdict::fail(
                    format!("RuntimeClass {class} has the handler {handler}, which is not one of gVisor"),
                    format!(
                        "create {class} anew with the handler runsc, or take it out of runtimeClass.allowed"
                    ),
                ));
            }
            Some(_) => {}
        }
    }
    let found: Vec<String> =
        wanted.iter().map(|class| format!("{class} has the handler {}", handlers[class])).collect();
    Ok(Verdict::ok(format!("gVisor RuntimeClass: {}", some(&found))))
}

fn runtime_handler(facts: &Facts) -> Answer<'_> {
    let (policies, classes) = (facts.policies.as_ref()?, facts.runtime_classes.as_ref()?);
    let nodes = facts.nodes.as_ref()?;
    let handlers = handlers(classes);
    let wanted: BTreeSet<&str> =
        wanted_classes(policies).iter().filter_map(|class| handlers.get(class)).copied().collect();
    let nodes = selected(policies, nodes);
    let reporting: Vec<&&Value> =
        nodes.iter().filter(|node| !items(&node["status"]["runtimeHandlers"]).is_empty()).collect();
    if nodes.is_empty() || wanted.is_empty() {
        return Ok(Verdict::unknown(
            "gVisor on the nodes: there is no node or no RuntimeClass to look at",
            "see runtime-class and node-labels",
        ));
    }
    if reporting.is_empty() {
        return Ok(Verdict::unknown(
            "gVisor on the nodes: no kubelet reports the handlers of its runtime",
            "update the container runtime (containerd 2), or prove it by --probe",
        ));
    }
    let lacking: Vec<&str> = reporting
        .iter()
        .filter(|node| {
            let own: BTreeSet<&str> = items(&node["status"]["runtimeHandlers"])
                .iter()
                .filter_map(|handler| handler["name"].as_str())
                .collect();
            !wanted.is_subset(&own)
        })
        .map(|node| name(node))
        .collect();
    let wanted: Vec<&str> = wanted.into_iter().collect();
    if lacking.is_empty() {
        let (reporting, nodes) = (reporting.len(), nodes.len());
        return Ok(Verdict::ok(format!(
            "gVisor on the nodes: {reporting} of {nodes} report the handler {}",
            some(&wanted)
        )));
    }
    Ok(Verdict::fail(
        format!("nodes without the handler {}: {}", some(&wanted), some(&lacking)),
        "configure gVisor in containerd on these nodes (docs/node.md)",
    ))
}

fn node_labels(facts: &Facts) -> Answer<'_> {
    let (policies, nodes) = (facts.policies.as_ref()?, facts.nodes.as_ref()?);
    for requirements in affinities(policies) {
        let matching = nodes.iter().filter(|node| fulfils(node, requirements)).count();
        let wanted = describe(requirements);
        if matching == 0 {
            return Ok(Verdict::fail(
                format!("none of {} nodes has the label {wanted}: Pods stay Pending", nodes.len()),
                format!("kubectl label node NODE {}", wanted.replace(", ", " ")),
            ));
        }
    }
    let selected = selected(policies, nodes).len();
    let wanted: Vec<String> = affinities(policies).into_iter().map(describe).collect();
    Ok(Verdict::ok(format!("labelled nodes: {selected} of {} have {}", nodes.len(), some(&wanted))))
}

fn node_taints(facts: &Facts) -> Answer<'_> {
    let (policies, nodes) = (facts.policies.as_ref()?, facts.nodes.as_ref()?);
    let nodes = selected(policies, nodes);
    let tolerations: Vec<&Toleration> =
        policies.policies().iter().flat_map(|policy| &policy.base().spec.placement.tolerations).collect();
    if tolerations.is_empty() {
        return Ok(Verdict::fail(
            "tainted nodes: no policy names a taint, so other Pods may run beside sandboxed ones",
            "set placement.tolerations of the policy, and taint the nodes",
        )
        .of_severity(Severity::Medium));
    }
    if nodes.is_empty() {
        return Ok(Verdict::unknown("tainted nodes: no node is labelled", "see node-labels"));
    }
    let untainted: Vec<&str> = nodes
        .iter()
        .filter(|node| {
            let taints = items(&node["spec"]["taints"]);
            !taints.iter().any(|taint| tolerations.iter().any(|toleration| tolerates(toleration, taint)))
        })
        .map(|node| name(node))
        .collect();
    if untainted.is_empty() {
        return Ok(Verdict::ok(format!("tainted nodes: {} of {}", nodes.len(), nodes.len())));
    }
    let taint = tolerations[0];
    let (key, value) = (&taint.key, &taint.value);
    let effect = taint.effect.map_or("NoSchedule", |effect| effect.as_str());
    Ok(Verdict::fail(
        format!(
            "labelled nodes without the taint {key}={value}: {}; other Pods run there too",
            some(&untainted)
        ),
        format!("kubectl taint node NODE {key}={value}:{effect}"),
    ))
}

fn node_ready(facts: &Facts) -> Answer<'_> {
    let (policies, nodes) = (facts.policies.as_ref()?, facts.nodes.as_ref()?);
    let nodes = selected(policies, nodes);
    if nodes.is_empty() {
        return Ok(Verdict::unknown("ready nodes: no node is labelled", "see node-labels"));
    }
    let ready = nodes.iter().filter(|node| takes_pods(node)).count();
    if ready == 0 {
        return Ok(Verdict::fail(
            format!("none of {} labelled nodes is ready and takes Pods", nodes.len()),
            "kubectl describe nodes; add nodes, or kubectl uncordon them",
        ));
    }
    Ok(Verdict::ok(format!("{ready} of {} labelled nodes are ready", nodes.len())))
}

fn network_plugin(facts: &Facts) -> Answer<'_> {
    let sets = facts.daemon_sets.as_ref()?;
    let found: Vec<&str> = sets
        .iter()
        .map(name)
        .filter(|set| NETWORK_PLUGINS.iter().any(|plugin| set.contains(plugin)))
        .collect();
    if found.is_empty() {
        return Ok(Verdict::unknown(
            "no known network plugin that enforces NetworkPolicies runs as a DaemonSet",
            "prove it by --probe, which must not reach the API server",
        ));
    }
    Ok(Verdict::ok(format!("{} can enforce NetworkPolicies; only --probe proves that it does", some(&found))))
}

/// The handler of each runtime class.
fn handlers(classes: &[Value]) -> BTreeMap<&str, &str> {
    classes.iter().map(|class| (name(class), class["handler"].as_str().unwrap_or_default())).collect()
}

/// The handler of a runtime class.
pub(super) fn handler_of<'f>(classes: &'f [Value], class: &str) -> Option<&'f str> {
    handlers(classes).get(class).copied()
}

pub(super) fn is_gvisor(handler: &str) -> bool {
    GVISOR_HANDLERS.iter().any(|known| handler.starts_with(known))
}

/// The runtime classes that Pods get or may name.
fn wanted_classes(policies: &PolicySet) -> BTreeSet<&str> {
    let profiles = policies.policies().iter().flat_map(Policy::all_profiles);
    let classes = profiles.map(|profile| &profile.spec.runtime_class);
    classes
        .flat_map(|class| std::iter::once(&class.default).chain(&class.allowed))
        .map(String::as_str)
        .filter(|class| !class.is_empty())
        .collect()
}

/// The requirements on nodes of each policy and profile.
fn affinities(policies: &PolicySet) -> Vec<&[NodeRequirement]> {
    let profiles = policies.policies().iter().flat_map(Policy::all_profiles);
    let mut found: Vec<&[NodeRequirement]> = Vec::new();
    for profile in profiles {
        let requirements = profile.spec.placement.node_affinity.as_slice();
        if !found.contains(&requirements) {
            found.push(requirements);
        }
    }
    found
}

/// The nodes that some policy selects.
fn selected<'n>(policies: &PolicySet, nodes: &'n [Value]) -> Vec<&'n Value> {
    let affinities = affinities(policies);
    nodes.iter().filter(|node| affinities.iter().any(|requirements| fulfils(node, requirements))).collect()
}

fn fulfils(node: &Value, requirements: &[NodeRequirement]) -> bool {
    requirements.iter().all(|requirement| {
        let NodeRequirement { key, operator, values } = requirement;
        let label = node["metadata"]["labels"][key.as_str()].as_str();
        let listed = label.is_some_and(|label| values.iter().any(|value| value == label));
        let compared = || {
            let number = |text: &str| text.parse::<i64>().ok();
            Some((number(label?)?, number(values.first()?)?))
        };
        match operator {
            NodeOperator::In => listed,
            NodeOperator::NotIn => !listed,
            NodeOperator::Exists => label.is_some(),
            NodeOperator::DoesNotExist => label.is_none(),
            NodeOperator::Gt => compared().is_some_and(|(label, bound)| label > bound),
            NodeOperator::Lt => compared().is_some_and(|(label, bound)| label < bound),
        }
    })
}

fn describe(requirements: &[NodeRequirement]) -> String {
    if requirements.is_empty() {
        return "any label".into();
    }
    let texts: Vec<String> = requirements
        .iter()
        .map(|NodeRequirement { key, operator, values }| match operator {
            NodeOperator::In => format!("{key}={}", values.join("|")),
            _ if values.is_empty() => format!("{key} {}", operator.as_str()),
            _ => format!("{key} {} {}", operator.as_str(), values.join("|")),
        })
        .collect();
    texts.join(", ")
}

/// Returns true if a toleration is for a taint that keeps other Pods away.
fn tolerates(toleration: &Toleration, taint: &Value) -> bool {
    let keeps_away = matches!(taint["effect"].as_str(), Some("NoSchedule" | "NoExecute"));
    let same_effect = toleration.effect.is_none_or(|effect| taint["effect"] == effect.as_str());
    let same_value = toleration.operator == TolerationOperator::Exists
        || taint["value"].as_str().unwrap_or_default() == toleration.value;
    keeps_away && same_effect && same_value && taint["key"] == toleration.key.as_str()
}

fn takes_pods(node: &Value) -> bool {
    is_ready(node) && node["spec"]["unschedulable"] != true
}

/// Returns true if a node reports that it has a handler; none if it reports nothing.
pub(super) fn declares(node: &Value, handler: &str) -> Option<bool> {
    let handlers = items(&node["status"]["runtimeHandlers"]);
    if handlers.is_empty() {
        return None;
    }
    let names: Vec<Value> = handlers.iter().map(|known| known["name"].clone()).collect();
    Some(has(&Value::Array(names), handler))
}
