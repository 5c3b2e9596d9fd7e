//! The chains of a trail: each replica, and each start of one that writes to standard output, has its own.

use std::{borrow::Cow, collections::HashMap, fmt};

use serde::Deserialize;

use super::lines::{COMPRESSED, Line, MAX_LINE_BYTES, is_log_line};
use crate::audit::{
    Notice, NoticeLine,
    chain::{ChainId, Hash, Seal},
};

/// Follows several chains from line to line. A line belongs to the chain that it names. If it was edited, what it names may
/// be what was edited: it belongs to the chain whose last line it carries the hash of, else to that of its replica.
#[derive(Default)]
pub(super) struct Chains {
    pub(super) all: Vec<Chain>,
    /// The places of the chains of which a line is whole.
    by_id: HashMap<ChainId, usize>,
    /// The place of the chain of the line before.
    latest: usize,
    /// A line without a seal. The next line may have a notice that it was torn.
    unsealed: Option<Unsealed>,
    /// The problems that are not reported yet.
    pub(super) found: Vec<String>,
    /// The number of problems that were not kept.
    pub(super) omitted: usize,
    pub(super) lines: usize,
    /// The number of records that could not be written, by the trail's notices.
    pub(super) dropped: u64,
    /// The number of lines of sandgate's own log.
    pub(super) log_lines: usize,
}

/// One chain.
pub(super) struct Chain {
    /// The id that its lines have; `None` if no line with one is whole.
    pub(super) id: Option<ChainId>,
    /// The replica that wrote it, once a line has named it.
    pub(super) writer: Option<Writer>,
    /// The number of the first line.
    pub(super) begins: u64,
    pub(super) last: Last,
}

/// The replica that wrote a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Writer {
    cluster: String,
    instance: String,
}

/// The line with the highest number so far.
pub(super) struct Last {
    pub(super) seq: u64,
    pub(super) hash: Hash,
    /// It was edited, so the hash that it should have is unknown.
    is_edited: bool,
    place: String,
}

struct Unsealed {
    place: String,
    bytes: usize,
}

/// The most chains that are distinguished: a hostile stream could begin one with each line.
const MAX_CHAINS: usize = 10_000;

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { cluster, instance } = self;
        if cluster.is_empty() { f.write_str(instance) } else { write!(f, "{cluster}/{instance}") }
    }
}

impl Writer {
    /// Returns the replica that a line names; `None` for notices.
    fn of(text: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Origin<'l> {
            #[serde(borrow, default)]
            cluster: Cow<'l, str>,
            #[serde(borrow, default)]
            instance: Cow<'l, str>,
        }
        let Origin { cluster, instance } = serde_json::from_slice(text).ok()?;
        let is_named = !instance.is_empty() || !cluster.is_empty();
        is_named.then(|| Self { cluster: cluster.into(), instance: instance.into() })
    }
}

/// Returns the seal of a line.
pub(super) fn sealed(line: Line<'_>) -> Option<Seal> {
    match line {
        Line::Whole(text) => Seal::read(text),
        Line::TooLong | Line::Torn(_) | Line::Compressed => None,
    }
}

impl Chains {
    /// Takes the next line; its seal, if that holds.
    pub(super) fn read(&mut self, line: Line<'_>, place: &dyn Fn() -> String) -> Option<Seal> {
        let text = match line {
            Line::Whole(b"") => return None,
            Line::Whole(text) | Line::Torn(text) => text,
            Line::TooLong | Line::Compressed => {
                self.end_file();
                let too_long = format!("is longer than {} MiB and no audit line", MAX_LINE_BYTES >> 20);
                let what = if line == Line::Compressed { COMPRESSED } else { &too_long };
                self.found.push(format!("{}: {what}", place()));
                return None;
            }
        };
        let Some(seal) = sealed(line) else {
            if is_log_line(text) {
                self.log_lines += 1;
                return None;
            }
            self.end_file();
            self.unsealed = Some(Unsealed { place: place(), bytes: text.len() });
            return None;
        };
        self.lines += 1;
        self.handle_notice(text);
        self.end_file();
        self.append(seal, text, place());
        seal.holds.then_some(seal)
    }

    /// Drops the problems beyond the first thousand, and counts them: a reader that reports at the end has no bound else.
    pub(super) fn limit_problems(&mut self) {
        const MAX_KEPT: usize = 1000;
        self.omitted += self.found.len().saturating_sub(MAX_KEPT);
        self.found.truncate(MAX_KEPT);
    }

