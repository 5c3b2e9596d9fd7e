//! Traces: what a collector gets, and what becomes of those that it does not take.

use std::{fs, sync::Arc};

use http_body_util::Full;
use hyper::{Request, StatusCode, body::Bytes};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{
    client::{Http1, Target, hostile_pod, metric, plain_pod, post, review},
    pki::Ca,
    process::{Server, command, until},
};
use testbed::{Collector, attribute};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A review in a trace, as an API server sends it that traces.
fn traced(path: &str, body: String, flags: &str) -> Request<Full<Bytes>> {
    let mut request = post(path, body);
    let context = format!("00-{TRACE}-00f067aa0ba902b7-{flags}");
    request.headers_mut().insert("traceparent", context.parse().unwrap());
    request
}

fn server(collector: &Collector, more: &[&str]) -> Server {
    Server::start(&[&["--otlp-endpoint", &collector.url, "--instance", "sandgate-0"], more].concat())
}

#[tokio::test]
async fn a_request_is_a_span_of_the_trace_that_it_comes_with() {
    let collector = Collector::start().await;
    let server = server(&collector, &[]);
    let target = Target::of(&server);
    target.send(traced("/mutate", review("CREATE", &hostile_pod()), "01")).await;
    target.send(traced("/validate", "no review".into(), "01")).await;
    until("both are there", async || collector.spans().len() == 2).await;

    let spans = collector.spans();
    for span in &spans {
        assert_eq!((&span["traceId"], &span["parentSpanId"]), (&TRACE.into(), &"00f067aa0ba902b7".into()));
        assert_eq!(span["spanId"].as_str().unwrap().len(), 16, "{span:#}");
        assert_eq!((&span["kind"], &span["status"]), (&2.into(), &serde_json::Value::Null), "{span:#}");
        let time = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
        assert!(time("startTimeUnixNano") < time("endTimeUnixNano"), "{span:#}");
    }
    assert_ne!(spans[0]["spanId"], spans[1]["spanId"]);
    assert_eq!(spans[0]["name"], "POST /mutate");
    for (key, value) in [
        ("sandgate.verdict", "denied"),
        ("sandgate.operation", "CREATE"),
        ("sandgate.policy", "workflow-runner"),
        ("sandgate.violations", "1"),
        ("sandgate.uid", "705ab4f5-6393-11e8-b7cc-42010a800002"),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(attribute(&spans[0], key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(attribute(&spans[1], "http.response.status_code").as_deref(), Some("400"));
    assert_eq!(attribute(&spans[1], "sandgate.verdict"), None);
    let resource = &collector.bodies()[0]["resourceSpans"][0]["resource"];
    assert_eq!(attribute(resource, "service.name").as_deref(), Some("sandgate"));
    assert_eq!(attribute(resource, "service.instance.id").as_deref(), Some("sandgate-0"));
    // Neither names nor values that a person chose.
    let all = serde_json::to_string(&collector.bodies()).unwrap();
    for secret in ["alice", "plain", "busybox", "workflows", "do-not-log-me"] {
        assert!(!all.contains(&format!("\"{secret}")), "{secret} in {all}");
    }
    until("they are counted", async || metric(&server, r#"sandgate_spans_total{result="ok"}"#).await == 2)
        .await;
}

#[tokio::test]
async fn a_request_that_is_not_sampled_is_no_span() {
    let collector = Collector::start().await;
    let server = server(&collector, &[]);
    let target = Target::of(&server);
    target.post("/mutate", review("CREATE", &plain_pod())).await;
    target.send(traced("/mutate", review("CREATE", &plain_pod()), "00")).await;
    target.send(traced("/validate", review("CREATE", &plain_pod()), "01")).await;
    until("the sampled one is there", async || !collector.spans().is_empty()).await;
    let names: Vec<_> = collector.spans().iter().map(|span| span["name"].clone()).collect();
    assert_eq!(names, ["POST /validate"]);
}

#[tokio::test]
async fn with_a_ratio_traces_begin_here_unless_the_sender_does_not_want_it() {
    let collector = Collector::start().await;
    let server = server(&collector, &["--otlp-sample-ratio", "1"]);
    let target = Target::of(&server);
    target.send(traced("/validate", review("CREATE", &plain_pod()), "00")).await;
    for _ in 0..2 {
        target.post("/mutate", review("CREATE", &plain_pod())).await;
    }
    until("both are there", async || collector.spans().len() == 2).await;
    let spans = collector.spans();
    for span in &spans {
        assert_eq!((&span["name"], span.get("parentSpanId")), (&"POST /mutate".into(), None));
        assert_eq!(span["traceId"].as_str().unwrap().len(), 32);
    }
    assert_ne!(spans[0]["traceId"], spans[1]["traceId"]);
}

#[tokio::test]
async fn a_collector_that_is_gone_is_logged_once_and_its_spans_are_counted() {
    let collector = Collector::start().await;
    let server = server(&collector, &["--otlp-sample-ratio", "1"]);
    drop(collector);
    let target = Target::of(&server);
    for round in 1..=2 {
        let answer = target.post("/mutate", review("CREATE", &plain_pod())).await;
        assert_eq!(answer.status, StatusCode::OK);
        let failed = r#"sandgate_spans_total{result="failed"}"#;
        until("it is counted", async || metric(&server, failed).await == round).await;
    }
    assert_eq!(server.logs().matches("Failed to export spans").count(), 1, "{}", server.logs());
}

#[tokio::test]
async fn a_collector_that_hangs_holds_up_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::start(&["--otlp-endpoint", &url, "--otlp-sample-ratio", "1", "--audit", "off"]);
    let mut connection = Http1::over(Target::of(&server).connect().await).await;
    let review = review("DELETE", &plain_pod());
    // More than wait and are under way.
    for _ in 0..2048 + 512 + 100 {
        let answer = connection.send(post("/validate", review.clone())).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    // On a slow machine some requests were abandoned by then and freed their places.
    until("a span is dropped", async || {
        for _ in 0..512 {
            connection.send(post("/validate", review.clone())).await;
        }
        metric(&server, r#"sandgate_spans_total{result="dropped"}"#).await > 0
    })
    .await;
}

#[tokio::test]
async fn a_collector_with_tls_is_known_by_its_ca() {
    let ca = Ca::new();
    let leaf = ca.leaf(1);
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let certificate = CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    let config = config.with_single_cert(vec![certificate], key).unwrap();
    let collector = Collector::start_with(Some(TlsAcceptor::from(Arc::new(config)))).await;
    let folder = tempfile::tempdir().unwrap();
    for (name, pem, arrives) in [("right", ca.pem(), true), ("wrong", Ca::new().pem(), false)] {
        let file = folder.path().join(name);
        fs::write(&file, pem).unwrap();
        let before = collector.spans().len();
        let server = server(&collector, &["--otlp-ca", file.to_str().unwrap()]);
        let request = traced("/mutate", review("CREATE", &plain_pod()), "01");
        Target::of(&server).send(request).await;
        let result = if arrives { "ok" } else { "failed" };
        let counted = format!("sandgate_spans_total{{result=\"{result}\"}}");
        until("it is counted", async || metric(&server, &counted).await == 1).await;
        assert_eq!(collector.spans().len(), before + usize::from(arrives), "{name}");
    }
}

#[test]
fn a_collector_that_cannot_be_used_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let empty = empty.to_str().unwrap();
    for (flags, reason) in [
        (&["--otlp-endpoint", "collector:4318"][..], "such as http://127.0.0.1:4318"),
        (&["--otlp-endpoint", "/v1/traces"], "such as http://127.0.0.1:4318"),
        (&["--otlp-endpoint", "https://collector:4318"], "https needs --otlp-ca FILE"),
        (&["--otlp-endpoint", "https://collector:4318", "--otlp-ca", "/nowhere"], "/nowhere cannot be read"),
        (&["--otlp-endpoint", "https://collector:4318", "--otlp-ca", empty], "no certificates in PEM"),
        (&["--otlp-sample-ratio", "1.5"], "must be from 0 to 1"),
        (&["--otlp-sample-ratio", "NaN"], "must be from 0 to 1"),
    ] {
        let output = command(&[&["--certs", "dev"], flags].concat()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {stderr}");
        assert!(stderr.contains(reason), "{flags:?}: {stderr}");
    }
}
