//! Alerts and dashboards, by the real promtool and the real Prometheus.

mod alerts;
mod dashboard;
mod prometheus;

use testbed::harness::missing_program;

/// Fails the test with what to install, if Prometheus is missing.
#[track_caller]
fn require_prometheus() {
    let missing = ["prometheus", "promtool"].into_iter().find_map(|tool| missing_program(tool, "prometheus"));
    assert_eq!(missing, None);
}
