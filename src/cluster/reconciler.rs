//! Looks, plans, does: for as long as the process lives.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::SignedDuration;
use serde_json::Value;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    api::{Api, ApiError, Target},
    metrics::CertificateMetrics,
    secret,
    snapshot::{Snapshot, Watched},
    watch,
    webhook_configurations::{self, Registered},
};
use crate::{
    certs::{
        CertError, Resolver,
        ca::{Authority, State},
        issue::{self, Validity},
        plan::{self, Kind, LARGEST_SKEW, Leaf, Lifetimes, Memory, Plan, Publish, Secret, Sign, Write},
    },
    readiness::Readiness,
    supervisor::Supervisor,
};

/// How managed certificates are set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The objects in the cluster.
    pub watched: Watched,
    /// What the leaf is to hold for.
    pub names: Vec<String>,
    /// How long things last.
    pub lifetimes: Lifetimes,
    /// How often to look, whatever happens.
    pub check_interval: Duration,
    /// How long after the first answer of readiness a configuration may be armed for the first time: until then nothing
    /// may be routed here.
    pub arm_after: Duration,
}

/// Keeps this replica's leaf and its share of the cluster's CAs in order.
pub struct Reconciler {
    api: Api,
    settings: Settings,
    resolver: Arc<Resolver>,
    readiness: Arc<Readiness>,
    metrics: CertificateMetrics,
    memory: Memory,
    is_reachable: Arc<AtomicBool>,
    changed: Arc<Notify>,
    /// The webhooks of each configuration that were seen with rules.
    armed_webhooks: [BTreeSet<String>; 2],
    /// The UID of our namespace, once it owns the configurations.
    namespace: Option<Value>,
    /// The lines that were logged last, so that they are not repeated.
    logged: Vec<String>,
}

/// Why a part of a plan was not carried out.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    ApiError(#[from] ApiError),
    #[error(transparent)]
    Certificate(#[from] CertError),
}

/// How a round ended.
enum Round {
    /// Something was changed, and is to be looked at again.
    Changed,
    /// There is nothing to do before so much time has passed.
    Quiet(Duration),
    /// This is in the way.
    Failed(Vec<String>),
}

impl Reconciler {
    /// One that has not looked yet, and serves nothing so far.
    #[must_use]
    pub fn new(
        api: Api,
        settings: Settings,
        resolver: Arc<Resolver>,
        readiness: Arc<Readiness>,
        metrics: CertificateMetrics,
    ) -> Self {
        Self {
            api,
            settings,
            resolver,
            readiness,
            metrics,
            memory: Memory::default(),
            is_reachable: Arc::default(),
            changed: Arc::default(),
            armed_webhooks: Default::default(),
            namespace: None,
            logged: Vec::new(),
        }
    }

    /// Starts the task. It runs for as long as the process.
    pub fn start(mut self, supervisor: &Supervisor) {
        self.watch(supervisor);
        supervisor.spawn("certificate reconciler", self.run());
    }

    /// Follows both configurations, so that a change is seen at once.
    fn watch(&mut self, supervisor: &Supervisor) {
        for kind in Kind::ALL {
            let name = self.settings.watched.configuration.clone();
            let watch = watch::follow(self.api.clone(), kind, name, Arc::clone(&self.changed));
            supervisor.spawn("configuration watch", watch);
        }
    }

    async fn run(mut self) {
        tokio::spawn(self.become_reachable());
        let mut pause = Pause::default();
        loop {
            match self.round().await {
                Round::Changed => {
                    self.metrics.failing.set(0);
                    sleep(pause.longer()).await;
                }
                Round::Quiet(due) => {
                    self.metrics.failing.set(0);
                    pause.over();
                    self.wait(due.min(jittered(self.settings.check_interval))).await;
                }
                Round::Failed(problems) => {
                    self.metrics.renewals.failed.inc();
                    self.metrics.failing.set(1);
                    self.log_changes(problems, |problem| {
                        tracing::error!(%problem, "Failed to reconcile certificates; trying again");
                    });
                    sleep(pause.longer().min(self.settings.check_interval)).await;
                }
            }
        }
    }

