//! Looking at files again and again, and taking over what changed. Content is compared, not an inode: a mounted
//! volume swaps a link, and a watch on the file would miss the second swap.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use super::Shared;
use crate::{
    certs::{self, Loaded, Pair, Resolver},
    server::ReloadMetrics,
};
use sandgate_engine::policy::{PolicySet, Source};

/// Takes over each new policy at `path`; `sources` are in force.
pub(super) fn watch_policy(
    path: PathBuf,
    sources: Vec<Source>,
    interval: Duration,
    shared: Arc<Shared>,
) -> io::Result<()> {
    let read = move || crate::policy_files::read(&path).map_err(|errors| errors.to_string());
    let metrics = shared.metrics.policy_files.clone();
    let take = move |sources: &Vec<Source>| {
        let policies = PolicySet::from_sources(sources).map_err(|errors| errors.to_string())?;
        tracing::info!(policies = ?policies.names().collect::<Vec<_>>(), hash = policies.hash(), "Policy reloaded");
        shared.metrics.reviews.set_policies(&policies, jiff::Timestamp::now());
        shared.policies.store(Arc::new(policies));
        Ok(())
    };
    Watch { what: "policy", read, take, metrics }.start(sources, interval)
}

/// Takes over each new certificate in `folder`; `pair` is served.
pub(super) fn watch_certificate(
    folder: PathBuf,
    names: Vec<String>,
    pair: Pair,
    interval: Duration,
    shared: &Shared,
    resolver: Arc<Resolver>,
) -> io::Result<()> {
    let read_from = folder.clone();
    let read = move || certs::read(&read_from).map_err(|error| error.to_string());
    let expiry = shared.metrics.certificates.served_expiry.clone();
    let take = move |pair: &Pair| {
        let loaded = certs::load(&folder, pair, &names, certs::now()).map_err(|error| error.to_string())?;
        let Loaded { key, not_after, names } = loaded;
        tracing::info!(?names, not_after, "Certificate reloaded");
        resolver.replace(key);
        expiry.set(not_after);
        Ok(())
    };
    Watch { what: "certificate", read, take, metrics: shared.metrics.certificate_files.clone() }
        .start(pair, interval)
}

/// Content that is read from files, and what is to be done with it.
struct Watch<R, T> {
    what: &'static str,
    read: R,
    take: T,
    metrics: ReloadMetrics,
}

/// What a watch has seen last.
struct Seen<C> {
    /// What holds.
    in_force: C,
    /// What does not, and why; told once.
    refused: Option<(Result<C, String>, String)>,
}

