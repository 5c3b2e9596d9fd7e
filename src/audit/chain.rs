//! The hash chain: what is sealed into each line of the trail, and read back from it.
//!
//! A sealed line ends in `,"schema":2,"seq":N,"previous":"…","hash":"…"}`. The hash is the SHA-256 of the line's bytes
//! in front of `,"hash":`, so that it can be checked without reading JSON; `previous` is the hash of the line before.
//! There is no key in it: who can rewrite every line from some point to the end can also compute new hashes. What
//! shows that is a head that was noted elsewhere: the metric `sandgate_audit_chain_head`, or a line of the log.

use std::{fmt, io::Write};

use sha2::{Digest, Sha256};

/// The version of the record's fields. A reader of version 2 reads lines of version 1, which has fewer fields.
pub const SCHEMA: u32 = 2;

/// The most bytes by which a seal makes a record longer.
pub const MAX_SEAL_BYTES: usize = 200;

const PREVIOUS: &[u8] = br#","previous":""#;
const HASH: &[u8] = br#"","hash":""#;
const SEQ: &[u8] = br#","seq":"#;
const END: &[u8] = br#""}"#;
const HEX: usize = 64;

/// A SHA-256 hash of a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hash([u8; HEX / 2]);

impl Hash {
    /// The first 48 bits, which a metric can hold exactly.
    #[must_use]
    pub fn short(self) -> i64 {
        self.0.iter().take(6).fold(0, |number, byte| number << 8 | i64::from(*byte))
    }

    fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    fn read(hex: &[u8]) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut hash = Self::default();
        for (byte, pair) in hash.0.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let mut hex = [0; HEX];
        for (at, digit) in hex.iter_mut().zip(digits) {
            *at = b"0123456789abcdef"[usize::from(digit)];
        }
        f.write_str(str::from_utf8(&hex).unwrap_or_default())
    }
}

/// The end of a chain: what the next line is tied to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// The number of the last line; 0 if there is no line.
    pub seq: u64,
    /// The hash of the last line; zeros if there is no line.
    pub hash: Hash,
}

impl Link {
    /// Appends all `records`, each with its newline, as the next lines of the chain.
    pub fn seal_all(&mut self, records: &[u8], out: &mut Vec<u8>) {
        split(records).for_each(|record| self.seal(record, out));
    }

    /// Appends `record`, a JSON object with or without its newline, as the next line of the chain.
    pub fn seal(&mut self, record: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(record.trim_ascii_end().strip_suffix(b"}").unwrap_or(record));
        self.seq += 1;
        let _ = write!(out, r#","schema":{SCHEMA},"seq":{},"previous":"{}""#, self.seq, self.hash);
        self.hash = Hash::of(&out[start..]);
        let _ = writeln!(out, r#","hash":"{}"}}"#, self.hash);
    }
}

/// Each of the records, with its newline.
pub(super) fn split(records: &[u8]) -> impl Iterator<Item = &[u8]> {
    records.split_inclusive(|byte| *byte == b'\n')
}

/// The seal of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// The line as the end of a chain, by its own fields.
    pub link: Link,
    /// The hash that it has of the line before.
    pub previous: Hash,
    /// True if its hash is that of its bytes.
    pub holds: bool,
}

impl Seal {
    /// Reads the seal of a line without its newline; `None` if the line has no seal.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<Self> {
        let (rest, hash) = hex_at_end(line.strip_suffix(END)?)?;
        let (rest, previous) = hex_at_end(rest.strip_suffix(HASH)?)?;
        let rest = rest.strip_suffix(PREVIOUS)?;
        let digits = rest.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let (rest, seq) = rest.split_at(rest.len() - digits);
        rest.strip_suffix(SEQ)?;
        let seq = str::from_utf8(seq).ok()?.parse().ok()?;
        let sealed = &line[..=line.len() - END.len() - HEX - HASH.len()];
        Some(Self { link: Link { seq, hash }, previous, holds: Hash::of(sealed) == hash })
    }

    /// Returns true if the line begins a chain.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.link.seq == 1 && self.previous == Hash::default()
    }
}

/// Reads the seal of a line that is too long to be kept in memory, piece by piece.
#[derive(Debug, Default)]
pub struct SealReader {
    hasher: Sha256,
    /// The end of what was read, not hashed yet: the seal may begin in it.
    tail: Vec<u8>,
}

impl SealReader {
    /// The most bytes behind the part of a line that is hashed.
    const MAX_UNHASHED: usize = HASH.len() + HEX + END.len() - 1;

