//! Tests of the policy of a namespace, and of what the webhooks select.

use super::*;

fn set(policies: &[(&str, &str)]) -> Result<PolicySet, String> {
    let documents: Vec<String> = policies.iter().map(|(name, spec)| named(name, spec)).collect();
    load(&documents.join("---\n"))
}

fn all_kinds() -> PolicySet {
    set(&[
        ("named", "namespaces: [a, ci-a]"),
        ("pattern", "namespaces: ['ci-*', 'team-*-dev', 'x*y*z']"),
        ("selected", "namespaceSelector: {matchLabels: {sandgate.dev/policy: selected}}"),
        ("rest", "namespaces: ['*']"),
    ])
    .unwrap_or_else(|errors| panic!("{errors}"))
    .with_release_namespace("sandgate")
}

#[test]
fn name_beats_pattern_beats_selector_beats_rest() {
    let set = all_kinds();
    let of = |name: &str, path: Option<&str>| set.for_namespace(name, path).map(|policy| policy.name.clone());
    for (name, path, expected) in [
        ("a", None, Some("named")),
        ("a", Some("selected"), Some("named")),
        ("ci-a", None, Some("named")),
        ("ci-b", None, Some("pattern")),
        ("team-a-dev", Some("selected"), Some("pattern")),
        ("x1y2z", None, Some("pattern")),
        ("xyz", None, Some("pattern")),
        ("team", Some("selected"), Some("selected")),
        ("team", None, Some("rest")),
        ("team", Some("gone"), None),
        ("team", Some("named"), None),
        ("kube-system", None, None),
        ("kube-system", Some("selected"), None),
        ("sandgate", Some("selected"), None),
        ("sandgate", None, None),
    ] {
        assert_eq!(of(name, path).as_deref(), expected, "{name} {path:?}");
    }
}

#[test]
fn labels_choose_as_the_webhooks_do() {
    let set = all_kinds();
    let selected = |key: &str| (key == "sandgate.dev/policy").then_some("selected");
    let of = |name: &str| set.for_labelled_namespace(name, selected).map(|policy| policy.name.clone());
    assert_eq!([of("team"), of("a"), of("ci-b")].map(Option::unwrap), ["selected", "named", "pattern"]);
    assert_eq!(set.for_labelled_namespace("team", |_| None).unwrap().name, "rest");
}

#[test]
fn namespace_without_policy_has_none() {
    let set = load(&with_spec("namespaces: [a]")).unwrap();
    assert!(set.for_namespace("b", None).is_none());
    assert!(set.for_namespace("", None).is_none());
}

#[test]
fn two_policies_for_one_namespace_are_denied() {
    for (one, other, words) in [
        (
            "namespaces: [a]",
            "namespaces: [a]",
            "namespace \"a\" already has the policy \"one\" of policy.yaml",
        ),
        ("namespaces: ['*']", "namespaces: ['*']", "namespace \"*\" already has"),
        ("namespaces: ['ci-*']", "namespaces: ['c*-dev']", "can match the same namespace as \"ci-*\""),
        (
            "namespaceSelector: {matchLabels: {a: b}}",
            "namespaceSelector: {matchLabels: {c: d}}",
            "can select the same",
        ),
        (
            "namespaceSelector: {matchExpressions: [{key: a, operator: Exists}]}",
            "namespaceSelector: {matchLabels: {a: b}}",
            "can select the same",
        ),
        (
            "namespaceSelector: {matchLabels: {a: b, c: d}}",
            "namespaces: ['*']",
            "several requirements beside a policy for \"*\"",
        ),
    ] {
        let error = set(&[("one", one), ("other", other)]).expect_err(other);
        assert!(error.contains(words), "{error}");
    }
    for (one, other) in [
        ("namespaces: ['ci-*']", "namespaces: [ci-a]"),
        ("namespaces: ['ci-*']", "namespaces: ['cd-*']"),
        ("namespaceSelector: {matchLabels: {a: b}}", "namespaceSelector: {matchLabels: {a: c}}"),
        (
            "namespaceSelector: {matchLabels: {a: b, c: d}}",
            "namespaceSelector: {matchExpressions: [{key: x, operator: Exists}, {key: a, operator: NotIn, values: [b]}]}",
        ),
        ("namespaceSelector: {matchLabels: {a: b}}", "namespaces: ['*']"),
    ] {
        assert!(set(&[("one", one), ("other", other)]).is_ok(), "{one} {other}");
    }
}