    /// Nothing more can explain a line without a seal.
    pub(super) fn end_file(&mut self) {
        if let Some(Unsealed { place, .. }) = self.unsealed.take() {
            self.found.push(format!("{place}: is no whole audit line: cut off, edited or from elsewhere"));
        }
    }

    fn handle_notice(&mut self, text: &[u8]) {
        match notice(text) {
            Some(Notice::Dropped { records }) => self.dropped += records,
            Some(Notice::Torn { bytes }) => {
                if let Some(Unsealed { place, .. }) = self.unsealed.take_if(|torn| torn.bytes as u64 == bytes)
                {
                    self.found.push(format!(
                        "{place}: was cut off when its process ended; the next line reports it"
                    ));
                }
            }
            Some(Notice::Started { .. }) | None => {}
        }
    }

    fn append(&mut self, seal: Seal, text: &[u8], place: String) {
        let Seal { chain: id, seq, hash, holds, .. } = seal;
        let here = Last { seq, hash, is_edited: !holds, place };
        let known = self.chain_of(seal, text);
        if known.is_none() && self.all.len() == MAX_CHAINS {
            self.found.push(format!("{}: begins chain {}, too many", here.place, MAX_CHAINS + 1));
            return;
        }
        let mut problems = Vec::new();
        let place = here.place.clone();
        if !holds {
            problems.push("was edited: its hash is not that of its bytes".to_owned());
        }
        let position = known.unwrap_or(self.all.len());
        match self.all.get_mut(position) {
            Some(chain) => {
                // What an edited line names may be what was edited.
                if holds {
                    chain.writer = chain.writer.take().or_else(|| Writer::of(text));
                    chain.id = chain.id.or(Some(id));
                }
                problems.extend(chain.append(seal, here));
            }
            None => self.all.push(Chain {
                id: holds.then_some(id),
                writer: Writer::of(text).filter(|_| holds),
                begins: seq,
                last: here,
            }),
        }
        if holds {
            self.by_id.insert(id, position);
        }
        self.latest = position;
        let writer = self.all[position].writer.as_ref();
        let of = writer.map(|writer| format!("{writer}: ")).unwrap_or_default();
        self.found.extend(problems.into_iter().map(|problem| format!("{place}: {of}{problem}")));
    }

    /// Returns the place of the chain that a line belongs to; `None` if it begins one.
    fn chain_of(&self, seal: Seal, text: &[u8]) -> Option<usize> {
        let named = self.by_id.get(&seal.chain).copied();
        if (seal.holds && (named.is_some() || seal.is_first())) || self.all.is_empty() {
            return named;
        }
        // A chain whose lines were all edited so far has no id yet.
        let follows = |position: &usize| {
            let chain = self.all.get(*position);
            chain.is_some_and(|chain| chain.last.hash == seal.previous && (!seal.holds || chain.id.is_none()))
        };
        let connected = Some(self.latest).filter(follows);
        let connected = connected.or_else(|| (0..self.all.len()).rev().find(|position| follows(position)));
        if seal.holds || connected.is_some() || named.is_some() {
            return connected.or(named);
        }
        let Some(writer) = Writer::of(text) else { return Some(self.latest) };
        let is_of = |chain: &Chain| chain.writer.as_ref() == Some(&writer);
        match self.all.iter().rposition(is_of) {
            Some(position) => Some(position),
            // Chains that no line has named yet may be this one's.
            None => self.all.iter().rposition(|chain| chain.writer.is_none()),
        }
    }
}

impl Chain {
    /// Takes the next line, and returns what is wrong with its place.
    fn append(&mut self, seal: Seal, here: Last) -> Option<String> {
        let Seal { seq, previous, holds, .. } = seal;
        let last = &self.last;
        let next = last.seq + 1;
        if previous == last.hash && (!holds || last.is_edited) {
            // Whatever number an edited line has, this is its place.
            self.last = Last { seq: if holds { seq } else { next }, ..here };
            return None;
        }
        if seq < next {
            let after = last.seq;
            return Some(format!("number {seq} stands behind number {after}: it was moved or repeated"));
        }
        let mut problem = None;
        if seq > next {
            let missing = match seq - 1 {
                one if one == next => format!("number {one} is"),
                up_to => format!("numbers {next} to {up_to} are"),
            };
            problem = Some(format!("{missing} missing before this line"));
        } else if holds && !last.is_edited && previous != last.hash {
            problem = Some(format!("follows another line than {}: one of them was replaced", last.place));
        }
        self.last = here;
        problem
    }
}

