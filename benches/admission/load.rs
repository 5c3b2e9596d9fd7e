//! Load on one server, and what came of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::{join_all, try_join_all};
use hyper::body::Bytes;
use rustls::ClientConfig;

use super::client::Connection;
use crate::support::{Result, server::Server};

/// So many connections, each of which sends the next review as soon as it has the answer to the last.
pub(crate) struct Load {
    pub(crate) review: Bytes,
    pub(crate) connections: usize,
    pub(crate) time: Duration,
}

/// The result of one run of a load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// The server's processor time for one request.
    pub(crate) cpu: Duration,
    /// Half of the answers came within this time.
    pub(crate) p50: Duration,
    /// 99 of 100 answers came within this time.
    pub(crate) p99: Duration,
}

/// Returns the least, the median and the largest of what was measured.
pub(crate) fn spread(samples: &[Sample], of: fn(&Sample) -> Duration) -> [Duration; 3] {
    let mut values: Vec<Duration> = samples.iter().map(of).collect();
    values.sort_unstable();
    [0, values.len() / 2, values.len() - 1].map(|index| values[index])
}

impl Load {
    /// Puts the load on `server`. Connecting and the first request of each connection do not count.
    pub(crate) async fn run(&self, server: &Server, tls: &Arc<ClientConfig>) -> Result<Sample> {
        let connecting = (0..self.connections).map(|_| self.connect(server, tls));
        let connections = try_join_all(connecting).await?;
        let before = server.process.cpu()?;
        let deadline = Instant::now() + self.time;
        let sending = connections.into_iter().map(|connection| {
            let review = self.review.clone();
            tokio::spawn(send(connection, review, deadline))
        });
        let sent = join_all(sending).await;
        let cpu = server.process.cpu()?.saturating_sub(before);
        let mut latencies = Vec::new();
        for sent in sent {
            latencies.extend(sent??.latencies);
        }
        latencies.sort_unstable();
        let at = |percent: usize| latencies[(latencies.len() * percent / 100).min(latencies.len() - 1)];
        let requests = u32::try_from(latencies.len())?;
        Ok(Sample { cpu: cpu / requests, p50: at(50), p99: at(99) })
    }

    async fn connect(&self, server: &Server, tls: &Arc<ClientConfig>) -> Result<Connection> {
        let mut connection = Connection::open(server.address, tls).await?;
        connection.review(self.review.clone()).await?;
        Ok(connection)
    }
}

/// A connection that is still open, so that closing it does not count, and how long each answer took.
struct Sent {
    _connection: Connection,
    latencies: Vec<Duration>,
}

/// Sends until `deadline`, at least once.
async fn send(mut connection: Connection, review: Bytes, deadline: Instant) -> Result<Sent> {
    let mut latencies = Vec::new();
    let mut sent = Instant::now();
    loop {
        connection.review(review.clone()).await?;
        let answered = Instant::now();
        latencies.push(answered - sent);
        if answered >= deadline {
            return Ok(Sent { _connection: connection, latencies });
        }
        sent = answered;
    }
}
