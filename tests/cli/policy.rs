//! `sandgate policy`.

use serde_json::Value;

use crate::{Folder, policy, sandgate, sandgate_with};

#[test]
fn what_is_shown_is_a_policy_of_the_same_content() {
    let shown = sandgate(&["policy", "show"]).fine();
    let hash = shown.lines().next().unwrap().strip_prefix("# hash ").unwrap().to_string();
    let line = sandgate_with(&["policy", "validate", "-"], shown).fine();
    assert_eq!(line, format!("ok workflow-runner: namespaces workflows; mode enforce; hash {hash}\n"));
}

#[test]
fn every_default_is_shown() {
    let folder = Folder::with(&[("p/a.yaml", &policy("a", "audit")), ("p/b.yml", &policy("b", "warn"))]);
    let shown = folder.run(&["policy", "show", "--policy", "p"]).fine();
    assert!(shown.contains("\n  mode: audit\n") && shown.contains("\n---\n# hash "), "{shown}");
    assert_eq!(shown.matches("readOnlyRootFilesystem: true").count(), 2);
    let lines = folder.run_with(&["policy", "validate", "-"], shown).fine();
    assert_eq!(lines.lines().count(), 2);
}

#[test]
fn everything_that_is_wrong_is_said_with_file_line_and_path() {
    let wrong = "\
apiVersion: sandgate.dev/v1beta1
kind: SandboxPolicy
metadata: {name: a}
spec:
  namespaces: [workflows]
  security:
    runAsUser: {default: 5, min: 10, max: 20}
---
apiVersion: sandgate.dev/v1beta1
kind: SandboxPolicy
metadata: {name: b}
spec:
  mod: warn
";
    let folder = Folder::with(&[("p.yaml", wrong)]);
    let run = folder.run(&["policy", "validate", "p.yaml"]);
    assert_eq!((run.status, run.stdout.as_str()), (1, ""));
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(
        lines[0],
        "error: p.yaml:7: spec.security.runAsUser.default: 5 lies outside its own range 10 to 20"
    );
    assert!(
        lines[1].starts_with("error: p.yaml:13: spec.mod: unknown field `mod`, expected one of"),
        "{}",
        lines[1]
    );
    assert_eq!(lines.len(), 2);
    assert_eq!(
        folder.run(&["check", "--policy", "p.yaml", "-"]).status,
        2,
        "with a wrong policy nothing can run"
    );
}

#[test]
fn a_key_that_stands_twice_is_named() {
    let text = policy("a", "warn").replace("mode: warn", "mode: warn, mode: audit");
    let run = sandgate_with(&["policy", "validate", "-"], text);
    assert_eq!(
        (run.status, run.stderr.as_str()),
        (1, "error: standard input:4: spec: duplicate key \"mode\"\n")
    );
}

#[test]
fn problems_are_told_in_the_words_of_the_file() {
    let head = "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {name: a}\n";
    for (text, problem) in [
        ("", "standard input: no SandboxPolicy in it; leave --policy out to get the built-in one"),
        ("hello", "standard input:1: must be a mapping (key: value)"),
        (
            "HEAD\nspec: {namespaces: workflows}",
            "standard input:5: spec.namespaces: must be a list ([value])",
        ),
        (
            "HEAD\nspec: {lifecycle: {activeDeadlineSeconds: {max: -1}}}",
            "standard input:5: spec.lifecycle.activeDeadlineSeconds.max: must be a whole number, 0 to 4294967295",
        ),
        (
            "HEAD\nspec: {serviceAccount: {automountToken: 1}}",
            "standard input:5: spec.serviceAccount.automountToken: must be true or false",
        ),
        (
            "HEAD\nspec: {volumes: {writable: [{name: a, path: /a, sizeLimit: .nan}]}}",
            "standard input:5: spec.volumes.writable[0].sizeLimit: a number that is not finite; quote it if it is a text",
        ),
    ] {
        let run = sandgate_with(&["policy", "validate", "-"], text.replace("HEAD", head));
        assert_eq!((run.status, run.stderr), (1, format!("error: {problem}\n")));
    }
}

#[test]
fn two_files_are_one_set() {
    let folder = Folder::with(&[("1.yaml", &policy("a", "warn")), ("2.yaml", &policy("a", "warn"))]);
    let run = folder.run(&["policy", "validate", "1.yaml", "2.yaml"]);
    assert_eq!(run.status, 1);
    assert!(
        run.stderr.contains("error: 2.yaml:4: spec.namespaces[0]: namespace \"a\" already has the policy"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_missing_file_is_no_verdict() {
    sandgate(&["policy", "validate", "none.yaml"]).fails("none.yaml: No such file or directory");
}

#[test]
fn the_schema_is_json() {
    let schema: Value = serde_json::from_str(&sandgate(&["policy", "schema"]).fine()).unwrap();
    assert_eq!(schema["title"], "SandboxPolicy");
}