/// The line as one that is no verdict.
fn notice(text: &[u8]) -> Option<Notice> {
    // Verdicts are many and long, and begin otherwise.
    const MARK: &[u8] = br#","notice":"#;
    let is_notice = text.get(..64)?.windows(MARK.len()).any(|part| part == MARK);
    let line: NoticeLine = is_notice.then(|| serde_json::from_slice(text).ok())??;
    Some(line.notice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::Link;

    fn trail(records: usize) -> Vec<String> {
        let (mut link, mut out) = (Link::begin(ChainId::draw()), Vec::new());
        for number in 1..=records {
            link.seal(format!(r#"{{"user":"u{number}"}}"#).as_bytes(), &mut out);
        }
        String::from_utf8(out).unwrap().lines().map(Into::into).collect()
    }

    fn found(lines: &[String]) -> Vec<String> {
        let (mut chain, mut found) = (Chains::default(), Vec::new());
        for (index, line) in lines.iter().enumerate() {
            chain.read(Line::Whole(line.as_bytes()), &|| format!("f:{}", index + 1));
            found.append(&mut chain.found);
        }
        chain.end_file();
        found.append(&mut chain.found);
        found
    }

    #[test]
    fn a_chain_is_whole_wherever_it_begins_and_ends() {
        let lines = trail(9);
        for (from, to) in [(0, 9), (3, 9), (0, 5), (4, 5)] {
            assert_eq!(found(&lines[from..to]), Vec::<String>::new());
        }
    }

    #[test]
    fn every_line_that_is_removed_is_named() {
        for gone in 1..8 {
            let mut lines = trail(9);
            lines.remove(gone);
            let number = gone + 1;
            assert_eq!(found(&lines), [format!("f:{number}: number {number} is missing before this line")]);
        }
        let mut lines = trail(9);
        lines.drain(2..5);
        assert_eq!(found(&lines), ["f:3: numbers 3 to 5 are missing before this line"]);
    }

    #[test]
    fn every_line_that_is_edited_is_named_and_no_other() {
        for edited in 0..9 {
            for (from, to) in [("user", "USER"), ("\"seq\":", "\"seq\":1"), ("\"schema\":1", "\"schema\":3")]
            {
                let mut lines = trail(9);
                lines[edited] = lines[edited].replacen(from, to, 1);
                let at = edited + 1;
                assert_eq!(
                    found(&lines),
                    [format!("f:{at}: was edited: its hash is not that of its bytes")],
                    "{from}"
                );
            }
        }
    }

    #[test]
    fn a_line_that_was_moved_or_repeated_is_named() {
        let mut lines = trail(6);
        lines.swap(3, 4);
        assert_eq!(
            found(&lines),
            [
                "f:4: number 4 is missing before this line",
                "f:5: number 4 stands behind number 5: it was moved or repeated"
            ]
        );
        let mut lines = trail(3);
        lines.insert(2, lines[1].clone());
        assert_eq!(found(&lines), ["f:3: number 2 stands behind number 2: it was moved or repeated"]);
    }

    #[test]
    fn a_line_with_a_new_hash_does_not_fit_the_next_one() {
        let mut lines = trail(5);
        let (mut link, mut forged) = (Seal::read(lines[1].as_bytes()).unwrap().link(), Vec::new());
        link.seal(br#"{"user":"forger"}"#, &mut forged);
        lines[2] = String::from_utf8(forged).unwrap().trim_end().into();
        assert_eq!(found(&lines), ["f:4: follows another line than f:3: one of them was replaced"]);
    }

    #[test]
    fn what_is_no_line_of_the_trail_is_named() {
        for foreign in ["{}", "hello", "\0\0\0"] {
            let mut lines = trail(4);
            lines.insert(2, foreign.into());
            assert_eq!(found(&lines), ["f:3: is no whole audit line: cut off, edited or from elsewhere"]);
        }
    }

    /// The lines of a replica, which begin with a notice as those of a process on standard output do.
    fn trail_of(instance: &str, records: usize) -> Vec<String> {
        let (mut link, mut out) = (Link::begin(ChainId::draw()), Vec::new());
        let started =
            format!(r#"{{"time":"2026-11-24T12:00:00Z","notice":"started","version":"{instance}"}}"#);
        link.seal(started.as_bytes(), &mut out);
        for number in 1..=records {
            let record = format!(r#"{{"cluster":"eu","instance":"{instance}","user":"u{number}"}}"#);
            link.seal(record.as_bytes(), &mut out);
        }
        String::from_utf8(out).unwrap().lines().map(Into::into).collect()
    }

    /// Mixes two trails as a log collector does, with a line of the log between.
    fn mixed(one: &[String], other: &[String]) -> Vec<String> {
        let log = "2026-11-24T12:00:00Z  INFO sandgate: Serving";
        let pairs = one.iter().zip(other);
        pairs.flat_map(|(one, other)| [one.clone(), log.into(), other.clone()]).collect()
    }

    #[test]
    fn replicas_in_one_stream_are_distinguished() {
        let (one, other) = (trail_of("a", 5), trail_of("b", 5));
        for (one, other) in [(&one[..], &other[..]), (&one[3..], &other[2..])] {
            let lines = mixed(one, other);
            assert_eq!(found(&lines), Vec::<String>::new());
        }
        let mut chains = Chains::default();
        for line in mixed(&one, &other) {
            chains.read(Line::Whole(line.as_bytes()), &String::new);
        }
        let writers: Vec<String> =
            chains.all.iter().map(|chain| chain.writer.as_ref().unwrap().to_string()).collect();
        assert_eq!((writers, chains.log_lines, chains.lines), (vec!["eu/a".into(), "eu/b".into()], 6, 12));
    }

    #[test]
    fn lines_of_replicas_in_any_order_belong_to_the_chain_that_they_name() {
        // A collector that delivers the lines of one replica much later than those of the other.
        let (one, other) = (trail_of("a", 5), trail_of("b", 5));
        let lines = [&one[..2], &other[..], &one[2..]].concat();
        assert_eq!(found(&lines), Vec::<String>::new());
        // The line that follows a missing one has no neighbour by its hash, and no verdict by which to know its replica.
        let notice = r#"{"time":"2026-11-24T12:00:00Z","notice":"dropped","records":3}"#;
        let (mut link, mut out) = (Seal::read(one[5].as_bytes()).unwrap().link(), Vec::new());
        link.seal(b"{}", &mut Vec::new());
        link.seal(notice.as_bytes(), &mut out);
        let notice = String::from_utf8(out).unwrap().trim_end().to_owned();
        let lines = [&one[..], &other[..], &[notice]].concat();
        assert_eq!(found(&lines), ["f:13: eu/a: number 7 is missing before this line"]);
    }

    #[test]
    fn a_line_whose_chain_was_edited_is_named_once() {
        let (one, other) = (trail_of("a", 4), trail_of("b", 4));
        let id = |line: &str| Seal::read(line.as_bytes()).unwrap().chain.to_string();
        let mut lines = mixed(&one, &other);
        for foreign in [id(&other[0]), "0123456789abcdef".into()] {
            lines[6] = one[2].replace(&id(&one[0]), &foreign);
            assert_eq!(found(&lines), ["f:7: eu/a: was edited: its hash is not that of its bytes"]);
        }
    }

    #[test]
    fn what_one_of_two_replicas_lost_is_named() {
        let (one, other) = (trail_of("a", 5), trail_of("b", 5));
        let lines = mixed(&one, &other);
        for (gone, replica) in [(3, "a"), (5, "b"), (6, "a"), (8, "b"), (9, "a")] {
            let mut lines = lines.clone();
            lines.remove(gone);
            let found = found(&lines);
            let wanted = format!(": eu/{replica}: number {} is missing before this line", gone / 3 + 1);
            assert!(matches!(&found[..], [one] if one.ends_with(&wanted)), "{gone}: {found:?}");
        }
        let mut edited = lines.clone();
        edited[8] = edited[8].replace("\"u2\"", "\"U2\"");
        assert_eq!(found(&edited), ["f:9: eu/b: was edited: its hash is not that of its bytes"]);
        let mut repeated = lines;
        repeated.push(one[2].clone());
        assert_eq!(
            found(&repeated),
            ["f:19: eu/a: number 3 stands behind number 6: it was moved or repeated"]
        );
    }
}
