//! The workflows of a public forge, as far as they can be tried without one: what they run is there, and the steps that
//! need neither a network nor a release build do what they should.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use crate::pages::{Page, root};

fn workflows() -> Vec<(String, Value)> {
    let folder = root().join(".github/workflows");
    let read = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path()).unwrap();
        (entry.file_name().into_string().unwrap(), serde_saphyr::from_str(&text).unwrap())
    };
    fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap())).collect()
}

fn jobs(workflow: &Value) -> impl Iterator<Item = (&String, &Value)> {
    workflow["jobs"].as_object().unwrap().iter()
}

#[test]
fn every_step_runs_something_that_is_there() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let mut run = 0;
    for (name, workflow) in workflows() {
        for (job, steps) in jobs(&workflow) {
            for step in steps["steps"].as_array().unwrap() {
                let Some(command) = step["run"].as_str() else {
                    let action = step["uses"].as_str().unwrap();
                    assert!(action.contains("@v"), "{name}, {job}: {action} has no version");
                    continue;
                };
                run += 1;
                let words: Vec<&str> = command.split_whitespace().collect();
                match words[0] {
                    "make" => assert!(makefile.contains(&format!("\n{}: ", words[1])), "{name}: {command}"),
                    program if program.contains('/') => {
                        let mode = fs::metadata(root().join(program)).unwrap().permissions().mode();
                        assert!(mode & 0o100 != 0, "{name}: {program} cannot be executed");
                    }
                    program => assert!(["for", "gh"].contains(&program), "{name}: {command}"),
                }
            }
        }
    }
    assert!(run > 15, "only {run} steps were found");
}

#[test]
fn workflows_have_no_right_that_a_step_does_not_need() {
    for (name, workflow) in workflows() {
        assert_eq!(workflow["permissions"], serde_json::json!({"contents": "read"}), "{name}");
        for (job, steps) in jobs(&workflow) {
            assert!(steps["timeout-minutes"].is_number(), "{name}: {job} has no bound of time");
            assert_eq!(steps["permissions"].is_object(), job == "publish", "{name}: {job}");
        }
    }
}

/// What the workflow syntax of the forge has, as far as these workflows use it.
#[test]
fn workflows_have_known_keys_and_refer_to_what_is_there() {
    let mut expressions_found = 0;
    for (name, workflow) in workflows() {
        assert_keys(&name, &workflow, &["name", "on", "permissions", "concurrency", "env", "jobs"]);
        for (job, spec) in jobs(&workflow) {
            let place = format!("{name}, {job}");
            let keys = [
                "needs",
                "if",
                "strategy",
                "runs-on",
                "timeout-minutes",
                "environment",
                "permissions",
                "steps",
            ];
            assert_keys(&place, spec, &keys);
            let needs = match &spec["needs"] {
                Value::Null => Vec::new(),
                Value::Array(needs) => needs.iter().filter_map(Value::as_str).collect(),
                need => vec![need.as_str().unwrap()],
            };
            for need in needs {
                assert!(workflow["jobs"][need].is_object(), "{place} needs {need}, which is no job");
            }
            for step in spec["steps"].as_array().unwrap() {
                assert_keys(&place, step, &["name", "id", "if", "uses", "with", "env", "run"]);
                assert_ne!(step["uses"].is_string(), step["run"].is_string(), "{place}: {step}");
            }
            let ids: Vec<&str> =
                spec["steps"].as_array().unwrap().iter().filter_map(|step| step["id"].as_str()).collect();
            let matrix = spec["strategy"]["matrix"]["include"].as_array();
            for expression in expressions(&spec.to_string()) {
                expressions_found += 1;
                let words: Vec<&str> = expression.split('.').collect();
                let is_known = match words[..] {
                    ["github", ..] | ["secrets", "GITHUB_TOKEN"] => true,
                    ["env", name] => workflow["env"][name].is_string(),
                    ["steps", id, "outputs", _] => ids.contains(&id),
                    ["matrix", key] => matrix.is_some_and(|rows| rows.iter().all(|row| row[key].is_string())),
                    _ => expression.starts_with("hashFiles('"),
                };
                assert!(is_known, "{place}: {expression}");
            }
        }
    }
    assert!(expressions_found > 10, "only {expressions_found} expressions were found");
}

fn assert_keys(place: &str, mapping: &Value, known: &[&str]) {
    for key in mapping.as_object().unwrap().keys() {
        assert!(known.contains(&key.as_str()), "{place}: {key}");
    }
}

/// Returns what stands between `${{` and `}}`.
fn expressions(text: &str) -> Vec<&str> {
    let end = |rest: &'_ str| rest.find("}}").unwrap_or_else(|| panic!("an expression has no end: {rest}"));
    text.split("${{").skip(1).map(|rest| rest[..end(rest)].trim()).collect()
}

#[test]
fn check_names_what_is_missing_for_a_release() {
    let output = release(&["check", "v9.9.9"], Path::new("."));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    let version = env!("CARGO_PKG_VERSION");
    assert!(errors.contains(&format!("the tag is v9.9.9, Cargo.toml has version {version}\n")), "{errors}");
}

#[test]
fn krew_manifest_has_the_checksum_of_each_archive() {
    let dist = tempfile::tempdir().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    for arch in ["amd64", "arm64"] {
        fs::write(dist.path().join(format!("sandgate_{version}_linux_{arch}.tar.gz")), arch).unwrap();
    }
    let output =
        release(&["krew", dist.path().to_str().unwrap(), "https://example.com/releases"], dist.path());
    assert!(output.status.success(), "{output:?}");
    let manifest: Value =
        serde_saphyr::from_str(&fs::read_to_string(dist.path().join("krew.yaml")).unwrap()).unwrap();
    assert_eq!(manifest["spec"]["version"], format!("v{version}"));
    let platforms = manifest["spec"]["platforms"].as_array().unwrap();
    assert_eq!(platforms.len(), 2);
    assert_eq!(
        platforms[0]["uri"],
        format!("https://example.com/releases/sandgate_{version}_linux_amd64.tar.gz")
    );
    // SHA-256 of "amd64".
    let wanted =
        Command::new("sh").args(["-c", "printf amd64 | sha256sum | cut -d ' ' -f 1"]).output().unwrap();
    assert_eq!(platforms[0]["sha256"], String::from_utf8(wanted.stdout).unwrap().trim());
}

#[test]
fn checksums_cover_each_file_and_the_notes_are_those_of_the_version() {
    let dist = tempfile::tempdir().unwrap();
    fs::write(dist.path().join("one"), "1").unwrap();
    let output = release(&["checksums", dist.path().to_str().unwrap()], dist.path());
    assert!(output.status.success(), "{output:?}");
    let verified =
        Command::new("sha256sum").args(["--check", "SHA256SUMS"]).current_dir(dist.path()).output().unwrap();
    assert_eq!(String::from_utf8(verified.stdout).unwrap(), "one: OK\n");
    let notes = fs::read_to_string(dist.path().join("notes.md")).unwrap();
    assert!(notes.contains("### Rules") && !notes.contains("\n## "), "{notes}");
}

#[test]
fn the_changelog_begins_with_the_version_of_the_program() {
    let changelog = Page::read("CHANGELOG.md");
    let heading = changelog.text.lines().find(|line| line.starts_with("## ")).unwrap();
    assert!(heading.starts_with(&format!("## {} - ", env!("CARGO_PKG_VERSION"))), "{heading}");
}

fn release(arguments: &[&str], folder: &Path) -> Output {
    Command::new(root().join("scripts/release")).args(arguments).current_dir(folder).output().unwrap()
}
