//! What a replica is to do about the CAs, the published bundles and its own leaf: a pure function of what it sees.
//!
//! Replicas do not elect a leader. Each write names the version of what it changes and fails if that has changed since,
//! so a plan is only ever carried out on the world that it was made for. These rules keep every leaf that is served
//! trusted by what is published:
//!
//! - A CA signs only once every configuration is seen to publish it.
//! - Nothing is taken out of a bundle but what has expired, or what by the Secret has signed nothing for longer than
//!   a leaf lives. What is published and not in the Secret belongs to another replica, perhaps by a Secret that was lost: it is
//!   written into the Secret, without a key, and goes the same way.
//! - Times are the API server's. It is the one that verifies a leaf, and replicas need not agree on anything else.

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};

use super::{
    ca::{Authority, Certificate, Fingerprint, State, in_order},
    issue::BACKDATED,
    shifted,
};

/// A plan that is older is not carried out: the margins allow for no more.
pub const STALE_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// The largest difference between the API server's clock and ours with which the Secret is written.
pub const LARGEST_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// How long things last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// A CA.
    pub authority: SignedDuration,
    /// A leaf, which never outlives its CA.
    pub leaf: SignedDuration,
    /// How long a new CA is published before it signs.
    pub promote_after: SignedDuration,
}

impl Lifetimes {
    /// The lifetimes in production: a year, a week and five minutes.
    pub const DEFAULT: Self = Self {
        authority: SignedDuration::from_hours(365 * 24),
        leaf: SignedDuration::from_hours(7 * 24),
        promote_after: SignedDuration::from_mins(5),
    };

    /// How long API servers may take to notice a bundle.
    fn settle(self) -> SignedDuration {
        const SETTLED: SignedDuration = SignedDuration::from_secs(5);
        SETTLED.min(self.promote_after)
    }

    /// How long a CA that signs nothing more is still trusted: as long as a leaf lives, and a margin.
    fn retire_after(self) -> SignedDuration {
        const MARGIN: SignedDuration = SignedDuration::from_hours(1);
        self.leaf.saturating_add(MARGIN.min(self.leaf))
    }
}

/// What a replica sees of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The time by the API server's clock.
    pub now: Timestamp,
    /// How far that clock is ahead of our own.
    pub skew: SignedDuration,
    /// What the Secret holds.
    pub secret: Secret,
    /// Which configurations the Secret records as having been armed once, in the order of [`Kind::ALL`].
    pub was_armed: [bool; 2],
    /// The configurations, where they exist; see [`Kind`].
    pub configurations: [Option<Configuration>; 2],
}

/// The Secret with the CAs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// There is none.
    Absent,
    /// What is in it cannot be used, and why.
    Corrupt(String),
    /// It holds these.
    Holds(Vec<Authority>),
}

/// Which webhook configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `MutatingWebhookConfiguration`.
    Mutating,
    /// `ValidatingWebhookConfiguration`.
    Validating,
}

impl Kind {
    /// Both, in the order of [`Observed::configurations`].
    pub const ALL: [Self; 2] = [Self::Mutating, Self::Validating];

    /// As it is written in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mutating => "mutating",
            Self::Validating => "validating",
        }
    }
}

/// A webhook configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// Its webhooks.
    pub webhooks: Vec<Webhook>,
    /// When sandgate last changed it, by the API server's clock.
    pub changed: Option<Timestamp>,
    /// Whether an earlier version of sandgate still owns fields of it as an applier. Another applier, such as Helm, can
    /// remove no webhook as long as that is so.
    pub is_applied: bool,
}

impl Configuration {
    /// Whether every webhook publishes this CA.
    #[must_use]
    pub fn publishes(&self, id: Fingerprint) -> bool {
        self.webhooks.iter().all(|webhook| webhook.bundle.iter().any(|certificate| certificate.id == id))
    }

    /// Whether a webhook of it matches anything.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.webhooks.iter().any(|webhook| webhook.rules != Rules::Missing)
    }

    /// Whether every webhook matches what it should.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.webhooks.iter().all(|webhook| webhook.rules == Rules::Right)
    }
}

