//! The time of work under gVisor, compared with runc.

use std::{fmt::Write, time::Duration};

use serde_json::{Value, json};

use crate::{
    GUARDED, OPEN, Shown, plot,
    pods::{Does, complete, complete_in_runc},
    times::Times,
};
use testbed::{Cluster, Rest, Result, eventually, progress};

/// One kind of work, as the program in the Pods calls it, and for people.
struct Work {
    name: &'static str,
    what: &'static str,
    runc: Times,
    gvisor: Times,
}

impl Work {
    fn new(name: &'static str, what: &'static str) -> Self {
        Self { name, what, runc: Times::default(), gvisor: Times::default() }
    }

    /// Disturbances only make a run slower.
    fn ratio(&self) -> f64 {
        self.gvisor.fastest() / self.runc.fastest()
    }
}

const POD: &str = "work";

/// Has one program work in two Pods, in turn.
pub(crate) async fn measure(cluster: &Cluster, rest: &Rest, rounds: usize) -> Result<Shown> {
    start(rest, OPEN, &complete_in_runc(POD, Does::Wait)).await?;
    start(rest, GUARDED, &complete(POD, Does::Wait)).await?;
    let mut works = [
        Work::new("compute", "computing: 100 million steps"),
        Work::new("touch", "memory: 128 MiB touched, page by page"),
        Work::new("copy", "tmpfs: 48 MiB written and read in blocks of 64 KiB"),
        Work::new("build", "small files: 600 written, 300 read, all renamed or removed"),
        Work::new("spawn", "processes: 100 started, one after the other"),
        Work::new("call", "system calls: 200 thousand of the cheapest"),
    ];
    // The first round warms up.
    for round in 0..=rounds {
        progress(&format!("working, round {round} of {rounds} …"));
        for Work { name, runc, gvisor, .. } in &mut works {
            let took = [work(cluster, OPEN, name).await?, work(cluster, GUARDED, name).await?];
            if round > 0 {
                runc.add(took[0]);
                gvisor.add(took[1]);
            }
        }
    }
    Ok(Shown { table: table(&works), plot: plot(&works) })
}

async fn start(rest: &Rest, namespace: &str, pod: &Value) -> Result<()> {
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    rest.post(&pods, pod).await?;
    let path = format!("{pods}/{POD}");
    eventually("the Pod runs", async || {
        let pod = rest.get(&path).await?;
        Ok((pod["status"]["containerStatuses"][0]["ready"] == json!(true)).then_some(()))
    })
    .await
}

/// Returns the time that the program printed.
async fn work(cluster: &Cluster, namespace: &str, name: &str) -> Result<Duration> {
    let arguments = ["exec", POD, "--namespace", namespace, "--", "/program", name];
    let output = cluster.bed.kubectl(&arguments).await;
    let microseconds = output.stdout.trim().parse();
    let microseconds = microseconds.map_err(|_| format!("{name}: {}{}", output.stdout, output.stderr))?;
    Ok(Duration::from_micros(microseconds))
}

fn table(works: &[Work]) -> String {
    let mut table = String::from(
        "| work | runc ms, fastest / median | gVisor ms, fastest / median | × runc |\n|---|--:|--:|--:|\n",
    );
    for work in works {
        let Work { what, runc, gvisor, .. } = work;
        let row = format!(
            "| {what} | {:.1} / {:.1} | {:.1} / {:.1} | {:.2} |",
            runc.fastest() * 1000.0,
            runc.median() * 1000.0,
            gvisor.fastest() * 1000.0,
            gvisor.median() * 1000.0,
            work.ratio(),
        );
        let _ = writeln!(table, "{row}");
    }
    table
}

fn plot(works: &[Work]) -> String {
    let bars: Vec<_> = works.iter().map(|work| (short(work.what), work.ratio())).collect();
    plot::bars("Time under gVisor, as a multiple of the time under runc (fastest runs)", &bars)
}

/// Returns the text in front of the colon.
fn short(what: &str) -> &str {
    what.split(':').next().unwrap_or(what)
}
