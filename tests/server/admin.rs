//! The admin port.

use hyper::StatusCode;
use tokio::net::TcpStream;

use crate::{
    client::{get, read_to_end, write},
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
async fn a_slow_head_on_the_admin_port_is_ended_too() {
    let server = Server::start(&["--header-timeout", "0.3"]);
    let mut stream = TcpStream::connect(server.admin).await.unwrap();
    write(&mut stream, "GET /metrics HTTP/1.1\r\n").await;
    assert_eq!(read_to_end(&mut stream).await, "");
}
