//! The trail on standard output.

use std::io::{self, Write};

use super::{KEPT_BYTES, Sink, chain::Link, notice::Notice};

/// A stream that cannot be read again: each process begins a chain of its own, and so does each one that could not be
/// written to, because nobody can tell how much of it got through.
#[derive(Debug)]
pub struct Stream<W> {
    out: W,
    /// `None` before the first line and after a failure.
    chain: Option<Link>,
    /// What was written last may have been cut off.
    is_torn: bool,
    lines: Vec<u8>,
}

impl<W> Stream<W> {
    /// A trail to `out`.
    pub const fn new(out: W) -> Self {
        Self { out, chain: None, is_torn: false, lines: Vec::new() }
    }
}

impl<W: Write + Send + 'static> Sink for Stream<W> {
    const RETRIES: bool = false;

    fn write(&mut self, records: &[u8]) -> io::Result<Link> {
        if records.is_empty() {
            // Nothing stands there of a process that did not come to serve.
            return Ok(self.chain.unwrap_or_default());
        }
        let mut chain = self.chain.take();
        self.lines.clear();
        if self.is_torn {
            self.lines.push(b'\n');
        }
        let chain = chain.get_or_insert_with(|| begin(&mut self.lines));
        for record in records.split_inclusive(|byte| *byte == b'\n') {
            chain.seal(record, &mut self.lines);
        }
        let written = self.out.write_all(&self.lines).and_then(|()| self.out.flush());
        self.lines.shrink_to(KEPT_BYTES);
        self.is_torn = written.is_err();
        written.map(|()| *self.chain.insert(*chain))
    }
}

fn begin(lines: &mut Vec<u8>) -> Link {
    let (mut chain, mut record) = (Link::default(), Vec::new());
    Notice::STARTED.append_to(&mut record);
    chain.seal(&record, lines);
    chain
}
