//! Two webhooks that decide nothing, on the stack of the real one: what the rest costs. A third, on the same stack, is
//! written as the documentation of `kube` proposes it.
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

use sandgate_engine::{
    policy::PolicySet,
    review::{self, Endpoint},
};

use super::{Result, certificate, reviews, typed};

/// The first argument of a benchmark that is to be a webhook.
pub(crate) const ARGUMENT: &str = "webhook";

/// The file with the answer: that of sandgate to the same review.
pub(crate) const ANSWER: &str = "answer.json";

/// The placeholder for the review's uid in the answer.
pub(crate) const UID: &str = "{uid}";

/// Writes the answer of sandgate to a review, for the webhooks that have none of their own.
pub(crate) fn write_answer(folder: &Path, review: &[u8]) -> Result<()> {
    let policies = PolicySet::builtin();
    let answer = review::answer(&policies, Endpoint::Mutate, None, review)?;
    let template = String::from_utf8(answer.body)?.replacen(reviews::UID, UID, 1);
    Ok(fs::write(folder.join(ANSWER), template)?)
}

/// Becomes a webhook if the command line is `webhook null|tree|kube-rs PORT FOLDER`.
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
    let (before, after) = (before.to_owned(), after.to_owned());
    let webhook = match reader {
        "kube-rs" => Webhook::Typed,
        "tree" => Webhook::Fixed { read: whole_tree, before, after },
        _ => Webhook::Fixed { read: uid_only, before, after },
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

enum Webhook {
    /// It answers each review with one text.
    Fixed { read: Reader, before: String, after: String },
    /// It fills a typed Pod.
    Typed,
}

impl Webhook {
    fn answer(&self, body: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Fixed { read, before, after } => {
                read(body).map(|uid| [before, &*uid, after].concat().into_bytes())
            }
            Self::Typed => typed::answer(body),
        }
    }
}

async fn respond(State(webhook): State<Arc<Webhook>>, body: Bytes) -> impl IntoResponse {
    match webhook.answer(&body) {
        Some(answer) => (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], answer),
        None => (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "text/plain")], b"no review".to_vec()),
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
