//! Metrics of verdicts and policies.

use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        TypedMetric,
        counter::Counter,
        family::{Family, MetricConstructor},
        histogram::Histogram,
    },
    registry::{Registry, Unit},
};

use super::review_counters::PolicyMetrics;
use crate::telemetry::registry::{counter, create, family};
use sandgate_engine::{
    policy::PolicySet,
    review::{Endpoint, Record},
    rules::{self, Rule},
};

/// The upper bounds of the duration's buckets, in seconds. A decision takes tens of microseconds; a duration beyond the
/// API server's timeout needs no bucket.
const DURATION_BUCKETS: [f64; 16] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 1.0, 5.0,
];

/// The label of a metric of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EndpointLabels {
    endpoint: &'static str,
}

impl From<Endpoint> for EndpointLabels {
    fn from(endpoint: Endpoint) -> Self {
        Self { endpoint: endpoint.as_str() }
    }
}

/// A metric of each endpoint, so that a review need not search for its labels.
#[derive(Debug, Clone)]
pub struct EndpointMetrics<M> {
    mutate: M,
    validate: M,
}

impl<M: TypedMetric + Clone> EndpointMetrics<M> {
    /// Returns the metrics of a family, at zero.
    pub fn of_family<C: MetricConstructor<M>>(family: &Family<EndpointLabels, M, C>) -> Self {
        let of = |endpoint: Endpoint| family.get_or_create_owned(&endpoint.into());
        Self { mutate: of(Endpoint::Mutate), validate: of(Endpoint::Validate) }
    }

    /// Returns the metric of one endpoint.
    pub fn of(&self, endpoint: Endpoint) -> &M {
        match endpoint {
            Endpoint::Mutate => &self.mutate,
            Endpoint::Validate => &self.validate,
        }
    }
}

/// The label of a metric of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    rule: &'static str,
}

/// Metrics of verdicts and policies.
#[derive(Debug, Clone)]
pub struct ReviewMetrics {
    /// Counts panics of the process.
    pub panics: Counter,
    /// Counts reviews whose sender proved nothing, although API servers must prove who they are.
    pub unverified: Counter,
    policies: PolicyMetrics,
    violations: Family<RuleLabels, Counter>,
    /// A counter for each rule that fills: nearly every review counts several.
    filled_fields: Vec<(&'static Rule, Counter)>,
    duration: EndpointMetrics<Histogram>,
}

impl ReviewMetrics {
    /// Registers the metrics at zero. `panics` is the process's counter of panics.
    pub fn register(registry: &mut Registry, panics: Counter) -> Self {
        let policies = PolicyMetrics::new();
        registry.register_collector(Box::new(policies.clone()));

        let violations = family(registry, "violations", "Violations that were found, by rule");
        for rule in rules::ALL {
            create(&violations, &RuleLabels { rule: rule.id });
        }
        let fields = family(registry, "filled_fields", "Fields that were filled, by rule");
        let filling = rules::ALL.iter().filter(|rule| rule.fill.is_some());
        let counter_of =
            |rule: &&'static Rule| (*rule, fields.get_or_create_owned(&RuleLabels { rule: rule.id }));
        let filled_fields = filling.map(counter_of).collect();

        let duration =
            Family::new_with_constructor((|| Histogram::new(DURATION_BUCKETS)) as fn() -> Histogram);
        let help = "From the last byte of the review to its answer, without the network";
        registry.register_with_unit("admission_duration", help, Unit::Seconds, duration.clone());
        let duration = EndpointMetrics::of_family(&duration);
        let help = "Reviews without the proof of an API server that is asked for; they count nowhere else";
        let unverified = counter(registry, "unverified_reviews", help);
        Self { panics, unverified, policies, violations, filled_fields, duration }
    }

    /// Counts by these policies from now on. A policy whose name was in force before keeps its counts.
    pub fn set_policies(&self, policies: &PolicySet, loaded: Timestamp) {
        self.policies.set(policies, loaded);
    }

    /// Counts a verdict that took `took`.
    pub fn observe(&self, record: &Record, took: Duration) {
        self.policies.observe(record);
        for violation in record.violations() {
            self.violations.get_or_create(&RuleLabels { rule: violation.rule.id }).inc();
        }
        if record.is_patched() {
            for filled in &record.findings.filled {
                let counter = self.filled_fields.iter().find(|(rule, _)| std::ptr::eq(*rule, filled.rule));
                if let Some((_, counter)) = counter {
                    counter.inc_by(filled.fields as u64);
                }
            }
        }
        self.duration.of(record.endpoint).observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;
    use sandgate_engine::{policy::PolicySet, review::answer};

    /// Counts the creation of a Pod with this spec and returns the metrics' text.
    fn text_after(spec: &str) -> String {
        let mut registry = Registry::default();
        let metrics = ReviewMetrics::register(&mut registry, Counter::default());
        let policies = PolicySet::builtin();
        metrics.set_policies(&policies, Timestamp::UNIX_EPOCH);
        let review = format!(
            r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"u",
            "operation":"CREATE","namespace":"workflows","object":{{"spec":{spec}}}}}}}"#
        );
        let answer = answer(&policies, Endpoint::Mutate, None, review.as_bytes()).unwrap();
        metrics.observe(&answer.record, Duration::from_micros(30));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn a_verdict_is_counted_under_its_own_labels() {
        let text = text_after(r#"{"hostPID":true,"containers":[{"name":"a"}]}"#);
        for line in [
            r#"admission_reviews_total{endpoint="mutate",operation="CREATE",verdict="denied",policy="workflow-runner",mode="enforce"} 1"#,
            r#"admission_reviews_total{endpoint="validate",operation="CREATE",verdict="denied",policy="workflow-runner",mode="enforce"} 0"#,
            r#"violations_total{rule="host-namespaces"} 1"#,
            r#"violations_total{rule="privileged"} 0"#,
            r#"admission_duration_seconds_bucket{le="0.00005",endpoint="mutate"} 1"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn filled_fields_are_counted_by_rule_if_the_patch_goes_out() {
        let text = text_after(r#"{"containers":[{"name":"a","image":"b"}]}"#);
        for line in [
            r#"filled_fields_total{rule="runtime-class"} 1"#,
            r#"filled_fields_total{rule="resource-limits"} 6"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains(r#"filled_fields_total{rule="privileged"}"#), "it fills nothing");
        let denied = text_after(r#"{"hostPID":true,"containers":[{"name":"a"}]}"#);
        assert!(denied.contains(r#"filled_fields_total{rule="runtime-class"} 0"#), "{denied}");
    }
}
