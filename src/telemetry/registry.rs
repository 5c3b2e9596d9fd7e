//! Helpers to register metrics. Each component owns its metrics and registers them before the first request.

use std::{fmt::Debug, hash::Hash};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric},
    metrics::{
        TypedMetric,
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
    },
    registry::{Registry, Unit},
};

/// The label of a metric that counts outcomes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

/// Counts attempts by their outcome, in one metric with the label `result`.
#[derive(Debug, Clone)]
pub struct Attempts {
    /// Counts attempts that succeeded, as `result="ok"`.
    pub succeeded: Counter,
    /// Counts attempts that failed, as `result="failed"`.
    pub failed: Counter,
}

impl Attempts {
    /// Registers the metric `name`.
    pub fn register(registry: &mut Registry, name: &str, help: &str) -> Self {
        let results = family(registry, name, help);
        Self { succeeded: of_result(&results, "ok"), failed: of_result(&results, "failed") }
    }
}

/// Counts things that are sent asynchronously, in one metric with the label `result`.
#[derive(Debug, Clone)]
pub struct Deliveries {
    /// Counts what arrived, as `result="ok"`.
    pub succeeded: Counter,
    /// Counts what could not be sent, as `result="failed"`.
    pub failed: Counter,
    /// Counts what found the queue full, as `result="dropped"`.
    pub dropped: Counter,
}

impl Deliveries {
    /// Registers the metric `name`.
    pub fn register(registry: &mut Registry, name: &str, help: &str) -> Self {
        let results = family(registry, name, help);
        let of = |result| of_result(&results, result);
        Self { succeeded: of("ok"), failed: of("failed"), dropped: of("dropped") }
    }
}

fn of_result(results: &Family<ResultLabels, Counter>, result: &'static str) -> Counter {
    results.get_or_create_owned(&ResultLabels { result })
}

/// Counts something in progress: one more from its creation until it is dropped.
#[derive(Debug)]
pub struct GaugeGuard<'g>(&'g Gauge);

impl<'g> GaugeGuard<'g> {
    /// Increments the gauge until the guard is dropped.
    #[must_use]
    pub fn new(gauge: &'g Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for GaugeGuard<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Registers a counter; `_total` is appended to its name.
pub fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

/// Registers a gauge and returns it.
pub fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

/// Registers a gauge in seconds; `_seconds` is appended to its name.
pub fn gauge_of_seconds(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register_with_unit(name, help, Unit::Seconds, gauge.clone());
    gauge
}

/// Registers a family: one metric for each set of labels.
pub fn family<L, M>(registry: &mut Registry, name: &str, help: &str) -> Family<L, M>
where
    L: EncodeLabelSet + Hash + Eq + Clone + Debug + Send + Sync + 'static,
    M: EncodeMetric + TypedMetric + Default + Debug + Send + Sync + 'static,
{
    let family = Family::default();
    registry.register(name, help, family.clone());
    family
}

/// Makes the metric of these labels appear at zero before anything is counted.
pub fn create<L, M, C>(family: &Family<L, M, C>, labels: &L)
where
    L: Clone + Hash + Eq,
    C: MetricConstructor<M>,
{
    drop(family.get_or_create(labels));
}
