//! Pods that are created all the time, and what becomes of them.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Denial, Rest};

/// How many creates there are.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The number of creates that are under way at once.
    pub clients: u32,
    /// The number of creates that are begun each second, by all clients together; `None` for as many as can be.
    pub rate: Option<u32>,
}

impl Pace {
    /// What leaves a machine of two cores some time.
    const USUAL: Self = Self { clients: 8, rate: Some(120) };
}

/// The treatment of a pod that is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creates {
    /// It is stored, and deleted soon after.
    Stored,
    /// It was a dry run: nothing runs it.
    Tried,
}

/// Creates that go on until [`Load::stop`].
pub struct Load {
    seen: Arc<Mutex<Seen>>,
    is_over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

/// The results of the creates.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// The number of pods that were stored and sandboxed.
    pub sandboxed: usize,
    /// The number of pods that were stored unchanged: sandgate was not asked.
    pub open: usize,
    /// The errors of the API server for creates that failed because no sandgate answered.
    pub failed: Vec<String>,
    /// The number of creates without an answer of the API server itself.
    pub unanswered: usize,
    /// The errors of creates that were denied for any other reason, which is unexpected.
    pub denied: Vec<String>,
    /// The latencies of the answers.
    pub took: Vec<Duration>,
}

impl Load {
    /// Begins to create pods that ask for nothing, in a namespace that is guarded.
    #[must_use]
    pub fn start(rest: &Rest, namespace: &str, creates: Creates) -> Self {
        Self::start_at(Pace::USUAL, rest, namespace, creates)
    }

    /// The same, at another pace.
    #[must_use]
    pub fn start_at(pace: Pace, rest: &Rest, namespace: &str, creates: Creates) -> Self {
        let pods = |query: &str| format!("/api/v1/namespaces/{namespace}/pods{query}");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let is_over = Arc::new(AtomicBool::new(false));
        let create = |_| {
            let path = pods(if creates == Creates::Tried { "?dryRun=All" } else { "" });
            tokio::spawn(create(pace, rest.clone(), path, Arc::clone(&seen), Arc::clone(&is_over)))
        };
        let mut clients: Vec<_> = (0..pace.clients).map(create).collect();
        if creates == Creates::Stored {
            let path = pods("?gracePeriodSeconds=0");
            clients.push(tokio::spawn(sweep(rest.clone(), path, Arc::clone(&is_over))));
        }
        Self { seen, is_over, clients }
    }

    /// Returns the results so far.
    #[must_use]
    pub fn so_far(&self) -> Seen {
        self.seen.lock().expect("no holder panics").clone()
    }

    /// Begins no more creates, waits for those under way, and returns all results.
    pub async fn stop(self) -> Seen {
        self.is_over.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("a client does not panic");
        }
        Arc::into_inner(self.seen).and_then(|seen| seen.into_inner().ok()).expect("no other holder is left")
    }
}

async fn create(pace: Pace, rest: Rest, path: String, seen: Arc<Mutex<Seen>>, is_over: Arc<AtomicBool>) {
    let mut beat = pace.rate.map(|rate| tokio::time::interval(Duration::from_secs(1) * pace.clients / rate));
    if let Some(beat) = &mut beat {
        // A client that was held up does not make up for it.
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    }
    while !is_over.load(Ordering::Relaxed) {
        if let Some(beat) = &mut beat {
            beat.tick().await;
        }
        let begun = Instant::now();
        let answer = rest.post(&path, &plain_pod()).await;
        let mut seen = seen.lock().expect("no holder panics");
        seen.took.push(begun.elapsed());
        match answer {
            Ok(pod) if is_sandboxed(&pod) => seen.sandboxed += 1,
            Ok(_) => seen.open += 1,
            Err(denial) => seen.note(denial),
        }
    }
}

/// Deletes what was created: an API server with thousands of pods is another one.
async fn sweep(rest: Rest, path: String, is_over: Arc<AtomicBool>) {
    while !is_over.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // It may be restarting.
        let _ = rest.delete(&path).await;
    }
}

