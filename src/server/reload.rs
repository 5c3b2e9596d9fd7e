//! Looking at files again and again, and taking over what changed. Content is compared, not an inode: a mounted
//! volume swaps a link, and a watch on the file would miss the second swap.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{CertificateSource, Settings, Shared};
use crate::{
    certs::{self, Loaded, Resolver},
    policy::{PolicySet, Source, files},
};

/// Watches the policy and the certificate, where they come from files.
pub(super) fn watch_files(settings: &Settings, shared: &Arc<Shared>, resolver: &Arc<Resolver>) {
    let interval = settings.reload_interval;
    if let Some(path) = settings.policy.clone() {
        let shared = Arc::clone(shared);
        let read = move || files::read(&path).map_err(|error| error.to_string());
        on_change(interval, read, move |sources| take_policies(&shared, sources));
    }
    if let CertificateSource::Files { folder, name } = settings.certificate.clone() {
        let (shared, resolver, read_from) = (Arc::clone(shared), Arc::clone(resolver), folder.clone());
        let read = move || certs::read(&read_from).map_err(|error| error.to_string());
        on_change(interval, read, move |pair| {
            let loaded = pair.as_ref().map_err(Clone::clone).and_then(|pair| {
                certs::load(&folder, pair, name.as_deref(), now()).map_err(|error| error.to_string())
            });
            take_certificate(&shared, &resolver, loaded);
        });
    }
}

/// Calls `take` whenever `read` gives something else than before. An error that stays the same is told once.
fn on_change<T: PartialEq + Send + 'static>(
    interval: Duration,
    read: impl Fn() -> T + Send + 'static,
    take: impl Fn(&T) + Send + 'static,
) {
    let mut seen = read();
    tokio::task::spawn(async move {
        loop {
            tokio::time::sleep(interval).await;
            // Small files: reading them takes less than handing the work to another thread.
            let found = read();
            if found != seen {
                take(&found);
                seen = found;
            }
        }
    });
}

fn take_policies(shared: &Shared, sources: &Result<Vec<Source>, String>) {
    let loaded = sources.as_ref().map_err(Clone::clone);
    let loaded =
        loaded.and_then(|sources| PolicySet::from_sources(sources).map_err(|errors| errors.to_string()));
    match loaded {
        Ok(policies) => {
            tracing::info!(hash = policies.hash(), "Policies reloaded");
            shared.policies.store(Arc::new(policies));
            shared.metrics.policy_reloads[0].inc();
            shared.metrics.policy_stale.set(0);
        }
        Err(problem) => {
            tracing::error!(%problem, "The changed policy does not load; the last good one holds");
            shared.metrics.policy_reloads[1].inc();
            shared.metrics.policy_stale.set(1);
        }
    }
}

fn take_certificate(shared: &Shared, resolver: &Resolver, loaded: Result<Loaded, String>) {
    match loaded {
        Ok(Loaded { key, not_after, names }) => {
            tracing::info!(?names, not_after, "Certificate reloaded");
            resolver.replace(key);
            shared.metrics.certificate_expiry.set(not_after);
            shared.metrics.certificate_reloads[0].inc();
        }
        Err(problem) => {
            tracing::error!(%problem, "The changed certificate is unfit; the last good one is served");
            shared.metrics.certificate_reloads[1].inc();
        }
    }
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
