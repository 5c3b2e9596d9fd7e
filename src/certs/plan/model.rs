//! Several replicas, a cluster that loses things, and an API server that takes a while to notice: in whatever order it
//! comes, every leaf that is served is trusted, and in the end everything is at rest and goes on being renewed.
//!
//! The planner is the real one. CAs are numbers here; that a real leaf chains to a real CA is a test beside the model.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// A CA lives for fifteen leaves; a plan may still be as old as with the default lifetimes.
const LIFETIMES: Lifetimes =
    Lifetimes { authority: seconds(3000), leaf: seconds(200), promote_after: seconds(30) };

/// How long an API server may go on with an earlier version of a configuration.
const LAG: SignedDuration = seconds(4);

const REPLICAS: usize = 3;

const fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A replica looks and plans.
    Look(usize),
    /// It does one thing of its plan.
    Act(usize),
    /// It looks, and does all of it.
    Keep(usize),
    Pass(SignedDuration),
    Restart(usize),
    LoseSecret,
    CorruptSecret,
    LoseConfiguration(usize),
    MakeConfiguration(usize),
    ClearBundle(usize),
    /// A configuration is as the chart made it: without rules and bundle.
    Replace(usize),
    ChangeRules(usize),
    /// A replica's clock is this far behind from now on.
    StepClock(usize, SignedDuration),
}

#[derive(Debug, Clone)]
struct World {
    now: Timestamp,
    version: u64,
    minted: u32,
    secret: Option<Versioned<Result<Held, ()>>>,
    configurations: [Option<Registered>; 2],
    replicas: Vec<Replica>,
}

/// What the Secret holds.
#[derive(Debug, Clone)]
struct Held {
    authorities: Vec<Authority>,
    was_armed: [bool; 2],
}

#[derive(Debug, Clone)]
struct Versioned<T> {
    version: u64,
    is: T,
}

#[derive(Debug, Clone)]
struct Registered {
    version: u64,
    is: Configuration,
    /// What it was before, and until when.
    before: Vec<(Configuration, Timestamp)>,
    /// Another writer has changed it, and sandgate not yet after that.
    tampered: bool,
    /// Nor is every leaf trusted again.
    repairing: bool,
    /// Until when an API server may follow a version with rules which no Secret records.
    unrecorded_until: Timestamp,
}

#[derive(Debug, Clone, Default)]
struct Replica {
    memory: Memory,
    skew: SignedDuration,
    was_ready: Option<Timestamp>,
    seen: Seen,
    steps: VecDeque<Step>,
}

/// The versions that a plan was made for.
#[derive(Debug, Clone, Default)]
struct Seen {
    at: Timestamp,
    secret: Option<u64>,
    configurations: [Option<u64>; 2],
}

