//! Hostile and broken input.

use serde_json::{Value, json};

use crate::{Folder, PLAIN_POD, review::review, sandgate_with};

/// `check` of this text ends with 2 and just this line.
fn check_fails(text: impl Into<Vec<u8>>, problem: &str) {
    sandgate_with(&["check", "-"], text).fails(&format!("standard input:{problem}"));
}

/// `check` of this Pod ends with 1, and one of the violations contains this.
fn check_denies(pod: &str, violation: &str) {
    let text = sandgate_with(&["check", "-"], pod).violations();
    assert!(text.contains(violation), "{text}");
}

/// `review` of this text denies, for this reason.
fn review_denies(text: impl Into<Vec<u8>>, reason: &str) {
    let stdout = sandgate_with(&["review"], text).violations();
    let answer: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(answer["response"]["allowed"], false);
    let message = answer["response"]["status"]["message"].as_str().unwrap();
    assert!(message.contains(reason), "{message}");
    assert!(message.len() < 20_000);
}

#[test]
fn what_is_no_yaml_is_named_by_line() {
    check_fails(
        "hello\n",
        "1: not a Kubernetes object: it needs an apiVersion and a kind, both of them strings",
    );
    check_fails(
        "apiVersion: v1\nkind: [Pod]\n",
        "1: not a Kubernetes object: it needs an apiVersion and a kind, both of them strings",
    );
    check_fails("apiVersion: v1\nkind: Pod\nspec: \"x\n", "3: unclosed quote");
    check_fails("{\"apiVersion\": \"v1\",\n \"kind\": ", "2: EOF while parsing a value");
    check_fails(b"a: 1\nb: \xff\n", "2: not UTF-8, at byte 8; save the file as UTF-8");
    check_fails("a: &a [*a]\n", "1: an alias must not be inside its own anchor");
}

#[test]
fn duplicate_keys_are_errors() {
    check_fails(
        "apiVersion: v1\nkind: Pod\nspec:\n  hostPID: true\n  hostPID: false\n",
        "5: duplicate key \"hostPID\"",
    );
    check_fails("{\"kind\": \"Pod\", \"\\u006bind\": \"Pod\"}", "1: duplicate key \"kind\"");
    let pod =
        review("u", &json!({"x": 1})).to_string().replace("{\"x\":1}", "{\"kind\":\"Pod\",\"kind\":\"Pod\"}");
    review_denies(pod, "duplicate key \"kind\"");
}

#[test]
fn depth_is_bounded() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for depth in [200, 100_000] {
        check_fails(format!("apiVersion: v1\nkind: Pod\nx: {}\n", nested(depth)), "3: nested too deeply");
        check_fails(
            format!("{{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"x\": {}}}", nested(depth)),
            "1: nested too deeply",
        );
        review_denies(
            review("u", &json!("x")).to_string().replace("\"x\"", &nested(depth)),
            "recursion limit exceeded",
        );
    }
    check_denies(
        &format!("{PLAIN_POD}  x: {}\n", nested(100)),
        "spec.x is an unknown field (not in PodSpec of Kubernetes ",
    );
    let pod = json!({"metadata": {}, "spec": {"x": "x", "containers": [{"name": "a"}]}});
    review_denies(
        review("u", &pod).to_string().replace(":\"x\"", &format!(":{}", nested(100))),
        "spec.x is an unknown field",
    );
}

#[test]
fn ten_megabytes_are_read_and_an_alias_bomb_is_not() {
    let long = "x".repeat(10 << 20);
    check_denies(
        &PLAIN_POD.replace("name: main", &format!("name: main\n    workingDirr: {long}")),
        "containers[0].workingDirr is an unknown field",
    );
    let bomb = (0..9).fold(String::from("a0: &a0 [x]\n"), |bomb, level| {
        bomb + &format!("a{0}: &a{0} [{1}]\n", level + 1, vec![format!("*a{level}"); 9].join(","))
    });
    check_fails(bomb, "6: document too large");
}

#[test]
fn twenty_thousand_containers_are_counted_and_not_all_listed() {
    let containers: Vec<Value> =
        (0..20_000).map(|i| json!({"name": format!("c{i}"), "image": "b"})).collect();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "many"}, "spec": {"containers": containers}});
    let text = sandgate_with(&["check", "-"], pod.to_string()).violations();
    assert!(text.lines().count() < 1100 && text.contains(" more, too many to list\n"));
    review_denies(
        review("u", &pod).to_string(),
        "spec.containers is more than 100 containers, must be at most 100",
    );
}

