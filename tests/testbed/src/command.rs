//! Commands of other people, as a person would call them.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use super::Result;

/// The output of a command, and whether it succeeded.
#[derive(Debug)]
pub struct Output {
    /// True if the command ended with status 0.
    pub success: bool,
    /// The standard output of the command.
    pub stdout: String,
    /// The standard error of the command.
    pub stderr: String,
}

impl Output {
    /// Returns what a terminal shows: warnings, then what was printed.
    #[must_use]
    pub fn terminal(&self) -> String {
        format!("{}{}", self.stderr, self.stdout)
    }

    /// Returns the standard output; panics if the command failed.
    #[track_caller]
    #[allow(clippy::must_use_candidate, reason = "the assertion may be all that is wanted")]
    pub fn expect_success(self) -> String {
        let Self { success, stdout, stderr } = self;
        assert!(success, "the command failed: {stderr}{stdout}");
        stdout
    }

    /// Returns the standard error; panics if the command succeeded.
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
