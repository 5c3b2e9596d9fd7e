//! Policy files in, policies or errors out.

use super::{Policy, PolicySet, Source, Spec, json_schema};

fn load(text: &str) -> Result<PolicySet, String> {
    load_all(&[("policy.yaml", text)])
}

fn load_all(files: &[(&str, &str)]) -> Result<PolicySet, String> {
    let sources: Vec<Source> =
        files.iter().map(|(name, text)| Source { name: (*name).into(), text: (*text).into() }).collect();
    PolicySet::from_sources(&sources).map_err(|errors| errors.to_string())
}

/// A policy file with this `spec`, which begins on line 5.
fn with_spec(spec: &str) -> String {
    let spec = spec.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n");
    format!("apiVersion: sandgate.dev/v1alpha1\nkind: SandboxPolicy\nmetadata: {{name: p}}\nspec:\n{spec}\n")
}

fn refused(spec: &str, expected: &str) {
    let error = load(&with_spec(spec)).unwrap_err();
    assert_eq!(error, expected);
}

#[test]
fn an_empty_spec_is_the_full_sandbox() {
    for text in ["spec: {}", ""] {
        let text = format!(
            "apiVersion: sandgate.dev/v1alpha1\nkind: SandboxPolicy\nmetadata: {{name: workflow-runner}}\n{text}"
        );
        let set = load(&text).unwrap();
        assert_eq!(set.policies()[0].spec, Spec::default());
        assert_eq!(set.policies()[0].hash, PolicySet::builtin().policies()[0].hash);
    }
}

#[test]
fn what_is_left_out_keeps_its_default() {
    let set = load(&with_spec("resources: {container: {limits: {cpu: 500m}}}\nnamespaces: [ci]")).unwrap();
    let spec = &set.of_namespace("ci").unwrap().spec;
    assert_eq!(spec.resources.container.limits.cpu.text, "500m");
    assert_eq!(spec.resources.container.limits.memory.text, "4Gi");
    assert_eq!(spec.runtime_class.default, "gvisor");
    assert!(set.of_namespace("workflows").is_none());
}

#[test]
fn the_hash_follows_the_content_not_the_spelling() {
    let hash = |spec: &str| load(&with_spec(spec)).unwrap().policies()[0].hash.clone();
    assert_eq!(hash("mode: enforce"), hash("# a comment\nlabels: {app: workflow-runner}"));
    assert_ne!(hash("mode: enforce"), hash("mode: warn"));
}

#[test]
fn a_key_cannot_forge_a_line_of_the_error() {
    let error = load(&with_spec("\"mo\\rde\\e[2J\": enforce")).unwrap_err();
    assert!(error.starts_with("policy.yaml:5: spec.mo\u{fffd}de\u{fffd}[2J: "), "{error}");
    assert!(!error.chars().any(char::is_control), "{error:?}");
}

#[test]
fn an_unknown_key_is_named_with_file_line_and_path() {
    let error = load(&with_spec("security:\n  runAsUsr: {default: 1}")).unwrap_err();
    assert!(error.starts_with("policy.yaml:6: spec.security"), "{error}");
    assert!(error.contains("runAsUsr"), "{error}");
}

#[test]
fn a_value_of_the_wrong_kind_is_named_with_file_line_and_path() {
    for (spec, line, path) in [
        ("mode: strict", 5, "spec.mode"),
        ("namespaces: workflows", 5, "spec.namespaces"),
        ("security:\n  runAsUser:\n    max: lots", 7, "spec.security.runAsUser.max"),
        ("resources:\n  pod:\n    limits:\n      cpu: 2x", 8, "spec.resources.pod.limits"),
        ("resources:\n  pod:\n    limits:\n      cpu: 0", 8, "spec.resources.pod.limits"),
    ] {
        let error = load(&with_spec(spec)).unwrap_err();
        assert!(error.starts_with(&format!("policy.yaml:{line}: {path}")), "{error}");
    }
}