#[test]
fn candidate_has_no_namespaces_and_no_candidate() {
    assert!(set(&[("one", "candidate: two"), ("two", "namespaces: []")]).is_ok());
    let error = set(&[("one", "candidate: two"), ("two", "namespaces: [b]")]).unwrap_err();
    assert!(error.contains("spec.candidate: \"two\" has namespaces of its own"), "{error}");
    let error = set(&[
        ("one", "candidate: two"),
        ("two", "namespaces: []\ncandidate: three"),
        ("three", "namespaces: []"),
    ]);
    assert!(error.unwrap_err().contains("a candidate of its own"));
    let loaded = set(&[("one", "candidate: two"), ("two", "namespaces: []")]).unwrap();
    assert_eq!(loaded.candidate_of(loaded.named("one").unwrap()).unwrap().name, "two");
}

#[test]
fn each_kind_of_webhook_leaves_out_what_an_earlier_kind_covers() {
    let scopes = serde_json::to_value(all_kinds().webhook_scopes()).unwrap();
    let by_name = "kubernetes.io/metadata.name";
    let not_by_pattern = serde_json::json!({
        "name": "not-by-pattern",
        "expression": "!(request.namespace.matches('^(ci-[^/]*|team-[^/]*-dev|x[^/]*y[^/]*z)$'))",
    });
    let not_kubernetes = serde_json::json!({
        "name": "not-kubernetes",
        "expression": "!request.namespace.startsWith('kube-')",
    });
    let expected = serde_json::json!([
        {
            "kind": "names", "pathPolicy": "",
            "namespaceSelector": {"matchExpressions": [{"key": by_name, "operator": "In", "values": ["a", "ci-a"]}]},
            "matchConditions": [],
        },
        {
            "kind": "patterns", "pathPolicy": "",
            "namespaceSelector": {"matchExpressions": [{"key": by_name, "operator": "NotIn", "values": ["a", "ci-a"]}]},
            "matchConditions": [{
                "name": "by-pattern",
                "expression": "request.namespace.matches('^(ci-[^/]*|team-[^/]*-dev|x[^/]*y[^/]*z)$')",
            }],
        },
        {
            "kind": "selector", "pathPolicy": "selected",
            "namespaceSelector": {"matchExpressions": [
                {"key": "sandgate.dev/policy", "operator": "In", "values": ["selected"]},
                {"key": by_name, "operator": "NotIn", "values": ["a", "ci-a", "sandgate"]},
            ]},
            "matchConditions": [not_kubernetes, not_by_pattern],
        },
        {
            "kind": "rest", "pathPolicy": "",
            "namespaceSelector": {"matchExpressions": [
                {"key": by_name, "operator": "NotIn", "values": ["a", "ci-a", "sandgate"]},
                {"key": "sandgate.dev/policy", "operator": "NotIn", "values": ["selected"]},
            ]},
            "matchConditions": [not_kubernetes, not_by_pattern],
        },
    ]);
    assert_eq!(scopes, expected);
}

#[test]
fn webhooks_of_named_policies_are_one() {
    let set = set(&[("one", "namespaces: [a]"), ("two", "namespaces: [b]")]).unwrap();
    let scopes = set.webhook_scopes();
    assert_eq!(scopes.len(), 1);
    assert_eq!(scopes[0].namespace_selector.match_expressions[0].values, ["a", "b"]);
    assert!(scopes[0].match_conditions.is_empty());
}

#[test]
fn lookup_agrees_with_a_search_through_all_patterns() {
    let patterns = ["a*", "b*c", "z*", "bx*y*d", "x*-q-*r", "xy*z"];
    let policies = patterns.map(|pattern| (pattern.replace('*', "0"), format!("namespaces: ['{pattern}']")));
    let policies: Vec<(&str, &str)> =
        policies.iter().map(|(name, spec)| (name.as_str(), spec.as_str())).collect();
    let set = set(&policies).unwrap();
    for (pattern, (policy, _)) in patterns.iter().zip(&policies) {
        for name in ["a", "ab", "bc", "bxc", "z", "az", "bxyd", "bx1y2d", "x-q-r", "xa-q-br", "ü"] {
            let expected = Pattern::try_from(pattern.to_string()).unwrap().matches(name);
            let found = set.for_namespace(name, None).is_some_and(|found| found.name == *policy);
            assert_eq!(found, expected, "{pattern} {name}");
        }
    }
}
