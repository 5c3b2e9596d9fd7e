//! The figures as Markdown.

use std::{env, fmt, fs, process::Command, thread, time::Duration};

use crate::support::{in_micros, process::megabytes, reviews, server};

/// All that was measured.
pub(crate) struct Report {
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) updates: Vec<Update>,
    pub(crate) starts: Vec<(server::Kind, Duration)>,
}

/// The servers under one load.
pub(crate) struct Comparison {
    pub(crate) size: &'static str,
    pub(crate) kind: reviews::Kind,
    pub(crate) connections: usize,
    pub(crate) rows: Vec<Row>,
}

/// One server under one load.
pub(crate) struct Row {
    pub(crate) kind: server::Kind,
    pub(crate) cpu: Duration,
    /// The difference between the most and the least of the rounds.
    pub(crate) cpu_range: Duration,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) idle: u64,
    pub(crate) peak: u64,
}

/// An update of one size.
pub(crate) struct Update {
    pub(crate) bytes: usize,
    pub(crate) cpu: Duration,
}

impl Comparison {
    fn row(&self, kind: server::Kind) -> &Row {
        self.rows.iter().find(|row| row.kind == kind).expect("every comparison has every server")
    }

    /// Returns the processor time of one server as a multiple of that of another.
    fn ratio(&self, of: server::Kind, to: server::Kind) -> f64 {
        self.row(of).cpu.as_secs_f64() / self.row(to).cpu.as_secs_f64()
    }

    fn targets(&self) -> Vec<Target> {
        let Self { size, kind, connections, .. } = self;
        let target = |text: &str, measured, most, unit| {
            let text = format!("{text}: {size}, {}, {connections} connections", kind.as_str());
            Target::new(text, measured, most, unit)
        };
        let null = self.ratio(server::Kind::Sandgate, server::Kind::Null);
        let cpu = target("CPU at most 1.5 × null", null, 1.5, "×");
        let is_small = *size == reviews::SIZES[0].0;
        if *connections == 1 {
            let tree = self.ratio(server::Kind::Sandgate, server::Kind::Tree);
            return if is_small { vec![target("CPU below tree", tree, 1.0, "×")] } else { Vec::new() };
        }
        if !is_small {
            return vec![cpu];
        }
        let audited = self.ratio(server::Kind::Audited, server::Kind::Null);
        let trail = self.ratio(server::Kind::Audited, server::Kind::Sandgate);
        let row = self.row(server::Kind::Sandgate);
        vec![
            cpu,
            target("CPU with the audit trail at most 2 × null", audited, 2.0, "×"),
            target("the audit trail at most 10 %", trail, 1.1, "×"),
            target("memory at most 12 MB idle", megabytes(row.idle), 12.0, "MB"),
            target("memory at most 20 MB under load", megabytes(row.peak), 20.0, "MB"),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "{}\n", machine())?;
        self.write_comparisons(f)?;
        self.write_updates(f)?;
        self.write_targets(f)
    }
}

impl Report {
    fn write_comparisons(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(
            f,
            "CPU µs of the server for one request: the median of the rounds, ± half of what they range over.\n\n\
             | review, Pod, connections | null µs | tree µs | sandgate µs | with audit µs | × null | with audit × null | × tree | p50 µs null / sandgate | p99 µs null / sandgate | idle MB | peak MB |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
        )?;
        for comparison in &self.comparisons {
            let Comparison { size, kind, connections, .. } = comparison;
            let row = |kind| comparison.row(kind);
            let cpu = |kind| format!("{} ± {}", micros(row(kind).cpu), micros(row(kind).cpu_range / 2));
            let both = |of: fn(&Row) -> Duration| {
                [server::Kind::Null, server::Kind::Sandgate].map(|kind| micros(of(row(kind)))).join(" / ")
            };
            writeln!(
                f,
                "| {size}, {}, {connections} | {} | {} | {} | {} | {:.2} | {:.2} | {:.2} | {} | {} | {:.1} | {:.1} |",
                kind.as_str(),
                cpu(server::Kind::Null),
                cpu(server::Kind::Tree),
                cpu(server::Kind::Sandgate),
                cpu(server::Kind::Audited),
                comparison.ratio(server::Kind::Sandgate, server::Kind::Null),
                comparison.ratio(server::Kind::Audited, server::Kind::Null),
                comparison.ratio(server::Kind::Sandgate, server::Kind::Tree),
                both(|row| row.p50),
                both(|row| row.p99),
                megabytes(row(server::Kind::Sandgate).idle),
                megabytes(row(server::Kind::Sandgate).peak),
            )?;
        }
        writeln!(f)
    }

    fn write_updates(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "| update, two objects | CPU µs | ns for each byte |\n|--:|--:|--:|")?;
        for Update { bytes, cpu } in &self.updates {
            writeln!(f, "| {bytes} | {} | {:.2} |", micros(*cpu), per_byte(*bytes, *cpu))?;
        }
        writeln!(f)
    }

    fn write_targets(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "| target | measured | |\n|---|--:|---|")?;
        for target in self.targets() {
            let verdict = if target.measured <= target.most { "met" } else { "**missed**" };
            writeln!(f, "| {} | {:.2} {} | {verdict} |", target.text, target.measured, target.unit)?;
        }
        Ok(())
    }

    fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        for comparison in &self.comparisons {
            targets.extend(comparison.targets());
        }
        for (kind, time) in &self.starts {
            let text = format!("first answer within 20 ms after exec: {kind:?}");
            targets.push(Target::new(text, time.as_secs_f64() * 1e3, 20.0, "ms"));
        }
        targets.push(Target::new(
            "linear in size: cost of a byte, largest update to 100 kB".into(),
            self.growth(),
            1.5,
            "×",
        ));
        targets
    }

    /// Returns the cost of a byte of the largest update as a multiple of that of one of 100 kB. Smaller ones are
    /// dominated by what every request costs.
    fn growth(&self) -> f64 {
        let cost = |update: &Update| per_byte(update.bytes, update.cpu);
        let medium = self.updates.iter().find(|update| update.bytes > 90_000).map_or(1.0, cost);
        self.updates.last().map_or(1.0, cost) / medium
    }
}

/// A figure that should not be larger than so much.
struct Target {
    text: String,
    measured: f64,
    most: f64,
    unit: &'static str,
}

impl Target {
    fn new(text: String, measured: f64, most: f64, unit: &'static str) -> Self {
        Self { text, measured, most, unit }
    }
}

/// The machine and the build of the figures.
fn machine() -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let rustc = Command::new(rustc).arg("--version").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    format!(
        "{cores} cores of {}, Linux {}, {}; client and servers on this machine.",
        model.unwrap_or("an unknown model").trim(),
        kernel.trim(),
        rustc.unwrap_or_else(|_| "unknown rustc".into()),
    )
}

fn micros(time: Duration) -> String {
    let micros = in_micros(time);
    if micros < 100.0 { format!("{micros:.1}") } else { format!("{micros:.0}") }
}

fn per_byte(bytes: usize, cpu: Duration) -> f64 {
    let bytes = u32::try_from(bytes).map_or(f64::NAN, f64::from);
    cpu.as_secs_f64() * 1e9 / bytes
}
