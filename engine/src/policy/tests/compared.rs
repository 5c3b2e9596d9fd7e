//! Tests of the openings of a policy and of the differences of two policies.

use super::*;
use crate::policy::compare::compared_keys;

fn leaves(value: &serde_json::Value, path: &str, found: &mut Vec<String>) {
    match value.as_object().filter(|members| !members.is_empty()) {
        Some(members) => {
            for (key, value) in members {
                leaves(value, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, found);
            }
        }
        None => found.push(path.into()),
    }
}

#[test]
fn every_key_is_compared() {
    let mut found = Vec::new();
    leaves(&serde_json::to_value(Spec::default()).unwrap(), "", &mut found);
    leaves(&serde_json::to_value(Header::default()).unwrap(), "", &mut found);
    let keys = compared_keys();
    let apart = ["extends", "mode", "rules"];
    let is_compared =
        |leaf: &str| keys.iter().any(|key| leaf == *key || leaf.starts_with(&format!("{key}.")));
    found.retain(|leaf| !is_compared(leaf) && !apart.contains(&leaf.as_str()));
    assert!(found.is_empty(), "KEYS beside these keys says no direction in which they open: {found:?}");
}

fn only_change(from: &str, to: &str) -> Change {
    let mut changes = diff(&policy(from), &policy(to));
    assert_eq!(changes.len(), 1, "{from} {to}: {changes:?}");
    changes.remove(0)
}

#[test]
fn change_has_a_direction() {
    for (from, to, key, direction) in [
        ("mode: enforce", "mode: warn", "mode", Direction::Weaker),
        ("rules: {labels: warn}", "{}", "rules.labels", Direction::Stricter),
        ("{}", "exempt: {users: [a]}", "exempt.users", Direction::Weaker),
        ("{}", "volumes: {writablePaths: [/a]}", "volumes.writablePaths", Direction::Weaker),
        (
            "volumes: {writablePaths: ['*']}",
            "volumes: {writablePaths: [/a]}",
            "volumes.writablePaths",
            Direction::Stricter,
        ),
        (
            "volumes: {writablePaths: [/b]}",
            "volumes: {writablePaths: [/a]}",
            "volumes.writablePaths",
            Direction::Other,
        ),
        ("{}", "labels: {required: {}}", "labels.required", Direction::Weaker),
        ("{}", "add: {annotations: {forbidden: [a/*]}}", "annotations.forbidden", Direction::Stricter),
        (
            "{}",
            "security: {readOnlyRootFilesystem: false}",
            "security.readOnlyRootFilesystem",
            Direction::Weaker,
        ),
        ("{}", "security: {hostUsers: false}", "security.hostUsers", Direction::Stricter),
        ("{}", "security: {runAsUser: {max: 2000}}", "security.runAsUser", Direction::Weaker),
        ("security: {runAsUser: {max: 2000}}", "{}", "security.runAsUser", Direction::Stricter),
        (
            "{}",
            "lifecycle: {terminationGracePeriodSeconds: {max: null}}",
            "lifecycle.terminationGracePeriodSeconds.max",
            Direction::Weaker,
        ),
        ("{}", "resources: {pod: {limits: {memory: 8Gi}}}", "resources.pod.limits.memory", Direction::Weaker),
        ("{}", "images: {requireDigest: true}", "images.requireDigest", Direction::Stricter),
        ("{}", "env: {HOME: /tmp}", "env", Direction::Other),
    ] {
        let change = only_change(from, to);
        assert_eq!((change.key.as_str(), change.direction), (key, direction), "{from} {to}");
    }
    assert!(diff(&policy("{}"), &policy("# nothing\nmode: enforce")).is_empty());
}

#[test]
fn profile_and_exception_are_compared_by_name() {
    let with = |paths: &str, token: &str| {
        format!(
            "profiles:\n- name: wide\n  match: {{labels: {{x: y}}}}\n  spec:\n    volumes: {{writablePaths: [{paths}]}}\n    containers: [{{name: agent, match: {{images: [q.io/a]}}, spec: {{env: {{A: b}}, serviceAccount: {{automountToken: {token}}}}}}}]"
        )
    };
    let changes = diff(&policy(&with("/a", "false")), &policy(&with("/a", "true")));
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!((changes[0].profile.as_str(), changes[0].exception.as_str()), ("wide", "agent"));
    let added = diff(&policy("{}"), &policy(&with("/a", "true")));
    assert!(added.iter().any(|change| change.profile == "wide" && change.key == "match"));
    assert!(
        added
            .iter()
            .any(|change| change.key == "volumes.writablePaths" && change.direction == Direction::Weaker)
    );
    let inherited = diff(
        &policy(&with("/a", "true")),
        &policy(&format!("secrets: {{volumes: [a]}}\n{}", with("/a", "true"))),
    );
    assert_eq!(inherited.len(), 1, "{inherited:?}");
}

#[test]
fn full_sandbox_opens_nothing() {
    let opened = opened(&Policy::default());
    assert!(opened.openings.is_empty() && opened.weakest.is_empty(), "{opened:?}");
}

#[test]
fn opening_names_key_value_and_who_can_reach_it() {
    let policy = policy(
        "mode: warn
exempt: {users: [admin]}
volumes: {writablePaths: [/data]}
containers:
- {name: agent, match: {images: [q.io/agent]}, spec: {serviceAccount: {automountToken: true}}}
profiles:
- {name: builder, match: {labels: {role: builder}}, spec: {security: {root: {runtimeClasses: [gvisor]}}}}
- {name: team, match: {users: [alice]}, spec: {volumes: {persistentVolumeClaim: {names: ['*']}}, secrets: {volumes: ['*']}, security: {root: {runtimeClasses: [gvisor]}}, resources: {resourceClaimTemplates: [a]}}}",
    );
    let opened = opened(&policy);
    let lines: Vec<String> = opened
        .openings
        .iter()
        .map(|opening| {
            format!(
                "{}/{} {}={}: {}",
                opening.profile, opening.exception, opening.key, opening.value, opening.reach
            )
        })
        .collect();
    for line in [
        "/ mode=warn: every creator of Pods",
        "/ exempt.users=admin: user admin, as the API server authenticates them",
        "/ volumes.writablePaths=/data: every creator of Pods",
        "/agent serviceAccount.automountToken=true: every creator of Pods, by a container of q.io/agent",
        "builder/ security.root.runtimeClasses=gvisor: every creator of Pods, by label role=builder",
        "team/ volumes.persistentVolumeClaim.names=*: user alice, as the API server authenticates them",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line} is missing in {lines:#?}");
    }
    // What a profile inherits is not listed again, but counts in the weakest combination.
    assert_eq!(lines.iter().filter(|line| line.contains("writablePaths")).count(), 1, "{lines:#?}");
    assert_eq!(opened.weakest_profile, "builder");
    let weakest: Vec<&str> = opened.weakest.iter().map(|opening| opening.key.as_str()).collect();
    assert_eq!(
        weakest,
        ["security.root.runtimeClasses", "volumes.writablePaths", "serviceAccount.automountToken"]
    );
}