#[test]
fn contradictions_are_named_where_they_stand() {
    refused(
        "lifecycle:\n  activeDeadlineSeconds:\n    default: 7200",
        "policy.yaml:7: spec.lifecycle.activeDeadlineSeconds.default: 7200 is above its own max 3600",
    );
    refused(
        "runtimeClass: {default: runc}",
        "policy.yaml:5: spec.runtimeClass.default: \"runc\" is not one of spec.runtimeClass.allowed [\"gvisor\"]; the fill would be refused",
    );
    refused(
        "security: {runAsUser: {min: 0}}",
        "policy.yaml:5: spec.security.runAsUser.min: 0 is root; the rule run-as-non-root refuses it. Use 1 or more",
    );
    refused(
        "security: {fsGroup: {default: 5}}",
        "policy.yaml:5: spec.security.fsGroup.default: 5 lies outside its own range 1000 to 1000",
    );
    refused(
        "resources:\n  pod:\n    limits: {memory: 1Gi}",
        "policy.yaml:6: spec.resources.container.limits.memory: 4Gi is above the whole Pod's budget 1Gi of spec.resources.pod.limits.memory",
    );
    refused(
        "resources: {container: {requests: {cpu: 3}}}",
        "policy.yaml:5: spec.resources.container.requests.cpu: 3 is above the limit 2 of spec.resources.container.limits.cpu",
    );
    refused(
        "volumes: {allowed: [configMap]}",
        "policy.yaml:5: spec.volumes.allowed: must contain emptyDir, which spec.volumes.writable fills in",
    );
    refused(
        "volumes: {allowed: [emptyDir, hostpath]}",
        "policy.yaml:5: spec.volumes.allowed[1]: \"hostpath\" is no volume type; use the field's name, such as emptyDir or configMap",
    );
    refused(
        "security: {seccomp: [Unconfined]}",
        "policy.yaml:5: spec.security.seccomp[0]: \"Unconfined\" must be RuntimeDefault or Localhost/<profile>",
    );
    refused(
        "namespaces: []",
        "policy.yaml:5: spec.namespaces: must name at least one namespace, or the policy holds nowhere",
    );
}

