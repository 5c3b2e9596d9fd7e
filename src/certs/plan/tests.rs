//! The planner, case by case.

use super::*;
use crate::certs::ca::PrivateKey;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const DAY: SignedDuration = SignedDuration::from_hours(24);
const LIFETIMES: Lifetimes = Lifetimes::DEFAULT;

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

/// A CA that was made so many days ago.
fn authority(number: u8, state: State, days: i32) -> Authority {
    let made = NOW - DAY * days;
    let (not_before, not_after) = (made - BACKDATED, made + LIFETIMES.authority);
    let certificate =
        Certificate { id: Fingerprint([number; 32]), pem: String::new(), not_before, not_after };
    Authority { certificate, key: Some(PrivateKey(String::new())), state, since: made }
}

fn active(number: u8) -> Authority {
    authority(number, State::Active, 10)
}

fn bundle(authorities: &[&Authority]) -> Vec<Certificate> {
    authorities.iter().map(|authority| authority.certificate.clone()).collect()
}

/// A configuration that was published long ago.
#[allow(clippy::unnecessary_wraps, reason = "as it stands in what is seen")]
fn publishes(authorities: &[&Authority], rules: Rules) -> Option<Configuration> {
    let webhook = Webhook { bundle: bundle(authorities), rules };
    let webhooks = vec![webhook.clone(), webhook];
    Some(Configuration { webhooks, changed: Some(NOW - DAY), is_applied: false })
}

fn armed(authorities: &[&Authority]) -> [Option<Configuration>; 2] {
    [publishes(authorities, Rules::Right), publishes(authorities, Rules::Right)]
}

fn seen(secret: Secret, configurations: [Option<Configuration>; 2]) -> Observed {
    let observed =
        Observed { now: NOW, skew: SignedDuration::ZERO, secret, was_armed: [false; 2], configurations };
    Observed { was_armed: observed.armed(), ..observed }
}

/// A replica that serves a fresh leaf of this CA.
fn serves(authority: &Authority) -> Memory {
    let leaf = Leaf { issuer: authority.certificate.clone(), issued: NOW - DAY, not_after: NOW + DAY * 6 };
    Memory {
        authorities: vec![authority.clone()],
        leaf: Some(leaf),
        is_reachable: true,
        was_armed: [false; 2],
    }
}

fn planned(observed: &Observed, memory: &Memory) -> Plan {
    plan(observed, memory, LIFETIMES)
}

fn states(write: &Write) -> Vec<(u8, State)> {
    write.authorities.iter().map(|authority| (authority.certificate.id.0[0], authority.state)).collect()
}

#[test]
fn the_first_replica_of_all_makes_a_ca() {
    let plan = planned(&seen(Secret::Absent, [None, None]), &Memory::default());
    assert_eq!(
        plan.write,
        Some(Write { authorities: Vec::new(), mint: Some(State::Active), was_armed: [false; 2] })
    );
    assert_eq!((plan.publish, plan.sign), (Vec::new(), None));
}

#[test]
fn a_ca_is_published_before_it_signs_and_webhooks_are_armed_once_we_can_be_reached() {
    let ca = active(1);
    let secret = Secret::Holds(vec![ca.clone()]);
    let unarmed = |authorities: &[&Authority]| [publishes(authorities, Rules::Missing), None];

    let plan = planned(&seen(secret.clone(), unarmed(&[])), &Memory::default());
    let publish = |arm| vec![Publish { kind: Kind::Mutating, bundle: bundle(&[&ca]), arm }];
    assert_eq!((plan.publish, plan.sign), (publish(false), None));

    let observed = seen(secret, unarmed(&[&ca]));
    let plan = planned(&observed, &Memory::default());
    assert_eq!(plan.publish, []);
    assert_eq!(plan.sign, Some(Sign { issuer: ca.clone(), not_after: NOW + LIFETIMES.leaf }));

    let mut memory = serves(&ca);
    memory.is_reachable = false;
    assert!(is_ready(&observed, &memory));
    assert!(planned(&observed, &memory).is_empty());
    memory.is_reachable = true;
    assert_eq!(planned(&observed, &memory).publish, publish(true));
}

