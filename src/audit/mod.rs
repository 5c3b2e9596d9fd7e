//! The audit trail: one JSON line for each verdict, chained and written off the request's way.

pub mod chain;
mod file;
mod format;
mod metrics;
mod notice;
mod stream;

use std::{
    cell::RefCell,
    io, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    time::Duration,
};

use tokio::sync::Notify;

use crate::supervisor::Supervisor;
use chain::Link;
use sandgate_engine::review::Record;

pub use file::{File, FileSettings, Fsync};
pub use format::{Line, NoticeLine, Owner, SealFields, Verdict, Violation, json_schema};
pub use metrics::AuditMetrics;
pub use notice::Notice;
pub use stream::Stream;

/// How many bytes of records may wait to be written or be on their way to the sink. It is also what a killed process
/// loses at most.
pub const BUFFERED_BYTES: usize = 4 << 20;

/// How long the writer gathers records before it writes. Waking it for each would cost more than the record.
const GATHER: Duration = Duration::from_millis(5);

/// How long after a failure a sink that may recover is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What a buffer keeps for the next records; an unusual one must not hold its memory for ever.
const KEPT_BYTES: usize = 64 << 10;

/// Where the lines of the trail end up.
pub trait Sink: Send + 'static {
    /// Whether what could not be written is kept and tried again; else it is lost at once.
    const RETRIES: bool;

    /// Seals and writes all `records`, each with its newline, or none. The first call may be one without records.
    ///
    /// # Errors
    /// When nothing could be written.
    fn write(&mut self, records: &[u8]) -> io::Result<Link>;

    /// Called once, after the last record.
    fn close(&mut self) {}
}

/// What happens to a record that finds the buffer full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum OnOverflow {
    /// It is dropped and counted; no answer waits for the sink
    #[default]
    Drop,
    /// The answer waits for room, at most until the API server gives up
    Block,
}

/// Takes records for the writer.
#[derive(Debug, Clone)]
pub struct Trail(Arc<Queue>);

/// The thread that writes them.
#[derive(Debug)]
pub struct Writer {
    queue: Arc<Queue>,
    done: mpsc::Receiver<()>,
}

/// A record that waits for room. Dropping it loses the record, which is counted.
#[derive(Debug)]
#[must_use]
pub struct PendingRecord {
    line: Vec<u8>,
    queue: Arc<Queue>,
}

#[derive(Debug)]
struct Queue {
    pending: Mutex<Pending>,
    changed: Condvar,
    /// Told each time that there may be room again.
    room: Notify,
    on_overflow: OnOverflow,
    metrics: AuditMetrics,
}

#[derive(Debug, Default)]
struct Pending {
    lines: Vec<u8>,
    records: u64,
    /// Bytes that the writer holds.
    taken: usize,
    /// Records that were lost and that no line of the trail tells of yet.
    lost: u64,
    closed: bool,
}

/// What the writer took to write.
#[derive(Debug, Clone, Copy)]
struct Batch {
    records: u64,
    lost: u64,
}

impl Trail {
    /// Starts a writer to `sink`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        sink: impl Sink,
        on_overflow: OnOverflow,
        metrics: AuditMetrics,
        supervisor: &Supervisor,
    ) -> io::Result<(Self, Writer)> {
        let queue = Arc::new(Queue {
            pending: Mutex::default(),
            changed: Condvar::new(),
            room: Notify::new(),
            on_overflow,
            metrics,
        });
        let (end, done) = mpsc::channel();
        let delivery = Delivery { sink, queue: Arc::clone(&queue), is_failing: false };
        supervisor.spawn_thread("audit", move || {
            delivery.run();
            // Dropping its end tells the writer's owner.
            drop(end);
        })?;
        Ok((Self(Arc::clone(&queue)), Writer { queue, done }))
    }

    /// Records a verdict that took `took`. Returns the record if the queue is full and answers wait for it.
    pub fn append(&self, record: &Record, took: Duration) -> Option<PendingRecord> {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.record(|line| record.write_line(line, &jiff::Timestamp::now().to_string(), micros))
    }

    /// Takes the line that `write` appends, with its newline; one that appends nothing records nothing. Never waits
    /// for the sink: where there is no room the record is dropped, or given back if answers shall wait for it.
    pub fn record(&self, write: impl FnOnce(&mut Vec<u8>)) -> Option<PendingRecord> {
        thread_local! {
            static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        LINE.with_borrow_mut(|line| {
            line.clear();
            write(line);
            let fits = line.is_empty() || self.0.push(line);
            let waiting = (!fits).then(|| PendingRecord { line: line.clone(), queue: Arc::clone(&self.0) });
            line.shrink_to(KEPT_BYTES);
            // Where nothing waits, dropping it counts the loss.
            waiting.filter(|_| self.0.on_overflow == OnOverflow::Block)
        })
    }
}

impl PendingRecord {
    /// Waits until the record is taken.
    pub async fn enqueued(mut self) {
        let queue = Arc::clone(&self.queue);
        loop {
            let room = queue.room.notified();
            if queue.push(&self.line) {
                self.line.clear();
                return;
            }
            room.await;
        }
    }
}

