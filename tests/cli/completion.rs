//! `sandgate completion`, `sandgate man`, and the program under the name of a kubectl plugin.

use std::{os::unix::process::CommandExt, process::Command};

use crate::{Folder, sandgate};

#[test]
fn every_shell_has_its_script() {
    for (shell, mark) in [("bash", "complete -F"), ("zsh", "#compdef"), ("fish", "complete -c sandgate")] {
        let script = sandgate(&["completion", shell]).fine();
        assert!(script.contains(mark) && script.contains("explain"), "{shell}");
    }
    assert_eq!(sandgate(&["completion", "tcsh"]).status, 2);
}

#[test]
fn every_command_has_a_manual_page() {
    let page = sandgate(&["man"]).fine();
    assert!(page.contains(".TH sandgate 1") && page.contains("SUBCOMMANDS"), "{page}");
    let folder = Folder::with(&[("man/keep", "")]);
    assert_eq!(folder.run(&["man", "--output", "man"]).fine(), "");
    for name in ["sandgate.1", "sandgate-check.1", "sandgate-policy-validate.1"] {
        let page = std::fs::read_to_string(folder.path("man").join(name)).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{name}");
    }
    folder.run(&["man", "--output", "none"]).fails("cannot write none/sandgate.1: no such file or directory");
}

#[test]
fn as_a_kubectl_plugin_the_help_shows_kubectl() {
    let help = |name: &str| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("sandgate"));
        let output = command.arg0(name).args(["check", "--help"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(help("/usr/local/bin/kubectl-sandgate").contains("Usage: kubectl sandgate check "));
    assert!(help("sandgate").contains("Usage: sandgate check "));
}
