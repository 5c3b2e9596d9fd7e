//! The trail on standard output.

use std::io::{self, Write};

use super::{
    KEPT_BYTES, Sink,
    chain::{ChainId, Link},
    notice::Notice,
};

/// A stream that cannot be read again: each process begins a chain of its own, and so does each one that could not be
/// written to, because it is unknown how much of it got through.
#[derive(Debug)]
pub struct Stream<W> {
    out: W,
    /// `None` before the first line and after a failure.
    chain: Option<Link>,
    /// True if the last write may have been cut off.
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
        chain.seal_all(records, &mut self.lines);
        let written = self.out.write_all(&self.lines).and_then(|()| self.out.flush());
        self.lines.shrink_to(KEPT_BYTES);
        self.is_torn = written.is_err();
        written.map(|()| *self.chain.insert(*chain))
    }
}

fn begin(lines: &mut Vec<u8>) -> Link {
    let (mut chain, mut record) = (Link::begin(ChainId::draw()), Vec::new());
    Notice::STARTED.append_to(&mut record);
    chain.seal(&record, lines);
    chain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::Seal;

    /// Takes this many writes, fails once after half a line, and goes on.
    #[derive(Default)]
    struct FailsOnce {
        good: usize,
        written: Vec<u8>,
    }

    impl Write for FailsOnce {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fails = self.good == 0 && self.written.last() != Some(&b'{');
            let taken = if fails { &bytes[..1] } else { bytes };
            self.written.extend_from_slice(taken);
            self.good = self.good.saturating_sub(1);
            if fails { Err(io::ErrorKind::TimedOut.into()) } else { Ok(bytes.len()) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stream_that_failed_goes_on_with_a_line_and_a_chain_of_its_own() {
        let mut stream = Stream::new(FailsOnce { good: 1, ..FailsOnce::default() });
        assert_eq!(stream.write(b"{\"n\":1}\n").unwrap().seq, 2);
        stream.write(b"{\"n\":2}\n").unwrap_err();
        assert_eq!(stream.write(b"{\"n\":3}\n").unwrap().seq, 2);
        let text = String::from_utf8(stream.out.written).unwrap();
        let seals: Vec<_> = text.lines().map(|line| Seal::read(line.as_bytes())).collect();
        let numbers: Vec<_> = seals.iter().map(|seal| seal.map(|seal| (seal.seq, seal.holds))).collect();
        assert_eq!(
            numbers,
            [Some((1, true)), Some((2, true)), None, Some((1, true)), Some((2, true))],
            "{text}"
        );
        let chains: Vec<_> = seals.iter().flatten().map(|seal| seal.chain).collect();
        assert_eq!((chains[0], chains[2]), (chains[1], chains[3]));
        assert_ne!(chains[0], chains[2], "the lines of the two chains can be distinguished");
    }

    #[test]
    fn nothing_is_written_before_the_first_verdict() {
        let mut stream = Stream::new(Vec::new());
        assert_eq!(stream.write(b"").unwrap(), Link::default());
        assert!(stream.out.is_empty());
    }
}
