//! The queue between the answers and the writer of the trail. It is bounded in bytes, and fair between senders.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::{AuditMetrics, DropReason, KEPT_BYTES};
use sandgate_engine::review::MAX_LINE_BYTES;

/// The most bytes of records that wait to be written or are on their way to the sink. A killed process loses at most
/// these.
pub const BUFFERED_BYTES: usize = 4 << 20;

/// The time for which the writer gathers records before it writes. Waking it for each would cost more than the record.
const BATCH_INTERVAL: Duration = Duration::from_millis(5);

/// The time after which a sink that failed is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The queue of records.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) metrics: AuditMetrics,
    pending: Mutex<Pending>,
    changed: Condvar,
    /// Is notified each time that records leave the queue.
    drained: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    lines: Vec<u8>,
    records: u64,
    /// The bytes of `lines` by sender.
    senders: HashMap<u64, usize>,
    /// The bytes that the writer holds, by sender.
    taken: HashMap<u64, usize>,
    taken_bytes: usize,
    /// Records that were lost and that no notice in the trail reports yet.
    lost: u64,
    closed: bool,
}

/// The records that the writer took from the queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    pub(super) records: u64,
    /// Records that were lost and are to be reported with it.
    pub(super) lost: u64,
}

impl Queue {
    pub(super) fn new(metrics: AuditMetrics) -> Self {
        Self { metrics, pending: Mutex::default(), changed: Condvar::new(), drained: Notify::new() }
    }

    /// Queues a line of a sender, or returns why it cannot. A sender may hold as many bytes as it leaves free: one
    /// sender at most half of the queue, so it alone can never make the records of others be dropped. Each further
    /// sender that floods the queue halves what is left.
    pub(super) fn push(&self, sender: u64, line: &[u8]) -> Result<(), DropReason> {
        if line.is_empty() {
            return Ok(());
        }
        if line.len() > MAX_LINE_BYTES {
            return Err(DropReason::TooLong);
        }
        let mut pending = self.lock();
        let free = BUFFERED_BYTES - pending.lines.len() - pending.taken_bytes;
        if line.len() > free {
            return Err(DropReason::QueueFull);
        }
        let held = |senders: &HashMap<u64, usize>| senders.get(&sender).copied().unwrap_or_default();
        let held = held(&pending.senders) + held(&pending.taken);
        if held + line.len() > free - line.len() {
            return Err(DropReason::SenderShare);
        }
        let is_first = pending.lines.is_empty();
        pending.lines.extend_from_slice(line);
        pending.records += 1;
        *pending.senders.entry(sender).or_default() += line.len();
        drop(pending);
        if is_first {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Counts records that were lost, so that the next notice reports them.
    pub(super) fn count_dropped(&self, reason: DropReason, records: u64) {
        self.metrics.inc_dropped(reason, records);
        self.lock().lost += records;
    }

    /// Takes back that these lost records were reported.
    pub(super) fn report_again(&self, lost: u64) {
        self.lock().lost += lost;
    }

    /// Returns the number of lost records that no notice reports yet.
    pub(super) fn unreported(&self) -> u64 {
        self.lock().lost
    }

    /// Waits for records and swaps them into `lines`. Returns `None` if there will be no more.
    pub(super) fn next(&self, lines: &mut Vec<u8>) -> Option<Batch> {
        lines.clear();
        lines.shrink_to(KEPT_BYTES);
        let mut pending = self.lock();
        pending.taken.clear();
        pending.taken_bytes = 0;
        self.drained.notify_waiters();
        let is_idle = |pending: &mut Pending| pending.lines.is_empty() && !pending.closed;
        pending = self.changed.wait_while(pending, is_idle).unwrap_or_else(PoisonError::into_inner);
        let gathering = self.changed.wait_timeout_while(pending, BATCH_INTERVAL, |pending| !pending.closed);
        pending = gathering.unwrap_or_else(PoisonError::into_inner).0;
        mem::swap(&mut pending.lines, lines);
        pending.taken = mem::take(&mut pending.senders);
        pending.taken_bytes = lines.len();
        let records = mem::take(&mut pending.records);
        let lost = if records > 0 { mem::take(&mut pending.lost) } else { 0 };
        (records > 0).then_some(Batch { records, lost })
    }

    /// Waits before the next try. Returns false if the queue is closed: there is to be no other.
    pub(super) fn wait_to_retry(&self) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), RETRY_DELAY, |pending| !pending.closed);
        !waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    /// Takes no more waits: the writer is to write what is left.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // Nothing is left half done while the lock is held, so a panic there spoils nothing.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A record that could not be queued yet. Dropping it loses the record, which is counted.
#[derive(Debug)]
#[must_use]
pub struct PendingRecord {
    line: Vec<u8>,
    sender: u64,
    /// The reason why it could not be queued.
    reason: DropReason,
    queue: Arc<Queue>,
}

impl PendingRecord {
    pub(super) fn new(line: Vec<u8>, sender: u64, reason: DropReason, queue: Arc<Queue>) -> Self {
        Self { line, sender, reason, queue }
    }

    /// Waits until the record is queued.
    pub async fn enqueued(mut self) {
        let queue = Arc::clone(&self.queue);
        loop {
            let drained = queue.drained.notified();
            match queue.push(self.sender, &self.line) {
                Ok(()) => {
                    self.line.clear();
                    return;
                }
                Err(reason) => self.reason = reason,
            }
            drained.await;
        }
    }
}

impl Drop for PendingRecord {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.queue.count_dropped(self.reason, 1);
        }
    }
}