    /// Waits, or until a configuration has changed. Several changes that come at once are one.
    async fn wait(&self, longest: Duration) {
        const MOMENT: Duration = Duration::from_millis(10);
        sleep(MOMENT.min(longest)).await;
        let _ = timeout(longest.saturating_sub(MOMENT), self.changed.notified()).await;
    }

    /// Once probes have been answered, and endpoints had the time to follow, requests come here.
    fn become_reachable(&self) -> impl Future<Output = ()> + use<> {
        let (readiness, is_reachable) = (Arc::clone(&self.readiness), Arc::clone(&self.is_reachable));
        let (changed, delay) = (Arc::clone(&self.changed), self.settings.arm_after);
        async move {
            readiness.observed().await;
            sleep(delay).await;
            is_reachable.store(true, Ordering::Relaxed);
            changed.notify_one();
        }
    }

    async fn round(&mut self) -> Round {
        let view = match Snapshot::take(&self.api, &self.settings.watched).await {
            Ok(view) => view,
            Err(trouble) => return Round::Failed(vec![trouble.to_string()]),
        };
        if let Secret::Holds(authorities) = &view.observed.secret {
            self.memory.authorities.clone_from(authorities);
        }
        self.memory.remember(&view.observed);
        self.memory.is_reachable = self.is_reachable.load(Ordering::Relaxed);
        self.measure(&view);
        if plan::is_ready(&view.observed, &self.memory) {
            self.readiness.set();
        }
        self.remember_webhooks(&view);
        let plan = plan::plan(&view.observed, &self.memory, self.settings.lifetimes);
        let is_quiet = plan.is_empty();
        let mut problems = self.carry_out(&view, plan).await;
        if !problems.is_empty() {
            return Round::Failed(problems);
        }
        if !is_quiet {
            return Round::Changed;
        }
        problems.extend(self.own(&view).await);
        problems.extend(self.remarks(&view));
        self.log_changes(problems, |remark| tracing::warn!("{remark}"));
        let now = view.observed.now;
        let due = plan::due(&view.observed, &self.memory, self.settings.lifetimes);
        let wait = due.iter().map(|due| due.at.duration_since(now)).find(SignedDuration::is_positive);
        Round::Quiet(wait.map_or(Duration::MAX, SignedDuration::unsigned_abs))
    }

    /// Each part stands for itself: what fails does not hold up the others.
    async fn carry_out(&mut self, view: &Snapshot, Plan { write, publish, sign }: Plan) -> Vec<String> {
        let mut failures = Vec::new();
        if let Some(write) = write {
            failures.extend(self.write(view, write).await.err());
        }
        for publish in &publish {
            failures.extend(self.publish(view, publish).await.err());
        }
        if let Some(sign) = sign {
            failures.extend(self.sign(view, &sign).err());
        }
        // Another writer was faster: the next round sees that.
        failures.retain(|failure| !matches!(failure, Failure::ApiError(ApiError::Conflict(_))));
        failures.iter().map(ToString::to_string).collect()
    }

    async fn write(
        &self,
        view: &Snapshot,
        Write { mut authorities, mint, was_armed }: Write,
    ) -> Result<(), Failure> {
        if view.is_stale() {
            return Ok(());
        }
        if let Secret::Corrupt(problem) = &view.observed.secret {
            tracing::error!(
                secret = self.settings.watched.secret,
                %problem,
                "The Secret with the CAs cannot be used and is written anew"
            );
        }
        if let Some(state) = mint {
            authorities.push(Authority::mint(state, view.observed.now, self.settings.lifetimes.authority)?);
        }
        let (namespace, name) = (self.api.namespace(), &self.settings.watched.secret);
        let target = secret::target(namespace, name);
        let made = match &view.secret {
            Some(_) => None,
            None => Some(self.api.ensure(target, &secret::empty(namespace, name)).await?),
        };
        // Another replica has made and filled it meanwhile.
        if made.as_ref().is_some_and(|made| !secret::is_empty(made)) {
            return Err(ApiError::Conflict(format!("secrets {namespace}/{name}")).into());
        }
        if let Some(object) = view.secret.as_ref().or(made.as_ref()) {
            self.api.replace(target, &secret::replaced(object, &authorities, was_armed)).await?;
        }
        let held = authorities.iter().map(|Authority { certificate, state, .. }| {
            format!("{} {}", state.as_str(), certificate.id.short())
        });
        tracing::info!(secret = %name, authorities = %held.collect::<Vec<_>>().join(", "), "Secret written");
        Ok(())
    }

