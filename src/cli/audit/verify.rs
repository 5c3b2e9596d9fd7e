//! `sandgate audit verify`: whether the chain of audit lines is whole.

use std::fmt::Write as _;

use std::path::PathBuf;

use clap::Args;

use super::{
    chains::{Chain, Chains, sealed},
    lines::{Lines, progress},
};
use crate::{
    audit::chain::Hash,
    cli::{
        CliError, Status, input, print,
        terminal::{BAD, GOOD, count, fit, paint},
    },
};
use sandgate_engine::text::sanitize;

/// Find lines of the audit trail that were removed, moved or edited
///
/// Each line carries the hash of the one before. Files are put in the order of their first records, so that a rotated
/// set can be given as sandgate-audit.jsonl*. The hashes have no key, so anyone who can write the file can
/// rewrite all lines up to the last one: only --head, with a hash that was kept elsewhere, finds that. Lines of several replicas in one stream are distinguished by
/// the chain that each names, and lines of sandgate's own log between them are counted.
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
    let mut chains = Chains::default();
    let mut problems = 0;
    let mut head = args.head.as_deref().map(Head::new);
    for path in &files {
        let mut lines = Lines::open(path, &bar)?;
        while lines.advance()? {
            let seal = chains.read(lines.line(), &|| lines.place());
            if let (Some(head), Some(seal)) = (&mut head, seal) {
                head.check(seal.hash);
            }
            // Each time that the bar is suspended it is drawn anew.
            if !chains.found.is_empty() {
                problems += bar.suspend(|| report(&mut chains))?;
            }
        }
        chains.end_file();
        problems += report(&mut chains)?;
    }
    bar.finish_and_clear();
    if let Some(head) = head.filter(|head| !head.is_seen) {
        problems += 1;
        print(&problem(&format!("no line has the hash {}: the chain was cut or made anew", head.wanted)))?;
    }
    if chains.all.is_empty() {
        if problems > 0 {
            return Ok(Status::Violations);
        }
        let names: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
        return Err(CliError::new(format_args!("no chained audit line in {}", names.join(", "))));
    }
    print(&summary(&chains, problems))?;
    Ok(if problems == 0 { Status::Fine } else { Status::Violations })
}

/// By the number of the first record; what has none keeps its place in front.
pub(super) fn in_order(files: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
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
            first = sealed(lines.line()).map_or(0, |seal| seal.seq);
        }
        ordered.push((first, path.clone()));
    }
    ordered.sort_by_key(|(first, _)| *first);
    Ok(ordered.into_iter().map(|(_, path)| path).collect())
}

/// Prints what was found; how many problems that was.
fn report(chains: &mut Chains) -> Result<usize, CliError> {
    let found = chains.found.len();
    for text in chains.found.drain(..) {
        print(&problem(&text))?;
    }
    Ok(found)
}

fn problem(text: &str) -> String {
    format!("{} {}\n", paint(BAD, "broken"), fit(sanitize(text), 7, 4))
}

/// Returns the verdict, and the head of each chain: what has to be kept elsewhere.
fn summary(chains: &Chains, problems: usize) -> String {
    let Chains { all, lines, dropped, log_lines, .. } = chains;
    let (word, style) = match problems {
        0 => ("ok".into(), GOOD),
        some => (count(some, "problem"), BAD),
    };
    let mut verdict = count(*lines, "line");
    if all.len() > 1 {
        let _ = write!(verdict, " in {} chains", all.len());
    }
    if *dropped > 0 {
        let _ = write!(verdict, ", with notices of {} that could not be written", count(*dropped, "record"));
    }
    if *log_lines > 0 {
        let _ = write!(verdict, ", between {} of the log", count(*log_lines, "line"));
    }
    let verdict = fit(verdict, word.len() + 2, 4);
    let heads = all.iter().map(head_of).collect::<String>();
    format!("{}: {verdict}\n{heads}", paint(style, word))
}

/// Returns the name of a chain, and its head in both forms.
fn head_of(Chain { id, writer, begins, last, .. }: &Chain) -> String {
    let id = id.map_or_else(|| "chain of edited lines".into(), |id| format!("chain {id}"));
    let of = writer.as_ref().map(|writer| format!(" of {}", sanitize(&writer.to_string())));
    let name = fit(format!("{id}{}: numbers {begins} to {}", of.unwrap_or_default(), last.seq), 0, 4);
    format!("{name}\n  head   {}\n  metric {}\n", last.hash, last.hash.short())
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
