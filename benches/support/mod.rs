//! Shared parts of the benchmarks of servers: the reviews, and the servers that answer them.

#![allow(dead_code, reason = "each benchmark uses its part of it")]

pub(crate) mod certificate;
pub(crate) mod pods;
pub(crate) mod process;
pub(crate) mod reviews;
pub(crate) mod server;
pub(crate) mod typed;
pub(crate) mod webhook;

use std::time::Duration;

/// Any error, which ends the benchmark; its text is for people.
pub(crate) type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Returns a time in microseconds.
pub(crate) fn in_micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
