//! `sandgate completion`.

use crate::sandgate;

#[test]
fn every_shell_has_its_script() {
    for (shell, mark) in [("bash", "complete -F"), ("zsh", "#compdef"), ("fish", "complete -c sandgate")] {
        let script = sandgate(&["completion", shell]).fine();
        assert!(script.contains(mark) && script.contains("explain"), "{shell}");
    }
    assert_eq!(sandgate(&["completion", "tcsh"]).status, 2);
}
