//! What grows with what: `cargo bench --bench scale [-- --quick] [-- --minutes=30]`.
//!
//! The processor time of a review with many policies and with many namespaces, the memory that reviews of different sizes
//! take, and the memory over a time at full load, a third of a minute unless another one is asked for. Times never make it
//! fail: it prints tables for docs/performance.md.

#[path = "../admission/client.rs"]
mod client;
#[path = "../admission/load.rs"]
mod load;
#[path = "../support/mod.rs"]
mod support;

use std::{
    env, fs,
    fs::File,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::body::Bytes;
use rustls::ClientConfig;
use serde_json::json;

use self::{
    client::Connection,
    load::{Load, Sample, spread},
    support::{
        Result, certificate, in_micros,
        process::{Memory, megabytes},
        reviews::{self, Kind},
        server::Server,
        webhook,
    },
};

/// The namespace of the reviews.
const NAMESPACE: &str = "workflows";

/// Enough to keep the server busy.
const CONNECTIONS: usize = 16;

const POLICIES: [usize; 4] = [1, 10, 100, 1000];
const NAMESPACES: [usize; 3] = [1, 1000, 10_000];
/// Size in bytes, connections.
const BODIES: [(usize, usize); 5] =
    [(reviews::SMALL, 16), (reviews::SMALL, 64), (100_000, 64), (1_000_000, 16), (1_000_000, 64)];

/// So many times the memory is looked at during the time at full load.
const LOOKS: u32 = 10;

fn main() -> Result<()> {
    webhook::run_if_asked();
    let quick = env::args().any(|argument| argument == "--quick");
    let minutes = env::args().find_map(|argument| argument.strip_prefix("--minutes=").map(str::parse::<u32>));
    let time =
        minutes.transpose()?.map_or(Duration::from_secs(20), |minutes| Duration::from_mins(minutes.into()));
    let (rounds, round) = if quick { (3, Duration::from_millis(300)) } else { (7, Duration::from_secs(1)) };
    let folder = tempfile::tempdir()?;
    certificate::write(folder.path())?;
    let tls = certificate::client(folder.path())?;
    let bench = Bench { rounds, round, folder, tls };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        bench.many("policies", &POLICIES, policies).await?;
        bench.many("namespaces of the policy", &NAMESPACES, namespaces).await?;
        bench.memory().await?;
        bench.full_load(time).await
    })
}

struct Bench {
    rounds: usize,
    round: Duration,
    folder: tempfile::TempDir,
    tls: Arc<ClientConfig>,
}

/// A server, and what was measured of it so far.
struct Run {
    server: Server,
    start: Duration,
    idle: u64,
    samples: Vec<Sample>,
}

impl Bench {
    /// Measures reviews of one namespace with as many policies or namespaces as each of `counts`.
    async fn many(&self, what: &str, counts: &[usize], policy: fn(usize) -> String) -> Result<()> {
        let mut runs = Vec::new();
        for count in counts {
            let path = self.folder.path().join(format!("policy-{}.yaml", runs.len()));
            fs::write(&path, policy(*count))?;
            runs.push(self.start(Some(&path)).await?);
        }
        let load = self.load(reviews::SMALL, CONNECTIONS);
        for _ in 0..self.rounds {
            for run in &mut runs {
                run.samples.push(load.run(&run.server, &self.tls).await?);
            }
        }
        println!(
            "| {what} | CPU µs | p50 µs | p99 µs | first answer ms | idle MB | peak MB |\n|--:|--:|--:|--:|--:|--:|--:|"
        );
        for (count, run) in counts.iter().zip(&runs) {
            let [least, cpu, most] = spread(&run.samples, |sample| sample.cpu).map(in_micros);
            let [_, p50, _] = spread(&run.samples, |sample| sample.p50).map(in_micros);
            let [_, p99, _] = spread(&run.samples, |sample| sample.p99).map(in_micros);
            println!(
                "| {count} | {cpu:.1} ({least:.1} to {most:.1}) | {p50:.0} | {p99:.0} | {:.1} | {:.1} | {:.1} |",
                run.start.as_secs_f64() * 1e3,
                megabytes(run.idle),
                megabytes(run.server.process.memory()?.peak),
            );
        }
        println!();
        Ok(())
    }

