//! Whether this replica is ready, and whether anybody has been told so.

use tokio::sync::watch;

/// How far it has come; it does not go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    NotReady,
    Ready,
    /// A probe has been answered with it.
    Told,
}

/// Whether this replica is ready.
#[derive(Debug)]
pub struct Readiness(watch::Sender<Stage>);

impl Default for Readiness {
    fn default() -> Self {
        Self(watch::Sender::new(Stage::NotReady))
    }
}

impl Readiness {
    /// From now on it is ready.
    pub fn set(&self) {
        self.reach(Stage::Ready);
    }

    /// Whether it is; who asks will tell others.
    #[must_use]
    pub fn tell(&self) -> bool {
        let is_ready = *self.0.borrow() >= Stage::Ready;
        if is_ready {
            self.reach(Stage::Told);
        }
        is_ready
    }

    /// Waits until somebody has been told that it is ready.
    pub async fn told(&self) {
        // The sender is ours, so this ends only with that.
        let _ = self.0.subscribe().wait_for(|stage| *stage == Stage::Told).await;
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
    async fn who_asks_before_it_is_ready_has_not_been_told() {
        let readiness = Readiness::default();
        assert!(!readiness.tell());
        readiness.set();
        assert_eq!(*readiness.0.borrow(), Stage::Ready);
        assert!(readiness.tell());
        readiness.told().await;
        readiness.set();
        assert_eq!(*readiness.0.borrow(), Stage::Told);
    }
}
