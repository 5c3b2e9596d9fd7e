//! What is written from something else, and must not fall behind it. `make chart` writes it.

use std::{env, fs, path::Path};

use sandgate::server::Metrics;
use sandgate_engine::policy::{PolicySet, json_schema};
use serde_json::Value;

use super::{CHART, render_scenario, scenario};
use testbed::chart_readme;

#[tokio::test]
async fn the_readme_is_written_from_the_comments_of_the_values() {
    let readme = chart_readme(Path::new(CHART)).await.expect("a README");
    let (_, values) = readme.split_once("## Values").expect("the README has a section of values");
    let values: Vec<_> =
        values.lines().filter(|line| line.starts_with("| ") && !line.ends_with("Description |")).collect();
    for line in &values {
        assert!(!line.ends_with("|  |"), "a value without a comment in values.yaml: {line}");
        let count = values.iter().filter(|other| *other == line).count();
        assert_eq!(count, 1, "a value is in one group: {line}");
    }
    let text = fs::read_to_string(Path::new(CHART).join("values.yaml")).expect("values");
    let all: Value = serde_saphyr::from_str(&text).expect("they are YAML");
    for name in all.as_object().expect("a mapping").keys() {
        let of_name = |line: &&str| line[2..].starts_with(name.as_str());
        assert!(values.iter().any(of_name), "README.md.gotmpl has no group for {name}");
    }
    is_up_to_date("README.md", &readme);
}

/// A policy in the values is held to what `sandgate policy schema` prints.
#[test]
fn the_schema_of_the_values_has_the_schema_of_the_policies() {
    let path = Path::new(CHART).join("values.schema.json");
    let text = fs::read_to_string(path).expect("the chart has a schema");
    let mut schema: Value = serde_json::from_str(&text).expect("it is JSON");
    let definitions = schema["$defs"].as_object_mut().expect("it has definitions");
    // Those of the policy begin with a capital.
    definitions.retain(|name, _| name.starts_with(char::is_lowercase));
    let policy = serde_json::to_value(json_schema()).expect("a schema is JSON");
    let of_policy = policy["$defs"].as_object().expect("it has definitions");
    let of_document = ["Metadata"];
    let of_spec = of_policy.iter().filter(|(name, _)| !of_document.contains(&name.as_str()));
    definitions.extend(of_spec.map(|(name, definition)| (name.clone(), definition.clone())));
    let schema = serde_json::to_string_pretty(&schema).expect("it is JSON") + "\n";
    is_up_to_date("values.schema.json", &schema);
}

/// With `SANDGATE_WRITE_CHART=1`, which `make chart` sets, the file is written.
fn is_up_to_date(file: &str, wanted: &str) {
    let path = Path::new(CHART).join(file);
    if env::var_os("SANDGATE_WRITE_CHART").is_some() {
        fs::write(&path, wanted).expect("it can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "charts/sandgate/{file} is out of date: run make chart");
}

#[test]
fn the_chart_has_the_version_of_the_program() {
    let chart = fs::read_to_string(Path::new(CHART).join("Chart.yaml")).expect("a chart");
    let chart: Value = serde_saphyr::from_str(&chart).expect("it is YAML");
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let metrics = Metrics::new();
    metrics.reviews.set_policies(&PolicySet::builtin(), jiff::Timestamp::UNIX_EPOCH);
    let there = metrics.text().expect("metrics");
    let objects = render_scenario(&scenario("production")).await;
    let alerts = objects.one("PrometheusRule").to_string();
    let dashboard = objects.all("ConfigMap").find(|map| map["metadata"]["name"] == "sandgate-dashboard");
    let dashboard = dashboard.expect("a dashboard")["data"]["sandgate.json"].as_str().expect("text");
    serde_json::from_str::<Value>(dashboard).expect("a dashboard is JSON");
    for (text, least) in [(alerts.as_str(), 8), (dashboard, 10)] {
        let names = metrics_in(text);
        assert!(names.len() >= least, "{names:?}");
        for name in names {
            assert!(there.contains(&format!("\n{name}")), "sandgate has no metric {name}");
        }
    }
}

/// The words of the text that begin like a metric.
fn metrics_in(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let mut names: Vec<_> = words.filter(|word| word.starts_with("sandgate_")).collect();
    names.sort_unstable();
    names.dedup();
    names
}
