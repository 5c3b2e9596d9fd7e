//! `sandgate explain`: what the rules are, why, and what sets them.

use std::{collections::BTreeMap, fmt::Write};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{
    Failure, PolicyArgs, Status,
    manifest::{Node, Value, steps},
    print,
    terminal::{FAINT, STRONG, paint, wrap},
};
use sandgate_engine::{
    policy::{Policy, PolicySet},
    rules::{self, Rule},
};

/// List the rules, or explain one
///
/// Without RULE, lists all rules. With one, says what it demands, why, and which setting of the policy it follows.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The rule's id, as it stands in messages: run-as-user
    rule: Option<String>,

    #[command(flatten)]
    policy: PolicyArgs,

    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// As data
    Json,
}

pub(super) fn run(args: &ExplainArgs) -> Result<Status, Failure> {
    let policies = args.policy.load()?;
    let text = match (&args.rule, args.output) {
        (None, Format::Text) => table(),
        (None, Format::Json) => {
            json(&rules::ALL.iter().map(|rule| Explanation::of(rule)).collect::<Vec<_>>())
        }
        (Some(id), Format::Text) => explain(find(id)?, &policies),
        (Some(id), Format::Json) => json(&Explanation::of(find(id)?)),
    };
    print(&text)?;
    Ok(Status::Fine)
}

fn find(id: &str) -> Result<&'static Rule, Failure> {
    rules::by_id(id).ok_or_else(|| {
        let ids: Vec<&str> = rules::ALL.iter().map(|rule| rule.id).collect();
        let nearest = similar::get_close_matches(id, &ids, 3, 0.5);
        let advice = match nearest.as_slice() {
            [] => "\"sandgate explain\" lists them".into(),
            [one] => format!("did you mean {one}?"),
            [many @ .., last] => format!("did you mean {} or {last}?", many.join(", ")),
        };
        Failure::new(format_args!("no rule is called {id:?}; {advice}"))
    })
}

fn table() -> String {
    let column = rules::ALL.iter().map(|rule| rule.id.len()).max().unwrap_or_default() + 2;
    rules::ALL.iter().fold(String::new(), |mut table, Rule { id, title, .. }| {
        let _ =
            writeln!(table, "{}{}", paint(STRONG, format_args!("{id:column$}")), wrap(title, column, column));
        table
    })
}

fn explain(rule: &Rule, policies: &PolicySet) -> String {
    const INDENT: usize = 9;
    let Rule { id, title, why, setting, fill, .. } = rule;
    let fills = if fill.is_some() { "yes, what a Pod leaves open" } else { "no, it only checks" };
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
    row("Fills", fills);
    if setting.is_empty() {
        row("Policy", "has no setting for it");
        return text;
    }
    row("Policy", setting);
    for policy in policies.policies() {
        let _ = write!(
            text,
            "\n{}\n{}",
            paint(FAINT, format_args!("# policy {}", policy.name)),
            in_force(policy, setting)
        );
    }
    text
}

/// The setting of a rule in a policy, as it would be written in its file.
fn in_force(policy: &Policy, setting: &str) -> String {
    let file =
        serde_json::to_string(&BTreeMap::from([("spec", &policy.spec)])).expect("a policy is always JSON");
    let file: Node = serde_json::from_str(&file).expect("it was written a line above");
    let Some(value) = steps(setting).try_fold(&file, |node, key| node.child(key)) else {
        return String::new();
    };
    let nested =
        setting.rsplit('.').fold(value.clone(), |inner, key| Value::Map(vec![(key.into(), inner)]).into());
    serde_saphyr::to_string(&nested).unwrap_or_default()
}

#[derive(Serialize)]
struct Explanation {
    id: &'static str,
    title: &'static str,
    why: &'static str,
    setting: Option<&'static str>,
    fills: bool,
}

impl Explanation {
    fn of(rule: &Rule) -> Self {
        let Rule { id, title, why, setting, fill, .. } = *rule;
        Self { id, title, why, setting: (!setting.is_empty()).then_some(setting), fills: fill.is_some() }
    }
}

fn json(explanation: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(explanation).expect("writing JSON to memory cannot fail");
    text + "\n"
}
