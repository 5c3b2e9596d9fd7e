//! The bound on what a fuzz target may cost: a reader whose work grows faster than its input is a crash.

use sandgate_engine::steps_of;

/// The most steps for each byte. All rules, policies and endpoints of a target together look at the shortest value of a Pod,
/// two bytes, so often.
const STEPS_PER_BYTE: usize = 4_000;
/// The most steps that do not depend on the input.
const BASE: usize = 200_000;

/// Runs a property and panics if it took more steps than the input may cost.
pub(crate) fn bounded(property: fn(&[u8]), data: &[u8]) {
    let steps = steps_of(|| property(data));
    let bound = BASE + STEPS_PER_BYTE * data.len();
    assert!(steps <= bound, "{steps} steps for {} bytes, more than {bound}", data.len());
}
