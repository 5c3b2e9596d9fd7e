//! `sandgate audit verify`: whether the chain of audit lines is whole.

use std::path::PathBuf;

use clap::Args;

use super::lines::{COMPRESSED, Line, Lines, MAX_LINE_BYTES, progress};
use crate::{
    audit::{
        Notice, NoticeLine,
        chain::{Hash, Seal},
    },
    cli::{
        CliError, Status, input, print,
        terminal::{BAD, GOOD, count, fit, paint},
    },
};
use sandgate_engine::text::sanitize;

/// Find lines of the audit trail that were removed, moved or edited
///
/// Each line carries the hash of the one before. Files are put in the order of their first records, so that a rotated
/// set can be given as sandgate-audit.jsonl*. There is no key in a hash: who rewrites all lines up to the last one is
/// found only by --head, with a hash that was kept elsewhere.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 the chain is whole, 1 it is not, 2 it cannot be read.")]
pub(in crate::cli) struct VerifyArgs {
    /// The files; "-" is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A hash that must be in the chain, from a line of the log, or the first 12 digits of one: those of the metric
    /// `sandgate_audit_chain_head`, by printf %012x
    #[arg(long, value_name = "HASH", value_parser = head)]
    head: Option<String>,
}

fn head(text: &str) -> Result<String, String> {
    let is_hash = (12..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash { Ok(text.to_ascii_lowercase()) } else { Err("not 12 to 64 hexadecimal digits".into()) }
}

pub(super) fn run(args: &VerifyArgs) -> Result<Status, CliError> {
    let files = in_order(&args.files)?;
    let bar = progress(&files, false);
    let mut chain = Chain::default();
    let mut problems = 0;
    let mut head = args.head.as_deref().map(Head::new);
    for path in &files {
        let mut lines = Lines::open(path, &bar)?;
        while lines.advance()? {
            let seal = chain.read(lines.line(), &|| lines.place());
            if let (Some(head), Some(seal)) = (&mut head, seal) {
                head.check(seal.link.hash);
            }
            // Each time that the bar is suspended it is drawn anew.
            if !chain.found.is_empty() {
                problems += bar.suspend(|| report(&mut chain))?;
            }
        }
        chain.end_file();
        problems += report(&mut chain)?;
    }
    bar.finish_and_clear();
    if let Some(head) = head.filter(|head| !head.is_seen) {
        problems += 1;
        print(&problem(&format!("no line has the hash {}: the chain was cut or made anew", head.wanted)))?;
    }
    let Some(last) = &chain.last else {
        if problems > 0 {
            return Ok(Status::Violations);
        }
        let names: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
        return Err(CliError::new(format_args!("no chained audit line in {}", names.join(", "))));
    };
    print(&summary(&chain, last, problems))?;
    Ok(if problems == 0 { Status::Fine } else { Status::Violations })
}

/// By the number of the first record; what has none keeps its place in front.
fn in_order(files: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    if files.len() == 1 {
        return Ok(files.to_vec());
    }
    if files.iter().any(|path| input::is_stdin(path)) {
        return Err(CliError::new("standard input cannot be put in order with files; give it alone"));
    }
    let hidden = indicatif::ProgressBar::hidden();
    let mut ordered = Vec::new();
    for path in files {
        let mut lines = Lines::open(path, &hidden)?;
        let mut first = 0;
        while first == 0 && lines.advance()? {
            first = sealed(lines.line()).map_or(0, |seal| seal.link.seq);
        }
        ordered.push((first, path.clone()));
    }
    ordered.sort_by_key(|(first, _)| *first);
    Ok(ordered.into_iter().map(|(_, path)| path).collect())
}

fn sealed(line: Line<'_>) -> Option<Seal> {
    match line {
        Line::Whole(text) => Seal::read(text),
        // A line of schema 1 could be of any length; it is part of the chain all the same.
        Line::TooLong(seal) => seal,
        Line::Torn(_) | Line::Compressed => None,
    }
}

/// Prints what was found; how many problems that was.
fn report(chain: &mut Chain) -> Result<usize, CliError> {
    let found = chain.found.len();
    for text in chain.found.drain(..) {
        print(&problem(&text))?;
    }
    Ok(found)
}

fn problem(text: &str) -> String {
    format!("{} {}\n", paint(BAD, "broken"), fit(sanitize(text), 7, 4))
}

fn summary(chain: &Chain, last: &Last, problems: usize) -> String {
    let Chain { lines, begins, dropped, chains, .. } = chain;
    let verdict = match problems {
        0 => paint(GOOD, "ok"),
        some => paint(BAD, count(some, "problem")),
    };
    let mut text = format!("{verdict}: {} from number {begins} to {}", count(*lines, "line"), last.seq);
    let mut add = |words: String| text.push_str(&words);
    if *chains > 1 {
        add(format!(", in {chains} chains"));
    }
    if *dropped > 0 {
        let dropped = usize::try_from(*dropped).unwrap_or(usize::MAX);
        add(format!(", with notices of {} that could not be written", count(dropped, "record")));
    }
    add(format!("; head {}, as a metric {}\n", last.hash, last.hash.short()));
    text
}

/// A hash that must be there.
struct Head {
    wanted: String,
    is_seen: bool,
}

impl Head {
    fn new(wanted: &str) -> Self {
        Self { wanted: wanted.into(), is_seen: false }
    }

    fn check(&mut self, hash: Hash) {
        self.is_seen = self.is_seen || hash.to_string().starts_with(&self.wanted);
    }
}

/// Follows the chain from line to line.
#[derive(Default)]
struct Chain {
    last: Option<Last>,
    /// A line without a seal. The next line may have a notice that it was torn.
    unsealed: Option<Unsealed>,
    /// The problems that are not reported yet.
    found: Vec<String>,
    lines: usize,
    /// The number of the first line.
    begins: u64,
    chains: usize,
    /// The number of records that could not be written, by the trail's notices.
    dropped: u64,
}

/// The line with the highest number so far.
struct Last {
    seq: u64,
    hash: Hash,
    /// It was edited, so the hash that it should have is unknown.
    is_edited: bool,
    place: String,
}

struct Unsealed {
    place: String,
    bytes: usize,
}

impl Chain {
    /// Takes the next line; its seal, if that holds.
    fn read(&mut self, line: Line<'_>, place: &dyn Fn() -> String) -> Option<Seal> {
        let text = match line {
            Line::Whole(b"") => return None,
            Line::Whole(text) | Line::Torn(text) => text,
            Line::TooLong(Some(_)) => b"",
            Line::TooLong(None) | Line::Compressed => {
                self.end_file();
                let too_long = format!("is longer than {} MiB and no sealed line", MAX_LINE_BYTES >> 20);
                let what = if line == Line::Compressed { COMPRESSED } else { &too_long };
                self.found.push(format!("{}: {what}", place()));
                return None;
            }
        };
        let Some(seal) = sealed(line) else {
            self.end_file();
            self.unsealed = Some(Unsealed { place: place(), bytes: text.len() });
            return None;
        };
        self.lines += 1;
        self.handle_notice(text);
        self.end_file();
        self.append(seal, place);
        seal.holds.then_some(seal)
    }

    /// Nothing more can explain a line without a seal.
    fn end_file(&mut self) {
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

    fn append(&mut self, seal: Seal, place: &dyn Fn() -> String) {
        let Seal { link, previous, holds } = seal;
        if !holds {
            self.found.push(format!("{}: was edited: its hash is not that of its bytes", place()));
        }
        let here = |seq| Last { seq, hash: link.hash, is_edited: !holds, place: place() };
        let Some(last) = &self.last else {
            self.begins = link.seq;
            self.chains = 1;
            self.last = Some(here(link.seq));
            return;
        };
        if holds && seal.is_first() {
            self.chains += 1;
            self.last = Some(here(1));
            return;
        }
        let next = last.seq + 1;
        if previous == last.hash && (!holds || last.is_edited) {
            // Whatever number an edited line has, this is its place.
            self.last = Some(here(if holds { link.seq } else { next }));
            return;
        }
        if link.seq < next {
            let (at, seq, after) = (place(), link.seq, last.seq);
            self.found
                .push(format!("{at}: number {seq} stands behind number {after}: it was moved or repeated"));
            return;
        }
        if link.seq > next {
            let missing = match link.seq - 1 {
                one if one == next => format!("number {one} is"),
                up_to => format!("numbers {next} to {up_to} are"),
            };
            self.found.push(format!("{}: {missing} missing before this line", place()));
        } else if holds && !last.is_edited && previous != last.hash {
            let (at, before) = (place(), &last.place);
            self.found.push(format!("{at}: follows another line than {before}: one of them was replaced"));
        }
        self.last = Some(here(link.seq));
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
        let (mut link, mut out) = (Link::default(), Vec::new());
        for number in 1..=records {
            link.seal(format!(r#"{{"user":"u{number}"}}"#).as_bytes(), &mut out);
        }
        String::from_utf8(out).unwrap().lines().map(Into::into).collect()
    }

    fn found(lines: &[String]) -> Vec<String> {
        let (mut chain, mut found) = (Chain::default(), Vec::new());
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
            for (from, to) in [("user", "USER"), ("\"seq\":", "\"seq\":1"), ("\"schema\":2", "\"schema\":3")]
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
        let (mut link, mut forged) = (Seal::read(lines[1].as_bytes()).unwrap().link, Vec::new());
        link.seal(br#"{"user":"forger"}"#, &mut forged);
        lines[2] = String::from_utf8(forged).unwrap().trim_end().into();
        assert_eq!(found(&lines), ["f:4: follows another line than f:3: one of them was replaced"]);
    }

    #[test]
    fn a_long_line_of_schema_1_is_part_of_the_chain() {
        let (mut link, mut out) = (Link::default(), Vec::new());
        for length in [1, MAX_LINE_BYTES + 100_000, 1] {
            link.seal(format!(r#"{{"user":"{}"}}"#, "x".repeat(length)).as_bytes(), &mut out);
        }
        let mut lines = Lines::of("x", std::io::Cursor::new(out));
        let mut chain = Chain::default();
        while lines.advance().unwrap() {
            chain.read(lines.line(), &|| String::new());
        }
        assert_eq!((chain.found.len(), chain.lines), (0, 3), "{:?}", chain.found);
    }

    #[test]
    fn what_is_no_line_of_the_trail_is_named() {
        for foreign in ["{}", "hello", "\0\0\0"] {
            let mut lines = trail(4);
            lines.insert(2, foreign.into());
            assert_eq!(found(&lines), ["f:3: is no whole audit line: cut off, edited or from elsewhere"]);
        }
    }
}