/// One webhook of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// What its `caBundle` holds, in order.
    pub bundle: Vec<Certificate>,
    /// Its rules.
    pub rules: Rules,
}

/// What a webhook matches, compared to what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Nothing: it is not armed.
    Missing,
    /// Something else.
    Outdated,
    /// That.
    Right,
}

/// What a replica knows by itself.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// What the Secret held when it was last seen whole.
    pub authorities: Vec<Authority>,
    /// What is served.
    pub leaf: Option<Leaf>,
    /// Whether we have been ready for long enough to be reached.
    pub is_reachable: bool,
    /// Which configurations were ever seen armed, in the order of [`Kind::ALL`]: the record outlives a lost Secret.
    pub was_armed: [bool; 2],
}

/// The certificate that a replica serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Who signed it.
    pub issuer: Certificate,
    /// The time when it was signed.
    pub issued: Timestamp,
    /// The time when it expires.
    pub not_after: Timestamp,
}

/// What is to be done, each part by itself, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Create or replace the Secret.
    pub write: Option<Write>,
    /// Change configurations.
    pub publish: Vec<Publish>,
    /// Serve a new leaf.
    pub sign: Option<Sign>,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.write.is_none() && self.publish.is_empty() && self.sign.is_none()
    }
}

/// A new content of the Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// What it is to hold.
    pub authorities: Vec<Authority>,
    /// The state of a new CA to make and add.
    pub mint: Option<State>,
    /// Which configurations it records as having been armed once.
    pub was_armed: [bool; 2],
}

/// A new content of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Which.
    pub kind: Kind,
    /// The `caBundle` of each webhook.
    pub bundle: Vec<Certificate>,
    /// Whether each is given the rules that it should have; else it keeps what it has.
    pub arm: bool,
}

/// A new leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sign {
    /// Who signs it.
    pub issuer: Authority,
    /// The time when it expires.
    pub not_after: Timestamp,
}

/// What will be done next, if nothing else happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// What, of which CA.
    pub what: Upkeep,
    /// The time when it becomes due.
    pub at: Timestamp,
}

/// What can become due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upkeep {
    /// A successor of this CA is made and published.
    Succeed(Fingerprint),
    /// This CA begins to sign.
    Promote(Fingerprint),
    /// This CA is not trusted any more.
    Forget(Fingerprint),
    /// The leaf is renewed.
    Renew,
    /// Every API server has noticed what was published.
    Settle,
}

/// Plans what to do about what is seen.
#[must_use]
pub fn plan(observed: &Observed, memory: &Memory, lifetimes: Lifetimes) -> Plan {
    let planner = Planner { observed, memory, lifetimes };
    Plan { write: planner.write(), publish: planner.publish(), sign: planner.sign() }
}

/// Whether a leaf is served that every configuration's webhooks trust.
#[must_use]
pub fn is_ready(observed: &Observed, memory: &Memory) -> bool {
    let issuer = memory.live_leaf(observed.now).map(|leaf| leaf.issuer.id);
    issuer.is_some_and(|issuer| observed.existing().all(|(_, configuration)| configuration.publishes(issuer)))
}

/// What will be done at which time, the soonest first.
#[must_use]
pub fn due(observed: &Observed, memory: &Memory, lifetimes: Lifetimes) -> Vec<Due> {
    let planner = Planner { observed, memory, lifetimes };
    let authorities = observed.authorities().iter().filter_map(|authority| planner.due(authority));
    let renewal = memory.leaf.iter().map(|leaf| Due { what: Upkeep::Renew, at: leaf.renewal() });
    let settled = observed.existing().filter_map(|(_, configuration)| configuration.changed);
    let settled =
        settled.map(|changed| Due { what: Upkeep::Settle, at: shifted(changed, lifetimes.settle()) });
    let mut due: Vec<Due> =
        authorities.chain(renewal).chain(settled.filter(|due| due.at > observed.now)).collect();
    due.sort_by_key(|due| due.at);
    due
}