    /// Measures the memory of a new server for bodies of each size.
    async fn memory(&self) -> Result<()> {
        println!(
            "| body, connections | idle MB | peak MB | after MB | peak above idle, × the bodies in flight |"
        );
        println!("|---|--:|--:|--:|--:|");
        for (bytes, connections) in BODIES {
            let run = self.start(None).await?;
            let load = self.load(bytes, connections);
            for _ in 0..self.rounds {
                load.run(&run.server, &self.tls).await?;
            }
            let Memory { now, peak } = run.server.process.memory()?;
            let [idle, peak, now] = [run.idle, peak, now].map(megabytes);
            let in_flight = megabytes(u64::try_from(load.review.len() * connections)?);
            println!(
                "| {} kB, {connections} | {idle:.1} | {peak:.1} | {now:.1} | {:.1} |",
                load.review.len() / 1000,
                (peak - idle) / in_flight
            );
        }
        println!();
        Ok(())
    }

    /// Looks at the memory of a server over a time at full load.
    async fn full_load(&self, time: Duration) -> Result<()> {
        let run = self.start(None).await?;
        let load = Load { time: time / LOOKS, ..self.load(reviews::SMALL, CONNECTIONS) };
        println!("| seconds at full load | memory MB | peak MB | CPU µs |\n|--:|--:|--:|--:|");
        let start = Instant::now();
        for _ in 0..LOOKS {
            let sample = load.run(&run.server, &self.tls).await?;
            let Memory { now, peak } = run.server.process.memory()?;
            println!(
                "| {} | {:.1} | {:.1} | {:.1} |",
                start.elapsed().as_secs(),
                megabytes(now),
                megabytes(peak),
                sample.cpu.as_secs_f64() * 1e6
            );
        }
        Ok(())
    }

    fn load(&self, bytes: usize, connections: usize) -> Load {
        Load { review: reviews::create(Kind::Plain, bytes).into(), connections, time: self.round }
    }

    /// Starts a server with an audit trail that goes nowhere, and waits for its first answer.
    async fn start(&self, policy: Option<&Path>) -> Result<Run> {
        let mut arguments = vec!["--audit=stdout".to_owned()];
        if let Some(policy) = policy {
            arguments.extend(["--policy".to_owned(), policy.display().to_string()]);
        }
        let start = Instant::now();
        let nowhere = File::options().write(true).open("/dev/null")?;
        let mut server = Server::start_with_sinks(&arguments, nowhere.into(), self.folder.path())?;
        let review: Bytes = reviews::create(Kind::Plain, reviews::SMALL).into();
        let mut connection = Connection::open_early(&mut server, &self.tls).await?;
        let answer: serde_json::Value = serde_json::from_slice(&connection.review(review).await?)?;
        let start = start.elapsed();
        if answer["response"]["allowed"] != true {
            return Err(format!("sandgate answers {answer}").into());
        }
        let idle = server.process.memory()?.now;
        Ok(Run { server, start, idle, samples: Vec::new() })
    }
}

/// As many policies; the last one is that of the reviews' namespace.
fn policies(count: usize) -> String {
    let other =
        (1..count).map(|number| policy(&format!("policy-{number}"), &[format!("namespace-{number}")]));
    other.chain([policy("workflow-runner", &[NAMESPACE.to_owned()])]).collect()
}

/// A policy of as many namespaces, the last of which is that of the reviews.
fn namespaces(count: usize) -> String {
    let other = (1..count).map(|number| format!("namespace-{number}"));
    let namespaces: Vec<String> = other.chain([NAMESPACE.to_owned()]).collect();
    policy("workflow-runner", &namespaces)
}

fn policy(name: &str, namespaces: &[String]) -> String {
    let policy = json!({
        "apiVersion": "sandgate.dev/v1beta1",
        "kind": "SandboxPolicy",
        "metadata": {"name": name},
        "spec": {"namespaces": namespaces},
    });
    format!("---\n{policy}\n")
}
