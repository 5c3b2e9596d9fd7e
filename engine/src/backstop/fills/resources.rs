//! Requests and limits: equal shares of what the Pod's budget leaves, as texts of quantities.
//!
//! A container that requests more than an equal share takes it from what the others share. The engine repeats that until it
//! ends; CEL has no loop, so here it is done twice, and what does not fit then is denied by the budget.

use crate::{
    cel,
    policy::{Resource, Resources},
};

/// Returns the entries of a map of amounts of the container `c`: what was computed for it, where it lacks one.
pub(super) fn entries(kind: &str) -> String {
    let all = Resource::ALL
        .map(|resource| format!("?'{}': variables.{kind}_{}[?c.name]", resource.as_str(), suffix(resource)));
    format!("{{{}}}", all.join(", "))
}

fn suffix(resource: Resource) -> &'static str {
    match resource {
        Resource::Cpu => "cpu",
        Resource::Memory => "memory",
        Resource::EphemeralStorage => "disk",
    }
}

/// The unit of filled shares: how many make one of the quantity's, and its suffix.
fn unit(resource: Resource) -> (f64, &'static str) {
    match resource {
        Resource::Cpu => (1000.0, "m"),
        Resource::Memory | Resource::EphemeralStorage => (1.0 / 1_048_576.0, "Mi"),
    }
}

/// Returns the variables of all resources: maps from the name of a container to the text of a quantity.
pub(super) fn variables(resources: &Resources) -> Vec<(String, String)> {
    Resource::ALL.into_iter().flat_map(|resource| of_resource(resources, resource)).collect()
}

fn of_resource(resources: &Resources, resource: Resource) -> Vec<(String, String)> {
    let (name, of) = (resource.as_str(), suffix(resource));
    let (units, unit) = unit(resource);
    let budget = cel::text(&resources.pod.limits.of(resource).text);
    let ceiling = cel::text(&resources.container.limits.of(resource).text);
    let wanted = cel::text(&resources.container.requests.of(resource).text);
    let number = |text: &str| format!("quantity({text}).asApproximateFloat()");
    let written = |kind: &str, container: &str| format!("{container}.?resources.?{kind}[?'{name}']");
    let amount = |kind: &str, container: &str| number(&format!("{}.orValue('0')", written(kind, container)));
    let is_open = |kind: &str, container: &str| format!("!{}.hasValue()", written(kind, container));
    // In whole units; a share is cut, and a sum of decimal fractions may be a little short.
    let in_units = |value: &str| format!("string(int({value} * {units:?} + 0.000001)) + '{unit}'");

    let mut variables = Vec::new();
    let mut add =
        |variable: &str, expression: String| variables.push((format!("{variable}_{of}"), expression));
    // The containers share a limit of the Pod's own.
    add(
        "open",
        format!(
            "object.spec.?resources.?limits[?'{name}'].hasValue() ? [] : variables.running.filter(c, {})",
            is_open("limits", "c")
        ),
    );
    add("left", format!("{} - variables.running.map(c, {}).sum()", number(&budget), amount("limits", "c")));
    let equal =
        |left: &str, open: &str| format!("({open}.size() == 0 ? 0.0 : {left} / double({open}.size()))");
    add("first", equal(&format!("variables.left_{of}"), &format!("variables.open_{of}")));
    let larger = format!("variables.open_{of}.filter(c, {} > variables.first_{of})", amount("requests", "c"));
    let smaller =
        format!("variables.open_{of}.filter(c, {} <= variables.first_{of})", amount("requests", "c"));
    let rest = format!("(variables.left_{of} - {larger}.map(c, {}).sum())", amount("requests", "c"));
    add("second", equal(&rest, &smaller));
    let share = in_units(&format!("variables.second_{of}"));
    let limit = greatest(&[
        least(&[share, ceiling.clone()]),
        least(&[format!("{}.orValue('0')", written("requests", "c")), ceiling.clone()]),
    ]);
    add(
        "shares",
        format!(
            "variables.second_{of} < 0.0 ? {{}} : variables.open_{of}.transformMapEntry(i, c, {{c.name: {limit}}})"
        ),
    );

    // An init container runs alone but for the sidecars before it.
    let before = "variables.inits.filter(s, s.?restartPolicy.orValue('') == 'Always' && \
                  variables.inits.map(n, n.name).indexOf(s.name) < variables.inits.map(n, n.name).indexOf(c.name))";
    let of_sidecar =
        number(&format!("variables.shares_{of}[?s.name].orValue({}.orValue('0'))", written("limits", "s")));
    let alone = in_units(&format!("({} - {before}.map(s, {of_sidecar}).sum())", number(&budget)));
    let alone = greatest(&[
        least(&[alone, ceiling.clone()]),
        least(&[format!("{}.orValue('0')", written("requests", "c")), ceiling]),
    ]);
    let is_init = "c.?restartPolicy.orValue('') != 'Always'";
    add(
        "limits",
        format!(
            "object.spec.?resources.?limits[?'{name}'].hasValue() ? {{}} : variables.containers.transformMapEntry(i, c, \
         variables.shares_{of}[?c.name].hasValue() || (variables.inits.exists(n, n.name == c.name) && {is_init} && {}), \
         {{c.name: variables.shares_{of}[?c.name].orValue({alone})}})",
            is_open("limits", "c")
        ),
    );

    // A request follows the policy, below the limit and below what the Pod's request leaves.
    let bound = match resource {
        Resource::Cpu => Some(&resources.pod.requests.cpu),
        Resource::Memory => Some(&resources.pod.requests.memory),
        Resource::EphemeralStorage => None,
    };
    let limit =
        format!("variables.limits_{of}[?c.name].orValue({}.orValue({wanted}))", written("limits", "c"));
    let mut bounds = vec![wanted.clone(), limit];
    if let Some(bound) = bound {
        let bound =
            format!("object.spec.?resources.?requests[?'{name}'].orValue({})", cel::text(&bound.text));
        add(
            "asked",
            format!(
                "[0.0, {} - variables.running.map(c, {}).sum()].max() / \
             double([1, variables.running.filter(c, {}).size()].max())",
                number(&bound),
                amount("requests", "c"),
                is_open("requests", "c")
            ),
        );
        let of_sidecar =
            format!("({} ? variables.asked_{of} : {})", is_open("requests", "s"), amount("requests", "s"));
        let alone = format!("[0.0, {} - {before}.map(s, {of_sidecar}).sum()].max()", number(&bound));
        bounds.push(format!(
            "(variables.inits.exists(n, n.name == c.name) && {is_init} ? {} : {})",
            in_units(&alone),
            in_units(&format!("variables.asked_{of}"))
        ));
    }
    add(
        "requests",
        format!(
            "object.spec.?resources.?limits[?'{name}'].hasValue() ? {{}} : variables.containers.transformMapEntry(i, c, {}, \
         {{c.name: {}}})",
            is_open("requests", "c"),
            least(&bounds)
        ),
    );
    variables
}

/// Returns the least of several texts of quantities.
fn least(texts: &[String]) -> String {
    chosen(texts, "<=")
}

/// Returns the greatest of several texts of quantities.
fn greatest(texts: &[String]) -> String {
    chosen(texts, ">=")
}

fn chosen(texts: &[String], comparison: &str) -> String {
    format!(
        "[[{}]].map(l, l.filter(x, l.all(y, quantity(x).compareTo(quantity(y)) {comparison} 0))[0])[0]",
        texts.join(", ")
    )
}
