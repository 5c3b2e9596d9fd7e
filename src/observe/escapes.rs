//! Stored Pods that violate an enforced policy, as the validating side sees them.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The time for which a Pod is counted after it was seen last.
const WINDOW: Duration = Duration::from_hours(1);

/// The most Pods that are distinguished. Beyond it a Pod is not counted until others are forgotten.
const MAX_PODS: usize = 10_000;

/// The number of sightings of such Pods, and of the Pods themselves.
#[derive(Debug, Default)]
pub(super) struct Escapes {
    count: AtomicU64,
    /// The time when each was seen last, by the hash of its uid: the memory for it does not depend on the length of
    /// the uid.
    seen: Mutex<HashMap<u64, Instant>>,
    hasher: RandomState,
}

impl Escapes {
    /// A Pod with this uid was seen.
    pub(super) fn see(&self, uid: &str, now: Instant) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let pod = self.hasher.hash_one(uid);
        let mut seen = self.seen();
        if seen.len() < MAX_PODS || seen.contains_key(&pod) {
            seen.insert(pod, now);
        }
    }

    /// The number of sightings.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The number of Pods that were seen lately.
    pub(super) fn pods(&self, now: Instant) -> usize {
        let mut seen = self.seen();
        seen.retain(|_, last| now.duration_since(*last) < WINDOW);
        seen.len()
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        // Nothing is left half done where the lock is held.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_is_seen_again_is_one_pod() {
        let (escapes, now) = (Escapes::default(), Instant::now());
        for uid in ["a", "b", "a"] {
            escapes.see(uid, now);
        }
        assert_eq!((escapes.count(), escapes.pods(now)), (3, 2));
    }

    #[test]
    fn a_pod_is_counted_for_an_hour_after_it_was_seen_last() {
        let (escapes, start) = (Escapes::default(), Instant::now());
        escapes.see("a", start);
        escapes.see("b", start);
        escapes.see("b", start + WINDOW / 2);
        assert_eq!(escapes.pods(start + WINDOW), 1);
        assert_eq!(escapes.pods(start + 2 * WINDOW), 0);
        assert_eq!(escapes.count(), 3);
    }

    #[test]
    fn memory_is_bounded_and_the_count_is_true() {
        let (escapes, start) = (Escapes::default(), Instant::now());
        for pod in 0..=MAX_PODS {
            escapes.see(&pod.to_string(), start);
        }
        assert_eq!((escapes.pods(start), escapes.count()), (MAX_PODS, MAX_PODS as u64 + 1));
        assert_eq!(escapes.pods(start + WINDOW), 0);
    }
}
