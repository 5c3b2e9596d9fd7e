//! What a test plays: the metrics of a replica, and a kubelet that has one log.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::Arc,
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// Answers every request with `text`, and returns its port.
pub(crate) fn metrics(text: String) -> u16 {
    listen(move |stream| answer(stream, &text))
}

/// Answers every request with `log` as a kubelet does, and returns its port. The API server does not verify its certificate.
pub(crate) fn kubelet(log: String) -> u16 {
    let issued = rcgen::generate_simple_self_signed(["kubelet".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    listen(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        answer(StreamOwned::new(connection, stream), &log)
    })
}

fn listen(serve: impl Fn(std::net::TcpStream) -> io::Result<()> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(serve(stream))));
    port
}

fn answer(stream: impl Read + Write, text: &str) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    // The request ends with an empty line.
    while stream.read_line(&mut line)? > 2 {
        line.clear();
    }
    let length = text.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close";
    let out = stream.get_mut();
    write!(out, "{head}\r\nContent-Length: {length}\r\n\r\n{text}")?;
    out.flush()
}
