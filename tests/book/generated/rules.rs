//! A page for each rule, and the page that lists them.

use std::{fmt::Write, fs};

use sandgate_engine::{
    policy::FLOOR_RULES,
    rules::{self, Framework, Group, Rule},
};
use serde_json::Value;

use super::{Generated, NOTE, policy_reference};
use crate::pages::{root, terminal};

/// The only rule that denies nothing, and so has no Pod that violates it.
const ONLY_FILLS: &str = "env";
/// The only rule that fixes every Pod on create: nothing that a Pod can ask for violates it then.
const FIXED_ON_CREATE: &str = "node-affinity";

pub(super) fn pages() -> Vec<Generated> {
    let mut pages = vec![Generated::new("docs/rules.md", list())];
    pages.extend(
        rules::ALL.iter().map(|rule| Generated::new(format!("docs/rules/{}.md", rule.id), page(rule))),
    );
    pages
}

fn list() -> String {
    let mut text = format!(
        "# Rules\n\n{NOTE}Each line of a denial ends with the name of a rule. Its page says why the rule exists, shows a Pod \
         that violates it, and how to fix it. `sandgate explain RULE` prints the same, with the rule's level and key in \
         your policy. All rules are checked for all containers of a Pod: init containers, sidecars, app containers and \
         ephemeral containers.\n\n**Floor** rules cannot be lowered below the policy's mode; the others can, by \
         `spec.rules`.\n"
    );
    for group in Group::ALL {
        let _ = write!(
            text,
            "\n## {}\n\n| rule | what must hold | fills | floor |\n|---|---|---|---|\n",
            group.as_str()
        );
        for rule in group.rules() {
            let _ = writeln!(
                text,
                "| [`{}`](rules/{}.md) | {} | {} | {} |",
                rule.id,
                rule.id,
                rule.title,
                if rule.fill.is_some() { "yes" } else { "" },
                if FLOOR_RULES.contains(&rule.id) { "yes" } else { "" },
            );
        }
    }
    text
}

fn page(rule: &Rule) -> String {
    let Rule { id, title, why, setting, fill, .. } = rule;
    let mut text = format!("# {id}\n\n{NOTE}{title}\n\n## Why\n\n{}\n", sentence(why));
    if let Some(example) = Example::of(id) {
        text += &example.section();
    }
    text += "\n## How to fix it\n\n";
    text += if *id == ONLY_FILLS {
        "Nothing is denied. Set a variable in the Pod to keep your own value.\n"
    } else if *id == FIXED_ON_CREATE {
        "On create there is nothing to do: what is missing is filled, whatever the Pod asks for. An update, or another \
         webhook, that takes it away is denied.\n"
    } else if fill.is_some() {
        "Leave the field out, and it is filled on create. Or set the value that the message asks for.\n"
    } else {
        "Make the change that the message names after the colon.\n"
    };
    if let Some(fix) = Example::of(id).and_then(|example| example.fix()) {
        let _ = write!(text, "\n`sandgate fix` makes the smallest change of the file:\n\n{fix}");
    }
    text += "\n## Policy\n\n";
    if setting.is_empty() {
        text += "No key changes what the rule demands.";
    } else {
        let link = policy_reference::link(setting);
        let _ = write!(text, "The rule follows the key [`{setting}`]({link}).");
    }
    text += if FLOOR_RULES.contains(id) {
        " The rule belongs to the floor: `spec.rules` cannot lower it below the policy's mode.\n"
    } else if *id == ONLY_FILLS {
        " The rule has no violations, so its level changes nothing.\n"
    } else {
        " `spec.rules` can lower the rule to `warn`, `audit` or `off`.\n"
    };
    text + &references(rule)
}

fn sentence(why: &str) -> String {
    why.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn references(rule: &Rule) -> String {
    let mut text = "\n## References\n\n".to_owned();
    for framework in Framework::ALL {
        let controls: Vec<&str> = rule.controls(framework).collect();
        if !controls.is_empty() {
            let _ = writeln!(text, "- {}, {}", framework.as_str(), controls.join("; "));
        }
    }
    for reference in rule.references {
        if reference.starts_with("CVE-") {
            let _ = writeln!(text, "- [{reference}](https://www.cve.org/CVERecord?id={reference})");
        } else if reference.starts_with("https://") {
            let _ = writeln!(text, "- <{reference}>");
        }
    }
    text
}

/// A Pod of `examples/denied` that violates one rule.
struct Example {
    id: String,
    pod: String,
    policy: Option<String>,
}

impl Example {
    fn of(id: &str) -> Option<Self> {
        let read = |path: String| fs::read_to_string(root().join(path)).ok();
        Some(Self {
            id: id.into(),
            pod: read(format!("examples/denied/{id}.yaml"))?,
            policy: read(format!("examples/denied/policies/{id}.yaml")),
        })
    }

    fn command(&self, subcommand: &str) -> String {
        let policy = match &self.policy {
            Some(_) => format!(" --policy examples/denied/policies/{}.yaml", self.id),
            None => String::new(),
        };
        format!("sandgate {subcommand}{policy} examples/denied/{}.yaml", self.id)
    }

    fn section(&self) -> String {
        let command = self.command("check");
        let mut text = format!("\n## A Pod that is denied\n\n```yaml\n{}```\n\n", self.pod);
        if let Some(policy) = &self.policy {
            let _ = write!(
                text,
                "The default policy does not ask for it. With this one:\n\n```yaml\n{policy}```\n\n"
            );
        }
        let _ = write!(text, "```console\n$ {command}\n{}```\n", terminal(&command, root()));
        text
    }

    /// What `sandgate fix` prints, if that is all that is needed.
    fn fix(&self) -> Option<String> {
        let command = self.command("fix");
        let diff = terminal(&command, root());
        let is_fixed = terminal(&format!("{command} > /dev/null && echo fixed"), root()).trim() == "fixed";
        is_fixed.then(|| format!("```console\n$ {command}\n{diff}```\n"))
    }
}

#[test]
fn each_example_violates_its_rule_and_no_other() {
    let mut wrong = Vec::new();
    for rule in rules::ALL {
        let Some(example) = Example::of(rule.id) else {
            let has_none = [ONLY_FILLS, FIXED_ON_CREATE].contains(&rule.id);
            assert!(has_none, "examples/denied has no {}.yaml", rule.id);
            continue;
        };
        let output = terminal(&example.command("check -o json"), root());
        let found: Value = serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"));
        let violated = violated(&found);
        if violated.is_empty() || violated.iter().any(|id| *id != rule.id) {
            wrong.push(format!("{}: {violated:?}", rule.id));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns the value of every key `rule` in the document.
fn violated(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(key, value)| match value {
                Value::String(rule) if key == "rule" => vec![rule.as_str()],
                value => violated(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(violated).collect(),
        _ => Vec::new(),
    }
}
