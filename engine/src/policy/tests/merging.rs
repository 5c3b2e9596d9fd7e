//! extends, add, profiles and exceptions share one merge.

use super::*;

fn writable(spec: &Spec) -> Vec<&str> {
    spec.volumes.writable_paths.iter().map(PathPattern::as_str).collect()
}

#[test]
fn add_appends_and_a_list_replaces() {
    let added = spec("extends: preset/argo-workflows\nadd: {volumes: {writablePaths: [/data]}}");
    assert_eq!(writable(&added), ["/var/run/argo", "/argo", "/mainctrfs", "/data"]);
    let replaced = spec("extends: preset/argo-workflows\nvolumes: {writablePaths: [/data]}");
    assert_eq!(writable(&replaced), ["/data"]);
}

#[test]
fn add_works_on_the_defaults_too() {
    let spec = spec("add: {runtimeClass: {allowed: [kata]}, annotations: {forbidden: [x/*]}}");
    assert_eq!(spec.runtime_class.allowed, ["gvisor", "kata"]);
    assert_eq!(
        spec.annotations.forbidden.iter().count(),
        Annotations::default().forbidden.iter().count() + 1
    );
}

#[test]
fn add_takes_lists_only_and_no_namespaces() {
    denied_at("add: {namespaces: [a]}", "spec.add.namespaces", "not a list that add can append to");
    denied_at("add: {exempt: {users: [a]}}", "spec.add.exempt.users", "not a list that add can append to");
    denied_at("add: {mode: audit}", "spec.add.mode", "not a list that add can append to");
    denied_at("add: {env: {A: b}}", "spec.add.env", "not a list that add can append to");
    denied_at("add: {volumes: {writablePaths: /a}}", "spec.add.volumes.writablePaths", "must be a list");
    denied_at("add: {volumes: {bogus: [a]}}", "spec.add.volumes.bogus", "no key of a policy");
    denied_at("add: 5", "spec.add", "must be a mapping");
    denied_at("add: {volumes: {writablePaths: [/etc]}}", "spec.volumes.writablePaths[0]", "system path");
}

#[test]
fn mapping_of_own_keys_is_replaced_and_others_merge() {
    let spec = spec(
        "extends: preset/argo-workflows\nlabels: {required: {}}\nenv: {}\nsecurity: {runAsUser: {max: 2000}}",
    );
    assert!(spec.labels.required.is_empty());
    assert!(spec.env.is_empty());
    assert_eq!(spec.security.run_as_user, IdRange { default: Some(1000), min: 1000, max: 2000 });
    assert!(spec.volumes.image);
}

#[test]
fn order_of_keys_does_not_matter() {
    let one = policy("extends: preset/jobs\nadd: {volumes: {writablePaths: [/a]}}\nvolumes: {image: true}");
    let other = policy("volumes: {image: true}\nadd: {volumes: {writablePaths: [/a]}}\nextends: preset/jobs");
    assert_eq!(one.hash, other.hash);
}

#[test]
fn namespaces_mode_rules_candidate_and_exempt_are_not_inherited() {
    let base = named(
        "base",
        "namespaces: [a]\nmode: audit\nrules: {labels: warn}\ncandidate: c\nexempt: {users: [admin]}\nhelp: ask\nfill: never",
    );
    let candidate = named("c", "namespaces: []");
    let child = named("child", "extends: base\nnamespaces: [b]");
    let set = load(&format!("{base}---\n{candidate}---\n{child}")).unwrap();
    let header = &set.named("child").unwrap().header;
    assert_eq!(header.mode, Mode::Enforce);
    assert!(header.rules.is_empty() && header.candidate.is_empty() && header.exempt.users.is_empty());
    assert_eq!((header.help.as_str(), header.fill), ("ask", Fill::Never));
    assert_eq!(set.for_namespace("b", None).unwrap().name, "child");
}

#[test]
fn file_cannot_shadow_a_preset() {
    let own = named("jobs", "namespaces: [a]");
    let child = named("child", "extends: preset/jobs\nnamespaces: [b]");
    let set = load(&format!("{own}---\n{child}")).unwrap();
    assert_eq!(set.named("child").unwrap().base().spec.env["HOME"], "/tmp");
    assert!(set.named("jobs").unwrap().base().spec.env.is_empty());
}

