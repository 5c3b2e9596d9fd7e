//! What fires when, and what is written about it.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use super::require_prometheus;
use crate::chart::{CHART, items, render};

const CASES: &str = include_str!("alerts.test.yaml");
const RUNBOOK: &str = include_str!("../../../docs/runbook.md");

/// Everything that can be on.
pub(super) const ALL: [&str; 2] =
    ["--set=metrics.prometheusRule.enabled=true", "--set=metrics.prometheusRule.cilium=true"];

/// The groups of what the chart renders with these flags.
pub(super) async fn groups(flags: &[&str]) -> Value {
    render(flags).await.one("PrometheusRule")["spec"]["groups"].clone()
}

fn rules(groups: &Value) -> impl Iterator<Item = &Value> {
    items(groups).iter().flat_map(|group| items(&group["rules"]))
}

fn names(groups: &Value) -> BTreeSet<&str> {
    rules(groups).map(|rule| rule["alert"].as_str().expect("an alert has a name")).collect()
}

/// The rules as they stand in the chart.
fn in_the_chart() -> Value {
    let text = fs::read_to_string(Path::new(CHART).join("files/alerts.yaml")).expect("the chart has alerts");
    let mut rules: Value = serde_saphyr::from_str(&text).expect("they are YAML");
    rules["groups"].take()
}

/// Runs promtool in a folder with these rules and the cases.
fn promtool(arguments: &[&str], groups: &Value) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("it is written");
    write("alerts.yaml", &json!({"groups": groups}).to_string());
    write("alerts.test.yaml", CASES);
    Command::new("promtool").args(arguments).current_dir(folder.path()).output().expect("promtool starts")
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{out}{err}");
    out
}

const TEST: [&str; 3] = ["test", "rules", "alerts.test.yaml"];

fn rules_mut(groups: &mut Value) -> impl Iterator<Item = &mut Value> {
    let groups = groups.as_array_mut().into_iter().flatten();
    groups.filter_map(|group| group["rules"].as_array_mut()).flatten()
}

/// Leaves the summaries, which are what the cases name: their words depend on what fires.
fn keep_summaries(groups: &mut Value) {
    for rule in rules_mut(groups) {
        rule["annotations"].as_object_mut().expect("annotations").retain(|name, _| name == "summary");
    }
}

#[tokio::test]
async fn every_alert_fires_when_it_should_and_not_otherwise() {
    require_prometheus();
    let mut groups = groups(&ALL).await;
    keep_summaries(&mut groups);
    succeeds(&promtool(&TEST, &groups));
}

#[tokio::test]
async fn prometheus_takes_the_rules_with_whatever_values() {
    require_prometheus();
    let values = [
        "--set=metrics.prometheusRule.runbookURL=https://example.com/runbook.md",
        "--set=metrics.prometheusRule.latencySeconds=2,metrics.prometheusRule.denialsPerMinute=1000000",
        "--set=metrics.prometheusRule.errorRatio=0,metrics.prometheusRule.certificateExpiryHours=87600",
        "--set=metrics.prometheusRule.runners.namespaces={a-1,b}",
        r#"--set-json=metrics.prometheusRule.selector="cluster=\"eu-1\",region=~\"eu.*\"""#,
    ];
    for flags in [&ALL[..], &[&ALL[..], &values].concat()] {
        let groups = groups(flags).await;
        assert!(!groups.to_string().contains('@'), "every word is replaced: {groups:#}");
        let output =
            succeeds(&promtool(&["check", "rules", "--lint=all", "--lint-fatal", "alerts.yaml"], &groups));
        assert!(output.contains(&format!("{} rules found", rules(&groups).count())), "{output}");
    }
}

#[tokio::test]
async fn the_groups_are_those_that_have_a_source() {
    let of = async |flags: &[&str]| {
        let groups = groups(&[&["--set=metrics.prometheusRule.enabled=true"], flags].concat()).await;
        let names: Vec<_> =
            items(&groups).iter().map(|group| group["name"].as_str().expect("a name").to_owned()).collect();
        names.join(" ")
    };
    assert_eq!(of(&[]).await, "sandgate sandgate-managed sandgate-apiserver sandgate-runners");
    assert_eq!(
        of(&ALL[1..]).await,
        "sandgate sandgate-managed sandgate-apiserver sandgate-runners sandgate-cilium"
    );
    let few = "--set=metrics.prometheusRule.apiServer=false,metrics.prometheusRule.runners.enabled=false";
    assert_eq!(of(&[few, "--set=certificates.mode=cert-manager"]).await, "sandgate");
    // The namespaces that "*" means are not known when the chart is rendered.
    let every_other = ["--set-json=policies={\"rest\":{\"namespaces\":[\"*\"]}}"];
    assert_eq!(of(&every_other).await, "sandgate sandgate-managed sandgate-apiserver");
    let named = [&every_other[..], &["--set=metrics.prometheusRule.runners.namespaces={ci}"]].concat();
    assert_eq!(of(&named).await, "sandgate sandgate-managed sandgate-apiserver sandgate-runners");
}