#[test]
fn pods_are_filled_before_what_is_not_filled_is_rejected() {
    let ca = active(1);
    let unarmed = || publishes(&[&ca], Rules::Missing);
    let armed = |configurations: [Option<Configuration>; 2]| {
        let plan = planned(&seen(Secret::Holds(vec![ca.clone()]), configurations), &serves(&ca));
        plan.publish.iter().map(|publish| publish.kind).collect::<Vec<_>>()
    };
    assert_eq!(armed([unarmed(), unarmed()]), [Kind::Mutating]);
    for (changed, then) in [(NOW - seconds(4), vec![]), (NOW - seconds(5), vec![Kind::Validating])] {
        let mut mutating = publishes(&[&ca], Rules::Right);
        mutating.as_mut().unwrap().changed = Some(changed);
        assert_eq!(armed([mutating, unarmed()]), then, "{changed}");
    }
    assert_eq!(armed([None, unarmed()]), [Kind::Validating], "where nothing is filled nothing is waited for");
}

#[test]
fn api_servers_are_given_the_time_to_notice_a_bundle() {
    let (old, new) = (active(1), active(2));
    let mut observed = seen(Secret::Holds(vec![new.clone()]), armed(&[&old, &new]));
    for (changed, signs) in [(NOW - seconds(4), false), (NOW - seconds(5), true)] {
        observed.configurations[1].as_mut().unwrap().changed = Some(changed);
        assert_eq!(planned(&observed, &serves(&old)).sign.is_some(), signs, "{changed}");
    }
}

#[test]
fn outdated_rules_are_replaced_at_once() {
    let ca = active(1);
    let configurations = [publishes(&[&ca], Rules::Outdated), publishes(&[&ca], Rules::Right)];
    let plan = planned(&seen(Secret::Holds(vec![ca.clone()]), configurations), &Memory::default());
    assert_eq!(plan.publish, [Publish { kind: Kind::Mutating, bundle: bundle(&[&ca]), arm: true }]);
}

#[test]
fn at_two_thirds_of_its_life_a_ca_gets_a_successor() {
    for (days, successor) in [(243, None), (244, Some(State::Pending))] {
        let ca = authority(1, State::Active, days);
        let plan = planned(&seen(Secret::Holds(vec![ca.clone()]), armed(&[&ca])), &serves(&ca));
        assert_eq!(plan.write.and_then(|write| write.mint), successor, "{days}");
    }
}

#[test]
fn a_successor_signs_once_it_was_published_everywhere_for_five_minutes() {
    let old = authority(1, State::Active, 250);
    let mut new = authority(2, State::Pending, 0);
    let promoted = |new: &Authority, configurations| {
        let secret = Secret::Holds(vec![old.clone(), new.clone()]);
        planned(&seen(secret, configurations), &serves(&old)).write.map(|write| states(&write))
    };
    new.since = NOW - seconds(299);
    assert_eq!(promoted(&new, armed(&[&old, &new])), None);
    new.since = NOW - seconds(300);
    let mut lagging = armed(&[&old, &new]);
    lagging[1] = publishes(&[&old], Rules::Right);
    assert_eq!(promoted(&new, lagging), None);
    let states = promoted(&new, armed(&[&old, &new]));
    assert_eq!(states, Some(vec![(1, State::Retiring), (2, State::Active)]));
}

#[test]
fn a_retired_ca_leaves_the_bundles_first_and_then_the_secret() {
    let (mut old, new) = (authority(1, State::Retiring, 260), active(2));
    let secret = |old: &Authority| Secret::Holds(vec![old.clone(), new.clone()]);
    old.since = NOW - LIFETIMES.leaf - seconds(3599);
    assert!(planned(&seen(secret(&old), armed(&[&old, &new])), &serves(&new)).is_empty());

    old.since = NOW - LIFETIMES.leaf - seconds(3600);
    let plan = planned(&seen(secret(&old), armed(&[&old, &new])), &serves(&new));
    assert_eq!(plan.write, None);
    assert!(plan.publish.iter().all(|publish| publish.bundle == bundle(&[&new])) && plan.publish.len() == 2);

    let plan = planned(&seen(secret(&old), armed(&[&new])), &serves(&new));
    assert_eq!(plan.write.map(|write| states(&write)), Some(vec![(2, State::Active)]));
}

