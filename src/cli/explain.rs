//! `sandgate explain`: what the rules are, why, and what sets them.

use std::{collections::BTreeMap, fmt::Write};

use clap::Args;
use serde::Serialize;

use super::{
    CliError, PolicyArgs, Status,
    format::TextOrJson,
    print,
    terminal::{FAINT, STRONG, paint, wrap},
};
use sandgate_engine::{
    policy::{FLOOR_RULES, Policy, PolicySet},
    rules::{self, Group, Rule},
    yaml,
};

/// List the rules, or explain one
///
/// Without RULE, lists all rules by subject. With one, shows what it requires, why, how to fix a Pod that violates it, which
/// key of the policy it follows, what it rests on, and its level and its key's value in the policies.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Id of the rule, which ends each message, such as run-as-user
    rule: Option<String>,

    #[command(flatten)]
    policy: PolicyArgs,

    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: TextOrJson,
}

pub(super) fn run(args: &ExplainArgs) -> Result<Status, CliError> {
    let policies = args.policy.load()?;
    let text = match (&args.rule, args.output) {
        (None, TextOrJson::Text) => table(),
        (None, TextOrJson::Json) => {
            json(&rules::ALL.iter().map(|rule| Explanation::of(rule)).collect::<Vec<_>>())
        }
        (Some(id), TextOrJson::Text) => explain(find(id)?, &policies),
        (Some(id), TextOrJson::Json) => json(&Explanation::of(find(id)?)),
    };
    print(&text)?;
    Ok(Status::Fine)
}

fn find(id: &str) -> Result<&'static Rule, CliError> {
    rules::by_id(id).ok_or_else(|| {
        let ids: Vec<&str> = rules::ALL.iter().map(|rule| rule.id).collect();
        let nearest = similar::get_close_matches(id, &ids, 3, 0.5);
        let advice = match nearest.as_slice() {
            [] => "\"sandgate explain\" lists them".into(),
            [one] => format!("did you mean {one}?"),
            [many @ .., last] => format!("did you mean {} or {last}?", many.join(", ")),
        };
        CliError::new(format_args!("unknown rule {id:?}; {advice}"))
    })
}

fn table() -> String {
    let column = rules::ALL.iter().map(|rule| rule.id.len()).max().unwrap_or_default() + 2;
    let mut table = String::new();
    for group in Group::ALL {
        let separator = if table.is_empty() { "" } else { "\n" };
        let _ = writeln!(table, "{separator}{}", paint(FAINT, group.as_str()));
        for Rule { id, title, .. } in group.rules() {
            let id = paint(STRONG, format_args!("{id:column$}"));
            let _ = writeln!(table, "{id}{}", wrap(title, column, column));
        }
    }
    table
}

fn explain(rule: &Rule, policies: &PolicySet) -> String {
    const INDENT: usize = 9;
    let Rule { id, title, why, setting, fill, references, group, .. } = rule;
    let fills = if fill.is_some() { "yes, what a Pod leaves open" } else { "no, it only checks" };
    let fix = if fill.is_some() {
        "leave the field out, and it is filled, or set the value that the message asks for; `sandgate fix FILE` leaves it out"
    } else {
        "do what the message asks for, after the colon; `sandgate fix FILE` does it where a field only grants something"
    };
    let mut text = format!("{}\n{}\n\n", paint(STRONG, id), wrap(title, 0, 0));
    let mut row = |label: &str, words: &str| {
        let _ = writeln!(
            text,
            "{}{}",
            paint(FAINT, format_args!("{label:INDENT$}")),
            wrap(words, INDENT, INDENT)
        );
    };
    row("Why", why);
    row("Fix", fix);
    row("Fills", fills);
    row("Subject", group.as_str());
    row(
        "Level",
        if FLOOR_RULES.contains(id) {
            "the policy's mode; spec.rules cannot lower it"
        } else {
            "the policy's mode, unless spec.rules has another for it"
        },
    );
    row("Policy", if setting.is_empty() { "no key changes what it demands" } else { setting });
    for reference in *references {
        row("See", reference);
    }
    for policy in policies.policies() {
        let head = format!("# policy {}, level {}", policy.name, policy.level_of(id).as_str());
        let _ = write!(text, "\n{}\n", paint(FAINT, head));
        if !setting.is_empty() {
            text += &in_force(policy, setting);
        }
    }
    text
}

/// Returns the setting of a rule in a policy, as it would be written in its file.
fn in_force(policy: &Policy, setting: &str) -> String {
    let file = serde_json::to_string(&BTreeMap::from([("spec", &policy.base().spec)]))
        .expect("a policy is always JSON");
    // The members keep their order in a tree.
    let nodes = yaml::read(&file);
    let Some(Ok(root)) = nodes.first() else { return String::new() };
    let Some(node) = yaml::steps(setting).try_fold(root, |node, key| node.child(key)) else {
        return String::new();
    };
    let value = serde_saphyr::to_string(node).unwrap_or_default();
    let is_block = matches!(&node.value, yaml::Value::Map(members) if !members.is_empty())
        || matches!(&node.value, yaml::Value::List(items) if !items.is_empty());
    let keys: Vec<&str> = yaml::steps(setting).collect();
    let mut text = String::new();
    for (depth, key) in keys.iter().enumerate() {
        let end = if depth + 1 < keys.len() || is_block { "\n" } else { " " };
        let _ = write!(text, "{}{key}:{end}", "  ".repeat(depth));
    }
    if !is_block {
        return text + &value;
    }
    for line in value.lines() {
        let _ = writeln!(text, "{}{line}", "  ".repeat(keys.len()));
    }
    text
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    id: &'static str,
    title: &'static str,
    why: &'static str,
    group: &'static str,
    setting: Option<&'static str>,
    fills: bool,
    /// Whether `spec.rules` cannot lower its level.
    is_floor: bool,
    references: &'static [&'static str],
    /// The controls of published frameworks among the references, in short.
    controls: Vec<String>,
}

impl Explanation {
    fn of(rule: &Rule) -> Self {
        let Rule { id, title, why, group, setting, fill, references, .. } = *rule;
        Self {
            id,
            title,
            why,
            group: group.as_str(),
            setting: (!setting.is_empty()).then_some(setting),
            fills: fill.is_some(),
            is_floor: FLOOR_RULES.contains(&id),
            references,
            controls: rule.control_labels(),
        }
    }
}

fn json(explanation: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(explanation).expect("writing JSON to memory cannot fail");
    text + "\n"
}
