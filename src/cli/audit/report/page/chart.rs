//! Denials over time, drawn: what stands where.
//!
//! Places along the time are in percent of the chart's width and heights in pixels, so that it fits any screen and its
//! words stay as large as they are.

use jiff::Timestamp;

use super::{DisplayTime, format};
use crate::cli::audit::{
    counts::Counts,
    report::timeline::{Column, Timeline},
};

/// The height of the columns, in pixels.
const HEIGHT: u64 = 160;
/// The space above the columns, in pixels, for the label of the topmost line.
const TOP_MARGIN: u64 = 18;
/// The most labels under the chart, so that they fit on a telephone.
const MAX_LABELS: usize = 4;

const DAY: i64 = 24 * 60 * 60;

pub(super) struct Chart {
    /// The span of a column: hour, day, …
    pub(super) unit: String,
    pub(super) baseline: u64,
    pub(super) height: u64,
    pub(super) lines: Vec<Gridline>,
    pub(super) columns: Vec<Drawn>,
    pub(super) labels: Vec<Label>,
    /// The column of the most denials.
    pub(super) most: Option<(u64, DisplayTime)>,
}

pub(super) struct Gridline {
    pub(super) y: u64,
    pub(super) number: u64,
}

pub(super) struct Drawn {
    pub(super) begins: DisplayTime,
    pub(super) counts: Counts,
    /// Of all that is above and under the column; the page shows its title under a pointer.
    pub(super) slot: Extent,
    pub(super) bar: Extent,
    pub(super) denied: Height,
    pub(super) would_deny: Height,
}

/// From where and how wide, in percent.
pub(super) struct Extent {
    pub(super) x: String,
    pub(super) width: String,
}

/// From where and how high, in pixels.
pub(super) struct Height {
    pub(super) y: String,
    pub(super) height: String,
}

pub(super) struct Label {
    pub(super) x: String,
    pub(super) text: String,
}

impl Chart {
    /// `None` where there is nothing to show.
    pub(super) fn new(timeline: &Timeline) -> Option<Self> {
        let columns = timeline.columns();
        let highest = columns.iter().map(|column| stacked(column.counts)).max().unwrap_or_default();
        if highest == 0 {
            return None;
        }
        let top = round_top(highest);
        let baseline = TOP_MARGIN + HEIGHT;
        let lines = [0, top / 2, top].map(|number| Gridline { y: baseline - HEIGHT * number / top, number });
        let most = columns.iter().rev().max_by_key(|column| column.counts.denied);
        let most = most.filter(|column| column.counts.denied > 0);
        Some(Self {
            unit: timeline.unit(),
            baseline,
            height: baseline + 22,
            lines: lines.into(),
            labels: labels(&columns, timeline.width()),
            most: most.map(|column| (column.counts.denied, DisplayTime::new(column.begins))),
            columns: drawn(&columns, top),
        })
    }
}

fn stacked(counts: Counts) -> u64 {
    counts.denied + counts.would_deny
}

/// The next number of one digit and zeros, of which half is a whole number.
fn round_top(number: u64) -> u64 {
    let mut unit = 1_u64;
    while number > unit.saturating_mul(10) {
        unit = unit.saturating_mul(10);
    }
    let step = unit.max(2);
    number.max(1).div_ceil(step).saturating_mul(step)
}

#[expect(clippy::cast_precision_loss, reason = "a pixel more or less does not show")]
fn drawn(columns: &[Column], top: u64) -> Vec<Drawn> {
    let slot = 100.0 / columns.len() as f64;
    // A few columns are no wider than bars.
    let width = (slot * 0.8).min(4.0);
    let percent = |x: f64, width: f64| Extent { x: format!("{x:.3}"), width: format!("{width:.3}") };
    let scale = HEIGHT as f64 / top as f64;
    let baseline = (TOP_MARGIN + HEIGHT) as f64;
    let height = |from: u64, number: u64| Height {
        y: format!("{:.2}", baseline - (from + number) as f64 * scale),
        height: format!("{:.2}", number as f64 * scale),
    };
    let draw = |(index, Column { begins, counts }): (usize, &Column)| {
        let x = slot * index as f64;
        Drawn {
            begins: DisplayTime::new(*begins),
            counts: *counts,
            slot: percent(x, slot),
            bar: percent(x + (slot - width) / 2.0, width),
            denied: height(0, counts.denied),
            would_deny: height(counts.denied, counts.would_deny),
        }
    };
    columns.iter().enumerate().map(draw).collect()
}

#[expect(clippy::cast_precision_loss, reason = "there are less than a hundred columns")]
fn labels(columns: &[Column], width: i64) -> Vec<Label> {
    let how = notation(columns, width);
    let step = columns.len().div_ceil(MAX_LABELS);
    let labels = columns.iter().enumerate().step_by(step.max(1)).map(|(index, column)| Label {
        x: format!("{:.3}", 100.0 * index as f64 / columns.len() as f64),
        text: format(column.begins, how),
    });
    labels.collect()
}

/// No more of a time than what differs.
fn notation(columns: &[Column], width: i64) -> &'static str {
    let begins = |column: Option<&Column>| column.map_or(Timestamp::UNIX_EPOCH, |column| column.begins);
    let span = begins(columns.last()).as_second() - begins(columns.first()).as_second();
    match width {
        ..60 => "%H:%M:%S",
        _ if span <= DAY => "%H:%M",
        _ if span <= 300 * DAY => "%-d %b",
        _ => "%b %Y",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topmost_line_is_round_and_above_all_columns() {
        for (number, top) in [
            (1, 2),
            (2, 2),
            (3, 4),
            (7, 8),
            (9, 10),
            (10, 10),
            (11, 20),
            (29, 30),
            (41, 50),
            (99, 100),
            (12_345, 20_000),
        ] {
            assert_eq!(round_top(number), top, "{number}");
        }
        assert!(round_top(u64::MAX) > 0);
    }

    #[test]
    fn no_column_leaves_the_chart() {
        let mut timeline = Timeline::new();
        for hour in 0..24 {
            for _ in 0..=hour {
                timeline.count(
                    format!("2026-11-24T{hour:02}:30:00Z").parse().unwrap(),
                    Some(sandgate_engine::review::Outcome::Denied),
                );
            }
        }
        let chart = Chart::new(&timeline).unwrap();
        let number = |text: &str| text.parse::<f64>().unwrap();
        for column in &chart.columns {
            assert!(
                number(&column.bar.x) >= 0.0 && number(&column.bar.x) + number(&column.bar.width) <= 100.0
            );
            assert!(number(&column.denied.y) >= 0.0);
        }
        assert!(chart.labels.len() <= MAX_LABELS);
        assert_eq!(chart.most.unwrap().0, 24);
    }
}
