//! The real kubectl, as a person would call it.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use super::Result;

/// What a command printed and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// What it printed, where it succeeded.
    #[track_caller]
    pub(crate) fn expect_success(self) -> String {
        let Self { success, stdout, stderr } = self;
        assert!(success, "kubectl failed: {stderr}{stdout}");
        stdout
    }

    /// Its complaint, where it failed.
    #[track_caller]
    pub(crate) fn expect_failure(self) -> String {
        let Self { success, stdout, stderr } = self;
        assert!(!success, "kubectl should have failed: {stdout}{stderr}");
        stderr
    }
}

/// Runs kubectl with `input` on its standard input.
pub(super) fn run(program: &Path, kubeconfig: &Path, arguments: &[String], input: &str) -> Result<Output> {
    let mut child = Command::new(program)
        // No request hangs for ever. Flags come first: after `--` they would belong to a container.
        .arg("--request-timeout=60s")
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .env("KUBECACHEDIR", kubeconfig.with_file_name("kubectl-cache"))
        .env_remove("KUBECTL_EXTERNAL_DIFF")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A kubectl that reads no input may have gone already.
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
