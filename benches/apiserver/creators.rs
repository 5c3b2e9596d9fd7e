//! Many clients that create Pods at once, each as fast as it gets answers.

use std::{thread, time::Duration};

use crate::{NONE, NULL, Result, SANDGATE};
use testbed::{
    Rest,
    load::{Creates, Load, Pace, Seen},
};

/// Which numbers of creators are tried, and for how long in each namespace.
pub(crate) struct Asked {
    creators: Vec<u32>,
    time: Duration,
}

/// The measured time of each namespace is spread over so many rounds, so that each sees the same machine.
const ROUNDS: u32 = 3;

/// Reads `--creators=N,N` and `--seconds=N`; `None` without the first.
///
/// # Errors
/// Returns an error if a value is no number.
pub(crate) fn asked(arguments: impl Iterator<Item = String>) -> Result<Option<Asked>> {
    let mut creators = Vec::new();
    let mut seconds = 20;
    for argument in arguments {
        if let Some(list) = argument.strip_prefix("--creators=") {
            creators = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
        } else if let Some(number) = argument.strip_prefix("--seconds=") {
            seconds = number.parse()?;
        }
    }
    Ok((!creators.is_empty()).then(|| Asked { creators, time: Duration::from_secs(seconds) }))
}

/// Prints a table: each number of creators in a namespace without a webhook, with the null webhook, and with sandgate.
///
/// # Errors
/// Returns an error if a create fails where no webhook is.
pub(crate) async fn compare(rest: &Rest, asked: &Asked) -> Result<()> {
    let cores = thread::available_parallelism()?;
    println!("Dry-run creates; clients, API server, etcd and webhooks share {cores} cores.\n");
    println!("| creators | webhook | creates/s | p50 ms | p95 ms | p99 ms | failed | without a review |");
    println!("|--:|---|--:|--:|--:|--:|--:|--:|");
    for &clients in &asked.creators {
        let mut seen = [NONE, NULL, SANDGATE].map(|namespace| (namespace, Seen::default()));
        for _ in 0..ROUNDS {
            for (namespace, seen) in &mut seen {
                let pace = Pace { clients, rate: None };
                let load = Load::start_at(pace, rest, namespace, Creates::Tried);
                tokio::time::sleep(asked.time / ROUNDS).await;
                seen.add(load.stop().await);
            }
        }
        for (namespace, seen) in seen {
            print_row(clients, namespace, &seen, asked.time);
        }
    }
    Ok(())
}

fn print_row(clients: u32, namespace: &str, seen: &Seen, time: Duration) {
    let answered = u32::try_from(seen.sandboxed + seen.open).unwrap_or(u32::MAX);
    let [half, most, nearly_all] = [50, 95, 99].map(|percent| seen.took(percent).as_secs_f64() * 1000.0);
    let failed = seen.failed.len() + seen.denied.len() + seen.unanswered;
    let open = if namespace == SANDGATE { seen.open.to_string() } else { "–".into() };
    let per_second = f64::from(answered) / time.as_secs_f64();
    println!(
        "| {clients} | {namespace} | {per_second:.0} | {half:.1} | {most:.1} | {nearly_all:.1} | {failed} | {open} |"
    );
}
