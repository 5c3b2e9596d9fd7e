//! Looks, plans, does: for as long as the process lives.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    api::{Api, Trouble},
    configurations,
    metrics::CertificateMetrics,
    secret,
    view::{View, Watched},
    watch,
};
use crate::{
    certs::{
        self, CertError, Resolver,
        authority::{Authority, State},
        mint::{self, Validity},
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
pub struct Keeper {
    api: Api,
    settings: Settings,
    resolver: Arc<Resolver>,
    readiness: Arc<Readiness>,
    metrics: CertificateMetrics,
    memory: Memory,
    is_reachable: Arc<AtomicBool>,
    changed: Arc<Notify>,
    /// What was said last, so that it is not said each time.
    said: Vec<String>,
}

/// Why a part of a plan was not carried out.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Trouble(#[from] Trouble),
    #[error(transparent)]
    Certificate(#[from] CertError),
}

/// How a round ended.
enum Round {
    /// Something was changed, and is to be looked at again.
    Changed,
    /// There is nothing to do before so many seconds have passed.
    Quiet(i64),
    /// This is in the way.
    Failed(Vec<String>),
}

impl Keeper {
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
            said: Vec::new(),
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
                Round::Quiet(seconds) => {
                    self.metrics.failing.set(0);
                    pause.over();
                    let due = Duration::from_secs(seconds.unsigned_abs());
                    self.wait(due.min(jittered(self.settings.check_interval))).await;
                }
                Round::Failed(problems) => {
                    self.metrics.renewals.failed.inc();
                    self.metrics.failing.set(1);
                    self.say(problems, |problem| tracing::error!("{problem}; trying again"));
                    sleep(pause.longer().min(self.settings.check_interval)).await;
                }
            }
        }
    }

    /// Waits, or until a configuration has changed. Several changes that come at once are one.
    async fn wait(&self, longest: Duration) {
        const MOMENT: Duration = Duration::from_millis(100);
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
        let view = match View::take(&self.api, &self.settings.watched).await {
            Ok(view) => view,
            Err(trouble) => return Round::Failed(vec![trouble.to_string()]),
        };
        if let Secret::Holds(authorities) = &view.observed.secret {
            self.memory.authorities.clone_from(authorities);
        }
        self.memory.is_reachable = self.is_reachable.load(Ordering::Relaxed);
        self.measure(&view);
        if plan::is_ready(&view.observed, &self.memory) {
            self.readiness.set();
        }
        let plan = plan::plan(&view.observed, &self.memory, self.settings.lifetimes);
        let is_quiet = plan.is_empty();
        let problems = self.carry_out(&view, plan).await;
        if !problems.is_empty() {
            return Round::Failed(problems);
        }
        if !is_quiet {
            return Round::Changed;
        }
        self.say(self.remarks(&view), |remark| tracing::warn!("{remark}"));
        let now = view.observed.now;
        let due = plan::due(&view.observed, &self.memory, self.settings.lifetimes);
        Round::Quiet(due.iter().map(|due| due.at - now).find(|wait| *wait > 0).unwrap_or(i64::MAX))
    }

    /// Each part stands for itself: what fails does not hold up the others.
    async fn carry_out(&mut self, view: &View, Plan { write, publish, sign }: Plan) -> Vec<String> {
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
        // Somebody else was faster: that is seen at the next look.
        failures.retain(|failure| !matches!(failure, Failure::Trouble(Trouble::Conflict(_))));
        failures.iter().map(ToString::to_string).collect()
    }

    async fn write(&self, view: &View, Write { mut authorities, mint }: Write) -> Result<(), Failure> {
        if view.is_stale() {
            return Ok(());
        }
        if let Secret::Corrupt(problem) = &view.observed.secret {
            tracing::error!(
                "The Secret {} cannot be used and is written anew: {problem}",
                self.settings.watched.secret
            );
        }
        if let Some(state) = mint {
            authorities.push(Authority::mint(state, view.observed.now, self.settings.lifetimes.authority)?);
        }
        let (namespace, name) = (self.api.namespace(), &self.settings.watched.secret);
        let target = secret::target(namespace, name);
        match &view.secret {
            Some(object) => self.api.replace(target, &secret::replaced(object, &authorities)).await?,
            None => self.api.create(target, &secret::new(namespace, name, &authorities)).await?,
        }
        let held = authorities.iter().map(|Authority { certificate, state, .. }| {
            format!("{} {}", state.as_str(), certificate.id.short())
        });
        tracing::info!(secret = %name, authorities = %held.collect::<Vec<_>>().join(", "), "Secret written");
        Ok(())
    }

    async fn publish(&self, view: &View, publish: &Publish) -> Result<(), Failure> {
        let Some(registered) = &view.registered[publish.kind as usize] else { return Ok(()) };
        if view.is_stale() {
            return Ok(());
        }
        let name = &self.settings.watched.configuration;
        let applied = registered.applied(name, publish);
        self.api.apply(configurations::target(publish.kind, name), &applied).await?;
        let (configuration, authorities, armed) = (publish.kind.as_str(), publish.bundle.len(), publish.arm);
        tracing::info!(%name, configuration, authorities, armed, "Configuration published");
        Ok(())
    }

    fn sign(&mut self, view: &View, Sign { issuer, not_after }: &Sign) -> Result<(), Failure> {
        // A plan is made for who has a key.
        let Some(signer) = issuer.signer() else { return Ok(()) };
        if view.is_stale() {
            return Ok(());
        }
        let (issued, not_after) = (view.observed.now, *not_after);
        let key = mint::leaf(&self.settings.names, &signer, Validity { now: issued, not_after })?;
        self.resolver.replace(key);
        self.metrics.served_expiry.set(not_after);
        self.metrics.renewals.succeeded.inc();
        self.memory.leaf = Some(Leaf { issuer: issuer.certificate.clone(), issued, not_after });
        tracing::info!(names = ?self.settings.names, not_after, "Certificate signed");
        Ok(())
    }

    fn measure(&self, view: &View) {
        let observed = &view.observed;
        let active = observed.authorities().iter().find(|authority| authority.state == State::Active);
        let issuer = self.memory.leaf.as_ref().map(|leaf| leaf.issuer.id);
        self.metrics.clock_skew.set(observed.skew);
        self.metrics.ca_expiry.set(active.map_or(0, |active| active.certificate.not_after));
        for (kind, found) in Kind::ALL.into_iter().zip(&observed.configurations) {
            let is_published = found.as_ref().is_some_and(|configuration| {
                configuration.is_right() && issuer.is_some_and(|issuer| configuration.publishes(issuer))
            });
            self.metrics.set_published(kind, is_published);
        }
    }

    /// What hinders nothing that we can do, and should be known.
    fn remarks(&self, view: &View) -> Vec<String> {
        let name = &self.settings.watched.configuration;
        let absent = Kind::ALL.into_iter().zip(&view.registered).filter(|(_, found)| found.is_none());
        let absent = absent.map(|(kind, _)| {
            format!("There is no {} webhook configuration {name}; it is armed when it appears", kind.as_str())
        });
        let problems = view.problems().map(|(kind, problem)| {
            format!("The {} webhook configuration {name} is to be put right: {problem}", kind.as_str())
        });
        let skew = view.observed.skew;
        let skew = (skew.abs() > LARGEST_SKEW).then(|| {
            format!(
                "The API server's clock is {skew} s ahead of ours, more than {LARGEST_SKEW}: the CAs are left alone, \
                 serving goes on; put this node's clock right"
            )
        });
        absent.chain(problems).chain(skew).collect()
    }

    /// Says what has not been said the last time.
    fn say(&mut self, lines: Vec<String>, how: impl Fn(&str)) {
        lines.iter().filter(|line| !self.said.contains(line)).for_each(|line| how(line));
        if lines.is_empty() && !self.said.is_empty() {
            tracing::info!("Certificates, Secret and configurations are in order again");
        }
        self.said = lines;
    }
}

/// How long to wait after one change, and after one that follows on it, or a failure on a failure.
#[derive(Default)]
struct Pause(u32);

impl Pause {
    /// A start is a handful of changes, one upon the other. Who changes more fights with somebody, or fails.
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

/// Whether a leaf can be made for these names.
///
/// # Errors
/// When one cannot stand in a certificate.
pub fn check_names(names: &[String]) -> Result<(), CertError> {
    let now = certs::now();
    let authority = mint::authority("check", Validity { now, not_after: now + 1 })?;
    mint::leaf(names, &authority, Validity { now, not_after: now + 1 }).map(drop)
}
