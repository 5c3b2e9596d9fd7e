//! The audit trail: one JSON line for each verdict, written off the request's way.

use std::{
    cell::RefCell,
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use crate::telemetry::Metrics;

/// How many bytes of records may wait for a slow sink before the next ones are dropped, and counted.
pub const BUFFERED_BYTES: usize = 4 << 20;

/// How long the writer gathers records before it writes. Waking it for each would cost more than the record.
const GATHER: Duration = Duration::from_millis(5);

/// What a buffer keeps for the next records; an unusual one must not hold its memory for ever.
const KEPT_BYTES: usize = 64 << 10;

/// Takes records for the writer.
#[derive(Debug, Clone)]
pub struct Trail(Arc<Queue>);

/// The thread that writes them.
#[derive(Debug)]
pub struct Writer {
    queue: Arc<Queue>,
    done: mpsc::Receiver<()>,
}

#[derive(Debug)]
struct Queue {
    pending: Mutex<Pending>,
    changed: Condvar,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Pending {
    lines: Vec<u8>,
    records: u64,
    closed: bool,
}

impl Trail {
    /// Starts a writer to `sink`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(sink: impl Write + Send + 'static, metrics: Arc<Metrics>) -> io::Result<(Self, Writer)> {
        let queue = Arc::new(Queue { pending: Mutex::default(), changed: Condvar::new(), metrics });
        let (end, done) = mpsc::channel();
        let written = Arc::clone(&queue);
        thread::Builder::new().name("audit".into()).spawn(move || {
            written.write_to(sink);
            // Dropping its end tells the writer's owner.
            drop(end);
        })?;
        Ok((Self(Arc::clone(&queue)), Writer { queue, done }))
    }

    /// Takes the line that `write` appends, with its newline; one that appends nothing records nothing. Never waits
    /// for the sink: an admission is more urgent than its record.
    pub fn record(&self, write: impl FnOnce(&mut Vec<u8>)) {
        thread_local! {
            static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        LINE.with_borrow_mut(|line| {
            line.clear();
            write(line);
            if !line.is_empty() {
                self.0.push(line);
            }
            line.shrink_to(KEPT_BYTES);
        });
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
    fn push(&self, line: &[u8]) {
        let mut pending = self.lock();
        if pending.lines.len() + line.len() > BUFFERED_BYTES {
            self.metrics.audit_records[1].inc();
            return;
        }
        let is_first = pending.lines.is_empty();
        pending.lines.extend_from_slice(line);
        pending.records += 1;
        drop(pending);
        if is_first {
            self.changed.notify_one();
        }
    }

    fn write_to(&self, mut sink: impl Write) {
        let [written, lost] = &self.metrics.audit_records;
        let mut lines = Vec::new();
        let mut was_told = false;
        while let Some(records) = self.next(&mut lines) {
            match sink.write_all(&lines).and_then(|()| sink.flush()) {
                Ok(()) => {
                    written.inc_by(records);
                    was_told = false;
                }
                Err(error) => {
                    lost.inc_by(records);
                    if !mem::replace(&mut was_told, true) {
                        tracing::error!(%error, "The audit trail cannot be written");
                    }
                }
            }
        }
    }

    /// Waits for records and swaps them into `lines`; `None` when there will be no more.
    fn next(&self, lines: &mut Vec<u8>) -> Option<u64> {
        lines.clear();
        lines.shrink_to(KEPT_BYTES);
        let is_idle = |pending: &mut Pending| pending.lines.is_empty() && !pending.closed;
        let pending = self.changed.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
        let gathering = self.changed.wait_timeout_while(pending, GATHER, |pending| !pending.closed);
        let mut pending = gathering.unwrap_or_else(PoisonError::into_inner).0;
        mem::swap(&mut pending.lines, lines);
        let records = mem::take(&mut pending.records);
        (records > 0).then_some(records)
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // Nothing is left half done where the lock is held, so a panic there spoils nothing.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
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
        let (memory, metrics) = (Memory::default(), Arc::new(Metrics::new()));
        let (trail, writer) = Trail::start(memory.clone(), Arc::clone(&metrics)).unwrap();
        for n in 0..1000 {
            trail.record(|line| line.extend(format!("{n}\n").into_bytes()));
            trail.record(|_| ());
        }
        assert!(writer.finish(PATIENCE));
        let expected = (0..1000).map(|n| n.to_string()).collect::<Vec<_>>().join("\n") + "\n";
        assert_eq!(String::from_utf8(memory.0.lock().unwrap().clone()).unwrap(), expected);
        assert_eq!(metrics.audit_records[0].get(), 1000);
    }

    #[test]
    fn a_record_is_written_without_a_next_one() {
        let (memory, metrics) = (Memory::default(), Arc::new(Metrics::new()));
        let (trail, _writer) = Trail::start(memory.clone(), metrics).unwrap();
        trail.record(|line| line.extend(b"x\n"));
        let start = std::time::Instant::now();
        while memory.0.lock().unwrap().is_empty() {
            assert!(start.elapsed() < PATIENCE);
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_stalled_sink_drops_and_counts_and_holds_up_nothing() {
        let (release, stalled) = mpsc::channel();
        let metrics = Arc::new(Metrics::new());
        let (trail, writer) = Trail::start(Stalled(stalled), Arc::clone(&metrics)).unwrap();
        let record = vec![b'x'; 100_000];
        let sent = 3 * (BUFFERED_BYTES / record.len()) as u64;
        for _ in 0..sent {
            trail.record(|line| line.extend(&record));
        }
        assert!(metrics.audit_records[1].get() > 0);
        assert!(!writer.finish(Duration::from_millis(10)));
        drop(release);
        let start = std::time::Instant::now();
        while metrics.audit_records[1].get() < sent {
            assert!(start.elapsed() < PATIENCE);
            thread::sleep(Duration::from_millis(1));
        }
    }
}
