//! The names of the release's objects.

use std::collections::BTreeSet;

use super::{CHART, Objects, render, template_least};
use testbed::helm;

async fn service_of(name: &str) -> String {
    let objects = render(&["--set", &format!("fullnameOverride={name}")]).await;
    let names: Vec<_> = objects.all("Service").map(|one| one["metadata"]["name"].clone()).collect();
    assert!(names.iter().all(|name| name.as_str().is_some_and(|name| name.len() <= 63)), "{names:?}");
    names[0].as_str().expect("a name").to_owned()
}

#[tokio::test]
async fn a_name_of_63_characters_is_kept_and_those_made_of_it_are_cut_with_a_hash() {
    let [one, other] = ["1", "2"].map(|end| format!("{}{end}", "a".repeat(62)));
    assert_eq!(service_of(&one).await, one);
    let mut all = BTreeSet::new();
    for name in [&one, &other] {
        let objects = render(&["--set", &format!("fullnameOverride={name}")]).await;
        for object in objects.0.iter().filter(|object| object["metadata"]["name"] != **name) {
            let named = object["metadata"]["name"].as_str().expect("a name");
            assert!(named.len() <= 63, "{named}");
            let key = format!("{}/{}/{named}", object["kind"], object["metadata"]["namespace"]);
            assert!(all.insert(key.clone()), "{key} is the name of an object of both releases");
        }
    }
}

#[tokio::test]
async fn a_longer_name_is_cut_with_a_hash() {
    let name = async |release: &str| {
        let values = super::scenario("defaults");
        let rendered = helm(&["template", release, CHART, "--namespace", "x", "--values", &values]).await;
        let objects = Objects::read(&rendered.expect("helm starts").expect_success());
        objects.one("Deployment")["metadata"]["name"].as_str().expect("a name").to_owned()
    };
    // Helm's own bound on a release's name is 53 characters; the chart's name comes behind it.
    let [one, other] = ["1", "2"].map(|end| format!("{}{end}", "a".repeat(52)));
    let [one, other] = [name(&one).await, name(&other).await];
    assert!(one.len() <= 63 && other.len() <= 63 && one != other, "{one} {other}");
}

#[tokio::test]
async fn a_name_that_no_service_can_have_fails_before_anything_is_made() {
    let values = super::scenario("defaults");
    for release in ["v1.gate", "1-gate"] {
        let rendered = helm(&["template", release, CHART, "--namespace", "x", "--values", &values]).await;
        let complaint = rendered.expect("helm starts").expect_failure();
        let wanted =
            format!("the release's Service would be called {release}-sandgate, must begin with a letter");
        assert!(complaint.contains(&wanted), "{complaint}");
        assert!(complaint.contains("set fullnameOverride"), "{complaint}");
    }
    assert!(template_least(&["--set=fullnameOverride=gate-1"]).await.success);
}
