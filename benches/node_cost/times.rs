//! Many times of one thing.

use std::time::Duration;

/// They are kept in order.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        let at = self.0.partition_point(|other| *other <= time);
        self.0.insert(at, time);
    }

    /// The one that `percent` of them are not above, in seconds.
    pub(crate) fn quantile(&self, percent: usize) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let time = self.0.get((self.0.len() * percent / 100).min(last));
        time.copied().unwrap_or_default().as_secs_f64()
    }

    /// In seconds, as all are.
    pub(crate) fn fastest(&self) -> f64 {
        self.quantile(0)
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(50)
    }
}
