//! What a denial advises helps: following the remedy of a violation, as a person would, removes it.

use sandgate_engine::{
    path::Step,
    policy::PolicySet,
    review::{Endpoint, answer},
    violations::Violation,
};
use serde_json::{Value as Json, json};

use crate::{
    advice::{self, Advice},
    apiserver::{policy_with, review_of},
    cases, draw,
    exhaustive::without_digits,
    generator,
    generator::{Case, yaml},
    rule_cases,
};

#[test]
fn following_a_remedy_removes_its_violation() {
    let policies = PolicySet::builtin();
    let mut followed = 0;
    for case in draw(generator::cases(), (cases() / 20).clamp(100, 20_000)) {
        followed += follow_all(&policies, &case.pod());
    }
    println!("{followed} remedies followed");
    assert!(followed > 200, "only {followed} remedies followed");
}

/// Under the default policy: what a person is advised of what only other policies open is not read here yet.
#[test]
fn the_remedies_of_every_rule_help() {
    let at = draw(proptest::prelude::any::<[proptest::sample::Index; 2]>(), 1).next().unwrap();
    for case in rule_cases::all().into_iter().filter(|case| case.spec == json!({})) {
        let policies = policy_with(&case.spec);
        for edit in generator::edits(case.violating) {
            let edit = edit(at);
            let followed = follow_all(&policies, &Case::of(case.base.clone(), vec![edit.clone()]).pod());
            assert!(followed > 0, "{} gives no remedy: {edit:?}", case.rule);
        }
    }
}

/// Follows each remedy that either endpoint gives for `pod`; says how many there were.
fn follow_all(policies: &PolicySet, pod: &Json) -> usize {
    let mut followed = 0;
    for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
        let violations = violations_of(policies, endpoint, pod);
        for violation in
            violations.iter().filter(|violation| !is_within_a_wrong_shape(violation, &violations))
        {
            follow(policies, endpoint, pod, &violations, violation, 0);
            followed += 1;
        }
    }
    followed
}

/// What stands in something of the wrong kind is fixed after that; nothing is filled where no metadata can be read.
fn is_within_a_wrong_shape(violation: &Violation, violations: &[Violation]) -> bool {
    let mut shapes = violations.iter().filter(|other| other.rule.id == "pod-schema");
    shapes.any(|shape| {
        let [shape, path] = [&shape.path, &violation.path].map(|path| path.steps().collect::<Vec<_>>());
        shape == [Step::Field("metadata")] || (path.len() > shape.len() && path.starts_with(&shape))
    })
}

/// A remedy may lead to another one, not in a circle.
const LONGEST: usize = 2;

fn follow(
    policies: &PolicySet,
    endpoint: Endpoint,
    pod: &Json,
    violations: &[Violation],
    violation: &Violation,
    steps: usize,
) {
    let advice = advice::of(violation).unwrap_or_else(|problem| panic!("{problem}: {violation}"));
    for Advice { text, change, is_for_a_create } in advice {
        let mut better = pod.clone();
        change(&mut better);
        // What is left out on create is filled in by the mutating webhook.
        let endpoint = if is_for_a_create { Endpoint::Mutate } else { endpoint };
        let now = violations_of(policies, endpoint, &better);
        let remaining = now.iter().find(|other| is_same(other, violation));
        let Some(remaining) = remaining.filter(|_| count(&now, violation) >= count(violations, violation))
        else {
            continue;
        };
        let is_new_advice = remaining.remedy != violation.remedy && steps < LONGEST;
        assert!(
            is_new_advice,
            "{text:?} does not help: {violation}\n{}\nbecomes\n{}",
            yaml(pod),
            yaml(&better)
        );
        follow(policies, endpoint, &better, &now, remaining, steps + 1);
    }
}

/// What is wrong with the whole Pod, and with an image, may be more than one thing.
fn is_same(one: &Violation, other: &Violation) -> bool {
    let is_of_many = matches!(one.rule.id, "pod-budget" | "images");
    one.rule == other.rule && one.path == other.path && (!is_of_many || one.wanted == other.wanted)
}

/// How many violations are like this one: where an item goes, the next one takes its index.
fn count(violations: &[Violation], like: &Violation) -> usize {
    let shape = |path: &str| without_digits(path);
    let alike = |other: &&Violation| {
        other.rule == like.rule && shape(&other.path.to_string()) == shape(&like.path.to_string())
    };
    violations.iter().filter(alike).count()
}

fn violations_of(policies: &PolicySet, endpoint: Endpoint, pod: &Json) -> Vec<Violation> {
    let review = review_of(&json!({"operation": "CREATE", "object": pod}));
    let answer = answer(policies, endpoint, None, review.as_bytes()).unwrap();
    let violations: Vec<Violation> = answer.record.violations().iter().cloned().collect();
    let body: Json = serde_json::from_slice(&answer.body).unwrap();
    let causes = body.pointer("/response/status/details/causes").and_then(Json::as_array);
    for (cause, violation) in causes.into_iter().flatten().zip(&violations) {
        assert_eq!(cause["message"], violation.to_string(), "the same is on the wire");
    }
    violations
}
