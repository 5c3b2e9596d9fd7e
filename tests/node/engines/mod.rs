//! Engines that make Pods for people, each in a namespace with its preset: from what a user submits to the Pod that has
//! ended in gVisor, and to the message that a user of the engine sees of a denial.
//!
//! The programs of the engines are built from Go modules, and pip installs Ray, which takes minutes once. `make engines`
//! does that; in other runs their tests are shown as ignored.

mod argo_workflows;
mod jobs;
mod kueue;
mod ray;
mod tools;

use std::env;

use serde_json::{Value, json};
use testbed::{Cluster, Rest, Result, harness::Test};

use crate::{pods::until, shared::Bed};

/// The tests of this module and of its engines.
pub(crate) fn tests() -> Vec<Test> {
    let with_builds = [argo_workflows::tests(), kueue::tests(), ray::tests(), tools::tests()];
    let missing = missing();
    let with_builds = with_builds.into_iter().flatten().map(|test| test.requires(missing.clone()));
    jobs::tests().into_iter().chain(with_builds).collect()
}

/// Returns why this run leaves out the engines and the large image, unless `make engines` runs.
fn missing() -> Option<String> {
    (!are_wanted())
        .then(|| "engines are built and large images packed by make engines, in minutes".to_owned())
}

/// Returns true if `make engines` runs.
fn are_wanted() -> bool {
    env::var_os("SANDGATE_ENGINES").is_some_and(|value| value == "1")
}

/// Creates the namespaces of engines, and has sandgate installed with a policy for each: its preset.
pub(crate) async fn prepare(cluster: &Cluster) -> Result<()> {
    let rest = cluster.bed.rest().await?;
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let mut presets = vec![argo_workflows::NAMESPACE, jobs::NAMESPACE];
    if are_wanted() {
        // The doctor would miss the RuntimeClass of Ray's GPUs, which no node here has.
        presets.extend([kueue::NAMESPACE, ray::NAMESPACE]);
    }
    let mut policies = json!({});
    for preset in presets {
        cluster.bed.namespace(&rest, &json!({"name": preset, "labels": labels})).await?;
        policies[preset] = json!({"extends": format!("preset/{preset}"), "namespaces": [preset]});
    }
    // Kueue counts the requests that the templates of Jobs have.
    let templates = json!({"enabled": are_wanted(), "kinds": ["jobs.batch"]});
    cluster.add_values(&json!({"policies": policies, "webhook": {"templates": templates}}))
}

/// The Pods of a namespace that a selector of labels names.
async fn pods_of(rest: &Rest, namespace: &str, selector: &str) -> Vec<Value> {
    let list = rest.get(&selected_pods(namespace, selector)).await.unwrap();
    list["items"].as_array().unwrap().clone()
}

/// The path of these Pods.
fn selected_pods(namespace: &str, selector: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods?labelSelector={}", selector.replace('=', "%3D"))
}

/// The output of a container.
async fn logs_of<G>(bed: &Bed<G>, pod: &Value, container: &str) -> String {
    let metadata = |field: &str| pod["metadata"][field].as_str().unwrap().to_owned();
    let (namespace, name) = (metadata("namespace"), metadata("name"));
    let output = bed.cluster.bed.kubectl(&["logs", &name, "-c", container, "-n", &namespace]).await;
    output.expect_success()
}

/// Waits for an Event about a denied Pod of an object, and returns its message.
async fn event_of<G>(bed: &Bed<G>, namespace: &str, object: &str, reason: &str) -> String {
    let path = format!(
        "/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.name%3D{object},reason%3D{reason}"
    );
    let list = until(&bed.rest, &path, "has an Event", |list| list["items"][0].is_object()).await.unwrap();
    list["items"][0]["message"].as_str().unwrap().to_owned()
}
