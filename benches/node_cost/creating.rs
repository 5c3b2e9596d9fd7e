//! The time of a Pod from its create until it runs, and until it has succeeded.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    GUARDED, OPEN, Shown, plot,
    pods::{Does, complete, complete_in_runc, plain},
    times::Times,
};
use testbed::{Rest, Result, progress};

/// A kind of Pods, and what becomes of them.
struct Kind {
    name: &'static str,
    namespace: &'static str,
    pod: fn(&str, Does) -> Value,
    answered: Times,
    running: Times,
    succeeded: Times,
}

impl Kind {
    fn new(name: &'static str, namespace: &'static str, pod: fn(&str, Does) -> Value) -> Self {
        let (answered, running, succeeded) = Default::default();
        Self { name, namespace, pod, answered, running, succeeded }
    }

    async fn create_one_of_each(&mut self, rest: &Rest) -> Result<()> {
        for does in [Does::Wait, Does::Nothing] {
            let begun = Instant::now();
            let pods = format!("/api/v1/namespaces/{}/pods", self.namespace);
            rest.post(&pods, &(self.pod)("one", does)).await?;
            self.answered.add(begun.elapsed());
            let path = format!("{pods}/one");
            match does {
                Does::Wait => {
                    let runs =
                        |pod: &Value| !pod["status"]["containerStatuses"][0]["state"]["running"].is_null();
                    self.running.add(until(rest, &path, begun, runs).await?);
                }
                Does::Nothing => {
                    let succeeded = |pod: &Value| pod["status"]["phase"] == "Succeeded";
                    self.succeeded.add(until(rest, &path, begun, succeeded).await?);
                }
            }
            rest.delete(&format!("{path}?gracePeriodSeconds=0")).await?;
            // The node is still at work on it for a moment, which is not the next one's time.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }
}

/// Waits until the Pod is as wanted; how long that took.
async fn until(rest: &Rest, path: &str, begun: Instant, is_so: impl Fn(&Value) -> bool) -> Result<Duration> {
    const TICK: Duration = Duration::from_millis(10);
    const MAX_WAIT: Duration = Duration::from_mins(1);
    while begun.elapsed() < MAX_WAIT {
        let pod = rest.get(path).await?;
        if is_so(&pod) {
            return Ok(begun.elapsed());
        }
        tokio::time::sleep(TICK).await;
    }
    Err(format!("{path} was waited for in vain").into())
}

/// Creates Pods of each kind in turn.
pub(crate) async fn measure(rest: &Rest, rounds: usize) -> Result<Shown> {
    let mut kinds = [
        Kind::new("runc, complete, no webhook", OPEN, complete_in_runc),
        Kind::new("gVisor, complete, no webhook", OPEN, complete),
        Kind::new("gVisor, complete, through sandgate", GUARDED, complete),
        Kind::new("gVisor, filled by sandgate", GUARDED, plain),
    ];
    for round in 1..=rounds {
        progress(&format!("creating Pods, round {round} of {rounds} …"));
        for kind in &mut kinds {
            kind.create_one_of_each(rest).await?;
        }
    }
    Ok(Shown { table: table(&kinds), plot: plot(&kinds) })
}

fn table(kinds: &[Kind]) -> String {
    let mut table = String::from(
        "| Pod | create answered, ms, p50 / p99 | running after, s, p50 / p99 | × runc | succeeded after, s, p50 / p99 | × runc |\n\
         |---|--:|--:|--:|--:|--:|\n",
    );
    let [first, ..] = kinds else { return table };
    for Kind { name, answered, running, succeeded, .. } in kinds {
        let row = format!(
            "| {name} | {:.1} / {:.1} | {:.2} / {:.2} | {:.2} | {:.2} / {:.2} | {:.2} |",
            answered.median() * 1000.0,
            answered.quantile(99) * 1000.0,
            running.median(),
            running.quantile(99),
            running.median() / first.running.median(),
            succeeded.median(),
            succeeded.quantile(99),
            succeeded.median() / first.succeeded.median(),
        );
        let _ = writeln!(table, "{row}");
    }
    table
}

fn plot(kinds: &[Kind]) -> String {
    let bars: Vec<_> = kinds.iter().map(|kind| (kind.name, kind.running.median())).collect();
    plot::bars("From create to running, seconds (median)", &bars)
}
