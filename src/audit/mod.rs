//! The audit trail: one JSON line for each verdict, written off the request's way.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use crate::telemetry::Metrics;

/// How many records may wait for a slow sink before the next ones are dropped, and counted.
pub const BUFFERED_RECORDS: usize = 4096;

/// Hands records to the writer. Dropping it ends the writer once all is written.
#[derive(Debug, Clone)]
pub struct Trail {
    lines: SyncSender<Vec<u8>>,
    metrics: Arc<Metrics>,
}

impl Trail {
    /// Starts a writer to `sink`. Join the handle after the last trail is dropped, and nothing is lost.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        sink: impl Write + Send + 'static,
        metrics: Arc<Metrics>,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let (lines, queue) = sync_channel(BUFFERED_RECORDS);
        let counters = Arc::clone(&metrics);
        let writer =
            thread::Builder::new().name("audit".into()).spawn(move || write_all(sink, &queue, &counters))?;
        Ok((Self { lines, metrics }, writer))
    }

    /// Takes a line, with its newline. Never waits: an admission is more urgent than its record.
    pub fn record(&self, line: Vec<u8>) {
        if self.lines.try_send(line).is_err() {
            self.metrics.audit_records[1].inc();
        }
    }
}

fn write_all(sink: impl Write, queue: &Receiver<Vec<u8>>, metrics: &Metrics) {
    let mut sink = io::BufWriter::new(sink);
    while let Some(line) = next(queue, &mut sink) {
        match sink.write_all(&line) {
            Ok(()) => metrics.audit_records[0].inc(),
            Err(error) => {
                metrics.audit_records[1].inc();
                tracing::error!(%error, "An audit record could not be written");
                0
            }
        };
    }
    let _ = sink.flush();
}

/// The next line; before waiting for it, what is buffered is flushed.
fn next(queue: &Receiver<Vec<u8>>, sink: &mut impl Write) -> Option<Vec<u8>> {
    match queue.try_recv() {
        Ok(line) => Some(line),
        Err(TryRecvError::Disconnected) => None,
        Err(TryRecvError::Empty) => {
            let _ = sink.flush();
            queue.recv().ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

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

    #[test]
    fn every_record_is_written_in_order_before_the_writer_ends() {
        let (memory, metrics) = (Memory::default(), Arc::new(Metrics::new()));
        let (trail, writer) = Trail::start(memory.clone(), Arc::clone(&metrics)).unwrap();
        for n in 0..1000 {
            trail.record(format!("{n}\n").into_bytes());
        }
        drop(trail);
        writer.join().unwrap();
        let expected: String = (0..1000).map(|n| format!("{n}\n")).collect();
        assert_eq!(String::from_utf8(memory.0.lock().unwrap().clone()).unwrap(), expected);
    }

    #[test]
    fn a_stalled_sink_drops_and_counts_and_never_waits() {
        struct Stalled(Receiver<()>);

        impl Write for Stalled {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let (release, wait) = sync_channel::<()>(0);
        let metrics = Arc::new(Metrics::new());
        let (trail, writer) = Trail::start(Stalled(wait), Arc::clone(&metrics)).unwrap();
        let sent = BUFFERED_RECORDS as u64 + 5000;
        for _ in 0..sent {
            trail.record(b"x\n".to_vec());
        }
        assert!(metrics.audit_records[1].get() > 0);
        drop((trail, release));
        writer.join().unwrap();
        assert_eq!(metrics.audit_records[0].get() + metrics.audit_records[1].get(), sent);
    }
}
