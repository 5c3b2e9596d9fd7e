//! sandgate installed by its chart in a real cluster, in front of Pods that really run: in gVisor.
//!
//! Needs root on Linux and some packages; where the cluster cannot be had the tests are skipped, and say why.

#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod attacks;
mod doors;
mod ground;
mod healing;
mod kubectl;
mod limits;
mod pods;
mod running;
mod shared;
mod watching;
