//! The commands for CI and the hook for pre-commit, as docs/command-line.md has them.

use serde_json::Value;

use crate::{Folder, HOSTILE_POD, PLAIN_POD, policy};

const PAGE: &str = include_str!("../../docs/command-line.md");
const HOOKS: &str = include_str!("../../.pre-commit-hooks.yaml");

/// A repository with a manifest, a policy, and files that are no manifests.
fn repository(manifest: &str) -> Folder {
    Folder::with(&[
        ("app/pod.yaml", manifest),
        ("policy.yaml", &policy("workflows", "enforce")),
        ("values.yaml", "image: x\n"),
        ("charts/app/templates/pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: {{ .Name }}}\n"),
    ])
}

/// Returns the commands of a section, each with its words.
fn commands(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = PAGE.split_once(heading).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let commands =
        section.lines().map(|line| line.trim().trim_start_matches("- run: ").trim_start_matches("script: "));
    let commands = commands.filter_map(|line| line.strip_prefix("sandgate "));
    let words = |line: &'static str| {
        let line = line.split(" > ").next().unwrap_or_default();
        line.split_whitespace().map(|word| word.trim_matches('"')).collect()
    };
    commands.map(words).collect()
}

#[test]
fn each_command_of_the_page_finds_what_would_be_denied() {
    let commands = commands("## Check in CI");
    assert_eq!(commands.len(), 7, "{commands:?}");
    for mut command in commands {
        // The templates of a chart are no YAML: they are left out where the page leaves them out.
        if !command.contains(&"--exclude") {
            command.extend(["--exclude", "charts/**"]);
        }
        let denied = repository(HOSTILE_POD).run(&command);
        assert_eq!(denied.status, 1, "{command:?}: {}{}", denied.stdout, denied.stderr);
        assert!(denied.stdout.contains("privileged"), "{command:?}: {}", denied.stdout);
        let fine = repository(PLAIN_POD).run(&command);
        assert_eq!(fine.status, 0, "{command:?}: {}{}", fine.stdout, fine.stderr);
    }
}

#[test]
fn the_hook_of_pre_commit_checks_the_folder() {
    let hooks: Value = serde_saphyr::from_str(HOOKS).unwrap();
    let hook = &hooks[0];
    assert_eq!((&hook["id"], &hook["pass_filenames"]), (&"sandgate-check".into(), &false.into()));
    let words = hook["entry"].as_str().unwrap().split_whitespace();
    let mut command: Vec<&str> = words.skip(1).collect();
    command.extend(["--policy", "policy.yaml"]);
    command.extend(hook["args"].as_array().unwrap().iter().filter_map(Value::as_str));
    let repository = |manifest| {
        Folder::with(&[
            ("pod.yaml", manifest),
            ("policy.yaml", &policy("workflows", "enforce")),
            ("values.yaml", "a: b\n"),
        ])
    };
    assert_eq!(repository(HOSTILE_POD).run(&command).status, 1);
    let fine = repository(PLAIN_POD).run(&command);
    assert_eq!(fine.status, 0, "{}{}", fine.stdout, fine.stderr);
}
