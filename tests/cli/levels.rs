//! `sandgate check` under policies with profiles, exceptions, levels, a candidate and a selector.

use serde_json::Value;

use crate::{Folder, HOSTILE_POD, PLAIN_POD, Run};

/// A policy with a profile for a user, an exception for an image, a deadline that is lowered and a candidate.
const RICH: &str = "\
apiVersion: sandgate.dev/v1beta1
kind: SandboxPolicy
metadata: {name: rich}
spec:
  namespaces: [workflows]
  candidate: stricter
  exempt: {users: [root@example.com]}
  rules: {labels: warn}
  lifecycle: {activeDeadlineSeconds: {default: 600, max: 600, onExcess: clamp}}
  containers:
  - name: builder
    match: {images: [registry.example.com/builder]}
    spec: {security: {readOnlyRootFilesystem: false}}
  profiles:
  - name: shared
    match: {users: [\"system:serviceaccount:ci:*\"]}
    spec: {security: {shareProcessNamespace: true}}
---
apiVersion: sandgate.dev/v1beta1
kind: SandboxPolicy
metadata: {name: stricter}
spec:
  namespaces: []
  images: {allowed: [other.example.com/*]}
";

fn rich(pod: &str, options: &[&str]) -> Run {
    let folder = Folder::with(&[("p.yaml", RICH), ("pod.yaml", pod)]);
    folder.run(&[&["check", "--policy", "p.yaml", "pod.yaml"], options].concat())
}

#[test]
fn a_profile_for_users_holds_for_the_user_that_is_named() {
    let pod = format!("{PLAIN_POD}  shareProcessNamespace: true\n");
    let text = rich(&pod, &[]).violations();
    assert!(text.contains("would be denied: "), "{text}");
    assert!(
        text.contains(
            "  It would be admitted for user system:serviceaccount:ci:* (profile shared): check it with --as\n"
        ),
        "{text}"
    );
    let text = rich(&pod, &["--as", "system:serviceaccount:ci:runner"]).fine();
    assert!(text.contains("would be admitted (profile shared), "), "{text}");
    assert!(
        !rich(&pod, &["--as", "alice", "--as-group", "dev"]).violations().contains("It would be admitted")
    );
    let run = rich(&pod, &["--as-group", "dev"]);
    assert_eq!(run.status, 2);
    assert!(run.stderr.contains("--as <USER>"), "{}", run.stderr);
}

#[test]
fn an_exempt_user_is_named_and_fails_nothing() {
    let run = rich(HOSTILE_POD, &["--as", "root@example.com"]);
    assert_eq!(run.status, 0, "{}", run.stdout);
    assert!(
        run.stdout.contains("is exempt and would be admitted, unchanged: 2 violations\n"),
        "{}",
        run.stdout
    );
    assert!(run.stdout.ends_with("\n1 Pod: 1 exempt\n"), "{}", run.stdout);
}

#[test]
fn exceptions_lowered_numbers_and_the_candidate_are_shown() {
    let pod = PLAIN_POD.replace("runner:1", "builder:1") + "  activeDeadlineSeconds: 5000\n";
    let text = rich(&pod, &[]).fine();
    assert!(text.contains("would be admitted (exceptions builder), "), "{text}");
    assert!(text.contains("\n  spec.activeDeadlineSeconds is lowered from 5000 to 600\n"), "{text}");
    assert!(text.contains("\n  The candidate policy stricter would deny it: "), "{text}");
    assert!(text.contains("spec.containers[0].image is \"registry.example.com/builder:1\""), "{text}");
    let json: Value = serde_json::from_str(&rich(&pod, &["-o", "json"]).fine()).unwrap();
    let pod = &json["pods"][0];
    assert_eq!(pod["lowered"][0]["to"], 600);
    assert_eq!((&pod["candidate"]["policy"], &pod["exceptions"][0]), (&"stricter".into(), &"builder".into()));
}

#[test]
fn a_rule_below_enforce_denies_nothing_and_has_its_level() {
    let pod = PLAIN_POD.replace("{name: plain}", "{name: plain, labels: {app: other}}");
    let text = rich(&pod, &[]).violations();
    assert!(text.contains("would be admitted with warnings, ") && text.contains(": 1 violation\n"), "{text}");
    assert!(text.contains("(labels, warn)\n"), "{text}");
    let json: Value = serde_json::from_str(&rich(&pod, &["-o", "json"]).violations()).unwrap();
    assert_eq!(json["pods"][0]["verdict"], "warned");
    assert_eq!(json["pods"][0]["violations"][0]["level"], "warn");
    let text = rich(&pod, &["-o", "github"]).violations();
    assert!(text.contains("::warning file=pod.yaml,line=3,title=labels::"), "{text}");
}

#[test]
fn a_namespace_among_the_files_chooses_its_policy_by_label() {
    let policy = "\
apiVersion: sandgate.dev/v1beta1
kind: SandboxPolicy
metadata: {name: labelled}
spec: {namespaces: [], namespaceSelector: {matchLabels: {sandbox: wanted}}}
";
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: team-a, labels: {sandbox: wanted}}\n";
    let pod = PLAIN_POD.replace("name: plain", "name: plain, namespace: team-a");
    let folder = Folder::with(&[("p.yaml", policy), ("pod.yaml", &pod), ("z.yaml", namespace)]);
    let text = folder.run(&["check", "--policy", "p.yaml", "pod.yaml", "z.yaml"]).fine();
    assert!(text.contains("Pod plain in namespace team-a would be admitted, "), "{text}");
    let text = folder.run(&["check", "--policy", "p.yaml", "pod.yaml"]).fine();
    assert!(
        text.contains(
            "no policy covers the namespace (covered: those that policy labelled selects by label; add their manifests)"
        ),
        "{text}"
    );
}
