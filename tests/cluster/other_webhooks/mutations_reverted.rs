//! A hostile webhook that undoes what we fill, or adds what we deny, every time it is asked.
//!
//! | it stands | and is asked again | what is taken away | what contradicts the policy | a filled amount that is raised |
//! |---|---|---|---|---|
//! | before us | or not | we fill it afterwards: stored, sandboxed | denied by /mutate | nothing is filled yet: denied by /mutate |
//! | after us | not | we are asked again, it is not: stored, sandboxed | denied by /mutate, asked again | lowered again: stored, sandboxed |
//! | after us | too | it has the last word: denied by /validate | denied by /mutate, asked again | it has the last word: denied by /validate |

use std::collections::BTreeSet;

use sandgate_engine::{
    policy::{PolicySet, Profile, Source},
    rules::{ALL, Rule},
};
use serde_json::{Value, json};

use super::removals::{Removal, at_its_own_cost, open_pod, removals, taken_back};
use crate::{
    examples::{complete_pod, plain_pod},
    hostile::{attempts, main, make_what_they_refer_to},
    sandbox::Sandbox,
    sandboxed::{assert_confined, assert_sandboxed},
    webhooks::{Injector, Place},
};
use testbed::{Denial, Reinvocation};

const REINVOCATIONS: [Reinvocation; 2] = [Reinvocation::IfNeeded, Reinvocation::Never];

/// The attempts that raise an amount which we filled: it is lowered again, so that a vertical autoscaler that stands after
/// us costs no Pod.
const RAISING: [&str; 3] = ["64 processors", "much memory in small units", "a large request"];

#[tokio::test]
async fn what_a_webhook_before_ours_takes_away_is_filled_again() {
    for reinvocation in REINVOCATIONS {
        let test = Test::new(Place::BeforeSandgate, reinvocation, &json!({})).await;
        // Only a complete pod has something to take away before we have filled it.
        test.each_is_filled(&removals(), complete_pod).await;
    }
}

#[tokio::test]
async fn what_a_webhook_after_ours_takes_away_is_filled_when_we_are_asked_again() {
    let test = Test::new(Place::AfterSandgate, Reinvocation::Never, &json!({})).await;
    test.each_is_filled(&removals(), plain_pod).await;
}

#[tokio::test]
async fn a_webhook_that_has_the_last_word_is_caught_by_the_validating_one() {
    let test = Test::new(Place::AfterSandgate, Reinvocation::IfNeeded, &json!({})).await;
    for base in [plain_pod, complete_pod] {
        test.each_is_denied_by_validate(&removals(), base).await;
    }
}

#[tokio::test]
async fn what_any_rule_fills_cannot_be_taken_back() {
    for settings in [json!({}), strict()] {
        let test = Test::new(Place::AfterSandgate, Reinvocation::IfNeeded, &settings).await;
        let profile = profile(&settings);
        let mut stray = Vec::new();
        for rule in ALL.iter().filter(|rule| !NEVER_MISSED.contains(&rule.id)) {
            let Some(edit) = taken_back(rule, &profile) else { continue };
            let answer = test.attempt(edit, open_pod("hostile")).await;
            if !is_denied(&answer, "validate.sandgate.dev", rule.id) && !test.is_denied_in_tree(&answer) {
                stray.push(format!("{}: {answer:?}", rule.id));
            }
        }
        assert!(stray.is_empty(), "{}", stray.join("\n"));
        assert_eq!(test.sandbox.pods().await, Vec::<Value>::new());
    }
}

#[tokio::test]
async fn no_contradiction_that_another_webhook_adds_is_stored() {
    for place in [Place::BeforeSandgate, Place::AfterSandgate] {
        for reinvocation in REINVOCATIONS {
            let test = Test::new(place, reinvocation, &json!({})).await;
            make_what_they_refer_to(&test.sandbox).await;
            let raised = match (place, reinvocation) {
                (Place::BeforeSandgate, _) => Raised::DeniedByMutate,
                (Place::AfterSandgate, Reinvocation::IfNeeded) => Raised::DeniedByValidate,
                (Place::AfterSandgate, Reinvocation::Never) => Raised::Lowered,
            };
            test.no_contradiction_is_stored(raised).await;
        }
    }
}

