//! sandgate beside other webhooks that change Pods: `cargo bench --bench peers [-- --quick]`.
//!
//! All of them take turns under the same load of the same reviews, from the same client: the webhook that decides nothing,
//! sandgate, a webhook of `kube` with a typed Pod, and the injector of gVisor's own tests, which is built from its Go module.
//! The others check nothing, and fill less. Times never make it fail: it prints a table for docs/performance.md.

#[path = "../admission/client.rs"]
mod client;
#[path = "../admission/load.rs"]
mod load;
#[path = "../support/mod.rs"]
mod support;

use std::{env, path::Path, process::Command, sync::Arc, time::Duration};

use hyper::body::Bytes;
use rustls::ClientConfig;

use self::{
    client::Connection,
    load::{Load, Sample, spread},
    support::{
        Result, certificate, in_micros,
        process::megabytes,
        reviews::{self, Kind},
        server::{self, Server},
        webhook,
    },
};

/// The reviews: name, size in bytes, connections.
const LOADS: [(&str, usize, usize); 4] = [
    ("6 kB", reviews::SMALL, 1),
    ("6 kB", reviews::SMALL, 16),
    ("6 kB", reviews::SMALL, 64),
    ("100 kB", 100_000, 16),
];

const SERVERS: [(&str, server::Kind); 5] = [
    ("null: decides nothing", server::Kind::Null),
    ("sandgate", server::Kind::Sandgate),
    ("sandgate, audit trail on stdout", server::Kind::Audited),
    ("kube-rs: typed Pod, clone, diff", server::Kind::KubeRs),
    ("gVisor's injector (Go)", server::Kind::Injector),
];

fn main() -> Result<()> {
    webhook::run_if_asked();
    let quick = env::args().any(|argument| argument == "--quick");
    let (rounds, round) = if quick { (3, Duration::from_millis(300)) } else { (7, Duration::from_secs(1)) };
    let mut servers = SERVERS.to_vec();
    if let Err(error) = build_injector() {
        eprintln!("gVisor's injector is left out: {error}");
        servers.retain(|(_, kind)| *kind != server::Kind::Injector);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&servers, rounds, round))
}

/// Builds the injector of gVisor's tests, with a certificate from a folder.
fn build_injector() -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/injector");
    eprintln!("building gVisor's injector");
    let mut build = Command::new("go");
    build.arg("-C").arg(source).args(["build", "-o"]).arg(server::injector()).arg(".");
    let status = build.status()?;
    if status.success() { Ok(()) } else { Err(format!("go build: {status}").into()) }
}

async fn run(servers: &[(&'static str, server::Kind)], rounds: usize, round: Duration) -> Result<()> {
    let folder = tempfile::tempdir()?;
    certificate::write(folder.path())?;
    let tls = certificate::client(folder.path())?;
    println!(
        "A Pod to fill; CPU of the server for one request, median of {rounds} rounds (least to most).\n"
    );
    println!("| review, connections | webhook | CPU µs | × sandgate | p50 µs | p99 µs | idle MB | peak MB |");
    println!("|---|---|--:|--:|--:|--:|--:|--:|");
    for (size, bytes, connections) in LOADS {
        let review = Bytes::from(reviews::create(Kind::Plain, bytes));
        webhook::write_answer(folder.path(), &review)?;
        let mut runs = Vec::new();
        for (name, kind) in servers {
            runs.push(Run::start(name, *kind, folder.path(), &review, &tls).await?);
        }
        let load = Load { review, connections, time: round };
        for run in &runs {
            load.run(&run.server, &tls).await?;
        }
        for _ in 0..rounds {
            for run in &mut runs {
                run.samples.push(load.run(&run.server, &tls).await?);
            }
        }
        print(&format!("{size}, {connections}"), &runs)?;
    }
    Ok(())
}

/// A server and what was measured of it so far.
struct Run {
    name: &'static str,
    server: Server,
    idle: u64,
    samples: Vec<Sample>,
}

impl Run {
    async fn start(
        name: &'static str,
        kind: server::Kind,
        folder: &Path,
        review: &Bytes,
        tls: &Arc<ClientConfig>,
    ) -> Result<Self> {
        let mut server = Server::start(kind, folder)?;
        let mut connection = Connection::open_early(&mut server, tls).await?;
        let answer: serde_json::Value = serde_json::from_slice(&connection.review(review.clone()).await?)?;
        if answer["response"]["allowed"] != true || answer["response"]["patch"].is_null() {
            return Err(format!("{name} answers {answer}").into());
        }
        let idle = server.process.memory()?.now;
        Ok(Self { name, server, idle, samples: Vec::new() })
    }
}

fn print(load: &str, runs: &[Run]) -> Result<()> {
    let sandgate = runs.iter().find(|run| run.server.kind == server::Kind::Sandgate);
    let base = sandgate.map_or(f64::NAN, |run| spread(&run.samples, |sample| sample.cpu).map(in_micros)[1]);
    for run in runs {
        let [least, cpu, most] = spread(&run.samples, |sample| sample.cpu).map(in_micros);
        let [_, p50, _] = spread(&run.samples, |sample| sample.p50).map(in_micros);
        let [_, p99, _] = spread(&run.samples, |sample| sample.p99).map(in_micros);
        println!(
            "| {load} | {} | {cpu:.1} ({least:.1} to {most:.1}) | {:.2} | {p50:.0} | {p99:.0} | {:.1} | {:.1} |",
            run.name,
            cpu / base,
            megabytes(run.idle),
            megabytes(run.server.process.memory()?.peak),
        );
    }
    Ok(())
}
