//! The table of what happened.

use std::{fmt, time::Duration};

use crate::bystander::Seen;

/// The bound that is stated for answers beside an attack. It is printed whether it held; a busy machine is no failure.
const STATED: Duration = Duration::from_secs(1);

/// What one attack came to.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) finds: &'static str,
    pub(crate) attack: &'static str,
    pub(crate) requests: usize,
    pub(crate) restarts: u32,
    pub(crate) escapes: usize,
    pub(crate) lost: u64,
    pub(crate) seen: Seen,
}

impl Row {
    /// Returns whether nothing happened that must not.
    pub(crate) fn held(&self) -> bool {
        self.restarts == 0 && self.escapes == 0 && self.lost == 0 && self.seen.failures.is_empty()
    }
}

/// The rows, as a table of Markdown.
pub(crate) struct Table<'r>(pub(crate) &'r [Row]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(
            f,
            "| finding | attack | requests | restarts | escapes | records lost | reviews beside it | slowest | slowest probe | within 1 s |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|---|")?;
        for row in self.0 {
            let Row { finds, attack, requests, restarts, escapes, lost, seen } = row;
            let Seen { admitted, failures, slowest_review, slowest_probe } = seen;
            let answered = admitted.len();
            let failed =
                if failures.is_empty() { String::new() } else { format!(", {} failed", failures.len()) };
            let bound = if *slowest_review.max(slowest_probe) <= STATED { "ok" } else { "over" };
            writeln!(
                f,
                "| {finds} | {attack} | {requests} | {restarts} | {escapes} | {lost} | {answered}{failed} | {} ms | {} ms | {bound} |",
                slowest_review.as_millis(),
                slowest_probe.as_millis()
            )?;
        }
        Ok(())
    }
}