impl Observed {
    /// What the Secret holds, if it can be used.
    #[must_use]
    pub fn authorities(&self) -> &[Authority] {
        match &self.secret {
            Secret::Holds(authorities) => authorities,
            Secret::Absent | Secret::Corrupt(_) => &[],
        }
    }

    /// Which configurations are armed now.
    #[must_use]
    pub fn armed(&self) -> [bool; 2] {
        self.configurations.each_ref().map(|found| found.as_ref().is_some_and(Configuration::is_armed))
    }

    fn existing(&self) -> impl Iterator<Item = (Kind, &Configuration)> {
        Kind::ALL
            .into_iter()
            .zip(&self.configurations)
            .filter_map(|(kind, found)| Some((kind, found.as_ref()?)))
    }

    /// What any webhook publishes and has not expired.
    fn published(&self) -> impl Iterator<Item = &Certificate> {
        let webhooks = self.existing().flat_map(|(_, configuration)| &configuration.webhooks);
        webhooks.flat_map(|webhook| &webhook.bundle).filter(|certificate| certificate.not_after > self.now)
    }
}

impl Memory {
    /// Keeps what a lost Secret or a replaced configuration would take along: that configurations were armed.
    pub fn remember(&mut self, observed: &Observed) {
        let (recorded, armed) = (observed.was_armed, observed.armed());
        self.was_armed = [0, 1].map(|kind| self.was_armed[kind] || recorded[kind] || armed[kind]);
    }

    /// The leaf, if it has not expired.
    fn live_leaf(&self, now: Timestamp) -> Option<&Leaf> {
        self.leaf.as_ref().filter(|leaf| leaf.not_after > now)
    }

    /// Returns what a lost Secret held. A replica that has not seen it for as long as a leaf lives may not know the state of a CA
    /// in the meantime, and then has no live leaf either.
    fn lost(&self, now: Timestamp) -> &[Authority] {
        if self.live_leaf(now).is_some() { &self.authorities } else { &[] }
    }
}

impl Leaf {
    /// When it is to be renewed.
    #[must_use]
    pub fn renewal(&self) -> Timestamp {
        two_thirds(self.issued, self.not_after)
    }
}

/// Returns the time at which two thirds of a lifetime have passed.
fn two_thirds(from: Timestamp, to: Timestamp) -> Timestamp {
    shifted(from, to.duration_since(from) / 3 * 2)
}

#[derive(Clone, Copy)]
struct Planner<'p> {
    observed: &'p Observed,
    memory: &'p Memory,
    lifetimes: Lifetimes,
}