    async fn publish(&self, view: &Snapshot, publish: &Publish) -> Result<(), Failure> {
        let Some(registered) = &view.registered[publish.kind as usize] else { return Ok(()) };
        if view.is_stale() {
            return Ok(());
        }
        let name = &self.settings.watched.configuration;
        let patch = registered.patch(publish);
        self.api.update_fields(webhook_configurations::target(publish.kind, name), &patch).await?;
        let (configuration, authorities, armed) = (publish.kind.as_str(), publish.bundle.len(), publish.arm);
        if self.has_lost_rules(publish.kind, registered) {
            let manager = registered.last_manager.as_deref().unwrap_or("unknown");
            tracing::warn!(
                %name, configuration, last_manager = manager,
                "The rules of a webhook configuration were removed and are restored; until then its Pods were admitted \
                 without a review"
            );
            self.metrics.inc_rules_restored(publish.kind);
        }
        tracing::info!(%name, configuration, authorities, armed, "Configuration published");
        Ok(())
    }

    /// Returns true if rules were removed: of the whole configuration, or of a webhook that had some. One that an upgrade
    /// adds has none yet.
    fn has_lost_rules(&self, kind: Kind, registered: &Registered) -> bool {
        let known = &self.armed_webhooks[kind as usize];
        let has_lost = |name: &String| {
            registered.has_webhook(name) && !registered.armed_webhooks().any(|armed| armed == name)
        };
        self.memory.was_armed[kind as usize] && (!registered.seen.is_armed() || known.iter().any(has_lost))
    }

    /// Remembers which webhooks have rules.
    fn remember_webhooks(&mut self, view: &Snapshot) {
        for (known, found) in self.armed_webhooks.iter_mut().zip(&view.registered) {
            let Some(found) = found else { continue };
            known.retain(|name| found.has_webhook(name));
            known.extend(found.armed_webhooks().map(str::to_owned));
        }
    }

    /// Makes the Namespace of the release the owner of its configurations, so that they go with it. What is in the way of
    /// that hinders nothing else: clusters that enforce permissions on owner references may forbid it.
    async fn own(&mut self, view: &Snapshot) -> Vec<String> {
        let missing = |uid: &Value| view.registered.iter().flatten().any(|found| !found.is_owned_by(uid));
        if view.is_stale() || self.namespace.as_ref().is_some_and(|uid| !missing(uid)) {
            return Vec::new();
        }
        if view.registered.iter().all(Option::is_none) {
            return Vec::new();
        }
        self.try_own(view).await.err().filter(|trouble| !matches!(trouble, ApiError::Conflict(_))).map_or_else(
            Vec::new,
            |trouble| {
                vec![format!(
                    "The webhook configurations stay when the namespace {} is deleted, and then its webhooks fail: {trouble}",
                    self.api.namespace()
                )]
            },
        )
    }

    async fn try_own(&mut self, view: &Snapshot) -> Result<(), ApiError> {
        let namespace = self.api.namespace().to_owned();
        let uid = if let Some(uid) = &self.namespace {
            uid.clone()
        } else {
            let target = Target { group: "", resource: "namespaces", namespace: None, name: &namespace };
            let found = self.api.get(target).await?.is;
            found.map(|found| found["metadata"]["uid"].clone()).unwrap_or_default()
        };
        if uid.is_null() {
            return Ok(());
        }
        for (kind, found) in Kind::ALL.into_iter().zip(&view.registered) {
            let Some(found) = found.as_ref().filter(|found| !found.is_owned_by(&uid)) else { continue };
            let target = webhook_configurations::target(kind, &self.settings.watched.configuration);
            self.api.update_fields(target, &found.owned_by(&namespace, &uid)).await?;
        }
        self.namespace = Some(uid);
        Ok(())
    }

