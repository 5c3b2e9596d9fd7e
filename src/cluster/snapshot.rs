//! One look at the cluster.

use std::time::Instant;

use serde_json::Value;

use super::{
    api::{Answer, Api, ApiError},
    secret,
    webhook_configurations::{self, Registered},
};
use crate::certs::{
    self,
    plan::{Kind, Observed, STALE_AFTER},
};

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The Secret with the CAs, in our namespace.
    pub secret: String,
    /// The name of both webhook configurations.
    pub configuration: String,
}

/// What was seen, and the versions that it was seen in.
#[derive(Debug)]
pub struct Snapshot {
    /// What the planner sees.
    pub observed: Observed,
    pub(super) secret: Option<Value>,
    pub(super) registered: [Option<Registered>; 2],
    at: Instant,
}

impl Snapshot {
    /// Looks.
    ///
    /// # Errors
    /// When one of the objects cannot be read.
    pub async fn take(api: &Api, watched: &Watched) -> Result<Self, ApiError> {
        let at = Instant::now();
        let Watched { secret, configuration } = watched;
        let Answer { is: stored, date } = api.get(secret::target(api.namespace(), secret)).await?;
        let here = certs::now();
        // The clock of the first answer: a plan must not believe that what it saw is younger than it is.
        let now = date.unwrap_or(here);
        let [mutating, validating] =
            Kind::ALL.map(|kind| api.get(webhook_configurations::target(kind, configuration)));
        let registered = [mutating.await?.is, validating.await?.is];
        let registered = registered.map(|object| object.as_ref().map(Registered::read));
        let seen = registered.each_ref().map(|found| found.as_ref().map(|found| found.seen.clone()));
        let (skew, was_armed) = (now.duration_since(here), secret::was_armed(stored.as_ref()));
        let observed =
            Observed { now, skew, secret: secret::read(stored.as_ref()), was_armed, configurations: seen };
        Ok(Self { observed, secret: stored, registered, at })
    }

    /// Returns what must be corrected in the configurations.
    pub fn problems(&self) -> impl Iterator<Item = (Kind, &str)> {
        let found = Kind::ALL.into_iter().zip(&self.registered);
        found.filter_map(|(kind, found)| Some((kind, found.as_ref()?.problem.as_deref()?)))
    }

    /// How the configurations differ from what the chart rendered.
    pub fn drift(&self) -> impl Iterator<Item = (Kind, &str)> {
        let found = Kind::ALL.into_iter().zip(&self.registered);
        found.flat_map(|(kind, found)| {
            found.iter().flat_map(move |found| found.drift.iter().map(move |drift| (kind, drift.as_str())))
        })
    }

    /// Returns the configurations that lack rules although they were armed once: they have been replaced.
    pub fn disarmed(&self) -> impl Iterator<Item = Kind> {
        let Observed { configurations, was_armed, .. } = &self.observed;
        let found = Kind::ALL.into_iter().zip(configurations).zip(was_armed);
        found.filter_map(|((kind, found), was_armed)| {
            (*was_armed && found.as_ref().is_some_and(|found| !found.is_armed())).then_some(kind)
        })
    }

    /// Whether it is too old to be acted upon: this process was stopped, or the API server slow.
    pub(super) fn is_stale(&self) -> bool {
        self.at.elapsed() > STALE_AFTER.unsigned_abs()
    }
}
