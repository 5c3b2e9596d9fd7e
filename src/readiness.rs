//! The readiness of this replica, and whether it was observed.

use tokio::sync::watch;

/// The stage of the replica's start. It never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    NotReady,
    Ready,
    /// A probe was answered that it is ready.
    Observed,
}

/// The readiness of this replica.
#[derive(Debug)]
pub struct Readiness(watch::Sender<Stage>);

impl Default for Readiness {
    fn default() -> Self {
        Self(watch::Sender::new(Stage::NotReady))
    }
}

impl Readiness {
    /// Makes the replica ready from now on.
    pub fn set(&self) {
        self.reach(Stage::Ready);
    }

    /// Returns true if the replica is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.0.borrow() >= Stage::Ready
    }

    /// Returns true if the replica is ready, and then marks its readiness as observed.
    #[must_use]
    pub fn check_and_mark_observed(&self) -> bool {
        let is_ready = self.is_ready();
        if is_ready {
            self.reach(Stage::Observed);
        }
        is_ready
    }

    /// Waits until the readiness was observed.
    pub async fn observed(&self) {
        // The sender is ours, so this ends only with that.
        let _ = self.0.subscribe().wait_for(|stage| *stage == Stage::Observed).await;
    }

    fn reach(&self, stage: Stage) {
        self.0.send_if_modified(|now| {
            let goes_on = *now < stage;
            *now = stage.max(*now);
            goes_on
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_probe_after_the_start_observes_readiness() {
        let readiness = Readiness::default();
        assert!(!readiness.check_and_mark_observed() && !readiness.is_ready());
        readiness.set();
        assert!(readiness.is_ready());
        assert_eq!(*readiness.0.borrow(), Stage::Ready);
        assert!(readiness.check_and_mark_observed());
        readiness.observed().await;
        readiness.set();
        assert_eq!(*readiness.0.borrow(), Stage::Observed);
    }
}
