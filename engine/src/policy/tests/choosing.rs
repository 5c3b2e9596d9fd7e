//! Tests of the profile that a Pod gets and of the keys that a container gets.

use std::borrow::Cow;

use crate::json::Text;

use super::*;
use crate::pod::{ContainerKind, image::ImageReference};

fn facts<'f>() -> PodFacts<'f> {
    PodFacts {
        creator: None,
        owner: None,
        service_account: None,
        runtime_class: None,
        label: &|_| None,
        asks_for: &|_| false,
    }
}

fn chosen(policy: &Policy, facts: &PodFacts) -> String {
    policy.profile_for(facts).name.clone()
}

#[test]
fn first_profile_that_matches_is_chosen_else_the_base() {
    let policy = policy(
        "serviceAccount: {allowed: [workflow-runner, 'ci-*']}
profiles:
- {name: both, match: {labels: {role: builder}, owners: [Job.batch]}}
- {name: label, match: {labels: {role: 'b*'}}}
- {name: account, match: {serviceAccounts: ['ci-*']}}",
    );
    let label = |key: &str| (key == "role").then_some("builder");
    let job = Some(Owner::new("Job", "batch/v1"));
    assert_eq!(chosen(&policy, &facts()), "");
    assert_eq!(chosen(&policy, &PodFacts { label: &label, owner: job, ..facts() }), "both");
    assert_eq!(chosen(&policy, &PodFacts { label: &label, ..facts() }), "label");
    assert_eq!(
        chosen(&policy, &PodFacts { label: &label, owner: Some(Owner::new("Job", "v1")), ..facts() }),
        "label"
    );
    assert_eq!(chosen(&policy, &PodFacts { service_account: Some("ci-a"), ..facts() }), "account");
    assert_eq!(chosen(&policy, &PodFacts { owner: job, ..facts() }), "");
}

#[test]
fn user_and_group_match_on_create_only() {
    let policy = policy(
        "profiles:
- {name: user, match: {users: ['system:serviceaccount:argo:*']}}
- {name: group, match: {groups: [builders]}}",
    );
    let groups = ["dev", "builders"].map(|group| Text(Cow::Borrowed(group)));
    let creator = |user| Some(Creator { user, groups: &groups });
    let create = |user| PodFacts { creator: creator(user), ..facts() };
    assert_eq!(chosen(&policy, &create("system:serviceaccount:argo:controller")), "user");
    assert_eq!(chosen(&policy, &create("alice")), "group");
    assert_eq!(chosen(&policy, &facts()), "");
}

#[test]
fn unset_class_and_account_and_label_count_as_the_default_of_the_base() {
    let policy = policy(
        "runtimeClass: {default: kata, allowed: [kata, gvisor]}
profiles:
- {name: class, match: {runtimeClasses: [gvisor]}}
- {name: account, match: {serviceAccounts: [workflow-runner], labels: {x: y}}}
- {name: required, match: {labels: {app: workflow-runner}, runtimeClasses: [kata]}}",
    );
    let label = |key: &str| (key == "x").then_some("y");
    assert_eq!(chosen(&policy, &PodFacts { runtime_class: Some("gvisor"), ..facts() }), "class");
    for account in [None, Some(""), Some("default"), Some("workflow-runner")] {
        assert_eq!(
            chosen(&policy, &PodFacts { service_account: account, label: &label, ..facts() }),
            "account"
        );
    }
    assert_eq!(chosen(&policy, &facts()), "required");
    let other = |key: &str| (key == "app").then_some("other");
    assert_eq!(chosen(&policy, &PodFacts { label: &other, ..facts() }), "");
}

#[test]
fn request_for_a_device_chooses_a_profile() {
    let set = load(preset("gpu-jobs").unwrap()).unwrap();
    let policy = &set.policies()[0];
    let asks = |name: &str| name == "nvidia.com/gpu";
    let gpu = policy.profile_for(&PodFacts { asks_for: &asks, ..facts() });
    assert_eq!((gpu.name.as_str(), gpu.spec.runtime_class.default.as_str()), ("gpu", "gvisor-gpu"));
    assert_eq!(policy.profile_for(&facts()).spec.runtime_class.default, "gvisor");
}

