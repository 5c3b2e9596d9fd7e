//! `make attack`: the attacks that once took the webhook down or got past it, against a release build under the chart's memory
//! limit.
//!
//! Each attack comes from an address of its own, beside a well-behaved client. It ends with status 1 if the process ended,
//! a hostile Pod got an answer that is no denial, an answered review has no audit record, or the well-behaved client got
//! no answer. At the end no replica answers at all, and the [`alone`] backstop has to deny; the argument `backstop` runs this part only.
//! Times are printed, and decide nothing: they depend on the machine.

mod alone;
mod attacks;
mod bystander;
mod client;
mod forged;
mod gate;
mod limit;
mod reviews;
mod stalled;
mod table;

use std::{error, fmt::Write as _, io::Write as _, process::ExitCode, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::sleep;

use self::{
    attacks::{Attack, Done},
    bystander::Bystander,
    gate::{Gate, Trail},
    limit::MemoryLimit,
    table::{Row, Table},
};

/// Whatever goes wrong; its text is for people.
type Error = Box<dyn error::Error + Send + Sync>;

type Result<T, E = Error> = std::result::Result<T, E>;

/// The number of the address that the well-behaved client has, as `127.0.0.NUMBER`.
const BYSTANDER: u8 = 1;

/// The number of the address that attacks come from.
const ATTACKER: u8 = 2;

/// The time between the start of the well-behaved client and that of an attack.
const LEAD: Duration = Duration::from_millis(300);

/// The time after which a gate that has ended is noticed.
const REVIVAL_INTERVAL: Duration = Duration::from_millis(50);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            print(&format!("attack: {problem}\n"));
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<bool> {
    if std::env::args().nth(1).as_deref() == Some("backstop") {
        let alone = alone::run().await?;
        print(&format!("{alone}\n"));
        return Ok(alone.held());
    }
    raise_open_files();
    let bytes = limit::of_the_chart()?;
    let limit = MemoryLimit::new(bytes);
    print(&format!(
        "{} under the chart's memory limit of {} MiB, {}\n\n",
        gate::program()?.display(),
        bytes >> 20,
        limit.describe()
    ));
    let mut report = Report::default();
    let mut gate = Gate::start(&limit, Trail::File, &[]).await?;
    for attack in Attack::ALL {
        attack_beside(&mut gate, attack, &mut report).await?;
    }
    let (is_whole, verified) = gate.verify()?;
    let longest_line = gate.records()?.longest;
    drop(gate);
    report.add(forged::run(&limit).await?);
    let (row, note) = stalled::run(&limit).await?;
    report.add(row);
    report.notes.push(note);
    let alone = alone::run().await?;
    report.notes.push(alone.to_string());

    let mut text = format!("\n{}\n", Table(&report.rows));
    let _ = writeln!(text, "audit trail: {verified}");
    let _ = writeln!(
        text,
        "longest audit line: {longest_line} bytes; longest answer: {} bytes",
        report.longest_answer
    );
    let peak = limit.peak().map_or("not counted".into(), |bytes| format!("{} MiB", bytes >> 20));
    let _ = writeln!(text, "peak memory of all processes of sandgate: {peak}");
    for note in &report.notes {
        let _ = writeln!(text, "{note}");
    }
    print(&text);
    Ok(is_whole && alone.held() && report.rows.iter().all(Row::held))
}

/// All that is found out.
#[derive(Default)]
struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
    longest_answer: usize,
}

impl Report {
    fn add(&mut self, row: Row) {
        const MAX_SHOWN: usize = 3;
        print(&format!("{} {}: {}\n", row.finds, row.attack, if row.held() { "held" } else { "FAILED" }));
        for failure in row.seen.failures.iter().take(MAX_SHOWN) {
            print(&format!("  well-behaved client: {failure}\n"));
        }
        self.rows.push(row);
    }
}

/// Attacks the webhook beside a well-behaved client.
async fn attack_beside(gate: &mut Gate, attack: Attack, report: &mut Report) -> Result<()> {
    let (finds, description) = attack.describe();
    let restarts = gate.restarts;
    let bystander = Bystander::start(gate.client(BYSTANDER), &format!("{attack:?}"));
    sleep(LEAD).await;
    let attacker = gate.client(ATTACKER);
    let attacking = attack.run(&attacker);
    tokio::pin!(attacking);
    let done = loop {
        tokio::select! {
            done = &mut attacking => break done?,
            () = sleep(REVIVAL_INTERVAL) => gate.revive()?,
        }
    };
    sleep(LEAD).await;
    let seen = bystander.stop().await?;
    gate.revive()?;
    let Done { requests, mut uids, escapes, longest_answer } = done;
    uids.extend(seen.admitted.iter().cloned());
    let lost = gate.lost(&uids).await? as u64;
    report.longest_answer = report.longest_answer.max(longest_answer);
    let restarts = gate.restarts - restarts;
    for escape in escapes.iter().take(3) {
        print(&format!("  escape: {escape}\n"));
    }
    report.add(Row { finds, attack: description, requests, restarts, escapes: escapes.len(), lost, seen });
    Ok(())
}

/// Lets this process and its children have more open files than connections are held.
fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(8192, |maximum| maximum.min(8192));
    if current.is_some_and(|current| current < wanted) {
        // Where it is denied, connections fail and the attack says so.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}

fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}