impl Planner<'_> {
    /// The Secret as it should be, where that differs.
    fn write(self) -> Option<Write> {
        if self.observed.skew.abs() > LARGEST_SKEW {
            return None;
        }
        let held = match &self.observed.secret {
            Secret::Holds(authorities) => Some(authorities.as_slice()),
            Secret::Absent | Secret::Corrupt(_) => None,
        };
        let known = held.unwrap_or_else(|| self.memory.lost(self.observed.now));
        let mut authorities: Vec<Authority> =
            known.iter().filter(|authority| !self.is_forgotten(authority)).cloned().collect();
        authorities.extend(self.unknown_cas(known));
        self.leave_one_of(State::Active, &mut authorities);
        self.leave_one_of(State::Pending, &mut authorities);
        self.promote(&mut authorities);
        let mint = self.missing(&authorities);
        let was_armed = self.was_armed();
        let is_recorded = was_armed == self.observed.was_armed;
        let changes = held != Some(authorities.as_slice()) || mint.is_some() || !is_recorded;
        changes.then_some(Write { authorities, mint, was_armed })
    }

    /// Which configurations are or ever were armed, by the Secret, by our memory and by what is stored.
    fn was_armed(self) -> [bool; 2] {
        let (recorded, armed) = (self.observed.was_armed, self.observed.armed());
        [0, 1].map(|kind| recorded[kind] || armed[kind] || self.memory.was_armed[kind])
    }

    /// Whether a CA need not be known any more.
    fn is_forgotten(self, authority: &Authority) -> bool {
        let Certificate { id, not_after, .. } = authority.certificate;
        let is_published = || self.observed.published().any(|certificate| certificate.id == id);
        not_after <= self.observed.now || (self.is_over(authority) && !is_published())
    }

    /// Whether nothing that this CA signed can be alive.
    fn is_over(self, Authority { certificate, state, since, .. }: &Authority) -> bool {
        let is_ours = self.leaf_issuer().is_some_and(|issuer| issuer.id == certificate.id);
        *state == State::Retiring
            && shifted(*since, self.lifetimes.retire_after()) <= self.observed.now
            && !is_ours
    }

    /// Who signed the leaf that is served and alive.
    fn leaf_issuer(&self) -> Option<&Certificate> {
        self.memory.live_leaf(self.observed.now).map(|leaf| &leaf.issuer)
    }

    /// What is trusted, by us or by what is published, and not `known`.
    fn unknown_cas(self, known: &[Authority]) -> Vec<Authority> {
        let trusted = self.observed.published().chain(self.leaf_issuer());
        let is_known = |id| known.iter().any(|authority| authority.certificate.id == id);
        let unknown_cas = trusted.filter(|certificate| !is_known(certificate.id)).cloned();
        let now = self.observed.now;
        in_order(unknown_cas)
            .into_iter()
            .map(|certificate| Authority::trusted_only(certificate, now))
            .collect()
    }

    /// The newest one with a key keeps `state`; any other retires.
    fn leave_one_of(self, state: State, authorities: &mut [Authority]) {
        let candidates = authorities.iter().filter(|authority| authority.state == state);
        let newest = candidates
            .filter(|authority| authority.key.is_some())
            .max_by_key(|authority| (authority.since, authority.certificate.id))
            .map(|authority| authority.certificate.id);
        for authority in authorities.iter_mut().filter(|authority| authority.state == state) {
            if Some(authority.certificate.id) != newest {
                self.change(authority, State::Retiring);
            }
        }
    }

    fn change(self, authority: &mut Authority, state: State) {
        authority.state = state;
        authority.since = self.observed.now;
    }

    /// Lets the pending CA sign, once every configuration has published it for long enough, or at once where no other
    /// can.
    fn promote(self, authorities: &mut [Authority]) {
        let find = |authorities: &[Authority], state| {
            authorities.iter().position(|authority| authority.state == state)
        };
        let active = find(authorities, State::Active);
        let Some(pending) = find(authorities, State::Pending) else { return };
        if active.is_some() && !self.is_promoted(&authorities[pending]) {
            return;
        }
        if let Some(active) = active {
            self.change(&mut authorities[active], State::Retiring);
        }
        self.change(&mut authorities[pending], State::Active);
    }

    fn is_promoted(self, Authority { certificate, since, .. }: &Authority) -> bool {
        shifted(*since, self.lifetimes.promote_after) <= self.observed.now
            && self.observed.existing().all(|(_, configuration)| configuration.publishes(certificate.id))
    }

    /// Which CA has to be made.
    fn missing(self, authorities: &[Authority]) -> Option<State> {
        let Some(active) = authorities.iter().find(|authority| authority.state == State::Active) else {
            return Some(State::Active);
        };
        let has_successor = authorities.iter().any(|authority| authority.state == State::Pending);
        (!has_successor && succession(&active.certificate) <= self.observed.now).then_some(State::Pending)
    }

    /// What each configuration should be, where that differs.
    fn publish(self) -> Vec<Publish> {
        let bundle = self.bundle();
        if bundle.is_empty() {
            return Vec::new();
        }
        let existing = self.observed.existing();
        let wanted = existing.filter_map(|(kind, configuration)| {
            let arm = configuration.is_armed() || self.must_rearm(kind) || self.may_arm(kind);
            let is_published = configuration.webhooks.iter().all(|webhook| webhook.bundle == bundle);
            let is_right = !arm || configuration.is_right();
            let is_done = is_published && is_right && !configuration.is_applied;
            (!is_done).then(|| Publish { kind, bundle: bundle.clone(), arm })
        });
        wanted.collect()
    }

    /// Returns true if a configuration was armed before, and so has been replaced: each moment without rules is one in
    /// which Pods are admitted without a review. Its rules come in the same write as the bundle, which trusts every leaf
    /// that the Secret's CAs have signed; where no replica answers, requests fail as the failure policy says.
    fn must_rearm(self, kind: Kind) -> bool {
        let can_sign = self.observed.authorities().iter().any(|authority| authority.signs(self.observed.now));
        can_sign && self.was_armed()[kind as usize]
    }

    /// Returns true if a configuration may be armed for the first time: a replica answers, and the mutating webhook is called already, for
    /// a Pod that was not filled would be denied.
    fn may_arm(self, kind: Kind) -> bool {
        let [mutating, _] = &self.observed.configurations;
        let is_filled = mutating.as_ref().is_none_or(|mutating| {
            let settled = mutating.changed.map(|changed| shifted(changed, self.lifetimes.settle()));
            mutating.is_armed() && settled.is_none_or(|settled| settled <= self.observed.now)
        });
        let is_answered = self.memory.is_reachable && is_ready(self.observed, self.memory);
        is_answered && (kind == Kind::Mutating || is_filled)
    }

    /// Everything that a leaf which is served may have been signed by.
    fn bundle(self) -> Vec<Certificate> {
        let authorities = self.observed.authorities();
        let is_over = |id| {
            authorities.iter().any(|authority| authority.certificate.id == id && self.is_over(authority))
        };
        let held = authorities.iter().map(|authority| &authority.certificate);
        let trusted = held.chain(self.observed.published()).chain(self.leaf_issuer());
        in_order(
            trusted
                .filter(|certificate| certificate.not_after > self.observed.now && !is_over(certificate.id))
                .cloned(),
        )
    }

    /// The next leaf, when it is time for one and its CA can be trusted by everybody.
    fn sign(self) -> Option<Sign> {
        let Observed { now, .. } = *self.observed;
        let issuer = self.observed.authorities().iter().find(|authority| authority.signs(now))?;
        let id = issuer.certificate.id;
        if !self.observed.existing().all(|(kind, configuration)| self.has_settled(kind, configuration, id)) {
            return None;
        }
        let not_after = issuer.certificate.not_after.min(shifted(now, self.lifetimes.leaf));
        let is_due = self
            .memory
            .live_leaf(now)
            .is_none_or(|leaf| leaf.issuer.id != id || (leaf.renewal() <= now && not_after > leaf.not_after));
        is_due.then(|| Sign { issuer: issuer.clone(), not_after })
    }

    /// Whether every API server knows that this configuration publishes the CA. No webhook is called through one that was
    /// never armed; of one that has lost its rules an API server may still follow what it was before.
    fn has_settled(self, kind: Kind, configuration: &Configuration, id: Fingerprint) -> bool {
        let settled = |changed| shifted(changed, self.lifetimes.settle()) <= self.observed.now;
        configuration.publishes(id)
            && (!self.was_armed()[kind as usize] || configuration.changed.is_none_or(settled))
    }

    /// What becomes of a CA next.
    fn due(self, Authority { certificate, state, since, .. }: &Authority) -> Option<Due> {
        let id = certificate.id;
        let is_pending = |authority: &Authority| authority.state == State::Pending;
        match state {
            State::Pending => {
                Some(Due { what: Upkeep::Promote(id), at: shifted(*since, self.lifetimes.promote_after) })
            }
            State::Active if self.observed.authorities().iter().any(is_pending) => None,
            State::Active => Some(Due { what: Upkeep::Succeed(id), at: succession(certificate) }),
            State::Retiring => {
                let at = certificate.not_after.min(shifted(*since, self.lifetimes.retire_after()));
                Some(Due { what: Upkeep::Forget(id), at })
            }
        }
    }
}

/// When a CA's successor is to be made.
fn succession(Certificate { not_before, not_after, .. }: &Certificate) -> Timestamp {
    two_thirds(shifted(*not_before, BACKDATED), *not_after)
}
