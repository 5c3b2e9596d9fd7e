//! sandgate installed by its chart in a real cluster, in front of Pods that really run: in gVisor.
//!
//! The tests need root on Linux and some packages. On a machine that cannot hold the cluster they are shown as ignored,
//! with the reason.

#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod attack_surface;
mod attacks;
mod doctor;
mod engines;
mod exhaustion;
mod healing;
mod kubectl;
mod limits;
mod network;
mod pods;
mod requirements;
mod running;
mod shared;
mod watching;
mod writes;

use std::process::ExitCode;

use testbed::{cannot_run, harness::run};

fn main() -> ExitCode {
    let missing = cannot_run();
    let modules = [
        attack_surface::tests(),
        attacks::tests(),
        doctor::tests(),
        engines::tests(),
        exhaustion::tests(),
        healing::tests(),
        kubectl::tests(),
        limits::tests(),
        network::tests(),
        requirements::tests(),
        running::tests(),
        watching::tests(),
        writes::tests(),
    ];
    run(modules.into_iter().flatten().map(|test| test.requires(missing.clone())).collect())
}
