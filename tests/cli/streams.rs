//! What happens at the ends of the pipes.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::json;

use crate::{Folder, HOSTILE_POD, review::review};

fn start(folder: &Folder, args: &[&str]) -> (Child, ChildStdin, BufReader<ChildStdout>) {
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("sandgate"))
        .args(args)
        .current_dir(folder.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (child, stdin, BufReader::new(stdout))
}

/// Waits for the end: exit status and stderr.
fn end(mut child: Child) -> (Option<i32>, String) {
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    (child.wait().unwrap().code(), stderr)
}

#[test]
fn each_answer_comes_before_the_next_review_is_sent() {
    let folder = Folder::new();
    let (child, mut stdin, mut stdout) = start(&folder, &["review"]);
    for uid in ["1", "2", "3"] {
        write!(stdin, "{}", review(uid, &json!({"metadata": {}, "spec": {"containers": [{"name": "a"}]}})))
            .unwrap();
        stdin.flush().unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.contains(&format!("\"uid\":\"{uid}\"")), "{line}");
    }
    drop(stdin);
    assert_eq!(end(child), (Some(0), String::new()));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let many = format!("{HOSTILE_POD}---\n").repeat(2000);
    let verdicts = format!("{}\n", crate::audit::verdict("alice", "denied")).repeat(5000);
    let folder = Folder::with(&[("many.yaml", &many), ("audit.jsonl", &verdicts)]);
    for (args, status) in [
        (vec!["check", "many.yaml"], 1),
        (vec!["check", "-o", "sarif", "many.yaml"], 1),
        (vec!["policy", "schema"], 0),
        (vec!["explain"], 0),
        (vec!["completion", "zsh"], 0),
        (vec!["--help"], 0),
        (vec!["audit", "list", "audit.jsonl"], 0),
        (vec!["audit", "top", "audit.jsonl"], 0),
        (vec!["audit", "schema"], 0),
    ] {
        let (child, _stdin, stdout) = start(&folder, &args);
        drop(stdout);
        assert_eq!(end(child), (Some(status), String::new()), "{args:?}");
    }
}

#[test]
fn a_reader_of_reviews_that_goes_away_ends_the_stream() {
    let folder = Folder::new();
    let (child, mut stdin, stdout) = start(&folder, &["review"]);
    drop(stdout);
    write!(stdin, "{}", review("1", &json!({"spec": {"containers": [{"name": "a"}]}}))).unwrap();
    drop(stdin);
    assert_eq!(end(child), (Some(0), String::new()));
}

#[test]
fn a_full_disk_is_an_error() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else { return };
    for args in [["explain", "labels"], ["policy", "show"]] {
        let output = Command::new(assert_cmd::cargo::cargo_bin!("sandgate"))
            .args(args)
            .stdout(full.try_clone().unwrap())
            .output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            "error: standard output cannot be written: no space left on device\n"
        );
    }
}

#[test]
fn colours_are_for_those_who_can_see_them() {
    let folder = Folder::with(&[("pod.yaml", HOSTILE_POD)]);
    let run = |variables: &[(&str, &str)]| {
        let output = folder
            .command()
            .args(["check", "pod.yaml", "missing.yaml"])
            .envs(variables.iter().copied())
            .output();
        let output = output.unwrap();
        [output.stdout, output.stderr].map(|bytes| bytes.contains(&0x1b))
    };
    assert_eq!(run(&[]), [false, false], "in a pipe");
    assert_eq!(run(&[("CLICOLOR_FORCE", "1")]), [true, true], "forced");
    assert_eq!(run(&[("NO_COLOR", "1")]), [false, false]);
}