#[derive(Debug, Clone)]
enum Step {
    Write(Write),
    Publish(Publish),
    Sign(Sign),
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            now: Timestamp::constant(1_800_000_000, 0),
            version: 0,
            minted: 0,
            secret: None,
            configurations: [None, None],
            replicas: vec![Replica::default(); REPLICAS],
        };
        world.make_configuration(0);
        world.make_configuration(1);
        world
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Look(replica) => self.look(replica),
            Event::Act(replica) => self.act(replica),
            Event::Keep(replica) => self.keep(replica),
            Event::Pass(duration) => self.now += duration,
            Event::Restart(replica) => {
                let skew = self.replicas[replica].skew;
                self.replicas[replica] = Replica { skew, ..Replica::default() };
            }
            Event::LoseSecret => self.secret = None,
            Event::CorruptSecret => {
                let version = self.next_version();
                self.secret = self.secret.take().map(|_| Versioned { version, is: Err(()) });
            }
            Event::LoseConfiguration(kind) => self.configurations[kind] = None,
            Event::MakeConfiguration(kind) => self.make_configuration(kind),
            Event::ClearBundle(kind) => self.tamper(kind, |webhook| webhook.bundle.clear()),
            Event::Replace(kind) => self.tamper(kind, |webhook| {
                webhook.bundle.clear();
                webhook.rules = Rules::Missing;
            }),
            Event::ChangeRules(kind) => self.tamper(kind, |webhook| {
                if webhook.rules == Rules::Right {
                    webhook.rules = Rules::Outdated;
                }
            }),
            Event::StepClock(replica, skew) => self.replicas[replica].skew = skew,
        }
        self.check_trust();
    }

    fn make_configuration(&mut self, kind: usize) {
        if self.configurations[kind].is_some() {
            return;
        }
        let version = self.next_version();
        let webhooks = vec![Webhook { bundle: Vec::new(), rules: Rules::Missing }];
        let is = Configuration { webhooks, changed: None, is_applied: false };
        self.configurations[kind] = Some(Registered {
            version,
            is,
            before: Vec::new(),
            tampered: false,
            repairing: false,
            unrecorded_until: Timestamp::UNIX_EPOCH,
        });
    }

    fn tamper(&mut self, kind: usize, change: impl Fn(&mut Webhook)) {
        let (version, now) = (self.next_version(), self.now);
        let Some(registered) = &mut self.configurations[kind] else { return };
        // A state that another writer has made does not count against the plan.
        if !registered.tampered {
            registered.before.push((registered.is.clone(), now));
        }
        change(&mut registered.is.webhooks[0]);
        (registered.tampered, registered.repairing) = (true, true);
        registered.version = version;
    }

    fn observe(&self, replica: usize) -> Observed {
        let secret = match self.secret.as_ref().map(|secret| &secret.is) {
            None => Secret::Absent,
            Some(Err(())) => Secret::Corrupt("by the test".into()),
            Some(Ok(held)) => Secret::Holds(held.authorities.clone()),
        };
        let was_armed = match self.secret.as_ref().map(|secret| &secret.is) {
            Some(Ok(held)) => held.was_armed,
            None | Some(Err(())) => [false; 2],
        };
        let configurations =
            self.configurations.each_ref().map(|found| found.as_ref().map(|found| found.is.clone()));
        Observed { now: self.now, skew: self.replicas[replica].skew, secret, was_armed, configurations }
    }

    fn look(&mut self, index: usize) {
        let observed = self.observe(index);
        let seen = Seen {
            at: self.now,
            secret: self.secret.as_ref().map(|secret| secret.version),
            configurations: self
                .configurations
                .each_ref()
                .map(|found| found.as_ref().map(|found| found.version)),
        };
        let replica = &mut self.replicas[index];
        if let Secret::Holds(authorities) = &observed.secret {
            replica.memory.authorities.clone_from(authorities);
        }
        replica.memory.remember(&observed);
        if is_ready(&observed, &replica.memory) {
            replica.was_ready.get_or_insert(self.now);
        }
        replica.memory.is_reachable = replica.was_ready.is_some_and(|since| since < self.now);
        let Plan { write, publish, sign } = plan(&observed, &replica.memory, LIFETIMES);
        let steps = write.map(Step::Write).into_iter().chain(publish.into_iter().map(Step::Publish));
        replica.steps = steps.chain(sign.map(Step::Sign)).collect();
        replica.seen = seen;
    }

    fn act(&mut self, index: usize) {
        let replica = &mut self.replicas[index];
        let seen = replica.seen.clone();
        if self.now.duration_since(seen.at) > STALE_AFTER {
            replica.steps.clear();
        }
        match replica.steps.pop_front() {
            None => {}
            Some(Step::Write(write)) => self.write(&seen, write),
            Some(Step::Publish(publish)) => self.apply(&seen, publish),
            Some(Step::Sign(Sign { issuer, not_after })) => {
                assert!(issuer.key.is_some() && not_after <= issuer.certificate.not_after);
                let id = issuer.certificate.id;
                let leaf = Leaf { issuer: issuer.certificate, issued: seen.at, not_after };
                replica.memory.leaf = Some(leaf);
                // The Secret and the bundles may have been lost since the plan was made, and made anew by others.
                if !self.is_named(id) {
                    self.configurations
                        .iter_mut()
                        .flatten()
                        .for_each(|registered| registered.repairing = true);
                }
            }
        }
    }

    fn write(&mut self, seen: &Seen, Write { mut authorities, mint, was_armed }: Write) {
        if self.secret.as_ref().map(|secret| secret.version) != seen.secret {
            return;
        }
        authorities.extend(mint.map(|state| self.mint(state, seen.at)));
        let version = self.next_version();
        self.secret = Some(Versioned { version, is: Ok(Held { authorities, was_armed }) });
    }

    fn mint(&mut self, state: State, now: Timestamp) -> Authority {
        self.minted += 1;
        let mut id = [0; 32];
        // Their order does not follow their age.
        id[..4].copy_from_slice(&self.minted.reverse_bits().to_be_bytes());
        let (not_before, not_after) = (now - BACKDATED, now + LIFETIMES.authority);
        let certificate = Certificate { id: Fingerprint(id), pem: String::new(), not_before, not_after };
        let key = Some(super::super::ca::PrivateKey(String::new()));
        Authority { certificate, key, state, since: now }
    }

    fn apply(&mut self, seen: &Seen, Publish { kind, bundle, arm }: Publish) {
        let (version, now) = (self.next_version(), self.now);
        let seen = seen.configurations[kind as usize];
        let Some(registered) = &mut self.configurations[kind as usize] else { return };
        if Some(registered.version) != seen {
            return;
        }
        if !registered.tampered {
            registered.before.push((registered.is.clone(), now));
        }
        let webhook = &mut registered.is.webhooks[0];
        webhook.bundle = bundle;
        if arm {
            webhook.rules = Rules::Right;
        }
        registered.is.changed = Some(now);
        registered.tampered = false;
        registered.version = version;
    }

    fn keep(&mut self, replica: usize) {
        self.look(replica);
        while !self.replicas[replica].steps.is_empty() {
            self.act(replica);
            self.check_trust();
        }
    }

    /// Every leaf that is served is trusted by every API server, also by one that is behind.
    fn check_trust(&mut self) {
        let now = self.now;
        let leaves = self.replicas.iter().filter_map(|replica| replica.memory.live_leaf(now));
        let leaves: Vec<Fingerprint> = leaves.map(|leaf| leaf.issuer.id).collect();
        // Only the replica that serves it knows that CA. Another one that arms a configuration first cannot publish it.
        let is_lost = !leaves.iter().all(|id| self.is_named(*id));
        let is_secret_lost = !matches!(&self.secret, Some(Versioned { is: Ok(_), .. }));
        let recorded = match &self.secret {
            Some(Versioned { is: Ok(held), .. }) => held.was_armed,
            _ => [false; 2],
        };
        for (registered, is_recorded) in self.configurations.iter_mut().zip(recorded) {
            let Some(registered) = registered else { continue };
            let Registered { is, before, tampered, repairing, unrecorded_until, .. } = registered;
            // So it is if a configuration is replaced and the Secret is lost at the same time: nothing is left that names
            // the CAs which other replicas serve. Until each has looked, requests fail, and fail closed.
            *repairing |= (is_lost || is_secret_lost) && !is.is_armed();
            before.retain(|(_, until)| *until + LAG >= now);
            // Nothing says that it was ever armed, so nothing waits for an API server that is behind.
            let was_armed = before.iter().any(|(before, _)| before.is_armed());
            if !is_recorded && was_armed && !is.is_armed() {
                *unrecorded_until = now + LAG;
            }
            let in_force = before.iter().map(|(before, _)| before).chain([&*is]);
            let distrusts = |configuration: &Configuration| {
                configuration.is_armed() && leaves.iter().any(|id| !configuration.publishes(*id))
            };
            match in_force.into_iter().find(|configuration| distrusts(configuration)) {
                None => *repairing &= *tampered || !leaves.iter().all(|id| is.publishes(*id)),
                Some(_) if *repairing || now <= *unrecorded_until => {}
                Some(configuration) => panic!("of {leaves:?} not all are trusted by {configuration:?}"),
            }
        }
    }

    /// Whether the Secret holds this CA or a configuration publishes it.
    fn is_named(&self, id: Fingerprint) -> bool {
        let held = match &self.secret {
            Some(Versioned { is: Ok(held), .. }) => held.authorities.as_slice(),
            _ => &[],
        };
        let mut registered = self.configurations.iter().flatten();
        held.iter().any(|authority| authority.certificate.id == id)
            || registered.any(|registered| registered.is.publishes(id))
    }

    /// Nothing disturbs it any more: it comes to rest, whole.
    fn come_to_rest(&mut self) {
        for replica in &mut self.replicas {
            replica.skew = SignedDuration::ZERO;
        }
        let (mut rounds, mut quiet) = (0, 0);
        // A pause is no rest: something may only have to settle.
        while quiet < 5 {
            self.now += seconds(2);
            let is_quiet = (0..REPLICAS).all(|replica| {
                self.look(replica);
                self.replicas[replica].steps.is_empty()
            });
            quiet = if is_quiet { quiet + 1 } else { 0 };
            (0..REPLICAS).for_each(|replica| self.keep(replica));
            rounds += 1;
            assert!(rounds < 200, "no rest: {self:#?}");
        }
        self.check_trust();
        self.must_be_whole();
    }

    fn must_be_whole(&self) {
        let held = self.secret.as_ref().and_then(|secret| secret.is.as_ref().ok()).expect("a good Secret");
        let authorities = &held.authorities;
        let active: Vec<_> =
            authorities.iter().filter(|authority| authority.state == State::Active).collect();
        assert_eq!(active.len(), 1);
        assert!(active[0].key.is_some());
        for (index, replica) in self.replicas.iter().enumerate() {
            assert!(is_ready(&self.observe(index), &replica.memory), "{index} is not ready");
            let leaf = replica.memory.live_leaf(self.now).expect("a leaf");
            assert_eq!(leaf.issuer.id, active[0].certificate.id);
        }
        let held = in_order(authorities.iter().map(|authority| authority.certificate.clone()));
        for registered in self.configurations.iter().flatten() {
            assert_eq!(registered.is.webhooks[0].bundle, held);
            assert!(
                registered.is.is_armed() && registered.is.is_right() && !registered.repairing,
                "{registered:?}"
            );
        }
    }

    fn active(&self) -> Fingerprint {
        let authorities =
            &self.secret.as_ref().expect("a Secret").is.as_ref().expect("a good one").authorities;
        authorities
            .iter()
            .find(|authority| authority.state == State::Active)
            .expect("one signs")
            .certificate
            .id
    }
}

