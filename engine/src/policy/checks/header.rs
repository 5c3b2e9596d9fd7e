//! Checks of the keys that concern the policy as a whole, and of the set of policies.

use super::{
    super::{
        Policy,
        document::Level,
        load::{Loaded, Problem},
        pattern::Pattern,
        rule_levels::FLOOR_RULES,
        select::{LabelOperator, LabelSelector},
    },
    Problems, is_dns_label, is_label_key, is_label_value,
};

/// The groups of so many users that an exemption or a profile for them is one for everybody.
pub(super) const EVERYBODY: [&str; 4] =
    ["system:authenticated", "system:unauthenticated", "system:serviceaccounts", "system:masters"];
/// The longest text that ends a denial, in bytes.
const MAX_HELP_BYTES: usize = 500;

pub(super) fn check(policy: &Policy, rules: &[&str], findings: &mut Problems) {
    let header = &policy.header;
    for (index, namespace) in header.namespaces.iter().enumerate() {
        check_namespace(namespace, index, findings);
    }
    if let Some(index) = header.namespaces.repeated() {
        findings.add(format!("namespaces[{index}]"), "is repeated: remove it");
    }
    patterns_of_one_policy(policy, findings);
    if let Some(selector) = &header.namespace_selector {
        if !header.namespaces.is_empty() {
            findings.add(
                "namespaceSelector",
                "stands beside namespaces: use one of the two, or one policy for each",
            );
        }
        check_selector(selector, findings);
    }
    for (rule, level) in &header.rules {
        let path = format!("rules.{rule}");
        if !rules.contains(&rule.as_str()) {
            findings.add(path, format!("{rule:?} is no rule: see `sandgate explain` for the rules"));
        } else if *level != Level::Enforce && FLOOR_RULES.contains(&rule.as_str()) {
            let problem = format!(
                "{} would let a Pod leave the sandbox: the rule {rule} stays at the mode, so remove this entry",
                level.as_str()
            );
            findings.add(path, problem);
        }
    }
    for (key, names) in [("exempt.users", &header.exempt.users), ("exempt.groups", &header.exempt.groups)] {
        for (index, name) in names.iter().enumerate() {
            let path = format!("{key}[{index}]");
            if name.is_empty() || name.contains('*') || name.chars().any(char::is_control) {
                findings.add(path, format!("{name:?} must be a name, exact and without '*'"));
            } else if EVERYBODY.contains(&name.as_str()) || name.starts_with("system:serviceaccounts:") {
                let problem = format!(
                    "{name:?} exempts everybody who can create Pods: name the users of a break-glass group"
                );
                findings.add(path, problem);
            }
        }
    }
    if header.help.len() > MAX_HELP_BYTES || header.help.chars().any(crate::text::is_unsafe_for_display) {
        findings.add("help", format!("must be one line of at most {MAX_HELP_BYTES} bytes"));
    }
}

fn check_namespace(namespace: &Pattern, index: usize, findings: &mut Problems) {
    let path = format!("namespaces[{index}]");
    let text = namespace.as_str();
    if namespace.is_anything() {
        return;
    }
    // A namespace can have this name if one that is as short as possible can.
    let possible = namespace.is_literal() && is_dns_label(text)
        || !namespace.is_literal()
            && text.len() <= 63
            && text.chars().all(|c| c == '*' || c == '-' || c.is_ascii_lowercase() || c.is_ascii_digit())
            && !text.starts_with('-')
            && !text.ends_with('-');
    if !possible {
        findings.add(path, format!("{text:?} can match no namespace: names have a-z, 0-9 and '-' only"));
    } else if text == "kube-system" {
        findings.add(path, "kube-system must never be guarded: nothing of the cluster could start without sandgate. Remove it");
    } else if !namespace.is_literal() && meets_kubernetes(namespace) {
        let problem =
            format!("{text:?} can match a namespace of Kubernetes (kube-*): write a longer beginning");
        findings.add(path, problem);
    }
}

fn meets_kubernetes(namespace: &Pattern) -> bool {
    Pattern::try_from("kube-*".to_string()).is_ok_and(|kubernetes| namespace.meets(&kubernetes))
}

fn check_selector(selector: &LabelSelector, findings: &mut Problems) {
    let requirements = selector.requirements();
    if requirements.is_empty() {
        findings.add(
            "namespaceSelector",
            "selects every namespace: use namespaces: [\"*\"], which leaves out kube-*",
        );
    }
    for requirement in &requirements {
        if !is_label_key(&requirement.key) || !requirement.values.iter().all(|value| is_label_value(value)) {
            findings.add(
                "namespaceSelector",
                format!("{:?} or a value of it is no valid label", requirement.key),
            );
        }
        let takes_values = matches!(requirement.operator, LabelOperator::In | LabelOperator::NotIn);
        if takes_values == requirement.values.is_empty() {
            let wanted = if takes_values { "needs at least one value" } else { "takes no values" };
            findings.add("namespaceSelector", format!("the operator of {:?} {wanted}", requirement.key));
        }
    }
    let excludes = |operator| matches!(operator, LabelOperator::NotIn | LabelOperator::DoesNotExist);
    if !requirements.is_empty() && requirements.iter().all(|requirement| excludes(requirement.operator)) {
        let problem =
            "selects every namespace without the label, kube-system too: add a label that must be there";
        findings.add("namespaceSelector", problem);
    }
    if !selector.is_satisfiable() {
        findings.add("namespaceSelector", "can match no namespace: its requirements contradict each other");
    }
}

