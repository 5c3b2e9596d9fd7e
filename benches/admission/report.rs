//! The figures as Markdown.

use std::{env, fmt, fs, process::Command, thread, time::Duration};

use crate::support::{reviews, server};

/// All that was measured.
pub(crate) struct Report {
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) updates: Vec<Update>,
    pub(crate) starts: Vec<(server::Kind, Duration)>,
}

/// The servers under one load.
pub(crate) struct Comparison {
    pub(crate) size: &'static str,
    pub(crate) bytes: usize,
    pub(crate) kind: reviews::Kind,
    pub(crate) connections: usize,
    pub(crate) rows: Vec<Row>,
}

/// One server under one load.
pub(crate) struct Row {
    pub(crate) kind: server::Kind,
    pub(crate) cpu: Duration,
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

    /// Returns the processor time of sandgate as a multiple of that of `other`.
    fn ratio(&self, other: server::Kind) -> f64 {
        self.row(server::Kind::Sandgate).cpu.as_secs_f64() / self.row(other).cpu.as_secs_f64()
    }

    fn is_target(&self) -> bool {
        self.size == reviews::SIZES[0].0 && self.connections == 16
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
            "CPU µs of the server for one request; latency in µs and memory in MB as null / tree / sandgate.\n\n\
             | review | pod | connections | null | tree | sandgate | with audit | × null | × tree | p50 | p99 | idle | peak |\n\
             |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
        )?;
        for comparison in &self.comparisons {
            let Comparison { size, bytes, kind, connections, .. } = comparison;
            let cpu = |kind| micros(comparison.row(kind).cpu);
            let three = |of: &dyn Fn(&Row) -> String| {
                let kinds = [server::Kind::Null, server::Kind::Tree, server::Kind::Sandgate];
                kinds.map(|kind| of(comparison.row(kind))).join(" / ")
            };
            writeln!(
                f,
                "| {size} ({bytes}) | {} | {connections} | {} | {} | {} | {} | {:.2} | {:.2} | {} | {} | {} | {} |",
                kind.as_str(),
                cpu(server::Kind::Null),
                cpu(server::Kind::Tree),
                cpu(server::Kind::Sandgate),
                cpu(server::Kind::Audited),
                comparison.ratio(server::Kind::Null),
                comparison.ratio(server::Kind::Tree),
                three(&|row| micros(row.p50)),
                three(&|row| micros(row.p99)),
                three(&|row| megabytes(row.idle)),
                three(&|row| megabytes(row.peak)),
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
        for comparison in self.comparisons.iter().filter(|comparison| comparison.is_target()) {
            let at = format!("6 kB, 16 connections, {}", comparison.kind.as_str());
            let (null, tree) = (comparison.ratio(server::Kind::Null), comparison.ratio(server::Kind::Tree));
            let row = comparison.row(server::Kind::Sandgate);
            targets.push(Target::new(format!("CPU below tree: {at}"), tree, 1.0, "×"));
            targets.push(Target::new(format!("CPU at most 2 × null: {at}"), null, 2.0, "×"));
            targets.push(Target::new(format!("CPU at most 1.5 × null (next step): {at}"), null, 1.5, "×"));
            targets.push(Target::new(
                format!("memory at most 15 MB idle: {at}"),
                in_mb(row.idle),
                15.0,
                "MB",
            ));
            targets.push(Target::new(
                format!("memory at most 40 MB under load: {at}"),
                in_mb(row.peak),
                40.0,
                "MB",
            ));
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
    let micros = time.as_secs_f64() * 1e6;
    if micros < 100.0 { format!("{micros:.1}") } else { format!("{micros:.0}") }
}

fn per_byte(bytes: usize, cpu: Duration) -> f64 {
    let bytes = u32::try_from(bytes).map_or(f64::NAN, f64::from);
    cpu.as_secs_f64() * 1e9 / bytes
}

fn in_mb(bytes: u64) -> f64 {
    let kilobytes = u32::try_from(bytes / 1000).map_or(f64::NAN, f64::from);
    kilobytes / 1000.0
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", in_mb(bytes))
}