impl Drop for PendingRecord {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.queue.lose(1);
        }
    }
}

impl Writer {
    /// Writes what is left and ends the thread, if the sink lets it within `patience`; whether it did.
    #[must_use]
    pub fn finish(self, patience: Duration) -> bool {
        self.queue.lock().closed = true;
        self.queue.changed.notify_one();
        self.done.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Disconnected)
    }
}

impl Queue {
    /// Whether there was room for the line. A line that would never fit has room when nothing else is there.
    fn push(&self, line: &[u8]) -> bool {
        let mut pending = self.lock();
        let held = pending.lines.len() + pending.taken;
        if held > 0 && held + line.len() > BUFFERED_BYTES {
            return false;
        }
        let is_first = pending.lines.is_empty();
        pending.lines.extend_from_slice(line);
        pending.records += 1;
        drop(pending);
        if is_first {
            self.changed.notify_one();
        }
        true
    }

    fn lose(&self, records: u64) {
        self.metrics.records.failed.inc_by(records);
        self.lock().lost += records;
    }

    /// Waits for records and swaps them into `lines`; `None` when there will be no more.
    fn next(&self, lines: &mut Vec<u8>) -> Option<Batch> {
        lines.clear();
        lines.shrink_to(KEPT_BYTES);
        let mut pending = self.lock();
        pending.taken = 0;
        self.room.notify_waiters();
        let is_idle = |pending: &mut Pending| pending.lines.is_empty() && !pending.closed;
        pending = self.changed.wait_while(pending, is_idle).unwrap_or_else(PoisonError::into_inner);
        let gathering = self.changed.wait_timeout_while(pending, GATHER, |pending| !pending.closed);
        pending = gathering.unwrap_or_else(PoisonError::into_inner).0;
        mem::swap(&mut pending.lines, lines);
        pending.taken = lines.len();
        let records = mem::take(&mut pending.records);
        let batch = Batch { records, lost: if records > 0 { mem::take(&mut pending.lost) } else { 0 } };
        (batch.records > 0).then_some(batch)
    }

    /// Waits before the next try; whether there is to be one.
    fn wait_to_retry(&self) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), RETRY, |pending| !pending.closed);
        !waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // Nothing is left half done where the lock is held, so a panic there spoils nothing.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer's side of the queue.
struct Delivery<S> {
    sink: S,
    queue: Arc<Queue>,
    is_failing: bool,
}

impl<S: Sink> Delivery<S> {
    fn run(mut self) {
        // A sink that does not work is known before the first verdict.
        self.write(&[]);
        let mut lines = Vec::new();
        while let Some(batch) = self.queue.next(&mut lines) {
            if batch.lost > 0 {
                Notice::Dropped { records: batch.lost }.append_to(&mut lines);
            }
            self.deliver(&lines, batch);
        }
        self.tell_of_losses(&mut lines);
        self.sink.close();
    }

    /// The last word, where no later record brings it.
    fn tell_of_losses(&mut self, lines: &mut Vec<u8>) {
        let records = self.queue.lock().lost;
        if records == 0 {
            return;
        }
        Notice::Dropped { records }.append_to(lines);
        if !self.write(lines) {
            tracing::error!(records, "Audit records were lost, and the trail does not say so");
        }
    }

    fn deliver(&mut self, lines: &[u8], Batch { records, lost }: Batch) {
        let mut is_written = self.write(lines);
        while !is_written && S::RETRIES && self.queue.wait_to_retry() {
            is_written = self.write(lines);
        }
        if is_written {
            self.queue.metrics.records.succeeded.inc_by(records);
            return;
        }
        self.queue.lose(records);
        // Those are counted, but the line that tells of them is lost as well.
        self.queue.lock().lost += lost;
    }

