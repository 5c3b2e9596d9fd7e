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
fn everything_that_is_wrong_is_reported_with_file_line_and_path() {
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
  namespaces: [b]
  mod: warn
";
    let folder = Folder::with(&[("p.yaml", wrong)]);
    let run = folder.run(&["policy", "validate", "p.yaml"]);
    assert_eq!((run.status, run.stdout.as_str()), (1, ""));
    let mut lines: Vec<&str> = run.stderr.lines().collect();
    lines.sort_unstable();
    assert!(
        lines[0].starts_with("error: p.yaml:14: spec.mod: unknown key `mod`: use `add`, `annotations`,"),
        "{}",
        lines[0]
    );
    assert_eq!(
        lines[1],
        "error: p.yaml:7: spec.security.runAsUser.default: 5 lies outside its own range 10 to 20"
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
    assert_eq!((run.status, run.stderr.as_str()), (1, "error: standard input:4: duplicate key \"mode\"\n"));
}

#[test]
fn problems_are_reported_in_the_words_of_the_file() {
    let head = "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {name: a}\n";
    for (text, problem) in [
        ("", "standard input: no SandboxPolicy in it; leave --policy out to get the built-in one"),
        ("hello", "standard input:1: must be a mapping (key: value)"),
        (
            "HEAD\nspec: {namespaces: workflows}",
            "standard input:5: spec.namespaces: is string \"workflows\", must be a list ([value])",
        ),
        (
            "HEAD\nspec: {lifecycle: {activeDeadlineSeconds: {max: -1}}}",
            "standard input:5: spec.lifecycle.activeDeadlineSeconds.max: is integer `-1`, must be a whole number, 0 to 4294967295",
        ),
        (
            "HEAD\nspec: {serviceAccount: {automountToken: 1}}",
            "standard input:5: spec.serviceAccount.automountToken: is integer `1`, must be true or false",
        ),
        (
            "HEAD\nspec: {volumes: {filled: [{name: a, mountPath: /a, sizeLimit: .nan}]}}",
            "standard input:5: a number that is not finite; quote it if it is a text",
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
        run.stderr
            .contains("error: 2.yaml:3: metadata.name: the name \"a\" is taken by another policy, in 1.yaml"),
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

const LABELLED: &str = "\
apiVersion: sandgate.dev/v1beta1
kind: SandboxPolicy
metadata: {name: labelled}
spec: {namespaces: [], namespaceSelector: {matchLabels: {sandbox: wanted}}}
";

#[test]
fn what_a_policy_opens_ends_its_document() {
    let shown = sandgate(&["policy", "show"]).fine();
    assert!(shown.ends_with("\n# opened: nothing; every Pod is in the full sandbox\n"), "{shown}");

    let shown = sandgate(&["policy", "show", "--policy", "preset/tekton"]).fine();
    let (document, opened) = shown.split_once("# opened, beyond the full sandbox: ").unwrap();
    assert!(opened.contains("\n#   for every creator of Pods:\n#   - "), "{opened}");
    assert!(opened.contains("volumes.writablePaths: /tekton\n"), "{opened}");
    assert!(
        opened.contains("profile affinity-assistant, for user")
            && opened.contains("system:serviceaccount:kube-system:statefulset-controller"),
        "{opened}"
    );
    assert!(
        opened.contains("\n# weakest that every creator can reach: a Pod that no profile matches, with"),
        "{opened}"
    );
    assert!(opened.lines().skip(1).all(|line| line.starts_with("# ")), "{opened}");
    // With its comments it is still a policy of the same content.
    let hash = document.lines().next().unwrap().strip_prefix("# hash ").unwrap();
    let line = sandgate_with(&["policy", "validate", "-"], shown.as_str()).stdout;
    assert_eq!(line, format!("ok tekton: namespaces *; mode enforce; hash {hash}\n"));
}

#[test]
fn a_policy_is_shown_as_a_summary_and_as_data() {
    let text = sandgate(&["policy", "show", "--policy", "preset/tekton", "-o", "text"]).fine();
    assert!(
        text.starts_with("policy tekton\n  for       namespaces *\n  mode      enforce\n  hash      "),
        "{text}"
    );
    assert!(text.contains("\n  profiles  affinity-assistant\nopened, beyond the full sandbox: "), "{text}");
    let json = sandgate(&["policy", "show", "--policy", "preset/tekton", "-o", "json"]).fine();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["policy"]["metadata"]["name"], "tekton");
    assert_eq!(json[0]["opened"]["openings"][0]["reach"]["everyCreator"], "");
    let line = sandgate_with(&["policy", "validate", "-"], LABELLED).fine();
    assert!(line.starts_with("ok labelled: namespaces with the labels sandbox In [wanted]; mode"), "{line}");
}

#[test]
fn a_weaker_policy_ends_the_comparison_with_1() {
    let stricter = policy("a", "enforce");
    let weaker =
        stricter.replace("mode: enforce", "mode: enforce, volumes: {downwardAPI: true}, env: {HOME: /tmp}");
    let folder = Folder::with(&[("1.yaml", &stricter), ("2.yaml", &weaker)]);
    let text = folder.run(&["policy", "diff", "1.yaml", "2.yaml"]).violations();
    assert_eq!(
        text,
        "policy a\n  weaker    volumes.downwardAPI: false → true\n  other     env: {} → {\"HOME\":\"/tmp\"}\n\
         1 weaker, 0 stricter, 1 other\n"
    );
    let text = folder.run(&["policy", "diff", "2.yaml", "1.yaml"]).fine();
    assert!(text.contains("  stricter  volumes.downwardAPI: true → false\n"), "{text}");
    let json = folder.run(&["policy", "diff", "2.yaml", "1.yaml", "-o", "json"]).fine();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["changes"][0]["direction"], "stricter");
    let same = folder.run(&["policy", "diff", "1.yaml", "./1.yaml"]).fine();
    assert_eq!(same, "0 weaker, 0 stricter, 0 other\n");
}

#[test]
fn policies_that_come_and_go_are_named() {
    let two = [policy("a", "enforce"), policy("b", "enforce")].join("---\n");
    let folder = Folder::with(&[("1.yaml", &policy("c", "warn")), ("2.yaml", &two)]);
    let text = folder.run(&["policy", "diff", "1.yaml", "2.yaml"]).fine();
    for part in ["policy c: removed, Pods of its", "policy a: added, nothing to", "policy b: added, "] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn presets_are_listed_and_printed() {
    let list = sandgate(&["policy", "preset"]).fine();
    assert!(list.lines().count() >= 26 && list.contains("\ntekton  "), "{list}");
    let text = sandgate(&["policy", "preset", "tekton"]).fine();
    assert!(text.starts_with("# Tekton Pipelines") && text.contains("kind: SandboxPolicy"), "{text}");
    let run = sandgate(&["policy", "preset", "tektn"]);
    assert!(
        run.stderr.starts_with("error: no preset is called \"tektn\"; there are agent-sandbox, "),
        "{}",
        run.stderr
    );
    assert_eq!(run.status, 2);
}

#[test]
fn a_preset_stands_wherever_a_policy_file_does() {
    let folder = Folder::with(&[("pod.yaml", crate::PLAIN_POD)]);
    let text = folder.run(&["check", "--policy", "preset/tekton", "-n", "ci", "pod.yaml"]).fine();
    assert!(text.contains("Pod plain in namespace ci would be admitted"), "{text}");
    let run = folder.run(&["check", "--policy", "preset/none", "pod.yaml"]);
    assert!(run.stderr.starts_with("error: no preset is called \"none\"; there are "), "{}", run.stderr);
    let run = folder.run(&["policy", "diff", "preset/tekton", "preset/jobs"]);
    assert!(run.stdout.starts_with("policy tekton → jobs\n"), "{}", run.stdout);
}

#[test]
fn what_is_probably_not_meant_is_a_note() {
    let text =
        policy("a", "enforce").replace("mode: enforce", "volumes: {persistentVolumeClaim: {names: [data]}}");
    let run = sandgate_with(&["policy", "validate", "-"], text);
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert!(
        run.stderr.starts_with("note: standard input:4: spec.security.supplementalGroupsPolicy"),
        "{}",
        run.stderr
    );
}
