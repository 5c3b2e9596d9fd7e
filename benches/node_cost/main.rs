//! The cost of gVisor and sandgate for a workload, on a real node: `cargo bench --bench node_cost [-- --quick]`.
//!
//! Pods are created one after the other, of four kinds in turn; then one program works in two Pods in turn, one under
//! runc and one under gVisor, whose manifests differ in nothing else. It prints tables; without `--quick` they are
//! written into `docs/cost.md`, with a plot of each. Times never make it fail.

mod creating;
mod plot;
mod pods;
mod times;
mod working;

use std::{env, fs, path::Path};

use serde_json::json;
use testbed::{Cluster, GeneratedDocs, Result, cannot_run, program};

/// The image with the program that works.
const IMAGE: &str = "localhost/work:bed";

/// A namespace that no policy names.
const OPEN: &str = "open";

/// The one that sandgate guards.
const GUARDED: &str = "workflows";

/// The number of repetitions of each measurement.
#[derive(Clone, Copy)]
struct Rounds {
    creates: usize,
    works: usize,
}

fn main() -> Result<()> {
    if let Some(reason) = cannot_run() {
        println!("SKIPPED: {reason}");
        return Ok(());
    }
    let quick = env::args().any(|argument| argument == "--quick");
    let rounds = if quick { Rounds { creates: 2, works: 2 } } else { Rounds { creates: 30, works: 11 } };
    let measured = tokio::runtime::Runtime::new()?.block_on(measure(rounds))?;
    let Measured { machine, pods, works } = &measured;
    println!("{machine}\n{}\n{}", pods.table, works.table);
    if quick { Ok(()) } else { measured.write() }
}

/// The results of all measurements.
struct Measured {
    machine: String,
    pods: Shown,
    works: Shown,
}

/// A table, and the same as a picture.
struct Shown {
    table: String,
    plot: String,
}

async fn measure(rounds: Rounds) -> Result<Measured> {
    let cluster = Cluster::start().await?;
    cluster.install_sandgate(&program()?).await?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/node_cost/work/main.rs");
    cluster.import_source(IMAGE, &source)?;
    let rest = cluster.bed.rest().await?;
    cluster.bed.namespace(&rest, &json!({"name": OPEN})).await?;
    let pods = creating::measure(&rest, rounds.creates).await?;
    let works = working::measure(&cluster, &rest, rounds.works).await?;
    Ok(Measured { machine: machine(rounds)?, pods, works })
}

/// The machine and the time of the measurements.
fn machine(Rounds { creates, works }: Rounds) -> Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    let cores = std::thread::available_parallelism()?;
    let day = jiff::Timestamp::now().to_string();
    let day = day.split('T').next().unwrap_or_default();
    Ok(format!(
        "Linux {kernel}, {cores} cores, {day}; {creates} Pods of each kind, {works} rounds of work.\n"
    ))
}

impl Measured {
    fn write(&self) -> Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        fs::write(folder.join("cost-pods.svg"), &self.pods.plot)?;
        fs::write(folder.join("cost-work.svg"), &self.works.plot)?;
        let mut page = GeneratedDocs::read("docs/cost.md")?;
        page.write("machine", &self.machine)?;
        page.write("pods", &self.pods.table)?;
        page.write("work", &self.works.table)
    }
}
