//! `sandgate review`.

use serde_json::{Value, json};

use crate::{Folder, policy, sandgate, sandgate_with};

pub(crate) fn review(uid: &str, pod: &Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": uid, "operation": "CREATE", "namespace": "workflows",
        "resource": {"group": "", "version": "v1", "resource": "pods"}, "object": pod,
    }})
}

fn plain() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "b"}]}})
}

fn hostile() -> Value {
    let mut pod = plain();
    pod["spec"]["hostPID"] = json!(true);
    pod
}

fn answers(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["response"].clone()).collect()
}

#[test]
fn one_review_is_one_answer() {
    let answers = answers(&sandgate_with(&["review"], review("u", &plain()).to_string()).fine());
    assert_eq!((&answers[0]["uid"], &answers[0]["allowed"]), (&json!("u"), &json!(true)));
    assert!(answers[0]["patch"].is_string());
}

#[test]
fn a_stream_is_answered_in_order_however_it_is_cut() {
    let reviews = [review("1", &plain()), review("2", &hostile()), review("3", &plain())];
    let [a, b, c] = &reviews;
    for stream in [format!("{a}{b}{c}"), format!("{a}\n{b}\n{c}\n"), format!("\n{a:#}\r\n\t{b:#} {c:#}")] {
        let answers = answers(&sandgate_with(&["review"], stream).violations());
        let answers: Vec<_> =
            answers.iter().map(|answer| (answer["uid"].as_str(), answer["allowed"].as_bool())).collect();
        assert_eq!(answers, [(Some("1"), Some(true)), (Some("2"), Some(false)), (Some("3"), Some(true))]);
    }
}

#[test]
fn validate_fills_nothing() {
    let run = sandgate_with(&["review", "--endpoint", "validate"], review("u", &plain()).to_string());
    let answers = answers(&run.violations());
    assert_eq!(answers[0]["allowed"], false);
    assert_eq!(answers[0]["patch"], Value::Null);
}

#[test]
fn a_warning_is_no_denial() {
    let folder = Folder::with(&[("p.yaml", &policy("workflows", "warn"))]);
    let run = folder.run_with(&["review", "--policy", "p.yaml"], review("u", &hostile()).to_string());
    let answers = answers(&run.fine());
    let warnings = answers[0]["warnings"].as_array().unwrap();
    assert!(
        warnings.iter().any(|line| line.as_str().unwrap().contains("spec.hostPID is true")),
        "{warnings:?}"
    );
}

#[test]
fn what_is_no_review_ends_the_stream_and_is_named() {
    let first = review("1", &plain()).to_string();
    let run = sandgate_with(&["review"], format!("{first}\n{{\"kind\": \"Pod\"}}\n{first}"));
    assert_eq!(run.status, 2);
    assert_eq!(answers(&run.stdout).len(), 1, "what came before is answered");
    let place = first.len() + 1;
    assert_eq!(
        run.stderr,
        format!(
            "error: review 2, from byte {place} of standard input: not an AdmissionReview: kind is \"Pod\"\n"
        )
    );
}

#[test]
fn input_that_is_no_review_is_one_clear_error() {
    for (input, problem) in [
        ("hello", "not an AdmissionReview: expected value at line 1 column 1"),
        ("[{}]", "not an AdmissionReview: begins with '[', not with '{'"),
        ("{\"kind\": \"AdmissionReview\"", "not an AdmissionReview: the input ends inside it"),
        ("{\"a\": NaN}", "not an AdmissionReview: expected value at line 1 column 7"),
        ("{}", "not an AdmissionReview: kind is unset"),
    ] {
        sandgate_with(&["review"], input)
            .fails(&format!("review 1, from byte 0 of standard input: {problem}"));
    }
    sandgate(&["review"]).fails("standard input is empty; send it an AdmissionReview as JSON");
    sandgate(&["review", "--policy", "-"])
        .fails("standard input is for the AdmissionReviews; put the policy into a file");
}

#[test]
fn v1beta1_is_answered_in_its_own_version() {
    let mut beta = review("u", &plain());
    beta["apiVersion"] = json!("admission.k8s.io/v1beta1");
    let answer: Value = serde_json::from_str(&sandgate_with(&["review"], beta.to_string()).fine()).unwrap();
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1beta1");
}
