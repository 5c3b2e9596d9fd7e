//! Counters of reviews by policy. They are made when a policy is loaded and go when it is no longer in force, so the
//! number of series depends on the policy files alone.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use super::escapes::Escapes;
use sandgate_engine::{
    policy::{Mode, PolicySet},
    review::{Endpoint, Operation, Outcome, Record},
};

/// Metrics of the policies in force.
#[derive(Debug, Clone)]
pub(super) struct PolicyMetrics(Arc<ArcSwap<LoadedPolicies>>);

#[derive(Debug)]
struct LoadedPolicies {
    /// The policies by name. Reviews that no policy applied to are counted under [`NO_POLICY`].
    by_name: BTreeMap<String, LoadedPolicy>,
    loaded: Timestamp,
}

#[derive(Debug)]
struct LoadedPolicy {
    hash: String,
    mode: Option<Mode>,
    counters: Arc<PolicyCounters>,
}

/// The counters of one policy. They live as long as a policy of this name is in force.
#[derive(Debug, Default)]
struct PolicyCounters {
    reviews: ReviewCounters,
    escapes: Escapes,
}

/// The label `policy` of reviews that no policy applied to.
const NO_POLICY: &str = "";

impl PolicyMetrics {
    /// Returns metrics without a policy in force.
    pub(super) fn new() -> Self {
        let none = LoadedPolicy { hash: String::new(), mode: None, counters: Arc::default() };
        let by_name = BTreeMap::from([(NO_POLICY.to_owned(), none)]);
        Self(Arc::new(ArcSwap::from_pointee(LoadedPolicies { by_name, loaded: Timestamp::UNIX_EPOCH })))
    }

    /// Counts by these policies from now on. A policy whose name was in force before keeps its counts.
    pub(super) fn set(&self, policies: &PolicySet, loaded: Timestamp) {
        let before = self.0.load();
        let counters = |name: &str| {
            before.by_name.get(name).map(|policy| Arc::clone(&policy.counters)).unwrap_or_default()
        };
        let named = policies.policies().iter().map(|policy| {
            let (mode, counters) = (Some(policy.mode()), counters(&policy.name));
            (policy.name.clone(), LoadedPolicy { hash: policy.hash.clone(), mode, counters })
        });
        let none = LoadedPolicy { hash: String::new(), mode: None, counters: counters(NO_POLICY) };
        let by_name = named.chain([(NO_POLICY.to_owned(), none)]).collect();
        self.0.store(Arc::new(LoadedPolicies { by_name, loaded }));
    }

    /// Counts a verdict. One of a policy that is no longer in force is not counted.
    pub(super) fn observe(&self, record: &Record) {
        let loaded = self.0.load();
        let name = record.policy.map_or(NO_POLICY, |policy| &policy.name);
        let Some(LoadedPolicy { counters, .. }) = loaded.by_name.get(name) else { return };
        counters.reviews.count(ReviewKind::of(record));
        if record.is_escape() {
            counters.escapes.see(record.pod_uid(), Instant::now());
        }
    }
}

/// Everything that distinguishes the reviews of one policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ReviewKind {
    endpoint: Endpoint,
    operation: Operation,
    outcome: Outcome,
    mode: Option<Mode>,
}

/// The labels of the metric of reviews.
#[derive(Debug, EncodeLabelSet)]
struct ReviewLabels {
    endpoint: &'static str,
    operation: &'static str,
    verdict: &'static str,
    policy: String,
    mode: &'static str,
}

/// The label of a metric of one policy.
#[derive(Debug, EncodeLabelSet)]
struct PolicyLabels {
    policy: String,
}

/// The labels of the metric that describes a policy.
#[derive(Debug, EncodeLabelSet)]
struct PolicyInfoLabels {
    policy: String,
    hash: String,
    mode: &'static str,
}

impl ReviewKind {
    fn of(record: &Record) -> Self {
        Self {
            endpoint: record.endpoint,
            operation: record.request.operation,
            outcome: record.outcome,
            mode: record.mode(),
        }
    }

