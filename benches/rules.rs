//! The cost of an evaluation without a server: `cargo bench --bench rules`.
//!
//! Every figure includes freeing what was allocated, since the server pays for that too.

#[path = "support/reviews.rs"]
mod reviews;

use std::{fmt, sync::LazyLock};

use divan::{Bencher, black_box, counter::BytesCount};
use sandgate_engine::{
    json::{Value, pod_from_str, write_patch},
    pod::Pod,
    policy::{Policy, PolicySet, Profile},
    review::{self, Answer, Endpoint, Request},
    rules::{self, Group},
    violations::Violations,
};

use reviews::{Kind, SMALL};

fn main() {
    divan::main();
}

static POLICIES: LazyLock<PolicySet> = LazyLock::new(PolicySet::builtin);

fn policy() -> &'static Policy {
    &POLICIES.policies()[0]
}

fn profile() -> &'static Profile {
    policy().base()
}

/// A review to answer.
struct Case {
    name: &'static str,
    body: LazyLock<Vec<u8>>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name)
    }
}

static CASES: [Case; 7] = [
    Case { name: "6 kB to fill", body: LazyLock::new(|| reviews::create(Kind::Plain, SMALL)) },
    Case { name: "6 kB complete", body: LazyLock::new(|| reviews::create(Kind::Complete, SMALL)) },
    Case { name: "100 kB to fill", body: LazyLock::new(|| reviews::create(Kind::Plain, 100_000)) },
    Case { name: "100 kB complete", body: LazyLock::new(|| reviews::create(Kind::Complete, 100_000)) },
    Case { name: "1 MB to fill", body: LazyLock::new(|| reviews::create(Kind::Plain, 1_000_000)) },
    Case { name: "1 MB complete", body: LazyLock::new(|| reviews::create(Kind::Complete, 1_000_000)) },
    Case { name: "3 MB update", body: LazyLock::new(|| reviews::update(3_000_000)) },
];

/// All of it: bytes in, bytes out.
#[divan::bench(args = &CASES)]
fn answer(bencher: Bencher, case: &Case) {
    let body = case.body.as_slice();
    bencher.counter(BytesCount::new(body.len())).bench(|| {
        black_box(answered(body));
    });
}

/// Reading alone: from bytes to the tree.
#[divan::bench(args = &CASES)]
fn read(bencher: Bencher, case: &Case) {
    let body = case.body.as_slice();
    bencher.counter(BytesCount::new(body.len())).bench(|| {
        black_box(Request::read(body).expect("it is a review"));
    });
}

/// The yardstick: what a webhook pays that reads everything into owned values, and does nothing with them.
#[divan::bench(args = &CASES)]
fn serde_json_value(bencher: Bencher, case: &Case) {
    let body = case.body.as_slice();
    bencher.counter(BytesCount::new(body.len())).bench(|| {
        black_box(serde_json::from_slice::<serde_json::Value>(body).expect("it is JSON"));
    });
}

/// Fill and check by every rule, of a Pod that was read already.
#[divan::bench(args = Kind::ALL)]
fn evaluate(bencher: Bencher, kind: Kind) {
    bencher.with_inputs(|| read_pod(kind)).bench_local_refs(|pod| {
        black_box(review::evaluate(policy(), pod, None, review::Defaults::Fill));
    });
}

/// The patch of a Pod that was filled, as JSON.
#[divan::bench]
fn patch(bencher: Bencher) {
    let mut pod = read_pod(Kind::Plain);
    rules::fill(profile(), &mut pod);
    bencher.bench_local(|| {
        black_box(write_patch(&pod));
    });
}

/// The line of the audit trail.
#[divan::bench(args = Kind::ALL)]
fn record_line(bencher: Bencher, kind: Kind) {
    let body = reviews::create(kind, SMALL);
    let record = answered(&body).record;
    bencher.bench_local(|| {
        let mut line = Vec::with_capacity(2048);
        record.write_line(&mut line, "2026-11-24T12:00:00.000Z", 42);
        black_box(line);
    });
}

/// A group of rules, shown by its name.
struct NamedGroup(Group);

impl fmt::Display for NamedGroup {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

fn groups() -> Vec<NamedGroup> {
    Group::ALL.map(NamedGroup).into()
}

/// The fill of one group, of a Pod that has nothing.
#[divan::bench(args = groups())]
fn fill(bencher: Bencher, group: &NamedGroup) {
    let rules: Vec<_> = group.0.rules().collect();
    bencher.with_inputs(|| read_pod(Kind::Plain)).bench_local_refs(|pod| {
        for fill in rules.iter().filter_map(|rule| rule.fill) {
            fill(profile(), pod);
        }
    });
}

/// The check of one group, of a Pod that has everything.
#[divan::bench(args = groups())]
fn check(bencher: Bencher, group: &NamedGroup) {
    let rules: Vec<_> = group.0.rules().collect();
    let root = read_pod(Kind::Complete);
    let pod = Pod::of(&root, profile());
    bencher.bench_local(|| {
        let mut violations = Violations::default();
        for rule in &rules {
            rule.check_into(&pod, &mut violations);
        }
        black_box(violations);
    });
}

fn answered(body: &[u8]) -> Answer<'_> {
    review::answer(&POLICIES, Endpoint::Mutate, None, body).expect("it is a review")
}

fn read_pod(kind: Kind) -> Value<'static> {
    static PLAIN: LazyLock<String> = LazyLock::new(|| reviews::pod(Kind::Plain, SMALL).to_string());
    static COMPLETE: LazyLock<String> = LazyLock::new(|| reviews::pod(Kind::Complete, SMALL).to_string());
    let text = match kind {
        Kind::Plain => &PLAIN,
        Kind::Complete => &COMPLETE,
    };
    pod_from_str(text).expect("it is JSON")
}
