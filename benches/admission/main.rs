//! The cost of a whole admission: `cargo bench --bench admission [-- --quick]`.
//!
//! sandgate and two webhooks that decide nothing, on the same stack and with the same answers, take turns under the
//! same load. The figures are medians of the rounds; the ratios between servers of one line are what to look at, since
//! everything runs on one machine. Times never make it fail: it prints a table, and which targets are met.

mod client;
mod load;
mod report;
#[path = "../support/mod.rs"]
mod support;

use std::{
    env,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::body::Bytes;
use rustls::ClientConfig;
use sandgate_engine::{
    policy::PolicySet,
    review::{self, Endpoint},
};

use self::{
    client::Connection,
    load::{Load, Sample, spread},
    report::{Comparison, Report, Row, Update},
    support::{
        Result, certificate,
        process::Memory,
        reviews::{self, Kind},
        server::{self, Server},
        webhook,
    },
};

fn main() -> Result<()> {
    webhook::run_if_asked();
    let quick = env::args().any(|argument| argument == "--quick");
    let bench = Bench::new(if quick { QUICK } else { THOROUGH })?;
    // One thread is enough for the client, and leaves the others to the server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(bench.run())?;
    println!("{report}");
    Ok(())
}

/// The durations of the parts of the benchmark.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    round: Duration,
    starts: usize,
}

const QUICK: Effort = Effort { rounds: 3, round: Duration::from_millis(200), starts: 5 };
const THOROUGH: Effort = Effort { rounds: 7, round: Duration::from_secs(1), starts: 25 };

const CONNECTIONS: [usize; 3] = [1, 16, 64];
const UPDATES: [usize; 5] = [30_000, 100_000, 300_000, 1_000_000, 3_000_000];
const SERVERS: [server::Kind; 4] =
    [server::Kind::Null, server::Kind::Tree, server::Kind::Sandgate, server::Kind::Audited];

struct Bench {
    effort: Effort,
    policies: PolicySet,
    folder: tempfile::TempDir,
    tls: Arc<ClientConfig>,
}

impl Bench {
    fn new(effort: Effort) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        certificate::write(folder.path())?;
        let tls = certificate::client(folder.path())?;
        Ok(Self { effort, policies: PolicySet::builtin(), folder, tls })
    }

    async fn run(&self) -> Result<Report> {
        let mut comparisons = Vec::new();
        for (size, bytes) in reviews::SIZES {
            for kind in Kind::ALL {
                for connections in CONNECTIONS {
                    eprintln!("{size}, {}, {connections} connections", kind.as_str());
                    comparisons.push(self.compare(size, bytes, kind, connections).await?);
                }
            }
        }
        eprintln!("updates");
        let updates = self.updates().await?;
        eprintln!("starts");
        let starts = self.starts().await?;
        Ok(Report { comparisons, updates, starts })
    }

    /// The servers in turn, under one load.
    async fn compare(
        &self,
        size: &'static str,
        bytes: usize,
        kind: Kind,
        connections: usize,
    ) -> Result<Comparison> {
        let review = Bytes::from(reviews::create(kind, bytes));
        webhook::write_answer(self.folder(), &review)?;
        let mut runs = Vec::new();
        for kind in SERVERS {
            let mut server = Server::start(kind, self.folder())?;
            self.check(&mut server, &review).await?;
            let idle = server.process.memory()?.now;
            runs.push(Run { server, idle, samples: Vec::new() });
        }
        let load = Load { review: review.clone(), connections, time: self.effort.round };
        for run in &runs {
            load.run(&run.server, &self.tls).await?;
        }
        for _ in 0..self.effort.rounds {
            for run in &mut runs {
                run.samples.push(load.run(&run.server, &self.tls).await?);
            }
        }
        let rows = runs.iter().map(Run::row).collect::<Result<_>>()?;
        Ok(Comparison { size, kind, connections, rows })
    }

    fn answer(&self, review: &[u8]) -> Result<String> {
        let answer = review::answer(&self.policies, Endpoint::Mutate, None, review)?;
        Ok(String::from_utf8(answer.body)?)
    }

    /// A server that does not answer as it should is not worth measuring.
    async fn check(&self, server: &mut Server, review: &Bytes) -> Result<()> {
        let mut connection = Connection::open_early(server, &self.tls).await?;
        let answer = connection.review(review.clone()).await?;
        if answer != self.answer(review)? {
            return Err(format!("{:?} answers {}", server.kind, String::from_utf8_lossy(&answer)).into());
        }
        Ok(())
    }

    /// Updates of growing size to sandgate: two objects each.
    async fn updates(&self) -> Result<Vec<Update>> {
        let mut server = Server::start(server::Kind::Sandgate, self.folder())?;
        let reviews: Vec<Bytes> = UPDATES.iter().map(|bytes| reviews::update(*bytes).into()).collect();
        let mut samples = vec![Vec::new(); reviews.len()];
        for review in &reviews {
            self.check(&mut server, review).await?;
        }
        for _ in 0..self.effort.rounds {
            for (review, samples) in reviews.iter().zip(&mut samples) {
                let load = Load { review: review.clone(), connections: 1, time: self.effort.round };
                samples.push(load.run(&server, &self.tls).await?.cpu);
            }
        }
        let update = |(review, samples): (&Bytes, &Vec<Duration>)| Update {
            bytes: review.len(),
            cpu: median(samples.iter().copied()),
        };
        Ok(reviews.iter().zip(&samples).map(update).collect())
    }

    /// From exec to the first answer, as many times as there is patience for.
    async fn starts(&self) -> Result<Vec<(server::Kind, Duration)>> {
        let review = Bytes::from(reviews::create(Kind::Plain, reviews::SMALL));
        webhook::write_answer(self.folder(), &review)?;
        let kinds = [server::Kind::Null, server::Kind::Sandgate];
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..self.effort.starts {
            for (kind, times) in kinds.iter().zip(&mut times) {
                let start = Instant::now();
                let mut server = Server::start(*kind, self.folder())?;
                let mut connection = Connection::open_early(&mut server, &self.tls).await?;
                connection.review(review.clone()).await?;
                times.push(start.elapsed());
            }
        }
        Ok(kinds.into_iter().zip(times.map(|times| median(times.into_iter()))).collect())
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A server and what was measured of it so far.
struct Run {
    server: Server,
    idle: u64,
    samples: Vec<Sample>,
}

impl Run {
    fn row(&self) -> Result<Row> {
        let Memory { peak, .. } = self.server.process.memory()?;
        let [least, cpu, most] = spread(&self.samples, |sample| sample.cpu);
        let [_, p50, _] = spread(&self.samples, |sample| sample.p50);
        let [_, p99, _] = spread(&self.samples, |sample| sample.p99);
        Ok(Row {
            kind: self.server.kind,
            cpu,
            cpu_range: most.saturating_sub(least),
            p50,
            p99,
            idle: self.idle,
            peak,
        })
    }
}

fn median(values: impl Iterator<Item = Duration>) -> Duration {
    let mut values: Vec<Duration> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}