#[test]
fn profile_cannot_set_a_default_that_a_match_reads() {
    for (spec, path) in [
        (
            "profiles: [{name: a, match: {serviceAccounts: [workflow-runner]}}, {name: b, match: {labels: {x: y}}, spec: {serviceAccount: {default: ci, allowed: [ci]}}}]",
            "spec.profiles[1].spec.serviceAccount.default",
        ),
        (
            "profiles: [{name: a, match: {runtimeClasses: [kata]}, spec: {runtimeClass: {default: kata, allowed: [kata]}}}]",
            "spec.profiles[0].spec.runtimeClass.default",
        ),
        (
            "profiles: [{name: a, match: {labels: {role: x}}}, {name: b, match: {owners: [Job.batch]}, spec: {labels: {required: {role: x}}}}]",
            "spec.profiles[1].spec.labels.required",
        ),
    ] {
        denied_at(spec, path, "would change its profile");
    }
}

#[test]
fn profile_that_can_never_match_is_denied() {
    for (profile, path) in [
        ("match: {}", "match"),
        ("match: {users: []}", "match.users"),
        ("match: {labels: {}}", "match.labels"),
        ("match: {groups: [system:authenticated]}", "match.groups[0]"),
        ("match: {groups: [system:serviceaccounts]}", "match.groups[0]"),
        ("match: {groups: ['*']}", "match.groups[0]"),
        ("match: {users: ['*']}", "match.users[0]"),
        ("match: {serviceAccounts: [default]}", "match.serviceAccounts[0]"),
        ("match: {serviceAccounts: [other]}", "match.serviceAccounts[0]"),
        ("match: {runtimeClasses: [kata]}", "match.runtimeClasses[0]"),
        ("match: {labels: {app: other}}", "match.labels"),
        ("match: {labels: {x: y}}, spec: {labels: {forbidden: [x]}}", "match.labels"),
        ("match: {extendedResources: [nvidia.com/gpu]}", "match.extendedResources[0]"),
        ("match: {owners: [job]}", "match.owners[0]"),
    ] {
        let spec = format!("profiles: [{{name: a, {profile}}}]");
        let error = load(&with_spec(&spec)).expect_err(&spec);
        assert!(error.contains(&format!("policy.yaml:5: spec.profiles[0].{path}: ")), "{path}: {error}");
    }
}

#[test]
fn profile_that_an_earlier_one_covers_is_denied() {
    for later in ["labels: {x: y}", "labels: {x: y, z: a}", "labels: {x: y}, owners: [Job.batch]"] {
        let spec = format!(
            "profiles: [{{name: a, match: {{labels: {{x: '*'}}}}}}, {{name: b, match: {{{later}}}}}]"
        );
        denied_at(&spec, "spec.profiles[1].match", "\"a\" covers it");
    }
    let apart = "profiles: [{name: a, match: {labels: {x: y}, owners: [Job.batch]}}, {name: b, match: {labels: {x: y}}}]";
    assert!(load(&with_spec(apart)).is_ok());
}

#[test]
fn exception_is_chosen_by_image_name_and_kind() {
    let policy = policy(
        "containers:
- {name: named, match: {images: [q.io/a/b], names: [w*], kinds: [sidecar]}, spec: {env: {A: one}}}
- {name: image, match: {images: [q.io/a/b]}, spec: {env: {A: two}}}",
    );
    let spec_of = |image: &str, name: &str, kind| {
        let facts = ContainerFacts { image: ImageReference::parse(image), name, kind };
        policy.base().spec_for(&facts).env.get("A").cloned()
    };
    assert_eq!(spec_of("q.io/a/b:1", "wait", ContainerKind::Sidecar).as_deref(), Some("one"));
    assert_eq!(spec_of("q.io/a/b:1", "wait", ContainerKind::App).as_deref(), Some("two"));
    assert_eq!(spec_of("q.io/a/b:1", "main", ContainerKind::Sidecar).as_deref(), Some("two"));
    assert_eq!(spec_of("q.io/a/b-evil", "wait", ContainerKind::Sidecar), None);
    assert_eq!(spec_of("q.io/a/b:1", "wait", ContainerKind::Ephemeral), None);
    assert_eq!(spec_of("q.io//a/b", "wait", ContainerKind::Sidecar), None);
}

#[test]
fn writable_root_opens_every_path_but_the_system_paths() {
    let closed = spec("volumes: {writablePaths: [/data]}");
    for (path, expected) in
        [("/data/x", true), ("/tmp/x", true), ("/workspace", true), ("/opt", false), ("/etc", false)]
    {
        assert_eq!(closed.may_mount_writable(path, true), expected, "{path}");
        assert_eq!(closed.may_mount_writable(path, false), expected, "{path}");
    }
    let open = spec("security: {readOnlyRootFilesystem: false}");
    assert!(open.may_mount_writable("/opt", false));
    assert!(!open.may_mount_writable("/opt", true));
    assert!(!open.may_mount_writable("/etc/x", false));
    assert!(!open.may_mount_writable("/tmp/../etc", false));
}
