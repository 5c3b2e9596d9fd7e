//! Metrics of the process, under the names of the Prometheus client libraries. They are read from /proc at each scrape.

use std::fmt;

use procfs::{ProcResult, process::LimitValue};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

/// Collects the metrics of the process. If /proc cannot be read there are none.
#[derive(Debug)]
pub struct ProcessMetrics;

/// The process's figures at one moment.
struct ProcessReading {
    cpu_seconds: f64,
    started_at: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    threads: u64,
    open_files: u64,
    most_files: Option<u64>,
}

impl ProcessReading {
    #[expect(clippy::cast_precision_loss, reason = "2^53 ticks are longer than the process will run")]
    fn take() -> ProcResult<Self> {
        let process = procfs::process::Process::myself()?;
        let stat = process.stat()?;
        let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
        let most_files = match process.limits()?.max_open_files.soft_limit {
            LimitValue::Value(most) => Some(most),
            LimitValue::Unlimited => None,
        };
        Ok(Self {
            cpu_seconds: seconds(stat.utime + stat.stime),
            started_at: procfs::boot_time_secs()? as f64 + seconds(stat.starttime),
            resident_bytes: stat.rss * procfs::page_size(),
            virtual_bytes: stat.vsize,
            threads: stat.num_threads.try_into().unwrap_or_default(),
            open_files: process.fd_count()? as u64,
            most_files,
        })
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Ok(reading) = ProcessReading::take() else { return Ok(()) };
        let (seconds, bytes) = (Some(&Unit::Seconds), Some(&Unit::Bytes));
        let mut write = |name: &str, help: &str, unit, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
        };
        write(
            "process_cpu",
            "User and system CPU time spent",
            seconds,
            &ConstCounter::new(reading.cpu_seconds),
        )?;
        write("process_start_time", "When it started", seconds, &ConstGauge::new(reading.started_at))?;
        write("process_resident_memory", "Memory in use", bytes, &ConstGauge::new(reading.resident_bytes))?;
        write(
            "process_virtual_memory",
            "Address space in use",
            bytes,
            &ConstGauge::new(reading.virtual_bytes),
        )?;
        write("process_threads", "Threads", None, &ConstGauge::new(reading.threads))?;
        write("process_open_fds", "Open file descriptors", None, &ConstGauge::new(reading.open_files))?;
        if let Some(most) = reading.most_files {
            write("process_max_fds", "The most open file descriptors", None, &ConstGauge::new(most))?;
        }
        Ok(())
    }
}