fn events() -> impl Strategy<Value = Event> {
    let replica = || 0..REPLICAS;
    let kind = || 0..2_usize;
    let pass = prop_oneof![4 => 1..8_i64, 4 => 8..60_i64, 2 => 60..500_i64, 1 => 500..4000_i64];
    let skew = prop_oneof![Just(0), -20..20_i64, -9999..9999_i64];
    prop_oneof![
        12 => replica().prop_map(Event::Look),
        18 => replica().prop_map(Event::Act),
        14 => replica().prop_map(Event::Keep),
        14 => pass.prop_map(|passed| Event::Pass(seconds(passed))),
        3 => replica().prop_map(Event::Restart),
        2 => Just(Event::LoseSecret),
        2 => Just(Event::CorruptSecret),
        1 => kind().prop_map(Event::LoseConfiguration),
        2 => kind().prop_map(Event::MakeConfiguration),
        1 => kind().prop_map(Event::ClearBundle),
        2 => kind().prop_map(Event::Replace),
        1 => kind().prop_map(Event::ChangeRules),
        2 => (replica(), skew).prop_map(|(replica, skew)| Event::StepClock(replica, seconds(skew))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_every_leaf_is_trusted_and_it_comes_to_rest(events in prop::collection::vec(events(), 1..120)) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
        }
        world.come_to_rest();
    }

    #[test]
    fn after_whatever_happened_cas_are_renewed_without_a_gap(events in prop::collection::vec(events(), 0..40)) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
        }
        world.come_to_rest();
        // It may come at the very end of a CA's life, too late for a successor.
        for round in 0..40 {
            world.now += seconds(10);
            world.keep(round % REPLICAS);
        }
        let first = world.active();
        for round in 0..600 {
            world.now += seconds(10);
            world.check_trust();
            world.keep(round % REPLICAS);
            for replica in &world.replicas {
                prop_assert!(replica.memory.live_leaf(world.now).is_some(), "a leaf has expired");
            }
        }
        world.come_to_rest();
        prop_assert_ne!(world.active(), first);
        let held = world.secret.as_ref().unwrap().is.as_ref().unwrap().authorities.len();
        prop_assert!(held <= 3, "{} CAs are held", held);
    }
}
