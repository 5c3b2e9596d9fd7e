//! Policy files in, policies or errors out.

use super::*;

mod choosing;
mod compared;
mod loading;
mod merging;
mod presets;
mod selecting;

fn load(text: &str) -> Result<PolicySet, String> {
    load_all(&[("policy.yaml", text)])
}

fn load_all(files: &[(&str, &str)]) -> Result<PolicySet, String> {
    let sources: Vec<Source> =
        files.iter().map(|(name, text)| Source { name: (*name).into(), text: (*text).into() }).collect();
    PolicySet::from_sources(&sources).map_err(|errors| errors.to_string())
}

/// A policy file named `p` with this `spec`, which begins on line 5.
fn with_spec(spec: &str) -> String {
    named("p", spec)
}

fn named(name: &str, spec: &str) -> String {
    let spec = spec.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n");
    format!(
        "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {{name: {name}}}\nspec:\n{spec}\n"
    )
}

/// The only policy of a file with this `spec`.
fn policy(spec: &str) -> Policy {
    let set = load(&with_spec(spec)).unwrap_or_else(|errors| panic!("{errors}"));
    set.policies()[0].clone()
}

fn spec(text: &str) -> Spec {
    policy(text).base().spec.clone()
}

fn denied(spec: &str, expected: &str) {
    let error = load(&with_spec(spec)).unwrap_err();
    assert_eq!(error, expected, "{spec}");
}

/// Asserts that the file has an error at `path` with `words` in it.
fn denied_at(spec: &str, path: &str, words: &str) {
    let error = load(&with_spec(spec)).expect_err(spec);
    let line = error.lines().find(|line| line.contains(&format!(": {path}: ")));
    let line = line.unwrap_or_else(|| panic!("no error at {path} of {spec}: {error}"));
    assert!(line.starts_with("policy.yaml:"), "{line}");
    assert!(line.contains(words), "{words} is missing in: {line}");
}
