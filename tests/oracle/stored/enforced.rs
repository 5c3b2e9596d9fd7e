//! Policies that are enforced: nothing that violates one is stored.

use futures::{StreamExt, stream};
use serde_json::json;

use super::{
    CLIENTS, drawn,
    examine::{Seen, examine, to_send},
    fewer_pods,
    figures::Figures,
    fixture::{Fixture, How, Proof},
    pods, settings,
};
use crate::generator::{self, Case};

const RESTRICTED: &str = "restricted";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_obeys_the_default_policy_and_pod_security() {
    let proof = Proof { namespace: "workflows", spec: json!({}) };
    let fixture = Fixture::new(proof, RESTRICTED).await;
    prove(&fixture, pods()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_obeys_a_policy_of_ones_own() {
    let proof = Proof { namespace: "of-ones-own", spec: settings::spec() };
    let fixture = Fixture::new(proof, RESTRICTED).await;
    prove(&fixture, fewer_pods()).await;
}

/// Also after the API server has written its own defaults into it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_filled() {
    let proof = Proof { namespace: "filled-once", spec: json!({}) };
    let fixture = Fixture::new(proof, RESTRICTED).await;
    let mut read_back = 0;
    for (number, case) in crate::draw(generator::sound_cases(), 40).enumerate() {
        let seen = examine(&fixture, &to_send(case.pod(), number), How::Create).await;
        assert_eq!(seen.problem, None, "{case:?}");
        read_back += usize::from(seen.guarded.was_read());
    }
    assert!(read_back > 10, "only {read_back} were stored");
}

async fn prove(fixture: &Fixture, count: usize) {
    let mut figures = Figures::default();
    let mut seen = stream::iter(drawn(count))
        .map(|(number, case)| examine_case(fixture, number, case))
        .buffer_unordered(CLIENTS);
    while let Some((case, seen)) = seen.next().await {
        figures.count(case, seen);
    }
    figures.print(&fixture.guarded);
    figures.are_good(fixture);
}

async fn examine_case(fixture: &Fixture, number: usize, case: Case) -> (Case, Seen) {
    let seen = examine(fixture, &to_send(case.pod(), number), How::of(number)).await;
    (case, seen)
}
