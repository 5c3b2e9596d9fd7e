//! What is counted, as a scraper meets it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    client::{Target, get, hostile_pod, metric, plain_pod, review, write},
    process::{Server, until},
};

const TABLE: &str = include_str!("../../docs/metrics.md");

#[tokio::test]
async fn metrics_are_openmetrics_and_count_verdicts_rules_and_bodies() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let plain = review("CREATE", &plain_pod());
    let answer = target.post("/mutate", plain.clone()).await;
    target.post("/validate", review("CREATE", &hostile_pod())).await;
    target.post("/validate", review("DELETE", &serde_json::Value::Null)).await;

    let scraped = get(server.admin, "/metrics").await;
    assert_eq!(scraped.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(scraped.text.ends_with("# EOF\n"));
    for (line, value) in [
        (&*reviews("mutate", "CREATE", "admitted", "workflow-runner", "enforce"), 1),
        (&*reviews("validate", "CREATE", "denied", "workflow-runner", "enforce"), 1),
        (&*reviews("validate", "DELETE", "not-evaluated", "", "none"), 1),
        (r#"sandgate_violations_total{rule="host-namespaces"}"#, 1),
        (r#"sandgate_filled_fields_total{rule="runtime-class"}"#, 1),
        (r#"sandgate_admission_duration_seconds_count{endpoint="mutate"}"#, 1),
        (r#"sandgate_request_body_bytes_total{endpoint="mutate"}"#, plain.len() as u64),
        (r#"sandgate_response_body_bytes_total{endpoint="mutate"}"#, answer.text.len() as u64),
        ("sandgate_requests_in_flight", 0),
        ("sandgate_tls_handshakes_total", 3),
        ("sandgate_policy_stale", 0),
        (concat!(r#"sandgate_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""}"#), 1),
    ] {
        assert_eq!(metric(&server, line).await, value, "{line}");
    }
    assert!(metric(&server, "sandgate_certificate_not_after_timestamp_seconds").await > 1_700_000_000);
}

fn reviews(endpoint: &str, operation: &str, verdict: &str, policy: &str, mode: &str) -> String {
    format!(
        r#"sandgate_admission_reviews_total{{endpoint="{endpoint}",operation="{operation}",verdict="{verdict}",policy="{policy}",mode="{mode}"}}"#
    )
}

#[tokio::test]
async fn an_update_of_a_pod_that_should_not_be_there_is_an_escape_from_any_sender() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    for uid in ["one", "two", "one"] {
        let mut pod = hostile_pod();
        pod["metadata"]["uid"] = uid.into();
        let mut update: serde_json::Value = serde_json::from_str(&review("UPDATE", &pod)).unwrap();
        update["request"]["oldObject"] = pod;
        for path in ["/mutate", "/validate"] {
            let answer = target.post(path, update.to_string()).await;
            assert_eq!(answer.json()["response"]["allowed"], true, "{answer:?}");
        }
    }
    let line = server.logged("A stored Pod violates the policy");
    for part in [r#""level":"WARN""#, r#""uid":"one""#, "host-namespaces"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert_eq!(metric(&server, r#"sandgate_escapes_total{policy="workflow-runner"}"#).await, 3);
    assert_eq!(metric(&server, r#"sandgate_escaped_pods{policy="workflow-runner"}"#).await, 2);
}

#[tokio::test]
async fn what_is_no_tls_is_a_handshake_that_failed() {
    let server = Server::start(&[]);
    let mut stream = tokio::net::TcpStream::connect(server.listen).await.unwrap();
    write(&mut stream, "GET / HTTP/1.1\r\n\r\n").await;
    let failed = async || metric(&server, "sandgate_tls_handshake_failures_total").await == 1;
    until("it is counted", failed).await;
}

#[tokio::test]
async fn a_reload_brings_the_new_policies_series_and_takes_those_of_the_gone_along() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    let policy = |name: &str, mode: &str| {
        let text = format!(
            "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {{name: {name}}}\nspec: {{namespaces: [{name}], mode: {mode}}}\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    policy("first", "enforce");
    let server = Server::start(&["--policy", file.to_str().unwrap()]);
    let metrics = async || get(server.admin, "/metrics").await.text;
    assert!(metrics().await.contains(r#"sandgate_policy_info{policy="first","#));
    let loaded = metric(&server, "sandgate_policy_loaded_timestamp_seconds").await;
    assert!(loaded > 1_700_000_000);

    policy("second", "warn");
    until("it is in force", async || {
        metric(&server, r#"sandgate_policy_reloads_total{result="ok"}"#).await == 1
    })
    .await;
    let text = metrics().await;
    assert_eq!(metric(&server, &reviews("mutate", "CREATE", "warned", "second", "warn")).await, 0);
    assert!(
        text.contains(r#"sandgate_policy_info{policy="second","#) && !text.contains(r#""first""#),
        "{text}"
    );
    assert!(metric(&server, "sandgate_policy_loaded_timestamp_seconds").await >= loaded);
}

#[tokio::test]
async fn the_number_of_series_is_that_of_the_documentation() {
    let server = Server::start(&[]);
    let text = get(server.admin, "/metrics").await.text;
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    let of_the_policy = text.lines().filter(|line| line.contains(r#"policy="workflow-runner""#)).count();
    assert!(
        TABLE.contains(&format!("about 200, and {of_the_policy} more for each policy")),
        "{of_the_policy}"
    );
    assert!((series - of_the_policy).abs_diff(200) <= 15, "{series}");
}

#[tokio::test]
async fn the_process_reports_its_memory_and_cpu() {
    let server = Server::start(&[]);
    let value = async |name| number(&get(server.admin, "/metrics").await.text, name);
    assert!(value("process_resident_memory_bytes").await > 1e6);
    assert!(value("process_virtual_memory_bytes").await > value("process_resident_memory_bytes").await);
    assert!(value("process_threads").await >= 2.0);
    assert!((3.0..1000.0).contains(&value("process_open_fds").await));
    assert!(value("process_max_fds").await >= value("process_open_fds").await);
    assert!(value("process_cpu_seconds_total").await >= 0.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let age = now - value("process_start_time_seconds").await;
    assert!((-2.0..600.0).contains(&age), "{age}");
}

fn number(text: &str, name: &str) -> f64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}

#[tokio::test]
async fn the_table_of_the_documentation_has_every_metric_and_no_other() {
    let server = Server::start(&[]);
    let metrics = exposed(&get(server.admin, "/metrics").await.text);
    let documented: BTreeMap<_, _> = TABLE.lines().filter_map(row).collect();
    assert!(documented.len() > 30, "{documented:?}");
    assert_eq!(documented, metrics);
}

/// What describes a metric: its type and its labels.
type Kind = (String, BTreeSet<String>);

fn row(line: &str) -> Option<(String, Kind)> {
    let cells: Vec<&str> = line.strip_prefix("| `")?.split('|').map(str::trim).collect();
    let labels = cells[2].split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
    Some((cells[0].trim_end_matches('`').to_owned(), (cells[1].to_owned(), labels)))
}

/// Every family by the name of its samples. `le` belongs to the type.
fn exposed(text: &str) -> BTreeMap<String, Kind> {
    let mut families = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (family, kind) = line.split_once(' ').unwrap();
        let name = match kind {
            "counter" => format!("{family}_total"),
            "info" => format!("{family}_info"),
            _ => family.to_owned(),
        };
        let sample = if kind == "histogram" { format!("{family}_bucket") } else { name.clone() };
        let samples: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(&sample)).collect();
        assert!(!samples.is_empty(), "{name} is there from the start");
        let labels = samples.iter().filter_map(|sample| sample.strip_prefix('{')?.split_once('}'));
        let labels =
            labels.flat_map(|(labels, _)| labels.split(',').filter_map(|label| label.split_once('=')));
        let labels = labels.map(|(label, _)| label.to_owned()).filter(|label| label != "le").collect();
        families.insert(name, (kind.to_owned(), labels));
    }
    families
}