#[test]
fn a_lost_or_corrupt_secret_is_written_again_from_memory() {
    let ca = active(1);
    for secret in [Secret::Absent, Secret::Corrupt("garbage".into())] {
        let plan = planned(&seen(secret, armed(&[&ca])), &serves(&ca));
        assert_eq!(
            plan.write,
            Some(Write { authorities: vec![ca.clone()], mint: None, was_armed: [true; 2] })
        );
        assert_eq!((plan.publish, plan.sign), (Vec::new(), None));
    }
}

#[test]
fn what_a_fresh_replica_finds_published_goes_on_being_trusted() {
    let ca = active(1);
    let plan = planned(&seen(Secret::Absent, armed(&[&ca])), &Memory::default());
    let kept = Authority::trusted_only(ca.certificate, NOW);
    assert_eq!(
        plan.write,
        Some(Write { authorities: vec![kept], mint: Some(State::Active), was_armed: [true; 2] })
    );
}

#[test]
fn a_replica_whose_ca_the_secret_has_lost_adds_it_and_follows_when_the_new_one_is_published() {
    let (old, new) = (active(1), active(2));
    let secret = Secret::Holds(vec![new.clone()]);
    let plan = planned(&seen(secret.clone(), armed(&[])), &serves(&old));
    assert_eq!(plan.write.map(|write| states(&write)), Some(vec![(2, State::Active), (1, State::Retiring)]));
    assert_eq!(plan.publish.len(), 2);
    assert!(plan.publish.iter().all(|publish| publish.bundle == bundle(&[&old, &new])));
    assert_eq!(plan.sign, None);
    let plan = planned(&seen(secret, armed(&[&old, &new])), &serves(&old));
    assert_eq!(plan.sign.map(|sign| sign.issuer), Some(new));
}

#[test]
fn a_leaf_is_renewed_at_two_thirds_of_its_life_and_never_outlives_its_ca() {
    let ca = active(1);
    let mut memory = serves(&ca);
    let mut observed = seen(Secret::Holds(vec![ca.clone()]), armed(&[&ca]));
    for (age, renews) in [(LIFETIMES.leaf / 3 * 2 - seconds(1), false), (LIFETIMES.leaf / 3 * 2, true)] {
        memory.leaf.as_mut().unwrap().issued = NOW - age;
        memory.leaf.as_mut().unwrap().not_after = NOW - age + LIFETIMES.leaf;
        assert_eq!(planned(&observed, &memory).sign.is_some(), renews, "{age}");
    }
    observed.now = ca.certificate.not_after - DAY;
    let sign = planned(&observed, &Memory::default()).sign.unwrap();
    assert_eq!(sign.not_after, ca.certificate.not_after);
}

#[test]
fn with_a_clock_that_is_wrong_the_secret_is_left_alone_and_the_rest_goes_on() {
    let ca = authority(1, State::Active, 300);
    let mut observed = seen(Secret::Holds(vec![ca.clone()]), armed(&[]));
    for (skew, writes) in [(300, true), (-300, true), (301, false), (-301, false)] {
        observed.skew = seconds(skew);
        let plan = planned(&observed, &serves(&ca));
        assert_eq!((plan.write.is_some(), plan.publish.len()), (writes, 2), "{skew}");
    }
}

#[test]
fn an_expired_ca_is_replaced_and_forgotten() {
    let ca = authority(1, State::Active, 400);
    let plan = planned(&seen(Secret::Holds(vec![ca.clone()]), armed(&[&ca])), &Memory::default());
    assert_eq!(
        plan.write,
        Some(Write { authorities: Vec::new(), mint: Some(State::Active), was_armed: [true; 2] })
    );
    assert_eq!(plan.sign, None);
}

#[test]
fn of_two_cas_that_sign_the_newer_goes_on_and_one_without_a_key_signs_nothing() {
    let (older, newer) = (authority(1, State::Active, 20), authority(2, State::Active, 10));
    let secret = Secret::Holds(vec![older.clone(), newer.clone()]);
    let plan = planned(&seen(secret, armed(&[&older, &newer])), &serves(&older));
    assert_eq!(plan.write.map(|write| states(&write)), Some(vec![(1, State::Retiring), (2, State::Active)]));

    let mut keyless = active(1);
    keyless.key = None;
    let plan = planned(&seen(Secret::Holds(vec![keyless.clone()]), armed(&[&keyless])), &Memory::default());
    assert_eq!(plan.write.and_then(|write| write.mint), Some(State::Active));
    assert_eq!(plan.sign, None);
}