    /// Takes the next bytes of the line.
    pub fn update(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        let kept = MAX_SEAL_BYTES.max(Self::MAX_UNHASHED);
        if self.tail.len() > kept {
            let hashed = self.tail.len() - kept;
            self.hasher.update(&self.tail[..hashed]);
            self.tail.drain(..hashed);
        }
    }

    /// Returns the seal of the line that was read, without its newline; `None` if the line has no seal.
    #[must_use]
    pub fn finish(mut self) -> Option<Seal> {
        let seal = Seal::read(&self.tail)?;
        self.hasher.update(&self.tail[..self.tail.len() - Self::MAX_UNHASHED]);
        Some(Seal { holds: Hash(self.hasher.finalize().into()) == seal.link.hash, ..seal })
    }
}

fn hex_at_end(text: &[u8]) -> Option<(&[u8], Hash)> {
    let (rest, hex) = text.split_at_checked(text.len().checked_sub(HEX)?)?;
    Some((rest, Hash::read(hex)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(records: &[&str]) -> Vec<String> {
        let (mut link, mut out) = (Link::default(), Vec::new());
        for record in records {
            link.seal(record.as_bytes(), &mut out);
        }
        String::from_utf8(out).unwrap().lines().map(Into::into).collect()
    }

    /// Published; a change of it is a change of the format.
    #[test]
    fn the_seal_is_what_a_shell_can_check() {
        let [first, second] = sealed(&["{\"a\":1}\n", "{\"a\":2}\n"]).try_into().unwrap();
        let zeros = "0".repeat(64);
        // printf '%s' '{"a":1,"schema":2,"seq":1,"previous":"0…0"' | sha256sum
        let hash = "5cea51905292d2aba59209b820ee824db2d79cd81793964f50711a4715a60ace";
        assert_eq!(first, format!(r#"{{"a":1,"schema":2,"seq":1,"previous":"{zeros}","hash":"{hash}"}}"#));
        assert!(
            second.starts_with(&format!(r#"{{"a":2,"schema":2,"seq":2,"previous":"{hash}","hash":""#)),
            "{second}"
        );
    }

    #[test]
    fn a_seal_is_read_as_it_was_written() {
        let lines = sealed(&["{\"a\":1}", "{\"a\":2}"]);
        let [first, second] = [0, 1].map(|index| Seal::read(lines[index].as_bytes()).unwrap());
        assert!(first.holds && second.holds && first.is_first() && !second.is_first());
        assert_eq!((second.previous, second.link.seq), (first.link.hash, 2));
    }

    #[test]
    fn no_seal_is_longer_than_its_bound() {
        let (mut link, mut out) = (Link { seq: u64::MAX - 1, ..Link::default() }, Vec::new());
        link.seal(b"{}", &mut out);
        assert!((MAX_SEAL_BYTES - 20..MAX_SEAL_BYTES).contains(&out.len()), "{}", out.len());
    }

    #[test]
    fn no_byte_of_a_sealed_line_can_change() {
        let line = &sealed(&["{\"user\":\"alice\"}"])[0];
        for at in 0..line.len() {
            let mut edited = line.clone().into_bytes();
            edited[at] ^= 1;
            assert!(Seal::read(&edited).is_none_or(|seal| !seal.holds), "{at}");
        }
    }

    #[test]
    fn a_long_line_is_read_in_pieces_as_it_is_read_whole() {
        let record = format!(r#"{{"user":"{}"}}"#, "x".repeat(10_000));
        let line = &sealed(&[&record])[0];
        let read = |line: &str, size: usize| {
            let mut reader = SealReader::default();
            line.as_bytes().chunks(size).for_each(|piece| reader.update(piece));
            reader.finish()
        };
        for size in [1, 7, 100, 4096, 1 << 20] {
            assert_eq!(read(line, size), Seal::read(line.as_bytes()), "{size}");
        }
        assert!(!read(&line.replacen('x', "y", 1), 100).unwrap().holds);
        assert_eq!(read(&record, 100), None);
    }

    #[test]
    fn what_is_no_sealed_line_has_no_seal() {
        for line in
            ["", "{}", "\"}", r#"{"hash":"00"}"#, &sealed(&["{\"a\":1}"])[0][1..].replace("seq", "sea")]
        {
            assert_eq!(Seal::read(line.as_bytes()), None, "{line}");
        }
    }
}