/// Returns true for a denial (code 403) by the API server's own admission plugins: after its start they have not listed
/// what they need, and at its end they no longer reach itself.
fn is_of_a_restart(message: &str) -> bool {
    message.ends_with("not yet ready to handle request")
        || (message.contains(" is forbidden: Get ") && message.ends_with("connect: connection refused"))
}

/// How Go names a connection that its peer has closed.
const CLOSED: [&str; 4] =
    ["write: broken pipe", "connection reset by peer", ": EOF", "server closed idle connection"];

impl Seen {
    /// The heads of the columns of [`Seen`]'s own row; times are in milliseconds.
    pub const HEAD: &str = "   tried  sandboxed  failed   open  unanswered      p50  longest";

    fn note(&mut self, denial: Denial) {
        match denial {
            Denial { code: 0, .. } => self.unanswered += 1,
            Denial { message, .. } if message.contains("failed calling webhook") => self.failed.push(message),
            Denial { message, .. } if is_of_a_restart(&message) => self.unanswered += 1,
            // The API server is ending, or not ready yet; Kubernetes 1.30 generates a name once, also one that is taken (409).
            Denial { code: 409 | 429 | 503 | 504, .. } => self.unanswered += 1,
            other => self.denied.push(other.to_string()),
        }
    }

    /// Returns true if a create failed for another reason than the end of a connection, or more than one for that reason.
    ///
    /// A replica that ends closes idle connections last, and the API server may send a review on one at that very moment.
    /// HTTP/1.1 cannot prevent that (RFC 9112, section 9.3.1), and Go sends a request that is no `GET` again only if none of
    /// its bytes was written.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        let is_closed = |failure: &&String| CLOSED.iter().any(|error| failure.ends_with(error));
        let closed = self.failed.iter().filter(is_closed).count();
        closed > 1 || closed < self.failed.len()
    }

    /// Returns the messages of the failures, and how often each came.
    #[must_use]
    pub fn kinds_of_failure(&self) -> BTreeMap<&str, usize> {
        let mut kinds = BTreeMap::new();
        for failure in &self.failed {
            let message = failure
                .split_once("failed calling webhook ")
                .map_or(failure.as_str(), |(_, message)| message);
            *kinds.entry(message).or_default() += 1;
        }
        kinds
    }

    /// Adds what was seen at another time.
    pub fn add(&mut self, other: Self) {
        self.sandboxed += other.sandboxed;
        self.open += other.open;
        self.failed.extend(other.failed);
        self.unanswered += other.unanswered;
        self.denied.extend(other.denied);
        self.took.extend(other.took);
    }

    /// Returns the number of creates that were tried.
    #[must_use]
    pub fn all(&self) -> usize {
        self.took.len()
    }

    /// Returns the latency that so many percent of the answers did not exceed.
    #[must_use]
    pub fn took(&self, percent: usize) -> Duration {
        let mut took = self.took.clone();
        took.sort();
        let at = (took.len() * percent / 100).min(took.len().saturating_sub(1));
        took.get(at).copied().unwrap_or_default()
    }
}

impl fmt::Display for Seen {
    /// A row of the table that `make ha` prints.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { sandboxed, open, failed, unanswered, .. } = self;
        let milliseconds = |percent| self.took(percent).as_millis();
        write!(
            f,
            "{:>8} {sandboxed:>10} {:>7} {open:>6} {unanswered:>11} {:>8} {:>8}",
            self.all(),
            failed.len(),
            milliseconds(50),
            milliseconds(100),
        )
    }
}

/// A pod that asks for nothing.
#[must_use]
pub fn plain_pod() -> Value {
    json!({
        "metadata": {"generateName": "plain-"},
        "spec": {"containers": [{"name": "main", "image": "registry.example.com/runner:1"}]}
    })
}

/// Returns true if sandgate has filled the pod.
#[must_use]
pub fn is_sandboxed(pod: &Value) -> bool {
    pod["spec"]["runtimeClassName"] == "gvisor"
        && pod["metadata"]["annotations"]["sandgate.dev/policy"].is_string()
}