#[tokio::test]
async fn what_a_webhook_takes_at_the_pods_own_cost_leaves_it_confined() {
    let test = Test::new(Place::AfterSandgate, Reinvocation::IfNeeded, &json!({})).await;
    for (index, (name, edit)) in at_its_own_cost().into_iter().enumerate() {
        test.injector.will(edit);
        let stored = test.sandbox.create(&plain_pod(&format!("pod-{index}"))).await;
        assert_confined(&stored.unwrap_or_else(|denial| panic!("{name}: {denial}")));
    }
}

#[tokio::test]
async fn what_a_webhook_does_to_an_update_is_validated_with_the_update() {
    let sandbox = Sandbox::new().await;
    sandbox.create(&plain_pod("main")).await.expect("it is admitted");
    let injector = Injector::start("UPDATE").await;
    injector.register(&sandbox, Place::AfterSandgate, Reinvocation::IfNeeded).await;
    injector.will(|pod| pod["metadata"]["annotations"]["dev.gvisor.flag.x"] = json!("y"));
    let path = sandbox.pods_path("/main");
    let label = json!({"metadata": {"labels": {"team": "a"}}});
    let denial = sandbox.rest.merge(&path, &label).await.expect_err("the webhook adds an annotation");
    assert!(denial.names("gvisor-annotations"), "{denial}");
    assert!(sandbox.stored("main").await["metadata"]["labels"]["team"].is_null());
}

/// The rules that fill for the Pod's convenience: a Pod without a writable folder or a variable violates nothing.
const NEVER_MISSED: [&str; 2] = ["env", "writable-paths"];

/// Settings under which the rules fill that have nothing to fill under the default policy.
fn strict() -> Value {
    json!({
        "lifecycle": {"terminationGracePeriodSeconds": {"max": 10}},
        "placement": {"schedulerNames": ["sandbox-scheduler"]},
        "security": {"hostUsers": false, "supplementalGroupsPolicy": "Strict"}
    })
}

/// Returns the keys that hold for every Pod under these settings.
fn profile(settings: &Value) -> Profile {
    let policy = json!({
        "apiVersion": "sandgate.dev/v1beta1",
        "kind": "SandboxPolicy",
        "metadata": {"name": "strict"},
        "spec": settings,
    });
    let source = Source { name: "policy.yaml".into(), text: policy.to_string() };
    PolicySet::from_sources(&[source]).expect("a policy").policies()[0].base().clone()
}

#[test]
fn every_rule_that_fills_is_undone_at_least_once() {
    let profiles = [profile(&json!({})), profile(&strict())];
    let fills = ALL.iter().filter(|rule| rule.fill.is_some() && !NEVER_MISSED.contains(&rule.id));
    let is_undone = |rule: &Rule| profiles.iter().any(|profile| taken_back(rule, profile).is_some());
    let forgotten: Vec<&str> = fills.filter(|rule| !is_undone(rule)).map(|rule| rule.id).collect();
    assert!(forgotten.is_empty(), "no policy here makes these rules fill the open Pod: {forgotten:?}");
}

/// What becomes of a Pod in which another webhook raises an amount beyond its bound.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Raised {
    DeniedByMutate,
    DeniedByValidate,
    Lowered,
}

/// A guarded namespace with a hostile webhook.
struct Test {
    sandbox: Sandbox,
    injector: Injector,
    place: Place,
}

impl Test {
    async fn new(place: Place, reinvocation: Reinvocation, settings: &Value) -> Self {
        let sandbox = Sandbox::with(&json!({}), settings).await;
        let injector = Injector::start("CREATE").await;
        injector.register(&sandbox, place, reinvocation).await;
        Self { sandbox, injector, place }
    }

