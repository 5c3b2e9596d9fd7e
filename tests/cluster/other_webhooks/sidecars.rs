//! Sidecars that another webhook adds between our two rounds.

use serde_json::{Value, json};

use super::removals::add_container;
use crate::{
    examples::{complete_pod, plain_pod},
    sandbox::Sandbox,
    sandboxed::{assert_sandboxed, containers},
    webhooks::{Injector, Place},
};
use testbed::Reinvocation;

#[tokio::test]
async fn an_injected_sidecar_is_sandboxed_and_shares_the_budget() {
    let sandbox = sandbox_with_injector(json!({"name": "sidecar", "image": "proxy:1"})).await;
    let stored = sandbox.create_and_read(&plain_pod("main")).await;
    assert_eq!(names(&stored), ["main", "sidecar"]);
    assert_sandboxed(&stored);
}

#[tokio::test]
async fn a_sidecar_that_asks_for_something_shares_the_budget_too() {
    let resources = json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "500m", "memory": "512Mi"}});
    let sidecar = json!({"name": "sidecar", "image": "proxy:1", "resources": resources});
    let sandbox = sandbox_with_injector(sidecar).await;
    let stored = sandbox.create_and_read(&plain_pod("main")).await;
    assert_eq!(stored.pointer("/spec/containers/1/resources/limits/cpu"), Some(&json!("500m")));
    assert_sandboxed(&stored);
}

#[tokio::test]
async fn a_hostile_sidecar_is_denied() {
    let sidecar = json!({"name": "sidecar", "image": "proxy:1", "securityContext": {"privileged": true}});
    let sandbox = sandbox_with_injector(sidecar).await;
    let denial = sandbox.create(&plain_pod("main")).await.expect_err("the sidecar is privileged");
    assert!(denial.message.contains("spec.containers[1].securityContext.privileged"), "{denial}");
    assert_eq!(sandbox.pods().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_sidecar_beyond_a_budget_that_a_person_used_up_is_denied() {
    let sandbox = sandbox_with_injector(json!({"name": "sidecar", "image": "proxy:1"})).await;
    let denial = sandbox.create(&complete_pod("main")).await.expect_err("nothing is left for it");
    assert!(denial.message.contains("spec.containers[1].resources.limits"), "{denial}");
    assert_eq!(sandbox.pods().await, Vec::<Value>::new());
}

/// A sandbox with a webhook behind ours that adds `container` to each pod.
async fn sandbox_with_injector(container: Value) -> Sandbox {
    let sandbox = Sandbox::new().await;
    let injector = Injector::start("CREATE").await;
    injector.will(move |pod| add_container(pod, container.clone()));
    injector.register(&sandbox, Place::AfterSandgate, Reinvocation::IfNeeded).await;
    sandbox
}

fn names(pod: &Value) -> Vec<&str> {
    containers(pod).filter_map(|container| container["name"].as_str()).collect()
}
