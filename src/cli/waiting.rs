//! `--wait`: checks a cluster again until nothing fails.

use std::time::{Duration, Instant};

use clap::Args;
use jiff::SignedDuration;

use super::{
    CliError,
    terminal::{count, note},
};

/// How long to wait before all is looked at again.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// How long a command looks at a cluster that is not as it should be.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct WaitArgs {
    /// Check again until nothing fails, at most for this time, such as 90s or 5m
    #[arg(long, value_name = "DURATION")]
    wait: Option<SignedDuration>,
}

impl WaitArgs {
    /// Looks again until `failures` counts none, or the time is over. Returns what was seen last.
    ///
    /// # Errors
    /// Returns the error of the last look, if that could not be made.
    pub(super) async fn until_nothing_fails<T>(
        self,
        look: impl AsyncFn() -> Result<T, CliError>,
        failures: impl Fn(&T) -> usize,
    ) -> Result<T, CliError> {
        let start = Instant::now();
        let longest = self.wait.map_or(Duration::ZERO, SignedDuration::unsigned_abs);
        loop {
            let seen = look().await;
            let failed = seen.as_ref().map_or(1, &failures);
            if failed == 0 || start.elapsed() + RETRY_DELAY > longest {
                return seen;
            }
            let verb = if failed == 1 { "fails" } else { "fail" };
            note(&format!(
                "{} {verb}; checking again in {} s",
                count(failed, "check"),
                RETRY_DELAY.as_secs()
            ));
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }
}
