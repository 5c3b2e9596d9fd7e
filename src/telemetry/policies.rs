//! What is counted of each policy. Its counters are found when it is loaded, and go when it is no longer in force, so
//! that there are as many series as the policy files say.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use super::escapes::Escapes;
use sandgate_engine::{
    policy::{Mode, PolicySet},
    review::{Endpoint, Operation, Outcome, Record},
};

const ENDPOINTS: [Endpoint; 2] = [Endpoint::Mutate, Endpoint::Validate];
const MODES: [Option<Mode>; 4] = [Some(Mode::Enforce), Some(Mode::Warn), Some(Mode::Audit), None];

/// The policies in force, with what is counted of each.
#[derive(Debug, Clone)]
pub(super) struct Policies(Arc<ArcSwap<InForce>>);

#[derive(Debug)]
struct InForce {
    /// By name; what no policy applied to has none.
    by_name: BTreeMap<String, OfPolicy>,
    /// When they were loaded, in seconds since 1970.
    loaded: i64,
}

#[derive(Debug)]
struct OfPolicy {
    hash: String,
    mode: Option<Mode>,
    tally: Arc<Tally>,
}

/// What is counted of one policy, for as long as one of this name is in force.
#[derive(Debug, Default)]
struct Tally {
    reviews: Reviews,
    escapes: Escapes,
}

/// The policy of what no policy applied to.
const NONE: &str = "";

impl Policies {
    /// None in force.
    pub(super) fn new() -> Self {
        let none = OfPolicy { hash: String::new(), mode: None, tally: Arc::default() };
        let by_name = BTreeMap::from([(NONE.to_owned(), none)]);
        Self(Arc::new(ArcSwap::from_pointee(InForce { by_name, loaded: 0 })))
    }

    /// Counts for these from here on. One whose name was in force before counts on.
    pub(super) fn replace(&self, policies: &PolicySet, now: i64) {
        let before = self.0.load();
        let tally =
            |name: &str| before.by_name.get(name).map(|policy| Arc::clone(&policy.tally)).unwrap_or_default();
        let named = policies.policies().iter().map(|policy| {
            let mode = Some(policy.spec.mode);
            (policy.name.clone(), OfPolicy { hash: policy.hash.clone(), mode, tally: tally(&policy.name) })
        });
        let none = OfPolicy { hash: String::new(), mode: None, tally: tally(NONE) };
        let by_name = named.chain([(NONE.to_owned(), none)]).collect();
        self.0.store(Arc::new(InForce { by_name, loaded: now }));
    }

    pub(super) fn observe(&self, record: &Record) {
        let in_force = self.0.load();
        // One that has gone since the request came is not counted any more.
        let name = record.policy.map_or(NONE, |policy| &policy.name);
        let Some(OfPolicy { tally, .. }) = in_force.by_name.get(name) else { return };
        tally.reviews.count(Kind::of(record));
        if record.is_escape() {
            tally.escapes.see(record.pod_uid(), Instant::now());
        }
    }
}

/// All by which the reviews of a policy are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    endpoint: Endpoint,
    operation: Operation,
    outcome: Outcome,
    mode: Option<Mode>,
}

impl Kind {
    const COUNT: usize = ENDPOINTS.len() * Operation::ALL.len() * Outcome::ALL.len() * MODES.len();

    fn of(record: &Record) -> Self {
        Self {
            endpoint: record.endpoint,
            operation: record.request.operation,
            outcome: record.outcome,
            mode: record.mode(),
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        ENDPOINTS.into_iter().flat_map(|endpoint| {
            Operation::ALL.into_iter().flat_map(move |operation| {
                Outcome::ALL.into_iter().flat_map(move |outcome| {
                    MODES.into_iter().map(move |mode| Self { endpoint, operation, outcome, mode })
                })
            })
        })
    }

    /// Its place in [`Self::all`].
    fn index(self) -> usize {
        let mode = MODES.iter().position(|mode| *mode == self.mode).unwrap_or_default();
        let of_outcome = self.operation as usize + self.endpoint as usize * Operation::ALL.len();
        (of_outcome * Outcome::ALL.len() + self.outcome as usize) * MODES.len() + mode
    }

    /// Whether a policy of this mode can come to it, so that it is told of at zero.
    fn is_expected(self, mode: Option<Mode>) -> bool {
        let is_write = matches!(self.operation, Operation::Create | Operation::Update);
        let outcome = match self.outcome {
            Outcome::NotJudged => mode.is_none(),
            Outcome::NoPolicy => mode.is_none() && is_write,
            Outcome::Admitted | Outcome::Exempt => mode.is_some() && is_write,
            Outcome::Denied => mode == Some(Mode::Enforce) && is_write,
            Outcome::Warned => mode == Some(Mode::Warn) && is_write,
            Outcome::WouldDeny => mode == Some(Mode::Audit) && is_write,
        };
        self.mode == mode && outcome
    }

    fn labels(self, policy: &str) -> [(&'static str, &str); 5] {
        [
            ("endpoint", self.endpoint.as_str()),
            ("operation", self.operation.as_str()),
            ("verdict", self.outcome.as_str()),
            ("policy", policy),
            ("mode", word(self.mode)),
        ]
    }
}

fn word(mode: Option<Mode>) -> &'static str {
    mode.map_or("none", Mode::as_str)
}

/// How many reviews there were of each kind.
#[derive(Debug)]
struct Reviews([AtomicU64; Kind::COUNT]);

impl Default for Reviews {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Kind::COUNT])
    }
}

