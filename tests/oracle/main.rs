//! Nothing escapes: the engine against an independent statement of the policy, over generated policies and Pods.
//!
//! `SANDGATE_PROVE_CASES=1000000 cargo test --release --test oracle -- --nocapture` proves at length and prints
//! figures; each such run draws other Pods. Without the variable the Pods are always the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod advice;
mod apiserver;
mod attacks;
mod backstop;
mod counterexamples;
mod distribution;
mod edits;
mod exhaustive;
mod generated;
mod generator;
mod oracle;
mod patterns;
mod policies;
mod policy;
mod properties;
mod quantity;
mod remedies;
mod rule_cases;
mod schema;
mod shrink;
mod stored;
mod values;

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

/// How many cases the longest property gets: without optimisation two thousand take ten seconds.
fn cases() -> usize {
    wanted_cases().unwrap_or(2_000)
}

fn wanted_cases() -> Option<usize> {
    std::env::var("SANDGATE_PROVE_CASES")
        .ok()
        .map(|cases| cases.parse().expect("SANDGATE_PROVE_CASES: a number"))
}

/// Draws values from `strategy`: the same ones each time, unless this is a proof at length.
fn draw<S: Strategy>(strategy: S, count: usize) -> impl Iterator<Item = S::Value> {
    draw_as(0, strategy, count)
}

/// Draws as one of several workers, each of which draws other values.
fn draw_as<S: Strategy>(worker: u8, strategy: S, count: usize) -> impl Iterator<Item = S::Value> {
    let seed = if wanted_cases().is_some() { fresh_seed() } else { [worker; 32] };
    draw_with(seed, strategy, count)
}

/// Draws the values that belong to a number.
fn draw_seeded<S: Strategy>(seed: u64, strategy: S, count: usize) -> impl Iterator<Item = S::Value> {
    let mut whole = [0; 32];
    whole[..8].copy_from_slice(&seed.to_le_bytes());
    draw_with(whole, strategy, count)
}

fn draw_with<S: Strategy>(seed: [u8; 32], strategy: S, count: usize) -> impl Iterator<Item = S::Value> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    (0..count).map(move |_| strategy.new_tree(&mut runner).unwrap().current())
}

/// Lets as many workers do a part of `work` as there are processors, and gives what each of them found.
fn in_parallel<T: Send>(work: impl Fn(u8, u8) -> T + Sync) -> Vec<T> {
    let workers = std::thread::available_parallelism().map_or(1, |count| count.get().min(8));
    let workers = u8::try_from(workers).unwrap();
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..workers).map(|worker| scope.spawn(move || work(worker, workers))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a worker")).collect()
    })
}

/// The share of `count` that one of `workers` does; none of it is lost.
fn share(count: usize, worker: u8, workers: u8) -> usize {
    let (worker, workers) = (usize::from(worker), usize::from(workers));
    count / workers + usize::from(worker < count % workers)
}

fn fresh_seed() -> [u8; 32] {
    use std::hash::{BuildHasher, RandomState};
    let mut seed = [0; 32];
    for (index, part) in seed.chunks_mut(8).enumerate() {
        part.copy_from_slice(&RandomState::new().hash_one(index).to_le_bytes());
    }
    seed
}
