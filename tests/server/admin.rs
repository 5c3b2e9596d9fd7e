//! The admin port.

use hyper::StatusCode;
use tokio::net::TcpStream;

use crate::{
    client::{Target, get, hostile_pod, metric, plain_pod, read_to_end, review, write},
    process::Server,
};

#[tokio::test]
async fn probes_answer_in_plain_http() {
    let server = Server::start(&[]);
    for path in ["/healthz", "/readyz"] {
        let answer = get(server.admin, path).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, "ok\n"), "{path}");
    }
    assert_eq!(get(server.admin, "/mutate").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn metrics_are_openmetrics_and_count_verdicts_and_rules() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    target.post("/mutate", review("CREATE", &plain_pod())).await;
    target.post("/validate", review("CREATE", &hostile_pod())).await;
    target.post("/validate", review("DELETE", &serde_json::Value::Null)).await;

    let scraped = get(server.admin, "/metrics").await;
    assert_eq!(scraped.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(scraped.text.ends_with("# EOF\n"));
    for (line, value) in [
        (r#"sandgate_admission_reviews_total{endpoint="mutate",verdict="admitted",mode="enforce"}"#, 1),
        (r#"sandgate_admission_reviews_total{endpoint="validate",verdict="denied",mode="enforce"}"#, 1),
        (r#"sandgate_admission_reviews_total{endpoint="validate",verdict="not-judged",mode="none"}"#, 1),
        (r#"sandgate_violations_total{rule="host-namespaces"}"#, 1),
        (r#"sandgate_admission_duration_seconds_count{endpoint="mutate"}"#, 1),
        ("sandgate_requests_in_flight", 0),
        ("sandgate_tls_handshakes_total", 3),
        ("sandgate_policy_stale", 0),
        (concat!(r#"sandgate_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""}"#), 1),
    ] {
        assert_eq!(metric(&server, line).await, value, "{line}");
    }
    assert!(metric(&server, "sandgate_certificate_not_after_timestamp_seconds").await > 1_700_000_000);
}

#[tokio::test]
async fn a_slow_head_on_the_admin_port_is_ended_too() {
    let server = Server::start(&["--header-timeout", "0.3"]);
    let mut stream = TcpStream::connect(server.admin).await.unwrap();
    write(&mut stream, "GET /metrics HTTP/1.1\r\n").await;
    assert_eq!(read_to_end(&mut stream).await, "");
}
