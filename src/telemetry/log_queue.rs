//! The queue between log lines and the thread that writes them: bounded and lossy, so that a reader that stalls holds
//! up nothing.
//!
//! `tracing-appender` has such a queue, but reports a reader that stalls at the end on standard output, which is the
//! audit trail's.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// The most log lines that wait to be written.
const MAX_LINES: usize = 1024;

/// The time after which a flush that finds the queue full is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(10);

enum Message {
    Line(Vec<u8>),
    /// Everything before it was written once its sender is dropped.
    Flush(SyncSender<()>),
}

/// Takes log lines. Each write is one line.
#[derive(Debug, Clone)]
pub(super) struct LogQueue {
    messages: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl LogQueue {
    /// Starts a thread that writes lines to `out`. A line that cannot be written is lost.
    ///
    /// # Errors
    /// An error if the thread cannot be started.
    pub(super) fn start(mut out: impl Write + Send + 'static) -> io::Result<Self> {
        let (messages, queue): (_, Receiver<Message>) = sync_channel(MAX_LINES);
        let write = move || {
            for message in queue {
                match message {
                    Message::Line(line) => drop(out.write_all(&line)),
                    Message::Flush(done) => drop(done),
                }
            }
        };
        thread::Builder::new().name("log".into()).spawn(write)?;
        Ok(Self { messages, dropped: Arc::default() })
    }

    /// Returns the number of lines that found the queue full.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until every line so far is written. Returns false if that took longer than `timeout`.
    pub(super) fn flush_within(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let (sender, done) = sync_channel(0);
        let mut message = Message::Flush(sender);
        while let Err(TrySendError::Full(back)) = self.messages.try_send(message) {
            if Instant::now() >= deadline {
                return false;
            }
            message = back;
            thread::sleep(RETRY_DELAY);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        !matches!(done.recv_timeout(left), Err(std::sync::mpsc::RecvTimeoutError::Timeout))
    }
}

impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.messages.try_send(Message::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::{super::testing::MemorySink, *};

    /// Takes nothing until the lock is released.
    struct StalledSink(Arc<Mutex<()>>, MemorySink);

    impl Write for StalledSink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            drop(self.0.lock());
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_reader_drops_lines_and_holds_up_nothing() {
        let (lock, memory) = (Arc::new(Mutex::new(())), MemorySink::default());
        let stall = lock.lock().unwrap();
        let mut queue = LogQueue::start(StalledSink(Arc::clone(&lock), memory.clone())).unwrap();
        for _ in 0..3 * MAX_LINES {
            queue.write_all(b"a\n").unwrap();
        }
        // One line may be with the writer.
        let dropped = queue.dropped();
        assert!((2 * MAX_LINES as u64 - 1..=2 * MAX_LINES as u64).contains(&dropped), "{dropped}");
        assert!(!queue.flush_within(Duration::from_millis(50)));
        drop(stall);
        assert!(queue.flush_within(Duration::from_secs(30)));
        assert_eq!(memory.0.lock().unwrap().len() as u64, 2 * (3 * MAX_LINES as u64 - dropped));
    }
}
