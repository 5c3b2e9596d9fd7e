//! A page for each preset, from the comment that it begins with, and the page that lists them.

use std::fmt::Write;

use sandgate_engine::policy::PRESETS;

use super::{Generated, NOTE};

/// What the comment of a preset has, and the heading on its page.
const PARTS: [(&str, &str); 4] = [
    ("Opens", "What it opens"),
    ("Reached by", "Who can reach that"),
    ("Set in the engine", "What to set in the engine"),
    ("Will not work", "What does not work in the sandbox"),
];

pub(super) fn pages() -> Vec<Generated> {
    let mut pages = vec![Generated::new("docs/presets.md", list())];
    pages.extend(
        PRESETS
            .iter()
            .map(|(name, text)| Generated::new(format!("docs/presets/{name}.md"), page(name, text))),
    );
    pages
}

fn list() -> String {
    let mut text = format!(
        "# Presets\n\n{NOTE}A preset is a policy that comes with the program. It opens what one engine cannot do without: \
         paths, accounts, tokens. Everything else stays closed. Something else makes the Pods of these engines, and it \
         needs no change, or a small one that the page of the preset names.\n\nUse one by `extends`, and append to its \
         lists by `add`:\n\n```yaml\nspec:\n  extends: preset/argo-workflows\n  namespaces: [workflows]\n  add: {{volumes: \
         {{writablePaths: [/data]}}}}\n```\n\n`sandgate policy preset NAME` prints one. `sandgate policy diff` compares it \
         with your policy. Every preset gives its Pods the label `sandgate.dev/sandbox: \"true\"`, which the chart's \
         NetworkPolicies select then. A released preset never opens more in a later version. Tests hold each to Pods as the engine \
         makes them, and to hostile variants of them. Four engines themselves ran under their preset in gVisor, from \
         what a user submits to its result: Argo Workflows 4.0.5, Kueue 0.17.0 and Ray 2.60.0 with KubeRay 1.6.1 (`make \
         engines`), and Jobs (`make test`).\n\n| preset | for |\n|---|---|\n"
    );
    for (name, preset) in PRESETS {
        let _ = writeln!(text, "| [`{name}`](presets/{name}.md) | {} |", title(preset));
    }
    text
}

fn page(name: &str, preset: &str) -> String {
    let mut text = format!(
        "# {name}\n\n{NOTE}{}\n\n```yaml\nspec:\n  extends: preset/{name}\n  namespaces: [NAMESPACE]\n```\n",
        title(preset)
    );
    for (label, paragraph) in paragraphs(preset) {
        match PARTS.iter().find(|(part, _)| *part == label) {
            Some((_, heading)) => {
                let _ = write!(text, "\n## {heading}\n\n{}\n", sentence(&paragraph));
            }
            None => {
                let _ = write!(text, "\n{paragraph}\n");
            }
        }
    }
    let (_, policy) = preset.split_once("\napiVersion:").expect("a preset is a policy");
    let _ = write!(text, "\n## The policy\n\n```yaml\napiVersion:{policy}```\n");
    text
}

/// Returns the text with a capital at its beginning, unless it begins with the name of a setting.
fn sentence(text: &str) -> String {
    let first = text.split(' ').next().unwrap_or_default().trim_end_matches([',', ';', '.']);
    if !first.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-') {
        return text.into();
    }
    let (first, rest) = text.split_at(1);
    format!("{}{rest}", first.to_uppercase())
}

fn title(preset: &str) -> &str {
    preset.lines().next().unwrap_or_default().trim_start_matches(['#', ' '])
}

/// Returns the paragraphs of the comment behind its title: what stands in front of the colon, and the text. A line
/// that is indented goes on with the one before.
fn paragraphs(preset: &str) -> Vec<(&str, String)> {
    let mut paragraphs: Vec<(&str, String)> = Vec::new();
    let comment = preset.lines().skip(1).map_while(|line| line.strip_prefix('#'));
    for line in comment.filter(|line| !line.trim().is_empty()) {
        match line.strip_prefix("   ") {
            Some(rest) => {
                if let Some((_, paragraph)) = paragraphs.last_mut() {
                    paragraph.push(' ');
                    paragraph.push_str(rest.trim());
                }
            }
            None => paragraphs.push(match line.trim().split_once(": ") {
                Some((label, text)) if PARTS.iter().any(|(part, _)| *part == label) => (label, text.into()),
                _ => ("", line.trim().into()),
            }),
        }
    }
    paragraphs
}

#[test]
fn every_preset_begins_with_all_four_parts() {
    for (name, preset) in PRESETS {
        let labels: Vec<&str> = paragraphs(preset)
            .into_iter()
            .map(|(label, _)| label)
            .filter(|label| !label.is_empty())
            .collect();
        assert_eq!(labels, PARTS.map(|(label, _)| label), "{name}");
    }
}
