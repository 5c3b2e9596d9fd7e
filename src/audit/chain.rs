//! The hash chain: what is sealed into each line of the trail, and read back from it.
//!
//! A sealed line ends in `,"schema":1,"chain":"…","seq":N,"previous":"…","hash":"…"}`. The hash is the SHA-256 of the
//! line's bytes in front of `,"hash":`, so that it can be checked without reading JSON; `previous` is the hash of the
//! line before. `chain` is drawn at the start of a chain, so that lines of several replicas can be distinguished in one
//! stream.
//! There is no key in it: who can rewrite every line from some point to the end can also compute new hashes. What
//! shows that is a head that was noted elsewhere: the metric `sandgate_audit_chain_head`, or a line of the log.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    io::Write,
    iter,
};

use memchr::memchr;
use sha2::{Digest, Sha256};

/// The version of the record's fields.
pub const SCHEMA: u32 = 1;

/// The most bytes by which a seal makes a record longer.
pub const MAX_SEAL_BYTES: usize = 230;

const PREVIOUS: &[u8] = br#","previous":""#;
const HASH: &[u8] = br#"","hash":""#;
const SEQ: &[u8] = br#","seq":"#;
const CHAIN: &[u8] = br#","chain":""#;
const END: &[u8] = br#""}"#;
const HEX: usize = 64;
const CHAIN_HEX: usize = 16;

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

/// The id of a chain, which each of its lines has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ChainId(u64);

impl ChainId {
    /// Returns an id that no other chain has. It need not be hard to guess.
    #[must_use]
    pub fn draw() -> Self {
        Self(RandomState::new().hash_one(()))
    }

    /// Returns the id with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    fn read(hex: &[u8]) -> Option<Self> {
        let is_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        let hex = Some(hex).filter(|hex| hex.len() == CHAIN_HEX && hex.iter().all(is_hex))?;
        u64::from_str_radix(str::from_utf8(hex).ok()?, 16).ok().map(Self)
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0CHAIN_HEX$x}", self.0)
    }
}

/// The end of a chain: what the next line is tied to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// The chain that the line belongs to.
    pub chain: ChainId,
    /// The number of the last line; 0 if there is no line.
    pub seq: u64,
    /// The hash of the last line; zeros if there is no line.
    pub hash: Hash,
}

impl Link {
    /// Begins a chain.
    #[must_use]
    pub fn begin(chain: ChainId) -> Self {
        Self { chain, ..Self::default() }
    }

    /// Appends all `records`, each with its newline, as the next lines of the chain.
    pub fn seal_all(&mut self, records: &[u8], out: &mut Vec<u8>) {
        split(records).for_each(|record| self.seal(record, out));
    }

    /// Appends `record`, a JSON object with or without its newline, as the next line of the chain.
    pub fn seal(&mut self, record: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(record.trim_ascii_end().strip_suffix(b"}").unwrap_or(record));
        self.seq += 1;
        let Self { chain, seq, hash } = self;
        let _ = write!(out, r#","schema":{SCHEMA},"chain":"{chain}","seq":{seq},"previous":"{hash}""#);
        self.hash = Hash::of(&out[start..]);
        let _ = writeln!(out, r#","hash":"{}"}}"#, self.hash);
    }
}

/// Each of the records, with its newline.
pub(super) fn split(records: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = records;
    iter::from_fn(move || {
        let end = memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1);
        let (record, after) = rest.split_at(end);
        rest = after;
        (!record.is_empty()).then_some(record)
    })
}

/// The seal of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// The chain that the line belongs to.
    pub chain: ChainId,
    /// The number of the line.
    pub seq: u64,
    /// The hash of the line, by its own field.
    pub hash: Hash,
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
        let rest = rest.strip_suffix(SEQ)?;
        let seq = str::from_utf8(seq).ok()?.parse().ok()?;
        let sealed = &line[..=line.len() - END.len() - HEX - HASH.len()];
        Some(Self { chain: chain_at_end(rest)?, seq, hash, previous, holds: Hash::of(sealed) == hash })
    }

    /// Returns the line as the end of a chain that is continued.
    #[must_use]
    pub fn link(&self) -> Link {
        Link { chain: self.chain, seq: self.seq, hash: self.hash }
    }

    /// Returns true if the line begins a chain.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.seq == 1 && self.previous == Hash::default()
    }
}

fn hex_at_end(text: &[u8]) -> Option<(&[u8], Hash)> {
    let (rest, hex) = text.split_at_checked(text.len().checked_sub(HEX)?)?;
    Some((rest, Hash::read(hex)?))
}

fn chain_at_end(text: &[u8]) -> Option<ChainId> {
    let rest = text.strip_suffix(b"\"")?;
    let (rest, hex) = rest.split_at_checked(rest.len().checked_sub(CHAIN_HEX)?)?;
    rest.strip_suffix(CHAIN)?;
    ChainId::read(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(records: &[&str]) -> Vec<String> {
        let (mut link, mut out) = (Link::begin(ChainId::new(0x1f2e_3d4c_5b6a_7988)), Vec::new());
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
        // printf '%s' '{"a":1,"schema":1,"chain":"1f2e3d4c5b6a7988","seq":1,"previous":"0…0"' | sha256sum
        let hash = "f4d29fe6cdf77357cd25c49d4fa7e70eb1ec183845539b6342b31a387bc0192e";
        let chain = "1f2e3d4c5b6a7988";
        assert_eq!(
            first,
            format!(r#"{{"a":1,"schema":1,"chain":"{chain}","seq":1,"previous":"{zeros}","hash":"{hash}"}}"#)
        );
        let begins = format!(r#"{{"a":2,"schema":1,"chain":"{chain}","seq":2,"previous":"{hash}","hash":""#);
        assert!(second.starts_with(&begins), "{second}");
    }

    #[test]
    fn a_seal_is_read_as_it_was_written() {
        let lines = sealed(&["{\"a\":1}", "{\"a\":2}"]);
        let [first, second] = [0, 1].map(|index| Seal::read(lines[index].as_bytes()).unwrap());
        assert!(first.holds && second.holds && first.is_first() && !second.is_first());
        assert_eq!((second.previous, second.seq), (first.hash, 2));
        assert_eq!(second.chain, ChainId::new(0x1f2e_3d4c_5b6a_7988));
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
    fn what_is_no_sealed_line_has_no_seal() {
        for line in [
            "",
            "{}",
            "\"}",
            r#"{"hash":"00"}"#,
            &sealed(&["{\"a\":1}"])[0][1..].replace("seq", "sea"),
            &sealed(&["{\"a\":1}"])[0].replace("chain", "chair"),
        ] {
            assert_eq!(Seal::read(line.as_bytes()), None, "{line}");
        }
    }
}
