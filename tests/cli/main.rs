//! The command line, as its users meet it: the real program, its output and its exit status.

#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod audit;
mod certs;
mod check;
mod ci;
mod completion;
mod explain;
mod fix;
mod hostile;
mod levels;
mod policy;
mod render;
mod replay;
mod report;
mod review;
mod streams;
mod suggest;

use std::{
    fs,
    path::{Path, PathBuf},
};

use assert_cmd::Command;

/// What a run of the program came to.
struct Run {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    /// It ended with 0 and wrote nothing to stderr.
    #[track_caller]
    fn fine(self) -> String {
        assert_eq!((self.status, self.stderr.as_str()), (0, ""), "stdout: {}", self.stdout);
        self.stdout
    }

    /// It ended with 1: violations found.
    #[track_caller]
    fn violations(self) -> String {
        assert_eq!(self.status, 1, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }

    /// It ended with 2, and stderr is just this one line.
    #[track_caller]
    fn fails(self, reason: &str) {
        assert_eq!(self.stderr, format!("error: {reason}\n"), "stdout: {}", self.stdout);
        assert_eq!(self.status, 2);
    }
}

/// Runs the program in an empty folder.
fn sandgate(args: &[&str]) -> Run {
    Folder::new().run(args)
}

/// Runs the program in an empty folder with `input` on stdin.
fn sandgate_with(args: &[&str], input: impl Into<Vec<u8>>) -> Run {
    Folder::new().run_with(args, input)
}

/// A folder of files for one test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self::new();
        for (name, text) in files {
            let path = folder.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, "")
    }

    fn run_with(&self, args: &[&str], input: impl Into<Vec<u8>>) -> Run {
        let output = self.command().args(args).write_stdin(input).output().unwrap();
        Run {
            status: output.status.code().expect("it ends by itself"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("sandgate"));
        command.current_dir(self.0.path()).env_clear();
        command
    }
}

const PLAIN_POD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: plain}
spec:
  containers:
  - name: main
    image: registry.example.com/runner:1
";

const HOSTILE_POD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: hostile, namespace: workflows}
spec:
  hostNetwork: true
  containers:
  - name: main
    image: registry.example.com/runner:1
    securityContext:
      privileged: true
";

/// A policy file for the namespace `name`, called `name` too.
fn policy(name: &str, mode: &str) -> String {
    format!(
        "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {{name: {name}}}\n\
         spec: {{namespaces: [{name}], mode: {mode}}}\n"
    )
}

#[test]
fn without_a_command_the_help_is_shown_and_nothing_was_run() {
    let run = sandgate(&[]);
    assert_eq!(run.status, 2);
    assert!(run.stderr.contains("Usage: sandgate <COMMAND>"), "{}", run.stderr);
}

#[test]
fn help_and_version_are_no_errors() {
    assert!(
        sandgate(&["--help"]).fine().contains("Exit status: 0 fine, 1 violations found, 2 could not run.")
    );
    assert_eq!(sandgate(&["--version"]).fine(), format!("sandgate {}\n", env!("CARGO_PKG_VERSION")));
    for command in ["review", "check", "render", "fix", "explain", "policy", "completion", "serve", "audit"] {
        assert!(sandgate(&[command, "--help"]).fine().contains("Usage: sandgate "), "{command}");
    }
}

#[test]
fn an_unknown_option_is_an_error_with_advice() {
    let run = sandgate(&["check", "--polcy", "x", "y.yaml"]);
    assert_eq!(run.status, 2);
    assert!(run.stderr.contains("a similar argument exists: '--policy'"), "{}", run.stderr);
}
