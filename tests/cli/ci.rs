//! The commands for CI and the hook for pre-commit, as docs/ci.md has them.

use serde_json::Value;

use crate::{Folder, HOSTILE_POD, PLAIN_POD, policy};

const PAGE: &str = include_str!("../../docs/ci.md");
const HOOKS: &str = include_str!("../../.pre-commit-hooks.yaml");

/// A repository with a manifest, a policy, and files that are no manifests.
fn repository(manifest: &str) -> Folder {
    Folder::with(&[
        ("manifests/pod.yaml", manifest),
        ("policy.yaml", &policy("workflows", "enforce")),
        ("manifests/values.yaml", "image: x\n"),
    ])
}

/// Returns the commands that the page gives to a CI system, each with its words.
fn commands() -> Vec<Vec<&'static str>> {
    let steps = PAGE.lines().map(str::trim_start);
    let commands = steps.filter_map(|line| {
        let command = line.strip_prefix("- run: ").or_else(|| line.strip_prefix("script: "))?;
        command.split(" > ").next()?.strip_prefix("sandgate ")
    });
    commands.map(|command| command.split_whitespace().collect()).collect()
}

#[test]
fn each_command_of_the_page_finds_what_would_be_denied() {
    let commands = commands();
    assert_eq!(commands.len(), 2, "GitHub Actions and GitLab CI: {commands:?}");
    for command in commands {
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