    /// Returns every kind, always in the same order.
    fn all() -> impl Iterator<Item = Self> {
        let modes = || Mode::ALL.into_iter().map(Some).chain([None]);
        Endpoint::ALL.into_iter().flat_map(move |endpoint| {
            Operation::ALL.into_iter().flat_map(move |operation| {
                Outcome::ALL.into_iter().flat_map(move |outcome| {
                    modes().map(move |mode| Self { endpoint, operation, outcome, mode })
                })
            })
        })
    }

    /// Returns true if a policy of this mode can lead to this kind, so that its series exists from the start.
    fn is_expected(self, mode: Option<Mode>) -> bool {
        let is_write = matches!(self.operation, Operation::Create | Operation::Update);
        let outcome = match self.outcome {
            Outcome::NotEvaluated => mode.is_none(),
            Outcome::NoPolicy => mode.is_none() && is_write,
            Outcome::Admitted | Outcome::Exempt => mode.is_some() && is_write,
            Outcome::Denied => matches!(mode, Some(Mode::Enforce) | None) && is_write,
            Outcome::Warned => mode == Some(Mode::Warn) && is_write,
            Outcome::WouldDeny => mode == Some(Mode::Audit) && is_write,
        };
        self.mode == mode && outcome
    }

    fn labels(self, policy: &str) -> ReviewLabels {
        ReviewLabels {
            endpoint: self.endpoint.as_str(),
            operation: self.operation.as_str(),
            verdict: self.outcome.as_str(),
            policy: policy.to_owned(),
            mode: mode_label(self.mode),
        }
    }
}

fn mode_label(mode: Option<Mode>) -> &'static str {
    mode.map_or("none", Mode::as_str)
}

/// One counter for each kind of review.
#[derive(Debug)]
struct ReviewCounters(HashMap<ReviewKind, AtomicU64>);

impl Default for ReviewCounters {
    fn default() -> Self {
        Self(ReviewKind::all().map(|kind| (kind, AtomicU64::default())).collect())
    }
}

impl ReviewCounters {
    fn count(&self, kind: ReviewKind) {
        if let Some(counter) = self.0.get(&kind) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the kinds that were counted, and those that a policy of this mode can lead to.
    fn iter(&self, mode: Option<Mode>) -> impl Iterator<Item = (ReviewKind, u64)> {
        let counts = ReviewKind::all().filter_map(|kind| Some((kind, self.0.get(&kind)?)));
        let counts = counts.map(|(kind, count)| (kind, count.load(Ordering::Relaxed)));
        counts.filter(move |(kind, count)| *count > 0 || kind.is_expected(mode))
    }
}

impl Collector for PolicyMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let loaded = self.0.load();
        let named = || loaded.by_name.iter().filter(|(name, _)| *name != NO_POLICY);

        let help = "Admission reviews that were answered";
        let mut family = encoder.encode_descriptor("admission_reviews", help, None, MetricType::Counter)?;
        for (name, policy) in &loaded.by_name {
            for (kind, count) in policy.counters.reviews.iter(policy.mode) {
                ConstCounter::new(count).encode(family.encode_family(&kind.labels(name))?)?;
            }
        }

        let help = "Reviews of updates of stored Pods that an enforced policy would deny now";
        let mut family = encoder.encode_descriptor("escapes", help, None, MetricType::Counter)?;
        for (name, policy) in named() {
            let labels = PolicyLabels { policy: name.clone() };
            ConstCounter::new(policy.counters.escapes.count()).encode(family.encode_family(&labels)?)?;
        }

        let help = "Distinct Pods among the escapes of the last hour";
        let mut family = encoder.encode_descriptor("escaped_pods", help, None, MetricType::Gauge)?;
        let now = Instant::now();
        for (name, policy) in named() {
            let labels = PolicyLabels { policy: name.clone() };
            let pods = u64::try_from(policy.counters.escapes.pods(now)).unwrap_or(u64::MAX);
            ConstGauge::new(pods).encode(family.encode_family(&labels)?)?;
        }

        let help = "The policies in force";
        let mut family = encoder.encode_descriptor("policy", help, None, MetricType::Info)?;
        for (name, LoadedPolicy { hash, mode, .. }) in named() {
            let (policy, hash, mode) = (name.clone(), hash.clone(), mode_label(*mode));
            family.encode_info(&PolicyInfoLabels { policy, hash, mode })?;
        }

