//! Slow, idle, many: what a peer may cost.

use std::time::Duration;

use hyper::StatusCode;
use rustls::version::TLS13;
use tokio::net::TcpStream;

use crate::{
    client::{Http1, Http2, Target, get, head, metric, plain_pod, post, read_to_end, review, write},
    process::{Server, until},
};

const HEAD: &str = "POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_ended() {
    let server = Server::start(&["--handshake-timeout", "0.2"]);
    let mut silent = TcpStream::connect(server.listen).await.unwrap();
    assert_eq!(read_to_end(&mut silent).await, "");
    assert_eq!(metric(&server, "sandgate_tls_handshake_failures_total").await, 1);
}

#[tokio::test]
async fn a_head_that_takes_too_long_ends_the_connection() {
    let server = Server::start(&["--header-timeout", "0.3"]);
    let target = Target::of(&server);
    let mut silent = target.connect().await;
    let mut trickling = target.connect().await;
    write(&mut trickling, HEAD).await;
    assert_eq!(read_to_end(&mut silent).await, "");
    assert_eq!(read_to_end(&mut trickling).await, "");

    // The second request of a connection is not privileged, however slowly and steadily it comes.
    let mut stream = target.connect().await;
    write(&mut stream, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    for letter in HEAD.chars() {
        use tokio::io::AsyncWriteExt;
        let written = stream.write_all(letter.to_string().as_bytes()).await;
        if written.is_err() || stream.flush().await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_body_that_takes_too_long_is_answered_with_408() {
    let server = Server::start(&["--body-timeout", "0.3"]);
    let mut stream = Target::of(&server).connect().await;
    write(&mut stream, &format!("{HEAD}Content-Length: 1000\r\n\r\n{{\"kind\":")).await;
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("did not arrive"), "{answer}");
    assert_eq!(metric(&server, r#"sandgate_requests_rejected_total{limit="body-time"}"#).await, 1);
}

#[tokio::test]
async fn the_answer_comes_before_the_api_server_stops_waiting() {
    let server = Server::start(&["--body-timeout", "600"]);
    let mut stream = Target::of(&server).connect().await;
    let head = HEAD.replace("/mutate", "/mutate?timeout=1s");
    write(&mut stream, &format!("{head}Content-Length: 1000\r\n\r\n{{\"kind\":")).await;
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_not_before() {
    let server = Server::start(&["--idle-timeout", "1.5", "--header-timeout", "0.2"]);
    let mut connection = Http1::over(Target::of(&server).connect().await).await;
    assert_eq!(connection.send(post("/mutate", "no")).await.status, StatusCode::BAD_REQUEST);
    // Longer than a head may take, which must not matter between requests.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(connection.send(post("/mutate", "no")).await.status, StatusCode::BAD_REQUEST);
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn an_http2_connection_outlives_frames_that_belong_to_no_request() {
    let server = Server::start(&["--header-timeout", "0.2"]);
    let stream = Target::of(&server).connect_as(&[&TLS13], &["h2"]).await.unwrap();
    let mut connection = Http2::over(stream).await;
    assert_eq!(connection.send(post("/mutate", "no")).await.status, StatusCode::BAD_REQUEST);
    // The client has acknowledged settings and perhaps moved a window since: that is no head that trickles in.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(connection.is_open().await);
    assert_eq!(connection.send(post("/mutate", "no")).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn idle_connections_are_closed_for_new_ones() {
    let server = Server::start(&["--max-connections", "8"]);
    let target = Target::of(&server);
    let mut held = Vec::new();
    for _ in 0..40 {
        let mut connection = Http1::over(target.connect().await).await;
        assert_eq!(connection.send(post("/mutate", "no")).await.status, StatusCode::BAD_REQUEST);
        held.push(connection);
    }
    let answer = target.post("/mutate", review("CREATE", &plain_pod())).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(held[0].is_closed().await, "the longest idle one");
    assert!(metric(&server, "sandgate_connections").await <= 8);
}

#[tokio::test]
async fn idle_connections_of_the_admin_port_do_not_stop_probes() {
    let server = Server::start(&[]);
    let mut held = Vec::new();
    for _ in 0..70 {
        let mut stream = TcpStream::connect(server.admin).await.unwrap();
        write(&mut stream, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        held.push(stream);
    }
    assert_eq!(get(server.admin, "/healthz").await.status, StatusCode::OK);
    assert_eq!(get(server.admin, "/readyz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn finished_connections_leave_nothing_behind() {
    let server = Server::start(&["--max-connections", "4"]);
    let target = Target::of(&server);
    for _ in 0..40 {
        assert_eq!(target.post("/mutate", "no").await.status, StatusCode::BAD_REQUEST);
    }
    until("all connections are closed", async || metric(&server, "sandgate_connections").await == 0).await;
    assert_eq!(metric(&server, "sandgate_requests_in_flight").await, 0);
}

#[tokio::test]
async fn declared_bodies_take_no_budget() {
    let server = Server::start(&["--body-timeout", "20"]);
    let target = Target::of(&server);
    let mut held = Vec::new();
    for _ in 0..24 {
        let mut slow = target.connect().await;
        write(&mut slow, &format!("{HEAD}Content-Length: 8388608\r\n\r\n{{")).await;
        held.push(slow);
    }
    until("all bodies are being received", async || {
        metric(&server, "sandgate_requests_in_flight").await == 24
    })
    .await;
    let answer = target.post("/mutate?timeout=10s", review("CREATE", &plain_pod())).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(metric(&server, r#"sandgate_requests_rejected_total{limit="bodies-in-flight"}"#).await, 0);
}

#[tokio::test]
async fn received_bodies_leave_a_share_to_small_reviews() {
    let limits =
        ["--max-body-bytes", "1000000", "--max-body-bytes-in-flight", "3000000", "--body-timeout", "20"];
    let server = Server::start(&limits);
    let target = Target::of(&server);
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut slow = target.connect().await;
        write(&mut slow, &format!("{HEAD}Content-Length: 1000000\r\n\r\n{}", " ".repeat(900_000))).await;
        held.push(slow);
    }
    let answer = target.post("/mutate?timeout=10s", review("CREATE", &plain_pod())).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

/// The uid and whether it is allowed, of an answer that may be raw.
fn denied(answer: &str) {
    assert!(answer.contains(r#""uid":"0a1b","allowed":false"#), "{answer}");
}

#[tokio::test]
async fn a_review_that_is_too_large_is_denied_and_recorded() {
    let server = Server::start(&["--max-body-bytes", "200000"]);
    let target = Target::of(&server);
    let body = format!("{}\"{}\"}}}}", head("workflows"), "<".repeat(1 << 20));
    let answer = target.post("/mutate", body).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    denied(&answer.text);
    assert!(answer.text.contains("in a review of more than 200000 bytes"), "{answer:?}");
    let record = server.audit.wait_for(r#""verdict":"denied""#);
    assert!(record.contains(r#""user":"alice""#) && record.contains("pod-s"), "{record}");
    assert_eq!(metric(&server, r#"sandgate_requests_rejected_total{limit="body-size"}"#).await, 1);
}

#[tokio::test]
async fn a_review_that_arrives_too_slowly_is_denied_and_recorded() {
    let server = Server::start(&["--body-timeout", "0.3"]);
    let mut stream = Target::of(&server).connect().await;
    write(&mut stream, &format!("{HEAD}Content-Length: 5000\r\n\r\n{}", head("workflows"))).await;
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    denied(&answer);
    assert!(answer.contains("not received within"), "{answer}");
    server.audit.wait_for(r#""verdict":"denied""#);
}

#[tokio::test]
async fn a_review_beyond_the_budget_is_denied_and_recorded() {
    let limits = ["--max-body-bytes", "100000", "--max-body-bytes-in-flight", "1", "--body-timeout", "20"];
    let server = Server::start(&limits);
    let target = Target::of(&server);
    let part = format!("{}\"{}", head("workflows"), "x".repeat(80_000));
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut slow = target.connect().await;
        write(&mut slow, &format!("{HEAD}Content-Length: 99000\r\n\r\n{part}")).await;
        held.push(slow);
    }
    until("they are being received", async || metric(&server, "sandgate_requests_in_flight").await == 2)
        .await;
    let whole = format!("{part}\"}}}}");
    let answer = target.post("/mutate?timeout=1s", whole.clone()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    denied(&answer.text);
    server.audit.wait_for(r#""verdict":"denied""#);
    drop(held);
    let answer = target.post("/mutate?timeout=20s", whole).await;
    assert!(!answer.text.contains("budget"), "{answer:?}");
}

#[tokio::test]
async fn what_cannot_be_read_is_denied_in_mode_enforce_only() {
    for (mode, allowed, verdict) in
        [("enforce", false, "denied"), ("warn", true, "warned"), ("audit", true, "would-deny")]
    {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy.yaml");
        let text =
            "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {name: p}\nspec: {mode: ";
        std::fs::write(&policy, format!("{text}{mode}}}\n")).unwrap();
        let server = Server::start(&["--policy", policy.to_str().unwrap()]);
        let target = Target::of(&server);
        let answer = target.post("/validate", format!("{}{{", head("workflows"))).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.json()["response"]["allowed"], allowed, "{answer:?}");
        server.audit.wait_for(&format!(r#""verdict":"{verdict}""#));
    }
}

/// The most memory that the server has had at once, in bytes.
fn peak_memory(server: &Server) -> u64 {
    let status = procfs::process::Process::new(server.pid().try_into().unwrap()).unwrap().status().unwrap();
    status.vmhwm.unwrap() * 1024
}

#[tokio::test]
async fn reviews_of_many_values_stay_below_the_charts_memory_limit() {
    const CHART_LIMIT: u64 = 256 << 20;
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let values = |item: &str, count: usize| {
        let env = vec![item; count].join(",");
        format!(r#"{}{{"spec":{{"containers":[{{"name":"a","env":[{env}]}}]}}}}}}}}"#, head("workflows"))
    };
    for (item, count) in
        [(r#"{"name":""}"#, 640_000), (r#"{"name":"a"}"#, 120_000), ("0", 240_000), ("{}", 240_000)]
    {
        // The first is not read to its end, the others are, and all have more variables than a Pod may have.
        let body = hyper::body::Bytes::from(values(item, count));
        let reviews = (0..4).map(|_| target.post("/mutate?timeout=30s", body.clone()));
        for answer in futures::future::join_all(reviews).await {
            assert_eq!(answer.status, StatusCode::OK, "{item}: {answer:?}");
            assert!(answer.text.contains(r#""allowed":false"#), "{item}: {answer:?}");
        }
    }
    let peak = peak_memory(&server);
    assert!(peak < CHART_LIMIT, "{peak} bytes");
}
