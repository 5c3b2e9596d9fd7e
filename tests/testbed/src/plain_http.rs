//! The admin port of sandgate, and the like: too little to need a client for it.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The whole answer, from its status line on.
///
/// # Errors
/// Returns an error if nothing listens, or the connection breaks.
pub async fn get(port: u16, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: sandgate\r\nUser-Agent: kube-probe/1.36\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Returns true if the answer has the status 200.
pub async fn is_fine(port: u16, path: &str) -> bool {
    get(port, path).await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// The value of a metric; `None` where nothing answers.
pub(super) async fn metric(port: u16, name: &str) -> Option<i64> {
    let text = get(port, "/metrics").await.ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line?.trim().parse().ok()
}
