//! The attacks on the port of reviews and on that of probes.

use std::{collections::HashSet, convert::Infallible, time::Duration};

use futures::stream::{self, StreamExt};
use http_body_util::StreamBody;
use hyper::{
    Request, StatusCode,
    body::{Bytes, Frame},
    client::conn::http2,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};

use crate::{
    Result,
    client::{Answer, Client, PATIENCE},
    reviews::{self, Review},
};

/// How long what is held open is held.
const HOLD: Duration = Duration::from_secs(6);

/// The bytes that slow bodies promise: the largest body there may be.
const PROMISED_BYTES: usize = 8 << 20;

/// An attack of one client.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attack {
    ManyValues,
    ManyHints,
    LongTexts,
    PaddedBodies,
    SlowBodies,
    NoPolicy,
    Streams,
    IdleConnections,
    AdminConnections,
    AllowedParents,
    WorseUpdates,
}

/// What an attack did.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// The requests and connections of the attack.
    pub(crate) requests: usize,
    /// The reviews that were answered, each of which must have an audit record.
    pub(crate) uids: HashSet<String>,
    /// The answers that are no denials. The API server takes each of them, and no answer, as consent under
    /// `failurePolicy: Ignore`.
    pub(crate) escapes: Vec<String>,
    /// The length of the longest answer, in bytes.
    pub(crate) longest_answer: usize,
}

impl Done {
    /// Adds the answer to a hostile review.
    pub(crate) fn add(&mut self, uid: String, answer: Result<Answer>) {
        self.requests += 1;
        match answer {
            Ok((status, body)) => {
                self.longest_answer = self.longest_answer.max(body.len());
                let text = String::from_utf8_lossy(&body);
                if status != StatusCode::OK || !text.contains(r#""allowed":false"#) {
                    let shown: String = text.chars().take(200).collect();
                    self.escapes.push(format!("{uid}: {status} {shown}"));
                }
                self.uids.insert(uid);
            }
            Err(error) => self.escapes.push(format!("{uid}: no answer: {error}")),
        }
    }
}

impl Attack {
    /// All of them, in the order of the review that found them.
    pub(crate) const ALL: [Self; 11] = [
        Self::ManyValues,
        Self::ManyHints,
        Self::LongTexts,
        Self::PaddedBodies,
        Self::SlowBodies,
        Self::NoPolicy,
        Self::Streams,
        Self::IdleConnections,
        Self::AdminConnections,
        Self::AllowedParents,
        Self::WorseUpdates,
    ];

    /// Returns the number of the find, and what is done.
    pub(crate) fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::ManyValues => ("A1", "up to 640,000 values in a Pod, four at once"),
            Self::ManyHints => ("A2", "10,500 to 30,000 volumes and mount hints, four at once"),
            Self::LongTexts => ("A3", "names and keys of 2.9 MB, then 20 denials"),
            Self::PaddedBodies => ("A4", "hostile Pods padded to 8.7 MB"),
            Self::SlowBodies => ("A4", "24 bodies of 8 MiB that stall after the head"),
            Self::NoPolicy => ("A6", "hostile Pods of namespaces without a policy"),
            Self::Streams => ("A7", "two HTTP/2 connections, 200 promised bodies of 8 MiB"),
            Self::IdleConnections => ("A7", "1024 idle TLS connections"),
            Self::AdminConnections => ("A7", "128 idle connections to the admin port"),
            Self::AllowedParents => ("A9, A10", "images, Secrets and tokens below what the policy allows"),
            Self::WorseUpdates => ("A12, A17", "updates among 1003 violations; rewritten provenance"),
        }
    }

    /// Attacks.
    ///
    /// # Errors
    /// If the attack cannot even begin.
    pub(crate) async fn run(self, client: &Client) -> Result<Done> {
        match self {
            Self::ManyValues => Ok(many_values(client).await),
            Self::ManyHints => Ok(many_hints(client).await),
            Self::LongTexts => Ok(long_texts(client).await),
            Self::PaddedBodies => {
                let pod = reviews::padded(1_450_000);
                Ok(send(
                    client,
                    2,
                    (0..8).map(|i| reviews::create_text(format!("a4-{i}"), "workflows", &pod)),
                )
                .await)
            }
            Self::SlowBodies => Ok(slow_bodies(client).await),
            Self::NoPolicy => {
                let pod = reviews::hostile();
                let of = |i| reviews::create(format!("a6-{i}"), &format!("unnamed-{}", i % 10), &pod);
                Ok(send(client, 4, (0..200).map(of)).await)
            }
            Self::Streams => streams(client).await,
            Self::IdleConnections => Ok(idle_connections(client).await),
            Self::AdminConnections => Ok(admin_connections(client).await),
            Self::AllowedParents => {
                let pods = reviews::below_allowed_parents().into_iter().enumerate();
                Ok(send(client, 4, pods.map(|(i, pod)| reviews::create(format!("a9-{i}"), "custom", &pod)))
                    .await)
            }
            Self::WorseUpdates => {
                let updates = reviews::worse_updates().into_iter().enumerate();
                Ok(send(
                    client,
                    4,
                    updates.map(|(i, (old, new))| reviews::update(format!("a12-{i}"), &old, &new)),
                )
                .await)
            }
        }
    }
}

