//! Two webhooks that decide nothing, on the stack of the real one: what the rest costs.
//!
//! A benchmark starts itself again to be one of them, so that each has a process of its own to be measured.

use std::{borrow::Cow, env, fs, net::Ipv4Addr, path::Path, process::exit, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::post,
};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{Result, certificate};

/// The first argument of a benchmark that is to be a webhook.
pub(crate) const ARGUMENT: &str = "webhook";

/// The file with the answer: that of sandgate to the same review.
pub(crate) const ANSWER: &str = "answer.json";

/// The placeholder for the review's uid in the answer.
pub(crate) const UID: &str = "{uid}";

/// Becomes a webhook if the command line is `webhook null|tree PORT FOLDER`.
pub(crate) fn run_if_asked() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [first, reader, port, folder] = arguments.as_slice()
        && first == ARGUMENT
    {
        let ended = serve(reader, port, Path::new(folder));
        eprintln!("the webhook {reader} ended: {ended:?}");
        #[expect(clippy::disallowed_methods, reason = "a webhook of the benchmarks has no audit records")]
        exit(1);
    }
}

/// The work of a webhook on a body: it finds the uid.
type Reader = for<'b> fn(&'b [u8]) -> Option<Cow<'b, str>>;

#[tokio::main]
async fn serve(reader: &str, port: &str, folder: &Path) -> Result<()> {
    let answer = fs::read_to_string(folder.join(ANSWER))?;
    let (before, after) = answer.split_once(UID).ok_or("the answer has no place for the uid")?;
    let webhook = Webhook {
        read: if reader == "tree" { whole_tree } else { uid_only },
        before: before.to_owned(),
        after: after.to_owned(),
    };
    let app = Router::new()
        .route("/mutate", post(respond))
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::new(webhook));
    let tls = TlsAcceptor::from(certificate::server(folder)?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream, tls.clone(), app.clone()));
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, app: Router) -> Result<()> {
    stream.set_nodelay(true)?;
    let stream = tls.accept(stream).await?;
    http1::Builder::new().serve_connection(TokioIo::new(stream), TowerToHyperService::new(app)).await?;
    Ok(())
}

struct Webhook {
    read: Reader,
    before: String,
    after: String,
}

async fn respond(State(webhook): State<Arc<Webhook>>, body: Bytes) -> impl IntoResponse {
    let Webhook { read, before, after } = &*webhook;
    match read(&body) {
        Some(uid) => {
            (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], [before, &*uid, after].concat())
        }
        None => (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "text/plain")], "no uid".into()),
    }
}

/// *null*: walks over the body and keeps nothing but the uid.
fn uid_only(body: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Review<'b> {
        #[serde(borrow)]
        request: Request<'b>,
    }

    #[derive(Deserialize)]
    struct Request<'b> {
        #[serde(borrow)]
        uid: Cow<'b, str>,
    }

    let review: Review = serde_json::from_slice(body).ok()?;
    Some(review.request.uid)
}

/// *tree*: reads the body into owned values and drops them.
fn whole_tree(body: &[u8]) -> Option<Cow<'_, str>> {
    let review: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(Cow::Owned(review["request"]["uid"].as_str()?.to_owned()))
}
