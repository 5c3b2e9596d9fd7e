//! Commands of other people, as a person would call them.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use super::Result;

/// What a command printed and whether it succeeded.
#[derive(Debug)]
pub struct Output {
    /// Whether it ended with status 0.
    pub success: bool,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// What it printed, where it succeeded.
    #[track_caller]
    #[allow(clippy::must_use_candidate, reason = "the assertion may be all that is wanted")]
    pub fn expect_success(self) -> String {
        let Self { success, stdout, stderr } = self;
        assert!(success, "the command failed: {stderr}{stdout}");
        stdout
    }

    /// Its complaint, where it failed.
    #[track_caller]
    #[allow(clippy::must_use_candidate, reason = "the assertion may be all that is wanted")]
    pub fn expect_failure(self) -> String {
        let Self { success, stdout, stderr } = self;
        assert!(!success, "the command should have failed: {stdout}{stderr}");
        stderr
    }
}

/// A command from its words, the first of which is the program.
pub(super) fn of(words: &[String]) -> Command {
    let (program, arguments) = words.split_first().expect("a command names a program");
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Runs a command with `input` on its standard input.
pub(super) fn run(command: &mut Command, input: &str) -> Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that reads no input may have gone already.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Output {
        success: output.status.success(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    })
}
