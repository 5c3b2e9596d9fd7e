//! The nodes that the Pod may run on, and the scheduler that chooses one.

use crate::{
    cel::{self, Keys, Statement, patterns},
    policy::{NodeOperator, NodeRequirement, Toleration, TolerationOperator},
};

const TERMS: &str = "v.o.?spec.?affinity.?nodeAffinity.?requiredDuringSchedulingIgnoredDuringExecution\
                     .?nodeSelectorTerms.orValue([])";

pub(super) fn node_affinity(keys: Keys) -> Vec<Statement> {
    keys.spec.placement.node_affinity.iter().map(required_affinity).collect()
}

/// True of a term `t` that matches no node.
pub(in super::super) const IS_EMPTY_TERM: &str =
    "t.?matchExpressions.orValue([]).size() == 0 && t.?matchFields.orValue([]).size() == 0";

/// Returns the condition that the term `t` has the requirement, or a stricter one of the same key.
pub(in super::super) fn demands(wanted: &NodeRequirement) -> String {
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

fn required_affinity(wanted: &NodeRequirement) -> Statement {
    let term_fits = format!("({IS_EMPTY_TERM}) || {}", demands(wanted));
    let condition = format!("({TERMS}.size() == 0 || !{TERMS}.all(t, {term_fits}))");
    let found = format!(
        "({TERMS}.size() == 0 ? 'unset' : 'without {} in ' + string({TERMS}.filter(t, !({term_fits})).size()) + ' terms')",
        cel::text(&wanted.key).trim_matches('\'')
    );
    Statement::pod(condition, "spec.affinity.nodeAffinity", &found)
}

const OPERATOR: &str = "(t.?operator.orValue('') == '' ? 'Equal' : t.operator)";

pub(super) fn tolerations(keys: Keys) -> Vec<Statement> {
    let placement = &keys.spec.placement;
    let api_default = format!(
        "({OPERATOR} == 'Exists' && ((t.?key.orValue('') in ['node.kubernetes.io/not-ready', \
         'node.kubernetes.io/unreachable'] && t.?effect.orValue('') == 'NoExecute' && t.?tolerationSeconds.hasValue()) || \
         (t.?key.orValue('') == 'node.kubernetes.io/memory-pressure' && t.?effect.orValue('') == 'NoSchedule' && \
         !t.?tolerationSeconds.hasValue())))"
    );
    let all = placement.tolerations.iter().chain(&placement.allowed_tolerations).map(covers);
    let admitted = cel::any(std::iter::once(api_default).chain(all));
    let found = format!(
        "strings.quote([t.?key.orValue(''), {OPERATOR}, t.?value.orValue(''), t.?effect.orValue('')].join(' '))"
    );
    let foreign = Statement::toleration(cel::not(&admitted), &found);
    let missing = placement.tolerations.iter().map(|wanted| {
        let condition = format!("!v.o.?spec.?tolerations.orValue([]).exists(t, {})", equals(wanted));
        Statement::pod(condition, "spec.tolerations", &cel::text(&format!("without {}", wanted.key)))
    });
    std::iter::once(foreign).chain(missing).collect()
}

fn covers(wanted: &Toleration) -> String {
    let Toleration { key, operator, value, effect } = wanted;
    cel::all([
        format!("t.?key.orValue('') == {}", cel::text(key)),
        match operator {
            TolerationOperator::Exists => "true".into(),
            TolerationOperator::Equal => {
                format!("({OPERATOR} == 'Equal' && t.?value.orValue('') == {})", cel::text(value))
            }
        },
        effect.map_or("true".into(), |effect| format!("t.?effect.orValue('') == '{}'", effect.as_str())),
    ])
}

/// Returns the condition that the toleration `t` is the wanted one.
pub(in super::super) fn equals(wanted: &Toleration) -> String {
    let Toleration { key, operator, value, effect } = wanted;
    let effect = effect.map_or("", |effect| effect.as_str());
    format!(
        "(t.?key.orValue('') == {} && {OPERATOR} == '{}' && t.?value.orValue('') == {} && \
         t.?effect.orValue('') == '{effect}' && !t.?tolerationSeconds.hasValue())",
        cel::text(key),
        operator.as_str(),
        cel::text(value)
    )
}

pub(super) fn node_name(_: Keys) -> Vec<Statement> {
    let condition = "request.operation == 'CREATE' && v.o.?spec.?nodeName.orValue('') != ''";
    vec![Statement::pod(condition.into(), "spec.nodeName", &cel::shown("v.o.?spec.?nodeName"))]
}

pub(super) fn scheduler(keys: Keys) -> Vec<Statement> {
    let found = "v.o.?spec.?schedulerName.orValue('default-scheduler')";
    let condition = cel::not(&patterns::names(&keys.spec.placement.scheduler_names, found));
    vec![Statement::pod(condition, "spec.schedulerName", &format!("strings.quote({found})"))]
}

pub(super) fn priority_class(keys: Keys) -> Vec<Statement> {
    let found = "v.o.?spec.?priorityClassName.orValue('')";
    let allowed = patterns::names(&keys.spec.placement.priority_class_names, found);
    let condition = cel::not(&cel::any([format!("{found} == ''"), allowed]));
    vec![Statement::pod(condition, "spec.priorityClassName", &format!("strings.quote({found})"))]
}

pub(super) fn pod_anti_affinity(_: Keys) -> Vec<Statement> {
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
