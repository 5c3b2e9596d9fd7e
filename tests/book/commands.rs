//! Commands that pages show and no test runs here, since they need a cluster or a registry: each subcommand, option, chart value,
//! make target and script that they name is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use sandgate_engine::policy::{PolicySet, Source};
use serde_json::Value;

use crate::pages::{Page, root, terminal};

/// A command of a page, as words.
struct Command {
    words: Vec<String>,
    place: String,
}

impl Command {
    fn option_names(&self) -> impl Iterator<Item = &str> {
        let name = |word: &'_ String| word.starts_with("--") && word.len() > 2;
        self.words.iter().filter(move |word| name(word)).map(|word| word.split('=').next().unwrap())
    }
}

#[test]
fn commands_of_sandgate_have_the_options_that_pages_show() {
    let mut help = Help::default();
    let mut wrong = BTreeSet::new();
    let mut checked = 0;
    for Command { words, place } in commands() {
        let is_of_kubectl = words.first().is_some_and(|word| word == "kubectl");
        let of_sandgate = words.iter().position(|word| is_sandgate(word));
        let Some(at) =
            of_sandgate.filter(|at| *at == 0 || *at == 1 && is_of_kubectl || words[at - 1] == "--")
        else {
            continue;
        };
        let command = Command { words: words[at + 1..].to_vec(), place };
        checked += 1;
        let known = help.of_subcommand(&command.words);
        for option in command.option_names().filter(|option| !known.contains(*option)) {
            wrong.insert(format!("{}: {option} in {}", command.place, command.words.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 200, "only {checked} commands were found");
}

#[test]
fn chart_values_that_pages_set_are_there() {
    let schema: Value =
        serde_json::from_str(&fs::read_to_string(root().join("charts/sandgate/values.schema.json")).unwrap())
            .unwrap();
    let mut wrong = BTreeSet::new();
    let mut checked = 0;
    for Command { words, place } in commands() {
        if words.first().is_none_or(|word| word != "helm") {
            continue;
        }
        for pair in words.windows(2).filter(|pair| pair[0].starts_with("--set")) {
            let key = pair[1].split('=').next().unwrap();
            checked += 1;
            if !has_value(&schema, &schema, &key.split('.').collect::<Vec<_>>()) {
                wrong.insert(format!("{place}: {key}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 10, "only {checked} values were found");
}

/// The chart has no default for either, so that an installation without them fails.
#[test]
fn installations_name_an_image_and_a_policy() {
    let mut installations = 0;
    for Command { words, place } in commands() {
        if words.len() < 3 || words[0] != "helm" || !words.contains(&"install".into()) {
            continue;
        }
        installations += 1;
        let text = words.join(" ");
        let has_values = text.contains("--values") || text.contains(" -f ");
        assert!(
            has_values || text.contains("image.repository=") && text.contains("policies."),
            "{place}: {text}"
        );
    }
    assert!(installations > 5, "only {installations} installations were found");
}

#[test]
fn make_targets_and_scripts_are_there() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let mut wrong = BTreeSet::new();
    for Command { words, place } in commands() {
        let Some(program) = words.iter().find(|word| !word.contains('=')) else { continue };
        let is_there = match &**program {
            "make" => words.iter().skip_while(|word| *word != "make").skip(1).all(|word| {
                let is_argument = word.contains('=') || !word.starts_with(char::is_lowercase);
                is_argument || makefile.contains(&format!("\n{word}: "))
            }),
            script if script.starts_with("scripts/") => root().join(script).exists(),
            _ => true,
        };
        if !is_there {
            wrong.insert(format!("{place}: {}", words.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn policies_of_the_trail_in_the_picture_load() {
    let source = fs::read_to_string(root().join("examples/generate_audit_trail.rs")).unwrap();
    let (_, rest) = source.split_once("const POLICIES: &str = \"").unwrap();
    let (policies, _) = rest.split_once("\";").unwrap();
    let source = Source { name: "policies".into(), text: policies.into() };
    let errors = PolicySet::from_sources(&[source]).err().map(|errors| format!("{:?}", errors.0));
    assert_eq!(errors, None);
}

/// The options of each subcommand, from its help.
#[derive(Default)]
struct Help(BTreeMap<Vec<String>, BTreeSet<String>>);

impl Help {
    /// Returns the options of the subcommand that the words begin with. Words that are no subcommand are arguments.
    fn of_subcommand(&mut self, words: &[String]) -> &BTreeSet<String> {
        let is_name =
            |word: &&String| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        let named: Vec<String> = words.iter().take(2).take_while(is_name).cloned().collect();
        let mut subcommand: Vec<String> = Vec::new();
        for word in named.into_iter().filter(|word| !word.starts_with('-')) {
            let mut longer = subcommand.clone();
            longer.push(word);
            if self.0.contains_key(&longer) || is_subcommand(&longer) {
                subcommand = longer;
            }
        }
        self.0.entry(subcommand).or_insert_with_key(|subcommand| {
            let text = terminal(&format!("sandgate {} --help", subcommand.join(" ")), root());
            let options = text.split_whitespace().filter_map(|word| word.strip_prefix("--"));
            let end =
                |name: &str| name.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(name.len());
            options.map(|name| format!("--{}", &name[..end(name)])).chain(["--version".into()]).collect()
        })
    }
}

fn is_subcommand(words: &[String]) -> bool {
    let (last, rest) = words.split_last().unwrap();
    let help = terminal(&format!("sandgate {} --help", rest.join(" ")), root());
    let commands = help.split_once("Commands:\n").map_or("", |(_, rest)| rest);
    commands
        .lines()
        .take_while(|line| line.starts_with("  "))
        .any(|line| line.split_whitespace().next() == Some(last))
}

fn is_sandgate(word: &str) -> bool {
    Path::new(word).file_name().is_some_and(|name| name == "sandgate")
}

/// Returns whether a values file may have this key.
fn has_value(schema: &Value, whole: &Value, path: &[&str]) -> bool {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => whole.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    let Some((key, rest)) = path.split_first() else { return true };
    let branches = ["allOf", "anyOf", "oneOf"].iter().filter_map(|name| schema[name].as_array()).flatten();
    let branches = branches.chain(["then", "else"].iter().map(|name| &schema[name]));
    let patterns = schema["patternProperties"].as_object().into_iter().flat_map(|patterns| patterns.values());
    let named = schema["properties"].get(key.split('[').next().unwrap());
    named.into_iter().chain(patterns).any(|below| has_value(below, whole, rest))
        || branches.filter(|branch| branch.is_object()).any(|branch| has_value(branch, whole, path))
}

/// Returns the commands of all blocks and those between backticks.
fn commands() -> Vec<Command> {
    let mut commands = Vec::new();
    for page in Page::all() {
        let place = page.path.display().to_string();
        for (info, block) in page.blocks() {
            let lines = block.replace("\\\n", " ");
            let is_shell = ["sh", "bash"].contains(&&*info);
            let shown = lines.lines().filter_map(|line| line.strip_prefix("$ ").or(is_shell.then_some(line)));
            commands.extend(shown.flat_map(|line| split(line, &place)));
        }
        commands.extend(page.code().iter().flat_map(|code| split(code, &place)));
    }
    commands
}

/// Splits a line of a shell into its commands: at pipes and the like, outside of quotes, without a comment.
fn split(line: &str, place: &str) -> Vec<Command> {
    let mut commands = vec![vec![String::new()]];
    let mut quote = None;
    for letter in line.chars() {
        let words = commands.last_mut().unwrap();
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None, '#') if words.last().unwrap().is_empty() => break,
            (None, '|' | ';' | '&') => commands.push(vec![String::new()]),
            (None, ' ') => words.push(String::new()),
            _ => words.last_mut().unwrap().push(letter),
        }
    }
    let clean = |words: Vec<String>| words.into_iter().filter(|word| !word.is_empty()).collect();
    commands.into_iter().map(|words| Command { words: clean(words), place: place.into() }).collect()
}
