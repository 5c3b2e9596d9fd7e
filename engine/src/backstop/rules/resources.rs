//! Requests, limits, claims, and the budget of the Pod. Sums are doubles: whole bytes below 2^53 are exact, and
//! processor cores are compared with a tolerance of a billionth.

use super::{runtime::CLASS, volumes::is_within};
use crate::{
    cel::{self, Keys, Statement, patterns},
    policy::{Amount, Resource},
};

const THREE: &str = "['cpu', 'memory', 'ephemeral-storage']";
const KINDS: [&str; 2] = ["requests", "limits"];
const INIT: &str = "v.all.filter(c, c.k == 'init')";

/// Returns the most that the containers hold at one time, in CEL, of the double that `amount` gives for a container.
fn effective_total(amount: impl Fn(&str) -> String) -> String {
    let running = format!("v.all.filter(c, c.k == 'app' || c.k == 'sidecar').map(c, {}).sum()", amount("c"));
    // An init container runs beside the sidecars before it; names are different, so their order can be looked up.
    let names = "v.o.?spec.?initContainers.orValue([]).map(i, i.name)";
    let before = format!(
        "v.all.filter(w, w.k == 'sidecar' && {names}.indexOf(w.o.name) < {names}.indexOf(c.o.name)).map(w, {}).sum()",
        amount("w")
    );
    format!("([{running}] + {INIT}.map(c, {} + {before})).max()", amount("c"))
}

pub(super) fn resource_kinds(keys: Keys) -> Vec<Statement> {
    let extended = &keys.spec.resources.extended;
    let mut checks: Vec<Statement> = KINDS
        .into_iter()
        .map(|kind| {
            let amounts = format!("v.o.?spec.?resources.?{kind}.orValue({{}})");
            let found = format!("strings.quote({amounts}.filter(r, !(r in {THREE})).join(', '))");
            Statement::pod(
                format!("{amounts}.exists(r, !(r in {THREE}))"),
                &format!("spec.resources.{kind}"),
                &found,
            )
        })
        .collect();
    for kind in KINDS {
        let amounts = format!("c.o.?resources.?{kind}.orValue({{}})");
        let allowed = extended.iter().map(|(name, extended)| {
            format!(
                "(r == {} && {CLASS} in {} && !quantity({amounts}[r]).isLessThan(quantity('0')))",
                cel::text(name),
                cel::list(&extended.runtime_classes)
            )
        });
        let allowed = cel::all(["c.k != 'ephemeral'".into(), cel::any(allowed)]);
        let denied = cel::all([format!("!(r in {THREE})"), cel::not(&allowed)]);
        checks.push(Statement::container(
            format!("{amounts}.exists(r, {denied})"),
            &format!("resources.{kind}"),
            &format!("strings.quote({amounts}.filter(r, {denied}).map(r, r + '=' + string({amounts}[r])).join(', '))"),
        ));
    }
    for (name, extended) in extended {
        let amount = |container: &str| {
            let of = |kind: &str| {
                format!(
                    "quantity({container}.o.?resources.?{kind}[?{}].orValue('0')).asApproximateFloat()",
                    cel::text(name)
                )
            };
            format!("[0.0, {}, {}].max()", of("requests"), of("limits"))
        };
        let total = effective_total(amount);
        checks.push(Statement::pod(
            format!("{total} > {}.0", extended.max),
            "spec.containers",
            &format!("string({total}) + {}", cel::text(&format!(" {name} in total"))),
        ));
    }
    checks
}

pub(super) fn resource_claims(keys: Keys) -> Vec<Statement> {
    let names = &keys.spec.resources.resource_claim_templates;
    let claims = "v.o.?spec.?resourceClaims.orValue([])";
    let template = "l.?resourceClaimTemplateName";
    let allowed = cel::all([
        "!l.?resourceClaimName.hasValue()".into(),
        format!("{template}.hasValue()"),
        patterns::names(names, &format!("{template}.orValue('')")),
    ]);
    let denied = cel::not(&allowed);
    let found = format!("strings.quote({claims}.filter(l, {denied}).map(l, l.name).join(', '))");
    let mut checks =
        vec![Statement::pod(format!("{claims}.exists(l, {denied})"), "spec.resourceClaims", &found)];
    if names.is_empty() {
        checks.push(Statement::pod(
            "v.o.?spec.?resources.?claims.orValue([]).size() > 0".into(),
            "spec.resources.claims",
            "'set'",
        ));
        checks.push(Statement::container(
            "c.o.?resources.?claims.orValue([]).size() > 0".into(),
            "resources.claims",
            "'set'",
        ));
    }
    checks
}

pub(super) fn resource_limits(keys: Keys) -> Vec<Statement> {
    let mut checks = Vec::new();
    for resource in Resource::ALL {
        let (name, ceiling) = (resource.as_str(), keys.spec.resources.container.limits.of(resource));
        let of = |kind: &str| format!("c.o.?resources.?{kind}[?'{name}']");
        let (limit, request) = (of("limits"), of("requests"));
        let is_shared = format!("(!{limit}.hasValue() && {})", has_limit_of_pod(resource));
        let condition = cel::all([
            "c.k != 'ephemeral'".into(),
            cel::not(&cel::any([
                if resource == Resource::EphemeralStorage { "false".into() } else { is_shared },
                is_within(&limit, ceiling),
            ])),
        ]);
        checks.push(Statement::container(
            condition,
            &format!("resources.limits[{name}]"),
            &format!("string({limit}.orValue('unset'))"),
        ));
        let misfit = format!(
            "c.k != 'ephemeral' && {request}.hasValue() && (quantity({request}.value()).isLessThan(quantity('0')) || \
             quantity({request}.value()).isGreaterThan(quantity({})))",
            cel::text(&ceiling.text)
        );
        checks.push(Statement::container(
            misfit,
            &format!("resources.requests[{name}]"),
            &format!("string({request}.orValue('unset'))"),
        ));
    }
    checks
}

/// Returns the condition that the Pod as a whole has a limit of its own, which Kubernetes knows for cpu and memory.
fn has_limit_of_pod(resource: Resource) -> String {
    format!("v.o.?spec.?resources.?limits[?'{}'].hasValue()", resource.as_str())
}

pub(super) fn pod_budget(keys: Keys) -> Vec<Statement> {
    let mut checks = Vec::new();
    for resource in Resource::ALL {
        let (name, budget) = (resource.as_str(), keys.spec.resources.pod.limits.of(resource));
        for kind in KINDS {
            let amount = format!("v.o.?spec.?resources.?{kind}[?'{name}']");
            let condition = format!("{amount}.hasValue() && !{}", is_within(&amount, budget));
            let found = format!("string({amount}.orValue('unset'))");
            checks.push(Statement::pod(condition, &format!("spec.resources.{kind}[{name}]"), &found));
        }
        let total = effective_total(|container| {
            format!("quantity({container}.o.?resources.?limits[?'{name}'].orValue('0')).asApproximateFloat()")
        });
        let exceeds = format!("{total} > {}", ceiling(resource, budget));
        let condition = if resource == Resource::EphemeralStorage {
            exceeds
        } else {
            format!("!{} && {exceeds}", has_limit_of_pod(resource))
        };
        checks.push(Statement::pod(
            condition,
            "spec.containers",
            &format!("string({total}) + ' {name} in total'"),
        ));
    }
    checks
}

fn ceiling(resource: Resource, budget: &Amount) -> String {
    let budget = format!("quantity({}).asApproximateFloat()", cel::text(&budget.text));
    // Thousandths of a core have no exact double.
    if resource == Resource::Cpu { format!("{budget} + 0.000000001") } else { budget }
}
