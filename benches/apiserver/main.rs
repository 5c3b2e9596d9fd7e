//! The latency that admission adds to a Pod create, seen by the client of a real API server:
//! `cargo bench --bench apiserver [-- --quick]`.
//!
//! Dry-run creates of one client, one after the other, in namespaces that take turns: one without admission, one with
//! the null webhook, with sandgate's mutating webhook, with both, with the backstop (`ValidatingAdmissionPolicy`), and with
//! the fills and the backstop (`MutatingAdmissionPolicy`). With `-- --creators=10,50 [--seconds=20]` so many clients at once instead. Times
//! never make it fail: it prints a table.

#[path = "../support/admission_policies.rs"]
mod admission_policies;
mod creators;
#[path = "../support/mod.rs"]
mod support;

use std::{
    env, fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use self::{
    admission_policies::{mutating, store, validating, wait_until_denied, wait_until_filled},
    support::{
        Result, certificate,
        pods::complete_pod,
        reviews::{self, Kind},
        server::{self, Server},
        webhook,
    },
};
use testbed::{ControlPlane, Reinvocation, Rest, Sandgate, Webhook, WebhookKind, load::plain_pod};

const NONE: &str = "without";
const NULL: &str = "null";
const SANDGATE: &str = "sandgate";
const BOTH: &str = "both";
const BACKSTOP: &str = "backstop";
const FILLS: &str = "fills";

const NULL_WEBHOOK: &str = "null.example.com";

fn main() -> Result<()> {
    // It may be the null webhook that is started here, with a runtime of its own.
    webhook::run_if_asked();
    tokio::runtime::Runtime::new()?.block_on(compare())
}

async fn compare() -> Result<()> {
    let bed = ControlPlane::start().await?;
    let rest = bed.rest().await?;
    for namespace in [NONE, NULL, SANDGATE, BOTH, BACKSTOP, FILLS] {
        bed.namespace(&rest, &json!({"name": namespace})).await?;
    }
    let folder = tempfile::tempdir()?;
    let _null = start_null(&bed, &rest, folder.path()).await?;
    let sandgate = Sandgate::start(&bed, &[SANDGATE]).await?;
    sandgate.guard_as(&bed, &rest, WebhookKind::Mutating).await?;
    if let Some(asked) = creators::asked(env::args())? {
        return creators::compare(&rest, &asked).await;
    }
    let both = Sandgate::start(&bed, &[BOTH]).await?;
    both.guard(&bed, &rest).await?;
    store(&rest, &validating(&[BACKSTOP, FILLS])?).await?;
    store(&rest, &mutating(FILLS)?).await?;
    for namespace in [BACKSTOP, FILLS] {
        wait_until_denied(&rest, namespace).await?;
    }
    wait_until_filled(&rest, FILLS).await?;
    compare_one_client(&rest).await
}

async fn compare_one_client(rest: &Rest) -> Result<()> {
    let quick = env::args().any(|argument| argument == "--quick");
    let (rounds, creates) = if quick { (3, 50) } else { (9, 200) };
    let cases = [
        ("no admission", NONE, complete_pod()?),
        ("null webhook", NULL, complete_pod()?),
        ("sandgate, mutating, complete Pod (no patch)", SANDGATE, complete_pod()?),
        ("sandgate, mutating, plain Pod (patch)", SANDGATE, plain_pod()),
        ("sandgate, both webhooks, complete Pod", BOTH, complete_pod()?),
        ("sandgate, both webhooks, plain Pod", BOTH, plain_pod()),
        ("backstop (ValidatingAdmissionPolicy), complete Pod", BACKSTOP, complete_pod()?),
        ("fills and backstop (MutatingAdmissionPolicy), plain Pod", FILLS, plain_pod()),
    ];
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); cases.len()];
    for round in 0..=rounds {
        for ((_, namespace, pod), times) in cases.iter().zip(&mut times) {
            let measured = create(rest, namespace, pod, creates).await?;
            // The first round warms up.
            if round > 0 {
                times.extend(measured);
            }
        }
    }
    println!("| dry-run create, one client | p50 ms | p99 ms | added p50 ms |\n|---|--:|--:|--:|");
    let base = quantile(&mut times[0], 0.5);
    for ((name, ..), times) in cases.iter().zip(&mut times) {
        let (half, most) = (quantile(times, 0.5), quantile(times, 0.99));
        println!("| {name} | {half:.2} | {most:.2} | {:.2} |", half - base);
    }
    let (null, ours) = (quantile(&mut times[1], 0.5), quantile(&mut times[2], 0.5));
    let met = if ours - null <= 0.15 { "met" } else { "missed" };
    println!("\nsandgate − null: {:.2} ms at p50 (target: at most 0.15 ms, {met})", ours - null);
    Ok(())
}

/// Starts the null webhook, with the answer of sandgate to a complete Pod, and makes it known.
async fn start_null(bed: &ControlPlane, rest: &Rest, folder: &Path) -> Result<Server> {
    certificate::write(folder)?;
    let review = reviews::create(Kind::Complete, reviews::SMALL);
    webhook::write_answer(folder, &review)?;
    let server = Server::start(server::Kind::Null, folder)?;
    let url = format!("https://{}/mutate", server.address);
    let ca = fs::read_to_string(folder.join("ca.crt"))?;
    let namespaces = [NULL.to_string()];
    let (kind, configuration, name) = (WebhookKind::Mutating, NULL, NULL_WEBHOOK);
    let (ca, namespaces, reinvocation) = (&ca, &namespaces, Reinvocation::IfNeeded);
    Webhook { kind, configuration, name, url: &url, ca, namespaces, reinvocation }.register(rest).await?;
    wait_until_asked(bed, rest).await?;
    Ok(server)
}

/// The API server takes notice of a new webhook within moments; then the audit log has its annotations.
async fn wait_until_asked(bed: &ControlPlane, rest: &Rest) -> Result<()> {
    testbed::eventually("the API server asks the null webhook", async || {
        // The webhook may not listen yet.
        if create(rest, NULL, &complete_pod()?, 1).await.is_err() {
            return Ok(None);
        }
        let asked = bed.audit_events(NULL)?.iter().any(|event| event.to_string().contains(NULL_WEBHOOK));
        Ok(asked.then_some(()))
    })
    .await
}

async fn create(rest: &Rest, namespace: &str, pod: &Value, count: usize) -> Result<Vec<Duration>> {
    let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        rest.post(&path, pod).await?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// Returns a quantile in milliseconds.
fn quantile(times: &mut [Duration], at: f64) -> f64 {
    times.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let index = ((times.len() - 1) as f64 * at) as usize;
    times[index].as_secs_f64() * 1000.0
}
