//! Alerts and dashboards, by the real promtool and the real Prometheus.

mod alerts;
mod dashboard;
mod prometheus;

use std::{process::Command, thread};

use testbed::say;

/// Whether Prometheus is there; says so where it is not.
fn has_prometheus() -> bool {
    let found =
        ["prometheus", "promtool"].iter().all(|tool| Command::new(tool).arg("--version").output().is_ok());
    if !found {
        let test = thread::current();
        let test = test.name().unwrap_or("a test");
        say(&format!("SKIPPED {test}: prometheus is not installed (apt-get install prometheus)"));
    }
    found
}
