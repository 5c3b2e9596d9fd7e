//! The cost of reporting verdicts: `cargo bench --bench reporting [-- --quick]`.
//!
//! The same sandgate with all sinks off, and with each sink of verdicts on, under the same load in
//! turns. The figures are medians of the rounds; the ratio to *off* is what to look at, since everything runs on one
//! machine. Times never make it fail.

#[path = "../admission/client.rs"]
mod client;
#[path = "../admission/load.rs"]
mod load;
mod sink;
#[path = "../support/mod.rs"]
mod support;

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
    load::{Load, Sample, spread},
    sink::Sink,
    support::{
        Result, certificate, in_micros,
        reviews::{self, Kind},
        server::Server,
        webhook,
    },
};

/// Enough to keep the server busy.
const CONNECTIONS: usize = 16;

/// The reader at the other end of stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// Stdout has no reader.
    None,
    /// Another process, as a container runtime is.
    Process,
    /// One that holds the pipe and reads nothing.
    Stalled,
}

/// A way to report verdicts.
struct SinkSetup {
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
    let sink = Sink::start()?;
    println!("| reviews | sink | CPU µs | × off | p50 µs | p99 µs |\n|---|---|--:|--:|--:|--:|");
    let plain = reviews::create(Kind::Plain, reviews::SMALL);
    let denied = String::from_utf8(plain.clone())?.replacen(r#""spec":{"#, r#""spec":{"hostPID":true,"#, 1);
    for (what, review) in [("admitted", plain), ("denied", denied.into_bytes())] {
        let load = Load { review: review.into(), connections: CONNECTIONS, time: round };
        let setups = setups(folder.path(), &sink)?;
        let mut runs = Vec::new();
        for setup in &setups {
            runs.push(Run::start(setup, folder.path(), &tls).await?);
        }
        measure(&mut runs, &load, rounds, &tls).await?;
        print(what, &runs);
    }
    Ok(())
}

fn setups(folder: &Path, sink: &Sink) -> Result<Vec<SinkSetup>> {
    let trail = folder.join("trail.jsonl").display().to_string();
    let kubeconfig = folder.join("kubeconfig").display().to_string();
    fs::write(&kubeconfig, sink.kubeconfig().to_string())?;
    let setup = |name, arguments: &[&str], reader| SinkSetup {
        name,
        arguments: arguments.iter().map(ToString::to_string).collect(),
        reader,
    };
    let file = ["--audit=file", "--audit-file", &trail, "--audit-max-bytes=67108864", "--audit-keep=1"];
    let events = ["--audit=off", "--events", "--kubeconfig", &kubeconfig];
    let traces = ["--audit=off", "--otlp-endpoint", &sink.url];
    Ok(vec![
        setup("off", &["--audit=off"], Reader::None),
        setup("stdout, to /dev/null", &["--audit=stdout"], Reader::None),
        setup("stdout, read by a process", &["--audit=stdout"], Reader::Process),
        setup("stdout, its reader stalled", &["--audit=stdout"], Reader::Stalled),
        setup("a file, with the hash chain", &file, Reader::None),
        setup("Events", &events, Reader::None),
        setup("OTLP, no request traced", &traces, Reader::None),
        setup(
            "OTLP, every request traced",
            &[&traces[..], &["--otlp-sample-ratio=1"]].concat(),
            Reader::None,
        ),
    ])
}

impl Reader {
    /// Returns the stdout of the server, and the process at its other end.
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
    setup: &'t SinkSetup,
    server: Server,
    reader: Option<Child>,
    samples: Vec<Sample>,
}

impl<'t> Run<'t> {
    async fn start(setup: &'t SinkSetup, folder: &Path, tls: &Arc<ClientConfig>) -> Result<Self> {
        let (stdout, reader) = setup.reader.start()?;
        let mut server = Server::start_with_sinks(&setup.arguments, stdout, folder)?;
        Connection::open_early(&mut server, tls).await?;
        Ok(Self { setup, server, reader, samples: Vec::new() })
    }

    fn median(&self, of: fn(&Sample) -> Duration) -> f64 {
        in_micros(spread(&self.samples, of)[1])
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
    let off = runs[0].median(|sample| sample.cpu);
    for run in runs {
        let cpu = run.median(|sample| sample.cpu);
        println!(
            "| {reviews} | {} | {cpu:.1} | {:.2} | {:.0} | {:.0} |",
            run.setup.name,
            cpu / off,
            run.median(|sample| sample.p50),
            run.median(|sample| sample.p99),
        );
    }
}