impl<C, R, T> Watch<R, T>
where
    C: PartialEq + Send + 'static,
    R: Fn() -> Result<C, String> + Send + 'static,
    T: Fn(&C) -> Result<(), String> + Send + 'static,
{
    /// Looks from a thread of its own: reading files can take long, parsing them too, and admissions must not wait.
    fn start(self, in_force: C, interval: Duration) -> io::Result<()> {
        let what = self.what;
        let mut seen = Seen { in_force, refused: None };
        let watching = move || {
            loop {
                thread::sleep(interval);
                self.look(&mut seen);
            }
        };
        thread::Builder::new().name(what.into()).spawn(watching).map(drop)
    }

    /// What was refused is tried each time anew: a certificate may only have to wait for its first second.
    fn look(&self, seen: &mut Seen<C>) {
        let found = self.settled(&seen.in_force);
        let taken = match &found {
            Ok(content) if *content == seen.in_force => Ok(()),
            Ok(content) => self.try_take(content),
            Err(problem) => Err(problem.clone()),
        };
        match (found, taken) {
            (Ok(content), Ok(())) => {
                seen.in_force = content;
                seen.refused = None;
                self.metrics.stale.set(0);
            }
            (found, taken) => {
                let refused = (found, taken.err().unwrap_or_default());
                if seen.refused.as_ref() != Some(&refused) {
                    self.tell(&refused.1);
                    seen.refused = Some(refused);
                }
            }
        }
    }

    /// What is read twice in a row. A half-written file, or files of two versions, will not be there again.
    fn settled(&self, in_force: &C) -> Result<C, String> {
        const MOMENT: Duration = Duration::from_millis(50);
        let mut found = (self.read)();
        while found.as_ref() != Ok(in_force) {
            thread::sleep(MOMENT);
            let again = (self.read)();
            if again == found {
                break;
            }
            found = again;
        }
        found
    }

    /// A panic must not end the watch: nothing would be reloaded from then on, and nobody told.
    fn try_take(&self, content: &C) -> Result<(), String> {
        let taken = catch_unwind(AssertUnwindSafe(|| (self.take)(content)));
        let taken = taken.unwrap_or_else(|_| Err("sandgate failed on it; please report it".into()));
        if taken.is_ok() {
            self.metrics.reloads.succeeded.inc();
        }
        taken
    }

    fn tell(&self, problem: &str) {
        tracing::error!(%problem, "The changed {} cannot be used; the last good one holds", self.what);
        self.metrics.reloads.failed.inc();
        self.metrics.stale.set(1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::server::Metrics;

    /// Looks once at each of `readings`, which are even where they are good; what was taken, and the counters.
    fn looks(readings: &[Result<u32, &str>]) -> (Vec<u32>, u64, u64, i64) {
        let current = Arc::new(Mutex::new(Ok(0)));
        let taken = Arc::new(Mutex::new(Vec::new()));
        let (from, to) = (Arc::clone(&current), Arc::clone(&taken));
        let read = move || from.lock().unwrap().clone();
        let take = move |content: &u32| {
            assert_ne!(*content, 13);
            if content % 2 == 1 {
                return Err("odd".to_string());
            }
            to.lock().unwrap().push(*content);
            Ok(())
        };
        let watch = Watch { what: "number", read, take, metrics: Metrics::new().policy_files.clone() };
        let mut seen = Seen { in_force: 0, refused: None };
        for reading in readings {
            *current.lock().unwrap() = reading.map_err(ToString::to_string);
            watch.look(&mut seen);
        }
        let ReloadMetrics { reloads, stale } = &watch.metrics;
        let taken = taken.lock().unwrap().clone();
        (taken, reloads.succeeded.get(), reloads.failed.get(), stale.get())
    }

    #[test]
    fn only_what_changed_is_taken() {
        assert_eq!(looks(&[Ok(0), Ok(2), Ok(2), Ok(4), Ok(0)]), (vec![2, 4, 0], 3, 0, 0));
    }

    #[test]
    fn what_is_refused_is_told_once_and_stale_until_it_is_mended() {
        assert_eq!(looks(&[Ok(1), Ok(1)]), (vec![], 0, 1, 1));
        assert_eq!(looks(&[Ok(1), Ok(3), Err("gone"), Err("gone")]), (vec![], 0, 3, 1));
        assert_eq!(looks(&[Ok(1), Ok(2)]), (vec![2], 1, 1, 0));
    }

    #[test]
    fn back_to_what_holds_is_no_reload() {
        assert_eq!(looks(&[Err("gone"), Ok(0)]), (vec![], 0, 1, 0));
    }

    #[test]
    fn a_panic_is_a_refusal() {
        assert_eq!(looks(&[Ok(13), Ok(2)]), (vec![2], 1, 1, 0));
    }

    #[test]
    fn what_does_not_hold_still_is_not_taken() {
        let readings = Mutex::new(vec![4, 4, 3, 2]);
        let read = move || {
            let mut readings = readings.lock().unwrap();
            Ok(if readings.len() > 1 { readings.pop().unwrap() } else { readings[0] })
        };
        let take = |content: &u32| if *content == 4 { Ok(()) } else { Err("taken too early".to_string()) };
        let watch = Watch { what: "number", read, take, metrics: Metrics::new().policy_files.clone() };
        let mut seen = Seen { in_force: 0, refused: None };
        watch.look(&mut seen);
        assert_eq!((seen.in_force, watch.metrics.reloads.failed.get()), (4, 0));
    }
}
