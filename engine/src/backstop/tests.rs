use super::*;
use crate::policy::Source;

fn set(spec: &str) -> PolicySet {
    let text = format!(
        "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {{name: strict}}\nspec: {spec}\n"
    );
    PolicySet::from_sources(&[Source { name: "policy.yaml".into(), text }]).unwrap()
}

fn rendered(spec: &str) -> Vec<Json> {
    render(&set(spec), &Settings::default()).unwrap()
}

fn names(objects: &[Json]) -> Vec<&str> {
    objects
        .iter()
        .filter(|object| object["kind"] == "ValidatingAdmissionPolicy")
        .map(|object| object["metadata"]["name"].as_str().unwrap())
        .collect()
}

#[test]
fn builtin_policy_is_one_policy_for_pods_and_one_for_bindings() {
    let objects = render(&PolicySet::builtin(), &Settings::default()).unwrap();
    assert_eq!(names(&objects), ["sandgate-workflow-runner", "sandgate-workflow-runner.binding"]);
    assert_eq!(objects[1]["spec"]["validationActions"], serde_json::json!(["Deny", "Audit"]));
    assert_eq!(objects[0]["spec"]["validations"].as_array().unwrap().len(), 1);
}

#[test]
fn mode_and_levels_of_rules_decide_the_actions() {
    let objects = rendered("{namespaces: [a], mode: warn, rules: {tolerations: audit, labels: enforce}}");
    let actions = |name: &str| {
        let is_it = |object: &&Json| {
            object["kind"] == "ValidatingAdmissionPolicyBinding" && object["metadata"]["name"] == name
        };
        objects.iter().find(is_it).unwrap()["spec"]["validationActions"].clone()
    };
    assert_eq!(actions("sandgate-strict"), serde_json::json!(["Warn", "Audit"]));
    assert_eq!(actions("sandgate-strict.audit"), serde_json::json!(["Audit"]));
    assert_eq!(actions("sandgate-strict.enforce"), serde_json::json!(["Deny", "Audit"]));
}

#[test]
fn policy_without_namespaces_has_no_objects() {
    let base = "{namespaces: []}\n---\napiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {name: child}\nspec: {extends: strict, namespaces: [a]}";
    assert_eq!(names(&rendered(base)), ["sandgate-child", "sandgate-child.binding"]);
}

#[test]
fn names_patterns_and_rest_have_objects_of_their_own() {
    let objects = rendered("{namespaces: [a, 'ci-*', '*']}");
    let pods: Vec<&str> = names(&objects).into_iter().filter(|name| !name.ends_with(".binding")).collect();
    assert_eq!(pods, ["sandgate-strict", "sandgate-strict.patterns", "sandgate-strict.rest"]);
}

#[test]
fn expressions_read_fields_that_may_be_absent_as_optional_ones() {
    let objects = rendered("{namespaces: [a], extends: preset/argo-workflows}");
    assert!(!objects[0].to_string().contains("has("), "has() fails where a parent is absent");
}

#[test]
fn kubernetes_without_the_api_is_an_error() {
    let settings = Settings { kubernetes_minor: 29, ..Settings::default() };
    let refusals = render(&PolicySet::builtin(), &settings).unwrap_err();
    assert!(refusals[0].to_string().contains("use 1.30 or newer"), "{}", refusals[0]);
}

#[test]
fn policy_that_is_too_long_for_cel_is_an_error_with_the_reason() {
    let names: Vec<String> =
        (0..4000).map(|number| format!("a-long-name-of-a-config-map-{number}")).collect();
    let spec = format!("{{namespaces: [a], volumes: {{configMap: {{names: [{}]}}}}}}", names.join(", "));
    let refusals = render(&set(&spec), &Settings::default()).unwrap_err();
    assert!(refusals[0].reason.contains("the API server takes 100000"), "{}", refusals[0]);
}