    async fn each_is_filled(&self, removals: &[Removal], base: fn(&str) -> Value) {
        for (index, (name, _, edit)) in removals.iter().enumerate() {
            let answer = self.attempt(*edit, base(&format!("pod-{index}"))).await;
            let pod = answer.unwrap_or_else(|denial| panic!("{name} is filled again: {denial}"));
            let stored = self.sandbox.stored(pod["metadata"]["name"].as_str().expect("a name")).await;
            assert_sandboxed(&stored);
        }
    }

    async fn each_is_denied_by_validate(&self, removals: &[Removal], base: fn(&str) -> Value) {
        let mut stray = Vec::new();
        for (name, rule, edit) in removals {
            let answer = self.attempt(*edit, base("hostile")).await;
            if !is_denied(&answer, "validate.sandgate.dev", rule) {
                stray.push(format!("{name}, {rule}: {answer:?}"));
            }
        }
        assert!(stray.is_empty(), "{}", stray.join("\n"));
        assert_eq!(self.sandbox.pods().await, Vec::<Value>::new());
    }

    async fn no_contradiction_is_stored(&self, raised: Raised) {
        let untouched = self.attempt(|_| {}, plain_pod("untouched")).await.expect("it is admitted");
        let mut stray = Vec::new();
        let mut stored = BTreeSet::from(["untouched".to_owned()]);
        for (index, (name, rule, edit)) in attempts().into_iter().enumerate() {
            let pod = format!("hostile-{index}");
            let answer = self.attempt(edit, plain_pod(&pod)).await;
            let is_raising = RAISING.contains(&name);
            let is_as_expected = match raised {
                Raised::Lowered if is_raising && answer.is_ok() => {
                    assert_no_trace(&self.sandbox.stored(&pod).await, &untouched);
                    stored.insert(pod)
                }
                Raised::Lowered if is_raising => false,
                Raised::DeniedByValidate if is_raising => is_denied(&answer, "validate.sandgate.dev", rule),
                _ => is_denied(&answer, "mutate.sandgate.dev", rule) || self.is_denied_in_tree(&answer),
            };
            if !is_as_expected {
                stray.push(format!("{name}, {rule}: {answer:?}"));
            }
        }
        assert!(stray.is_empty(), "{}", stray.join("\n"));
        let names = self.sandbox.pods().await;
        let names = names.iter().filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned));
        assert_eq!(names.collect::<BTreeSet<_>>(), stored);
        let lowered = if raised == Raised::Lowered { RAISING.len() } else { 0 };
        assert_eq!(stored.len(), 1 + lowered);
    }

    /// The API server's own plugins run once more before we are asked again, and know these three.
    fn is_denied_in_tree(&self, answer: &Result<Value, Denial>) -> bool {
        let known = [
            "a mirror pod may not reference service accounts",
            "no service account specified for pod",
            "the integer value of priority (0) must not be provided",
        ];
        let is_known = |denial: &Denial| known.iter().any(|message| denial.message.contains(message));
        self.place == Place::AfterSandgate && answer.as_ref().is_err_and(is_known)
    }

    /// Creates `pod` while the webhook makes this edit.
    async fn attempt(
        &self,
        edit: impl Fn(&mut Value) + Send + Sync + 'static,
        pod: Value,
    ) -> Result<Value, Denial> {
        let before = self.injector.calls();
        self.injector.will(edit);
        let answer = self.sandbox.create(&pod).await;
        assert!(self.injector.calls() > before, "the webhook was asked");
        answer
    }
}

fn is_denied(answer: &Result<Value, Denial>, webhook: &str, rule: &str) -> bool {
    let denied = format!("\"{webhook}\" denied the request");
    answer.as_ref().is_err_and(|denial| denial.message.contains(&denied) && denial.names(rule))
}

/// Asserts that a Pod has, but for requests within its limits, the spec of one that no webhook touched.
#[track_caller]
fn assert_no_trace(pod: &Value, untouched: &Value) {
    assert_sandboxed(pod);
    let spec_without_requests = |pod: &Value| {
        let mut pod = pod.clone();
        main(&mut pod)["resources"]["requests"].take();
        pod["spec"].take()
    };
    assert_eq!(spec_without_requests(pod), spec_without_requests(untouched));
}
