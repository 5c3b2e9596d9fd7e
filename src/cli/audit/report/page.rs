//! The page, from what was gathered.

mod chart;

use std::{cmp::Reverse, fmt::Display};

use askama::Template;
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::{Timestamp, tz::TimeZone};
use sha2::{Digest as _, Sha256};

use self::chart::Chart;
use super::{
    digest::{DIMENSIONS, Digest, MOST_NAMES, Policy, Refusal, Totals, Violated},
    shown::Shown,
};
use crate::cli::audit::{
    source::{FileRead, Kind, Reading},
    tally::{Counts, Tally},
    top::By,
};
use sandgate_engine::rules::{self, Rule};

/// How each page begins, and by what it is known again.
pub(super) const DOCTYPE: &str = "<!doctype html>\n<!-- sandgate audit report -->\n";

const STYLE: &str = include_str!("../../../../templates/audit-report.css");

/// The template escapes whatever it is given, except the style.
#[derive(Template)]
#[template(path = "audit-report.html")]
struct Page<'p> {
    style: &'static str,
    /// The policy of the page's content allows this style and nothing else.
    style_hash: String,
    version: &'static str,
    span: Option<[Moment; 2]>,
    filters: Vec<(&'static str, Shown)>,
    totals: &'p Totals,
    /// In percent.
    refused_share: String,
    timeless: u64,
    chart: Option<Chart>,
    refused: Vec<List>,
    would_be_refused: Vec<List>,
    newest: Vec<Told<'p>>,
    /// How many refusals are older than those.
    older: u64,
    policies: Vec<PolicyRow<'p>>,
    more_policies: usize,
    rules: Vec<&'static Rule>,
    files: Vec<FileRow>,
    problems: Vec<Shown>,
    reading: &'p Reading,
}

/// A point in time, for people and for programs.
struct Moment {
    text: String,
    exact: String,
}

/// The most frequent ones of something.
struct List {
    title: &'static str,
    column: &'static str,
    rows: Vec<Bar>,
    /// What the list has no room for.
    more: usize,
    /// Verdicts of names that were too many to count each.
    uncounted: u64,
}

struct Bar {
    name: Shown,
    rule: Option<&'static Rule>,
    count: u64,
    /// Of the longest bar.
    percent: String,
}

/// A refusal, with what the rules say of it.
struct Told<'p> {
    time: Option<Moment>,
    refusal: &'p Refusal,
    violations: Vec<(&'p Violated, Option<&'static Rule>)>,
}

struct PolicyRow<'p> {
    policy: &'p Policy,
    counts: Counts,
}

struct FileRow {
    name: Shown,
    kind: &'static str,
    lines: u64,
    verdicts: u64,
}

/// The whole page. A list has at most `limit` rows.
pub(super) fn page(
    digest: &Digest,
    reading: &Reading,
    filters: &[(&'static str, String)],
    limit: usize,
) -> String {
    let lists = |count: fn(&Counts) -> u64| {
        let lists =
            DIMENSIONS.into_iter().zip(&digest.tallies).map(|(by, tally)| List::new(by, tally, count, limit));
        lists.collect::<Vec<_>>()
    };
    let refused = lists(|counts| counts.refused);
    let would_be_refused = lists(|counts| counts.would_be_refused);
    let newest: Vec<_> = digest.newest.values().rev().map(Told::new).collect();
    let mut policies = digest.policies.rows(|counts| Reverse(*counts));
    let more_policies = policies.len().saturating_sub(limit);
    policies.truncate(limit);
    let page = Page {
        style: STYLE,
        style_hash: BASE64_STANDARD.encode(Sha256::digest(STYLE)),
        version: env!("CARGO_PKG_VERSION"),
        span: digest.span.map(|(first, last)| [Moment::new(first), Moment::new(last)]),
        filters: filters.iter().map(|(name, values)| (*name, (&**values).into())).collect(),
        totals: &digest.totals,
        refused_share: percent(digest.totals.denied, digest.totals.verdicts),
        timeless: digest.timeless,
        chart: Chart::new(&digest.timeline),
        rules: rules_in(&[&refused, &would_be_refused], &newest),
        refused,
        would_be_refused,
        older: digest.totals.denied - newest.len() as u64,
        newest,
        policies: policies.into_iter().map(|(policy, counts)| PolicyRow { policy, counts }).collect(),
        more_policies,
        files: reading.files.iter().map(FileRow::new).collect(),
        problems: reading.problems.iter().map(|problem| (&**problem).into()).collect(),
        reading,
    };
    let page = page.render().expect("writing to memory cannot fail");
    DOCTYPE.to_string() + &page
}

/// The rules that the page names, in their order.
fn rules_in(lists: &[&[List]], newest: &[Told]) -> Vec<&'static Rule> {
    let listed = lists.iter().copied().flatten().flat_map(|list| &list.rows).filter_map(|bar| bar.rule);
    let told = newest.iter().flat_map(|told| &told.violations).filter_map(|(_, rule)| *rule);
    let named: Vec<&str> = listed.chain(told).map(|rule| rule.id).collect();
    rules::ALL.iter().copied().filter(|rule| named.contains(&rule.id)).collect()
}

impl Moment {
    fn new(time: Timestamp) -> Self {
        Self { text: format(time, "%-d %b %Y, %H:%M:%S"), exact: format(time, "%Y-%m-%dT%H:%M:%SZ") }
    }
}

fn format(time: Timestamp, how: &str) -> String {
    time.to_zoned(TimeZone::UTC).strftime(how).to_string()
}

impl List {
    fn new(by: By, tally: &Tally<Shown>, count: fn(&Counts) -> u64, limit: usize) -> Self {
        let (title, column) = match by {
            By::Rule => ("By rule", "Rule"),
            By::User => ("By user", "User"),
            By::Namespace => ("By namespace", "Namespace"),
            By::Image => ("By image", "Image"),
            By::Owner => ("By owner", "Owner"),
        };
        let mut rows = tally.rows(|counts| Reverse(count(counts)));
        rows.retain(|(_, counts)| count(counts) > 0);
        let most = rows.first().map_or(1, |(_, counts)| count(counts));
        let more = rows.len().saturating_sub(limit);
        rows.truncate(limit);
        let bar = |(name, counts): (&Shown, Counts)| Bar {
            name: name.clone(),
            rule: if by == By::Rule { rules::by_id(name.as_str()) } else { None },
            count: count(&counts),
            percent: percent(count(&counts), most),
        };
        let rows = rows.into_iter().map(bar).collect();
        Self { title, column, rows, more, uncounted: count(&tally.rest()) }
    }
}

impl<'p> Told<'p> {
    fn new(refusal: &'p Refusal) -> Self {
        let violations =
            refusal.violations.iter().map(|violated| (violated, rules::by_id(violated.rule.as_str())));
        Self { time: refusal.time.map(Moment::new), refusal, violations: violations.collect() }
    }
}

impl FileRow {
    fn new(file: &FileRead) -> Self {
        let kind = match file.kind {
            Kind::Trail => "sandgate's audit trail",
            Kind::ApiServer => "the API server's audit log",
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
