//! The page that maps the controls of published frameworks to rules.

use std::{collections::BTreeMap, fmt::Write};

use sandgate_engine::rules::{self, Framework};

use super::{Generated, NOTE};

pub(super) fn page() -> Generated {
    let mut text = format!(
        "# Controls of published frameworks\n\n{NOTE}The rules that carry out a control, wholly or in part, for the Pods of \
         namespaces in mode `enforce` under the default policy. A policy that opens a key opens the control too. Controls \
         that are not about Pods are not listed: sandgate has no part in them. The mapping is the authors' own and has not been \
         certified. `sandgate explain -o json` has it as data.\n\n\
         One control asks for the opposite of what the default policy does: CIS 5.4.1 prefers Secrets as files over Secrets as \
         environment variables. The default policy allows Secrets as environment variables and not as files; \
         `secrets: {{volumes: [NAME], environment: []}}` turns that around.\n"
    );
    for framework in Framework::ALL {
        let (name, edition) = (framework.as_str(), framework.edition());
        let _ = write!(text, "\n## {name}\n\n{edition}\n\n| control | rules |\n|---|---|\n");
        let mut controls: BTreeMap<(Vec<u32>, &str), Vec<String>> = BTreeMap::new();
        for rule in rules::ALL {
            for control in rule.controls(framework) {
                let link = format!("[`{}`](rules/{}.md)", rule.id, rule.id);
                controls.entry((numbers(control), control)).or_default().push(link);
            }
        }
        for ((_, control), rules) in controls {
            let _ = writeln!(text, "| {control} | {} |", rules.join(", "));
        }
    }
    Generated::new("docs/controls.md", text)
}

/// Returns the numbers in front of the title, so that 5.2.10 comes behind 5.2.9.
fn numbers(control: &str) -> Vec<u32> {
    let (number, _) = control.split_once(':').unwrap_or_default();
    number.split(|character: char| !character.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}
