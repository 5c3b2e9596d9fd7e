//! The audit trail: one JSON line for each verdict, chained and written asynchronously.

pub mod chain;
mod file;
mod format;
mod metrics;
mod notice;
mod queue;
mod stdout;

use std::{
    cell::RefCell,
    hash::{BuildHasher, RandomState},
    io, mem,
    sync::{Arc, mpsc},
    time::Duration,
};

use crate::supervisor::Supervisor;
use chain::Link;
use queue::{Batch, Queue};
use sandgate_engine::review::AuditRecord;

pub use file::{File, FileSettings, Fsync};
pub use format::{NoticeLine, SealFields, TrailLine, VerdictLine, json_schema};
pub use metrics::{AuditMetrics, DropReason};
pub use notice::Notice;
pub use queue::{BUFFERED_BYTES, PendingRecord};
pub use stdout::Stream;

/// The bytes of memory that a buffer keeps for the next records. An unusual record must not hold its memory for ever.
const KEPT_BYTES: usize = 64 << 10;

/// A place that the lines of the trail are written to.
pub trait Sink: Send + 'static {
    /// True if what could not be written is kept and tried again; else it is lost at once.
    const RETRIES: bool;

    /// Seals and writes all `records`, each with its newline, or none. The first call may be one without records.
    ///
    /// # Errors
    /// An error if nothing could be written.
    fn write(&mut self, records: &[u8]) -> io::Result<Link>;

    /// Is called once, after the last record.
    fn close(&mut self) {}
}

/// The treatment of a record if the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum OnOverflow {
    /// The record is dropped and counted; no answer waits for the sink
    #[default]
    Drop,
    /// The answer waits until the record is queued, at most until the API server gives up
    Block,
}

/// Takes records for the writer.
#[derive(Debug, Clone)]
pub struct Trail {
    queue: Arc<Queue>,
    on_overflow: OnOverflow,
    hasher: RandomState,
}

/// The thread that writes records.
#[derive(Debug)]
pub struct Writer {
    queue: Arc<Queue>,
    done: mpsc::Receiver<()>,
}

impl Trail {
    /// Starts a writer to `sink`.
    ///
    /// # Errors
    /// An error if the thread cannot be started.
    pub fn start(
        sink: impl Sink,
        on_overflow: OnOverflow,
        metrics: AuditMetrics,
        supervisor: &Supervisor,
    ) -> io::Result<(Self, Writer)> {
        let queue = Arc::new(Queue::new(metrics));
        let (end, done) = mpsc::channel();
        let writer = WriterLoop { sink, queue: Arc::clone(&queue), is_failing: false };
        supervisor.spawn_thread("audit", move || {
            writer.run();
            // Dropping its end wakes the writer's owner.
            drop(end);
        })?;
        let trail = Self { queue: Arc::clone(&queue), on_overflow, hasher: RandomState::new() };
        Ok((trail, Writer { queue, done }))
    }

    /// Records a verdict. Returns the record if it could not be queued and answers wait for it.
    #[must_use = "an answer waits until the record is queued"]
    pub fn append(&self, record: &AuditRecord) -> Option<PendingRecord> {
        let sender = self.hasher.hash_one((&record.user, &record.namespace));
        self.queue_line(sender, |line| record.write_line(line))
    }

    /// Queues the line that `write` appends, with its newline. It never waits for the sink: if the line cannot be
    /// queued it is dropped, or given back if answers are to wait for it.
    fn queue_line(&self, sender: u64, write: impl FnOnce(&mut Vec<u8>)) -> Option<PendingRecord> {
        thread_local! {
            static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        LINE.with_borrow_mut(|line| {
            line.clear();
            write(line);
            let reason = self.queue.push(sender, line).err();
            let pending = reason.and_then(|reason| {
                let is_transient = matches!(reason, DropReason::QueueFull | DropReason::SenderShare);
                if is_transient && self.on_overflow == OnOverflow::Block {
                    Some(PendingRecord::new(line.clone(), sender, reason, Arc::clone(&self.queue)))
                } else {
                    self.queue.count_dropped(reason, 1);
                    None
                }
            });
            line.shrink_to(KEPT_BYTES);
            pending
        })
    }
}

impl Writer {
    /// Writes what is left and ends the thread. Returns true if the sink let it do so within `timeout`.
    #[must_use]
    pub fn finish(self, timeout: Duration) -> bool {
        self.queue.close();
        self.done.recv_timeout(timeout) == Err(mpsc::RecvTimeoutError::Disconnected)
    }
}

/// The writer's side of the queue.
struct WriterLoop<S> {
    sink: S,
    queue: Arc<Queue>,
    is_failing: bool,
}

impl<S: Sink> WriterLoop<S> {
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
        self.report_dropped(&mut lines);
        self.sink.close();
    }

