//! Nothing escapes: the engine against an independent oracle of the default policy, over generated Pods.
//!
//! `SANDGATE_PROVE_CASES=1000000 cargo test --release --test oracle -- --nocapture` proves at length and prints
//! figures; each such run draws other Pods. Without the variable the Pods are always the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[cfg(feature = "server")]
#[path = "../bed/mod.rs"]
mod bed;

mod apiserver;
mod counterexamples;
mod generator;
mod oracle;
mod places;
mod properties;
mod quantity;
#[cfg(feature = "server")]
mod stored;
mod sweep;

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

/// How many cases the longest property gets: without optimisation ten thousand take twenty seconds.
fn cases() -> usize {
    wanted_cases().unwrap_or(10_000)
}

fn wanted_cases() -> Option<usize> {
    std::env::var("SANDGATE_PROVE_CASES")
        .ok()
        .map(|cases| cases.parse().expect("SANDGATE_PROVE_CASES: a number"))
}

/// Draws values from `strategy`: the same ones each time, unless this is a proof at length.
fn draw<S: Strategy>(strategy: S, count: usize) -> impl Iterator<Item = S::Value> {
    let algorithm = RngAlgorithm::ChaCha;
    let rng = match wanted_cases() {
        Some(_) => TestRng::from_seed(algorithm, &fresh_seed()),
        None => TestRng::deterministic_rng(algorithm),
    };
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    (0..count).map(move |_| strategy.new_tree(&mut runner).unwrap().current())
}

fn fresh_seed() -> [u8; 32] {
    use std::hash::{BuildHasher, RandomState};
    let mut seed = [0; 32];
    for (index, part) in seed.chunks_mut(8).enumerate() {
        part.copy_from_slice(&RandomState::new().hash_one(index).to_le_bytes());
    }
    seed
}
