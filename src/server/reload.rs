//! Reads files again and again, and applies what changed. Content is compared, not an inode: a mounted volume swaps a
//! link, and a watch on the file would miss the second swap.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::ServerConfig;

use super::{ClientAuthSettings, ReloadMetrics, Shared, TokenSettings};
use crate::{
    certs::{self, Loaded, Pair, Resolver},
    supervisor::Supervisor,
};
use sandgate_engine::policy::{PolicySet, Source};

/// Applies each new policy at `path`. `sources` are in force.
pub(super) fn watch_policy(
    path: PathBuf,
    sources: Vec<Source>,
    interval: Duration,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    let read = move || crate::policy_files::read(&path).map_err(|errors| errors.to_string());
    let metrics = shared.metrics.policy_files.clone();
    let supervisor = shared.supervisor.clone();
    let shared = Arc::clone(shared);
    let apply = move |sources: &Vec<Source>| {
        let policies = PolicySet::from_sources(sources).map_err(|errors| errors.to_string())?;
        tracing::info!(policies = ?policies.names().collect::<Vec<_>>(), set_hash = policies.hash(), "Policy reloaded");
        shared.metrics.reviews.set_policies(&policies, jiff::Timestamp::now());
        shared.policies.store(Arc::new(policies));
        shared.no_policy.clear();
        Ok(())
    };
    Watch { what: "policy", read, apply, metrics }.start(sources, interval, &supervisor)
}

/// Applies each new certificate in `folder`. `pair` is served.
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
    let apply = move |pair: &Pair| {
        let loaded = certs::load(&folder, pair, &names, certs::now()).map_err(|error| error.to_string())?;
        let Loaded { key, not_after, names } = loaded;
        tracing::info!(?names, %not_after, "Certificate reloaded");
        resolver.replace(key);
        expiry.set(not_after.as_second());
        Ok(())
    };
    let metrics = shared.metrics.certificate_files.clone();
    Watch { what: "certificate", read, apply, metrics }.start(pair, interval, &shared.supervisor)
}

/// Applies each new file of client CAs to new connections. The TLS sessions of the old one cannot be resumed.
pub(super) fn watch_client_ca(
    auth: ClientAuthSettings,
    ca: Vec<u8>,
    interval: Duration,
    shared: &Shared,
    resolver: Arc<Resolver>,
    tls: Arc<ArcSwap<ServerConfig>>,
) -> io::Result<()> {
    let source = auth.clone();
    let read = move || source.read().map_err(|error| error.to_string());
    let apply = move |ca: &Vec<u8>| {
        let clients = auth.verifier(ca).map_err(|error| error.to_string())?;
        let config = certs::server_config(Arc::clone(&resolver), Some(clients));
        tls.store(Arc::new(config.map_err(|error| error.to_string())?));
        tracing::info!("Client CA reloaded");
        Ok(())
    };
    let metrics = shared.metrics.client_ca_files.clone();
    Watch { what: "client CA", read, apply, metrics }.start(ca, interval, &shared.supervisor)
}

/// Applies each new file of token keys.
pub(super) fn watch_token_keys(
    tokens: TokenSettings,
    keys: Vec<u8>,
    interval: Duration,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    let source = tokens.clone();
    let read = move || source.read().map_err(|error| error.to_string());
    let metrics = shared.metrics.token_key_files.clone();
    let supervisor = shared.supervisor.clone();
    let shared = Arc::clone(shared);
    let apply = move |keys: &Vec<u8>| {
        let verifier = tokens.verifier(keys).map_err(|error| error.to_string())?;
        if let Some(tokens) = &shared.tokens {
            tokens.store(Arc::new(verifier));
        }
        tracing::info!("Token keys reloaded");
        Ok(())
    };
    Watch { what: "token keys", read, apply, metrics }.start(keys, interval, &supervisor)
}

/// Files that are read, and what applies their content.
struct Watch<R, T> {
    what: &'static str,
    read: R,
    apply: T,
    metrics: ReloadMetrics,
}

/// The content that a watch has read last.
struct WatchState<C> {
    /// The content in force.
    in_force: C,
    /// The newer content that cannot be used, and why. It is reported once.
    rejected: Option<(Result<C, String>, String)>,
}