    /// Writes the last notice of dropped records, which no later record brings.
    fn report_dropped(&mut self, lines: &mut Vec<u8>) {
        let records = self.queue.unreported();
        if records == 0 {
            return;
        }
        Notice::Dropped { records }.append_to(lines);
        if !self.write(lines) {
            tracing::error!(records, "Audit records were lost, and the trail has no notice of it");
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
        self.queue.count_dropped(DropReason::SinkFailed, records);
        // These were counted before, but the notice of them is lost as well.
        self.queue.report_again(lost);
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
                    tracing::info!(seq = head.seq, "Audit sink recovered");
                }
            }
            Err(error) if !was_failing => tracing::error!(%error, "Audit sink failed"),
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
    use crate::telemetry::testing::MemorySink;

    const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

    /// A sink that takes nothing until the sender is dropped, and then fails.
    struct StalledSink(mpsc::Receiver<()>);

    impl Write for StalledSink {
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
        let (memory, metrics) = (MemorySink::default(), metrics());
        let (trail, writer) = start(Stream::new(memory.clone()), OnOverflow::Drop, &metrics);
        for n in 0..1000 {
            assert!(
                trail.queue_line(0, |line| line.extend(format!("{{\"n\":{n}}}\n").into_bytes())).is_none()
            );
            assert!(trail.queue_line(0, |_| ()).is_none());
        }
        assert!(writer.finish(WRITE_TIMEOUT));
        let records: Vec<_> = memory.records().iter().filter_map(|record| record["n"].as_u64()).collect();
        assert_eq!(records, (0..1000).collect::<Vec<_>>());
        assert_eq!(metrics.records.succeeded.get(), 1000);
    }

    #[test]
    fn a_record_is_written_without_a_next_one() {
        let (memory, metrics) = (MemorySink::default(), metrics());
        let (trail, _writer) = start(Stream::new(memory.clone()), OnOverflow::Drop, &metrics);
        assert!(trail.queue_line(0, |line| line.extend(b"{\"n\":1}\n")).is_none());
        until(|| memory.records().iter().any(|record| record["n"] == 1));
    }

    #[test]
    fn a_stalled_sink_drops_and_counts_and_holds_up_nothing() {
        let (release, stalled) = mpsc::channel();
        let metrics = metrics();
        let (trail, writer) = start(Stream::new(StalledSink(stalled)), OnOverflow::Drop, &metrics);
        let sent = fill(&trail, 3 * BUFFERED_BYTES);
        assert!(metrics.records.failed.get() > 0);
        assert!(!writer.finish(Duration::from_millis(10)));
        drop(release);
        until(|| metrics.records.failed.get() == sent);
        assert_eq!(metrics.failing.get(), 1);
    }

    #[test]
    fn what_a_failing_file_could_not_take_is_written_later_and_what_was_dropped_is_recorded() {
        let (metrics, file) = (metrics(), FlakySink::default());
        file.fails.store(true, Ordering::Relaxed);
        let (trail, writer) = start(file.clone(), OnOverflow::Drop, &metrics);
        let sent = fill(&trail, 2 * BUFFERED_BYTES);
        until(|| metrics.failing.get() == 1);
        file.fails.store(false, Ordering::Relaxed);
        until(|| metrics.failing.get() == 0);
        assert!(writer.finish(WRITE_TIMEOUT));
        let lost = metrics.records.failed.get();
        let records = file.written.records();
        let notices = records.iter().filter(|record| record["notice"] == "dropped");
        assert_eq!(notices.map(|notice| notice["records"].as_u64().unwrap()).sum::<u64>(), lost);
        assert_eq!(records.iter().filter(|record| record.get("n").is_some()).count() as u64, sent - lost);
        assert!(lost > 0 && lost < sent, "{lost} of {sent}");
    }