        let help = "When the policies in force were loaded";
        let unit = Some(&Unit::Seconds);
        let family = encoder.encode_descriptor("policy_loaded_timestamp", help, unit, MetricType::Gauge)?;
        ConstGauge::new(loaded.loaded.as_second()).encode(family)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;
    use sandgate_engine::{policy::Source, review::answer};

    fn policies(names: &[&str], mode: &str) -> PolicySet {
        let sources: Vec<_> = names.iter().map(|name| {
            let text = format!("{{apiVersion: sandgate.dev/v1beta1, kind: SandboxPolicy, metadata: {{name: {name}}}, spec: {{namespaces: [{name}], mode: {mode}}}}}");
            Source { name: format!("{name}.yaml"), text }
        }).collect();
        PolicySet::from_sources(&sources).unwrap()
    }

    fn create_in(counted: &PolicyMetrics, policies: &PolicySet, namespace: &str) {
        let review = format!(
            r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"u","operation":"CREATE",
            "namespace":"{namespace}","object":{{"spec":{{"hostPID":true,"containers":[{{"name":"a"}}]}}}}}}}}"#
        );
        let answer = answer(policies, Endpoint::Mutate, None, review.as_bytes()).unwrap();
        counted.observe(&answer.record);
    }

    fn text(policies: &PolicyMetrics) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(policies.clone()));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    fn denied(policy: &str) -> String {
        format!(
            r#"admission_reviews_total{{endpoint="mutate",operation="CREATE",verdict="denied",policy="{policy}",mode="enforce"}}"#
        )
    }

    #[test]
    fn every_kind_is_counted_apart() {
        let counters = ReviewCounters::default();
        ReviewKind::all().for_each(|kind| counters.count(kind));
        assert!(counters.0.values().all(|count| count.load(Ordering::Relaxed) == 1), "{counters:?}");
        assert_eq!(counters.0.len(), ReviewKind::all().count());
    }

    #[test]
    fn what_a_policy_can_come_to_is_there_at_zero_and_nothing_else() {
        let counted = PolicyMetrics::new();
        counted.set(&policies(&["a"], "enforce"), Timestamp::from_second(7).unwrap());
        let text = text(&counted);
        assert!(text.contains(&format!("{} 0", denied("a"))), "{text}");
        assert!(text.contains("policy_loaded_timestamp_seconds 7"), "{text}");
        assert_eq!(text.matches(r#"policy="a",mode="enforce"}"#).count(), 12, "{text}");
        assert_eq!(text.matches(r#"policy="",mode="none"}"#).count(), 16, "{text}");
        assert!(!text.contains("warn") && !text.contains("would-deny"), "{text}");
    }

    #[test]
    fn a_policy_that_stays_counts_on_and_one_that_goes_takes_its_series_along() {
        let counted = PolicyMetrics::new();
        let both = policies(&["a", "b"], "enforce");
        counted.set(&both, Timestamp::from_second(1).unwrap());
        create_in(&counted, &both, "a");
        create_in(&counted, &both, "b");
        let one = policies(&["a"], "warn");
        counted.set(&one, Timestamp::from_second(2).unwrap());
        create_in(&counted, &one, "a");
        create_in(&counted, &both, "b");
        let text = text(&counted);
        assert!(
            text.contains(&format!("{} 1", denied("a"))),
            "what was counted under another mode stays: {text}"
        );
        assert!(text.contains(r#"verdict="warned",policy="a",mode="warn"} 1"#), "{text}");
        assert!(!text.contains(r#""b""#), "{text}");
    }

    #[test]
    fn what_no_policy_applied_to_is_counted_without_one() {
        let counted = PolicyMetrics::new();
        let policies = policies(&["a"], "enforce");
        counted.set(&policies, Timestamp::from_second(1).unwrap());
        create_in(&counted, &policies, "elsewhere");
        let line = r#"admission_reviews_total{endpoint="mutate",operation="CREATE",verdict="denied",policy="",mode="none"} 1"#;
        assert!(text(&counted).contains(line));
    }
}
