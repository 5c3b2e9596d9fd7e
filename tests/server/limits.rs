//! Slow, idle, many: what a peer may cost.

use std::time::Duration;

use hyper::StatusCode;
use rustls::version::TLS13;
use tokio::net::TcpStream;

use crate::{
    client::{Http1, Http2, Target, metric, plain_pod, post, read_to_end, review, write},
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
async fn the_number_of_connections_is_bounded_and_the_next_one_waits_its_turn() {
    let server = Server::start(&["--max-connections", "2"]);
    let target = Target::of(&server);
    let (first, _second) = (target.connect().await, target.connect().await);
    let waiting = {
        let (address, ca) = (target.address, std::fs::read_to_string(server.ca()).unwrap());
        let target = Target::with_ca(&server, &ca);
        assert_eq!(target.address, address);
        tokio::spawn(async move { target.post("/mutate", review("CREATE", &plain_pod())).await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    assert_eq!(metric(&server, "sandgate_connections").await, 2);
    drop(first);
    assert_eq!(waiting.await.unwrap().status, StatusCode::OK);
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
async fn bodies_in_flight_are_bounded_in_bytes() {
    let limits =
        ["--max-body-bytes", "100000", "--max-body-bytes-in-flight", "100000", "--body-timeout", "20"];
    let server = Server::start(&limits);
    let target = Target::of(&server);
    let mut slow = target.connect().await;
    write(&mut slow, &format!("{HEAD}Content-Length: 100000\r\n\r\n{{\"kind\":")).await;
    until("the slow body is being read", async || metric(&server, "sandgate_requests_in_flight").await == 1)
        .await;

    let refused = target.post("/mutate?timeout=1s", review("CREATE", &plain_pod())).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{refused:?}");
    assert_eq!(metric(&server, r#"sandgate_requests_rejected_total{limit="bodies-in-flight"}"#).await, 1);

    drop(slow);
    let answer = target.post("/mutate?timeout=20s", review("CREATE", &plain_pod())).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}
