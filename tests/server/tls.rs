//! Versions, protocols, and what is not TLS.

use std::io::Write;

use hyper::StatusCode;
use rustls::version::TLS13;
use tokio::net::TcpStream;

use crate::{
    client::{BOTH_TLS, Http1, Http2, Target, metric, plain_pod, post, read_to_end, review, write},
    process::{Server, until},
};

#[tokio::test]
async fn both_tls_versions_carry_both_http_versions() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    for version in BOTH_TLS {
        for (offered, agreed) in [
            (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
            (&["http/1.1"][..], Some(&b"http/1.1"[..])),
            (&[][..], None),
        ] {
            let stream = target.connect_as(&[version], offered).await.unwrap();
            assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
            assert_eq!(stream.get_ref().1.alpn_protocol(), agreed);
            let request = post("/mutate", review("CREATE", &plain_pod()));
            let answer = match agreed {
                Some(b"h2") => Http2::over(stream).await.send(request).await,
                _ => Http1::over(stream).await.send(request).await,
            };
            assert_eq!(answer.status, StatusCode::OK, "{version:?} {offered:?}");
            assert_eq!(answer.json()["response"]["allowed"], true, "{version:?} {offered:?}");
        }
    }
}

#[tokio::test]
async fn many_streams_share_one_http2_connection() {
    let server = Server::start(&[]);
    let stream = Target::of(&server).connect_as(&[&TLS13], &["h2"]).await.unwrap();
    let mut connection = Http2::over(stream).await;
    for _ in 0..20 {
        let mut large = plain_pod();
        large["metadata"]["annotations"] = serde_json::json!({"note": "n".repeat(500_000)});
        assert_eq!(connection.send(post("/validate", review("CREATE", &large))).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_client_with_another_protocol_in_mind_is_turned_away() {
    let server = Server::start(&[]);
    let error = Target::of(&server).connect_as(&[&TLS13], &["imap"]).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
}

#[tokio::test]
async fn the_development_certificate_holds_for_the_names_it_is_made_for() {
    let server = Server::start(&["--server-name", "sandgate.sandgate.svc"]);
    let error = Target::of(&server).connect_as(&[&TLS13], &["http/1.1"]).await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_closed_with_a_hint_in_the_log() {
    let server = Server::start(&["--log-level", "debug"]);
    let mut stream = TcpStream::connect(server.listen).await.unwrap();
    write(&mut stream, "GET /mutate HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = read_to_end(&mut stream).await;
    assert!(!answer.contains("200 OK"), "{answer}");
    server.logged("plain HTTP");
    until("the failure is counted", async || {
        metric(&server, "sandgate_tls_handshake_failures_total").await > 0
    })
    .await;
}

#[tokio::test]
async fn noise_on_the_tls_port_is_closed() {
    let server = Server::start(&[]);
    let mut stream = TcpStream::connect(server.listen).await.unwrap();
    write(&mut stream, &"\0".repeat(100)).await;
    read_to_end(&mut stream).await;
    // And one that comes and goes, as a load balancer's probe.
    drop(std::net::TcpStream::connect(server.listen).unwrap().flush());
    assert_eq!(
        Target::of(&server).post("/mutate", review("CREATE", &plain_pod())).await.status,
        StatusCode::OK
    );
}