    fn write(&mut self, lines: &[u8]) -> bool {
        let written = self.sink.write(lines);
        let was_failing = mem::replace(&mut self.is_failing, written.is_err());
        let metrics = &self.queue.metrics;
        metrics.failing.set(i64::from(self.is_failing));
        match written {
            Ok(head) => {
                metrics.set_head(&head);
                if was_failing {
                    tracing::info!(seq = head.seq, "The audit trail is written again");
                }
            }
            Err(error) if !was_failing => tracing::error!(%error, "The audit trail cannot be written"),
            Err(_) => {}
        }
        !self.is_failing
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A sink that takes nothing until the sender is dropped, and then fails.
    struct Stalled(mpsc::Receiver<()>);

    impl Write for Stalled {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_record_is_written_in_order_before_the_writer_ends() {
        let (memory, metrics) = (Memory::default(), metrics());
        let (trail, writer) = start(Stream::new(memory.clone()), OnOverflow::Drop, &metrics);
        for n in 0..1000 {
            assert!(trail.record(|line| line.extend(format!("{{\"n\":{n}}}\n").into_bytes())).is_none());
            assert!(trail.record(|_| ()).is_none());
        }
        assert!(writer.finish(PATIENCE));
        let records: Vec<_> = memory.records().iter().filter_map(|record| record["n"].as_u64()).collect();
        assert_eq!(records, (0..1000).collect::<Vec<_>>());
        assert_eq!(metrics.records.succeeded.get(), 1000);
    }

    #[test]
    fn a_record_is_written_without_a_next_one() {
        let (memory, metrics) = (Memory::default(), metrics());
        let (trail, _writer) = start(Stream::new(memory.clone()), OnOverflow::Drop, &metrics);
        assert!(trail.record(|line| line.extend(b"{\"n\":1}\n")).is_none());
        until(|| memory.records().iter().any(|record| record["n"] == 1));
    }

    #[test]
    fn a_stalled_sink_drops_and_counts_and_holds_up_nothing() {
        let (release, stalled) = mpsc::channel();
        let metrics = metrics();
        let (trail, writer) = start(Stream::new(Stalled(stalled)), OnOverflow::Drop, &metrics);
        let sent = fill(&trail, 3 * BUFFERED_BYTES);
        assert!(metrics.records.failed.get() > 0);
        assert!(!writer.finish(Duration::from_millis(10)));
        drop(release);
        until(|| metrics.records.failed.get() == sent);
        assert_eq!(metrics.failing.get(), 1);
    }

    #[test]
    fn what_a_failing_file_could_not_take_is_written_later_and_what_was_dropped_is_said() {
        let (metrics, file) = (metrics(), Moody::default());
        file.fails.store(true, Ordering::Relaxed);
        let (trail, writer) = start(file.clone(), OnOverflow::Drop, &metrics);
        let sent = fill(&trail, 2 * BUFFERED_BYTES);
        until(|| metrics.failing.get() == 1);
        file.fails.store(false, Ordering::Relaxed);
        until(|| metrics.failing.get() == 0);
        assert!(writer.finish(PATIENCE));
        let lost = metrics.records.failed.get();
        let records = file.written.records();
        let notices = records.iter().filter(|record| record["notice"] == "dropped");
        assert_eq!(notices.map(|notice| notice["records"].as_u64().unwrap()).sum::<u64>(), lost);
        assert_eq!(records.iter().filter(|record| record.get("n").is_some()).count() as u64, sent - lost);
        assert!(lost > 0 && lost < sent, "{lost} of {sent}");
    }

    #[test]
    fn a_file_that_never_works_does_not_hold_up_the_end() {
        let (metrics, file) = (metrics(), Moody::default());
        file.fails.store(true, Ordering::Relaxed);
        let (trail, writer) = start(file, OnOverflow::Drop, &metrics);
        let sent = fill(&trail, BUFFERED_BYTES / 2);
        assert!(writer.finish(PATIENCE));
        assert_eq!(metrics.records.failed.get(), sent);
    }

    #[tokio::test]
    async fn where_answers_wait_for_their_record_nothing_is_dropped() {
        let (metrics, file) = (metrics(), Moody::default());
        file.fails.store(true, Ordering::Relaxed);
        let (trail, writer) = start(file.clone(), OnOverflow::Block, &metrics);
        fill(&trail, BUFFERED_BYTES);
        let waiting = loop {
            if let Some(waiting) = trail.record(|line| line.extend(large())) {
                break waiting;
            }
        };
        let given_up = trail.record(|line| line.extend(large())).unwrap();
        drop(given_up);
        assert_eq!(metrics.records.failed.get(), 1, "only of a caller that did not wait");
        file.fails.store(false, Ordering::Relaxed);
        waiting.enqueued().await;
        assert!(writer.finish(PATIENCE));
        assert_eq!(metrics.records.failed.get(), 1);
        assert!(file.written.records().iter().any(|record| record["notice"] == "dropped"));
    }

    /// A file that fails while it is told to.
    #[derive(Clone, Default)]
    struct Moody {
        fails: Arc<AtomicBool>,
        written: Memory,
    }

    impl Sink for Moody {
        const RETRIES: bool = true;

        fn write(&mut self, records: &[u8]) -> io::Result<Link> {
            if self.fails.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.written.write_all(records)?;
            Ok(Link::default())
        }
    }

    fn metrics() -> AuditMetrics {
        AuditMetrics::register(&mut prometheus_client::registry::Registry::default())
    }

    fn start(sink: impl Sink, on_overflow: OnOverflow, metrics: &AuditMetrics) -> (Trail, Writer) {
        Trail::start(sink, on_overflow, metrics.clone(), &Supervisor::default()).unwrap()
    }

    fn large() -> Vec<u8> {
        format!("{{\"n\":\"{}\"}}\n", "x".repeat(100_000)).into_bytes()
    }

    /// Records that many bytes; how many records that were.
    fn fill(trail: &Trail, bytes: usize) -> u64 {
        let records = bytes / large().len();
        for _ in 0..records {
            assert!(trail.record(|line| line.extend(large())).is_none());
        }
        records as u64
    }

    fn until(condition: impl Fn() -> bool) {
        let start = std::time::Instant::now();
        while !condition() {
            assert!(start.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    impl Memory {
        fn records(&self) -> Vec<serde_json::Value> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }
}
