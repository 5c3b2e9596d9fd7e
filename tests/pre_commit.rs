//! The hook for pre-commit, run by pre-commit on commits of a repository, as docs/ci.md has it.

#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

use std::{
    env, fs,
    path::Path,
    process::{Command, ExitCode, Output},
};

use testbed::harness::{Test, missing_program, run};

fn main() -> ExitCode {
    let missing = missing_program("pre-commit", "pre-commit").or_else(|| missing_program("git", "git"));
    run(vec![Test::new(commit_of_a_pod_that_would_be_denied_fails).requires(missing)])
}

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const PAGE: &str = include_str!("../docs/ci.md");

/// Runs a program in a folder, with this build of sandgate in the PATH and nothing of the user's own configuration.
fn output(folder: &Path, home: &Path, command: &[&str]) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_sandgate")).parent().unwrap().to_owned();
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([program].into_iter().chain(env::split_paths(&path))).unwrap();
    Command::new(command[0])
        .args(&command[1..])
        .current_dir(folder)
        .env("PATH", path)
        .env("HOME", home)
        .env("PRE_COMMIT_HOME", home.join("pre-commit"))
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap()
}

fn commit_of_a_pod_that_would_be_denied_fails() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let [hooks, manifests] = ["sandgate", "manifests"].map(|name| folder.path().join(name));
    for folder in [&home, &hooks, &manifests] {
        fs::create_dir(folder).unwrap();
    }
    let succeed = |folder: &Path, command: &[&str]| {
        let output = output(folder, &home, command);
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    for (key, value) in [("user.name", "a"), ("user.email", "a@example.com"), ("init.defaultBranch", "main")]
    {
        succeed(&home, &["git", "config", "--global", key, value]);
    }
    // This repository, as far as pre-commit reads it.
    let file = ".pre-commit-hooks.yaml";
    fs::copy(Path::new(ROOT).join(file), hooks.join(file)).unwrap();
    for command in [&["git", "init"][..], &["git", "add", "."], &["git", "commit", "-m", "hooks"]] {
        succeed(&hooks, command);
    }
    let commit = succeed(&hooks, &["git", "rev-parse", "HEAD"]);

    let configuration = PAGE.split("```yaml\n").find(|block| block.starts_with("repos:")).unwrap();
    let configuration = configuration.split("```").next().unwrap();
    let place = configuration.split_once("repo: ").unwrap().1.lines().next().unwrap();
    let configuration = configuration.replace(place, &hooks.display().to_string());
    let configuration = configuration.replace("rev: main", &format!("rev: {commit}"));
    fs::write(manifests.join(".pre-commit-config.yaml"), configuration).unwrap();
    let policy = "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {name: p}\nspec: {namespaces: [workflows]}\n";
    fs::write(manifests.join("policy.yaml"), policy).unwrap();
    for command in [&["git", "init"][..], &["pre-commit", "install"]] {
        succeed(&manifests, command);
    }
    let commit = |pod: &str| {
        fs::copy(Path::new(ROOT).join("examples/pods").join(pod), manifests.join("pod.yaml")).unwrap();
        succeed(&manifests, &["git", "add", "."]);
        output(&manifests, &home, &["git", "commit", "-m", pod])
    };
    let denied = commit("hostile-privileged.yaml");
    let text =
        String::from_utf8_lossy(&denied.stderr).into_owned() + &String::from_utf8_lossy(&denied.stdout);
    assert!(!denied.status.success() && text.contains("host-namespaces"), "{text}");
    let admitted = commit("plain.yaml");
    let text = String::from_utf8_lossy(&admitted.stderr);
    assert!(admitted.status.success() && text.contains("Passed"), "{text}");
}