    #[test]
    fn a_file_that_never_works_does_not_hold_up_the_end() {
        let (metrics, file) = (metrics(), FlakySink::default());
        file.fails.store(true, Ordering::Relaxed);
        let (trail, writer) = start(file, OnOverflow::Drop, &metrics);
        let sent = fill(&trail, BUFFERED_BYTES / 2);
        assert!(writer.finish(WRITE_TIMEOUT));
        assert_eq!(metrics.records.failed.get(), sent);
    }

    #[tokio::test]
    async fn where_answers_wait_for_their_record_nothing_is_dropped() {
        let (metrics, file) = (metrics(), FlakySink::default());
        file.fails.store(true, Ordering::Relaxed);
        let (trail, writer) = start(file.clone(), OnOverflow::Block, &metrics);
        fill(&trail, BUFFERED_BYTES / 4);
        let waiting = loop {
            if let Some(waiting) = trail.queue_line(0, |line| line.extend(large())) {
                break waiting;
            }
        };
        let given_up = trail.queue_line(0, |line| line.extend(large())).unwrap();
        drop(given_up);
        assert_eq!(metrics.records.failed.get(), 1, "only of a caller that did not wait");
        file.fails.store(false, Ordering::Relaxed);
        waiting.enqueued().await;
        assert!(writer.finish(WRITE_TIMEOUT));
        assert_eq!(metrics.records.failed.get(), 1);
        assert!(file.written.records().iter().any(|record| record["notice"] == "dropped"));
    }

    #[test]
    fn one_sender_cannot_make_the_trail_lose_anothers_record() {
        let (_release, stalled) = mpsc::channel();
        let metrics = metrics();
        let (trail, _writer) = start(Stream::new(StalledSink(stalled)), OnOverflow::Drop, &metrics);
        for sender in 1..=3 {
            for _ in 0..BUFFERED_BYTES / large().len() {
                assert!(trail.queue_line(sender, |line| line.extend(large())).is_none());
            }
        }
        assert!(metrics.dropped(DropReason::SenderShare) > 0);
        assert_eq!(metrics.dropped(DropReason::QueueFull), 0);
        let lost = metrics.records.failed.get();
        assert!(trail.queue_line(99, |line| line.extend(large())).is_none());
        assert_eq!(metrics.records.failed.get(), lost, "another sender's record is queued");
    }

    #[test]
    fn a_record_longer_than_any_can_be_is_dropped_and_occupies_nothing() {
        let (metrics, memory) = (metrics(), MemorySink::default());
        let (trail, writer) = start(Stream::new(memory.clone()), OnOverflow::Block, &metrics);
        let long = |line: &mut Vec<u8>| line.resize(sandgate_engine::review::MAX_LINE_BYTES + 1, b'x');
        assert!(trail.queue_line(0, long).is_none());
        assert!(trail.queue_line(0, |line| line.extend(b"{\"n\":1}\n")).is_none());
        assert!(writer.finish(WRITE_TIMEOUT));
        assert_eq!((metrics.dropped(DropReason::TooLong), metrics.records.succeeded.get()), (1, 1));
        assert!(memory.records().iter().any(|record| record["notice"] == "dropped"));
    }

    /// A file that fails while `fails` is set.
    #[derive(Clone, Default)]
    struct FlakySink {
        fails: Arc<AtomicBool>,
        written: MemorySink,
    }

    impl Sink for FlakySink {
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
            assert!(trail.queue_line(0, |line| line.extend(large())).is_none());
        }
        records as u64
    }

    fn until(condition: impl Fn() -> bool) {
        let start = std::time::Instant::now();
        while !condition() {
            assert!(start.elapsed() < WRITE_TIMEOUT);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    impl MemorySink {
        fn records(&self) -> Vec<serde_json::Value> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }
}