/// Sends hostile reviews, so many at once, each on a connection of its own.
async fn send(client: &Client, at_once: usize, reviews: impl Iterator<Item = Review>) -> Done {
    let mut done = Done::default();
    let sending = reviews.map(|Review { uid, body }| async move {
        let answer = client.post("/mutate?timeout=30s", body).await;
        (uid, answer)
    });
    let mut answers = stream::iter(sending).buffer_unordered(at_once);
    while let Some((uid, answer)) = answers.next().await {
        done.add(uid, answer);
    }
    done
}

async fn many_values(client: &Client) -> Done {
    let items = [
        (r#"{"name":""}"#, 640_000),
        (r#"{"name":"a"}"#, 120_000),
        ("0", 240_000),
        ("{}", 240_000),
        ("{}", 2_600_000),
    ];
    let reviews = items.into_iter().enumerate().flat_map(|(kind, (item, count))| {
        let pod = reviews::with_values(item, count);
        (0..4).map(move |i| reviews::create_text(format!("a1-{kind}-{i}"), "workflows", &pod))
    });
    send(client, 4, reviews).await
}

async fn many_hints(client: &Client) -> Done {
    let reviews = [10_500, 17_000, 30_000].into_iter().flat_map(|count| {
        let pod = reviews::with_hints(count);
        (0..4).map(move |i| reviews::create(format!("a2-{count}-{i}"), "workflows", &pod))
    });
    send(client, 4, reviews).await
}

async fn long_texts(client: &Client) -> Done {
    const CHARACTERS: usize = 2_900_000;
    let long = "\u{7f}".repeat(CHARACTERS);
    let before = std::iter::once(reviews::create("a3-genuine".into(), "workflows", &reviews::hostile()));
    let named = (0..64).map(|i| {
        let mut pod = reviews::hostile();
        pod["metadata"]["name"] = long.clone().into();
        reviews::create(format!("a3-name-{i}"), "workflows", &pod)
    });
    let keyed = (0..4).map(|i| {
        let mut pod = reviews::hostile();
        pod["metadata"]["annotations"] = serde_json::json!({format!("dev.gvisor.{long}"): ""});
        reviews::create(format!("a3-key-{i}"), "workflows", &pod)
    });
    let after = (0..20).map(|i| reviews::create(format!("a3-after-{i}"), "workflows", &reviews::hostile()));
    send(client, 4, before.chain(named).chain(keyed).chain(after)).await
}

/// Reviews of which only the head arrives. They are denied by it.
async fn slow_bodies(client: &Client) -> Done {
    const COUNT: usize = 24;
    let mut done = Done::default();
    let sending = (0..COUNT).map(|i| async move {
        let uid = format!("slow-{i}");
        let answer = stall(client, &uid).await;
        (uid, answer)
    });
    let mut answers = stream::iter(sending).buffer_unordered(COUNT);
    while let Some((uid, answer)) = answers.next().await {
        done.add(uid, answer);
    }
    done
}

async fn stall(client: &Client, uid: &str) -> Result<Answer> {
    let mut stream = client.tls("http/1.1").await?;
    let head = reviews::head(uid, "workflows", "mallory", "CREATE");
    let request = format!(
        "POST /mutate?timeout=30s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {PROMISED_BYTES}\r\n\r\n{head}"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    // A peer that closes without a close_notify has answered all the same.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await?;
    let is_ok = answer.starts_with(b"HTTP/1.1 200");
    Ok((if is_ok { StatusCode::OK } else { StatusCode::REQUEST_TIMEOUT }, answer.into()))
}

/// Requests whose bodies never come, on all streams of two connections.
async fn streams(client: &Client) -> Result<Done> {
    const STREAMS: usize = 100;
    let mut done = Done::default();
    let mut held = Vec::new();
    for _ in 0..2 {
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(client.tls("h2").await?)).await?;
        held.push(tokio::spawn(async move {
            let _ = connection.await;
        }));
        for _ in 0..STREAMS {
            let mut sender = sender.clone();
            let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
            let request = Request::post("https://localhost/mutate?timeout=30s");
            let request =
                request.header(CONTENT_TYPE, "application/json").header(CONTENT_LENGTH, PROMISED_BYTES);
            let request = request.body(body)?;
            held.push(tokio::spawn(async move {
                let _ = sender.send_request(request).await;
            }));
            done.requests += 1;
        }
    }
    sleep(HOLD).await;
    held.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(done)
}

async fn idle_connections(client: &Client) -> Done {
    const COUNT: usize = 1024;
    let opening = (0..COUNT).map(|_| async move {
        let mut connection = client.connect().await?;
        connection.get("/").await?;
        Ok::<_, crate::Error>(connection)
    });
    let held: Vec<_> = stream::iter(opening).buffer_unordered(32).collect().await;
    sleep(HOLD).await;
    Done { requests: held.len(), ..Done::default() }
}

async fn admin_connections(client: &Client) -> Done {
    const COUNT: usize = 128;
    let opening = (0..COUNT).map(|_| async move {
        let mut connection = client.connect_admin().await?;
        connection.get("/healthz").await?;
        Ok::<_, crate::Error>(connection)
    });
    let held: Vec<_> = stream::iter(opening).buffer_unordered(8).collect().await;
    sleep(HOLD).await;
    Done { requests: held.len(), ..Done::default() }
}