#[test]
fn numbers_beyond_reason_are_rejected() {
    let digits = "9".repeat(400);
    check_fails(
        format!("{PLAIN_POD}  activeDeadlineSeconds: .nan\n"),
        "8: a number that is not finite; quote it if it is a text",
    );
    check_fails(
        format!("{PLAIN_POD}  activeDeadlineSeconds: {digits}\n"),
        "8: a number that is not finite; quote it if it is a text",
    );
    for quantity in [digits.as_str(), "1e999999999", "NaN", "-1", ""] {
        let limits = format!("{PLAIN_POD}    resources: {{limits: {{memory: \"{quantity}\"}}}}\n");
        check_denies(&limits, "standard input:8: spec.containers[0].resources.limits[memory] is");
        let pod =
            json!({"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": quantity}}}]}});
        review_denies(review("u", &pod).to_string(), "resources.limits[cpu] is");
    }
    let pod = json!({"spec": {"containers": [{"name": "a"}], "activeDeadlineSeconds": "x"}});
    review_denies(review("u", &pod).to_string().replace("\"x\"", "1e999"), "number out of range");
}

#[test]
fn a_quantity_of_ten_to_the_four_hundred_digits_is_cut_short() {
    // As many digits as fit: 10^400 of them are more than there are atoms.
    let digits = "9".repeat(1 << 20);
    let pod = json!({"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": digits}}}]}});
    review_denies(review("u", &pod).to_string(), "resources.limits[cpu] is \"99999");
    check_denies(
        &format!("{PLAIN_POD}    resources: {{limits: {{cpu: \"{digits}\"}}}}\n"),
        "resources.limits[cpu] is \"99999",
    );
}

#[test]
fn wrong_types_hide_nothing() {
    for (pod, path) in [
        (
            "apiVersion: v1\nkind: Pod\nmetadata: x\nspec: {containers: [{name: a}]}\n",
            "metadata is the string \"x\"",
        ),
        ("apiVersion: v1\nkind: Pod\nspec: []\n", "spec is a list"),
        ("apiVersion: v1\nkind: Pod\nspec: {containers: {a: b}}\n", "spec.containers is an object"),
        (
            "apiVersion: v1\nkind: Pod\nspec: {containers: [null, 1, x]}\n",
            "spec.containers[2] is the string \"x\"",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {namespace: 1}\nspec: {containers: [{name: a}]}\n",
            "metadata.namespace is a number",
        ),
        ("apiVersion: batch/v1\nkind: Job\nspec: {template: x}\n", "spec.template.spec.containers is unset"),
        (
            "apiVersion: batch/v1\nkind: Job\nspec: {template: {metadata: [], spec: {containers: x}}}\n",
            "spec.template.metadata is a list",
        ),
    ] {
        check_denies(pod, path);
    }
}

#[test]
fn names_cannot_forge_a_line_or_a_colour() {
    let evil = PLAIN_POD.replace("name: plain", "name: \"a\\n1 Pod: 1 admitted\\e[31m\\u202e\"");
    let text = sandgate_with(&["check", "-"], evil.as_str()).fine();
    assert!(
        text.starts_with("standard input:1: Pod a\u{fffd}1 Pod: 1 admitted\u{fffd}[31m\u{fffd} in namespace"),
        "{text}"
    );
    let run = sandgate_with(&["check", "-"], "apiVersion: v1\nkind: Pod\n\"a\\nb\\e\": 1\n\"a\\nb\\e\": 2\n");
    assert_eq!(run.stderr.lines().count(), 1);
    assert!(!run.stderr.contains('\u{1b}'));
}

#[test]
fn a_review_of_another_shape_is_rejected_or_no_review() {
    for (change, reason) in [
        (json!({"object": null}), "object is missing, must be a Pod"),
        (json!({"object": "x"}), "must be"),
        (json!({"object": []}), "must be"),
        (json!({"object": {"kind": "Deployment"}}), "kind is \"Deployment\", must be Pod"),
    ] {
        let mut review = review("u", &json!({}));
        review["request"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        review_denies(review.to_string(), reason);
    }
    for (change, problem) in [
        (json!({"request": null}), "not an AdmissionReview that can be answered: it has no request"),
        (
            json!({"apiVersion": "admission.k8s.io/v2"}),
            "unsupported apiVersion \"admission.k8s.io/v2\": send admission.k8s.io/v1 or admission.k8s.io/v1beta1",
        ),
        (json!({"kind": "Pod"}), "not an AdmissionReview: kind is \"Pod\""),
    ] {
        let mut review = review("u", &json!({}));
        review.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        sandgate_with(&["review"], review.to_string())
            .fails(&format!("review 1, from byte 0 of standard input: {problem}"));
    }
    let mut bytes = review("u", &json!({"a": "b"})).to_string().into_bytes();
    let place = bytes.len() - 10;
    bytes[place] = 0xff;
    assert_eq!(sandgate_with(&["review"], bytes).status, 2);
}

#[test]
fn a_folder_that_links_to_itself_ends() {
    let folder = Folder::with(&[("pods/pod.yaml", PLAIN_POD)]);
    std::os::unix::fs::symlink(folder.path("pods"), folder.path("pods/again")).unwrap();
    assert!(folder.run(&["check", "pods"]).fine().ends_with("1 Pod: 1 admitted\n"));
}