impl Reviews {
    fn count(&self, kind: Kind) {
        self.0[kind.index()].fetch_add(1, Ordering::Relaxed);
    }

    /// What there was, and what a policy of this mode can come to.
    fn iter(&self, mode: Option<Mode>) -> impl Iterator<Item = (Kind, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        Kind::all().zip(counts).filter(move |(kind, count)| *count > 0 || kind.is_expected(mode))
    }
}

impl Collector for Policies {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let in_force = self.0.load();
        let all = || in_force.by_name.iter();
        let named = || all().filter(|(name, _)| *name != NONE);

        let help = "Admission reviews that were answered";
        let mut family = encoder.encode_descriptor("admission_reviews", help, None, MetricType::Counter)?;
        for (name, policy) in all() {
            for (kind, count) in policy.tally.reviews.iter(policy.mode) {
                ConstCounter::new(count).encode(family.encode_family(&kind.labels(name))?)?;
            }
        }

        let help = "Reviews of updates of stored Pods that an enforced policy would refuse now";
        let mut family = encoder.encode_descriptor("escapes", help, None, MetricType::Counter)?;
        for (name, policy) in named() {
            let count = policy.tally.escapes.count();
            ConstCounter::new(count).encode(family.encode_family(&[("policy", name.as_str())])?)?;
        }

        let help = "Distinct Pods among the escapes of the last hour";
        let mut family = encoder.encode_descriptor("escaped_pods", help, None, MetricType::Gauge)?;
        let now = Instant::now();
        for (name, policy) in named() {
            let pods = u64::try_from(policy.tally.escapes.pods(now)).unwrap_or(u64::MAX);
            ConstGauge::new(pods).encode(family.encode_family(&[("policy", name.as_str())])?)?;
        }

        let help = "The policies in force";
        let mut family = encoder.encode_descriptor("policy", help, None, MetricType::Info)?;
        for (name, policy) in named() {
            let labels = [("policy", name.as_str()), ("hash", &policy.hash), ("mode", word(policy.mode))];
            family.encode_info(&labels)?;
        }

        let loaded = ConstGauge::new(in_force.loaded);
        let help = "When the policies in force were loaded";
        let unit = Some(&Unit::Seconds);
        loaded.encode(encoder.encode_descriptor("policy_loaded_timestamp", help, unit, MetricType::Gauge)?)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;
    use sandgate_engine::{policy::Source, review::answer};

    fn policies(names: &[&str], mode: &str) -> PolicySet {
        let sources: Vec<_> = names.iter().map(|name| {
            let text = format!("{{apiVersion: sandgate.dev/v1alpha1, kind: SandboxPolicy, metadata: {{name: {name}}}, spec: {{namespaces: [{name}], mode: {mode}}}}}");
            Source { name: format!("{name}.yaml"), text }
        }).collect();
        PolicySet::from_sources(&sources).unwrap()
    }

    fn create_in(counted: &Policies, policies: &PolicySet, namespace: &str) {
        let review = format!(
            r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"u","operation":"CREATE",
            "namespace":"{namespace}","object":{{"spec":{{"hostPID":true,"containers":[{{"name":"a"}}]}}}}}}}}"#
        );
        let answer = answer(policies, Endpoint::Mutate, review.as_bytes()).unwrap();
        counted.observe(&answer.record);
    }

    fn text(policies: &Policies) -> String {
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
    fn every_kind_has_a_place_of_its_own() {
        for (index, kind) in Kind::all().enumerate() {
            assert_eq!(kind.index(), index, "{kind:?}");
        }
        assert_eq!(Kind::all().count(), Kind::COUNT);
    }

    #[test]
    fn what_a_policy_can_come_to_is_there_at_zero_and_nothing_else() {
        let counted = Policies::new();
        counted.replace(&policies(&["a"], "enforce"), 7);
        let text = text(&counted);
        assert!(text.contains(&format!("{} 0", denied("a"))), "{text}");
        assert!(text.contains("policy_loaded_timestamp_seconds 7"), "{text}");
        assert_eq!(text.matches(r#"policy="a",mode="enforce"}"#).count(), 12, "{text}");
        assert_eq!(text.matches(r#"policy="",mode="none"}"#).count(), 12, "{text}");
        assert!(!text.contains("warn") && !text.contains("would-deny"), "{text}");
    }

    #[test]
    fn a_policy_that_stays_counts_on_and_one_that_goes_takes_its_series_along() {
        let counted = Policies::new();
        let both = policies(&["a", "b"], "enforce");
        counted.replace(&both, 1);
        create_in(&counted, &both, "a");
        create_in(&counted, &both, "b");
        let one = policies(&["a"], "warn");
        counted.replace(&one, 2);
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
        let counted = Policies::new();
        let policies = policies(&["a"], "enforce");
        counted.replace(&policies, 1);
        create_in(&counted, &policies, "elsewhere");
        let line = r#"admission_reviews_total{endpoint="mutate",operation="CREATE",verdict="no-policy",policy="",mode="none"} 1"#;
        assert!(text(&counted).contains(line));
    }
}
