//! `POST /templates`: what is answered about the objects that make Pods.

use std::fs;

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::{
    client::{Answer, Http1, Target, metric, plain_pod, post, review},
    process::Server,
};

const POLICY: &str =
    "{apiVersion: sandgate.dev/v1beta1, kind: SandboxPolicy, metadata: {name: p}, spec: {templates: fill}}";

/// Starts a server whose policy fills templates.
fn filling(arguments: &[&str]) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    fs::write(&policy, POLICY).unwrap();
    let [certs, policy] = [folder.path(), &policy].map(|path| path.display().to_string());
    let usual = ["--certs", "dev", "--cert-dir", &certs, "--policy", &policy];
    Server::start_in(folder, &[&usual, arguments].concat())
}

fn job(context: &Value) -> Value {
    let mut spec = plain_pod()["spec"].clone();
    spec["restartPolicy"] = json!("Never");
    spec["containers"][0]["securityContext"] = context.clone();
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "it"}, "spec": {"template": {"spec": spec}}})
}

fn review_of(object: &Value) -> String {
    let mut review: Value = serde_json::from_str(&review("CREATE", object)).unwrap();
    review["request"]["resource"] = json!({"group": "batch", "version": "v1", "resource": "jobs"});
    review.to_string()
}

/// Returns the response of an answer that allows.
fn allowed(answer: &Answer) -> Value {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let response = answer.json()["response"].clone();
    assert_eq!((&response["allowed"], response["uid"].is_string()), (&json!(true), true));
    response
}

async fn counted(server: &Server, result: &str) -> u64 {
    metric(server, &format!(r#"sandgate_template_reviews_total{{result="{result}"}}"#)).await
}

#[tokio::test]
async fn a_template_is_filled_or_warned_of_and_only_pods_are_recorded() {
    let server = filling(&[]);
    let target = Target::of(&server);
    let filled = allowed(&target.post("/templates?timeout=1s", review_of(&job(&json!({})))).await);
    assert_eq!(filled["patchType"], "JSONPatch");
    let privileged = review_of(&job(&json!({"privileged": true})));
    let warned = allowed(&target.post("/templates/p?timeout=1s", privileged).await);
    let warning = warned["warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with("sandgate will deny its Pods: spec.template.spec.containers[0]."),
        "{warning}"
    );
    assert!(warned.get("patch").is_none(), "{warned}");

    for (result, count) in [("conforms", 1), ("violates", 1), ("skipped", 0), ("unread", 0)] {
        assert_eq!(counted(&server, result).await, count, "{result}");
    }
    assert_eq!(metric(&server, "sandgate_templates_filled_total").await, 1);
    target.post("/mutate", review("CREATE", &plain_pod())).await;
    server.audit.wait_for(r#""endpoint":"mutate""#);
    let verdicts = server.audit.all().iter().filter(|line| line.contains(r#""verdict""#)).count();
    assert_eq!(verdicts, 1, "{:?}", server.audit.all());
}

#[tokio::test]
async fn what_is_too_large_is_allowed_as_it_is() {
    let server = filling(&["--max-body-bytes", "100000"]);
    let mut large = job(&json!({}));
    large["metadata"]["annotations"] = json!({"x": "y".repeat(200_000)});
    // As the API server writes it: the uid comes before the object.
    let body = review_of(&large).replacen(r#""request":{"#, r#""request":{"uid":"first","#, 1);
    let mut connection = Http1::over(Target::of(&server).connect().await).await;
    let answer = connection.send(post("/templates", body)).await;
    let response = allowed(&answer);
    assert!(response.get("patch").is_none() && answer.closes(), "{answer:?}");
    assert_eq!(counted(&server, "unread").await, 1);
}

#[tokio::test]
async fn a_large_object_is_reviewed_aside() {
    let server = filling(&[]);
    let mut large = job(&json!({"privileged": true}));
    let variables = (0..2000).map(|index| json!({"name": format!("V{index}"), "value": "x".repeat(100)}));
    large["spec"]["template"]["spec"]["containers"][0]["env"] = variables.collect();
    let response = allowed(&Target::of(&server).post("/templates", review_of(&large)).await);
    assert!(!response["warnings"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn only_admission_reviews_are_answered() {
    let server = filling(&[]);
    let target = Target::of(&server);
    assert_eq!(target.post("/templates", "{}").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        target.post("/templates/a/b", review_of(&job(&json!({})))).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(metric(&server, "sandgate_bad_requests_total").await, 1);
}