#[test]
fn every_other_contradiction_is_refused_too() {
    for (spec, path) in [
        ("namespaces: [a, a]", "spec.namespaces[1]"),
        ("namespaces: ['team-*']", "spec.namespaces[0]"),
        ("labels: {'bad key': x}", "spec.labels"),
        ("serviceAccount: {name: ''}", "spec.serviceAccount.name"),
        ("lifecycle: {activeDeadlineSeconds: {default: 0}}", "spec.lifecycle.activeDeadlineSeconds.default"),
        ("placement: {nodeAffinity: [{key: a, operator: In}]}", "spec.placement.nodeAffinity[0].values"),
        (
            "placement: {nodeAffinity: [{key: a, operator: Exists, values: [x]}]}",
            "spec.placement.nodeAffinity[0].values",
        ),
        (
            "placement: {nodeAffinity: [{key: a, operator: Gt, values: ['1', '2']}]}",
            "spec.placement.nodeAffinity[0].values",
        ),
        ("placement: {nodeAffinity: [{key: '', operator: Exists}]}", "spec.placement.nodeAffinity[0].key"),
        ("placement: {tolerations: [{key: ''}]}", "spec.placement.tolerations[0].key"),
        (
            "placement: {tolerations: [{key: a, operator: Exists, value: b}]}",
            "spec.placement.tolerations[0].value",
        ),
        ("placement: {schedulers: []}", "spec.placement.schedulers"),
        ("security: {runAsGroup: {min: 5, max: 4}}", "spec.security.runAsGroup.min"),
        ("security: {runAsUser: {max: 4000000000}}", "spec.security.runAsUser.max"),
        ("security: {seccomp: []}", "spec.security.seccomp"),
        ("security: {capabilities: {drop: [CAP_ALL]}}", "spec.security.capabilities.drop[0]"),
        ("security: {capabilities: {allowedAdd: [ALL]}}", "spec.security.capabilities.allowedAdd"),
        ("volumes: {writable: [{name: w, path: w, sizeLimit: 1Gi}]}", "spec.volumes.writable[0].path"),
        ("volumes: {writable: [{name: w, path: /a/../b, sizeLimit: 1Gi}]}", "spec.volumes.writable[0].path"),
        ("volumes: {writable: [{name: W, path: /w, sizeLimit: 1Gi}]}", "spec.volumes.writable[0].name"),
        (
            "volumes: {writable: [{name: w, path: /w, sizeLimit: 1Gi}, {name: w, path: /x, sizeLimit: 1Gi}]}",
            "spec.volumes.writable[1]",
        ),
        ("images: {allowedPrefixes: ['']}", "spec.images.allowedPrefixes[0]"),
    ] {
        let error = load(&with_spec(spec)).unwrap_err();
        assert!(error.contains(&format!("policy.yaml:5: {path}: ")), "{path}: {error}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let error = load(&with_spec("placement: {schedulers: []}\nserviceAccount: {name: ''}")).unwrap_err();
    assert_eq!(error.lines().count(), 2, "{error}");
}

#[test]
fn several_documents_and_files_are_several_policies() {
    let two = format!(
        "# first\n{}---\n{}",
        with_spec("namespaces: [a]"),
        with_spec("namespaces: [b]").replace("name: p", "name: q")
    );
    let set = load_all(&[
        ("one.yaml", &two),
        ("two.yaml", &with_spec("namespaces: [c]").replace("name: p", "name: r")),
    ])
    .unwrap();
    assert_eq!(set.names().collect::<Vec<_>>(), ["p", "q", "r"]);
    assert_eq!(set.of_namespace("b").unwrap().name, "q");
}

#[test]
fn a_namespace_has_one_policy_and_a_name_stands_once() {
    let first = with_spec("namespaces: [a]");
    let error =
        load_all(&[("one.yaml", &first), ("two.yaml", &first.replace("name: p", "name: q"))]).unwrap_err();
    assert_eq!(
        error,
        "two.yaml:5: spec.namespaces[0]: namespace \"a\" already has the policy \"p\" of one.yaml; a namespace has one policy"
    );
    let error = load_all(&[("one.yaml", &first), ("two.yaml", &first.replace("[a]", "[b]"))]).unwrap_err();
    assert_eq!(error, "two.yaml:3: metadata.name: the name \"p\" is taken by another policy, in one.yaml");
}

#[test]
fn the_line_counts_from_the_top_of_the_file_also_in_the_second_document() {
    let first = with_spec("namespaces: [a]");
    let second = with_spec("namespaces: [b]\nplacement: {schedulers: []}").replace("name: p", "name: q");
    let error = load(&format!("{first}---\n{second}")).unwrap_err();
    assert!(error.starts_with("policy.yaml:12: spec.placement.schedulers"), "{error}");
}

#[test]
fn what_is_no_policy_is_refused_in_one_line() {
    for text in ["", "# nothing\n", "---\n---\n"] {
        assert!(load(text).unwrap_err().contains("policy.yaml: no SandboxPolicy in it"), "{text:?}");
    }
    let long = "a: ".repeat(100_000);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n";
    for text in [
        "hello",
        "[1,2]",
        "kind: Pod",
        "{",
        "a: b: c",
        "kind: SandboxPolicy\nkind: SandboxPolicy",
        &long,
        &deep,
        bomb,
        "\u{0}",
    ] {
        let error = load(text).unwrap_err();
        assert!(error.starts_with("policy.yaml") && error.lines().count() == 1, "{error}");
    }
}

#[test]
fn json_is_yaml_too() {
    let text = r#"{"apiVersion":"sandgate.dev/v1alpha1","kind":"SandboxPolicy","metadata":{"name":"p"},"spec":{"mode":"warn"}}"#;
    assert_eq!(load(text).unwrap().policies()[0].name, "p");
}

#[test]
fn the_schema_describes_every_key_of_the_default_policy() {
    let schema = serde_json::to_value(json_schema()).unwrap().to_string();
    let policy = serde_json::to_value(Policy::default().spec).unwrap();
    for key in policy.as_object().unwrap().keys() {
        assert!(schema.contains(&format!("\"{key}\"")), "{key}");
    }
    assert!(schema.contains("\"additionalProperties\":false"));
}

#[test]
fn a_policy_may_hold_for_every_namespace_that_no_other_names() {
    let rest = with_spec("namespaces: ['*']");
    let named = with_spec("namespaces: [a]").replace("name: p", "name: q");
    let set = load(&format!("{rest}---\n{named}")).unwrap();
    let of = |namespace: &str| set.of_namespace(namespace).map(|policy| policy.name.as_str());
    assert_eq!([of("a"), of("b"), of("kube-public")], [Some("q"), Some("p"), Some("p")]);
    assert_eq!(load(&named).unwrap().of_namespace("b").map(|policy| &policy.name), None);

    let twice = with_spec("namespaces: ['*']").replace("name: p", "name: q");
    let error = load(&format!("{rest}---\n{twice}")).unwrap_err();
    assert!(error.contains("namespace \"*\" already has the policy \"p\""), "{error}");
}