/// Returns what is wrong between the policies of a set.
pub(in super::super) fn errors_of_set(set: &[Loaded]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, one) in set.iter().enumerate() {
        candidate(one, set, &mut problems);
        let header = &one.policy.header;
        let used = set.iter().any(|other| {
            other.policy.candidate() == Some(&one.policy.name)
                || other.extends.as_deref() == Some(&one.policy.name)
        });
        if header.is_for_no_namespace() && !used {
            let text =
                "must name at least one namespace: no policy extends this one or has it as its candidate";
            problems.push(Problem::new("spec.namespaces", text, one.tree.place_of("namespaces")));
        }
        for other in &set[..index] {
            overlap(one, other, &mut problems);
        }
        let several =
            header.namespace_selector.as_ref().is_some_and(|selector| selector.requirements().len() > 1);
        if several && set.iter().any(|other| other.policy.header.is_for_rest()) {
            let text = "has several requirements beside a policy for \"*\", which cannot leave out what they select \
                        together: select by one label";
            problems.push(Problem::new(
                "spec.namespaceSelector",
                text,
                one.tree.place_of("namespaceSelector"),
            ));
        }
    }
    problems
}

fn candidate(one: &Loaded, set: &[Loaded], problems: &mut Vec<Problem>) {
    let Some(name) = one.policy.candidate() else { return };
    let mut fail = |text: String| {
        problems.push(Problem::new("spec.candidate", text, one.tree.place_of("candidate")));
    };
    let Some(candidate) = set.iter().find(|other| other.policy.name == name) else {
        return fail(format!("{name:?} is no policy of the set"));
    };
    if name == one.policy.name {
        return fail(format!("{name:?} is this policy itself: name another one"));
    }
    if !candidate.policy.header.is_for_no_namespace() {
        return fail(format!("{name:?} has namespaces of its own: set namespaces: [] there"));
    }
    if candidate.policy.candidate().is_some() {
        fail(format!("{name:?} has a candidate of its own: remove one of the two"));
    }
}

fn overlap(one: &Loaded, other: &Loaded, problems: &mut Vec<Problem>) {
    let (header, earlier) = (&one.policy.header, &other.policy.header);
    let whose = format!("the policy {:?} of {}", other.policy.name, other.name_place.file);
    for (index, namespace) in header.namespaces.iter().enumerate() {
        let same_kind = |candidate: &&Pattern| {
            candidate.is_literal() == namespace.is_literal()
                && candidate.is_anything() == namespace.is_anything()
        };
        let Some(met) =
            earlier.namespaces.iter().filter(same_kind).find(|candidate| candidate.meets(namespace))
        else {
            continue;
        };
        let path = format!("namespaces[{index}]");
        let text = if namespace.is_literal() || namespace.is_anything() {
            format!("namespace {:?} already has {whose}; a namespace has one policy", namespace.as_str())
        } else {
            format!("{:?} can match the same namespace as {:?} of {whose}", namespace.as_str(), met.as_str())
        };
        problems.push(Problem::new(&format!("spec.{path}"), text, one.tree.place_of(&path)));
    }
    if let (Some(selector), Some(theirs)) = (&header.namespace_selector, &earlier.namespace_selector)
        && selector.meets(theirs)
    {
        let text =
            format!("can select the same namespace as that of {whose}: let both require values of one label");
        problems.push(Problem::new("spec.namespaceSelector", text, one.tree.place_of("namespaceSelector")));
    }
}

/// Reports patterns of one policy that meet each other: the lookup needs each name to fit one of them.
fn patterns_of_one_policy(policy: &Policy, findings: &mut Problems) {
    let patterns: Vec<(usize, &Pattern)> =
        policy.header.namespaces.iter().enumerate().filter(|(_, name)| !name.is_literal()).collect();
    for (position, (index, pattern)) in patterns.iter().enumerate() {
        let met = patterns[..position].iter().find(|(_, other)| {
            !other.is_anything() && !pattern.is_anything() && other.meets(pattern) && other != pattern
        });
        if let Some((_, other)) = met {
            let problem =
                format!("{:?} can match the same namespace as {:?}", pattern.as_str(), other.as_str());
            findings.add(format!("namespaces[{index}]"), problem);
        }
    }
}
