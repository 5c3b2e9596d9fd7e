//! The page, from what was gathered.

mod chart;

use std::{cmp::Reverse, collections::BTreeSet, fmt::Display};

use askama::Template;
use jiff::{Timestamp, tz::TimeZone};

use self::chart::Chart;
use super::{
    sanitized::Sanitized,
    summary::{Appendix, DIMENSIONS, Denial, MAX_NAMES, Policy, Summary, Totals, Violated},
};
use crate::cli::{
    audit::{
        chains::{Chain, Chains},
        counts::{Counts, CountsBy},
        source::{FileRead, LineKind, Reading},
        top::By,
    },
    page_style,
};
use sandgate_engine::rules::{self, Rule};

/// The first bytes of each page, by which a report is recognized.
pub(super) const DOCTYPE: &str = "<!doctype html>\n<!-- sandgate audit report -->\n";

/// The template escapes whatever it is given, except the style.
#[derive(Template)]
#[template(path = "audit-report.html")]
struct Page<'p> {
    style: &'static str,
    /// The policy of the page's content allows this style and nothing else.
    style_hash: String,
    version: &'static str,
    title: Sanitized,
    scope: Vec<(&'static str, Names)>,
    gaps: Vec<[DisplayTime; 2]>,
    more_gaps: usize,
    integrity: Integrity,
    exemptions: &'p Appendix,
    denials: &'p Appendix,
    span: Option<[DisplayTime; 2]>,
    filters: Vec<(&'static str, Sanitized)>,
    totals: &'p Totals,
    /// The share of denials in percent.
    denied_share: String,
    timeless: u64,
    chart: Option<Chart>,
    denied: Vec<TopList>,
    would_deny: Vec<TopList>,
    newest: Vec<DenialRow<'p>>,
    /// The number of denials that are older than those.
    older: u64,
    policies: Vec<PolicyRow<'p>>,
    more_policies: usize,
    rules: Vec<&'static Rule>,
    files: Vec<FileRow>,
    problems: Vec<Sanitized>,
    reading: &'p Reading,
}

/// A point in time, for people and for programs.
struct DisplayTime {
    text: String,
    exact: String,
}

/// The most frequent ones of something.
struct TopList {
    title: &'static str,
    column: &'static str,
    rows: Vec<Bar>,
    /// The number of rows beyond the limit of the list.
    more: usize,
    /// Verdicts of names that were too many to count each.
    uncounted: u64,
}

struct Bar {
    name: Sanitized,
    rule: Option<&'static Rule>,
    count: u64,
    /// Of the longest bar.
    percent: String,
}

/// A denial, with the texts of its rules.
struct DenialRow<'p> {
    time: Option<DisplayTime>,
    denial: &'p Denial,
    violations: Vec<(&'p Violated, Option<&'static Rule>)>,
}

struct PolicyRow<'p> {
    policy: &'p Policy,
    counts: Counts,
    /// The times of its first and its last request.
    span: Option<[DisplayTime; 2]>,
}

/// The first names of a set, and the number of the others.
struct Names {
    names: Vec<Sanitized>,
    more: usize,
}

/// The state of the hash chains.
struct Integrity {
    /// False if no line of sandgate's trail was read.
    is_checked: bool,
    lines: usize,
    problems: Vec<Sanitized>,
    more_problems: usize,
    chains: Vec<ChainRow>,
    more_chains: usize,
    /// The number of chains whose first line was not read.
    begun: usize,
}

struct ChainRow {
    writer: Sanitized,
    /// Empty if all its lines were edited.
    id: String,
    begins: u64,
    ends: u64,
    head: String,
}

/// What the page is made of.
pub(super) struct Facts<'f> {
    pub(super) summary: &'f Summary,
    pub(super) reading: &'f Reading,
    pub(super) chains: &'f Chains,
    pub(super) title: &'f str,
}

struct FileRow {
    name: Sanitized,
    kind: &'static str,
    lines: u64,
    verdicts: u64,
}

