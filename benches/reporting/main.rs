//! What telling costs: `cargo bench --bench reporting [-- --quick]`.
//!
//! The same sandgate that tells nobody, and that tells of each verdict in one way or another, under the same load in
//! turns. The figures are medians of the rounds; the ratio to *nobody* is what to look at, since everything runs on one
//! machine. Times never make it fail.

#[path = "../admission/client.rs"]
mod client;
#[path = "../admission/load.rs"]
mod load;
#[path = "../support/mod.rs"]
mod support;
mod taker;

use std::{
    env,
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use rustls::ClientConfig;

use self::{
    client::Connection,
    load::{Load, Sample},
    support::{
        Result, certificate,
        reviews::{self, Kind},
        server::Server,
        webhook,
    },
    taker::Taker,
};

/// Enough to keep the server busy.
const CONNECTIONS: usize = 16;

/// Who has the other end of stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// Nobody.
    None,
    /// Another process, as a container runtime is.
    Process,
    /// One that holds the pipe and reads nothing.
    Stalled,
}

/// A way to tell what was decided.
struct Telling {
    name: &'static str,
    arguments: Vec<String>,
    reader: Reader,
}

fn main() -> Result<()> {
    webhook::run_if_asked();
    let quick = env::args().any(|argument| argument == "--quick");
    let (rounds, round) = if quick { (3, Duration::from_millis(200)) } else { (9, Duration::from_secs(1)) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(rounds, round))
}

async fn run(rounds: usize, round: Duration) -> Result<()> {
    let folder = tempfile::tempdir()?;
    certificate::write(folder.path())?;
    let tls = certificate::client(folder.path())?;
    let taker = Taker::start()?;
    println!("| reviews | telling | CPU µs | × nobody | p50 µs | p99 µs |\n|---|---|--:|--:|--:|--:|");
    let plain = reviews::create(Kind::Plain, reviews::SMALL);
    let refused = String::from_utf8(plain.clone())?.replacen(r#""spec":{"#, r#""spec":{"hostPID":true,"#, 1);
    for (what, review) in [("admitted", plain), ("refused", refused.into_bytes())] {
        let load = Load { review: review.into(), connections: CONNECTIONS, time: round };
        let tellings = tellings(folder.path(), &taker)?;
        let mut runs = Vec::new();
        for telling in &tellings {
            runs.push(Run::start(telling, folder.path(), &tls).await?);
        }
        measure(&mut runs, &load, rounds, &tls).await?;
        print(what, &runs);
    }
    Ok(())
}

fn tellings(folder: &Path, taker: &Taker) -> Result<Vec<Telling>> {
    let trail = folder.join("trail.jsonl").display().to_string();
    let kubeconfig = folder.join("kubeconfig").display().to_string();
    fs::write(&kubeconfig, taker.kubeconfig().to_string())?;
    let telling = |name, arguments: &[&str], reader| Telling {
        name,
        arguments: arguments.iter().map(ToString::to_string).collect(),
        reader,
    };
    let file = ["--audit=file", "--audit-file", &trail, "--audit-max-bytes=67108864", "--audit-keep=1"];
    let events = ["--audit=off", "--events", "--kubeconfig", &kubeconfig];
    let traces = ["--audit=off", "--otlp-endpoint", &taker.url];
    Ok(vec![
        telling("nobody", &["--audit=off"], Reader::None),
        telling("stdout, to /dev/null", &["--audit=stdout"], Reader::None),
        telling("stdout, read by a process", &["--audit=stdout"], Reader::Process),
        telling("stdout, its reader stalled", &["--audit=stdout"], Reader::Stalled),
        telling("a file, with the hash chain", &file, Reader::None),
        telling("Events", &events, Reader::None),
        telling("OTLP, no request traced", &traces, Reader::None),
        telling(
            "OTLP, every request traced",
            &[&traces[..], &["--otlp-sample-ratio=1"]].concat(),
            Reader::None,
        ),
    ])
}

impl Reader {
    /// What stdout is to be, and who holds the other end.
    fn start(self) -> Result<(Stdio, Option<Child>)> {
        let mut reader = match self {
            Self::None => return Ok((File::options().write(true).open("/dev/null")?.into(), None)),
            Self::Process => Command::new("cat"),
            Self::Stalled => Command::new("sleep"),
        };
        if self == Self::Stalled {
            reader.arg("10000");
        }
        let mut reader = reader.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let stdin = reader.stdin.take().ok_or("it has a standard input")?;
        Ok((stdin.into(), Some(reader)))
    }
}

/// A server, and what was measured of it so far.
struct Run<'t> {
    telling: &'t Telling,
    server: Server,
    reader: Option<Child>,
    samples: Vec<Sample>,
}

impl<'t> Run<'t> {
    async fn start(telling: &'t Telling, folder: &Path, tls: &Arc<ClientConfig>) -> Result<Self> {
        let (stdout, reader) = telling.reader.start()?;
        let mut server = Server::start_telling(&telling.arguments, stdout, folder)?;
        Connection::open_early(&mut server, tls).await?;
        Ok(Self { telling, server, reader, samples: Vec::new() })
    }

    fn median(&self, of: fn(&Sample) -> Duration) -> f64 {
        let mut values: Vec<Duration> = self.samples.iter().map(of).collect();
        values.sort_unstable();
        values[values.len() / 2].as_secs_f64() * 1e6
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if let Some(reader) = &mut self.reader {
            let _ = reader.kill();
            let _ = reader.wait();
        }
    }
}

async fn measure(runs: &mut [Run<'_>], load: &Load, rounds: usize, tls: &Arc<ClientConfig>) -> Result<()> {
    for run in runs.iter() {
        load.run(&run.server, tls).await?;
    }
    for _ in 0..rounds {
        for run in runs.iter_mut() {
            run.samples.push(load.run(&run.server, tls).await?);
        }
    }
    Ok(())
}

fn print(reviews: &str, runs: &[Run]) {
    let nobody = runs[0].median(|sample| sample.cpu);
    for run in runs {
        let cpu = run.median(|sample| sample.cpu);
        println!(
            "| {reviews} | {} | {cpu:.1} | {:.2} | {:.0} | {:.0} |",
            run.telling.name,
            cpu / nobody,
            run.median(|sample| sample.p50),
            run.median(|sample| sample.p99),
        );
    }
}
