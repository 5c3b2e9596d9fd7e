//! The well-behaved client beside each attack: reviews and probes, one after the other, as an API server and a kubelet
//! send them.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::StatusCode;
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    Result,
    client::{Client, Connection},
    reviews,
};

/// The time between two requests of the client.
const INTERVAL: Duration = Duration::from_millis(40);

/// What the client met.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The reviews that were admitted.
    pub(crate) admitted: HashSet<String>,
    /// Why others were not, and why probes failed.
    pub(crate) failures: Vec<String>,
    /// The longest time until a review was answered.
    pub(crate) slowest_review: Duration,
    /// The longest time until a probe was answered.
    pub(crate) slowest_probe: Duration,
}

/// A client that sends until it is stopped.
pub(crate) struct Bystander {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Seen>,
}

impl Bystander {
    /// Starts to send.
    pub(crate) fn start(client: Client, name: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(watch(client, name.to_owned(), Arc::clone(&stop)));
        Self { stop, task }
    }

    /// Sends no more, and returns what the client met.
    ///
    /// # Errors
    /// If the client panicked.
    pub(crate) async fn stop(self) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.task.await?)
    }
}

async fn watch(client: Client, name: String, stop: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    let mut kept = None;
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        // Every other review needs a handshake of its own.
        if number % 2 == 1 {
            kept = None;
        }
        let uid = format!("{name}-{number}");
        let start = Instant::now();
        match review(&client, &mut kept, uid.clone()).await {
            Ok(()) => {
                seen.slowest_review = seen.slowest_review.max(start.elapsed());
                seen.admitted.insert(uid);
            }
            Err(error) => seen.failures.push(format!("review: {error}")),
        }
        let start = Instant::now();
        match client.get("/healthz").await {
            Ok((StatusCode::OK, _)) => seen.slowest_probe = seen.slowest_probe.max(start.elapsed()),
            Ok((status, _)) => seen.failures.push(format!("probe: {status}")),
            Err(error) => seen.failures.push(format!("probe: {error}")),
        }
        number += 1;
        sleep(INTERVAL).await;
    }
    seen
}

async fn review(client: &Client, kept: &mut Option<Connection>, uid: String) -> Result<()> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => client.connect().await?,
    };
    let (status, body) = connection.post("/mutate?timeout=30s", reviews::harmless(uid).body).await?;
    let body = String::from_utf8_lossy(&body);
    if status != StatusCode::OK || !body.contains(r#""allowed":true"#) {
        let shown: String = body.chars().take(300).collect();
        return Err(format!("{status}: {shown}").into());
    }
    *kept = Some(connection);
    Ok(())
}
