//! A control plane of its own, for what would stay behind in one that other tests use: counters of the API server.
//!
//! It writes no audit log. Its way to Pods leads through a proxy to ports of this machine, so that the metrics of a Pod can be
//! read although there is no network of Pods.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    thread,
};

use serde_json::json;
use tokio::sync::OnceCell;

use testbed::{ControlPlane, Result};

/// Returns the control plane, which the first test that asks starts.
pub(crate) async fn apart() -> &'static ControlPlane {
    static BED: OnceCell<ControlPlane> = OnceCell::const_new();
    BED.get_or_init(async || ControlPlane::start_flagged(flags).await.expect("it starts")).await
}

fn flags(folder: &Path) -> Result<Vec<String>> {
    let socket = folder.join("proxy.sock");
    let listener = UnixListener::bind(&socket)?;
    thread::spawn(move || listener.incoming().flatten().for_each(|from| drop(thread::spawn(|| pass(from)))));
    let transport = json!({"uds": {"udsName": socket}});
    let connection = json!({"proxyProtocol": "HTTPConnect", "transport": transport});
    let configuration = json!({
        "apiVersion": "apiserver.k8s.io/v1beta1",
        "kind": "EgressSelectorConfiguration",
        "egressSelections": [{"name": "cluster", "connection": connection}],
    });
    let file = folder.join("egress.json");
    fs::write(&file, configuration.to_string())?;
    Ok(vec![format!("--egress-selector-config-file={}", file.display()), "--audit-log-path=".into()])
}

/// Answers a CONNECT: whatever the address is, the port is one of this machine.
fn pass(mut from: UnixStream) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        from.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    let address = head.split_ascii_whitespace().nth(1).unwrap_or_default();
    let port = address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0);
    let mut to = TcpStream::connect(("127.0.0.1", port))?;
    from.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut back, mut forth) = (to.try_clone()?, from.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut back, &mut forth);
        let _ = forth.shutdown(Shutdown::Both);
    });
    io::copy(&mut from, &mut to)?;
    to.shutdown(Shutdown::Write)
}
