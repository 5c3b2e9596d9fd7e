//! Engines that make Pods for people, each in a namespace with its preset: from what a user submits to the Pod that has
//! ended in gVisor, and to the message that a user of the engine sees of a denial.
//!
//! The programs of the engines are built from Go modules, which takes minutes once. `make engines` builds them; without
//! them their tests are shown as ignored.

mod argo_workflows;
mod jobs;
mod kueue;
mod tools;

use std::env;

use serde_json::{Value, json};
use testbed::{Cluster, Engine, Rest, Result, harness::Test};

use crate::{pods::until, shared::Bed};

/// The tests of this module and of its engines.
pub(crate) fn tests() -> Vec<Test> {
    let mut tests = jobs::tests();
    tests.extend(needing(Engine::ArgoWorkflows, argo_workflows::tests()));
    tests.extend(needing(Engine::Kueue, kueue::tests()));
    let missing = (!all_are_wanted()).then(|| "the image is large: make engines packs it".to_owned());
    tests.extend(tools::tests().into_iter().map(|test| test.requires(missing.clone())));
    tests
}

/// Returns true if `make engines` runs.
fn all_are_wanted() -> bool {
    env::var_os("SANDGATE_ENGINES").is_some_and(|value| value == "1")
}

/// Shows tests as ignored on a machine that has not built the engine and shall not.
fn needing(engine: Engine, tests: Vec<Test>) -> Vec<Test> {
    let missing = (!all_are_wanted() && !engine.is_built())
        .then(|| "the engine is not built: make engines builds it, which takes minutes once".to_owned());
    tests.into_iter().map(|test| test.requires(missing.clone())).collect()
}

/// Creates the namespaces of engines, and has sandgate installed with a policy for each: its preset.
pub(crate) async fn prepare(cluster: &Cluster) -> Result<()> {
    let rest = cluster.bed.rest().await?;
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let presets = [argo_workflows::NAMESPACE, jobs::NAMESPACE, kueue::NAMESPACE];
    let mut policies = json!({});
    for preset in presets {
        cluster.bed.namespace(&rest, &json!({"name": preset, "labels": labels})).await?;
        policies[preset] = json!({"extends": format!("preset/{preset}"), "namespaces": [preset]});
    }
    cluster.add_values(&json!({"policies": policies}))
}

/// The Pods of a namespace that a selector of labels names.
async fn pods_of(rest: &Rest, namespace: &str, selector: &str) -> Vec<Value> {
    let selector = selector.replace('=', "%3D");
    let list =
        rest.get(&format!("/api/v1/namespaces/{namespace}/pods?labelSelector={selector}")).await.unwrap();
    list["items"].as_array().unwrap().clone()
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
