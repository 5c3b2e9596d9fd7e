//! Nothing escapes, on the wire: generated Pods go to a real API server with the real sandgate in front, and what is
//! stored of them is checked.
//!
//! `SANDGATE_PROVE_STORED=20000 cargo test --release --test oracle stored -- --nocapture` sends that many.

mod answers;
mod enforced;
mod examine;
mod figures;
mod fixture;
mod restrained;
mod settings;

use proptest::prelude::*;
use serde_json::Value as Json;

use crate::{
    draw,
    generator::{self, Case},
};

/// So many requests are under way at once.
const CLIENTS: usize = 12;

/// How many Pods the default policy gets: without optimisation these take some seconds.
fn pods() -> usize {
    let wanted = std::env::var("SANDGATE_PROVE_STORED").ok();
    wanted.map_or(300, |pods| pods.parse().expect("SANDGATE_PROVE_STORED: a number"))
}

/// How many another policy gets.
fn fewer_pods() -> usize {
    (pods() / 10).max(100)
}

/// Pods of every kind, and some more that are meant to be stored. Each has its number.
fn drawn(count: usize) -> impl Iterator<Item = (usize, Case)> {
    let cases = draw(prop_oneof![5 => generator::cases(), 1 => generator::sound_cases()], count);
    cases.enumerate().filter(|(_, case)| can_be_answered(&case.pod()))
}

/// The API server computes ten to the power of any exponent, to the last digit: it never answers to `1e2147483648`.
pub(crate) fn can_be_answered(pod: &Json) -> bool {
    const DIGITS: usize = 5;
    match pod {
        Json::String(text) => {
            let exponent = text.rsplit_once(['e', 'E']).map_or("", |(_, exponent)| exponent);
            exponent.len() < DIGITS || exponent.parse::<i64>().is_err()
        }
        Json::Array(list) => list.iter().all(can_be_answered),
        Json::Object(fields) => fields.values().all(can_be_answered),
        _ => true,
    }
}
