//! `sandgate log-level`: the log filter of a running server.

use std::{error::Error, net::SocketAddr, time::Duration};

use axum::http::{Method, Request, StatusCode, header::HOST};
use clap::Args;
use http_body_util::{BodyExt, Full};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::{CliError, Status, print, wait_for};

/// Show or set the log level of a running server
///
/// Asks the admin port of the server on the same machine, or in the same Pod:
/// `kubectl exec POD -- /sandgate log-level debug`. Reset by a restart.
#[derive(Debug, Args)]
pub(super) struct LogLevelArgs {
    /// Level (off, error, warn, info, debug, trace) or filter such as sandgate=debug; omit to print the current filter
    filter: Option<String>,
    /// The server's admin port
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    admin: SocketAddr,
}

pub(super) fn run(args: &LogLevelArgs) -> Result<Status, CliError> {
    const TIMEOUT: Duration = Duration::from_secs(5);
    let unreachable = |problem: &str| {
        let admin = args.admin;
        CliError::new(format_args!("no sandgate answers on {admin}: {problem}; set --admin ADDR:PORT"))
    };
    let asking = async {
        match timeout(TIMEOUT, ask(args)).await {
            Ok(answer) => answer.map_err(|error| unreachable(&error.to_string())),
            Err(_) => Err(unreachable("no answer within 5 s")),
        }
    };
    match wait_for(asking)? {
        (StatusCode::OK, text) => print(&text).map(|()| Status::Fine),
        (_, reason) => Err(CliError::new(reason.trim())),
    }
}

async fn ask(LogLevelArgs { filter, admin }: &LogLevelArgs) -> Result<(StatusCode, String), Box<dyn Error>> {
    let stream = TcpStream::connect(admin).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let method = if filter.is_some() { Method::PUT } else { Method::GET };
    let request = Request::builder().method(method).uri("/loglevel").header(HOST, admin.to_string());
    let body = Bytes::from(filter.clone().unwrap_or_default());
    let answer = sender.send_request(request.body(Full::new(body))?).await?;
    let status = answer.status();
    let text = answer.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&text).into_owned()))
}