/// The whole page. A list has at most `limit` rows.
pub(super) fn page(facts: &Facts, filters: &[(&'static str, String)], limit: usize) -> String {
    let Facts { summary, reading, chains, title } = *facts;
    let lists = |count: fn(&Counts) -> u64| {
        let lists = DIMENSIONS
            .into_iter()
            .zip(&summary.dimensions)
            .map(|(by, counts_by)| TopList::new(by, counts_by, count, limit));
        lists.collect::<Vec<_>>()
    };
    let denied = lists(|counts| counts.denied);
    let would_deny = lists(|counts| counts.would_deny);
    let newest: Vec<_> = summary.newest.values().rev().map(DenialRow::new).collect();
    let mut policies = summary.policies.rows(|counts| Reverse(*counts));
    let more_policies = policies.len().saturating_sub(limit);
    policies.truncate(limit);
    let mut gaps = summary.timeline.gaps();
    let more_gaps = gaps.len().saturating_sub(MAX_GAPS);
    gaps.truncate(MAX_GAPS);
    let between = |(from, to): (Timestamp, Timestamp)| [DisplayTime::new(from), DisplayTime::new(to)];
    let page = Page {
        title: title.into(),
        scope: [
            ("Clusters", Names::new(&summary.scope.clusters)),
            ("Replicas", Names::new(&summary.scope.instances)),
            ("Namespaces", Names::new(&summary.scope.namespaces)),
        ]
        .into(),
        gaps: gaps.into_iter().map(between).collect(),
        more_gaps,
        integrity: Integrity::new(chains),
        exemptions: &summary.exemptions,
        denials: &summary.denials,
        style: page_style::STYLE,
        style_hash: page_style::hash(),
        version: env!("CARGO_PKG_VERSION"),
        span: summary.span.map(|(first, last)| [DisplayTime::new(first), DisplayTime::new(last)]),
        filters: filters.iter().map(|(name, values)| (*name, (&**values).into())).collect(),
        totals: &summary.totals,
        denied_share: percent(summary.totals.denied, summary.totals.verdicts),
        timeless: summary.timeless,
        chart: Chart::new(&summary.timeline),
        rules: rules_in(&[&denied, &would_deny], &newest),
        denied,
        would_deny,
        older: summary.totals.denied - newest.len() as u64,
        newest,
        policies: policies
            .into_iter()
            .map(|(policy, counts)| {
                let span = summary.policy_spans.get(policy).copied().map(between);
                PolicyRow { policy, counts, span }
            })
            .collect(),
        more_policies,
        files: reading.files.iter().map(FileRow::new).collect(),
        problems: reading.problems.iter().map(|problem| (&**problem).into()).collect(),
        reading,
    };
    let page = page.render().expect("writing to memory cannot fail");
    DOCTYPE.to_string() + &page
}

/// The most gaps, names of a scope, chains and problems that are listed.
const MAX_GAPS: usize = 20;
const MAX_SCOPE_NAMES: usize = 50;
const MAX_CHAINS: usize = 50;
const MAX_PROBLEMS: usize = 50;

impl Names {
    fn new(names: &BTreeSet<Sanitized>) -> Self {
        Self {
            names: names.iter().take(MAX_SCOPE_NAMES).cloned().collect(),
            more: names.len().saturating_sub(MAX_SCOPE_NAMES),
        }
    }
}

impl Integrity {
    fn new(chains: &Chains) -> Self {
        let row = |chain: &Chain| ChainRow {
            writer: chain.writer.as_ref().map(|writer| (&*writer.to_string()).into()).unwrap_or_default(),
            id: chain.id.map(|id| id.to_string()).unwrap_or_default(),
            begins: chain.begins,
            ends: chain.last.seq,
            head: chain.last.hash.to_string(),
        };
        Self {
            is_checked: chains.lines > 0,
            lines: chains.lines,
            problems: chains.found.iter().take(MAX_PROBLEMS).map(|problem| (&**problem).into()).collect(),
            more_problems: chains.found.len().saturating_sub(MAX_PROBLEMS) + chains.omitted,
            chains: chains.all.iter().take(MAX_CHAINS).map(row).collect(),
            more_chains: chains.all.len().saturating_sub(MAX_CHAINS),
            begun: chains.all.iter().filter(|chain| chain.begins > 1).count(),
        }
    }
}

/// The rules that the page names, in their order.
fn rules_in(lists: &[&[TopList]], newest: &[DenialRow]) -> Vec<&'static Rule> {
    let listed = lists.iter().copied().flatten().flat_map(|list| &list.rows).filter_map(|bar| bar.rule);
    let shown = newest.iter().flat_map(|row| &row.violations).filter_map(|(_, rule)| *rule);
    let named: Vec<&str> = listed.chain(shown).map(|rule| rule.id).collect();
    rules::ALL.iter().copied().filter(|rule| named.contains(&rule.id)).collect()
}

impl DisplayTime {
    fn new(time: Timestamp) -> Self {
        Self { text: format(time, "%-d %b %Y, %H:%M:%S"), exact: format(time, "%Y-%m-%dT%H:%M:%SZ") }
    }
}

fn format(time: Timestamp, how: &str) -> String {
    time.to_zoned(TimeZone::UTC).strftime(how).to_string()
}

impl TopList {
    fn new(by: By, counts_by: &CountsBy<Sanitized>, count: fn(&Counts) -> u64, limit: usize) -> Self {
        let (title, column) = match by {
            By::Rule => ("By rule", "Rule"),
            By::User => ("By user", "User"),
            By::Namespace => ("By namespace", "Namespace"),
            By::Image => ("By image", "Image"),
            By::Owner => ("By owner", "Owner"),
        };
        let mut rows = counts_by.rows(|counts| Reverse(count(counts)));
        rows.retain(|(_, counts)| count(counts) > 0);
        let most = rows.first().map_or(1, |(_, counts)| count(counts));
        let more = rows.len().saturating_sub(limit);
        rows.truncate(limit);
        let bar = |(name, counts): (&Sanitized, Counts)| Bar {
            name: name.clone(),
            rule: if by == By::Rule { rules::by_id(name.as_str()) } else { None },
            count: count(&counts),
            percent: percent(count(&counts), most),
        };
        let rows = rows.into_iter().map(bar).collect();
        Self { title, column, rows, more, uncounted: count(&counts_by.rest()) }
    }
}

impl<'p> DenialRow<'p> {
    fn new(denial: &'p Denial) -> Self {
        let violations =
            denial.violations.iter().map(|violated| (violated, rules::by_id(violated.rule.as_str())));
        Self { time: denial.time.map(DisplayTime::new), denial, violations: violations.collect() }
    }
}

impl FileRow {
    fn new(file: &FileRead) -> Self {
        let kind = match file.kind {
            LineKind::Trail => "sandgate's audit trail",
            LineKind::ApiServer => "the API server's audit log",
        };
        Self { name: (&*file.name).into(), kind, lines: file.lines, verdicts: file.verdicts }
    }
}

/// A part of something in percent, to a tenth.
fn percent(part: u64, of: u64) -> String {
    let thousandths = (u128::from(part) * 1000 + u128::from(of) / 2) / u128::from(of.max(1));
    format!("{}.{}", thousandths / 10, thousandths % 10)
}

/// A number as people read it: 1,234,567.
fn grouped(number: impl Display) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        for (part, of, text) in [(0, 0, "0.0"), (1, 3, "33.3"), (2, 3, "66.7"), (7, 7, "100.0")] {
            assert_eq!(percent(part, of), text);
        }
    }
}