#[test]
fn unknown_or_endless_base_is_denied() {
    denied_at("extends: preset/bogus", "spec.extends", "is no preset; there are agent-sandbox, ");
    denied_at("extends: bogus", "spec.extends", "is no policy of the set, which has p");
    denied_at("extends: p", "spec.extends", "extends itself: p -> p");
    denied_at("extends: [a]", "spec.extends", "must be preset/NAME");
    let cycle = format!(
        "{}---\n{}",
        named("a", "extends: b\nnamespaces: [a]"),
        named("b", "extends: a\nnamespaces: [b]")
    );
    assert!(load(&cycle).unwrap_err().contains("extends itself: a -> b -> a"));
    let chain = |length: usize| {
        let link = |index: usize| {
            named(&format!("p{index}"), &format!("extends: p{}\nnamespaces: [n{index}]", index + 1))
        };
        let last = named(&format!("p{length}"), "namespaces: [last]");
        (0..length).map(link).chain([last]).collect::<Vec<_>>().join("---\n")
    };
    assert!(load(&chain(5)).is_ok());
    assert!(load(&chain(6)).unwrap_err().contains("more than 5 policies extend one another"));
}

#[test]
fn problem_of_an_inherited_value_is_located_where_it_is_written() {
    let base = named("base", "namespaces: []\nruntimeClass:\n  allowed: [gvisor, kata]");
    let child = named("child", "extends: base\nruntimeClass: {default: runc}");
    let error = load_all(&[("base.yaml", &base), ("child.yaml", &child)]).unwrap_err();
    assert!(error.starts_with("child.yaml:6: spec.runtimeClass.default: \"runc\""), "{error}");
    let child = named("child", "extends: base\nresources:\n  pod: {limits: {cpu: 1}}");
    let base = named("base", "namespaces: []\nresources:\n  container:\n    limits: {cpu: 2}");
    let error = load_all(&[("base.yaml", &base), ("child.yaml", &child)]).unwrap_err();
    assert!(error.starts_with("base.yaml:8: spec.resources.container.limits.cpu: 2 is above"), "{error}");
}

#[test]
fn profile_and_exception_merge_over_what_stands_above_them() {
    let policy = policy(
        "env: {HOME: /tmp}\nvolumes: {writablePaths: [/a]}\ncontainers:\n- name: agent\n  match: {images: [q.io/a]}\n  spec: {add: {volumes: {writablePaths: [/c]}}}\nprofiles:\n- name: wide\n  match: {labels: {role: wide}}\n  spec: {add: {volumes: {writablePaths: [/b]}}, security: {readOnlyRootFilesystem: false}}",
    );
    let wide = &policy.profiles()[0];
    assert_eq!(writable(&policy.base().spec), ["/a"]);
    assert_eq!(writable(&policy.base().exceptions[0].spec), ["/a", "/c"]);
    assert_eq!(writable(&wide.spec), ["/a", "/b"]);
    // The policy's exceptions are the profile's too, over the profile's own keys.
    assert_eq!(writable(&wide.exceptions[0].spec), ["/a", "/b", "/c"]);
    assert!(!wide.exceptions[0].spec.security.read_only_root_filesystem);
    assert_eq!(wide.spec.env["HOME"], "/tmp");
}

#[test]
fn profile_replaces_or_appends_exceptions() {
    let with = |profile: &str| {
        policy(&format!(
            "containers: [{{name: a, match: {{images: [q.io/a]}}, spec: {{env: {{A: b}}}}}}]\nprofiles: [{{name: x, match: {{labels: {{a: b}}}}, spec: {{{profile}}}}}]"
        ))
        .profiles()[0]
            .exceptions
            .iter()
            .map(|exception| exception.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(with("containers: []"), Vec::<String>::new());
    assert_eq!(
        with("add: {containers: [{name: b, match: {images: [q.io/b]}, spec: {env: {C: d}}}]}"),
        ["a", "b"]
    );
}

#[test]
fn name_of_a_profile_or_exception_stands_once() {
    denied_at(
        "profiles: [{name: a, match: {labels: {x: y}}}, {name: a, match: {labels: {x: z}}}]",
        "spec.profiles[1].name",
        "earlier profile",
    );
    denied_at(
        "containers: [{name: a, match: {images: [q.io/a]}, spec: {env: {A: b}}}, {name: a, match: {images: [q.io/b]}, spec: {env: {A: b}}}]",
        "spec.containers[1].name",
        "earlier exception",
    );
}