#[tokio::test]
async fn alerts_take_labels_severities_and_a_selector_and_can_be_left_out() {
    let changed = [
        "--set=metrics.prometheusRule.alertLabels.team=platform",
        "--set=metrics.prometheusRule.severities.SandgateSlow=info",
        "--set=metrics.prometheusRule.disabledAlerts={SandgateDenialSurge}",
        r#"--set-json=metrics.prometheusRule.selector="cluster=\"eu-1\"""#,
        "--set=metrics.prometheusRule.latencySeconds=null",
    ];
    let usual = groups(&ALL).await;
    let groups = groups(&[&ALL[..], &changed].concat()).await;
    assert_eq!(rules(&groups).count() + 1, rules(&usual).count());
    for rule in rules(&groups) {
        assert_eq!(rule["labels"]["team"], "platform", "{rule:#}");
        let expression = rule["expr"].as_str().expect("an expression");
        let series = expression.matches('{').count();
        assert_eq!(expression.matches(r#"cluster="eu-1""#).count(), series, "{expression}");
    }
    let slow = rules(&groups).find(|rule| rule["alert"] == "SandgateSlow").expect("it is there");
    assert_eq!(slow["labels"]["severity"], "info");
    assert!(slow["expr"].as_str().is_some_and(|text| text.ends_with("> 0.5")), "{slow:#}");
}

#[tokio::test]
async fn an_alert_names_its_place_in_the_runbook_where_that_has_an_address() {
    let at = "--set=metrics.prometheusRule.runbookURL=https://example.com/runbook.md";
    for rule in rules(&groups(&[&ALL[..], &[at]].concat()).await) {
        let name = rule["alert"].as_str().expect("a name").to_lowercase();
        assert_eq!(rule["annotations"]["runbook_url"], format!("https://example.com/runbook.md#{name}"));
    }
    for rule in rules(&groups(&ALL).await) {
        assert!(rule["annotations"].get("runbook_url").is_none(), "{rule:#}");
    }
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_it_is_about() {
    for rule in rules(&in_the_chart()) {
        let severity = rule["labels"]["severity"].as_str().expect("a severity");
        assert!(["critical", "warning", "info"].contains(&severity), "{rule:#}");
        for annotation in ["summary", "description"] {
            let text = rule["annotations"][annotation].as_str().unwrap_or_default();
            assert!(text.len() > 10, "{annotation} of {rule:#}");
        }
    }
}

#[test]
fn every_alert_has_a_case_that_fires_and_one_that_is_quiet() {
    let cases: Value = serde_saphyr::from_str(CASES).expect("cases are YAML");
    let cases = items(&cases["tests"]).iter().flat_map(|test| items(&test["alert_rule_test"]));
    let (mut fires, mut quiet) = (BTreeSet::new(), BTreeSet::new());
    for case in cases {
        let into = if items(&case["exp_alerts"]).is_empty() { &mut quiet } else { &mut fires };
        into.insert(case["alertname"].as_str().expect("a case is of an alert"));
    }
    let groups = in_the_chart();
    assert_eq!(fires, names(&groups));
    assert_eq!(quiet, names(&groups));
}

#[test]
fn the_runbook_has_a_heading_for_every_alert_with_what_it_means_and_what_to_do() {
    let sections: Vec<_> = RUNBOOK.split("\n### ").skip(1).collect();
    let headings: BTreeSet<_> = sections.iter().filter_map(|section| section.lines().next()).collect();
    assert_eq!(headings, names(&in_the_chart()));
    for section in sections {
        for part in ["#### Meaning", "#### Diagnosis", "#### Mitigation"] {
            assert!(section.contains(part), "no {part} in {section}");
        }
    }
}

/// Cases that any rule satisfies would show nothing.
#[tokio::test]
async fn an_alert_that_never_fires_or_always_is_noticed() {
    require_prometheus();
    let mut groups = groups(&ALL).await;
    keep_summaries(&mut groups);
    for expression in ["vector(1) > 2", "vector(1)"] {
        for rule in rules_mut(&mut groups) {
            rule["expr"] = json!(expression);
        }
        let output = promtool(&TEST, &groups);
        let complaint = String::from_utf8_lossy(&output.stderr);
        for name in names(&groups) {
            assert!(
                complaint.contains(&format!("alertname: {name},")),
                "{expression} in {name}: {complaint}"
            );
        }
    }
}