    fn sign(&mut self, view: &Snapshot, Sign { issuer, not_after }: &Sign) -> Result<(), Failure> {
        // A plan is made for who has a key.
        let Some(signer) = issuer.signer() else { return Ok(()) };
        if view.is_stale() {
            return Ok(());
        }
        let (issued, not_after) = (view.observed.now, *not_after);
        let key = issue::leaf(&self.settings.names, &signer, Validity { now: issued, not_after })?;
        self.resolver.replace(key);
        self.metrics.served_expiry.set(not_after.as_second());
        self.metrics.renewals.succeeded.inc();
        self.memory.leaf = Some(Leaf { issuer: issuer.certificate.clone(), issued, not_after });
        tracing::info!(names = ?self.settings.names, %not_after, "Certificate signed");
        Ok(())
    }

    fn measure(&self, view: &Snapshot) {
        let observed = &view.observed;
        let active = observed.authorities().iter().find(|authority| authority.state == State::Active);
        let issuer = self.memory.leaf.as_ref().map(|leaf| leaf.issuer.id);
        self.metrics.clock_skew.set(observed.skew.as_secs());
        self.metrics.ca_expiry.set(active.map_or(0, |active| active.certificate.not_after.as_second()));
        for (kind, found) in Kind::ALL.into_iter().zip(&observed.configurations) {
            let is_published = found.as_ref().is_some_and(|configuration| {
                configuration.is_right() && issuer.is_some_and(|issuer| configuration.publishes(issuer))
            });
            self.metrics.set_published(kind, is_published);
        }
        for kind in Kind::ALL {
            let has_drifted = view.drift().any(|(drifted, _)| drifted == kind);
            self.metrics.set_drift(kind, has_drifted);
        }
    }

    /// What hinders nothing that we can do, and should be known.
    fn remarks(&self, view: &Snapshot) -> Vec<String> {
        let name = &self.settings.watched.configuration;
        let absent = Kind::ALL.into_iter().zip(&view.registered).filter(|(_, found)| found.is_none());
        let absent = absent.map(|(kind, _)| {
            format!("There is no {} webhook configuration {name}; it is armed when it appears", kind.as_str())
        });
        let problems = view.problems().map(|(kind, problem)| {
            format!("The {} webhook configuration {name} is to be put right: {problem}", kind.as_str())
        });
        let drift = view.drift().map(|(kind, drift)| {
            let manager = view.registered[kind as usize].as_ref().and_then(|found| found.last_manager.as_deref());
            let (kind, manager) = (kind.as_str(), manager.unwrap_or("unknown"));
            format!(
                "The {kind} webhook configuration {name} differs from what the chart rendered, last changed by {manager}: \
                 {drift}; run helm upgrade to put it back"
            )
        });
        let skew = view.observed.skew;
        let skew = (skew.abs() > LARGEST_SKEW).then(|| {
            format!(
                "The API server's clock is {} s ahead of ours, more than {}: the CAs are left alone, \
                 serving goes on; put this node's clock right",
                skew.as_secs(),
                LARGEST_SKEW.as_secs()
            )
        });
        absent.chain(problems).chain(drift).chain(skew).collect()
    }

    /// Logs the lines that were not logged the last time.
    fn log_changes(&mut self, lines: Vec<String>, how: impl Fn(&str)) {
        lines.iter().filter(|line| !self.logged.contains(line)).for_each(|line| how(line));
        if lines.is_empty() && !self.logged.is_empty() {
            tracing::info!("Certificates, Secret and configurations are in order again");
        }
        self.logged = lines;
    }
}

/// How long to wait after one change, and after one that follows on it, or a failure on a failure.
#[derive(Default)]
struct Pause(u32);

impl Pause {
    /// A start is a handful of changes, one upon the other. More changes mean a conflict with another writer, or a failure.
    fn longer(&mut self) -> Duration {
        const FIRST: Duration = Duration::from_millis(200);
        const PATIENT: u32 = 5;
        const DOUBLINGS: u32 = 6;
        let pause = FIRST * 2_u32.pow(self.0.saturating_sub(PATIENT));
        self.0 = (PATIENT + DOUBLINGS).min(self.0 + 1);
        jittered(pause)
    }

    fn over(&mut self) {
        self.0 = 0;
    }
}

/// Up to a fifth less, at random.
fn jittered(duration: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1000;
    let thousandths = 1000 - u32::try_from(random / 5).unwrap_or_default();
    duration / 1000 * thousandths
}
