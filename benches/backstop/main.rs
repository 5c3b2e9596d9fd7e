//! What admission costs a Pod create, beside nothing: the backstop, both webhooks, and the fills without a webhook:
//! `cargo bench --bench backstop [-- --quick]`.
//!
//! Dry-run creates of one client, one after the other, in namespaces that take turns, so that a busy machine disturbs all of
//! them alike. The processor time of the API server and of sandgate is what the kernel counts. Times never make it fail: it
//! prints tables.

#[path = "../support/admission_policies.rs"]
mod admission_policies;
mod large;
#[path = "../support/pods.rs"]
mod pods;

use std::{
    env,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use self::{
    admission_policies::{create, mutating, store, validating, wait_until_denied, wait_until_filled},
    pods::complete_pod,
};
use testbed::{ControlPlane, Sandgate, load::plain_pod};

type Result<T> = testbed::Result<T>;

const NONE: &str = "without";
const BACKSTOP: &str = "backstop";
const WEBHOOKS: &str = "webhooks";
const BOTH: &str = "both";
const FILLS: &str = "fills";

fn main() -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(compare())
}

/// One row of the table.
struct Case {
    name: &'static str,
    namespace: &'static str,
    pod: Value,
    times: Vec<Duration>,
    apiserver: Duration,
    sandgate: Duration,
}

impl Case {
    fn new(name: &'static str, namespace: &'static str, pod: Value) -> Self {
        Self { name, namespace, pod, times: Vec::new(), apiserver: Duration::ZERO, sandgate: Duration::ZERO }
    }
}

async fn compare() -> Result<()> {
    let quick = env::args().any(|argument| argument == "--quick");
    let (rounds, creates) = if quick { (3, 20) } else { (9, 100) };
    let bed = ControlPlane::start().await?;
    let rest = bed.rest().await?;
    for namespace in [NONE, BACKSTOP, WEBHOOKS, BOTH, FILLS] {
        bed.namespace(&rest, &json!({"name": namespace})).await?;
    }
    store(&rest, &validating(&[BACKSTOP, BOTH, FILLS])?).await?;
    store(&rest, &mutating(FILLS)?).await?;
    let sandgate = Sandgate::start(&bed, &[WEBHOOKS, BOTH]).await?;
    sandgate.guard(&bed, &rest).await?;
    for namespace in [BACKSTOP, BOTH, FILLS] {
        wait_until_denied(&rest, namespace).await?;
    }
    wait_until_filled(&rest, FILLS).await?;

    let mut cases = [
        Case::new("complete Pod, nothing", NONE, complete_pod()?),
        Case::new("complete Pod, backstop", BACKSTOP, complete_pod()?),
        Case::new("complete Pod, both webhooks", WEBHOOKS, complete_pod()?),
        Case::new("complete Pod, both webhooks and backstop", BOTH, complete_pod()?),
        Case::new("complete Pod, fills and backstop, no webhook", FILLS, complete_pod()?),
        Case::new("plain Pod, nothing", NONE, plain_pod()),
        Case::new("plain Pod, both webhooks", WEBHOOKS, plain_pod()),
        Case::new("plain Pod, both webhooks and backstop", BOTH, plain_pod()),
        Case::new("plain Pod, fills and backstop, no webhook", FILLS, plain_pod()),
    ];
    for round in 0..=rounds {
        for case in &mut cases {
            let before = (bed.apiserver_cpu()?, sandgate.cpu()?);
            let mut times = Vec::with_capacity(creates);
            for _ in 0..creates {
                let start = Instant::now();
                create(&rest, case.namespace, &case.pod).await?;
                times.push(start.elapsed());
            }
            // The first round warms up.
            if round > 0 {
                case.times.extend(times);
                case.apiserver += bed.apiserver_cpu()?.saturating_sub(before.0);
                case.sandgate += sandgate.cpu()?.saturating_sub(before.1);
            }
        }
    }
    println!(
        "| dry-run create, one client | p50 ms | API server CPU ms | sandgate CPU ms |\n|---|--:|--:|--:|"
    );
    for Case { name, times, apiserver, sandgate, .. } in &mut cases {
        let count = u32::try_from(times.len())?;
        times.sort_unstable();
        let half = times[times.len() / 2];
        let (apiserver, sandgate) = (millis(*apiserver / count), millis(*sandgate / count));
        println!("| {name} | {:.2} | {apiserver:.2} | {sandgate:.2} |", millis(half));
    }
    large::compare(&bed, &rest, if quick { 3 } else { 10 }).await
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