impl<C, R, T> Watch<R, T>
where
    C: PartialEq + Send + 'static,
    R: Fn() -> Result<C, String> + Send + 'static,
    T: Fn(&C) -> Result<(), String> + Send + 'static,
{
    /// Polls from a thread of its own: reading files can take long, parsing them too, and admissions must not wait.
    fn start(self, in_force: C, interval: Duration, supervisor: &Supervisor) -> io::Result<()> {
        let mut state = WatchState { in_force, rejected: None };
        supervisor.spawn_thread(self.what, move || {
            loop {
                thread::sleep(interval);
                self.poll(&mut state);
            }
        })
    }

    /// Reads once. Content that was rejected is tried again each time: a certificate may only have to wait for its
    /// first second.
    fn poll(&self, state: &mut WatchState<C>) {
        let found = self.read_stable(&state.in_force);
        let taken = match &found {
            Ok(content) if *content == state.in_force => Ok(()),
            Ok(content) => self.try_apply(content),
            Err(problem) => Err(problem.clone()),
        };
        match (found, taken) {
            (Ok(content), Ok(())) => {
                state.in_force = content;
                state.rejected = None;
                self.metrics.stale.set(0);
            }
            (found, taken) => {
                let rejected = (found, taken.err().unwrap_or_default());
                if state.rejected.as_ref() != Some(&rejected) {
                    self.report(&rejected.1);
                    state.rejected = Some(rejected);
                }
            }
        }
    }

    /// Returns what is read twice in a row. A half-written file, or files of two versions, will not be read again.
    fn read_stable(&self, in_force: &C) -> Result<C, String> {
        const DEBOUNCE: Duration = Duration::from_millis(50);
        let mut found = (self.read)();
        while found.as_ref() != Ok(in_force) {
            thread::sleep(DEBOUNCE);
            let again = (self.read)();
            if again == found {
                break;
            }
            found = again;
        }
        found
    }

    /// Applies the content. A panic is a rejection: the last good content can go on being served.
    fn try_apply(&self, content: &C) -> Result<(), String> {
        let taken = catch_unwind(AssertUnwindSafe(|| (self.apply)(content)));
        let taken = taken.unwrap_or_else(|_| Err("sandgate failed on it; please report it".into()));
        if taken.is_ok() {
            self.metrics.reloads.succeeded.inc();
        }
        taken
    }

    fn report(&self, problem: &str) {
        tracing::error!(%problem, "Failed to reload {}; keeping the last good version", self.what);
        self.metrics.reloads.failed.inc();
        self.metrics.stale.set(1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::server::Metrics;

    /// Polls once for each of `readings`, which are good if even. Returns what was applied, and the counters.
    fn polls(readings: &[Result<u32, &str>]) -> (Vec<u32>, u64, u64, i64) {
        let current = Arc::new(Mutex::new(Ok(0)));
        let taken = Arc::new(Mutex::new(Vec::new()));
        let (from, to) = (Arc::clone(&current), Arc::clone(&taken));
        let read = move || from.lock().unwrap().clone();
        let apply = move |content: &u32| {
            assert_ne!(*content, 13);
            if content % 2 == 1 {
                return Err("odd".to_string());
            }
            to.lock().unwrap().push(*content);
            Ok(())
        };
        let watch = Watch { what: "number", read, apply, metrics: Metrics::new().policy_files.clone() };
        let mut state = WatchState { in_force: 0, rejected: None };
        for reading in readings {
            *current.lock().unwrap() = reading.map_err(ToString::to_string);
            watch.poll(&mut state);
        }
        let ReloadMetrics { reloads, stale } = &watch.metrics;
        let taken = taken.lock().unwrap().clone();
        (taken, reloads.succeeded.get(), reloads.failed.get(), stale.get())
    }

    #[test]
    fn only_changes_are_applied() {
        assert_eq!(polls(&[Ok(0), Ok(2), Ok(2), Ok(4), Ok(0)]), (vec![2, 4, 0], 3, 0, 0));
    }

    #[test]
    fn a_rejection_is_reported_once_and_stale_until_repaired() {
        assert_eq!(polls(&[Ok(1), Ok(1)]), (vec![], 0, 1, 1));
        assert_eq!(polls(&[Ok(1), Ok(3), Err("gone"), Err("gone")]), (vec![], 0, 3, 1));
        assert_eq!(polls(&[Ok(1), Ok(2)]), (vec![2], 1, 1, 0));
    }

    #[test]
    fn the_content_in_force_is_no_reload() {
        assert_eq!(polls(&[Err("gone"), Ok(0)]), (vec![], 0, 1, 0));
    }

    #[test]
    fn a_panic_is_a_rejection() {
        assert_eq!(polls(&[Ok(13), Ok(2)]), (vec![2], 1, 1, 0));
    }

    #[test]
    fn content_that_is_changing_is_not_applied() {
        let readings = Mutex::new(vec![4, 4, 3, 2]);
        let read = move || {
            let mut readings = readings.lock().unwrap();
            Ok(if readings.len() > 1 { readings.pop().unwrap() } else { readings[0] })
        };
        let apply = |content: &u32| if *content == 4 { Ok(()) } else { Err("taken too early".to_string()) };
        let watch = Watch { what: "number", read, apply, metrics: Metrics::new().policy_files.clone() };
        let mut state = WatchState { in_force: 0, rejected: None };
        watch.poll(&mut state);
        assert_eq!((state.in_force, watch.metrics.reloads.failed.get()), (4, 0));
    }
}