#[test]
fn what_is_due_is_listed_the_soonest_first() {
    let (ca, mut next) = (authority(1, State::Active, 250), authority(2, State::Pending, 0));
    next.since = NOW - seconds(100);
    let observed = seen(Secret::Holds(vec![ca.clone(), next.clone()]), [None, None]);
    let due = due(&observed, &serves(&ca), LIFETIMES);
    let what: Vec<_> = due.iter().map(|due| (due.what, due.at.duration_since(NOW))).collect();
    let renewal = LIFETIMES.leaf / 3 * 2 - DAY;
    assert_eq!(what, [(Upkeep::Promote(next.certificate.id), seconds(200)), (Upkeep::Renew, renewal)]);
}

#[test]
fn who_has_not_looked_for_as_long_as_a_leaf_lives_restores_nothing() {
    let ca = active(1);
    let mut memory = serves(&ca);
    memory.leaf.as_mut().unwrap().not_after = NOW;
    let plan = planned(&seen(Secret::Absent, [None, None]), &memory);
    assert_eq!(
        plan.write,
        Some(Write { authorities: Vec::new(), mint: Some(State::Active), was_armed: [false; 2] })
    );
}

#[test]
fn what_another_writer_published_is_kept() {
    let (ca, unknown) = (active(1), active(2));
    let configurations = [publishes(&[&unknown], Rules::Right), publishes(&[&ca], Rules::Right)];
    let plan = planned(&seen(Secret::Holds(vec![ca.clone()]), configurations), &serves(&ca));
    assert!(plan.publish.iter().all(|publish| publish.bundle == bundle(&[&ca, &unknown])));
    assert_eq!(plan.publish.len(), 2);
    assert_eq!(plan.write.map(|write| states(&write)), Some(vec![(1, State::Active), (2, State::Retiring)]));
}

#[test]
fn a_replaced_configuration_is_rearmed_in_one_write_by_a_replica_without_a_leaf() {
    let ca = active(1);
    let replaced = || publishes(&[], Rules::Missing);
    let mut observed = seen(Secret::Holds(vec![ca.clone()]), [replaced(), replaced()]);
    observed.was_armed = [true; 2];
    let rearmed = Kind::ALL.map(|kind| Publish { kind, bundle: bundle(&[&ca]), arm: true });
    assert_eq!(planned(&observed, &Memory::default()).publish, rearmed);

    observed.was_armed = [false, true];
    let armed: Vec<_> = planned(&observed, &Memory::default()).publish.iter().map(|it| it.arm).collect();
    assert_eq!(armed, [false, true], "each configuration by itself");

    observed.was_armed = [false; 2];
    let memory = Memory { was_armed: [true; 2], ..Memory::default() };
    assert_eq!(
        planned(&observed, &memory).publish,
        rearmed,
        "what is remembered counts like what is recorded"
    );
}

#[test]
fn that_a_configuration_was_armed_is_recorded_and_never_taken_back() {
    let ca = active(1);
    let mut observed = seen(Secret::Holds(vec![ca.clone()]), armed(&[&ca]));
    assert_eq!(planned(&observed, &serves(&ca)).write, None);
    observed.was_armed = [true, false];
    let write = Write { authorities: vec![ca.clone()], mint: None, was_armed: [true; 2] };
    assert_eq!(planned(&observed, &serves(&ca)).write, Some(write));
    observed.was_armed = [true; 2];
    observed.configurations = [None, None];
    assert_eq!(planned(&observed, &serves(&ca)).write, None);
}

#[test]
fn a_configuration_that_an_earlier_version_applied_is_written_once_more() {
    let ca = active(1);
    let mut observed = seen(Secret::Holds(vec![ca.clone()]), armed(&[&ca]));
    observed.configurations[1].as_mut().unwrap().is_applied = true;
    let publish = Publish { kind: Kind::Validating, bundle: bundle(&[&ca]), arm: true };
    assert_eq!(planned(&observed, &serves(&ca)).publish, [publish]);
}
