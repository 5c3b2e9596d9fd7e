//! Probes over HTTP, as the kubelet makes them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::plain_http::is_fine;
use serde_json::Value;

/// A probe and what it has found so far.
pub(super) struct Probe {
    port: u16,
    path: String,
    period: Duration,
    timeout: Duration,
    threshold: u64,
    next: Instant,
    failures: u64,
    /// True if it succeeded when last run; a probe that never ran has not.
    pub(super) holds: bool,
}

impl Probe {
    /// Reads a container's `startupProbe` and so on; `None` if it has none.
    pub(super) fn of(container: &Value, kind: &str, ports: &BTreeMap<u64, u16>) -> Option<Self> {
        let probe = container.get(kind)?;
        let seconds = |field: &str, default| Duration::from_secs(probe[field].as_u64().unwrap_or(default));
        Some(Self {
            port: *ports.get(&port_number(container, &probe["httpGet"]["port"])?)?,
            path: probe["httpGet"]["path"].as_str()?.to_owned(),
            period: seconds("periodSeconds", 10),
            timeout: seconds("timeoutSeconds", 1),
            threshold: probe["failureThreshold"].as_u64().unwrap_or(3),
            next: Instant::now() + seconds("initialDelaySeconds", 0),
            failures: 0,
            holds: false,
        })
    }

    /// Asks, if it is time to.
    pub(super) async fn ask(&mut self) {
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + self.period;
        let answer = tokio::time::timeout(self.timeout, is_fine(self.port, &self.path)).await;
        if answer.unwrap_or(false) {
            self.failures = 0;
            self.holds = true;
        } else {
            self.failures += 1;
            self.holds &= !self.has_failed();
        }
    }

    /// Returns true if it failed in a row as often as its threshold.
    pub(super) fn has_failed(&self) -> bool {
        self.failures >= self.threshold
    }
}

/// A port by its number or by the name that the container gives it.
fn port_number(container: &Value, port: &Value) -> Option<u64> {
    port.as_u64().or_else(|| {
        let named = container["ports"].as_array()?.iter().find(|declared| declared["name"] == *port)?;
        named["containerPort"].as_u64()
    })
}
