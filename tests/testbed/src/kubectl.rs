//! Commands of the real kubectl.

use std::{path::Path, process::Command};

use super::{
    Result,
    command::{self, Output},
};

/// Runs kubectl, which `command` calls, with `input` on its standard input.
pub(super) fn run(
    mut command: Command,
    kubeconfig: &Path,
    arguments: &[String],
    input: &str,
) -> Result<Output> {
    command
        // No request hangs for ever. Flags come first: after `--` they would belong to a container.
        .arg("--request-timeout=60s")
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .env("KUBECACHEDIR", kubeconfig.with_file_name("kubectl-cache"))
        .env_remove("KUBECTL_EXTERNAL_DIFF");
    command::run(&mut command, input)
}
