//! Readers of the audit trail and the log that stop reading, while one user floods both.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Read},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::time::sleep;

use crate::{
    ATTACKER, BYSTANDER, LEAD, Result,
    attacks::Done,
    bystander::{Bystander, Seen},
    gate::{Gate, Records, Trail},
    limit::MemoryLimit,
    reviews,
    table::Row,
};

/// The denials of the flood: more than the queue of records holds.
const FLOOD: usize = 6000;

/// Floods a gate whose streams are not read, then reads them.
///
/// The trail has to drop records of the user who floods it, and to count them. Lost are records that it neither has nor
/// counts, and all of the other user's that it does not have.
///
/// # Errors
/// If the webhook cannot be started.
pub(crate) async fn run(limit: &MemoryLimit) -> Result<(Row, String)> {
    let mut gate = Gate::start(limit, Trail::Pipe, &[]).await?;
    let bystander = Bystander::start(gate.client(BYSTANDER), "beside-flood");
    sleep(LEAD).await;
    let mut done = Done::default();
    let mut connection = gate.client(ATTACKER).connect().await?;
    for number in 0..FLOOD {
        let review = reviews::create(format!("flood-{number}"), "workflows", &reviews::hostile());
        done.add(review.uid, connection.post("/mutate?timeout=30s", review.body).await);
    }
    sleep(LEAD).await;
    let mut seen = bystander.stop().await?;
    gate.revive()?;
    let trail = read(&mut gate);
    // The next record carries the notice of those that were dropped.
    let after = Bystander::start(gate.client(BYSTANDER), "beside-reading");
    sleep(LEAD).await;
    let Seen { admitted, failures, .. } = after.stop().await?;
    seen.admitted.extend(admitted);
    seen.failures.extend(failures);
    let (lost, dropped) = settle(&trail, &seen.admitted, &done.uids).await;
    let note = format!(
        "{dropped} of {FLOOD} records of the user who flooded stalled readers were dropped, which the trail says"
    );
    let row = Row {
        finds: "A7",
        attack: "readers of trail and log stall while one user floods them",
        requests: done.requests,
        restarts: gate.restarts,
        escapes: done.escapes.len(),
        lost,
        seen,
    };
    Ok((row, note))
}

/// Reads both streams from now on, and returns the records of the trail so far.
fn read(gate: &mut Gate) -> Arc<Mutex<Records>> {
    let records = Arc::new(Mutex::new(Records::default()));
    let (trail, log) = gate.streams();
    if let Some(trail) = trail {
        let records = Arc::clone(&records);
        thread::spawn(move || {
            for line in BufReader::new(trail).lines().map_while(Result::ok) {
                records.lock().unwrap_or_else(PoisonError::into_inner).add(&line);
            }
        });
    }
    if let Some(mut log) = log {
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while matches!(log.read(&mut buffer), Ok(1..)) {}
        });
    }
    records
}

/// Waits until every record is there or counted, and returns how many are lost and how many are counted as dropped.
async fn settle(trail: &Mutex<Records>, others: &HashSet<String>, flood: &HashSet<String>) -> (u64, u64) {
    const TRIES: u32 = 40;
    let (mut lost, mut dropped) = (0, 0);
    for _ in 0..TRIES {
        {
            let records = trail.lock().unwrap_or_else(PoisonError::into_inner);
            let missing = |uids: &HashSet<String>| {
                uids.iter().filter(|uid| !records.uids.contains(*uid)).count() as u64
            };
            dropped = records.dropped;
            lost = missing(others) + missing(flood).abs_diff(dropped);
        }
        if lost == 0 {
            break;
        }
        sleep(Duration::from_millis(250)).await;
    }
    (lost, dropped)
}
