//! Verdicts over time, in columns that are as wide as the span of time demands.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::cli::audit::counts::Counts;
use sandgate_engine::review::Outcome;

/// The most columns of a chart.
const MAX_COLUMNS: i64 = 90;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;

/// The widths of a column in seconds, each a multiple of the one before; then each is twice the one before.
const WIDTHS: [(i64, &str); 12] = [
    (1, "second"),
    (10, "10 seconds"),
    (MINUTE, "minute"),
    (5 * MINUTE, "5 minutes"),
    (15 * MINUTE, "15 minutes"),
    (HOUR, "hour"),
    (3 * HOUR, "3 hours"),
    (6 * HOUR, "6 hours"),
    (DAY, "day"),
    (WEEK, "week"),
    (4 * WEEK, "4 weeks"),
    (12 * WEEK, "12 weeks"),
];

/// A Monday, in seconds: weeks begin there.
const MONDAY: i64 = 4 * DAY;

/// Counts in columns of one width. The width grows with the span, so there is never more than a chart can show.
#[derive(Debug)]
pub(super) struct Timeline {
    /// The index of the width in `WIDTHS`.
    level: usize,
    /// By the number of the column; only those in which something is.
    columns: BTreeMap<i64, Counts>,
}

/// The verdicts in a part of the time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) begins: Timestamp,
    pub(super) counts: Counts,
}

impl Timeline {
    pub(super) fn new() -> Self {
        Self { level: 0, columns: BTreeMap::new() }
    }

    pub(super) fn count(&mut self, time: Timestamp, outcome: Option<Outcome>) {
        let column = (time.as_second() - MONDAY).div_euclid(width(self.level));
        self.columns.entry(column).or_default().count(outcome);
        while self.span().is_some_and(|(first, last)| last - first >= MAX_COLUMNS) {
            self.widen();
        }
    }

    /// The span of a column.
    pub(super) fn unit(&self) -> String {
        match WIDTHS.get(self.level) {
            Some((_, name)) => (*name).into(),
            None => format!("{} weeks", self.width() / WEEK),
        }
    }

    /// The seconds of a column.
    pub(super) fn width(&self) -> i64 {
        width(self.level)
    }

    /// All columns from the first to the last, those in which nothing happened included.
    pub(super) fn columns(&self) -> Vec<Column> {
        let Some((first, last)) = self.span() else { return Vec::new() };
        let columns = (first..=last).map(|number| Column {
            begins: Timestamp::from_second(number * self.width() + MONDAY).unwrap_or(Timestamp::MIN),
            counts: self.columns.get(&number).copied().unwrap_or_default(),
        });
        columns.collect()
    }

    /// Returns the spans of an hour or more between two columns in which nothing happened.
    pub(super) fn gaps(&self) -> Vec<(Timestamp, Timestamp)> {
        let at =
            |number: i64| Timestamp::from_second(number * self.width() + MONDAY).unwrap_or(Timestamp::MIN);
        let pairs = self.columns.keys().zip(self.columns.keys().skip(1));
        let gaps = pairs.filter(|(one, next)| (*next - *one - 1) * self.width() >= HOUR);
        gaps.map(|(one, next)| (at(one + 1), at(*next))).collect()
    }

    fn span(&self) -> Option<(i64, i64)> {
        Some((*self.columns.first_key_value()?.0, *self.columns.last_key_value()?.0))
    }

    fn widen(&mut self) {
        let narrow = self.width();
        self.level += 1;
        let factor = self.width() / narrow;
        let mut columns = BTreeMap::<i64, Counts>::new();
        for (number, counts) in &self.columns {
            columns.entry(number.div_euclid(factor)).or_default().add(*counts);
        }
        self.columns = columns;
    }
}

fn width(level: usize) -> i64 {
    let last = WIDTHS.len() - 1;
    WIDTHS[level.min(last)].0 << level.saturating_sub(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(times: &[&str]) -> Timeline {
        let mut timeline = Timeline::new();
        for time in times {
            timeline.count(time.parse().unwrap(), Some(Outcome::Denied));
        }
        timeline
    }

    #[test]
    fn a_column_is_as_wide_as_the_span_demands_and_begins_at_a_round_time() {
        let first = "2026-11-24T12:07:31Z";
        for (last, unit, begins, columns) in [
            ("2026-11-24T12:07:31Z", "second", "2026-11-24T12:07:31Z", 1),
            ("2026-11-24T12:08:31Z", "second", "2026-11-24T12:07:31Z", 61),
            ("2026-11-24T13:07:31Z", "minute", "2026-11-24T12:07:00Z", 61),
            ("2026-11-26T12:00:00Z", "hour", "2026-11-24T12:00:00Z", 49),
            ("2026-12-24T00:00:00Z", "day", "2026-11-24T00:00:00Z", 31),
            ("2027-11-24T00:00:00Z", "week", "2026-11-23T00:00:00Z", 53),
        ] {
            for times in [[first, last], [last, first]] {
                let timeline = timeline(&times);
                let all = timeline.columns();
                assert_eq!((&*timeline.unit(), all.len()), (unit, columns), "{last}");
                assert_eq!(all[0].begins.to_string(), begins, "{last}");
                assert_eq!(all.iter().map(|column| column.counts.denied).sum::<u64>(), 2);
            }
        }
    }

    #[test]
    fn a_clock_that_was_wrong_by_millennia_makes_wide_columns_but_no_more_of_them() {
        let timeline = timeline(&["-009999-01-02T01:59:59Z", "2026-11-24T12:00:00Z", "9999-12-30T22:00:00Z"]);
        let columns = timeline.columns();
        assert!(columns.len() <= 90, "{}", columns.len());
        assert_eq!(columns.iter().map(|column| column.counts.denied).sum::<u64>(), 3);
    }

    #[test]
    fn an_hour_without_records_is_a_gap() {
        let gaps = |times: &[&str]| {
            let gaps = timeline(times).gaps();
            gaps.iter().map(|(from, to)| format!("{from} {to}")).collect::<Vec<_>>()
        };
        assert_eq!(gaps(&["2026-11-24T12:00:00Z", "2026-11-24T12:30:00Z"]), Vec::<String>::new());
        let times = ["2026-11-24T08:10:00Z", "2026-11-24T12:00:00Z", "2026-11-24T12:30:00Z"];
        assert_eq!(gaps(&times), ["2026-11-24T08:15:00Z 2026-11-24T12:00:00Z"]);
    }

    #[test]
    fn each_width_is_a_multiple_of_the_one_before() {
        for level in 1..20 {
            assert_eq!(width(level) % width(level - 1), 0, "{level}");
        }
    }
}
