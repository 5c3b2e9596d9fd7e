//! The result for people: one block for each owner, one line for each violation, the counts and the best change at the
//! end.

use std::fmt::Write;

use super::{
    tally::{OwnerTally, Tally, count_pods, describe},
    templates::TemplateFinding,
};
use crate::cli::terminal::{BAD, DOUBTFUL, FAINT, GOOD, PLACE, STRONG, count, fit, paint};
use sandgate_engine::scan::Class;

/// So many names of Pods are printed for each owner.
const MAX_NAMES: usize = 3;

pub(super) fn write(tally: &Tally) -> String {
    let mut out = String::new();
    for ((namespace, owner), pods) in &tally.owners {
        let place = paint(PLACE, format_args!("{} {namespace}/{}", owner.kind, owner.name));
        write_owner(&place, owner.kind == "Pod", pods, &mut out);
    }
    if tally.omitted > 0 {
        let _ = writeln!(out, "and {} of further owners\n", count_pods(tally.omitted));
    }
    write_templates(tally, &mut out);
    write_rules(tally, &mut out);
    write_summary(tally, &mut out);
    out
}

fn write_owner(place: &str, is_pod: bool, pods: &OwnerTally, out: &mut String) {
    let head = format!("{place}: {}, policy {}", pods.classes(), pods.policy);
    let number = if is_pod { String::new() } else { format!(", {}", count_pods(pods.pods)) };
    let _ = writeln!(out, "{}", fit(head + &number, 0, 2));
    for violation in &pods.violations {
        let some = if violation.pods < pods.pods {
            format!(" [{}]", count_pods(violation.pods))
        } else {
            String::new()
        };
        let _ = writeln!(out, "  {} {}{some}", paint(BAD, "deny"), fit(violation.sentence(), 7, 7));
    }
    if !pods.filled.is_empty() {
        let rules = pods.filled.iter().copied().collect::<Vec<_>>().join(", ");
        let _ = writeln!(out, "  {} {}", paint(DOUBTFUL, "fill"), fit(rules, 7, 7));
    }
    if !is_pod {
        let shown: Vec<&str> = pods.names.iter().take(MAX_NAMES).map(String::as_str).collect();
        let rest = pods.pods - shown.len() as u64;
        let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
        let names = fit(format!("{}{more}", shown.join(", ")), 7, 7);
        let _ = writeln!(out, "  {} {names}", paint(FAINT, "pods"));
    }
    out.push('\n');
}

fn write_templates(tally: &Tally, out: &mut String) {
    for finding in &tally.templates {
        let TemplateFinding { namespace, kind, name, policy, violations, .. } = finding;
        let place = paint(PLACE, format_args!("{kind} {namespace}/{name}"));
        let head = format!("{place}, template: {}, policy {policy}", finding.verdict());
        let _ = writeln!(out, "{}", fit(head, 0, 2));
        for violation in violations {
            let _ = writeln!(out, "  {} {}", paint(BAD, "deny"), fit(violation.sentence(), 7, 7));
        }
        out.push('\n');
    }
    if tally.templates_omitted > 0 {
        let _ = writeln!(out, "and {} further workloads\n", tally.templates_omitted);
    }
}

fn write_rules(tally: &Tally, out: &mut String) {
    if tally.rules.is_empty() {
        return;
    }
    let mut rules: Vec<_> = tally.rules.iter().collect();
    rules.sort_by_key(|(id, rule)| (std::cmp::Reverse((rule.denied, rule.pods)), *id));
    let width = rules.iter().map(|(id, _)| id.len()).max().unwrap_or_default();
    let _ = writeln!(
        out,
        "{}",
        paint(STRONG, format_args!("{:width$}  {:>8}  {:>8}", "RULE", "VIOLATE", "DENIED"))
    );
    for (id, rule) in rules {
        let _ = writeln!(out, "{id:width$}  {:>8}  {:>8}", rule.pods, rule.denied);
    }
    out.push('\n');
}

fn write_summary(tally: &Tally, out: &mut String) {
    let findings = tally.findings();
    if tally.checked() == 0 {
        // Nothing was looked at, which is not the same as nothing found.
        let _ = writeln!(out, "no Pods to check");
    } else if findings == 0 {
        let text = format!("no violations in {}", count_pods(tally.checked()));
        let _ = writeln!(out, "{}", paint(GOOD, text));
    } else {
        let verb = if findings == 1 { "violates its policy" } else { "violate their policy" };
        let text = format!("{findings} of {} {verb}", count_pods(tally.checked()));
        let classes = Class::ALL.into_iter().filter(|class| class.is_finding() && tally.of(*class) > 0);
        let classes: Vec<String> =
            classes.map(|class| format!("{} {}", tally.of(class), describe(class))).collect();
        let _ = writeln!(out, "{}", fit(format!("{}: {}", paint(BAD, text), classes.join(", ")), 0, 2));
    }
    if let Some(change) = tally.best_change() {
        let text = format!("the change that fixes most: {}", change.sentence(findings));
        let _ = writeln!(out, "{}", fit(text, 0, 2));
    }
    let found = tally.template_findings();
    if found > 0 {
        let all = count_workloads(tally.templates_looked_at());
        let text = format!("the templates of {found} of {all} violate the policy");
        let _ = writeln!(out, "{}", fit(paint(BAD, text), 0, 2));
    } else if tally.templates_checked > 0 {
        let text = format!("no violations in the templates of {}", count_workloads(tally.templates_checked));
        let _ = writeln!(out, "{}", fit(paint(GOOD, text), 0, 2));
    }
    for line in unchecked(tally) {
        let _ = writeln!(out, "{}", fit(format!("not checked: {line}"), 0, 2));
    }
}

/// Returns a line for each reason not to check Pods or workloads.
pub(super) fn unchecked(tally: &Tally) -> Vec<String> {
    let mut lines = Vec::new();
    if tally.of(Class::Ended) > 0 {
        lines.push(format!("{} that ended", count_pods(tally.of(Class::Ended))));
    }
    if tally.of(Class::Static) > 0 {
        let number = count_pods(tally.of(Class::Static));
        lines.push(format!("{number} that a node runs from a file: {}", tally.statics.join(", ")));
    }
    if tally.no_policy + tally.templates_no_policy > 0 {
        let names: Vec<&str> = tally.no_policy_namespaces.iter().map(String::as_str).collect();
        let mut kinds = Vec::new();
        if tally.no_policy > 0 {
            kinds.push(count_pods(tally.no_policy));
        }
        if tally.templates_no_policy > 0 {
            kinds.push(count_workloads(tally.templates_no_policy));
        }
        lines.push(format!("{} in namespaces without a policy: {}", kinds.join(" and "), names.join(", ")));
    }
    lines.extend(tally.unchecked_templates.iter().cloned());
    let more = tally.templates_unchecked - tally.unchecked_templates.len() as u64;
    if more > 0 {
        lines.push(format!("{} more, wholly or in part", count_workloads(more)));
    }
    lines.extend(
        tally.kinds_of_cluster.iter().map(|kind| {
            format!("objects of kind {kind}: they are in no namespace, so no policy covers them")
        }),
    );
    lines
}

/// `1 workload`, `2 workloads`.
fn count_workloads(workloads: u64) -> String {
    count(workloads, "workload")
}
