//! Pods at the bounds on their size, which both statements have.

use serde_json::{Value as Json, json};

use super::fixture::{Comparison, Fixture};
use crate::generator;

/// The lengths of the lists of a Pod.
#[derive(Clone, Copy)]
struct Size {
    containers: usize,
    volumes: usize,
    variables: usize,
    mounts: usize,
}

const SMALL: Size = Size { containers: 1, volumes: 0, variables: 0, mounts: 0 };
const LARGEST: Size = Size { containers: 100, volumes: 98, variables: 2000, mounts: 500 };

/// A Pod that is complete but for its size.
fn pod(size: Size) -> Json {
    let mut pod = generator::complete();
    let tiny = json!({"cpu": "1m", "memory": "1Mi", "ephemeral-storage": "1Mi"});
    let mut container = pod["spec"]["containers"][0].clone();
    container["resources"] = json!({"requests": tiny, "limits": tiny});
    let share = |total: usize, number: usize| {
        (0..total).filter(move |item| item % size.containers == number).collect::<Vec<_>>()
    };
    let containers = (0..size.containers).map(|number| {
        let mut container = container.clone();
        container["name"] = json!(format!("c{number}"));
        let variables = share(size.variables, number).into_iter();
        container["env"] = variables.map(|item| json!({"name": format!("V{item}"), "value": "x"})).collect();
        let mounts = share(size.mounts, number).into_iter();
        container["volumeMounts"] =
            mounts.map(|item| json!({"name": "tmp", "mountPath": format!("/tmp/{item}")})).collect();
        container
    });
    pod["spec"]["containers"] = containers.collect();
    let volumes = pod["spec"]["volumes"].as_array_mut().unwrap();
    let own = (0..size.volumes)
        .map(|number| json!({"name": format!("v{number}"), "emptyDir": {"sizeLimit": "1Mi"}}));
    volumes.extend(own);
    pod
}

#[tokio::test]
async fn largest_pod_is_evaluated_and_one_beyond_a_bound_is_denied_by_both() {
    let fixture = Fixture::new("bounds", &json!({})).await;
    fixture.arm().await;
    let mut problems = Vec::new();
    for (name, size) in [("small", SMALL), ("largest", LARGEST)] {
        // Nothing of it is too costly for the API server, whose message would name no rule.
        let compared = fixture.compare(&pod(size)).await;
        if !matches!(compared, Comparison::Admitted) {
            problems.push(format!("{name}: {compared:?}"));
        }
    }
    for (name, size) in [
        ("containers", Size { containers: 101, ..SMALL }),
        ("volumes", Size { volumes: 99, ..SMALL }),
        ("variables", Size { variables: 2001, ..SMALL }),
        ("mounts", Size { mounts: 501, ..SMALL }),
    ] {
        let compared = fixture.compare(&pod(size)).await;
        if !matches!(compared, Comparison::Denied) {
            problems.push(format!("{name}: {compared:?}"));
        }
    }
    fixture.disarm().await;
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
